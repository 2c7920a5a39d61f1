//! Which code hashes how many streams: the kernels of this processor, and the table of the numbers of streams from
//! which each of them pays.

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

use super::digest::{Digest, Word};
use super::{Algorithm, rounds};

/// The most streams that any kernel hashes side by side.
pub(super) const MAX_LANES: usize = 16;

/// Up to how many streams of each kind pairs pay: three fill lanes well enough (`docs/decisions/0007-hash-lanes.md`).
const PAIRS_MAX: usize = 2;

type SerialCode<W, const B: usize> = fn(&mut [W; 8], &[[u8; B]]);
type PairCode = fn(&mut [u32; 8], &mut [u64; 8], &[[u8; 64]], &[[u8; 128]]);
type LaneCode<W, const B: usize, const N: usize> = fn(&mut [[W; N]; 8], &[&[[u8; B]]; N]);

/// Code that hashes several streams side by side. Word `w` of stream `i` is in `state[w][i]`; all have the same number of blocks.
#[derive(Clone, Copy)]
pub(super) enum Kernel<W: 'static, const B: usize> {
    X4(LaneCode<W, B, 4>),
    X8(LaneCode<W, B, 8>),
    X16(LaneCode<W, B, 16>),
}

impl<W, const B: usize> Kernel<W, B> {
    const fn width(&self) -> usize {
        match self {
            Kernel::X4(_) => 4,
            Kernel::X8(_) => 8,
            Kernel::X16(_) => 16,
        }
    }
}

/// The best code for one stream.
#[derive(Clone, Copy)]
pub(super) struct Serial {
    pub(super) md5: SerialCode<u32, 64>,
    pub(super) sha1: SerialCode<u32, 64>,
    pub(super) sha256: SerialCode<u32, 64>,
    pub(super) sha512: SerialCode<u64, 128>,
}

/// Serial code from code for lanes of plain words.
macro_rules! one_lane {
    ($algorithm:ident, $word:ty) => {
        |state, blocks| {
            let mut lane = state.map(|word| [word]);
            rounds::$algorithm::<[$word; 1], 1>(&mut lane, &[blocks]);
            *state = lane.map(|[word]| word);
        }
    };
}

impl Serial {
    /// Code for any processor.
    pub(super) fn portable() -> Self {
        Serial {
            md5: one_lane!(md5, u32),
            sha1: one_lane!(sha1, u32),
            sha256: one_lane!(sha256, u32),
            sha512: one_lane!(sha512, u64),
        }
    }
}

/// All that there is for one instruction set, the narrowest kernel first.
pub(super) struct Code {
    pub(super) serial: Serial,
    /// The same of MD5 in vectors. Which of the two is faster depends on how long the processor takes to rotate a vector.
    pub(super) md5_in_vectors: Option<SerialCode<u32, 64>>,
    /// MD5 of one stream and SHA-512 of one stream at once, over as many bytes of each.
    pub(super) pair: Option<PairCode>,
    pub(super) md5: &'static [Kernel<u32, 64>],
    pub(super) sha1: &'static [Kernel<u32, 64>],
    pub(super) sha256: &'static [Kernel<u32, 64>],
    pub(super) sha512: &'static [Kernel<u64, 128>],
}

impl Code {
    fn portable() -> Self {
        Code {
            serial: Serial::portable(),
            md5_in_vectors: None,
            pair: None,
            md5: &[Kernel::X4(rounds::md5::<[u32; 4], 4>)],
            sha1: &[],
            sha256: &[],
            sha512: &[],
        }
    }
}

/// One algorithm: its serial code, and the kernels with the number of streams from which each pays, the widest first.
struct Family<W: 'static, const B: usize> {
    serial: SerialCode<W, B>,
    lanes: Vec<(usize, Kernel<W, B>)>,
}

impl<W: Copy, const B: usize> Family<W, B> {
    /// `from`: for each kernel the number of streams from which it pays, or `None` if it never does.
    fn new(serial: SerialCode<W, B>, kernels: &[Kernel<W, B>], from: &[Option<usize>]) -> Self {
        let lanes = kernels.iter().zip(from).filter_map(|(kernel, from)| from.map(|from| (from, *kernel)));
        Family { serial, lanes: lanes.rev().collect() }
    }

