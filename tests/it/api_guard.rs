//! Web pages of others, where there is no authentication; and those that the configuration allows.

use serde_json::json;

use crate::harness::Server;
use crate::harness::server::OCTETS;

/// The status of a request with these headers besides.
fn status(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> u16 {
    server.request(method, path, headers, body).status
}

#[test]
fn pages_of_others_reach_nothing() {
    let server = Server::with_config("");
    let id = server.active(b"the data");
    let queued = server.queued();
    let port = server.address.port();
    let own = format!("http://127.0.0.1:{port}");
    let paths = [
        ("GET", "/v2/images".to_owned(), None),
        ("GET", "/versions".to_owned(), None),
        ("GET", format!("/v2/images/{id}/file"), None),
        ("POST", "/v2/images".to_owned(), Some(&b"{}"[..])),
        ("PUT", format!("/v2/images/{queued}/file"), Some(b"data of a page")),
        ("DELETE", format!("/v2/images/{id}"), None),
    ];
    for (method, path, body) in &paths {
        for headers in [
            [("Origin", "http://evil.example"), ("Host", "127.0.0.1:9292")],
            [("Origin", "null"), ("Host", "127.0.0.1:9292")],
            // The name of the page was made to lead here.
            [("Origin", "http://evil.example:9292"), ("Host", "evil.example:9292")],
            [("Accept", "*/*"), ("Host", "evil.example")],
            [("Origin", "http://127.0.0.1:1"), ("Host", "127.0.0.1:2")],
            [("Origin", "http://\u{e9}vil.example"), ("Host", "127.0.0.1:9292")],
        ] {
            let headers: Vec<_> = headers.into_iter().chain([("Content-Type", OCTETS)]).collect();
            assert_eq!(status(&server, method, path, &headers, *body), 403, "{method} {path} {headers:?}");
        }
    }
    let list = server.get("/v2/images").expect(200).json();
    assert_eq!(list["images"].as_array().map(Vec::len), Some(2), "nothing was made or deleted");
    assert_eq!(server.show(&queued)["status"], "queued");
    for host in ["localhost", "localhost:9292", "127.0.0.1", &format!("127.0.0.1:{port}"), "[::1]:9292"] {
        assert_eq!(status(&server, "GET", "/v2/images", &[("Host", host)], None), 200, "{host}");
    }
    let same = [("Origin", own.as_str()), ("Host", own.strip_prefix("http://").expect("as written"))];
    let reply = server.request("GET", &format!("/v2/images/{id}/file"), &same, None).expect(200);
    assert_eq!(reply.body, b"the data");
    assert!(reply.header("access-control-allow-origin").is_none());
}

#[test]
fn pages_that_are_allowed_may_read_every_answer() {
    let server = Server::with_config(
        "[DEFAULT]\npublic_endpoint = https://images.example/image\n[cors]\nallowed_origin = https://horizon.example\n",
    );
    let id = server.active(b"the data");
    let origin = [("Origin", "https://horizon.example"), ("Host", "images.example")];
    for (method, path, expected) in [
        ("GET", "/v2/images".to_owned(), 200),
        ("GET", format!("/v2/images/{id}/file"), 200),
        ("GET", "/v2/images/nothing/file".to_owned(), 404),
        ("GET", "/v2/images?limit=many".to_owned(), 400),
        ("DELETE", format!("/v2/images/{id}"), 204),
    ] {
        let reply = server.request(method, &path, &origin, None);
        let header = |name| reply.header(name).unwrap_or_default().to_owned();
        assert_eq!(reply.status, expected, "{method} {path}");
        assert_eq!(header("access-control-allow-origin"), "https://horizon.example", "{method} {path}");
        assert_eq!(header("vary"), "Origin");
        assert!(header("access-control-expose-headers").contains("X-OpenStack-Request-ID"));
    }
    let ask = [
        ("Origin", "https://horizon.example"),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "x-auth-token,content-type"),
    ];
    let reply = server.request("OPTIONS", "/v2/images/x/file", &ask, None).expect(200);
    assert_eq!(reply.header("access-control-allow-methods"), Some("PUT"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("x-auth-token,content-type"));
    let stranger = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "PUT")];
    let reply = server.request("OPTIONS", "/v2/images/x/file", &stranger, None).expect(200);
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let plain = server.send_json("POST", "/v2/images", &json!({})).expect(201);
    assert_eq!(plain.header("access-control-allow-origin"), None);
}
