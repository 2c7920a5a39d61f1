//! Stores and Keystone's account.

use super::*;
use crate::config::{Learnt, Plugin, RbdStore};

#[test]
fn a_single_store_stands_in_glance_store() {
    let single = config(
        "[glance_store]\nstores = file\ndefault_store = filesystem\nfilesystem_store_datadir = /srv/images/\n[DEFAULT]\nnode_staging_uri = file:///srv/staging\n",
    );
    assert_eq!(file_store(&single, 0).dirs[0].path, Path::new("/srv/images/"));
    assert_eq!(single.paths.staging_dir, Path::new("/srv/staging"));
    assert_eq!(single.stores.list.len(), 1);
    let usual = config("[glance_store]\nstores = file,http,https\n");
    let kinds: Vec<_> = usual.stores.list.iter().map(|store| (store.id.as_str(), store.kind.is_writable())).collect();
    assert_eq!(kinds, [("file", true), ("http", false)]);
    let s3 = problems("[glance_store]\nstores = s3\ndefault_store = s3\n");
    assert_eq!(s3.len(), 1, "{s3:?}");
    assert!(s3[0].starts_with("0.conf:3: [glance_store] default_store = s3: not supported yet"), "{s3:?}");
    let rbd = "rbd_store_pool = p\nrbd_store_user = glance\nrbd_store_ceph_conf = /etc/ceph/c.conf\nrbd_store_chunk_size = 4\n\
               rados_connect_timeout = 9\nrbd_thin_provisioning = true\n";
    let rbd = config(&format!("[glance_store]\nstores = rbd\ndefault_store = rbd\n{rbd}"));
    let [StoreConfig { id, kind: StoreKind::Rbd(store), .. }] = rbd.stores.list.as_slice() else { panic!("one store") };
    assert_eq!((id.as_str(), rbd.stores.default.as_str()), ("rbd", "rbd"));
    let expected = RbdStore {
        pool: "p".to_owned(),
        user: Some("glance".to_owned()),
        conf: Some(PathBuf::from("/etc/ceph/c.conf")),
        chunk_bytes: 4 << 20,
        timeout: Some(Duration::from_secs(9)),
        thin_provisioning: true,
        fsid: Learnt::default(),
    };
    assert_eq!(*store, expected);
    let usual = config("[glance_store]\nstores = file,rbd\n");
    let [_, StoreConfig { kind: StoreKind::Rbd(store), .. }] = usual.stores.list.as_slice() else {
        panic!("two stores")
    };
    let usual = (store.pool.as_str(), &store.user, &store.conf, store.chunk_bytes, store.timeout);
    assert_eq!(usual, ("images", &None, &None, 8 << 20, None));
    assert_eq!(
        problems("[glance_store]\nstores = rbd\nrbd_store_chunk_size = 64\n"),
        ["0.conf:3: [glance_store] rbd_store_chunk_size = 64: accepted is a whole number from 1 to 32"]
    );
    assert_eq!(
        problems("[DEFAULT]\nnode_staging_uri = http://x/\n"),
        ["0.conf:2: [DEFAULT] node_staging_uri = http://x/: accepted is file:///absolute/path"]
    );
}

