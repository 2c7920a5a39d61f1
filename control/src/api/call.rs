//! One request on its way to a handler.

use std::sync::Arc;

use common::config::Config;
use common::http::query;
use common::identity::Identity;
use common::{Error, Result};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::request::Parts;
use serde_json::Value;

use super::Api;
use crate::app::App;

/// The refusal of a query that is not UTF-8 once it is decoded.
const UNDECODABLE: &str = "Error decoding your request. Either the URL or the request body contained \
     characters that could not be decoded by Glance";

/// An authenticated request with its decoded path.
pub(crate) struct Call<'a> {
    /// What it works with.
    pub(crate) api: &'a Arc<Api>,
    /// Who sends it.
    pub(crate) caller: &'a Identity,
    /// Its head.
    pub(crate) parts: &'a Parts,
    /// The variables of its path, in order.
    pub(crate) params: &'a [String],
    /// Its body.
    pub(crate) body: &'a [u8],
}

impl Call<'_> {
    /// The application.
    pub(crate) fn app(&self) -> &App {
        &self.api.app
    }

    /// Variable number `index` of the path.
    ///
    /// # Errors
    /// 500 if the route has no such variable.
    pub(crate) fn param(&self, index: usize) -> Result<String> {
        self.params.get(index).cloned().ok_or_else(|| Error::internal(format!("the route has no variable {index}")))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// 400 without a body, for what is not JSON, and for a JSON value that is neither object nor list.
    pub(crate) fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Err(Error::bad_request("Body expected in request."));
        }
        // Depth is bounded by the parser, which refuses what nests deeper than 128 levels.
        match serde_json::from_slice(self.body) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
            Ok(_) => Err(Error::bad_request("Unexpected body type. Expected list/dict.")),
            Err(error) => Err(Error::bad_request("Malformed JSON in request body.").caused_by(error)),
        }
    }

    /// Refuses a body where none belongs.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn refuse_body(&self) -> Result<()> {
        if self.body.is_empty() {
            return Ok(());
        }
        Err(Error::bad_request("A body is not expected with this request."))
    }

    /// The parameters of the query.
    ///
    /// # Errors
    /// 400 if one does not decode to UTF-8.
    pub(crate) fn query(&self) -> Result<Vec<(String, String)>> {
        query::parse_query(self.parts.uri.query().unwrap_or("")).ok_or_else(|| Error::bad_request(UNDECODABLE))
    }

    /// `Content-Type`.
    pub(crate) fn content_type(&self) -> Option<&str> {
        self.parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }
}

/// `Accept`.
pub(crate) fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok())
}

/// `http://host:port`, or `https:` where clients are served over TLS, as the client sees this server, with the path below which a
/// trusted proxy has it.
pub(crate) fn base_url(headers: &HeaderMap, config: &Config) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let proxy = if config.api.trust_proxy_headers { Proxy::read(&text) } else { Proxy::default() };
    let host = proxy
        .host
        .or_else(|| text(HOST.as_str()))
        .filter(|host| !host.is_empty())
        .map_or_else(|| config.listen.api.to_string(), str::to_owned);
    let scheme = match proxy.proto {
        Some("https") => "https",
        None if config.dataplane.tls.is_some() => "https",
        _ => "http",
    };
    format!("{scheme}://{host}{}", proxy.prefix.unwrap_or("").trim_end_matches('/'))
}

/// What a proxy in front says of the request that it got.
#[derive(Debug, Default)]
struct Proxy<'h> {
    proto: Option<&'h str>,
    host: Option<&'h str>,
    prefix: Option<&'h str>,
}

impl<'h> Proxy<'h> {
    /// From `Forwarded` (RFC 7239), of which the first proxy's part counts, else from `X-Forwarded-*`.
    fn read(header: &impl Fn(&str) -> Option<&'h str>) -> Self {
        let first = |name: &str| header(name).and_then(|value| value.split(',').next()).map(str::trim);
        let prefix = first("x-forwarded-prefix").filter(|prefix| prefix.starts_with('/'));
        let Some(forwarded) = first("forwarded").filter(|value| !value.is_empty()) else {
            return Proxy { proto: first("x-forwarded-proto"), host: first("x-forwarded-host"), prefix };
        };
        let part = |wanted: &str| {
            let pairs = forwarded.split(';').filter_map(|pair| pair.split_once('='));
            let mut found = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
            found.next().map(|(_, value)| value.trim().trim_matches('"'))
        };
        Proxy { proto: part("proto"), host: part("host"), prefix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::Overrides;

    #[test]
    fn a_trusted_proxy_says_how_clients_see_this_server() {
        let (mut config, _) = Config::load(&[], &Overrides::default()).expect("the defaults are right");
        let url = |config: &Config, pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("host", "inside:1")].iter().chain(pairs) {
                headers.insert(*name, http::HeaderValue::from_static(value));
            }
            base_url(&headers, config)
        };
        let old = [("x-forwarded-proto", "https"), ("x-forwarded-host", "a.example, b.example")];
        let new =
            [("forwarded", "for=1.2.3.4; Proto=https;host=\"a.example:8\", for=b;host=b"), ("x-forwarded-host", "c")];
        let below = [("x-forwarded-prefix", "/image/")];
        assert_eq!([url(&config, &old), url(&config, &new)], ["http://inside:1", "http://inside:1"]);
        config.api.trust_proxy_headers = true;
        assert_eq!(url(&config, &old), "https://a.example");
        assert_eq!(url(&config, &new), "https://a.example:8");
        assert_eq!(url(&config, &[("forwarded", "for=x")]), "http://inside:1");
        assert_eq!(url(&config, &below), "http://inside:1/image");
        assert_eq!(url(&config, &[]), "http://inside:1");
    }
}
