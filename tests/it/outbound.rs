//! SEC-S02 where somebody really listens: in an internet of the test's own (`harness/internet.rs`) one server has every address, and counts
//! who connects to those that are not public.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::glance_download::{USER, described, path, wanted};
use crate::harness::data::bytes;
use crate::harness::keystone::Keystone;
use crate::harness::origin::{Origin, Wire, redirect, whole};
use crate::harness::server::Options;
use crate::harness::tasks::last_task as task;
use crate::harness::{Server, dns, internet};
use crate::web_download::{NOT_FETCHED, assert_stored, assert_untouched, import};

/// Where anybody may have a request sent. The first redirects.
const PUBLIC: [&str; 3] = ["8.8.8.8", "1.1.1.1", "2606:4700::1111"];

/// Addresses that are not public, and can be connected to where they are routed.
const INSIDE: [&str; 45] = [
    // This host, and what stands for it.
    "0.0.0.0",
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "::",
    "::1",
    // This network; private networks, their first and last addresses; a provider's own; metadata services of clouds.
    "0.1.2.3",
    "10.0.0.0",
    "10.1.2.3",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "169.254.0.1",
    "169.254.169.254",
    // Protocol assignments, documentation, benchmarks, reserved.
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    // Unique local addresses, a metadata service among them; site-local ones of old.
    "fc00::1",
    "fd00:ec2::254",
    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fec0::1",
    // IPv4 inside of IPv6: mapped, compatible, translated (SIIT), NAT64 (well known, local), 6to4, Teredo.
    "::ffff:10.1.2.3",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::10.1.2.3",
    "::ffff:0:10.1.2.3",
    "64:ff9b::10.1.2.3",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::10.1.2.3",
    "2002:a01:203::1",
    "2002:a9fe:a9fe::",
    "2001:0:a01:203::1",
    // Discard, documentation, benchmarks.
    "100::1",
    "2001:db8::1",
    "3fff::1",
    "2001:2::1",
];

/// Addresses that no connection leads to, whoever wants it: of a link that is not named, of many machines.
const NOWHERE: [&str; 4] = ["fe80::1", "fe80::a9fe:a9fe", "224.0.0.1", "ff02::1"];

const DATA: &[u8] = b"what somebody inside says";

