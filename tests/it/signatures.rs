//! Signed images: what is taken, what is refused, and that nothing of that is left.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, SigningKey, date_time_ymd};
use serde_json::{Value, json};

use crate::harness::barbican::Barbican;
use crate::harness::client::{Response, head};
use crate::harness::data::bytes;
use crate::harness::keystone::Keystone;
use crate::harness::origin::{Origin, whole};
use crate::harness::packed::gzip;
use crate::harness::server::OCTETS;
use crate::harness::{Server, eventually};

/// What an import may take in a test that shares its processors with others.
const PATIENCE: Duration = Duration::from_secs(30);

struct Site {
    server: Server,
    barbican: Barbican,
}

/// Who signs.
struct Signer {
    key: KeyPair,
    certificate: String,
}

impl Signer {
    /// One whose certificate ends with the year `end`.
    fn until(end: i32) -> Signer {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(end, 12, 31);
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Signer { key, certificate }
    }

    /// The properties of an image with this data, by the certificate of this id.
    fn sign(&self, data: &[u8], certificate: &str) -> Value {
        json!({
            "img_signature": base64(&self.key.sign(data).expect("a signature")),
            "img_signature_hash_method": "SHA-384",
            "img_signature_key_type": "ECC_SECP384R1",
            "img_signature_certificate_uuid": certificate,
        })
    }
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

impl Site {
    /// With Barbican's address in the configuration.
    fn new() -> Site {
        let barbican = Barbican::start();
        let endpoint = format!("[barbican]\nbarbican_endpoint = http://{}/\n", barbican.address);
        Site::with(barbican, &Keystone::start(), &endpoint)
    }

    fn with(barbican: Barbican, keystone: &Keystone, more: &str) -> Site {
        Site { server: Server::with_config(&format!("{}{more}", keystone.config())), barbican }
    }

    fn ask(&self, method: &str, path: &str, content_type: &str, body: Option<&[u8]>) -> Response {
        self.server.request(method, path, &[("X-Auth-Token", "right"), ("Content-Type", content_type)], body)
    }

    /// A queued image with these properties.
    fn queued(&self, properties: &Value) -> String {
        let mut image = json!({"disk_format": "raw", "container_format": "bare"});
        image.as_object_mut().expect("an object").extend(properties.as_object().expect("an object").clone());
        let created = self.ask("POST", "/v2/images", "application/json", Some(image.to_string().as_bytes()));
        created.expect(201).json()["id"].as_str().expect("an id").to_owned()
    }

    fn show(&self, id: &str) -> Value {
        self.ask("GET", &format!("/v2/images/{id}"), "application/json", None).expect(200).json()
    }

    fn upload(&self, id: &str, data: &[u8]) -> Response {
        self.ask("PUT", &format!("/v2/images/{id}/file"), OCTETS, Some(data))
    }

    /// The task of an image, once it is over.
    #[track_caller]
    fn task(&self, id: &str) -> Value {
        let over = eventually(PATIENCE, || {
            let tasks = self.ask("GET", &format!("/v2/images/{id}/tasks"), "application/json", None).expect(200).json();
            let task = tasks["tasks"].get(0)?.clone();
            ["success", "failure"].map(Value::from).contains(&task["status"]).then_some(task)
        });
        over.unwrap_or_else(|| panic!("the task does not end:\n{}", self.server.log()))
    }

