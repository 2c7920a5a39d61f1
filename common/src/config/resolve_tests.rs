//! Whole files in, [`Config`] or every problem out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;

use super::super::resolved::{
    DataDir, FileStore, LimitsEndpoint, Scope, Secret, ServiceCredentials, StoreConfig, StoreKind,
};
use super::super::settings::Settings;
use super::*;

#[path = "resolve_tests_parts.rs"]
mod parts;
#[path = "resolve_tests_services.rs"]
mod services;
#[path = "resolve_tests_tls.rs"]
mod tls;

type Outcome = Result<(Config, Vec<String>), Vec<String>>;

/// A directory with configuration files, and an environment.
struct Case {
    dir: tempfile::TempDir,
    files: Vec<PathBuf>,
    environment: BTreeMap<String, OsString>,
}

impl Case {
    fn new(texts: &[&str]) -> Self {
        let mut case = Case { dir: tempfile::tempdir().unwrap(), files: Vec::new(), environment: BTreeMap::new() };
        for (index, text) in texts.iter().enumerate() {
            let file = case.dir.path().join(format!("{index}.conf"));
            fs::write(&file, text).unwrap();
            case.files.push(file);
        }
        case
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    fn load_over(&self, overrides: &Overrides) -> Outcome {
        let environment = |name: &str| self.environment.get(name).cloned();
        let shorten = |text: String| text.replace(&format!("{}/", self.dir.path().display()), "");
        match Config::load_with(&self.files, overrides, &environment) {
            Ok((config, warnings)) => Ok((config, warnings.iter().map(|w| shorten(w.to_string())).collect())),
            Err(problems) => Err(problems.iter().map(|p| shorten(p.to_string())).collect()),
        }
    }

    fn load(&self) -> Outcome {
        self.load_over(&Overrides { data_dir: Some("/data".into()), ..Overrides::default() })
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|problems| panic!("{problems:#?}")).0
    }
}

fn load(text: &str) -> Outcome {
    Case::new(&[text]).load()
}

fn config(text: &str) -> Config {
    Case::new(&[text]).config()
}

fn problems(text: &str) -> Vec<String> {
    load(text).map(|(_, warnings)| warnings).expect_err("a problem")
}

fn warnings(text: &str) -> Vec<String> {
    load(text).unwrap_or_else(|problems| panic!("{problems:#?}")).1
}

fn file_store(config: &Config, index: usize) -> &FileStore {
    let StoreKind::File(file) = &config.stores.list[index].kind else { panic!("not a file store") };
    file
}

#[test]
fn without_a_file_everything_is_embedded() {
    let (config, warnings) = Case::new(&[]).load().unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.listen.api.to_string(), "127.0.0.1:9292");
    assert_eq!(config.listen.admin.to_string(), "127.0.0.1:9293");
    let metadefs_dir = "/etc/glance/metadefs/".into();
    assert_eq!(config.paths, Paths { data_dir: "/data".into(), staging_dir: "/data/staging".into(), metadefs_dir });
    assert_eq!(config.database.sqlite, Path::new("/data/catalog.sqlite"));
    assert_eq!(config.auth, Auth { flavor: Flavor::None, allow_anonymous_access: false, keystone: None });
    assert!(!config.stores.multi);
    assert_eq!(config.stores.default, "file");
    assert_eq!(file_store(&config, 0).dirs, [DataDir { path: "/data/images".into(), priority: 0 }]);
    assert_eq!(file_store(&config, 0).file_mode, None);
    assert_eq!(config.policy.file, Vec::<std::path::PathBuf>::new());
    assert_eq!(config.api.page_default, 25);
    assert_eq!(config.api.page_max, 1000);
    assert_eq!(config.api.image_size_max, 1 << 40);
    assert_eq!(config.api.member_quota, Some(128));
    assert_eq!(config.api.user_storage_quota, None);
    assert_eq!(config.api.hashing_algorithm, "sha512");
    assert_eq!(config.api.enabled_import_methods, ["glance-direct", "web-download", "copy-image"]);
    assert_eq!(config.dataplane.cores, None);
    assert_eq!(config.dataplane.request_head_bytes_max, 16384);
    assert_eq!(config.dataplane.idle_timeout, Some(Duration::from_secs(900)));
    assert_eq!(config.dataplane.uploads_max, 512);
    assert_eq!(config.control.retry_after_seconds, 1);
}

