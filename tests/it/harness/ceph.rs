//! A real Ceph cluster, one for all tests of this program, with a pool for each of them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde_json::Value;

use super::eventually;
use super::server::free_port;

/// Longest time of an osd to end and to come back, or to see how full it is.
const RESTART: Duration = Duration::from_secs(60);

/// The cluster. It ends with the process, whose end of the script's standard input it holds.
pub(crate) struct Ceph {
    directory: PathBuf,
    _script: Child,
}

static CEPH: LazyLock<Ceph> = LazyLock::new(Ceph::start);

/// Held by tests while they need the cluster to work, or to be theirs to break.
static PEACE: RwLock<()> = RwLock::new(());

impl Ceph {
    /// The cluster, for a test that leaves it as it is.
    pub(crate) fn shared() -> (&'static Ceph, RwLockReadGuard<'static, ()>) {
        let peace = PEACE.read().unwrap_or_else(PoisonError::into_inner);
        (&CEPH, peace)
    }

    /// The cluster, for a test that breaks it for a while: no other one runs meanwhile.
    pub(crate) fn alone() -> (&'static Ceph, RwLockWriteGuard<'static, ()>) {
        let alone = PEACE.write().unwrap_or_else(PoisonError::into_inner);
        (&CEPH, alone)
    }

    fn start() -> Ceph {
        let directory = std::env::temp_dir().join(format!("vitrine-ceph-{}", std::process::id()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/ceph");
        let mut script = Command::new(script)
            .arg(&directory)
            .arg(free_port().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script runs");
        let mut line = String::new();
        let _ = BufReader::new(script.stdout.take().expect("piped")).read_line(&mut line);
        assert_eq!(line, "ready\n", "no Ceph cluster");
        Ceph { directory, _script: script }
    }

    /// Its `ceph.conf`.
    pub(crate) fn conf(&self) -> PathBuf {
        self.directory.join("ceph.conf")
    }

    /// A file beside it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output =
            Command::new(program).arg("-c").arg(self.conf()).args(arguments).output().expect("it is installed");
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).expect("text")),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// What `rbd` answers.
    #[track_caller]
    pub(crate) fn rbd(&self, arguments: &[&str]) -> String {
        self.run("rbd", arguments).unwrap_or_else(|error| panic!("rbd {arguments:?}: {error}"))
    }

    /// What `ceph` answers.
    #[track_caller]
    pub(crate) fn ceph(&self, arguments: &[&str]) -> String {
        self.run("ceph", arguments).unwrap_or_else(|error| panic!("ceph {arguments:?}: {error}"))
    }

    /// What `rados` answers.
    #[track_caller]
    pub(crate) fn rados(&self, arguments: &[&str]) -> String {
        self.run("rados", arguments).unwrap_or_else(|error| panic!("rados {arguments:?}: {error}"))
    }

    /// A pool for images that no other test uses.
    pub(crate) fn pool(&self) -> String {
        static POOLS: AtomicU32 = AtomicU32::new(0);
        format!("images-{}", POOLS.fetch_add(1, Ordering::Relaxed))
    }

    /// The names of the images in a pool.
    pub(crate) fn images(&self, pool: &str) -> Vec<String> {
        self.rbd(&["ls", pool]).lines().map(str::to_owned).collect()
    }

    /// What `rbd … --format json` says.
    #[track_caller]
    pub(crate) fn rbd_json(&self, arguments: &[&str]) -> Value {
        let text = self.rbd(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Everything in a pool that is there of images, whole ones and parts.
    pub(crate) fn objects(&self, pool: &str) -> Vec<String> {
        const OF_THE_POOL: [&str; 5] = ["rbd_directory", "rbd_children", "rbd_info", "rbd_trash", "rbd_task"];
        let objects = self.rados(&["-p", pool, "ls"]);
        let mut objects: Vec<_> =
            objects.lines().filter(|name| !OF_THE_POOL.contains(name)).map(str::to_owned).collect();
        objects.extend(self.images(pool).into_iter().map(|name| format!("image {name}")));
        objects
    }

    /// Ids of the cluster's processes: the monitor's and the osd's.
    fn pids(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("pids")).expect("written at the start");
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Lets the cluster hang until the guard is dropped.
    pub(crate) fn hang(&self) -> Hanging<'_> {
        self.signal("-STOP");
        Hanging(self)
    }

    fn signal(&self, signal: &str) {
        self.pids().iter().for_each(|pid| kill(signal, pid));
    }

    /// Ends the osd, and waits until the next one works.
    pub(crate) fn restart_osd(&self) {
        let before = self.osd()["up_from"].as_u64();
        kill("-TERM", self.pids().last().expect("an osd"));
        let up = eventually(RESTART, || {
            let now = self.osd();
            (now["up_from"].as_u64() > before && now["up"] == 1).then_some(())
        });
        assert!(up.is_some(), "{}", self.osd());
    }

    /// Has the cluster take no more data until the guard is dropped: what it holds is as much as it may hold. Something has to be there.
    pub(crate) fn fill(&self) -> Filled<'_> {
        let filled = Filled(self);
        self.may_hold(["0.00001", "0.00002", "0.00003"], true);
        filled
    }

    /// Sets from where on the cluster is nearly full, takes no more copies, and takes nothing, and waits until it is.
    fn may_hold(&self, ratios: [&str; 3], full: bool) {
        for (kind, ratio) in ["nearfull", "backfillfull", "full"].into_iter().zip(ratios) {
            self.ceph(&["osd", &format!("set-{kind}-ratio"), ratio]);
        }
        let is_full = || self.osd()["state"].as_array().is_some_and(|state| state.contains(&Value::from("full")));
        assert!(eventually(RESTART, || (is_full() == full).then_some(())).is_some(), "{}", self.osd());
    }

    /// What the cluster knows of its osd.
    fn osd(&self) -> Value {
        let map: Value = serde_json::from_str(&self.ceph(&["osd", "dump", "--format", "json"])).expect("JSON");
        map["osds"][0].clone()
    }
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().expect("kill(1)").success());
}

/// A cluster that is full; dropped, it has room again.
pub(crate) struct Filled<'a>(&'a Ceph);

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        // A second panic would end all tests.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // The usual ones.
            self.0.may_hold(["0.85", "0.90", "0.95"], false);
        }));
    }
}

/// A cluster that hangs; dropped, it goes on.
pub(crate) struct Hanging<'a>(&'a Ceph);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        // A second panic would end all tests.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.0.signal("-CONT")));
    }
}
