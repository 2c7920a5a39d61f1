//! clouds.yaml: where it is looked for, and the settings of one cloud of it
//! (<https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html>).
//!
//! `secure.yaml` beside it adds what should not be read by others; a cloud's `profile` stands in `clouds-public.yaml`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

use crate::error::{During, Error, Result};

/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 4 << 20;

/// Where files may be.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// The one file that is named.
    pub(super) file: Option<PathBuf>,
    /// Directories, in the order of search.
    pub(super) directories: Vec<PathBuf>,
}

/// The settings of the cloud `name`, flat: those under `auth` beside the others.
///
/// # Errors
/// No file, no such cloud in it, or a file that cannot be read.
pub(super) fn find(name: &str, places: &Places) -> Result<BTreeMap<String, String>> {
    let Some((path, clouds)) = first(places, "clouds", places.file.as_deref())? else {
        let looked = places.directories.iter().map(|each| each.join("clouds.yaml").display().to_string());
        return Err(Error::Setup(format!(
            "there is no clouds.yaml for cloud '{name}': looked for {}",
            looked.collect::<Vec<_>>().join(", ")
        )));
    };
    let Some(cloud) = lookup(&clouds, &["clouds", name]) else {
        let known = lookup(&clouds, &["clouds"]).and_then(Yaml::as_hash);
        let known: Vec<&str> = known.iter().flat_map(|hash| hash.keys()).filter_map(Yaml::as_str).collect();
        return Err(Error::Setup(format!(
            "there is no cloud '{name}' in {}; there are: {}",
            path.display(),
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )));
    };
    let mut settings = BTreeMap::new();
    if let Some(profile) = lookup(cloud, &["profile"]).or_else(|| lookup(cloud, &["cloud"])).and_then(Yaml::as_str) {
        let public = first(places, "clouds-public", None)?;
        let Some(vendor) = public.as_ref().and_then(|(_, yaml)| lookup(yaml, &["public-clouds", profile])) else {
            return Err(Error::Setup(format!("profile '{profile}' of cloud '{name}' is in no clouds-public.yaml")));
        };
        flatten(vendor, &mut settings);
    }
    flatten(cloud, &mut settings);
    // Beside the file that was found, then in the usual places.
    let mut secure = places.clone();
    secure.directories.insert(0, path.parent().map_or_else(PathBuf::new, Path::to_path_buf));
    if let Some((_, yaml)) = first(&secure, "secure", None)?
        && let Some(secrets) = lookup(&yaml, &["clouds", name])
    {
        flatten(secrets, &mut settings);
    }
    Ok(settings)
}

/// The first file of this name that is there, parsed.
fn first(places: &Places, stem: &str, named: Option<&Path>) -> Result<Option<(PathBuf, Yaml)>> {
    let usual =
        places.directories.iter().flat_map(|each| ["yaml", "yml"].map(|end| each.join(format!("{stem}.{end}"))));
    let (candidates, must): (Vec<PathBuf>, bool) = match named {
        Some(file) => (vec![file.to_owned()], true),
        None => (usual.collect(), false),
    };
    for path in candidates {
        match fs::metadata(&path) {
            Ok(found) if found.len() > FILE_MAX => {
                return Err(Error::Setup(format!("{} is larger than {FILE_MAX} bytes", path.display())));
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !must => continue,
            _ => {}
        }
        let text = fs::read_to_string(&path).during(|| path.display().to_string())?;
        let parsed = YamlLoader::load_from_str(&text);
        let documents = parsed.map_err(|error| Error::Setup(format!("{}: {error}", path.display())))?;
        return Ok(Some((path, documents.into_iter().next().unwrap_or(Yaml::Null))));
    }
    Ok(None)
}

fn lookup<'y>(yaml: &'y Yaml, path: &[&str]) -> Option<&'y Yaml> {
    path.iter().try_fold(yaml, |yaml, key| yaml.as_hash()?.get(&Yaml::String((*key).to_owned())))
}