#[test]
fn the_data_directory_is_below_the_working_directory_unless_named() {
    let (config, _) = Case::new(&[]).load_over(&Overrides::default()).unwrap();
    assert_eq!(config.paths.data_dir, std::env::current_dir().unwrap().join("vitrine-data"));
}

#[test]
fn every_honoured_option_is_read_and_nothing_else() {
    let mut read = BTreeSet::new();
    for text in ["", "[DEFAULT]\nenabled_backends = a:file, c:rbd\n[paste_deploy]\nflavor = keystone\n"] {
        let case = Case::new(&[text]);
        let settings = Settings::read(&case.files, &|_| None);
        resolve(&settings, &case.files, &Overrides::default());
        read.extend(settings.read.borrow().iter().copied());
    }
    // Keystone's account is read option by option; three kinds of it.
    for kind in ["password", "v3applicationcredential", "token"] {
        let text = format!(
            "auth_url = http://k\nauth_type = {kind}\npassword = x\ntoken = x\napplication_credential_secret = x\nusername = u\nuser_domain_name = d\napplication_credential_id = i\n"
        );
        let text = format!(
            "[DEFAULT]\nuse_keystone_limits = true\n[paste_deploy]\nflavor = keystone\n[keystone_authtoken]\n{text}\
             [oslo_limit]\nendpoint_service_type = image\n{text}"
        );
        let case = Case::new(&[&text]);
        let settings = Settings::read(&case.files, &|_| None);
        assert!(resolve(&settings, &case.files, &Overrides::default()).is_some(), "{:?}", settings.problems.borrow());
        read.extend(settings.read.borrow().iter().copied());
    }
    let honoured: BTreeSet<_> =
        options::rows().filter(|row| row.state == State::Honoured).map(|row| (row.group, row.name)).collect();
    let unread: Vec<_> = honoured.difference(&read).collect();
    assert!(unread.is_empty(), "in the table as honoured, but never read: {unread:?}");
}

#[test]
fn refused_options_are_errors_unless_they_ask_for_nothing() {
    for row in options::rows().filter(|row| matches!(row.state, State::Refused(_))) {
        let value = if row.kind == options::Kind::Bool { "true" } else { "something" };
        let text = problems(&format!("[{}]\n{} = {value}\n", row.group, row.name));
        assert_eq!(text.len(), 1);
        assert!(text[0].starts_with("0.conf:2: [") && text[0].contains("not supported yet"), "{}", text[0]);
        assert!(row.kind != options::Kind::Secret || !text[0].contains("something"), "{}", text[0]);
        config(&format!("[{}]\n{} = {}\n", row.group, row.name, row.default.unwrap_or_default()));
    }
}

