//! The key manager, and the image cache.

use super::super::super::services::{BarbicanOptions, ImageCache, KeyManagerKind};
use super::*;

const KEYSTONE: &str =
    "[keystone_authtoken]\nauth_url = http://k:5000/v3\nauth_type = token\ntoken = t\n[paste_deploy]\n";

#[test]
fn barbican_is_asked_as_the_options_say() {
    let expected = BarbicanOptions {
        endpoint: None,
        keystone: None,
        interface: "public".to_owned(),
        region: None,
        ca_file: None,
        insecure: false,
    };
    assert_eq!(config("").key_manager, KeyManagerKind::Barbican(expected.clone()));
    let keystone = Some("http://k:5000".to_owned());
    let behind = config(&format!("{KEYSTONE}flavor = keystone\n"));
    assert_eq!(behind.key_manager, KeyManagerKind::Barbican(BarbicanOptions { keystone, ..expected }));
    let text = "[barbican]\nbarbican_endpoint = https://b/\nauth_endpoint = http://other/identity/v3\nbarbican_region_name = r\n\
                barbican_endpoint_type = internal\nverify_ssl = false\nverify_ssl_path = /ca.pem\n";
    let expected = BarbicanOptions {
        endpoint: Some("https://b".to_owned()),
        keystone: Some("http://other/identity".to_owned()),
        interface: "internal".to_owned(),
        region: Some("r".to_owned()),
        ca_file: Some("/ca.pem".into()),
        insecure: true,
    };
    assert_eq!(config(text).key_manager, KeyManagerKind::Barbican(expected));
    let refused = load("[barbican]\nbarbican_endpoint = b:9311\n").unwrap_err();
    assert_eq!(
        refused,
        ["0.conf:2: [barbican] barbican_endpoint = b:9311: accepted is a URL that begins with http:// or https://"]
    );
    let (other, warnings) = load("[key_manager]\nbackend = vault\n").unwrap();
    assert_eq!(other.key_manager, KeyManagerKind::Unsupported);
    assert!(warnings[0].contains("backend = vault: only barbican"), "{warnings:?}");
}

#[test]
fn there_is_a_cache_where_a_directory_is_named() {
    let cache = |text: &str| {
        let (config, warnings) = load(text).unwrap();
        assert_eq!(
            warnings.iter().filter(|text| text.starts_with("nothing is cached")).count(),
            usize::from(!text.is_empty())
        );
        config.cache
    };
    assert_eq!(cache(""), None);
    assert_eq!(cache("[paste_deploy]\nflavor = cachemanagement\n"), None);
    let (is_centralized, has_older_interface) = (true, false);
    let plain = ImageCache { is_centralized, has_older_interface };
    assert_eq!(cache("[DEFAULT]\nimage_cache_dir = /c\n[paste_deploy]\nflavor = caching\n"), Some(plain));
    let other =
        "[DEFAULT]\nimage_cache_dir = /c\nimage_cache_driver = sqlite\n[paste_deploy]\nflavor = cachemanagement\n";
    assert_eq!(cache(other), Some(ImageCache { is_centralized: false, has_older_interface: true }));
}
