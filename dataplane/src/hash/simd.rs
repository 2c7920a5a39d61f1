//! The code for x86-64's vector instructions, and the only unsafe code of this room: intrinsics, which are safe on a
//! processor that has them, loads of whole registers from checked slices, and rounds in assembler.
//!
//! Nothing here can be called but through the tables that [`avx512`] and [`avx2`] give out after they have asked the
//! processor. The vectors are private for the same reason.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;

use super::constants;
use super::kernels::{Code, Kernel, Serial};
use super::rounds::{self, Vector};

/// The code for AVX-512 (F, BW, DQ, VL) and BMI, where this processor has them.
pub(super) fn avx512() -> Option<Code> {
    let all = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2");
    // SAFETY: what the functions are compiled for was asked for just above.
    all.then(|| unsafe {
        Code {
            serial: Serial { sha512: |state, blocks| sha512_x1_avx512(state, blocks), ..sha_extensions() },
            md5_in_vectors: Some(|state, blocks| md5_x1(state, blocks)),
            pair: Some(|md5, sha512, narrow, wide| pair::md5_sha512(md5, sha512, narrow, wide)),
            md5: &[
                Kernel::X8(|state, lanes| md5_x8_vl(state, lanes)),
                Kernel::X16(|state, lanes| md5_x16(state, lanes)),
            ],
            sha1: &[
                Kernel::X8(|state, lanes| sha1_x8_vl(state, lanes)),
                Kernel::X16(|state, lanes| sha1_x16(state, lanes)),
            ],
            sha256: &[
                Kernel::X8(|state, lanes| sha256_x8_vl(state, lanes)),
                Kernel::X16(|state, lanes| sha256_x16(state, lanes)),
            ],
            sha512: &[
                Kernel::X4(|state, lanes| sha512_x4_vl(state, lanes)),
                Kernel::X8(|state, lanes| sha512_x8(state, lanes)),
            ],
        }
    })
}

/// The code for AVX2 and BMI, where this processor has them.
pub(super) fn avx2() -> Option<Code> {
    let all = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2");
    // SAFETY: what the functions are compiled for was asked for just above.
    all.then(|| unsafe {
        Code {
            serial: Serial { sha512: |state, blocks| sha512_x1_avx2(state, blocks), ..sha_extensions() },
            md5_in_vectors: None,
            pair: None,
            md5: &[Kernel::X8(|state, lanes| md5_x8_avx2(state, lanes))],
            sha1: &[Kernel::X8(|state, lanes| sha1_x8_avx2(state, lanes))],
            sha256: &[Kernel::X8(|state, lanes| sha256_x8_avx2(state, lanes))],
            sha512: &[Kernel::X4(|state, lanes| sha512_x4_avx2(state, lanes))],
        }
    })
}

/// The serial code, with SHA-1 and SHA-256 by the processor's own instructions where it has them.
fn sha_extensions() -> Serial {
    let mut serial = Serial::portable();
    if has_sha_extensions() {
        // SAFETY: what the functions are compiled for was asked for just above.
        unsafe {
            serial.sha1 = |state, blocks| sha1_x1_extensions(state, blocks);
            serial.sha256 = |state, blocks| sha256_x1_extensions(state, blocks);
        }
    }
    serial
}

/// Whether this processor has instructions for SHA-1 and SHA-256.
pub(super) fn has_sha_extensions() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3")
}

/// Compiles one algorithm over one kind of vector for one instruction set.
macro_rules! kernel {
    ($name:ident, $features:literal, $algorithm:ident, $vector:ty, [$word:ty; $lanes:literal], $block:literal) => {
        #[target_feature(enable = $features)]
        fn $name(state: &mut [[$word; $lanes]; 8], lanes: &[&[[u8; $block]]; $lanes]) {
            rounds::$algorithm::<$vector, $lanes>(state, lanes);
        }
    };
}