#[test]
fn a_real_layout_is_read_whole() {
    let text = "\
[DEFAULT]
# From a deployment tool.
debug = True
log_dir = /var/log/glance
bind_host = 127.0.0.2
bind_port = 9494
workers = 2
transport_url = rabbit://openstack:pw@10.0.0.2:5672//
enabled_backends = fast:file, slow:file
show_image_direct_url = True
enabled_import_methods = [glance-direct,web-download]
image_size_cap = 2199023255552
user_storage_quota = 10GB

[database]
connection = sqlite:////var/lib/glance/glance.sqlite
max_retries = -1

[keystone_authtoken]
www_authenticate_uri = http://10.0.0.1:5000
auth_url = http://10.0.0.1:5000/v3/
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = glance
password = s$$cret
memcached_servers = 10.0.0.2:11211

[paste_deploy]
flavor = keystone

[glance_store]
default_backend = slow

[fast]
filesystem_store_datadir = /srv/fast
weight = 10
store_description = \"Fast disks\"

[slow]
filesystem_store_datadirs = /srv/slow1:100
filesystem_store_datadirs = /srv/slow2:200
filesystem_store_file_perm = 640

[backend_defaults]
filesystem_thin_provisioning = true

[os_glance_staging_store]
filesystem_store_datadir = /srv/staging

[oslo_middleware]
enable_proxy_headers_parsing = True
";
    let (config, warnings) = load(text).unwrap();
    assert_eq!(config.listen.api.to_string(), "127.0.0.2:9494");
    assert_eq!(config.logging, Logging { debug: true, file: Some("/var/log/glance/glance-api.log".into()) });
    assert_eq!(config.dataplane.cores, Some(2));
    assert_eq!(config.database.sqlite, Path::new("/var/lib/glance/glance.sqlite"));
    assert_eq!(config.paths.staging_dir, Path::new("/srv/staging"));
    assert_eq!(config.api.user_storage_quota, Some(10 << 30));
    assert!(config.api.show_image_direct_url && config.api.trust_proxy_headers);
    let store = |id: &str, dirs: &[(&str, i64)], file_mode, weight, description: Option<&str>| StoreConfig {
        id: id.into(),
        kind: StoreKind::File(FileStore {
            dirs: dirs.iter().map(|(path, priority)| DataDir { path: path.into(), priority: *priority }).collect(),
            file_mode,
            thin_provisioning: true,
            chunk_bytes: 65536,
        }),
        weight,
        description: description.map(str::to_owned),
    };
    let expected = [
        store("fast", &[("/srv/fast", 0)], None, 10, Some("Fast disks")),
        store("slow", &[("/srv/slow2", 200), ("/srv/slow1", 100)], Some(0o640), 0, None),
    ];
    assert_eq!(config.stores.list, expected);
    assert_eq!((config.stores.multi, config.stores.default.as_str()), (true, "slow"));
    let keystone = config.auth.keystone.unwrap();
    assert_eq!(keystone.access.auth_url, "http://10.0.0.1:5000");
    let ServiceCredentials::Password { username, password, user_domain_id, .. } = keystone.access.credentials else {
        panic!("a password");
    };
    assert_eq!((username.as_deref(), user_domain_id.as_deref()), (Some("glance"), Some("default")));
    assert_eq!(password.expose(), "s$cret");
    let expected = [
        "0.conf:8: [DEFAULT] transport_url",
        "0.conf:17: [database] max_retries",
        "0.conf:28: [keystone_authtoken] memcached_servers",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, start) in warnings.iter().zip(expected) {
        assert!(warning.starts_with(start) && warning.contains("has no effect"), "{warning}");
    }
}

#[test]
fn all_problems_are_reported_at_once_with_their_place() {
    let found = problems(
        "[DEFAULT]\nbind_port = 70000\ndebug = y\nno separator\napi_limit_max = 5 # pages\nenabled_import_methods = a,b\n\
         [dataplane]\ndriver = fast\nuploads_max = 0\n[paste_deploy]\nflavor = kerberos\n",
    );
    for expected in [
        "0.conf:4: neither a group header nor `key = value`",
        "0.conf:2: [DEFAULT] bind_port = 70000: accepted is a port number from 0 to 65535",
        "0.conf:3: [DEFAULT] debug = y: accepted is true, 1, on, yes, false, 0, off or no",
        "0.conf:5: [DEFAULT] api_limit_max = 5 # pages: accepted is a whole number from 1 to 1000000",
        "0.conf:6: [DEFAULT] enabled_import_methods = a,b: accepted is a list in brackets: [a, b]",
        "0.conf:8: [dataplane] driver = fast: accepted is uring, epoll",
        "0.conf:9: [dataplane] uploads_max = 0: accepted is a whole number from 1 to 1048576",
        "0.conf:11: [paste_deploy] flavor = kerberos: accepted is empty, keystone, caching, cachemanagement, \
         keystone+caching, keystone+cachemanagement",
    ] {
        assert!(found.iter().any(|text| text == expected), "{expected}\nis not among {found:#?}");
    }
    assert_eq!(found.len(), 8, "{found:#?}");
}

