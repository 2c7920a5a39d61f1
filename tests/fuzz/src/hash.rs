//! Digests: streams of any lengths, fed in any order, alone and through the pool, against RustCrypto over the whole.

use std::num::NonZeroUsize;
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::time::Duration;

use dataplane::hash::{Algorithm, Digest, Pool, Stream, SubmitError};
use md5::Md5;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

/// Streams at a time: more than any kernel has lanes.
const STREAMS_MAX: usize = 20;

/// Buffers of one input, a bound for the time that it takes.
const BUFFERS_MAX: usize = 64;

/// Buffers of a stream that may wait at once.
const DEPTH: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Longer than any digest here takes, so that a hang is a finding.
const PATIENCE: Duration = Duration::from_secs(10);

/// One worker, so that it finds several streams waiting. One input at a time has it.
static POOL: LazyLock<Mutex<Pool<Vec<u8>>>> =
    LazyLock::new(|| Mutex::new(Pool::new(NonZeroUsize::MIN).expect("a worker")));

/// The number of streams, then buffers: a stream, and a length in two bytes.
/// The bytes of the buffers follow from all of this.
pub fn run(data: &[u8]) {
    let Some((count, writes)) = data.split_first() else { return };
    let streams = 1 + usize::from(*count) % STREAMS_MAX;
    let buffers: Vec<(usize, Vec<u8>)> = writes
        .chunks_exact(3)
        .take(BUFFERS_MAX)
        .enumerate()
        .map(|(number, write)| {
            // Half of them end near the edge of a first block, where padding is.
            let limit = if write[2] < 128 { 300 } else { 8200 };
            let length = usize::from(u16::from_le_bytes([write[1], write[2]])) % limit;
            let fill =
                |i: usize| (i.wrapping_mul(167) ^ (i >> 8) ^ number.wrapping_mul(31)).to_le_bytes()[0] ^ write[1];
            (usize::from(write[0]) % streams, (0..length).map(fill).collect())
        })
        .collect();
    let messages: Vec<Vec<u8>> = (0..streams)
        .map(|stream| buffers.iter().filter(|(of, _)| *of == stream).flat_map(|(_, bytes)| bytes.clone()).collect())
        .collect();
    let wanted: Vec<String> =
        messages.iter().enumerate().map(|(stream, message)| model(algorithm(stream), message)).collect();
    assert_eq!(alone(streams, &buffers), wanted, "alone");
    assert_eq!(pooled(streams, buffers), wanted, "through the pool");
}

/// Mostly those of an upload, so that lanes of one algorithm fill.
fn algorithm(stream: usize) -> Algorithm {
    match stream % 4 {
        0 | 2 => Algorithm::Sha512,
        1 => Algorithm::Md5,
        _ => Algorithm::ALL[stream / 4 % Algorithm::ALL.len()],
    }
}

fn alone(streams: usize, buffers: &[(usize, Vec<u8>)]) -> Vec<String> {
    let mut digests: Vec<Digest> = (0..streams).map(|stream| Digest::new(algorithm(stream))).collect();
    for (stream, bytes) in buffers {
        digests[*stream].update(bytes);
    }
    digests.into_iter().map(Digest::finish).collect()
}

fn pooled(streams: usize, buffers: Vec<(usize, Vec<u8>)>) -> Vec<String> {
    let pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let mut open: Vec<Stream<Vec<u8>>> = (0..streams).map(|stream| pool.open(algorithm(stream), DEPTH)).collect();
    for (stream, bytes) in buffers {
        // A refused buffer is gone.
        while open[stream].submit(bytes.clone()) == Err(SubmitError::Full) {
            std::thread::yield_now();
        }
    }
    let (sender, receiver) = mpsc::channel();
    for (number, stream) in open.into_iter().enumerate() {
        let sender = sender.clone();
        stream.finish(move |digest| drop(sender.send((number, digest)))).expect("the pool is open");
    }
    let mut digests = vec![String::new(); streams];
    for _ in 0..streams {
        let (number, digest) = receiver.recv_timeout(PATIENCE).expect("a digest in time");
        digests[number] = digest;
    }
    digests
}

/// RustCrypto's digest. It is the second implementation of all but MD5's and the two short ones' scalar path, which have
/// none among the dependencies.
fn model(algorithm: Algorithm, message: &[u8]) -> String {
    let bytes = match algorithm {
        Algorithm::Md5 => Md5::digest(message).to_vec(),
        Algorithm::Sha224 => Sha224::digest(message).to_vec(),
        Algorithm::Sha256 => Sha256::digest(message).to_vec(),
        Algorithm::Sha384 => Sha384::digest(message).to_vec(),
        Algorithm::Sha512 => Sha512::digest(message).to_vec(),
        Algorithm::Sha512_256 => Sha512_256::digest(message).to_vec(),
        Algorithm::Sha512_224 => Sha512_224::digest(message).to_vec(),
        // RustCrypto's SHA-1 is not among the dependencies: chunking alone is checked.
        Algorithm::Sha1 => {
            let mut digest = Digest::new(Algorithm::Sha1);
            digest.update(message);
            return digest.finish();
        }
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