#[test]
fn import_plug_ins_and_their_settings() {
    let none = config("").plugins;
    assert_eq!((none.steps.as_slice(), none.convert(), none.output_format.as_str()), (&[][..], false, "raw"));
    assert_eq!(none.inject_ignored_roles, ["admin"]);
    assert_eq!(none.vmdk_types, ["streamOptimized", "monolithicSparse"]);
    let some = config(
        "[image_import_opts]\nimage_import_plugins = [no_op, 'image_conversion', inject_image_metadata]\n\
         [image_conversion]\noutput_format = vmdk\n[inject_metadata_properties]\ninject = a:b, c:d:e\nignore_user_roles = x,y\n\
         [dataplane]\nconversion_cpu_seconds = 5\n",
    )
    .plugins;
    assert_eq!(some.steps, [Plugin::Convert, Plugin::InjectMetadata]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(some.inject, [pair("a", "b"), pair("c", "d:e")]);
    assert_eq!((some.inject_ignored_roles.len(), some.conversion.cpu), (2, Duration::from_secs(5)));
    assert_eq!(some.output_format, "vmdk");
    let wrong = |value: &str| problems(&format!("[image_import_opts]\nimage_import_plugins = {value}\n"));
    assert!(wrong("[x]")[0].contains("image_import_plugins = x: accepted is a list in brackets of image_conversion"));
    assert!(wrong("[image_decompression,image_decompression]")[0].contains("accepted is each plug-in once"));
    assert!(wrong("no_op")[0].contains("a list in brackets"));
}

#[test]
fn directories_of_a_store() {
    let case = |lines: &str| load(&format!("[glance_store]\n{lines}"));
    let dirs = |lines: &str| file_store(&case(lines).unwrap().0, 0).dirs.clone();
    let emptied =
        dirs("filesystem_store_datadir =\nfilesystem_store_datadirs = /a\nfilesystem_store_datadirs = /b : 5\n");
    let expected = [("/b", 5), ("/a", 0)].map(|(path, priority)| DataDir { path: path.into(), priority });
    assert_eq!(emptied, expected);
    for (lines, problem) in [
        (
            "filesystem_store_datadir = /a\nfilesystem_store_datadirs = /b\n",
            "0.conf:3: [glance_store] filesystem_store_datadirs = /b: accepted is either filesystem_store_datadir or filesystem_store_datadirs, not both",
        ),
        (
            "filesystem_store_datadirs = /b:high\n",
            "0.conf:2: [glance_store] filesystem_store_datadirs = /b:high: accepted is path or path:priority, each path once",
        ),
        (
            "filesystem_store_file_perm = 649\n",
            "0.conf:2: [glance_store] filesystem_store_file_perm = 649: accepted is octal digits, such as 640",
        ),
    ] {
        assert_eq!(case(lines).unwrap_err(), [problem]);
    }
}

#[test]
fn several_stores_are_checked() {
    let several =
        |backends: &str, rest: &str| load(&format!("[DEFAULT]\nenabled_backends = {backends}\n[glance_store]\n{rest}"));
    assert_eq!(
        several("a:file", "").unwrap_err(),
        ["[glance_store] default_backend must be set: enabled_backends needs a store for new images"]
    );
    assert_eq!(
        several("a:file", "default_backend = b\n").unwrap_err(),
        ["0.conf:4: [glance_store] default_backend = b: accepted is an id of enabled_backends: a"]
    );
    assert_eq!(
        several("a:file, b:s3", "default_backend = a\n").unwrap_err(),
        [
            "0.conf:2: [DEFAULT] enabled_backends = b:s3: not supported yet: store b: only stores of the kinds file, http and rbd are there, no s3"
        ]
    );
    assert_eq!(
        several("os_glance_x:file, b:tape, a:file", "default_backend = a\n").unwrap_err(),
        [
            "0.conf:2: [DEFAULT] enabled_backends = os_glance_x: accepted is ids that are not empty and do not begin with os_glance_",
            "0.conf:2: [DEFAULT] enabled_backends = b:tape: accepted is stores of the kinds file, http, rbd, s3, swift, cinder, vmware",
        ]
    );
    let shared = several("a:file,B:file", "default_backend = a\n").unwrap_err();
    assert_eq!(
        shared,
        ["stores a and B have the same directory /data/images: set filesystem_store_datadir in [a] and [B]"]
    );
    let text = "default_backend = a\nfilesystem_store_datadir = /x\n[a]\ns3_store_host = p\noops = 1\n[b]\nfilesystem_store_datadir = /b\n";
    let (config, warnings) = several("a:file,B:file", text).unwrap();
    assert_eq!(file_store(&config, 1).dirs[0].path, Path::new("/b"));
    assert_eq!(
        warnings,
        [
            "0.conf:5: [glance_store] filesystem_store_datadir has no effect: options of stores are not read from this group in this mode",
            "0.conf:7: [a] s3_store_host has no effect: stores of this kind are not there yet",
            "0.conf:8: unknown option [a] oops is ignored",
        ]
    );
}

#[test]
fn an_account_may_stand_in_another_group_and_must_be_whole() {
    let keystone = |lines: &str| load(&format!("[paste_deploy]\nflavor = keystone\n[keystone_authtoken]\n{lines}"));
    let elsewhere = "auth_section = Account\n[account]\nauth_type = v3applicationcredential\nauth_url = https://k/identity/v3\napplication_credential_id = i\napplication_credential_secret = s\n";
    let (config, warnings) = keystone(elsewhere).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let auth = config.auth.keystone.unwrap();
    assert_eq!(auth.access.auth_url, "https://k/identity");
    assert_eq!(auth.www_authenticate_uri, "https://k/identity");
    assert_eq!(auth.access.scope, Scope::Unscoped);
    assert!(
        matches!(auth.access.credentials, ServiceCredentials::ApplicationCredential { id: Some(id), .. } if id == "i")
    );
    let found = keystone("").unwrap_err();
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("[keystone_authtoken] auth_type must be set"), "{found:?}");
    assert!(found[1].starts_with("[keystone_authtoken] auth_url must be set"), "{found:?}");
    let found = keystone("auth_type = password\nauth_url = k\nusername = u\nproject_name = p\n").unwrap_err();
    let options: Vec<_> = found.iter().map(|text| text.split(" must").next().unwrap_or("")).collect();
    assert_eq!(
        options,
        [
            "[keystone_authtoken] user_domain_name",
            "[keystone_authtoken] password",
            "0.conf:5: [keystone_authtoken] auth_url = k: accepted is a URL that begins with http:// or https://",
            "[keystone_authtoken] project_domain_name",
        ]
    );
    let old = "auth_plugin = password\nauth_url = http://k\nuser_name = u\npassword = hunter2\ntenant_name = t\ndefault_domain_id = d\ntoken_cache_time = -1\nservice_token_roles = Service, Admin\n";
    let auth = keystone(old).unwrap().0.auth.keystone.unwrap();
    let scope = Scope::Project { name: Some("t".into()), id: None, domain_name: None, domain_id: Some("d".into()) };
    assert_eq!((auth.access.scope.clone(), auth.token_cache), (scope, None));
    assert_eq!(auth.service_token_roles, ["service", "admin"]);
    let cached = |seconds: &str| {
        let account = "auth_type = token\ntoken = t\nauth_url = http://k\n";
        keystone(&format!("{account}token_cache_time = {seconds}\n"))
            .map(|(config, _)| config.auth.keystone.unwrap().token_cache)
    };
    assert_eq!((cached("0"), cached("86400")), (Ok(None), Ok(Some(Duration::from_secs(86_400)))));
    let refused =
        "0.conf:7: [keystone_authtoken] token_cache_time = 86401: accepted is a whole number from -1 to 86400";
    assert_eq!(cached("86401"), Err(vec![refused.to_owned()]));
    assert!(!format!("{:?}", auth.access).contains("hunter2"));
}