    #[track_caller]
    fn assert_nothing_left(&self, id: &str) {
        let image = self.show(id);
        assert_eq!(
            (&image["status"], &image["checksum"], &image["size"]),
            (&json!("queued"), &Value::Null, &Value::Null)
        );
        self.server.assert_bytes_gone(Some(id));
    }
}

#[test]
fn data_must_be_what_was_signed() {
    let site = Site::new();
    let signer = Signer::until(2999);
    let certificate = site.barbican.put("certificate", signer.certificate.as_bytes());
    // Of several buffers, as it streams.
    let data = bytes(31, 5_000_001);
    let id = site.queued(&signer.sign(&data, &certificate));
    for octet in [0, 2_500_000, 5_000_000] {
        let mut other = data.clone();
        other[octet] ^= 1;
        let refused = site.upload(&id, &other).expect(400).text();
        let text = format!("Signature verification failed for image {id}: Signature verification failed");
        assert!(refused.contains(&text), "{refused}");
        site.assert_nothing_left(&id);
    }
    site.upload(&id, &data[1..]).expect(400);
    site.upload(&id, &data).expect(204);
    let image = site.show(&id);
    assert_eq!((&image["status"], &image["os_hash_algo"]), (&json!("active"), &json!("sha512")));
    // One property less: the image is not signed, as Glance has it.
    let mut three = signer.sign(b"something else", &certificate);
    three.as_object_mut().expect("an object").remove("img_signature_key_type");
    site.upload(&site.queued(&three), &data).expect(204);
}

#[test]
fn what_cannot_be_verified_is_refused_before_its_data() {
    let site = Site::new();
    let signer = Signer::until(2999);
    let data = bytes(32, 3000);
    let certificate = site.barbican.put("certificate", signer.certificate.as_bytes());
    let expired = Signer::until(2021);
    let expired = site.barbican.put("certificate", expired.certificate.as_bytes());
    let (opaque, none) = (site.barbican.put("opaque", b"x"), site.barbican.put("certificate", b"not a certificate"));
    let absent = "6c1dbb45-7b16-4d4c-9c5c-8bd16a4ab4ba".to_owned();
    let cursive = |reason: &str| format!(": Signature verification for the image failed: {reason}.");
    let cases = [
        ("img_signature", "YQ".to_owned(), cursive("The signature data was not properly encoded using base64")),
        ("img_signature", String::new(), cursive("Error occurred while creating the verifier")),
        ("img_signature_hash_method", "MD5".to_owned(), cursive("Invalid signature hash method: MD5")),
        ("img_signature_key_type", "ECC_SECT571K1".to_owned(), cursive("Invalid signature key type: ECC_SECT571K1")),
        (
            "img_signature_key_type",
            "RSA-PSS".to_owned(),
            cursive("Invalid public key type for signature key type: RSA-PSS"),
        ),
        (
            "img_signature_certificate_uuid",
            absent.clone(),
            cursive(&format!("Certificate not found with ID: {absent}")),
        ),
        ("img_signature_certificate_uuid", "../orders".to_owned(), "Secret incorrectly specified.".to_owned()),
        ("img_signature_certificate_uuid", opaque, cursive("Invalid certificate format: Opaque")),
        ("img_signature_certificate_uuid", none, cursive("The certificate cannot be read as X.509")),
        ("img_signature_certificate_uuid", expired, ": The certificate is outside its valid date range.".to_owned()),
    ];
    for (name, value, text) in cases {
        let mut properties = signer.sign(&data, &certificate);
        properties[name] = json!(value);
        let id = site.queued(&properties);
        let refused = site.upload(&id, &data).expect(400).text();
        assert!(refused.contains(&text), "{name} {value}: {refused}");
        site.assert_nothing_left(&id);
    }
}

#[test]
fn imports_are_verified_too() {
    let site = Site::new();
    let signer = Signer::until(2999);
    let certificate = site.barbican.put("certificate", signer.certificate.as_bytes());
    let data = bytes(33, 2_000_000);
    let import = |properties: &Value| {
        let id = site.queued(properties);
        site.ask("PUT", &format!("/v2/images/{id}/stage"), OCTETS, Some(&data)).expect(204);
        let body = json!({"method": {"name": "glance-direct"}}).to_string();
        site.ask("POST", &format!("/v2/images/{id}/import"), "application/json", Some(body.as_bytes())).expect(202);
        let task = site.task(&id);
        (id, task)
    };
    let (id, task) = import(&signer.sign(&data, &certificate));
    assert_eq!((&task["status"], &site.show(&id)["status"]), (&json!("success"), &json!("active")));

    let (id, task) = import(&signer.sign(b"other data", &certificate));
    let text = format!("Signature verification failed for image {id}: Signature verification failed");
    assert_eq!((&task["status"], &task["message"]), (&json!("failure"), &json!(text)));
    site.assert_nothing_left(&id);

    let mut unknown = signer.sign(&data, &certificate);
    unknown["img_signature_hash_method"] = json!("SHA-1");
    let (id, task) = import(&unknown);
    let message = task["message"].as_str().expect("a text");
    assert!(message.contains("Invalid signature hash method: SHA-1."), "{message}");
    site.assert_nothing_left(&id);
}

#[test]
fn what_is_fetched_is_verified_as_it_is_stored() {
    let barbican = Barbican::start();
    let more = format!(
        "[barbican]\nbarbican_endpoint = http://{}\n[import_filtering_opts]\nallowed_hosts = [127.0.0.1]\n\
         allowed_ports = []\n[image_import_opts]\nimage_import_plugins = [image_decompression]\n",
        barbican.address
    );
    let site = Site::with(barbican, &Keystone::start(), &more);
    let signer = Signer::until(2999);
    let certificate = site.barbican.put("certificate", signer.certificate.as_bytes());
    let data = bytes(38, 1_500_000);
    let packed = gzip(&data);
    let sent = packed.clone();
    let origin = Origin::start(move |_, wire| whole(wire, &sent));
    // What is signed is what the image will be, not what comes.
    for (signed, status) in [(&data, "success"), (&packed, "failure")] {
        let id = site.queued(&signer.sign(signed, &certificate));
        let body = json!({"method": {"name": "web-download", "uri": origin.url("/")}}).to_string();
        site.ask("POST", &format!("/v2/images/{id}/import"), "application/json", Some(body.as_bytes())).expect(202);
        let task = site.task(&id);
        assert_eq!(task["status"], json!(status), "{task}\n{}", site.server.log());
        match status {
            "success" => assert_eq!(site.show(&id)["size"], json!(data.len())),
            _ => site.assert_nothing_left(&id),
        }
    }
}

#[test]
fn barbican_is_found_in_the_catalog() {
    let signer = Signer::until(2999);
    let data = bytes(34, 5000);
    for (region, status) in [("one", 204), ("three", 400)] {
        let barbican = Barbican::start();
        let keystone = Keystone::with_services(&format!("http://{}/v1", barbican.address), "http://127.0.0.1:1");
        // The digest of the signature is that of the image too.
        let more = format!("[barbican]\nbarbican_region_name = {region}\n[DEFAULT]\nhashing_algorithm = sha384\n");
        let site = Site::with(barbican, &keystone, &more);
        let certificate = site.barbican.put("certificate", signer.certificate.as_bytes());
        let id = site.queued(&signer.sign(&data, &certificate));
        let answer = site.upload(&id, &data).expect(status).text();
        let text = format!("Unable to retrieve certificate with ID: {certificate}.");
        assert_eq!(answer.contains(&text), status == 400, "{answer}");
    }
}

#[test]
fn signers_must_be_certified_where_authorities_are_named() {
    let home = tempfile::tempdir().expect("a directory");
    let (trusted, stranger) = (Signer::until(2999), Signer::until(2999));
    let file = home.path().join("ca.pem");
    std::fs::write(&file, &trusted.certificate).expect("written");
    let barbican = Barbican::start();
    let more = format!(
        "[barbican]\nbarbican_endpoint = http://{}\n[control]\nsignature_ca_file = {}\n",
        barbican.address,
        file.display()
    );
    let site = Site::with(barbican, &Keystone::start(), &more);
    let data = bytes(35, 5000);
    for (signer, status) in [(trusted, 204), (stranger, 400)] {
        let certificate = site.barbican.put("certificate", signer.certificate.as_bytes());
        let id = site.queued(&signer.sign(&data, &certificate));
        let answer = site.upload(&id, &data).expect(status).text();
        assert_eq!(answer.contains("was not issued by an authority that is trusted here."), status == 400, "{answer}");
    }
}

#[test]
fn a_new_control_still_knows_what_was_signed() {
    let site = Site::new();
    let signer = Signer::until(2999);
    let certificate = site.barbican.put("certificate", signer.certificate.as_bytes());
    let data = bytes(36, 3_000_000);
    let other = bytes(37, 3_000_000);
    for (sent, status) in [(&data, 204), (&other, 400)] {
        let id = site.queued(&signer.sign(&data, &certificate));
        let mut connection = site.server.connect();
        let headers = [("X-Auth-Token", "right"), ("Content-Type", OCTETS)];
        let path = format!("/v2/images/{id}/file");
        connection.send(&head("PUT", &path, &headers, Some(sent.len()))).expect("sending");
        connection.send(&sent[..1_000_000]).expect("sending");
        let begun = eventually(PATIENCE, || (site.show(&id)["status"] == "saving").then_some(()));
        assert!(begun.is_some(), "{}", site.server.log());
        site.server.kill_plane("control");
        connection.send(&sent[1_000_000..]).expect("sending");
        connection.patience(PATIENCE);
        connection.response("PUT").expect("an answer").expect(status);
    }
}