kernel!(md5_x16, "avx512f,avx512bw,avx512dq,avx512vl", md5, Zmm32, [u32; 16], 64);
kernel!(sha1_x16, "avx512f,avx512bw,avx512dq,avx512vl", sha1, Zmm32, [u32; 16], 64);
kernel!(sha256_x16, "avx512f,avx512bw,avx512dq,avx512vl", sha256, Zmm32, [u32; 16], 64);
kernel!(sha512_x8, "avx512f,avx512bw,avx512dq,avx512vl", sha512, Zmm64, [u64; 8], 128);
kernel!(md5_x8_vl, "avx512f,avx512bw,avx512dq,avx512vl", md5, Vl32, [u32; 8], 64);
kernel!(sha1_x8_vl, "avx512f,avx512bw,avx512dq,avx512vl", sha1, Vl32, [u32; 8], 64);
kernel!(sha256_x8_vl, "avx512f,avx512bw,avx512dq,avx512vl", sha256, Vl32, [u32; 8], 64);
kernel!(sha512_x4_vl, "avx512f,avx512bw,avx512dq,avx512vl", sha512, Vl64, [u64; 4], 128);
kernel!(md5_x8_avx2, "avx2", md5, Ymm32, [u32; 8], 64);
kernel!(sha1_x8_avx2, "avx2", sha1, Ymm32, [u32; 8], 64);
kernel!(sha256_x8_avx2, "avx2", sha256, Ymm32, [u32; 8], 64);
kernel!(sha512_x4_avx2, "avx2", sha512, Ymm64, [u64; 4], 128);

/// MD5 of a lone stream in one lane of a short vector: a step of MD5 waits for the one before it, and three-way logic makes
/// each step one instruction shorter than integer registers can. That pays where a vector is rotated within one cycle.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn md5_x1(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
    let mut lane = state.map(|word| [word]);
    rounds::md5::<Xmm32, 1>(&mut lane, &[blocks]);
    *state = lane.map(|[word]| word);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2")]
fn sha512_x1_avx512(state: &mut [u64; 8], blocks: &[[u8; 128]]) {
    sha512_alone::<Zmm64, 8>(state, blocks);
}

#[target_feature(enable = "avx2,bmi1,bmi2")]
fn sha512_x1_avx2(state: &mut [u64; 8], blocks: &[[u8; 128]]) {
    sha512_alone::<Ymm64, 4>(state, blocks);
}

/// SHA-512 of a lone stream. The words that the rounds add do not depend on the state, so those of the next `N` blocks are
/// computed side by side in vectors; what is left to the integer registers are the rounds.
#[inline(always)]
fn sha512_alone<V: Vector<N, Word = u64, Block = [u8; 128]>, const N: usize>(
    state: &mut [u64; 8],
    blocks: &[[u8; 128]],
) {
    let k: &[u64; 80] = std::hint::black_box(&constants::SHA512);
    let mut sums = [[0_u64; N]; 80];
    for group in blocks.chunks(N) {
        // A last group that is short repeats its first block, and leaves out its rounds.
        let mut w = V::load::<true>(std::array::from_fn(|lane| group.get(lane).unwrap_or(&group[0])));
        let mut t = 0;
        while t < 80 {
            let mut i = 0;
            while i < 16 {
                sums[t + i] = w[i].add(V::splat(k[t + i])).lanes();
                if t < 64 {
                    rounds::schedule512(&mut w, i);
                }
                i += 1;
            }
            t += 16;
        }
        for lane in 0..group.len() {
            sha512_rounds(state, &sums, lane);
        }
    }
}

