//! The range of a download.

use std::hint::black_box;

use common::http::range::wanted;

use crate::runner::{Amount, Runner};

/// Bytes of the image.
const SIZE: u64 = 2 << 30;

/// Measures.
pub(crate) fn cases(runner: &mut Runner) {
    let mut case = |name: &str, range: Option<&'static str>, old: Option<&'static str>, length: Option<u64>| {
        runner.case(name, Amount::Operations(1), || {
            move || {
                let found = wanted(black_box(range), black_box(old), SIZE);
                assert_eq!(found.as_ref().ok().map(|range| range.map_or(SIZE, |range| range.len())), length);
                found
            }
        });
    };
    case("range/of 1 MiB", Some("bytes=1073741824-1074790399"), None, Some(1 << 20));
    case("range/last bytes", Some("bytes=-65536"), None, Some(1 << 16));
    case("range/old header", None, Some("bytes 1073741824-1074790399/*"), Some(1 << 20));
    case("range/refused", Some("bytes=9999999999-"), None, None);
}