    fn widest(&self) -> usize {
        self.lanes.first().map_or(1, |(_, kernel)| kernel.width())
    }

    fn least(&self) -> usize {
        self.lanes.iter().map(|(from, _)| *from).min().unwrap_or(1)
    }
}

/// The code that hashes on this processor, chosen once.
pub struct Kernels {
    name: &'static str,
    pair: Option<PairCode>,
    md5: Family<u32, 64>,
    sha1: Family<u32, 64>,
    sha256: Family<u32, 64>,
    sha512: Family<u64, 128>,
}

/// From how many streams on each kernel pays, the narrowest first, `None` being never. Measured:
/// `docs/decisions/0007-hash-lanes.md` has the figures.
#[derive(Clone, Copy)]
struct BreakEven {
    md5: &'static [Option<usize>],
    sha1: &'static [Option<usize>],
    sha256: &'static [Option<usize>],
    sha512: &'static [Option<usize>],
}

/// Kernels of 8 and 16 lanes, of SHA-512 of 4 and 8.
const AVX512: BreakEven = BreakEven {
    md5: &[Some(2), Some(9)],
    sha1: &[Some(2), Some(9)],
    sha256: &[Some(2), Some(9)],
    sha512: &[Some(2), Some(5)],
};

/// The same, where the serial code has instructions for SHA-1 and SHA-256.
const AVX512_SHA: BreakEven = BreakEven { sha1: &[Some(5), Some(9)], sha256: &[Some(6), Some(9)], ..AVX512 };

/// Kernels of 8 lanes, of SHA-512 of 4.
const AVX2: BreakEven = BreakEven { md5: &[Some(2)], sha1: &[Some(3)], sha256: &[Some(3)], sha512: &[Some(3)] };

/// The same, where the serial code has instructions for SHA-1 and SHA-256.
const AVX2_SHA: BreakEven = BreakEven { sha1: &[Some(8)], sha256: &[None], ..AVX2 };

/// A kernel of 4 lanes for MD5 alone: without rotation and enough registers the others lose.
const PORTABLE: BreakEven = BreakEven { md5: &[Some(3)], sha1: &[], sha256: &[], sha512: &[] };

/// One of two kernels, for any number of streams.
const ONLY: [&[Option<usize>]; 2] = [&[Some(1), None], &[None, Some(1)]];

/// What this processor offers, the best first.
static ALL: LazyLock<Vec<Kernels>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for (name, code, from) in codes() {
        all.push(Kernels::new(name, &code, &from));
    }
    all
});

static SERIAL: LazyLock<Kernels> = LazyLock::new(|| {
    let code = Code { pair: None, md5: &[], sha1: &[], sha256: &[], sha512: &[], ..codes().remove(0).1 };
    Kernels::new("scalar", &code, &PORTABLE)
});

/// The instruction sets of this processor, the best first.
fn codes() -> Vec<(&'static str, Code, BreakEven)> {
    let mut codes = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let sha = super::simd::has_sha_extensions();
        let (avx512, avx2) = if sha { (AVX512_SHA, AVX2_SHA) } else { (AVX512, AVX2) };
        codes.extend(super::simd::avx512().map(|code| ("avx512", code, avx512)));
        codes.extend(super::simd::avx2().map(|code| ("avx2", code, avx2)));
    }
    codes.push(("portable", Code::portable(), PORTABLE));
    codes
}

impl Kernels {
    fn new(name: &'static str, code: &Code, from: &BreakEven) -> Self {
        Kernels {
            name,
            pair: code.pair,
            md5: Family::new(fastest_md5(code), code.md5, from.md5),
            sha1: Family::new(code.serial.sha1, code.sha1, from.sha1),
            sha256: Family::new(code.serial.sha256, code.sha256, from.sha256),
            sha512: Family::new(code.serial.sha512, code.sha512, from.sha512),
        }
    }