#[test]
fn unreadable_files_are_problems() {
    let mut case = Case::new(&["[DEFAULT]\n"]);
    fs::write(case.dir.path().join("binary.conf"), b"[DEFAULT]\nx = \xff\n").unwrap();
    case.files = vec![case.dir.path().join("absent.conf"), case.dir.path().join("binary.conf")];
    let found = case.load().unwrap_err();
    assert!(found[0].starts_with("absent.conf: cannot be read"), "{found:?}");
    assert!(found[1].starts_with("binary.conf: cannot be read: invalid utf-8"), "{found:?}");
}

#[test]
fn later_files_win_and_the_environment_wins_over_files() {
    let case = Case::new(&[
        "[DEFAULT]\nworkers = 1\napi_limit_max = 10\n[DEFAULT]\nworkers = 2\n",
        "[default]\nx=1\n[DEFAULT]\nworkers = 3\n",
    ]);
    assert_eq!(case.config().dataplane.cores, Some(3));
    let case = case
        .env("OS_DEFAULT__WORKERS", "4")
        .env("OS_DATAPLANE__MAX_CONNECTIONS", "77")
        .env("OS_KEYSTONE_AUTHTOKEN__X", "1");
    let config = case.config();
    assert_eq!(config.dataplane.cores, Some(4));
    assert_eq!(config.dataplane.max_connections, 77);
    assert_eq!(config.api.page_max, 10);
    let found = case.env("OS_DEFAULT__WORKERS", "many").load().unwrap_err();
    assert_eq!(
        found,
        [
            "environment variable OS_DEFAULT__WORKERS: [DEFAULT] workers = many: accepted is a whole number from 0 to 1024"
        ]
    );
}

#[test]
fn groups_are_case_insensitive_and_keys_are_not() {
    let text = "[DataPlane]\nmax_connections = 5\n[Default]\ndebug = true\n[DEFAULT]\nDebug = true\nlog-file = x\nhubbub = 1\n[ task ]\nwork_dir = /x\n[nonsense]\na = 1\n";
    let (config, warnings) = load(text).unwrap();
    assert_eq!(config.dataplane.max_connections, 5);
    assert!(!config.logging.debug);
    assert_eq!(
        warnings,
        [
            "0.conf:3: unknown group [Default] is ignored; did you mean [DEFAULT]?",
            "0.conf:9: unknown group [ task ] is ignored; did you mean [task]?",
            "0.conf:11: unknown group [nonsense] is ignored",
            "0.conf:6: unknown option [DEFAULT] Debug is ignored; did you mean debug?",
            "0.conf:7: unknown option [DEFAULT] log-file is ignored; did you mean log_file?",
            "0.conf:8: unknown option [DEFAULT] hubbub is ignored",
        ]
    );
}

#[test]
fn values_refer_to_other_values() {
    let endpoint = |value: &str| {
        let text = format!(
            "[DEFAULT]\nbind_port = 7000\nlog_dir = /log\npublic_endpoint = {value}\n[task]\nwork_dir = /w$log_dir\n"
        );
        load(&text).map(|(config, _)| config.api.public_endpoint.unwrap_or_default())
    };
    for (value, expected) in [
        ("http://h:$bind_port", "http://h:7000"),
        ("http://h:${bind_port}0", "http://h:70000"),
        ("$DEFAULT.bind_port", "7000"),
        ("${DEFAULT.bind_port}x", "7000x"),
        ("$task.work_dir", "/w/log"),
        ("$backlog", "4096"),
        ("[$workers]", "[]"),
        ("a$$b\\$c", "a$b$c"),
        ("$$bind_port", "$bind_port"),
        ("\\$$bind_port", "$7000"),
        ("5$ and $5 ${", "5$ and $5 ${"),
    ] {
        assert_eq!(endpoint(value).as_deref(), Ok(expected), "{value}");
    }
    assert_eq!(endpoint("$nothing").unwrap_err(), ["0.conf:4: [DEFAULT] public_endpoint: ${nothing} names no option"]);
    assert_eq!(
        endpoint("$nogroup.x").unwrap_err(),
        ["0.conf:4: [DEFAULT] public_endpoint: ${nogroup.x} names no option"]
    );
    assert_eq!(
        endpoint("x$public_endpoint").unwrap_err(),
        ["0.conf:4: [DEFAULT] public_endpoint: ${public_endpoint} leads in a circle"]
    );
}

