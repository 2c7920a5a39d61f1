//! Every input that fuzzing has kept (`tests/fuzz/corpus`), through the fuzz targets, as a plain test: what was found
//! once stays found, on stable Rust and without cargo-fuzz. See `docs/fuzzing.md`.

#[path = "fuzz/src/mod.rs"]
pub mod targets;

use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// The names of the directory's entries, in order.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// Runs every kept input of `target`. The name of an input that fails is printed before its panic.
fn replay(target: &str) {
    let (_, run) = targets::TARGETS.iter().find(|(name, _)| *name == target).expect("a target of this name");
    let dir = corpus().join(target);
    let inputs = names(&dir);
    assert!(!inputs.is_empty(), "{} is empty", dir.display());
    for name in inputs {
        let input = std::fs::read(dir.join(&name)).expect("a readable input");
        let told = std::panic::catch_unwind(|| run(&input));
        if let Err(panic) = told {
            eprintln!("the input is {}", dir.join(&name).display());
            std::panic::resume_unwind(panic);
        }
    }
    // No input at all is one that nobody keeps.
    run(&[]);
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )*

        #[test]
        fn every_target_is_replayed_and_has_its_binary() {
            let mut replayed = vec![$(stringify!($target)),*];
            replayed.sort();
            let mut targets: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            targets.sort();
            assert_eq!(replayed, targets);
            assert_eq!(names(&corpus()), targets);
            let binaries = names(&corpus().with_file_name("fuzz_targets"));
            assert_eq!(binaries, targets.iter().map(|name| format!("{name}.rs")).collect::<Vec<_>>());
        }
    };
}

replays! { request_head chunked range routes ini policy_rule policy_file json_patch list_query inspect hash }