    /// The best that this processor offers.
    #[must_use]
    pub fn best() -> &'static Self {
        &ALL[0]
    }

    /// The best code for one stream, one stream after the other: no lanes.
    #[must_use]
    pub fn serial() -> &'static Self {
        &SERIAL
    }

    /// For each instruction set of this processor what it offers, the best first: for comparison.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &ALL
    }

    /// Each kernel of this processor by itself, used from one stream on: for tests, fuzzing and figures. Named by instruction
    /// set and position, narrow before wide.
    #[must_use]
    pub fn each() -> Vec<(String, Self)> {
        let mut each = Vec::new();
        for (name, code, _) in codes() {
            let alone =
                |md5| Kernels { md5: Family::new(md5, &[], &[]), ..Kernels::new(name, &code, &BreakEven::of(&[])) };
            each.push((format!("{name}, one stream"), alone(code.serial.md5)));
            each.extend(code.md5_in_vectors.map(|md5| (format!("{name}, one stream, MD5 in vectors"), alone(md5))));
            for (index, only) in ONLY.iter().enumerate().take(code.md5.len()) {
                each.push((format!("{name}, kernel {index}"), Kernels::new(name, &code, &BreakEven::of(only))));
            }
        }
        each
    }

    /// Code for any processor that takes pairs, to test what decides about them.
    #[cfg(test)]
    pub(super) fn with_pairs() -> &'static Self {
        static PAIRS: LazyLock<Kernels> = LazyLock::new(|| {
            let pair: PairCode = |md5, sha512, narrow, wide| {
                let serial = Serial::portable();
                (serial.md5)(md5, narrow);
                (serial.sha512)(sha512, wide);
            };
            Kernels { pair: Some(pair), ..Kernels::new("pairs", &Code::portable(), &PORTABLE) }
        });
        &PAIRS
    }

    /// The instruction set, or `scalar`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The most streams of `algorithm` that are hashed side by side: 1 without lanes.
    #[must_use]
    pub fn lanes(&self, algorithm: Algorithm) -> usize {
        self.about(algorithm).0
    }

    /// From how many streams of `algorithm` on they are better hashed side by side than one after the other.
    #[must_use]
    pub fn break_even(&self, algorithm: Algorithm) -> usize {
        self.about(algorithm).1
    }

    fn about(&self, algorithm: Algorithm) -> (usize, usize) {
        match algorithm {
            Algorithm::Md5 => (self.md5.widest(), self.md5.least()),
            Algorithm::Sha1 => (self.sha1.widest(), self.sha1.least()),
            Algorithm::Sha224 | Algorithm::Sha256 => (self.sha256.widest(), self.sha256.least()),
            Algorithm::Sha384 | Algorithm::Sha512 | Algorithm::Sha512_256 | Algorithm::Sha512_224 => {
                (self.sha512.widest(), self.sha512.least())
            }
        }
    }

    /// Adds to one digest its bytes.
    pub(super) fn update_one(&self, digest: &mut Digest, bytes: &[u8]) {
        match digest.algorithm() {
            Algorithm::Md5 => digest.absorb(bytes, self.md5.serial),
            Algorithm::Sha1 => digest.absorb(bytes, self.sha1.serial),
            Algorithm::Sha224 | Algorithm::Sha256 => digest.absorb(bytes, self.sha256.serial),
            Algorithm::Sha384 | Algorithm::Sha512 | Algorithm::Sha512_256 | Algorithm::Sha512_224 => {
                digest.absorb(bytes, self.sha512.serial);
            }
        }
    }

    /// Up to how many streams of MD5, and of the family of SHA-512, are best hashed in pairs of one of each.
    #[must_use]
    pub fn pairs(&self) -> usize {
        if self.pair.is_some() { PAIRS_MAX } else { 0 }
    }

    /// Adds to each digest its bytes. Where all are of one algorithm they are hashed side by side, as far as it pays; so are two of which
    /// one is MD5 and the other of the family of SHA-512.
    pub fn update<F: Feed>(&self, batch: &mut [F]) {
        if let ([one, other], Some(pair)) = (&mut *batch, self.pair) {
            let (narrow, wide) = if one.parts().0.algorithm().is_wide() { (other, one) } else { (one, other) };
            if narrow.parts().0.algorithm() == Algorithm::Md5 && wide.parts().0.algorithm().is_wide() {
                return self.update_pair(pair, narrow, wide);
            }
        }
        for batch in batch.chunks_mut(MAX_LANES) {
            let Some((first, others)) = batch.split_first_mut() else { return };
            let algorithm = first.parts().0.algorithm();
            if others.iter_mut().any(|other| other.parts().0.algorithm() != algorithm) {
                for feed in batch {
                    let (digest, bytes) = feed.parts();
                    self.update_one(digest, bytes);
                }
            } else {
                match algorithm {
                    Algorithm::Md5 => run(&self.md5, batch),
                    Algorithm::Sha1 => run(&self.sha1, batch),
                    Algorithm::Sha224 | Algorithm::Sha256 => run(&self.sha256, batch),
                    Algorithm::Sha384 | Algorithm::Sha512 | Algorithm::Sha512_256 | Algorithm::Sha512_224 => {
                        run(&self.sha512, batch);
                    }
                }
            }
        }
    }

    fn update_pair<F: Feed>(&self, code: PairCode, narrow: &mut F, wide: &mut F) {
        let (digest, bytes) = narrow.parts();
        let (skipped, mut md5) = digest.begin(bytes, self.md5.serial);
        let narrow_blocks: &[[u8; 64]] = bytes[skipped..].as_chunks().0;
        let (wide_digest, wide_bytes) = wide.parts();
        let (skipped, mut sha512) = wide_digest.begin(wide_bytes, self.sha512.serial);
        let wide_blocks: &[[u8; 128]] = wide_bytes[skipped..].as_chunks().0;
        let common = wide_blocks.len().min(narrow_blocks.len() / 2);
        let (narrow_blocks, narrow_rest) = narrow_blocks.split_at(2 * common);
        let (wide_blocks, wide_rest) = wide_blocks.split_at(common);
        code(&mut md5, &mut sha512, narrow_blocks, wide_blocks);
        (self.md5.serial)(&mut md5, narrow_rest);
        (self.sha512.serial)(&mut sha512, wide_rest);
        digest.end::<u32, 64>(bytes, md5);
        wide_digest.end::<u64, 128>(wide_bytes, sha512);
    }
}