#[test]
fn an_empty_value_is_unset_but_for_text_and_lists() {
    let config = config(
        "[DEFAULT]\nworkers =\nbind_host =\npublic_endpoint =\n[image_format]\ndisk_formats =\n[paste_deploy]\nflavor =\n",
    );
    assert_eq!(config.dataplane.cores, None);
    assert_eq!(config.listen.api.to_string(), "127.0.0.1:9292");
    assert_eq!(config.api.public_endpoint, None);
    assert_eq!(config.api.disk_formats, Vec::<String>::new());
}

#[test]
fn the_new_place_of_an_option_wins_over_the_old() {
    let formats = |text| config(text).api.disk_formats;
    assert_eq!(formats("[DEFAULT]\ndisk_formats = raw\n"), ["raw"]);
    assert_eq!(formats("[image_format]\ndisk_formats = iso\n[DEFAULT]\ndisk_formats = raw\n"), ["iso"]);
    assert_eq!(warnings("[DEFAULT]\ndisk_formats = raw\n"), Vec::<String>::new());
}

#[test]
fn the_command_line_wins() {
    let case = Case::new(&["[DEFAULT]\nbind_host = 0.0.0.0\n"]);
    let listen = Some("127.0.0.1:1".parse().unwrap());
    let admin_listen = Some("127.0.0.1:2".parse().unwrap());
    let (config, _) = case.load_over(&Overrides { data_dir: None, listen, admin_listen }).unwrap();
    assert_eq!((Some(config.listen.api), Some(config.listen.admin)), (listen, admin_listen));
}

