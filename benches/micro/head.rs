//! Request heads, from bytes in a buffer to a parsed head.

use common::http::head::{Body, Head, Limits, Scanner, parse};

use crate::runner::{Amount, Runner};

/// The defaults of the options.
const LIMITS: Limits = Limits { head_bytes_max: 16 * 1024, header_count_max: 96, target_bytes_max: 8 * 1024 };

/// What `openstack image show` sends.
const SHOW: &str = "GET /v2/images/0f2c1f9e-5a0b-4f0e-9d8e-3b1c1a2d4e5f HTTP/1.1\r\nHost: controller:9292\r\n\
    User-Agent: openstacksdk/4.0.0 keystoneauth1/5.8.0 python-requests/2.32.3 CPython/3.11.2\r\n\
    Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n";

const TOKEN: &str = "gAAAAABmZ0eT3vXW8i8Q1p0c2m5m9Zk0Yx1bq7Jt8n3R5d6F0sHqK2vU4wEoLrTzXcVbNmQpAiSuDyFgHjKl";

/// Measures.
pub(crate) fn cases(runner: &mut Runner) {
    let show = format!("{SHOW}X-Auth-Token: {TOKEN}{TOKEN}\r\n\r\n");
    let upload = format!(
        "{}Content-Type: application/octet-stream\r\nContent-Length: 2147483648\r\nExpect: 100-continue\r\n\
         X-Auth-Token: {TOKEN}{TOKEN}\r\nx-openstack-image-size: 2147483648\r\n\r\n",
        SHOW.replace("GET ", "PUT ").replacen(" HTTP", "/file HTTP", 1)
    );
    let mut many = SHOW.to_owned();
    for number in 0..80 {
        many.push_str(&format!("X-Proxy-Header-{number}: value of header {number}\r\n"));
    }
    many.push_str("\r\n");

    runner.case("head/show", Amount::Operations(1), || {
        move || {
            let head = read(show.as_bytes());
            assert_eq!(head.body, Body::None);
            head
        }
    });
    runner.case("head/upload", Amount::Operations(1), || {
        move || {
            let head = read(upload.as_bytes());
            assert_eq!(head.body, Body::Length(2_147_483_648));
            head
        }
    });
    runner.case("head/85 headers", Amount::Operations(1), || {
        move || {
            let head = read(many.as_bytes());
            assert_eq!(head.headers.len(), 85);
            head
        }
    });
}

fn read(wire: &[u8]) -> Head {
    let mut scanner = Scanner::default();
    let (start, end) = scanner.advance(wire, &LIMITS).expect("a good head").expect("a whole head");
    parse(&wire[start..end], &LIMITS).expect("a good head")
}