/// A digest and the bytes that come next.
pub trait Feed {
    /// Both.
    fn parts(&mut self) -> (&mut Digest, &[u8]);
    /// The bytes alone, the same ones.
    fn bytes(&self) -> &[u8];
}

impl Feed for (&mut Digest, &[u8]) {
    fn parts(&mut self) -> (&mut Digest, &[u8]) {
        (self.0, self.1)
    }

    fn bytes(&self) -> &[u8] {
        self.1
    }
}

/// The whole blocks of one stream that are still to be hashed.
#[derive(Clone, Copy)]
struct Work<'a, W, const B: usize> {
    /// Its place in the batch.
    index: usize,
    state: [W; 8],
    blocks: &'a [[u8; B]],
}

/// Hashes at most [`MAX_LANES`] streams. As long as several have blocks left they run side by side, for as many blocks as all of
/// them have.
fn run<W: Word, const B: usize, F: Feed>(family: &Family<W, B>, batch: &mut [F]) {
    let mut begun = [(0, [W::default(); 8]); MAX_LANES];
    for (begun, feed) in begun.iter_mut().zip(&mut *batch) {
        let (digest, bytes) = feed.parts();
        *begun = digest.begin(bytes, family.serial);
    }
    let mut work = [Work { index: 0, state: [W::default(); 8], blocks: &[] as &[[u8; B]] }; MAX_LANES];
    let work = &mut work[..batch.len()];
    for (index, (work, feed)) in work.iter_mut().zip(&*batch).enumerate() {
        let (skipped, state) = begun[index];
        *work = Work { index, state, blocks: feed.bytes()[skipped..].as_chunks().0 };
    }
    loop {
        // The longest first, so that those at the front have the most blocks in common.
        work.sort_unstable_by_key(|work| std::cmp::Reverse(work.blocks.len()));
        let live = work.iter().take_while(|work| !work.blocks.is_empty()).count();
        if live == 0 {
            break;
        }
        match family.lanes.iter().find(|(from, _)| *from <= live) {
            Some((_, Kernel::X4(code))) => side_by_side(*code, &mut work[..live.min(4)]),
            Some((_, Kernel::X8(code))) => side_by_side(*code, &mut work[..live.min(8)]),
            Some((_, Kernel::X16(code))) => side_by_side(*code, &mut work[..live.min(16)]),
            None => {
                for work in &mut work[..live] {
                    (family.serial)(&mut work.state, std::mem::take(&mut work.blocks));
                }
            }
        }
    }
    for work in work {
        begun[work.index].1 = work.state;
    }
    for (begun, feed) in begun.into_iter().zip(batch) {
        let (digest, bytes) = feed.parts();
        digest.end::<W, B>(bytes, begun.1);
    }
}

