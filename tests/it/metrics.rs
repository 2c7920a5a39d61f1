//! The admin listener.

use std::collections::{HashMap, HashSet};

use crate::harness::data::bytes;
use crate::harness::server::Options;
use crate::harness::{Connection, Response, Server};

fn admin(server: &Server, path: &str) -> Response {
    Connection::open(server.admin).request("GET", path, &[], None).expect("an answer")
}

/// The samples of an exposition by name and labels, with its grammar checked.
fn samples(text: &str) -> HashMap<String, f64> {
    let mut types = HashMap::new();
    let mut helps = HashSet::new();
    let mut found = HashMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap_or_default();
            assert!(helps.insert(name.to_owned()), "two HELP lines of {name}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "two TYPE lines of {name}");
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let name = key.split('{').next().unwrap_or_default();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|end| name.strip_suffix(end))
                .find(|base| types.get(*base).is_some_and(|kind| kind == "histogram" || kind == "summary"))
                .unwrap_or(name);
            assert!(types.contains_key(family), "{name} has no TYPE");
            assert!(helps.contains(family), "{name} has no HELP");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(found.insert(key.to_owned(), value).is_none(), "twice: {key}");
        }
    }
    found
}

/// The sum of the samples whose key holds all of these texts.
fn sum(samples: &HashMap<String, f64>, texts: &[&str]) -> f64 {
    samples.iter().filter(|(key, _)| texts.iter().all(|text| key.contains(text))).map(|(_, value)| value).sum()
}

#[test]
fn both_planes_are_measured() {
    let server = Server::ours(Options::default());
    let data = bytes(1, 3_000_000);
    let before = samples(&admin(&server, "/metrics").expect(200).text());
    let id = server.active(&data);
    server.download(&id);
    server.request("GET", &format!("/v2/images/{id}/file"), &[("Range", "bytes=0-999")], None).expect(206);
    server.get("/v2/images/5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11").expect(404);
    let reply = admin(&server, "/metrics").expect(200);
    assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{reply:?}");
    let after = samples(&reply.text());
    for key in after.keys() {
        let name = key.split('{').next().unwrap_or_default();
        assert!(name.starts_with("vitrine_") || name.starts_with("process_"), "{name}");
    }
    let moved = |texts: &[&str]| sum(&after, texts) - sum(&before, texts);
    assert!(
        (moved(&["vitrine_dataplane_transfer_bytes_total", "direction=\"in\""]) - 3_000_000.0).abs() < 1.0,
        "bytes in\n{}",
        reply.text()
    );
    assert!(
        (moved(&["vitrine_dataplane_transfer_bytes_total", "direction=\"out\""]) - 3_001_000.0).abs() < 1.0,
        "bytes out\n{}",
        reply.text()
    );
    assert!(moved(&["vitrine_dataplane_http_requests_total", "status=\"404\""]) >= 1.0, "{}", reply.text());
    assert!(moved(&["vitrine_dataplane_http_requests_total", "status=\"206\""]) >= 1.0, "{}", reply.text());
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        for plane in ["control", "dataplane"] {
            let keys = after.keys().filter(|key| key.starts_with(name) && key.contains(plane)).count();
            assert_eq!(keys, 1, "{name} of {plane}:\n{}", reply.text());
        }
    }
}

#[test]
fn labels_are_bounded() {
    let server = Server::ours(Options::default());
    let paths = |count: usize| {
        for i in 0..count {
            server.get(&format!("/v2/images/{}", uuid::Uuid::new_v4()));
            server.get(&format!("/nothing/{i}"));
            let _ = server.connect().request(&format!("METHOD{i}"), "/v2/images", &[], None);
        }
        samples(&admin(&server, "/metrics").expect(200).text()).len()
    };
    let few = paths(5);
    assert_eq!(paths(50), few, "what a client sends makes no new time series");
}

#[test]
fn health_and_readiness_are_told() {
    let server = Server::ours(Options::default());
    admin(&server, "/healthz").expect(200);
    admin(&server, "/readyz").expect(200);
    admin(&server, "/nothing").expect(404);
    // The admin listener is not the API, and the API is not the admin listener.
    admin(&server, "/v2/images").expect(404);
    assert!(!server.get("/metrics").text().contains("# TYPE"));
}