fn host(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// A name that stands for one of the addresses.
fn name(index: usize) -> String {
    format!("n{index}.test")
}

/// The URLs of one of [`INSIDE`] and [`NOWHERE`]: by address, and by name.
fn urls(index: usize, address: &str) -> [String; 2] {
    [format!("http://{}/", host(address)), format!("http://{}/", name(index))]
}

fn addresses() -> impl Iterator<Item = (usize, &'static str)> {
    INSIDE.into_iter().chain(NOWHERE).enumerate()
}

/// Answers at each address: the first public one redirects `/NUMBER` to the address of that number, and `/name/NUMBER` to its name.
fn answer(head: &str, wire: &mut dyn Wire) {
    let from = head.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    let mut parts = path(head).rsplit('/');
    match parts.next().and_then(|number| number.parse::<usize>().ok()) {
        Some(number) if from == PUBLIC[0] => {
            let (_, address) = addresses().nth(number).expect("one of them");
            let by_name = usize::from(parts.next() == Some("name"));
            redirect(wire, [301, 302, 303, 307, 308][number % 5], &urls(number, address)[by_name]);
        }
        _ => whole(wire, DATA),
    }
}

/// Starts the name server; what runs a command that asks it.
fn named(home: &tempfile::TempDir) -> Vec<String> {
    dns::start(home.path(), |asked, _| match addresses().find(|(index, _)| name(*index) == asked) {
        Some((_, address)) => vec![address.parse().expect("an address")],
        None if asked == "public.test" => vec![PUBLIC[1].parse().expect("an address")],
        None => Vec::new(),
    })
}

/// Of the addresses that were connected to, those that are not public.
#[track_caller]
fn assert_none_inside(origin: &Origin) {
    let public: HashSet<IpAddr> = PUBLIC.iter().map(|address| address.parse().expect("an address")).collect();
    let inside: Vec<IpAddr> = origin.reached().into_iter().filter(|address| !public.contains(address)).collect();
    assert!(inside.is_empty(), "connected to {inside:?}");
}

/// Where a redirect to the address, and to its name, is asked for.
fn redirects(index: usize) -> [String; 2] {
    ["", "name/"].map(|kind| format!("http://{}/{kind}{index}", PUBLIC[0]))
}

/// Failures are told after two seconds, and many imports go on at a time.
const CONFIG: &str = "[dataplane]\nfetch_answer_timeout_seconds = 2\n[taskflow_executor]\nmax_workers = 32\n";

#[test]
fn sec_s02_nobody_inside_is_connected_to_by_address_by_name_or_by_redirect() {
    internet::inside(|| {
        let home = tempfile::tempdir().expect("a directory");
        let under = named(&home);
        let origin = Origin::everywhere(answer);
        let server = Server::ours(Options { config: Some(CONFIG.to_owned()), under, ..Options::default() });
        // It is out there that requests go, with nothing configured.
        for public in ["http://1.1.1.1/", "http://[2606:4700::1111]/", "http://public.test/"] {
            assert_stored(&server, public, DATA);
        }
        let id = server.queued();
        for url in addresses().flat_map(|(index, address)| urls(index, address)) {
            let text = import(&server, &id, &json!(url)).expect(400).text();
            assert!(text.contains("does not pass filtering"), "{url}: {text}");
        }
        // All at a time: each takes the time after which failures are told.
        let wanted: Vec<String> = addresses().flat_map(|(index, _)| redirects(index)).collect();
        let asked: Vec<(String, String)> = wanted.iter().map(|url| (url.clone(), server.queued())).collect();
        asked.iter().for_each(|(url, id)| drop(import(&server, id, &json!(url)).expect(202)));
        for (url, id) in &asked {
            let task = task(&server, id);
            assert_eq!((&task["status"], &task["message"]), (&json!("failure"), &json!(NOT_FETCHED)), "{url}: {task}");
            assert_untouched(&server, id);
        }
        let requests = origin.requests();
        let given: HashSet<&str> = requests.iter().map(|head| path(head)).collect();
        for url in &wanted {
            assert!(given.contains(url.trim_start_matches(&format!("http://{}", PUBLIC[0]))), "{url} never redirected");
        }
        assert_none_inside(&origin);
    });
}

#[test]
fn sec_s02_whoever_the_operator_lists_is_connected_to_wherever_it_is() {
    internet::inside(|| {
        let home = tempfile::tempdir().expect("a directory");
        let under = named(&home);
        let origin = Origin::everywhere(answer);
        let listed: Vec<String> = INSIDE.iter().map(|address| (*address).to_owned()).collect();
        let names = (0..INSIDE.len()).map(name);
        let hosts = [PUBLIC[0].to_owned()].into_iter().chain(listed).chain(names).collect::<Vec<_>>().join(", ");
        let config = format!("{CONFIG}[import_filtering_opts]\nallowed_hosts = [{hosts}]\n");
        let server = Server::ours(Options { config: Some(config), under, ..Options::default() });
        for (index, address) in INSIDE.into_iter().enumerate() {
            let before = origin.reached().len();
            let ways: Vec<String> = urls(index, address).into_iter().chain(redirects(index)).collect();
            ways.iter().for_each(|url| assert_stored(&server, url, DATA));
            // A redirect is two connections.
            assert_eq!(origin.reached().len(), before + 6, "{address}");
        }
    });
}

#[test]
fn sec_s02_another_region_redirects_to_nobody_inside() {
    internet::inside(|| {
        let data = bytes(74, 1000);
        let description = described(&data);
        // The region's images are alike, but for where their description or their data is: the first for odd numbers, the second for even ones.
        let origin = Origin::everywhere(move |head, wire| {
            let mut parts = path(head).trim_start_matches("/v2/images/").split('/');
            let id = parts.next().unwrap_or_default();
            let number = id.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX);
            let inside = addresses().nth(number).map(|(index, address)| urls(index, address)[0].clone());
            match (parts.next(), inside) {
                (None, Some(url)) if number % 2 == 1 => redirect(wire, 302, &url),
                (Some("file"), Some(url)) => redirect(wire, 307, &url),
                (None, _) => {
                    let mut description = description.clone();
                    description["id"] = json!(id);
                    whole(wire, description.to_string().as_bytes());
                }
                _ => whole(wire, &data),
            }
        });
        let keystone = Keystone::with_services("http://127.0.0.1:1", &format!("http://{}/", PUBLIC[0]));
        let config = format!("[DEFAULT]\nenabled_import_methods = [glance-download]\n{CONFIG}{}", keystone.config());
        let server = Server::ours(Options { config: Some(config), token: Some(USER), ..Options::default() });
        let begin = |number: usize| {
            let id = server.queued();
            let mut method: Value = wanted("two");
            method["glance_image_id"] = json!(format!("0d8fa1c2-3a9b-4b5f-8f58-{:012}", number % 1_000_000));
            let body = json!({"method": method});
            server.send_json("POST", &format!("/v2/images/{id}/import"), &body).expect(202);
            id
        };
        let id = begin(usize::MAX);
        assert_eq!(task(&server, &id)["status"], json!("success"), "{}", server.log());
        let begun: Vec<String> = addresses().map(|(number, _)| begin(number)).collect();
        for ((number, address), id) in addresses().zip(&begun) {
            let task = task(&server, id);
            let told = if number % 2 == 1 { "The image could not be found in the other region." } else { NOT_FETCHED };
            assert_eq!((&task["status"], &task["message"]), (&json!("failure"), &json!(told)), "{address}: {task}");
            assert_untouched(&server, id);
        }
        assert_none_inside(&origin);
    });
}

#[test]
fn sec_s02_a_location_redirects_to_nobody_inside() {
    internet::inside(|| {
        let home = tempfile::tempdir().expect("a directory");
        let under = named(&home);
        let origin = Origin::everywhere(answer);
        let config = format!(
            "[DEFAULT]\nenabled_backends = fast:file, web:http\n[glance_store]\ndefault_backend = fast\n[fast]\n\
             filesystem_store_datadir = {}\n{CONFIG}",
            home.path().join("fast").display()
        );
        let server = Server::ours(Options { config: Some(config), under, ..Options::default() });
        let add = |url: &str| {
            let id = server.queued();
            server.send_json("POST", &format!("/v2/images/{id}/locations"), &json!({"url": url})).expect(202);
            id
        };
        let id = add("http://1.1.1.1/");
        assert_eq!(task(&server, &id)["status"], json!("success"), "{}", server.log());
        assert!(server.download(&id) == DATA);
        // Some: it is the same gate, and only a few locations are looked at at a time.
        let begun: Vec<(String, String)> =
            addresses().step_by(5).flat_map(|(index, _)| redirects(index)).map(|url| (add(&url), url)).collect();
        for (id, url) in &begun {
            assert_eq!(task(&server, id)["status"], json!("failure"), "{url}");
            assert_ne!(server.show(id)["status"], json!("active"), "{url}");
        }
        assert_none_inside(&origin);
    });
}
