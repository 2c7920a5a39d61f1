//! Every kernel of this processor against implementations that are not ours: ring, RustCrypto, OpenSSL.

use proptest::prelude::*;
use ring::digest as ring_digest;
use sha2::Digest as _;

use super::*;
use crate::hash::digest::hex;

/// What other implementations make of `bytes`, as many as there are for the algorithm.
fn others(algorithm: Algorithm, bytes: &[u8]) -> Vec<String> {
    let ring = |algorithm| hex(ring_digest::digest(algorithm, bytes).as_ref());
    match algorithm {
        Algorithm::Md5 => vec![hex(&md5::Md5::digest(bytes))],
        Algorithm::Sha1 => vec![ring(&ring_digest::SHA1_FOR_LEGACY_USE_ONLY)],
        Algorithm::Sha224 => vec![hex(&sha2::Sha224::digest(bytes))],
        Algorithm::Sha256 => vec![ring(&ring_digest::SHA256), hex(&sha2::Sha256::digest(bytes))],
        Algorithm::Sha384 => vec![ring(&ring_digest::SHA384), hex(&sha2::Sha384::digest(bytes))],
        Algorithm::Sha512 => vec![ring(&ring_digest::SHA512), hex(&sha2::Sha512::digest(bytes))],
        Algorithm::Sha512_256 => vec![ring(&ring_digest::SHA512_256), hex(&sha2::Sha512_256::digest(bytes))],
        Algorithm::Sha512_224 => vec![hex(&sha2::Sha512_224::digest(bytes))],
    }
}

/// Every kernel by itself, and each choice among them that is made for a processor.
fn everything() -> Vec<(String, Kernels)> {
    let mut all = Kernels::each();
    all.extend(codes().into_iter().map(|(name, code, from)| (name.to_owned(), Kernels::new(name, &code, &from))));
    all
}

/// Bytes of stream `number`: no two streams and no two blocks are alike.
fn stream(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 7 + at / 64 * 13 + number * 101) % 251).to_le_bytes()[0]).collect()
}

fn compare(name: &str, kernels: &Kernels, algorithm: Algorithm, streams: &[Vec<u8>], cuts: &[usize]) {
    let slices: Vec<&[u8]> = streams.iter().map(Vec::as_slice).collect();
    let digests = digests_in_turns(kernels, algorithm, &slices, cuts);
    assert_eq!(digests.len(), streams.len());
    for (number, (digest, stream)) in digests.iter().zip(streams).enumerate() {
        for other in others(algorithm, stream) {
            let (length, count) = (stream.len(), streams.len());
            assert_eq!(
                *digest, other,
                "{name}, {algorithm}, stream {number} of {count}, {length} bytes, cuts {cuts:?}"
            );
        }
    }
}

#[test]
fn every_number_of_lanes_at_every_kernel() {
    for (name, kernels) in everything() {
        for algorithm in Algorithm::ALL {
            for count in 1..=2 * MAX_LANES + 1 {
                let streams: Vec<_> = (0..count).map(|number| stream(number, 1024)).collect();
                compare(&name, &kernels, algorithm, &streams, &[]);
            }
        }
    }
}

#[test]
fn lengths_around_the_edges_of_blocks() {
    let lengths =
        [0, 1, 55, 56, 63, 64, 65, 111, 112, 119, 120, 127, 128, 129, 191, 192, 255, 256, 257, 1023, 1024, 1025];
    for (name, kernels) in everything() {
        for algorithm in Algorithm::ALL {
            // All the same length, and all different ones.
            for length in lengths {
                let streams: Vec<_> = (0..MAX_LANES).map(|number| stream(number, length)).collect();
                compare(&name, &kernels, algorithm, &streams, &[]);
            }
            let streams: Vec<_> = lengths.iter().enumerate().map(|(number, length)| stream(number, *length)).collect();
            compare(&name, &kernels, algorithm, &streams, &[]);
            compare(&name, &kernels, algorithm, &streams, &[127, 1, 129]);
        }
    }
}