/// One round of SHA-512 in assembler, as text. `$last` is `b ^ c`, which is the `a ^ b` of the round before; `$new` becomes `a ^ b`.
macro_rules! sha512_round {
    ($sum:literal $a:literal $b:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $last:literal $new:literal) => {
        concat!(
            "add {",
            $h,
            "}, qword ptr [{sums} + {",
            $sum,
            "}]\n",
            // The sum of e, and the choice, of which either side is added by itself: 3.9 cycles a byte on an AMD EPYC, where the choice by
            // exclusive or takes 4.4, with as many instructions.
            "rorx {x}, {",
            $e,
            "}, 41\n",
            "rorx {y}, {",
            $e,
            "}, 18\n",
            "andn {",
            $new,
            "}, {",
            $e,
            "}, {",
            $g,
            "}\n",
            "xor {x}, {y}\n",
            "rorx {y}, {",
            $e,
            "}, 14\n",
            "add {",
            $h,
            "}, {",
            $new,
            "}\n",
            "mov {",
            $new,
            "}, {",
            $f,
            "}\n",
            "xor {x}, {y}\n",
            "and {",
            $new,
            "}, {",
            $e,
            "}\n",
            "add {",
            $h,
            "}, {",
            $new,
            "}\n",
            // The sum of a, and the majority.
            "rorx {y}, {",
            $a,
            "}, 39\n",
            "mov {",
            $new,
            "}, {",
            $a,
            "}\n",
            "add {",
            $h,
            "}, {x}\n",
            "rorx {x}, {",
            $a,
            "}, 34\n",
            "xor {",
            $new,
            "}, {",
            $b,
            "}\n",
            "xor {y}, {x}\n",
            "add {",
            $d,
            "}, {",
            $h,
            "}\n",
            "rorx {x}, {",
            $a,
            "}, 28\n",
            "and {",
            $last,
            "}, {",
            $new,
            "}\n",
            "xor {y}, {x}\n",
            "xor {",
            $last,
            "}, {",
            $b,
            "}\n",
            "add {",
            $h,
            "}, {y}\n",
            "add {",
            $h,
            "}, {",
            $last,
            "}\n",
        )
    };
}

mod pair;

/// The eighty rounds of one block, `sums` being its words plus the round constants. The assembler is there because the
/// compiler reorders the sums, which makes the chain from one round to the next longer, and runs out of registers.
///
/// The caller is compiled for BMI1 and BMI2.
#[inline(always)]
fn sha512_rounds<const N: usize>(state: &mut [u64; 8], sums: &[[u64; N]; 80], lane: usize) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    let mut last = b ^ c;
    for sums in sums.as_chunks::<8>().0 {
        // SAFETY: eight words of eight arrays of `N` are read, all of them within `sums`, and nothing is written but registers.
        unsafe {
            asm!(
                sha512_round!("s0" "a" "b" "d" "e" "f" "g" "h", "last" "new"),
                sha512_round!("s1" "h" "a" "c" "d" "e" "f" "g", "new" "last"),
                sha512_round!("s2" "g" "h" "b" "c" "d" "e" "f", "last" "new"),
                sha512_round!("s3" "f" "g" "a" "b" "c" "d" "e", "new" "last"),
                sha512_round!("s4" "e" "f" "h" "a" "b" "c" "d", "last" "new"),
                sha512_round!("s5" "d" "e" "g" "h" "a" "b" "c", "new" "last"),
                sha512_round!("s6" "c" "d" "f" "g" "h" "a" "b", "last" "new"),
                sha512_round!("s7" "b" "c" "e" "f" "g" "h" "a", "new" "last"),
                sums = in(reg) &raw const sums[0][lane],
                s0 = const 0,
                s1 = const 8 * N,
                s2 = const 16 * N,
                s3 = const 24 * N,
                s4 = const 32 * N,
                s5 = const 40 * N,
                s6 = const 48 * N,
                s7 = const 56 * N,
                a = inout(reg) a,
                b = inout(reg) b,
                c = inout(reg) c,
                d = inout(reg) d,
                e = inout(reg) e,
                f = inout(reg) f,
                g = inout(reg) g,
                h = inout(reg) h,
                last = inout(reg) last,
                new = out(reg) _,
                x = out(reg) _,
                y = out(reg) _,
                options(pure, readonly, nostack),
            );
        }
    }
    for (word, value) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(value);
    }
}

