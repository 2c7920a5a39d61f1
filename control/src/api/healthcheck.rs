//! `/healthcheck`: whether a load balancer should send requests here.

use common::config::Health;
use http::StatusCode;
use serde_json::json;

use super::reply::Reply;

/// `GET` and `HEAD /healthcheck`
pub(crate) fn check(health: &Health, accept: Option<&str>, head: bool) -> Reply {
    let disabled = health.disable_by_file.as_ref().is_some_and(|file| file.exists());
    let (status, reason) =
        if disabled { (StatusCode::SERVICE_UNAVAILABLE, "DISABLED BY FILE") } else { (StatusCode::OK, "OK") };
    if head {
        return Reply::bare(if disabled { status } else { StatusCode::NO_CONTENT });
    }
    match accept {
        Some(accept) if accept.contains("application/json") => {
            Reply::json(status, &json!({"detailed": false, "reasons": [reason]}))
        }
        Some(accept) if accept.contains("text/html") => {
            let page = format!(
                "<html>\n <head><title>Healthcheck</title></head>\n <body><h1>{status}</h1>\n  <p>{reason}</p>\n </body>\n</html>\n"
            );
            Reply::text(status, "text/html; charset=UTF-8", page)
        }
        _ => Reply::text(status, "text/plain; charset=UTF-8", reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_server_out_of_service() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("disabled");
        let health = Health { disable_by_file: Some(file.clone()) };
        assert_eq!(check(&health, None, false).status, StatusCode::OK);
        assert_eq!(check(&health, None, true).status, StatusCode::NO_CONTENT);
        std::fs::write(file, "").expect("the file");
        let reply = check(&health, Some("application/json"), false);
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(reply.body.contains("DISABLED BY FILE"), "{}", reply.body);
        assert_eq!(check(&health, None, true).status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
