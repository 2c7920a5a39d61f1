//! TLS towards clients.

use super::super::super::resolved::{ClientAuth, Tls};
use super::*;

fn tls(text: &str) -> Tls {
    config(text).dataplane.tls.unwrap_or_else(|| panic!("no TLS: {text}"))
}

#[test]
fn there_is_no_tls_unless_it_is_asked_for() {
    assert_eq!(config("").dataplane.tls, None);
}

#[test]
fn certificate_and_key_are_enough() {
    let expected = Tls {
        cert_file: "/etc/c.pem".into(),
        key_file: "/etc/k.pem".into(),
        client_ca_file: None,
        client_auth: ClientAuth::None,
        v1_2: true,
        v1_3: true,
        handshake_timeout: Duration::from_secs(10),
        kernel: true,
    };
    assert_eq!(tls("[dataplane]\ntls_cert_file = /etc/c.pem\ntls_key_file = /etc/k.pem\n"), expected);
    // As in a configuration file of old.
    assert_eq!(tls("[DEFAULT]\ncert_file = /etc/c.pem\nkey_file = /etc/k.pem\n"), expected);
}

#[test]
fn an_authority_asks_for_certificates_as_it_does_in_glance() {
    let files = "cert_file = /c\nkey_file = /k\nca_file = /a\n";
    let required = tls(&format!("[DEFAULT]\n{files}"));
    assert_eq!(required.client_ca_file.as_deref(), Some(Path::new("/a")));
    assert_eq!(required.client_auth, ClientAuth::Required);
    let optional = tls(&format!("[DEFAULT]\n{files}[dataplane]\ntls_client_auth = optional\n"));
    assert_eq!(optional.client_auth, ClientAuth::Optional);
    let none = tls(&format!("[DEFAULT]\n{files}[dataplane]\ntls_client_auth = none\n"));
    assert_eq!(none.client_auth, ClientAuth::None);
}

#[test]
fn versions_and_the_rest_are_read() {
    let chosen = tls(
        "[dataplane]\ntls_cert_file = /c\ntls_key_file = /k\ntls_versions = 1.3\ntls_handshake_timeout_seconds = 3\ntls_kernel = off\n",
    );
    assert_eq!((chosen.v1_2, chosen.v1_3), (false, true));
    assert_eq!(chosen.handshake_timeout, Duration::from_secs(3));
    assert!(!chosen.kernel);
}

#[test]
fn halves_and_nonsense_are_errors() {
    let group = "[dataplane]\n";
    let both = "tls_cert_file = /c\ntls_key_file = /k\n";
    for (text, expected) in [
        (
            format!("{group}tls_cert_file = /c\n"),
            "[dataplane] tls_cert_file = /c: accepted is this together with tls_key_file",
        ),
        (
            format!("{group}tls_key_file = /k\n"),
            "[dataplane] tls_key_file = /k: accepted is this together with tls_cert_file",
        ),
        (
            format!("{group}tls_client_ca_file = /a\n"),
            "[dataplane] tls_client_ca_file = /a: accepted is this beside tls_cert_file and tls_key_file",
        ),
        (
            format!("{group}{both}tls_client_auth = required\n"),
            "[dataplane] tls_client_auth = required: accepted is none, unless tls_client_ca_file is set",
        ),
        (format!("{group}{both}tls_client_auth = maybe\n"), "accepted is none, optional, required"),
        (format!("{group}{both}tls_versions = 1.1,1.2\n"), "[dataplane] tls_versions = 1.1,1.2: accepted is 1.2, 1.3"),
        (format!("{group}{both}tls_versions =\n"), "[dataplane] tls_versions = : accepted is 1.2, 1.3"),
        (format!("{group}{both}tls_handshake_timeout_seconds = 0\n"), "a whole number from 1 to 3600"),
    ] {
        let problems = problems(&text);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{text}: {problems:?}");
    }
}