/// SHA-256 by the SHA extensions, which hold the state as two vectors, `abef` and `cdgh`.
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn sha256_x1_extensions(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    let (mut abef, mut cdgh) = (_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h));
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    for block in blocks {
        let before = (abef, cdgh);
        // SAFETY: sixteen bytes of the sixty-four, from a multiple of sixteen on.
        let load =
            |part: usize| _mm_shuffle_epi8(unsafe { _mm_loadu_si128(block.as_ptr().add(16 * part).cast()) }, swap);
        let mut w = [load(0), load(1), load(2), load(3)];
        for group in 0..16 {
            // SAFETY: four constants of the sixty-four, from a multiple of four on.
            let k = unsafe { _mm_loadu_si128(constants::SHA256.as_ptr().add(4 * group).cast()) };
            let sums = _mm_add_epi32(w[0], k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sums);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32::<0x0e>(sums));
            let next = _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]), _mm_alignr_epi8::<4>(w[3], w[2]));
            w = [w[1], w[2], w[3], _mm_sha256msg2_epu32(next, w[3])];
        }
        abef = _mm_add_epi32(abef, before.0);
        cdgh = _mm_add_epi32(cdgh, before.1);
    }
    let word = |value: i32| value.cast_unsigned();
    *state = [
        word(_mm_extract_epi32::<3>(abef)),
        word(_mm_extract_epi32::<2>(abef)),
        word(_mm_extract_epi32::<3>(cdgh)),
        word(_mm_extract_epi32::<2>(cdgh)),
        word(_mm_extract_epi32::<1>(abef)),
        word(_mm_extract_epi32::<0>(abef)),
        word(_mm_extract_epi32::<1>(cdgh)),
        word(_mm_extract_epi32::<0>(cdgh)),
    ];
}

/// SHA-1 by the SHA extensions.
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn sha1_x1_extensions(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
    let [a, b, c, d, e, ..] = state.map(u32::cast_signed);
    let mut abcd = _mm_set_epi32(a, b, c, d);
    let mut e = _mm_set_epi32(e, 0, 0, 0);
    let swap = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    for block in blocks {
        let before = (abcd, e);
        // SAFETY: sixteen bytes of the sixty-four, from a multiple of sixteen on.
        let load =
            |part: usize| _mm_shuffle_epi8(unsafe { _mm_loadu_si128(block.as_ptr().add(16 * part).cast()) }, swap);
        let mut w = [load(0), load(1), load(2), load(3)];
        let mut sums = _mm_add_epi32(e, w[0]);
        macro_rules! five_groups {
            ($function:literal) => {
                for _ in 0..5 {
                    let last = abcd;
                    abcd = _mm_sha1rnds4_epu32::<$function>(abcd, sums);
                    let next = _mm_xor_si128(_mm_sha1msg1_epu32(w[0], w[1]), w[2]);
                    w = [w[1], w[2], w[3], _mm_sha1msg2_epu32(next, w[3])];
                    (sums, e) = (_mm_sha1nexte_epu32(last, w[0]), last);
                }
            };
        }
        five_groups!(0);
        five_groups!(1);
        five_groups!(2);
        five_groups!(3);
        e = _mm_sha1nexte_epu32(e, before.1);
        abcd = _mm_add_epi32(abcd, before.0);
    }
    let word = |value: i32| value.cast_unsigned();
    state[0] = word(_mm_extract_epi32::<3>(abcd));
    state[1] = word(_mm_extract_epi32::<2>(abcd));
    state[2] = word(_mm_extract_epi32::<1>(abcd));
    state[3] = word(_mm_extract_epi32::<0>(abcd));
    state[4] = word(_mm_extract_epi32::<3>(e));
}

