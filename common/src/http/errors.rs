//! Error bodies in Glance's three shapes.
//!
//! Source: WebOb's exceptions as Glance answers them. Clients read the status and treat the text as opaque; the
//! content type must be one of JSON, plain text and HTML.

use crate::error::Error;

/// The content type and the body of `error` for a client that sent `accept`.
pub fn render(error: &Error, accept: Option<&str>) -> (&'static str, String) {
    let status = error.status();
    let line = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    let accept = accept.unwrap_or("");
    if accept.contains("html") || accept.contains("*/*") {
        ("text/html; charset=UTF-8", html(&line, &error.message))
    } else if accept.contains("application/json") {
        ("application/json", json(&line, &error.message))
    } else {
        ("text/plain; charset=UTF-8", plain(&line, &error.message))
    }
}

fn plain(line: &str, message: &str) -> String {
    format!("{line}\n\n{}\n\n   ", message.replace('\n', " "))
}

fn html(line: &str, message: &str) -> String {
    let message = escape(message);
    format!(
        "<html>\n <head>\n  <title>{line}</title>\n </head>\n <body>\n  <h1>{line}</h1>\n  {message}<br /><br />\n\n\n\n </body>\n</html>"
    )
}

fn json(line: &str, message: &str) -> String {
    let message = format!("{}<br /><br />\n\n\n", escape(message));
    let title = line.split_once(' ').map_or("", |(_, reason)| reason);
    serde_json::json!({"message": message, "code": line, "title": title}).to_string()
}

/// Client text is data: nothing of it may become markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_follows_accept() {
        let error = Error::not_found("No image found with ID zzz");
        let (kind, body) = render(&error, None);
        assert_eq!(kind, "text/plain; charset=UTF-8");
        assert_eq!(body, "404 Not Found\n\nNo image found with ID zzz\n\n   ");
        for accept in ["*/*", "text/html,application/json;q=0.9"] {
            let (kind, body) = render(&error, Some(accept));
            assert_eq!(kind, "text/html; charset=UTF-8");
            assert!(body.contains("<title>404 Not Found</title>"), "{body}");
        }
        let (kind, body) = render(&error, Some("application/json"));
        assert_eq!(kind, "application/json");
        let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(value["code"], "404 Not Found");
        assert_eq!(value["title"], "Not Found");
    }

    #[test]
    fn client_text_never_becomes_markup() {
        let error = Error::bad_request("<script>alert('x')</script>");
        let (_, body) = render(&error, Some("text/html"));
        assert!(!body.contains("<script>"), "{body}");
    }
}
