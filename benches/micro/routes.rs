//! From a method and a path to a route.

use std::hint::black_box;

use common::http::query::parse_query;
use common::http::routes::{Offered, Resolution, Route, resolve};

use crate::runner::{Amount, Runner};

/// Measures.
pub(crate) fn cases(runner: &mut Runner) {
    let offered = Offered { multi_store: false, cache: false };
    let mut route = |name: &str, path: &'static str, wanted: Route| {
        runner.case(name, Amount::Operations(1), || {
            move || {
                let found = resolve("GET", black_box(path), None, offered);
                assert!(matches!(found, Resolution::Found(route, _) if route == wanted));
                found
            }
        });
    };
    route("routes/download", "/v2/images/0f2c1f9e-5a0b-4f0e-9d8e-3b1c1a2d4e5f/file", Route::DownloadImage);
    route("routes/last row", "/v2/info/usage", Route::InfoUsage);
    runner.case("routes/query of a list", Amount::Operations(1), || {
        let query = "limit=100&sort=name%3Aasc&visibility=public&os_distro=debian+12&marker=0f2c1f9e-5a0b-4f0e-9d8e";
        move || {
            let pairs = parse_query(black_box(query)).expect("UTF-8");
            assert_eq!(pairs.len(), 5);
            pairs
        }
    });
}
