//! Which versions of the API there are.

use common::config::Config;
use common::http::routes::Offered;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::call::base_url;
use super::reply::Reply;

/// What the site offers decides which versions it has.
pub(crate) fn offered(config: &Config) -> Offered {
    Offered { multi_store: config.stores.multi, cache: config.cache.is_some() }
}

/// `GET /` (300) and `GET /versions` (200).
pub(crate) fn show(headers: &HeaderMap, config: &Config, status: StatusCode) -> Reply {
    let base = config.api.public_endpoint.clone().unwrap_or_else(|| base_url(headers, config));
    Reply::json(status, &document(&base, offered(config)))
}

/// The document for a server at `base`.
fn document(base: &str, offered: Offered) -> Value {
    let version = |minor: u32| {
        let current = if offered.cache { 18 } else { 17 };
        let status = if minor == current { "CURRENT" } else { "SUPPORTED" };
        json!({
            "id": format!("v2.{minor}"),
            "status": status,
            "links": [{"rel": "self", "href": format!("{base}/v2/")}],
        })
    };
    let versions: Vec<Value> = minors(offered).into_iter().map(version).collect();
    json!({"versions": versions})
}

/// The minors in the order of the original's document, which clients and its tests compare as a list.
fn minors(offered: Offered) -> Vec<u32> {
    let stores: &[u32] = if offered.multi_store { &[13, 12, 11, 10, 9, 8] } else { &[9] };
    let head = if offered.cache { [&[18, 17, 16, 15, 14], stores].concat() } else { [&[15], stores, &[17]].concat() };
    head.into_iter().chain((0..=7).rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_original() {
        let tail = [7, 6, 5, 4, 3, 2, 1, 0];
        let cases: [(bool, bool, &[u32]); 4] = [
            (true, true, &[18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8]),
            (true, false, &[18, 17, 16, 15, 14, 9]),
            (false, true, &[15, 13, 12, 11, 10, 9, 8, 17]),
            (false, false, &[15, 9, 17]),
        ];
        for (cache, multi_store, head) in cases {
            let offered = Offered { multi_store, cache };
            assert_eq!(minors(offered), [head, &tail].concat());
            assert!(minors(offered).iter().all(|minor| offered.minor(*minor)));
        }
    }

    #[test]
    fn one_version_is_current() {
        let document = document("https://images.example", Offered { multi_store: false, cache: false });
        let versions = document["versions"].as_array().expect("a list");
        let current: Vec<_> = versions.iter().filter(|version| version["status"] == "CURRENT").collect();
        assert_eq!(current.len(), 1);
        assert_eq!(current[0]["id"], "v2.17");
        assert_eq!(current[0]["links"][0]["href"], "https://images.example/v2/");
    }
}
