//! The two planes trust each other, and nobody else.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::client::head;
use crate::harness::data::bytes;
use crate::harness::server::Options;
use crate::harness::{Connection, Server, eventually};

#[test]
fn messages_of_the_planes_are_not_taken_from_clients() {
    let server = Server::ours(Options::default());
    let queued = server.queued();
    for message in [
        json!({"type": "hello", "instance": "somebody"}),
        json!({"type": "metrics"}),
        json!({"type": "commit_upload", "upload_id": "x", "size": 1,
               "findings": {"virtual_size": null, "checksum": "", "hash_value": ""}}),
        json!({"type": "end_job", "job_id": "x", "uploads": [], "outcome": {"type": "failed", "reason": "", "sinks": []}}),
        json!({"type": "open_upload", "instance": "i", "image_id": queued, "proof": {}, "request_id": "r",
               "content_type": "application/octet-stream", "target": "store"}),
    ] {
        let body = json!({"version": 6, "message": message});
        // With the header that marks what was forwarded, and without it.
        for headers in [&[][..], &[("x-vitrine-client", "")][..]] {
            let reply = server.request("POST", "/rpc", headers, Some(body.to_string().as_bytes())).expect(300);
            assert!(reply.json().get("versions").is_some_and(Value::is_array), "{}", reply.text());
        }
    }
    // A greeting that was believed would have made control refuse the uploads of the real data plane.
    let data = bytes(1, 100_000);
    server.upload(&queued, &data).expect(204);
    assert_eq!(server.download(&queued), data);
}

#[test]
fn an_error_in_answer_to_head_has_no_body() {
    let server = Server::ours(Options::default());
    // The launcher must not bring control back before we have asked.
    kill_process(server.launcher_pid(), Signal::STOP).expect("the launcher runs");
    server.kill_plane("control");
    let mut connection: Connection = server.connect();
    connection.send(&head("HEAD", "/v2/images", &[], None)).expect("sending");
    assert_eq!(connection.response("HEAD").expect("an answer").status, 503);
    connection.send(&head("GET", "/v2/images", &[], None)).expect("sending");
    let second = connection.response("GET").expect("the second answer begins where the first ends");
    assert_eq!(second.status, 503);
    assert_eq!(second.header("retry-after").map(str::to_owned), Some("1".to_owned()));
    kill_process(server.launcher_pid(), Signal::CONT).expect("the launcher runs");
    let back = eventually(Duration::from_secs(15), || (server.get("/v2/images").status == 200).then_some(()));
    assert!(back.is_some(), "no recovery:\n{}", server.log());
}

#[test]
fn a_body_in_the_smallest_chunks_is_taken_and_holds_nobody_up() {
    let server = Server::ours(Options::default());
    let id = server.queued();
    let data = bytes(3, 300_000);
    server.upload_chunked(&id, &data, &[1]).expect(204);
    assert_eq!(server.download(&id), data);
}
