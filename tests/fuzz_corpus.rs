//! Every input that fuzzing has kept (`tests/fuzz/corpus`), through the fuzz targets, as a plain test: what was found
//! once stays found, on stable Rust and without cargo-fuzz. And a property test of each: inputs that differ a little from
//! kept ones. See `docs/fuzzing.md`.

#[path = "fuzz/src/mod.rs"]
pub mod targets;

use std::path::{Path, PathBuf};
#[cfg(feature = "installed")]
use std::process::Command;

#[cfg(feature = "installed")]
use dataplane::inspect::Format;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// Changed inputs of each target: a second at most, all together.
const CHANGED_INPUTS: u32 = 128;

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

fn target(name: &str) -> targets::Target {
    let found = targets::TARGETS.iter().find(|(target, _)| *target == name);
    found.map(|(_, run)| *run).expect("a target of this name")
}

/// The kept inputs of `target` with their names.
fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = corpus().join(target);
    let read = |name: String| (name.clone(), std::fs::read(dir.join(name)).expect("a readable input"));
    names(&dir).into_iter().map(read).collect()
}

/// Runs every kept input. The name of an input that fails is printed before its panic.
fn replay(name: &str) {
    let run = target(name);
    for (input, bytes) in kept(name) {
        if let Err(panic) = std::panic::catch_unwind(|| run(&bytes)) {
            eprintln!("the input is {}", corpus().join(name).join(input).display());
            std::panic::resume_unwind(panic);
        }
    }
    // No input at all is one that nobody keeps.
    run(&[]);
}

/// A small change of an input.
#[derive(Debug, Clone)]
enum Edit {
    Put(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Repeat(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        any::<u8>().prop_map(Edit::Put),
        proptest::sample::select(&b"\0\r\n\t :;,/%+-=()[]{}\"'0129afz\xff"[..]).prop_map(Edit::Put),
        proptest::collection::vec(any::<u8>(), 1..5).prop_map(Edit::Insert),
        (1_usize..9).prop_map(Edit::Remove),
        (1_usize..30).prop_map(Edit::Repeat),
    ]
}

fn apply(input: &mut Vec<u8>, place: Index, edit: Edit) {
    let at = place.index(input.len() + 1);
    let end = |count: usize| (at + count).min(input.len());
    match edit {
        Edit::Put(byte) => drop(input.splice(at..end(1), [byte])),
        Edit::Insert(bytes) => drop(input.splice(at..at, bytes)),
        Edit::Remove(count) => drop(input.drain(at..end(count))),
        Edit::Repeat(count) => {
            let piece = input[at..end(count)].to_vec();
            drop(input.splice(at..at, piece));
        }
    }
}

/// Runs inputs that differ from kept ones in a few places.
fn change(name: &str) {
    let run = target(name);
    let inputs: Vec<Vec<u8>> = kept(name).into_iter().map(|(_, bytes)| bytes).collect();
    let edits = proptest::collection::vec((any::<Index>(), edit()), 1..6);
    let config = Config { cases: CHANGED_INPUTS, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(proptest::sample::select(inputs), edits), |(mut input, edits)| {
        edits.into_iter().for_each(|(place, edit)| apply(&mut input, place, edit));
        run(&input);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Images that their own tools make on the spot (`tests/fuzz/images`): each is judged alike however it is cut, and is what its maker says.
#[test]
#[cfg(feature = "installed")]
fn real_images_of_every_format() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/images");
    let output = Command::new(script).arg(directory.path()).output().expect("the script runs");
    assert!(output.status.success(), "are the tools there? {}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(table.lines().count() >= 40, "{table}");
    for line in table.lines() {
        let [file, format, bytes, check] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let stream = std::fs::read(directory.path().join(file)).expect("a readable image");
        for lengths in [&[7][..], &[255]] {
            let verdict = targets::inspect::judge(&stream, lengths);
            assert_eq!(verdict.format.map_or("-", Format::name), format, "{line}: {verdict:?}");
            assert!(bytes == "-" || verdict.virtual_size == bytes.parse().ok(), "{line}: {verdict:?}");
            let failed = (check != "safe").then_some(check);
            assert_eq!(verdict.failures, failed.as_slice(), "{line}");
        }
    }
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(
            mod $target {
                #[test]
                fn kept_inputs() {
                    super::replay(stringify!($target));
                }

                #[test]
                fn changed_inputs() {
                    super::change(stringify!($target));
                }
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

replays! {
    request_head chunked range routes ini policy_rule policy_file protections json_patch list_query inspect hash
    inspect_qcow2 inspect_vhd inspect_vhdx inspect_vmdk inspect_vmdk_footer inspect_vdi inspect_qed inspect_iso inspect_gpt inspect_mbr inspect_luks inspect_raw outbound import_request signature
}
