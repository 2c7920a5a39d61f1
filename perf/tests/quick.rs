//! Every scenario still works: a quick run with Vitrine, and nginx where it is installed. Figures mean nothing here.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Vitrine's binary: built beside this test's own program, as `cargo test --workspace` does, or for release.
fn vitrine() -> Result<PathBuf, Box<dyn Error>> {
    let own = Path::new(env!("CARGO_BIN_EXE_vitrine-perf"));
    let target = own.parent().and_then(Path::parent).ok_or("a binary without a directory")?;
    let built = ["debug/vitrine", "release/vitrine"].map(|name| target.join(name));
    let newest = built.iter().filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path))).max();
    let (_, path) = newest.ok_or("there is no vitrine to measure: run `cargo build` first")?;
    Ok(path.clone())
}

#[test]
fn every_scenario_works() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let results = directory.path().join("results");
    let nginx = Path::new("/usr/sbin/nginx").exists();
    let output = Command::new(env!("CARGO_BIN_EXE_vitrine-perf"))
        .args(["compare", "--quick", "--servers", if nginx { "vitrine,nginx" } else { "vitrine" }, "--vitrine"])
        .arg(vitrine()?)
        .arg("--work")
        .arg(directory.path().join("work"))
        .arg("--results")
        .arg(&results)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = std::fs::read_to_string(results.join("latest.txt"))?;
    assert!(!text.contains("FAILED"), "{text}");
    for scenario in perf::scenario::ALL {
        let measured = |row: &&&str| !text.lines().any(|line| line == **row);
        let missing: Vec<_> = scenario.rows.iter().filter(measured).collect();
        // Left out is only what needs another binary, and said to be.
        let excused = |row: &&&str| {
            row.contains("without digests") || (row.starts_with("tls") && text.contains("vitrine tls was not measured"))
        };
        assert!(missing.iter().all(excused), "{missing:?} are missing:\n{text}\n{said}");
    }
    assert!(std::fs::read_to_string(results.join("latest.html"))?.contains("<svg"));
    assert!(!directory.path().join("work").exists(), "the data of a run goes with it");
    Ok(())
}

#[test]
fn a_soak_watches_memory() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_vitrine-perf"))
        .args(["soak", "--seconds", "3", "--size", "32MiB", "--vitrine"])
        .arg(vitrine()?)
        .arg("--work")
        .arg(directory.path().join("work"))
        .arg("--results")
        .arg(directory.path())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("growth after the warm-up"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(directory.path().join("soak.html").exists());
    Ok(())
}

#[test]
fn a_row_that_nobody_knows_is_refused() -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitrine-perf"));
    let output = command.args(["compare", "--quick", "--only", "downlode"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("downlode") && said.contains("ranges x8"), "{said}");
    Ok(())
}