/// Sixteen words of 32 bits (AVX-512).
#[derive(Clone, Copy)]
struct Zmm32(__m512i);
/// Eight words of 64 bits (AVX-512).
#[derive(Clone, Copy)]
struct Zmm64(__m512i);
/// Eight words of 32 bits, with AVX-512's instructions for short vectors.
#[derive(Clone, Copy)]
struct Vl32(__m256i);
/// Four words of 64 bits, with AVX-512's instructions for short vectors.
#[derive(Clone, Copy)]
struct Vl64(__m256i);
/// Eight words of 32 bits (AVX2).
#[derive(Clone, Copy)]
struct Ymm32(__m256i);
/// Four words of 64 bits (AVX2).
#[derive(Clone, Copy)]
struct Ymm64(__m256i);
/// One word of 32 bits, with AVX-512's instructions for short vectors.
#[derive(Clone, Copy)]
struct Xmm32(__m128i);

/// What all vectors have in common.
macro_rules! common {
    ($word:ty, $lanes:literal, $block:literal, $set:ident, $add:ident, $load:ident) => {
        type Word = $word;
        type Block = [u8; $block];

        #[inline(always)]
        fn new(lanes: [$word; $lanes]) -> Self {
            // SAFETY: a register is as large as its lanes, and any bits are a valid value of both.
            unsafe { std::mem::transmute(lanes) }
        }
        #[inline(always)]
        fn lanes(self) -> [$word; $lanes] {
            // SAFETY: as above.
            unsafe { std::mem::transmute(self) }
        }
        #[inline(always)]
        fn splat(word: $word) -> Self {
            // SAFETY: vectors are only made in functions compiled for their instructions.
            Self(unsafe { $set(word.cast_signed()) })
        }
        #[inline(always)]
        fn load<const BIG_ENDIAN: bool>(blocks: [&[u8; $block]; $lanes]) -> [Self; 16] {
            // SAFETY: as above.
            let words = unsafe { $load(blocks, BIG_ENDIAN) };
            let mut vectors = [Self(words[0]); 16];
            for i in 1..16 {
                vectors[i] = Self(words[i]);
            }
            vectors
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $add(self.0, other.0) })
        }
    };
}

/// Rotation and three-way logic of AVX-512. The numbers are truth tables.
macro_rules! ternary {
    ($rotate:ident, $shift:ident, $logic:ident) => {
        #[inline(always)]
        fn rotate<const RIGHT: i32, const LEFT: i32>(self) -> Self {
            // SAFETY: vectors are only made in functions compiled for their instructions.
            Self(unsafe { $rotate::<RIGHT>(self.0) })
        }
        #[inline(always)]
        fn shift_right<const BITS: i32>(self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $shift(self.0, _mm_cvtsi32_si128(BITS)) })
        }
        #[inline(always)]
        fn xor(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $logic::<0x96>(self.0, b.0, c.0) })
        }
        #[inline(always)]
        fn choose(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $logic::<0xca>(self.0, b.0, c.0) })
        }
        #[inline(always)]
        fn majority(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $logic::<0xe8>(self.0, b.0, c.0) })
        }
        #[inline(always)]
        fn xor_or_not(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $logic::<0x2d>(self.0, b.0, c.0) })
        }
    };
}

/// Rotation and logic of AVX2, which has neither rotation nor three operands.
macro_rules! binary {
    ($left:ident, $right:ident) => {
        #[inline(always)]
        fn rotate<const RIGHT: i32, const LEFT: i32>(self) -> Self {
            // SAFETY: vectors are only made in functions compiled for their instructions.
            Self(unsafe {
                let right = $right(self.0, _mm_cvtsi32_si128(RIGHT));
                _mm256_or_si256(right, $left(self.0, _mm_cvtsi32_si128(LEFT)))
            })
        }
        #[inline(always)]
        fn shift_right<const BITS: i32>(self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $right(self.0, _mm_cvtsi32_si128(BITS)) })
        }
        #[inline(always)]
        fn xor(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_xor_si256(self.0, _mm256_xor_si256(b.0, c.0)) })
        }
        #[inline(always)]
        fn choose(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_xor_si256(c.0, _mm256_and_si256(self.0, _mm256_xor_si256(b.0, c.0))) })
        }
        #[inline(always)]
        fn majority(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe {
                let either = _mm256_and_si256(c.0, _mm256_or_si256(self.0, b.0));
                _mm256_or_si256(_mm256_and_si256(self.0, b.0), either)
            })
        }
        #[inline(always)]
        fn xor_or_not(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe {
                let not = _mm256_xor_si256(c.0, _mm256_set1_epi32(-1));
                _mm256_xor_si256(self.0, _mm256_or_si256(b.0, not))
            })
        }
    };
}