/// Adds the scalars of a cloud and of its `auth` to `settings`; what is there is replaced.
fn flatten(cloud: &Yaml, settings: &mut BTreeMap<String, String>) {
    for (key, value) in cloud.as_hash().into_iter().flatten() {
        let Some(key) = key.as_str() else { continue };
        match (key, value) {
            ("auth", auth) => flatten(auth, settings),
            // A list of regions, or of mappings with their names: the first, as the clients do.
            ("regions", Yaml::Array(regions)) => {
                let region = regions.first().and_then(|first| lookup(first, &["name"]).or(Some(first)));
                if let Some(region) = region.and_then(scalar) {
                    settings.entry("region_name".to_owned()).or_insert(region);
                }
            }
            ("verify", Yaml::Boolean(verify)) => {
                settings.insert("insecure".to_owned(), (!verify).to_string());
            }
            (key, value) => {
                if let Some(text) = scalar(value) {
                    settings.insert(key.replace('-', "_"), text);
                }
            }
        }
    }
}

fn scalar(yaml: &Yaml) -> Option<String> {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUDS: &str = "\
# Comments, anchors, quotes, numbers.
x-domain: &domain {user_domain_id: default, project_domain_id: default}
clouds:
  demo:
    auth:
      auth_url: http://127.0.0.1:5000/v3
      username: 'demo'
      password: 12345
      project_name: \"demo project\"
    region_name: RegionOne
    interface: internal
    verify: false
    identity_api_version: 3
  second:
    profile: vendor
    auth_type: v3applicationcredential
    auth: {application_credential_id: abc}
    regions:
      - name: north
        values: {}
      - south
";

    fn places(files: &[(&str, &str)]) -> (tempfile::TempDir, Places) {
        let home = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            fs::write(home.path().join(name), text).expect("a file");
        }
        let places = Places { file: None, directories: vec![home.path().join("none"), home.path().to_owned()] };
        (home, places)
    }

    #[test]
    fn a_cloud_with_its_secrets_and_profile() {
        let (_home, places) = places(&[
            ("clouds.yaml", CLOUDS),
            ("secure.yml", "clouds: {second: {auth: {application_credential_secret: hush}}}"),
            ("clouds-public.yaml", "public-clouds: {vendor: {auth: {auth_url: https://v/v3}, region_name: west}}"),
        ]);
        let demo = find("demo", &places).expect("the cloud");
        let get = |key: &str| demo.get(key).map(String::as_str);
        assert_eq!(get("password"), Some("12345"));
        assert_eq!(get("project_name"), Some("demo project"));
        assert_eq!(get("insecure"), Some("true"));
        assert_eq!(get("interface"), Some("internal"));
        let second = find("second", &places).expect("the cloud");
        let get = |key: &str| second.get(key).map(String::as_str);
        assert_eq!(get("auth_url"), Some("https://v/v3"));
        assert_eq!(get("application_credential_secret"), Some("hush"));
        assert_eq!(get("region_name"), Some("west"), "the profile's region was there first");
    }

    #[test]
    fn what_is_missing_is_named() {
        let (home, places) = places(&[("clouds.yaml", CLOUDS)]);
        let text = |outcome: Result<BTreeMap<String, String>>| outcome.expect_err("an error").to_string();
        let none = text(find("none", &places));
        assert!(none.contains("'none'") && none.contains("demo, second"), "{none}");
        assert!(text(find("second", &places)).contains("profile 'vendor'"));
        let missing = Places { file: Some(home.path().join("other.yaml")), directories: Vec::new() };
        assert!(text(find("demo", &missing)).contains("other.yaml"));
        assert!(text(find("demo", &Places::default())).contains("no clouds.yaml"));
        fs::write(home.path().join("clouds.yaml"), "clouds: [demo\n").expect("a file");
        assert!(text(find("demo", &places)).contains("clouds.yaml"));
    }

    #[test]
    fn any_text_is_read_or_refused() {
        for text in
            ["", "null", "[]", "clouds:", "clouds: 3", "clouds: {demo: x}", "clouds: {demo: {auth: 7}}", "- a", "&a *a"]
        {
            let (_home, places) = places(&[("clouds.yaml", text)]);
            // Nothing panics; whether something is found is another matter.
            let _ = find("demo", &places);
        }
    }
}