/// Hashes the blocks that all of `work` have. Lanes without a stream repeat the first.
fn side_by_side<W: Word, const B: usize, const N: usize>(code: LaneCode<W, B, N>, work: &mut [Work<'_, W, B>]) {
    let common = work.iter().map(|work| work.blocks.len()).min().unwrap_or(0);
    let lane = |lane: usize| &work[if lane < work.len() { lane } else { 0 }];
    let mut state = std::array::from_fn(|word| std::array::from_fn(|i| lane(i).state[word]));
    let lanes = std::array::from_fn(|i| &lane(i).blocks[..common]);
    code(&mut state, &lanes);
    for (i, work) in work.iter_mut().enumerate() {
        work.state = std::array::from_fn(|word| state[word][i]);
        work.blocks = &work.blocks[common..];
    }
}

/// The code that hashes one stream by MD5 fastest on this processor, by the least times of some turns: half a millisecond in all.
fn fastest_md5(code: &Code) -> SerialCode<u32, 64> {
    const TURNS: usize = 9;
    static MEASURED: [[u8; 64]; 256] = [[0; 64]; 256];
    let plain = code.serial.md5;
    let Some(vectors) = code.md5_in_vectors else { return plain };
    let time = |md5: SerialCode<u32, 64>| {
        let begun = Instant::now();
        md5(black_box(&mut [0; 8]), black_box(&MEASURED));
        begun.elapsed()
    };
    let turns = || (0..TURNS).map(|_| (time(plain), time(vectors)));
    let least = turns().reduce(|least, next| (least.0.min(next.0), least.1.min(next.1)));
    if least.is_some_and(|(plain, vectors)| vectors < plain) { vectors } else { plain }
}

impl BreakEven {
    const fn of(from: &'static [Option<usize>]) -> Self {
        BreakEven { md5: from, sha1: from, sha256: from, sha512: from }
    }
}

/// The digests of `streams`, hashed by `kernels` in turns: in each turn every stream that is not at its end goes on by the next length of
/// `cuts`, over and over; without cuts in one turn. An entry for tests and fuzzing.
#[must_use]
pub fn digests_in_turns(kernels: &Kernels, algorithm: Algorithm, streams: &[&[u8]], cuts: &[usize]) -> Vec<String> {
    let mut digests: Vec<Digest> = streams.iter().map(|_| Digest::new(algorithm)).collect();
    let mut left = streams.to_vec();
    let mut cuts = cuts.iter().copied().filter(|cut| *cut > 0).cycle();
    while left.iter().any(|left| !left.is_empty()) {
        let mut batch: Vec<(&mut Digest, &[u8])> = Vec::with_capacity(streams.len());
        for (digest, left) in digests.iter_mut().zip(&mut left) {
            let cut = cuts.next().unwrap_or(usize::MAX).min(left.len());
            let (now, later) = left.split_at(cut);
            *left = later;
            batch.push((digest, now));
        }
        kernels.update(&mut batch);
    }
    digests.into_iter().map(Digest::finish).collect()
}

#[cfg(test)]
mod tests;
