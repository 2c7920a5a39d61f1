//! The catalog of services that comes with a token (Identity API v3, `GET /v3/auth/catalog`): where they are.

use common::Result;
use serde::Deserialize;

use super::away;

/// The path that tells the catalog of a token.
pub(crate) const CATALOG_PATH: &str = "/v3/auth/catalog";

/// A catalog.
#[derive(Debug, Deserialize)]
pub(crate) struct Catalog {
    catalog: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    r#type: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

/// One place of a service.
#[derive(Debug, Deserialize)]
pub(crate) struct Endpoint {
    interface: String,
    region: Option<String>,
    region_id: Option<String>,
    url: String,
}

impl Catalog {
    /// The catalog in an answer.
    ///
    /// # Errors
    /// 503 for what is none.
    pub(crate) fn parse(answer: &[u8]) -> Result<Self> {
        serde_json::from_slice(answer).map_err(|error| away(format_args!("its catalog: {error}")))
    }

    /// The URL of the first such endpoint of a service of type `service`, without a slash at its end.
    pub(crate) fn find(&self, service: &str, interface: &str, admits: impl Fn(&Endpoint) -> bool) -> Option<&str> {
        let services = self.catalog.iter().filter(|found| found.r#type == service);
        let mut endpoints = services.flat_map(|service| &service.endpoints);
        let found = endpoints.find(|endpoint| endpoint.interface == interface && admits(endpoint));
        found.map(|endpoint| endpoint.url.trim_end_matches('/'))
    }
}

impl Endpoint {
    /// Whether it is in a region of that name or id; `is_it` compares.
    pub(crate) fn is_in(&self, is_it: impl Fn(&str) -> bool) -> bool {
        [&self.region, &self.region_id].into_iter().flatten().any(|region| is_it(region))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_endpoint_that_fits_is_found() {
        let endpoint =
            |interface: &str, region: &str, url: &str| json!({"interface": interface, "region": region, "url": url});
        let answer = json!({"catalog": [
            {"type": "network"},
            {"type": "image", "endpoints": [
                endpoint("public", "One", "https://one/image/"),
                endpoint("internal", "Two", "https://two.internal"),
                endpoint("public", "Two", "https://two"),
            ]},
        ]});
        let catalog = Catalog::parse(answer.to_string().as_bytes()).expect("a catalog");
        let find = |interface, wanted: &str| {
            catalog.find("image", interface, |endpoint| endpoint.is_in(|region| region.eq_ignore_ascii_case(wanted)))
        };
        assert_eq!(find("public", "one"), Some("https://one/image"));
        assert_eq!(find("internal", "TWO"), Some("https://two.internal"));
        assert_eq!((find("public", "three"), find("admin", "one")), (None, None));
        assert_eq!(catalog.find("network", "public", |_| true), None);
        assert!(Catalog::parse(b"[]").is_err());
    }
}
