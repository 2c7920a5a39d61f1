//! The steps of a server's processes that outlive them, met one by one: the processes run with `steps.c` preloaded, which kills at
//! the step that was chosen. The product knows nothing of it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::Server;

/// Bytes of the page that is shared with `steps.c`.
const PAGE: usize = 4096 * 2;
/// Where the name of the step that was met is in it.
const MET: usize = 20;

/// Who dies at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victims {
    /// The plane whose step it is.
    Own,
    /// The other plane: this one goes on.
    Other,
    /// All processes, the launcher too, as in a power cut.
    All,
}

/// The steps of one server.
pub(crate) struct Steps {
    page: File,
    path: PathBuf,
}

impl Steps {
    /// Those of a server whose files for this lie in `home`.
    pub(crate) fn new(home: &Path) -> Steps {
        let path = home.join("steps");
        fs::write(&path, [0; PAGE]).expect("written");
        let page = File::options().read(true).write(true).open(&path).expect("it is there");
        Steps { page, path }
    }

    /// What the server is to be run under ([`super::server::Options::under`]).
    pub(crate) fn under(&self) -> Vec<String> {
        let preload = format!("LD_PRELOAD={}", library().display());
        vec!["env".to_owned(), preload, format!("VITRINE_TEST_STEPS={}", self.path.display())]
    }

    /// Has `victims` killed before step number `step` from now on; the first one is 1.
    pub(crate) fn arm(&self, server: &Server, step: u32, victims: Victims) {
        let planes = ["control", "dataplane"].map(|plane| server.wait_plane(plane));
        let [control, dataplane] = planes.map(|plane| plane.as_raw_nonzero().get());
        let launcher = server.launcher_pid().as_raw_nonzero().get();
        let victims = match victims {
            Victims::Own => 0,
            Victims::Other => 1,
            Victims::All => 2,
        };
        let words = [victims, launcher, control, dataplane].map(i32::to_ne_bytes).concat();
        self.page.write_all_at(&[0; PAGE - MET], MET as u64).expect("written");
        self.page.write_all_at(&words, 4).expect("written");
        // Last: from here on they count.
        self.page.write_all_at(&step.to_ne_bytes(), 0).expect("written");
    }

    /// The step that was met: the plane, what it was about to do, and to which file.
    pub(crate) fn met(&self) -> Option<String> {
        let mut text = [0; PAGE - MET];
        self.page.read_exact_at(&mut text, MET as u64).expect("read");
        let text = text.split(|byte| *byte == 0).next().filter(|text| !text.is_empty())?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Kills at no step any more.
    pub(crate) fn disarm(&self) {
        self.page.write_all_at(&0u32.to_ne_bytes(), 0).expect("written");
    }
}

/// The library made of `steps.c`, by the C compiler that the product needs anyway.
fn library() -> &'static Path {
    static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/harness/steps.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("steps.so");
        // By another name first: other runs may have it loaded.
        let made = library.with_extension(format!("{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"]).arg(&made).arg(source);
        let status = cc.status().expect("a C compiler");
        assert!(status.success(), "{cc:?}");
        fs::rename(made, &library).expect("renamed");
        library
    });
    &LIBRARY
}