impl Vector<16> for Zmm32 {
    common!(u32, 16, 64, _mm512_set1_epi32, _mm512_add_epi32, transpose_16x16);
    ternary!(_mm512_ror_epi32, _mm512_srl_epi32, _mm512_ternarylogic_epi32);
}

impl Vector<8> for Zmm64 {
    common!(u64, 8, 128, _mm512_set1_epi64, _mm512_add_epi64, transpose_8x16);
    ternary!(_mm512_ror_epi64, _mm512_srl_epi64, _mm512_ternarylogic_epi64);
}

impl Vector<8> for Vl32 {
    common!(u32, 8, 64, _mm256_set1_epi32, _mm256_add_epi32, transpose_8x16_short);
    ternary!(_mm256_ror_epi32, _mm256_srl_epi32, _mm256_ternarylogic_epi32);
}

impl Vector<4> for Vl64 {
    common!(u64, 4, 128, _mm256_set1_epi64x, _mm256_add_epi64, transpose_4x16);
    ternary!(_mm256_ror_epi64, _mm256_srl_epi64, _mm256_ternarylogic_epi64);
}

impl Vector<8> for Ymm32 {
    common!(u32, 8, 64, _mm256_set1_epi32, _mm256_add_epi32, transpose_8x16_short);
    binary!(_mm256_sll_epi32, _mm256_srl_epi32);
}

impl Vector<4> for Ymm64 {
    common!(u64, 4, 128, _mm256_set1_epi64x, _mm256_add_epi64, transpose_4x16);
    binary!(_mm256_sll_epi64, _mm256_srl_epi64);
}

/// Bytes of each word in reverse order.
const SWAP_32: [i64; 2] = [0x0405_0607_0001_0203, 0x0c0d_0e0f_0809_0a0b];
/// Bytes of each word in reverse order.
const SWAP_64: [i64; 2] = [0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f];

