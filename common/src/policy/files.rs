//! Policy files on disk: which there are, what they say, and whether that has changed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::Policy;
use super::problem::{PolicyError, PolicyWarning};
use crate::config::PolicyFiles;

/// Between two looks at the files of a running service.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A file or directory with what was found there: its text, or the system's words.
pub(super) type Source = (PathBuf, Result<String, String>);

/// Everything that rules are made of, in the order in which later rules win over earlier ones: the policy file, then the
/// files of each directory in the order of their names, without subdirectories and names that begin with a dot.
pub(super) fn read(files: &PolicyFiles) -> Vec<Source> {
    let text = |file: PathBuf| {
        let text = match std::fs::read(&file).map(String::from_utf8) {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => Err(error.utf8_error().to_string()),
            Err(error) => Err(error.to_string()),
        };
        (file, text)
    };
    let mut all: Vec<Source> = files.file.iter().find(|file| is_there(file)).cloned().map(text).into_iter().collect();
    for dir in files.dirs.iter().filter_map(|places| places.iter().find(|dir| is_there(dir))) {
        match entries(dir) {
            Ok(found) => all.extend(found.into_iter().map(text)),
            Err(error) => all.push((dir.clone(), Err(error.to_string()))),
        }
    }
    all
}

/// Whether something is there, or cannot be looked at: rules that cannot be read must not pass for none.
fn is_there(path: &Path) -> bool {
    !matches!(std::fs::metadata(path), Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

fn entries(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    let visible = entries.iter().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let mut found: Vec<_> = visible.map(std::fs::DirEntry::path).filter(|path| !path.is_dir()).collect();
    found.sort();
    Ok(found)
}

/// Rules, and what the operator should know of them; or why there are none.
pub type Loaded = Result<(Policy, Vec<PolicyWarning>), Vec<PolicyError>>;

/// Policy files that are looked at again and again.
#[derive(Debug)]
pub struct Watch {
    files: PolicyFiles,
    /// What was last made into rules, or refused.
    judged: Vec<Source>,
    /// What else the last look saw.
    seen: Option<Vec<Source>>,
}

impl Watch {
    /// The rules of `files` now, and who tells when they change.
    ///
    /// # Errors
    /// Those of [`Policy::load`].
    pub fn begin(files: &PolicyFiles) -> Result<(Policy, Vec<PolicyWarning>, Watch), Vec<PolicyError>> {
        let judged = read(files);
        let (policy, warnings) = Policy::from_sources(&judged, files)?;
        Ok((policy, warnings, Watch { files: files.clone(), judged, seen: None }))
    }

    /// What the files make now, if they say something else than before and have said it at two looks: what an editor has half
    /// written is not taken. `None`: nothing has changed. To be called every [`LOOK_INTERVAL`].
    pub fn look(&mut self) -> Option<Loaded> {
        let now = read(&self.files);
        if now == self.judged {
            self.seen = None;
            return None;
        }
        if self.seen.as_ref() != Some(&now) {
            self.seen = Some(now);
            return None;
        }
        Some(self.judge(now))
    }

    /// What the files make now.
    pub fn reload(&mut self) -> Loaded {
        let now = read(&self.files);
        self.judge(now)
    }

    fn judge(&mut self, now: Vec<Source>) -> Loaded {
        let loaded = Policy::from_sources(&now, &self.files);
        (self.judged, self.seen) = (now, None);
        loaded
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::policy::Credentials;

    struct Site {
        dir: tempfile::TempDir,
    }

    impl Site {
        fn write(&self, name: &str, text: &str) {
            fs::write(self.dir.path().join(name), text).expect("a file");
        }

        fn files(&self) -> PolicyFiles {
            let path = |name: &str| self.dir.path().join(name);
            PolicyFiles {
                file: vec![path("absent.yaml"), path("policy.yaml")],
                dirs: vec![vec![path("absent.d"), path("policy.d")]],
                default_rule: "default".to_owned(),
                enforce_new_defaults: true,
            }
        }
    }

    fn holds(policy: &Policy, rule: &str) -> bool {
        policy.enforce(rule, &Credentials::default(), &())
    }

    #[test]
    fn a_change_is_taken_once_it_stays() {
        let site = Site { dir: tempfile::tempdir().expect("a directory") };
        site.write("policy.yaml", "own: '@'\n");
        let (policy, _, mut watch) = Watch::begin(&site.files()).expect("rules");
        assert!(holds(&policy, "own"));
        assert!(watch.look().is_none() && watch.look().is_none(), "nothing has changed");
        site.write("policy.yaml", "own: '");
        assert!(watch.look().is_none(), "it may be half written");
        site.write("policy.yaml", "own: '!'\n");
        assert!(watch.look().is_none(), "it has changed again");
        let (policy, _) = watch.look().expect("a change").expect("rules");
        assert!(policy.contains("own") && !holds(&policy, "own"));
        assert!(watch.look().is_none());
        site.write("policy.yaml", "own: '@'\n");
        assert!(holds(&watch.reload().expect("rules").0, "own"), "whoever asks gets it at once");
        assert!(watch.look().is_none() && watch.look().is_none());
    }

    #[test]
    fn what_is_wrong_is_told_once() {
        let site = Site { dir: tempfile::tempdir().expect("a directory") };
        site.write("policy.yaml", "own: '@'\n");
        let (_, _, mut watch) = Watch::begin(&site.files()).expect("rules");
        site.write("policy.yaml", "own: '@'\nother: 'role'\n");
        assert!(watch.look().is_none());
        let errors = watch.look().expect("a change").expect_err("no rule");
        let text = PolicyError::in_one_line(&errors);
        assert!(
            text.ends_with("policy.yaml:2: rule other: at character 1: role is not a check: it has no colon"),
            "{text}"
        );
        assert!(watch.look().is_none() && watch.look().is_none(), "it was told");
        assert!(watch.reload().is_err(), "but whoever asks is told again");
    }

    #[test]
    fn files_come_and_go() {
        let site = Site { dir: tempfile::tempdir().expect("a directory") };
        let (policy, _, mut watch) = Watch::begin(&site.files()).expect("rules");
        assert!(!policy.contains("own") && !policy.contains("more"));
        site.write("policy.yaml", "own: '@'\n");
        fs::create_dir(site.dir.path().join("policy.d")).expect("a directory");
        site.write("policy.d/more.yaml", "more: '@'\n");
        let _ = watch.look();
        let (policy, _) = watch.look().expect("a change").expect("rules");
        assert!(policy.contains("own") && policy.contains("more"));
        fs::remove_file(site.dir.path().join("policy.d/more.yaml")).expect("it was there");
        let _ = watch.look();
        let (policy, _) = watch.look().expect("a change").expect("rules");
        assert!(policy.contains("own") && !policy.contains("more"));
    }
}