#[test]
fn unified_limits_need_an_account_and_an_endpoint_and_take_the_place_of_the_quota() {
    let limits =
        |lines: &str| load(&format!("[DEFAULT]\nuse_keystone_limits = true\nuser_storage_quota = 1GB\n{lines}"));
    let account = "[oslo_limit]\nauth_url = http://k/v3\nauth_type = password\nusername = g\nuser_domain_id = default\n\
                   password = hunter2\nsystem_scope = all\n";
    let (config, warnings) = limits(&format!("{account}endpoint_id = e1\ntimeout = 3\nconnect_retries = 2\n")).unwrap();
    assert_eq!((config.api.user_storage_quota, warnings), (None, Vec::new()));
    let found = config.limits.unwrap();
    assert_eq!(found.endpoint, LimitsEndpoint::Id("e1".into()));
    assert_eq!((found.access.auth_url.as_str(), &found.access.scope), ("http://k", &Scope::System));
    assert_eq!((found.access.connect_timeout, found.access.request_retries), (Some(Duration::from_secs(3)), 2));
    let lookup = "endpoint_service_type = image\nendpoint_region_name = R\nendpoint_interface = internalURL\n";
    let found = limits(&format!("{account}{lookup}")).unwrap().0.limits.unwrap();
    let wanted = LimitsEndpoint::Lookup {
        service_type: Some("image".into()),
        service_name: None,
        region: Some("R".into()),
        interface: "internal".into(),
    };
    assert_eq!(found.endpoint, wanted);
    let problems = limits(account).unwrap_err();
    assert!(problems[0].starts_with("[oslo_limit] endpoint_id must be set"), "{problems:?}");
    let problems = limits("").unwrap_err();
    assert!(problems[0].starts_with("[oslo_limit] auth_type must be set"), "{problems:?}");
    let bad = limits(&format!("{account}endpoint_id = e\nendpoint_interface = secret\n")).unwrap_err();
    assert!(bad[0].contains("endpoint_interface = secret: accepted is public"), "{bad:?}");
    let (config, _) = load("[DEFAULT]\nuser_storage_quota = 1GB\n[oslo_limit]\nauth_url = nonsense\n").unwrap();
    assert_eq!((config.limits, config.api.user_storage_quota), (None, Some(1 << 30)));
}