/// Loads a block of each of sixteen lanes and turns rows into columns.
///
/// # Safety
/// The caller is compiled for AVX-512.
#[inline(always)]
unsafe fn transpose_16x16(blocks: [&[u8; 64]; 16], swap: bool) -> [__m512i; 16] {
    // SAFETY: the caller vouches for the instructions; each load is one whole block.
    unsafe {
        let zero = _mm512_setzero_si512();
        let (mut rows, mut pairs, mut fours, mut out) = ([zero; 16], [zero; 16], [zero; 16], [zero; 16]);
        for i in 0..16 {
            rows[i] = _mm512_loadu_si512(blocks[i].as_ptr().cast());
        }
        if swap {
            let order = _mm512_broadcast_i64x2(_mm_set_epi64x(SWAP_32[1], SWAP_32[0]));
            for row in &mut rows {
                *row = _mm512_shuffle_epi8(*row, order);
            }
        }
        for i in 0..8 {
            pairs[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
        }
        for i in 0..4 {
            for half in 0..2 {
                fours[4 * i + 2 * half] = _mm512_unpacklo_epi64(pairs[4 * i + half], pairs[4 * i + 2 + half]);
                fours[4 * i + 2 * half + 1] = _mm512_unpackhi_epi64(pairs[4 * i + half], pairs[4 * i + 2 + half]);
            }
        }
        // Part `p` of `fours[4 * i + word]` is word `4 * p + word` of rows `4 * i` to `4 * i + 3`.
        for word in 0..4 {
            let even = _mm512_shuffle_i32x4::<0x88>(fours[word], fours[4 + word]);
            let odd = _mm512_shuffle_i32x4::<0xdd>(fours[word], fours[4 + word]);
            let high_even = _mm512_shuffle_i32x4::<0x88>(fours[8 + word], fours[12 + word]);
            let high_odd = _mm512_shuffle_i32x4::<0xdd>(fours[8 + word], fours[12 + word]);
            out[word] = _mm512_shuffle_i32x4::<0x88>(even, high_even);
            out[4 + word] = _mm512_shuffle_i32x4::<0x88>(odd, high_odd);
            out[8 + word] = _mm512_shuffle_i32x4::<0xdd>(even, high_even);
            out[12 + word] = _mm512_shuffle_i32x4::<0xdd>(odd, high_odd);
        }
        out
    }
}

/// Loads a block of each of eight lanes, words of 64 bits, and turns rows into columns.
///
/// # Safety
/// The caller is compiled for AVX-512.
#[inline(always)]
unsafe fn transpose_8x16(blocks: [&[u8; 128]; 8], swap: bool) -> [__m512i; 16] {
    // SAFETY: the caller vouches for the instructions; each load is one half of a block.
    unsafe {
        let zero = _mm512_setzero_si512();
        let order = _mm512_broadcast_i64x2(_mm_set_epi64x(SWAP_64[1], SWAP_64[0]));
        let mut out = [zero; 16];
        for part in 0..2 {
            let (mut rows, mut pairs) = ([zero; 8], [zero; 8]);
            for i in 0..8 {
                rows[i] = _mm512_loadu_si512(blocks[i].as_ptr().add(64 * part).cast());
                if swap {
                    rows[i] = _mm512_shuffle_epi8(rows[i], order);
                }
            }
            for i in 0..4 {
                pairs[2 * i] = _mm512_unpacklo_epi64(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm512_unpackhi_epi64(rows[2 * i], rows[2 * i + 1]);
            }
            // Part `p` of `pairs[2 * i + word]` is word `2 * p + word` of rows `2 * i` and `2 * i + 1`.
            for word in 0..2 {
                let even = _mm512_shuffle_i64x2::<0x88>(pairs[word], pairs[2 + word]);
                let odd = _mm512_shuffle_i64x2::<0xdd>(pairs[word], pairs[2 + word]);
                let high_even = _mm512_shuffle_i64x2::<0x88>(pairs[4 + word], pairs[6 + word]);
                let high_odd = _mm512_shuffle_i64x2::<0xdd>(pairs[4 + word], pairs[6 + word]);
                out[8 * part + word] = _mm512_shuffle_i64x2::<0x88>(even, high_even);
                out[8 * part + 2 + word] = _mm512_shuffle_i64x2::<0x88>(odd, high_odd);
                out[8 * part + 4 + word] = _mm512_shuffle_i64x2::<0xdd>(even, high_even);
                out[8 * part + 6 + word] = _mm512_shuffle_i64x2::<0xdd>(odd, high_odd);
            }
        }
        out
    }
}

/// Loads a block of each of eight lanes and turns rows into columns.
///
/// # Safety
/// The caller is compiled for AVX2.
#[inline(always)]
unsafe fn transpose_8x16_short(blocks: [&[u8; 64]; 8], swap: bool) -> [__m256i; 16] {
    // SAFETY: the caller vouches for the instructions; each load is one half of a block.
    unsafe {
        let zero = _mm256_setzero_si256();
        let mut out = [zero; 16];
        for part in 0..2 {
            let (mut rows, mut pairs, mut fours) = ([zero; 8], [zero; 8], [zero; 8]);
            for i in 0..8 {
                rows[i] = _mm256_loadu_si256(blocks[i].as_ptr().add(32 * part).cast());
            }
            if swap {
                let order = _mm256_set_epi64x(SWAP_32[1], SWAP_32[0], SWAP_32[1], SWAP_32[0]);
                for row in &mut rows {
                    *row = _mm256_shuffle_epi8(*row, order);
                }
            }
            for i in 0..4 {
                pairs[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
            }
            for i in 0..2 {
                for half in 0..2 {
                    fours[4 * i + 2 * half] = _mm256_unpacklo_epi64(pairs[4 * i + half], pairs[4 * i + 2 + half]);
                    fours[4 * i + 2 * half + 1] = _mm256_unpackhi_epi64(pairs[4 * i + half], pairs[4 * i + 2 + half]);
                }
            }
            for word in 0..4 {
                out[8 * part + word] = _mm256_permute2x128_si256::<0x20>(fours[word], fours[4 + word]);
                out[8 * part + 4 + word] = _mm256_permute2x128_si256::<0x31>(fours[word], fours[4 + word]);
            }
        }
        out
    }
}

/// Loads a block of each of four lanes, words of 64 bits, and turns rows into columns.
///
/// # Safety
/// The caller is compiled for AVX2.
#[inline(always)]
unsafe fn transpose_4x16(blocks: [&[u8; 128]; 4], swap: bool) -> [__m256i; 16] {
    // SAFETY: the caller vouches for the instructions; each load is one quarter of a block.
    unsafe {
        let zero = _mm256_setzero_si256();
        let order = _mm256_set_epi64x(SWAP_64[1], SWAP_64[0], SWAP_64[1], SWAP_64[0]);
        let mut out = [zero; 16];
        for part in 0..4 {
            let mut rows = [zero; 4];
            for i in 0..4 {
                rows[i] = _mm256_loadu_si256(blocks[i].as_ptr().add(32 * part).cast());
                if swap {
                    rows[i] = _mm256_shuffle_epi8(rows[i], order);
                }
            }
            let (low, high) = (_mm256_unpacklo_epi64(rows[0], rows[1]), _mm256_unpackhi_epi64(rows[0], rows[1]));
            let (low_2, high_2) = (_mm256_unpacklo_epi64(rows[2], rows[3]), _mm256_unpackhi_epi64(rows[2], rows[3]));
            out[4 * part] = _mm256_permute2x128_si256::<0x20>(low, low_2);
            out[4 * part + 1] = _mm256_permute2x128_si256::<0x20>(high, high_2);
            out[4 * part + 2] = _mm256_permute2x128_si256::<0x31>(low, low_2);
            out[4 * part + 3] = _mm256_permute2x128_si256::<0x31>(high, high_2);
        }
        out
    }
}

impl Vector<1> for Xmm32 {
    type Word = u32;
    type Block = [u8; 64];

    #[inline(always)]
    fn new([word]: [u32; 1]) -> Self {
        Self::splat(word)
    }
    #[inline(always)]
    fn lanes(self) -> [u32; 1] {
        // SAFETY: vectors are only made in functions compiled for their instructions.
        [unsafe { _mm_cvtsi128_si32(self.0) }.cast_unsigned()]
    }
    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_cvtsi32_si128(word.cast_signed()) })
    }
    #[inline(always)]
    fn load<const BIG_ENDIAN: bool>([block]: [&[u8; 64]; 1]) -> [Self; 16] {
        let words = block.as_chunks::<4>().0;
        let from = if BIG_ENDIAN { u32::from_be_bytes } else { u32::from_le_bytes };
        let mut vectors = [Self::splat(0); 16];
        for i in 0..16 {
            vectors[i] = Self::splat(from(words[i]));
        }
        vectors
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_add_epi32(self.0, other.0) })
    }
    ternary!(_mm_ror_epi32, _mm_srl_epi32, _mm_ternarylogic_epi32);
}
