//! `vitrine metadefs`: metadata definitions between files and the catalog.
//!
//! One transaction each, beside whatever the service does: a writer waits for the other a moment. Exit codes: 0 done, 1 failed
//! (nothing was changed), 2 usage or configuration.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::catalog::{Catalog, LoadMode, Loaded, Reader};
use common::config::{Config, Overrides};
use common::model::metadef::Defined;

use crate::cli::{self, CatalogOptions};
use crate::{FAILED, MISCONFIGURED};

/// Characters of a file's name, before `.json`.
const FILE_NAME_CHARS_MAX: usize = 60;

/// Runs a command about metadata definitions.
pub(crate) fn run(command: &cli::Metadefs) -> ExitCode {
    let options = match command {
        cli::Metadefs::Load(load) => &load.catalog,
        cli::Metadefs::Unload(options) => options,
        cli::Metadefs::Export(export) => &export.catalog,
    };
    let Some(config) = configuration(options) else { return ExitCode::from(MISCONFIGURED) };
    let outcome = match command {
        cli::Metadefs::Load(options) => load(&config, options),
        cli::Metadefs::Unload(_) => unload(&config),
        cli::Metadefs::Export(options) => export(&config, &options.directory),
    };
    match outcome {
        Ok(text) => {
            // Whoever reads may have enough before the end.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("vitrine: {problem}");
            ExitCode::from(FAILED)
        }
    }
}

fn configuration(options: &CatalogOptions) -> Option<Config> {
    let overrides = Overrides { data_dir: options.data_dir.clone(), ..Overrides::default() };
    match Config::load(&options.files.config, &overrides) {
        Ok((config, _)) => Some(config),
        Err(problems) => {
            for problem in problems {
                eprintln!("vitrine: {problem}");
            }
            None
        }
    }
}

fn load(config: &Config, options: &cli::Load) -> Result<String, String> {
    let mode = match options {
        cli::Load { prefer_new: true, .. } => LoadMode::PreferNew,
        cli::Load { overwrite: true, .. } => LoadMode::Overwrite,
        cli::Load { merge: true, .. } => LoadMode::Merge,
        _ => LoadMode::Skip,
    };
    let place = options.path.as_ref().unwrap_or(&config.paths.metadefs_dir);
    let read = files(place)?.into_iter().map(|path| {
        let told = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
        let text = fs::read_to_string(&path).map_err(|error| told(&error))?;
        Defined::parse(&text).map_err(|error| told(&error))
    });
    let (good, bad): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
    if !bad.is_empty() {
        let problems: Vec<String> = bad.into_iter().filter_map(Result::err).collect();
        return Err(format!("nothing was loaded: {}", problems.join("\nvitrine: ")));
    }
    let defined: Vec<Defined> = good.into_iter().flatten().collect();
    let catalog = Catalog::open(&config.database.sqlite).map_err(|error| error.to_string())?;
    let loaded = catalog.write(|changes| {
        defined.iter().map(|one| changes.load_namespace(one, mode)).collect::<common::Result<Vec<Loaded>>>()
    });
    let loaded = loaded.map_err(|error| format!("nothing was loaded: {error}"))?;
    Ok(defined.iter().zip(loaded).fold(String::new(), |mut text, (one, loaded)| {
        let _ = writeln!(text, "{} {}", word(loaded), one.name);
        text
    }))
}

fn word(loaded: Loaded) -> &'static str {
    match loaded {
        Loaded::New => "new",
        Loaded::Skipped => "skipped",
        Loaded::Merged => "merged",
        Loaded::Overwritten => "overwritten",
    }
}

/// The files at `place`, by name.
fn files(place: &Path) -> Result<Vec<PathBuf>, String> {
    let told = |error: io::Error| format!("nothing was loaded: {}: {error}", place.display());
    if fs::metadata(place).map_err(told)?.is_file() {
        return Ok(vec![place.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(place).map_err(told)? {
        let path = entry.map_err(told)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(format!("nothing was loaded: there is no *.json in {}", place.display()));
    }
    found.sort();
    Ok(found)
}

fn unload(config: &Config) -> Result<String, String> {
    let path = &config.database.sqlite;
    // Where there is no catalog, none is to be made.
    reader(path)?;
    let catalog = Catalog::open(path).map_err(|error| error.to_string())?;
    let cleared = catalog.write(|changes| changes.clear_namespaces());
    cleared.map(|()| String::new()).map_err(|error| format!("nothing was removed: {error}"))
}

/// The catalog, to be read.
fn reader(path: &Path) -> Result<Reader, String> {
    Reader::open(path).map_err(|error| match path.exists() {
        // It may be Glance's, without our tables.
        true => format!(
            "{}: the control plane has to take this database over first: start it once ({error})",
            path.display()
        ),
        false => error.to_string(),
    })
}

fn export(config: &Config, directory: &Path) -> Result<String, String> {
    let reader = reader(&config.database.sqlite)?;
    // All files are of one state.
    let all = reader.read(|catalog| {
        let namespaces = catalog.all_namespaces()?;
        namespaces.iter().map(|one| catalog.defined_namespace(one)).collect::<common::Result<Vec<Defined>>>()
    });
    let all = all.map_err(|error| error.to_string())?;
    let told = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(directory).map_err(|error| told(directory, error))?;
    let mut taken = HashSet::new();
    let mut text = String::new();
    for one in &all {
        let path = directory.join(format!("{}.json", file_name(one, &mut taken)));
        let file = one.to_text();
        fs::write(&path, &file).map_err(|error| told(&path, error))?;
        let _ = match Defined::parse(&file) {
            Ok(_) => writeln!(text, "{}", path.display()),
            // Glance on SQLite keeps what fits no column.
            Err(error) => writeln!(text, "{}: it cannot be loaded as it is: {error}", path.display()),
        };
    }
    Ok(text)
}

/// A name for the file of a namespace, which no other has: letters and digits of its name for people.
fn file_name(defined: &Defined, taken: &mut HashSet<String>) -> String {
    let letters =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).take(FILE_NAME_CHARS_MAX).collect::<String>();
    let shown = defined.display_name.as_deref().map(letters).filter(|name| !name.is_empty());
    let name = shown.unwrap_or_else(|| letters(&defined.name));
    let numbered = (2_u64..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered).filter(|name| !name.is_empty());
    // Where large and small letters are the same, one file must not replace the other.
    names.find(|name| taken.insert(name.to_lowercase())).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_names_of_their_own() {
        let defined = |name: &str, shown: Option<&str>| {
            let mut defined = Defined::parse(r#"{"namespace": "n"}"#).expect("a namespace");
            defined.name = name.to_owned();
            defined.display_name = shown.map(str::to_owned);
            defined
        };
        let mut taken = HashSet::new();
        let mut name = |one: &str, shown: Option<&str>| file_name(&defined(one, shown), &mut taken);
        assert_eq!(name("OS::A", Some("My Namespace_1")), "MyNamespace1");
        assert_eq!(name("OS::B", Some("My namespace 1")), "Mynamespace1-2");
        assert_eq!(name("OS::A", None), "OSA");
        assert_eq!(name("::", Some("../..")), "-2");
        assert_eq!(name("/", None), "-3");
    }
}
