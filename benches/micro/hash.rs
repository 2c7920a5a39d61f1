//! Digests: one stream alone, and both digests of N uploads through one worker of the pool, so that the figure is one
//! core's.

use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};

use dataplane::hash::{Algorithm, Digest, Kernels, Pool};

use crate::runner::{Amount, Runner};

/// Buffers of each stream and call; all of them may wait at once.
const BUFFERS: usize = 4;

/// The two digests of an upload.
const BOTH: [Algorithm; 2] = [Algorithm::Md5, Algorithm::Sha512];

/// Measures.
pub(crate) fn cases(runner: &mut Runner) {
    let buffer = runner.size(256 << 10, 4 << 10);
    for algorithm in [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
        runner.case(&format!("hash/alone, {algorithm}"), Amount::Bytes(buffer as u64), || {
            let bytes = bytes(buffer, 0);
            move || {
                let mut digest = Digest::new(algorithm);
                digest.update(&bytes);
                digest.finish()
            }
        });
    }
    runner.case("hash/md5 and sha512 at once", Amount::Bytes(buffer as u64), || {
        let bytes = bytes(buffer, 0);
        move || {
            let mut digests = BOTH.map(Digest::new);
            let [one, other] = &mut digests;
            Kernels::best().update(&mut [(one, &bytes[..]), (other, &bytes[..])]);
            digests.map(Digest::finish)
        }
    });
    let alone_and_more = [1, 2, 4, 8, 16].map(|uploads| (uploads, 1, ""));
    for (uploads, workers, with) in alone_and_more.into_iter().chain([(1, 3, ", 3 workers")]) {
        let amount = Amount::Bytes((uploads * BUFFERS * buffer) as u64);
        runner.case(&format!("hash/md5 and sha512 of {uploads} uploads{with}"), amount, || {
            let pool = Pool::new(NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN)).expect("workers");
            let rounds: Vec<Vec<Arc<[u8]>>> = (0..BUFFERS)
                .map(|round| (0..uploads).map(|upload| bytes(buffer, upload * 64 + round)).collect())
                .collect();
            let wanted: Vec<String> =
                (0..uploads).flat_map(|upload| BOTH.map(|algorithm| alone(algorithm, upload, &rounds))).collect();
            move || assert_eq!(pooled(&pool, uploads, &rounds), wanted)
        });
    }
}

fn bytes(length: usize, seed: usize) -> Arc<[u8]> {
    (0..length).map(|i| (i.wrapping_mul(167) ^ (i >> 8) ^ seed).to_le_bytes()[0]).collect()
}

fn alone(algorithm: Algorithm, upload: usize, rounds: &[Vec<Arc<[u8]>>]) -> String {
    let mut digest = Digest::new(algorithm);
    rounds.iter().for_each(|buffers| digest.update(&buffers[upload]));
    digest.finish()
}

/// Both digests of each upload. `rounds`: one buffer of each upload, then the next of each.
fn pooled(pool: &Pool<Arc<[u8]>>, uploads: usize, rounds: &[Vec<Arc<[u8]>>]) -> Vec<String> {
    let depth = NonZeroUsize::new(BUFFERS).unwrap_or(NonZeroUsize::MIN);
    let mut streams: Vec<_> = (0..uploads).flat_map(|_| BOTH.map(|algorithm| pool.open(algorithm, depth))).collect();
    for buffers in rounds {
        for (streams, buffer) in streams.as_chunks_mut::<{ BOTH.len() }>().0.iter_mut().zip(buffers) {
            let [one, other] = streams;
            one.submit_both(other, buffer).expect("room for all buffers");
        }
    }
    let (sender, receiver) = mpsc::channel();
    let mut digests = vec![String::new(); streams.len()];
    for (number, stream) in streams.into_iter().enumerate() {
        let sender = sender.clone();
        stream.finish(move |digest| drop(sender.send((number, digest)))).expect("the pool is open");
    }
    drop(sender);
    receiver.iter().for_each(|(number, digest)| digests[number] = digest);
    digests
}