#[test]
fn one_long_stream_among_short_ones() {
    for (name, kernels) in everything() {
        for algorithm in Algorithm::ALL {
            let streams: Vec<_> = (0..9).map(|number| stream(number, if number == 4 { 20_000 } else { 300 })).collect();
            compare(&name, &kernels, algorithm, &streams, &[]);
        }
    }
}

#[test]
fn streams_of_different_algorithms_in_one_call() {
    let bytes = stream(1, 1000);
    for (name, kernels) in everything() {
        let mut digests = Algorithm::ALL.map(Digest::new);
        let mut batch: Vec<_> = digests.iter_mut().map(|digest| (digest, bytes.as_slice())).collect();
        kernels.update(&mut batch);
        for (algorithm, digest) in Algorithm::ALL.into_iter().zip(digests) {
            assert_eq!(digest.finish(), others(algorithm, &bytes)[0], "{name}, {algorithm}");
        }
    }
}

#[test]
fn the_tables_name_what_is_used() {
    let serial = Kernels::serial();
    for algorithm in Algorithm::ALL {
        assert_eq!((serial.lanes(algorithm), serial.break_even(algorithm)), (1, 1));
        for kernels in Kernels::all() {
            assert!(kernels.lanes(algorithm) <= MAX_LANES);
            assert!(kernels.break_even(algorithm) <= kernels.lanes(algorithm), "{} {algorithm}", kernels.name());
        }
    }
    assert_eq!(Kernels::best().name(), Kernels::all()[0].name());
    assert_eq!(Kernels::all().last().unwrap().name(), "portable");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_lengths_and_interleavings(
        lengths in proptest::collection::vec(0_usize..3000, 1..20),
        cuts in proptest::collection::vec(0_usize..700, 0..12),
    ) {
        let streams: Vec<_> = lengths.iter().enumerate().map(|(number, length)| stream(number, *length)).collect();
        for (name, kernels) in everything() {
            for algorithm in Algorithm::ALL {
                compare(&name, &kernels, algorithm, &streams, &cuts);
            }
        }
    }
}

/// Feeds both streams in turns of the next two cuts, and tells their digests.
fn pair(kernels: &Kernels, algorithms: [Algorithm; 2], streams: [&[u8]; 2], cuts: &[usize]) -> Vec<String> {
    let mut digests = algorithms.map(Digest::new);
    let mut left = streams;
    let mut cuts = cuts.iter().copied().cycle();
    while left.iter().any(|left| !left.is_empty()) {
        let now = std::array::from_fn::<_, 2, _>(|i| {
            let (now, later) =
                left[i].split_at(cuts.next().unwrap_or(usize::MAX).clamp(1, usize::MAX).min(left[i].len()));
            left[i] = later;
            now
        });
        let [one, other] = &mut digests;
        kernels.update(&mut [(one, now[0]), (other, now[1])]);
    }
    digests.map(Digest::finish).into()
}

#[test]
fn pairs_of_every_two_algorithms_and_of_many_lengths() {
    for (name, kernels) in everything() {
        for one in Algorithm::ALL {
            for other in Algorithm::ALL {
                for lengths in [[0, 0], [128, 128], [5000, 5000], [1, 4096], [4096, 63], [3000, 2000], [2176, 1088]] {
                    let streams = [stream(1, lengths[0]), stream(2, lengths[1])];
                    let digests = pair(&kernels, [one, other], [&streams[0], &streams[1]], &[1025, 1025, 64, 127]);
                    for ((digest, stream), algorithm) in digests.iter().zip(&streams).zip([one, other]) {
                        for another in others(algorithm, stream) {
                            assert_eq!(*digest, another, "{name}, {one} and {other}, {lengths:?}");
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn pairs_of_any_length_and_cut(
        narrow in proptest::collection::vec(any::<u8>(), 0..6000),
        wide in proptest::collection::vec(any::<u8>(), 0..6000),
        cuts in proptest::collection::vec(1_usize..3000, 1..8),
    ) {
        let digests = pair(Kernels::best(), [Algorithm::Md5, Algorithm::Sha512], [&narrow, &wide], &cuts);
        for (digest, another) in digests.iter().zip([others(Algorithm::Md5, &narrow), others(Algorithm::Sha512, &wide)]) {
            for another in another {
                prop_assert_eq!(digest, &another);
            }
        }
    }
}
