//! `vitrine bench store` as an operator uses it: what it measures, what it reports, what it leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::server::binary;

const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration with two stores, and where all of it is.
struct Site {
    home: TempDir,
}

impl Site {
    fn new(more: &str) -> Site {
        let home = tempfile::tempdir().expect("a directory");
        let place = home.path().display();
        let text = format!(
            "[DEFAULT]\nenabled_backends = fast:file, slow:file, web:http\n[glance_store]\ndefault_backend = fast\n\
             [fast]\nfilesystem_store_datadir = {place}/fast\n[slow]\nfilesystem_store_datadir = {place}/slow\n{more}"
        );
        fs::write(home.path().join("vitrine.conf"), text).expect("written");
        Site { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command.current_dir(self.home.path()).args(["bench", "store", "--data-dir", "data"]);
        if let Some(common) = std::env::var_os("VITRINE_TEST_CONFIG") {
            command.arg("--config").arg(common);
        }
        command.args(["--config", "vitrine.conf", "--progress", "none"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What it prints to both streams; it must end with this code.
    #[track_caller]
    fn run(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("starting vitrine bench");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    }

    /// A run that is writing.
    fn begun(&self) -> Child {
        let arguments = ["--work", "write,read", "--size", "64MiB", "--objects", "10000"];
        let child = self.command(&arguments).spawn().expect("starting vitrine bench");
        let begun = eventually(PATIENCE, || (files(&self.path("fast")).len() > 2).then_some(()));
        assert!(begun.is_some(), "nothing is written");
        child
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        for name in ["fast", "slow", "data"] {
            assert_eq!(files(&self.path(name)), Vec::<String>::new(), "{name}");
        }
    }
}

/// The files in a directory, which need not be there.
fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id")).expect("not 0")
}

#[test]
fn stores_are_measured_beside_each_other() {
    let site = Site::new("");
    let arguments = ["--size", "3000001", "--objects", "3", "--parallel", "2", "--range", "300K"];
    let text = site.run(0, &[&arguments[..], &["--json", "a.json", "--html", "a.html"]].concat());
    let report: Value = serde_json::from_slice(&fs::read(site.path("a.json")).expect("a report")).expect("JSON");
    let phases = report["phases"].as_array().expect("phases");
    let kind = |phase: &Value| {
        (phase["work"].as_str().expect("a word").to_owned(), phase["workers"].as_u64().expect("a number"))
    };
    let expected = [
        (("write", 1), 3, 9_000_003),
        (("write", 2), 3, 9_000_003),
        (("read", 1), 3, 9_000_003),
        (("read", 2), 3, 9_000_003),
        (("range", 1), 192, 0),
        (("range", 2), 192, 0),
        (("first-byte", 1), 192, 192 * 256 * 1024),
        (("delete", 1), 3, 0),
    ];
    assert_eq!(phases.len(), 2 * expected.len(), "{text}");
    for (phase, ((work, workers), operations, bytes)) in phases.iter().zip(expected.iter().chain(&expected)) {
        assert_eq!(kind(phase), ((*work).to_owned(), *workers), "{text}");
        assert_eq!((&phase["operations"], &phase["failures"]), (&json!(operations), &json!({})), "{text}");
        assert!(*bytes == 0 || phase["bytes"] == json!(bytes), "{phase}");
        let reads = ["read", "range", "first-byte"].contains(work);
        assert_eq!(phase["first_byte_us"]["p50"].is_number(), reads, "{phase}");
        assert!(text.contains(&format!("{work} x {workers}")), "{text}");
    }
    let page = fs::read_to_string(site.path("a.html")).expect("a page");
    assert!(page.matches("<svg").count() >= 12 && page.contains(">fast<") && page.contains(">slow<"));
    site.assert_nothing_left();
    // Earlier figures stand beside new ones, and alone.
    let arguments = ["--store", "slow", "--work", "read", "--size", "1MiB", "--objects", "2", "--with", "a.json"];
    let text = site.run(0, &arguments);
    assert!(text.contains("slow (now)") && text.contains("slow (a)") && text.contains("fast (a)"), "{text}");
    let alone = site.run(0, &["--with", "a.json", "--only-show"]);
    assert!(alone.contains("write x 2") && !alone.contains("(now)"), "{alone}");
    site.assert_nothing_left();
}

#[test]
fn failures_are_told_and_leave_nothing() {
    let site = Site::new("[dataplane]\nstore_faults = fast:write:7:full, fast:remove:5:away, slow:read:3:fail\n");
    let text = site.run(1, &["--store", "fast", "--size", "1MiB", "--objects", "4", "--parallel", "1"]);
    assert!(text.contains("x no space: injected fault") && text.contains("operations failed"), "{text}");
    site.assert_nothing_left();
    // What is only made for what is measured fails the run as well.
    let site = Site::new("[dataplane]\nstore_faults = fast:create:1:full\n");
    let text = site.run(1, &["--store", "fast", "--work", "read,range", "--size", "1MiB", "--objects", "4"]);
    assert!(text.contains("x no space: injected fault"), "{text}");
    site.assert_nothing_left();
    // More workers than there is memory for take turns.
    let site = Site::new("[dataplane]\nbuffer_memory_bytes_max = 16777216\n");
    site.run(0, &["--store", "slow", "--size", "8MiB", "--objects", "24", "--parallel", "24", "--depth", "32"]);
    site.assert_nothing_left();
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let site = Site::new("");
    let text = site.run(2, &["--store", "other"]);
    assert!(text.contains("--store other: there is none; accepted is fast, slow, web"), "{text}");
    let text = site.run(2, &["--store", "web"]);
    assert!(text.contains("store web cannot be written to"), "{text}");
    for bad in [&["--work", "fly"][..], &["--parallel", "0"], &["--size", "0"], &["--only-show"]] {
        site.run(2, bad);
    }
    fs::write(site.path("no.json"), "{}").expect("written");
    assert!(site.run(1, &["--with", "no.json"]).contains("no.json is no report of vitrine bench store"));
    site.assert_nothing_left();
}

#[test]
fn an_interrupted_run_cleans_up() {
    let site = Site::new("");
    let child = site.begun();
    kill_process(pid(&child), Signal::INT).expect("signalled");
    let output = child.wait_with_output().expect("ended");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("interrupted") && text.contains("write x 1"), "{text}");
    site.assert_nothing_left();
}

#[test]
fn what_a_killed_run_left_is_removed_by_its_record() {
    let site = Site::new("");
    let mut child = site.begun();
    assert_eq!(site.run(0, &["--clean"]).trim(), "0 objects were removed", "what goes on is let alone");
    child.kill().expect("killed");
    child.wait().expect("ended");
    fs::write(site.path("fast").join("of-others"), "data").expect("written");
    assert!(site.run(0, &["--clean"]).contains(" objects were removed"));
    assert_eq!(files(&site.path("fast")), ["of-others"]);
    fs::remove_file(site.path("fast").join("of-others")).expect("removed");
    site.assert_nothing_left();
}