#[test]
fn nobody_is_let_in_from_afar_without_authentication_unless_asked_for() {
    let found = problems("[DEFAULT]\nbind_host = 0.0.0.0\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("0.0.0.0:9292") && found[0].contains("allow_remote_unauthenticated"), "{found:?}");
    let open = config("[DEFAULT]\nbind_host = 0.0.0.0\n[control]\nallow_remote_unauthenticated = true\n");
    assert_eq!(open.listen.api.to_string(), "0.0.0.0:9292");
    assert!(config("[DEFAULT]\nbind_host = localhost\n").listen.api.ip().is_loopback());
    assert_eq!(config("[DEFAULT]\nbind_host = ::1\n").listen.api.to_string(), "[::1]:9292");
}

#[test]
fn quotas_below_zero_are_none() {
    let api = config("[DEFAULT]\nimage_member_quota = -1\nimage_tag_quota = 0\nuser_storage_quota = 2KB\n").api;
    assert_eq!((api.member_quota, api.tag_quota, api.user_storage_quota), (None, Some(0), Some(2048)));
}

#[test]
fn the_longest_header_line_raises_the_head() {
    let head = |text: &str| config(text).dataplane.request_head_bytes_max;
    assert_eq!(head("[DEFAULT]\nmax_header_line = 32768\n"), 32768);
    assert_eq!(head("[DEFAULT]\nmax_header_line = 1024\n"), 16384);
    assert_eq!(head("[dataplane]\nrequest_head_bytes_max = 8192\n"), 8192);
}

#[test]
fn idle_time_may_be_unlimited() {
    let idle = |text: &str| config(text).dataplane.idle_timeout;
    assert_eq!(idle("[DEFAULT]\nclient_socket_timeout = 0\n"), None);
    assert_eq!(idle("[DEFAULT]\nclient_socket_timeout = 5\n"), Some(Duration::from_secs(5)));
    assert_eq!(
        idle("[DEFAULT]\nclient_socket_timeout = 5\n[dataplane]\nidle_timeout_seconds = 7\n"),
        Some(Duration::from_secs(7))
    );
}

#[test]
fn database_urls() {
    let sqlite =
        |url: &str| load(&format!("[database]\nconnection = {url}\n")).map(|(config, _)| config.database.sqlite);
    assert_eq!(sqlite("sqlite:////var/x.sqlite"), Ok("/var/x.sqlite".into()));
    assert_eq!(sqlite("sqlite+pysqlite:////var/x.sqlite?timeout=5"), Ok("/var/x.sqlite".into()));
    assert_eq!(sqlite("sqlite:///x.sqlite"), Ok(std::env::current_dir().unwrap().join("x.sqlite")));
    let found = sqlite("mysql+pymysql://glance:hunter2@db/glance").unwrap_err();
    assert!(found[0].starts_with("0.conf:2: [database] connection = mysql://***: not supported yet"), "{found:?}");
    for url in ["sqlite://", "sqlite:///:memory:", "oracle://x/y", "/var/x.sqlite"] {
        let found = sqlite(url).unwrap_err();
        assert!(found[0].contains("accepted is sqlite:////absolute/path"), "{url}: {found:?}");
    }
}

#[test]
fn flavors() {
    for (flavor, expected) in [("", Flavor::None), ("caching", Flavor::None), ("cachemanagement", Flavor::None)] {
        let (config, warnings) = load(&format!("[paste_deploy]\nflavor = {flavor}\n")).unwrap();
        assert_eq!(config.auth.flavor, expected);
        assert_eq!(warnings.len(), usize::from(!flavor.is_empty()), "{warnings:?}");
    }
    let keystone = "[keystone_authtoken]\nauth_url = http://k\nauth_type = token\ntoken = t\n";
    assert_eq!(warnings(keystone).len(), 1);
    for flavor in ["keystone", "keystone+caching", "keystone+cachemanagement"] {
        let (config, warnings) = load(&format!("{keystone}[paste_deploy]\nflavor = {flavor}\n")).unwrap();
        assert_eq!(config.auth.flavor, Flavor::Keystone);
        assert_eq!(config.auth.keystone.unwrap().access.credentials, ServiceCredentials::Token(Secret::new("t")));
        assert_eq!(warnings.len(), usize::from(flavor != "keystone"), "{warnings:?}");
    }
}

#[test]
fn property_protections_need_their_file() {
    let case = Case::new(&["[DEFAULT]\nproperty_protection_file = protect.conf\n"]);
    fs::write(case.dir.path().join("protect.conf"), "").unwrap();
    let file = case.dir.path().join("protect.conf");
    assert_eq!(case.config().protections, Some(ProtectionFile { file, format: ProtectionFormat::Roles }));
    let case = Case::new(&["[DEFAULT]\nproperty_protection_rule_format = policies\n"]);
    assert_eq!(case.config().protections, None);
    let case =
        Case::new(&["[DEFAULT]\nproperty_protection_file = /nowhere/x\nproperty_protection_rule_format = rules\n"]);
    let problems = case.load().unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("property_protection_file = /nowhere/x")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("roles, policies")), "{problems:?}");
}

#[test]
fn policy_files_are_searched_beside_the_configuration() {
    let case = Case::new(&["[oslo_policy]\npolicy_dirs = policy.d\npolicy_dirs = absent.d\n"]);
    fs::write(case.dir.path().join("policy.yaml"), "").unwrap();
    fs::create_dir(case.dir.path().join("policy.d")).unwrap();
    let policy = case.config().policy;
    assert_eq!(policy.file[0], case.dir.path().join("policy.yaml"));
    let first: Vec<_> = policy.dirs.iter().map(|places| places[0].clone()).collect();
    assert_eq!(first, [case.dir.path().join("policy.d"), case.dir.path().join("absent.d")]);
    assert_eq!(policy.dirs[0].last().map(std::path::PathBuf::as_path), Some(Path::new("/etc/policy.d")));
    let absent = "policy-that-is-nowhere.yaml";
    let found = warnings(&format!("[oslo_policy]\npolicy_file = {absent}\n"));
    assert_eq!(
        found,
        [format!("[oslo_policy] policy_file = {absent}: there is no such file; the default rules apply")]
    );
}
