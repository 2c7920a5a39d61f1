//! MD5 and SHA-512 of a lone upload, hashed at once.
//!
//! Each step of MD5 and each round of SHA-512 waits for the one before it, so that either of them alone leaves much of the
//! processor idle. Here their instructions alternate: both digests take a sixth to a third longer than the slower one by itself.

use std::arch::asm;
use std::arch::x86_64::{_mm_add_epi32, _mm_cvtsi32_si128, _mm_cvtsi128_si32};

use super::super::constants;
use super::super::rounds::{Vector, schedule512};
use super::{Zmm32, Zmm64};

/// Blocks of SHA-512 whose words are prepared side by side, and twice as many of MD5.
const GROUP: usize = 8;

/// What steps and rounds add that does not depend on the state: words of the input plus constants.
#[repr(C, align(64))]
struct Sums {
    /// Of each round of SHA-512, for each block of the group.
    sha512: [[u64; GROUP]; 80],
    /// Of each word of each block of MD5, for each quarter.
    md5: [[[u32; 16]; 4]; 2 * GROUP],
}

/// Bytes of a row of the first table, and of a quarter in the second.
const ROW: usize = 64;

/// How a quarter of MD5 goes through the words of a block: step `i` takes word `i * factor + first`.
const ORDER: [(usize, usize); 4] = [(1, 0), (5, 1), (3, 5), (7, 0)];

/// The constants of MD5, by quarter, in the order of the words.
static MD5: [[u32; 16]; 4] = {
    let mut sorted = [[0; 16]; 4];
    let mut step = 0;
    while step < 64 {
        let (factor, first) = ORDER[step / 16];
        sorted[step / 16][(step % 16 * factor + first) % 16] = constants::MD5[step];
        step += 1;
    }
    sorted
};

/// One step of MD5 as text: `$a` becomes `$b` plus what is rotated; the mix is chosen by `$table` from `$x`, `$y` and `$z`.
macro_rules! md5_step {
    ($row:literal $a:literal $b:literal, $x:literal $y:literal $z:literal $table:literal, $shift:literal) => {
        concat!(
            "vmovdqa {t}, {",
            $x,
            "}\n",
            "vpaddd {",
            $a,
            "}, {",
            $a,
            "}, dword ptr [{block} + {quarter} + 4 * ((",
            $row,
            " * {factor} + {first}) % 16)]{{1to4}}\n",
            "vpternlogd {t}, {",
            $y,
            "}, {",
            $z,
            "}, ",
            $table,
            "\n",
            "vpaddd {",
            $a,
            "}, {",
            $a,
            "}, {t}\n",
            "vprold {",
            $a,
            "}, {",
            $a,
            "}, ",
            $shift,
            "\n",
            "vpaddd {",
            $a,
            "}, {",
            $a,
            "}, {",
            $b,
            "}\n",
        )
    };
}

/// One step of the four functions of MD5, over the words in their places.
#[rustfmt::skip]
macro_rules! md5_mix {
    (f $row:literal $a:literal $b:literal $c:literal $d:literal $shift:literal) => {
        md5_step!($row $a $b, $b $c $d "0xca", $shift)
    };
    (g $row:literal $a:literal $b:literal $c:literal $d:literal $shift:literal) => {
        md5_step!($row $a $b, $d $b $c "0xca", $shift)
    };
    (h $row:literal $a:literal $b:literal $c:literal $d:literal $shift:literal) => {
        md5_step!($row $a $b, $d $c $b "0x96", $shift)
    };
    (i $row:literal $a:literal $b:literal $c:literal $d:literal $shift:literal) => {
        md5_step!($row $a $b, $b $c $d "0x39", $shift)
    };
}

/// Ten rounds of SHA-512 and, between them, the sixteen steps of one quarter of MD5.
macro_rules! quarter {
    (
        $mix:ident $s1:literal $s2:literal $s3:literal $s4:literal, $base:expr, $rounds:expr, $block:expr, $quarter:expr,
        $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $w:ident $x:ident $y:ident $z:ident
    ) => {
        // SAFETY: ten words of the first table are read, in the column that the caller chose, and the sixteen of one quarter of the
        // second, and nothing is written but registers.
        unsafe {
            asm!(
                sha512_round!("s0" "a" "b" "d" "e" "f" "g" "h", "last" "new"),
                md5_mix!($mix "0" "ma" "mb" "mc" "md" $s1),
                md5_mix!($mix "1" "md" "ma" "mb" "mc" $s2),
                sha512_round!("s1" "h" "a" "c" "d" "e" "f" "g", "new" "last"),
                md5_mix!($mix "2" "mc" "md" "ma" "mb" $s3),
                sha512_round!("s2" "g" "h" "b" "c" "d" "e" "f", "last" "new"),
                md5_mix!($mix "3" "mb" "mc" "md" "ma" $s4),
                md5_mix!($mix "4" "ma" "mb" "mc" "md" $s1),
                sha512_round!("s3" "f" "g" "a" "b" "c" "d" "e", "new" "last"),
                md5_mix!($mix "5" "md" "ma" "mb" "mc" $s2),
                sha512_round!("s4" "e" "f" "h" "a" "b" "c" "d", "last" "new"),
                md5_mix!($mix "6" "mc" "md" "ma" "mb" $s3),
                md5_mix!($mix "7" "mb" "mc" "md" "ma" $s4),
                sha512_round!("s5" "d" "e" "g" "h" "a" "b" "c", "new" "last"),
                md5_mix!($mix "8" "ma" "mb" "mc" "md" $s1),
                md5_mix!($mix "9" "md" "ma" "mb" "mc" $s2),
                sha512_round!("s6" "c" "d" "f" "g" "h" "a" "b", "last" "new"),
                md5_mix!($mix "10" "mc" "md" "ma" "mb" $s3),
                sha512_round!("s7" "b" "c" "e" "f" "g" "h" "a", "new" "last"),
                md5_mix!($mix "11" "mb" "mc" "md" "ma" $s4),
                md5_mix!($mix "12" "ma" "mb" "mc" "md" $s1),
                sha512_round!("s8" "a" "b" "d" "e" "f" "g" "h", "last" "new"),
                md5_mix!($mix "13" "md" "ma" "mb" "mc" $s2),
                sha512_round!("s9" "h" "a" "c" "d" "e" "f" "g", "new" "last"),
                md5_mix!($mix "14" "mc" "md" "ma" "mb" $s3),
                md5_mix!($mix "15" "mb" "mc" "md" "ma" $s4),
                sums = in(reg) $base,
                block = in(reg) $block,
                quarter = const $quarter * ROW,
                factor = const ORDER[$quarter].0,
                first = const ORDER[$quarter].1,
                s0 = const $rounds,
                s1 = const $rounds + ROW,
                s2 = const $rounds + 2 * ROW,
                s3 = const $rounds + 3 * ROW,
                s4 = const $rounds + 4 * ROW,
                s5 = const $rounds + 5 * ROW,
                s6 = const $rounds + 6 * ROW,
                s7 = const $rounds + 7 * ROW,
                s8 = const $rounds + 8 * ROW,
                s9 = const $rounds + 9 * ROW,
                a = inout(reg) $a,
                b = inout(reg) $b,
                c = inout(reg) $c,
                d = inout(reg) $d,
                e = inout(reg) $e,
                f = inout(reg) $f,
                g = inout(reg) $g,
                h = inout(reg) $h,
                last = inout(reg) $b ^ $c => _,
                new = out(reg) _,
                x = out(reg) _,
                y = out(reg) _,
                ma = inout(xmm_reg) $w,
                mb = inout(xmm_reg) $x,
                mc = inout(xmm_reg) $y,
                md = inout(xmm_reg) $z,
                t = out(xmm_reg) _,
                options(pure, readonly, nostack),
            );
        }
    };
}

/// Forty rounds of SHA-512, and one block of MD5.
macro_rules! half {
    (
        $base:expr, $rounds:expr, $block:expr,
        $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $w:ident $x:ident $y:ident $z:ident
    ) => {
        let before = [$w, $x, $y, $z];
        quarter!(f "7" "12" "17" "22", $base, $rounds, $block, 0, $a $b $c $d $e $f $g $h, $w $x $y $z);
        // Ten rounds later each word has the place that the second before it had.
        quarter!(g "5" "9" "14" "20", $base, $rounds + 10 * ROW, $block, 1, $g $h $a $b $c $d $e $f, $w $x $y $z);
        quarter!(h "4" "11" "16" "23", $base, $rounds + 20 * ROW, $block, 2, $e $f $g $h $a $b $c $d, $w $x $y $z);
        quarter!(i "6" "10" "15" "21", $base, $rounds + 30 * ROW, $block, 3, $c $d $e $f $g $h $a $b, $w $x $y $z);
        [$w, $x, $y, $z] = [
            _mm_add_epi32($w, before[0]),
            _mm_add_epi32($x, before[1]),
            _mm_add_epi32($y, before[2]),
            _mm_add_epi32($z, before[3]),
        ];
    };
}

/// Hashes `narrow` by MD5 and `wide` by SHA-512: the same number of bytes, but not necessarily the same bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2")]
pub(super) fn md5_sha512(md5: &mut [u32; 8], sha512: &mut [u64; 8], narrow: &[[u8; 64]], wide: &[[u8; 128]]) {
    let mut sums = Sums { sha512: [[0; GROUP]; 80], md5: [[[0; 16]; 4]; 2 * GROUP] };
    for (wide, narrow) in wide.chunks(GROUP).zip(narrow.chunks(2 * GROUP)) {
        prepare_sha512(&mut sums.sha512, wide);
        prepare_md5(&mut sums.md5, narrow);
        for column in 0..wide.len() {
            rounds(md5, sha512, &sums, column);
        }
    }
}

/// A last group that is short repeats its first block; its rounds are left out.
#[inline(always)]
fn prepare_sha512(sums: &mut [[u64; GROUP]; 80], blocks: &[[u8; 128]]) {
    let k: &[u64; 80] = std::hint::black_box(&constants::SHA512);
    let mut w = Zmm64::load::<true>(std::array::from_fn(|lane| blocks.get(lane).unwrap_or(&blocks[0])));
    for t in (0..80).step_by(16) {
        for i in 0..16 {
            sums[t + i] = w[i].add(Zmm64::splat(k[t + i])).lanes();
            if t < 64 {
                schedule512(&mut w, i);
            }
        }
    }
}

/// The same for MD5. Its sums stay in the order of the words, so that nothing has to change places.
#[inline(always)]
fn prepare_md5(sums: &mut [[[u32; 16]; 4]; 2 * GROUP], blocks: &[[u8; 64]]) {
    for (sums, block) in sums.iter_mut().zip(blocks) {
        let words: [u32; 16] = std::array::from_fn(|i| u32::from_le_bytes(block.as_chunks::<4>().0[i]));
        for (sums, k) in sums.iter_mut().zip(&MD5) {
            *sums = Zmm32::new(words).add(Zmm32::new(*k)).lanes();
        }
    }
}

/// One block of SHA-512 and two of MD5.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2")]
fn rounds(md5: &mut [u32; 8], sha512: &mut [u64; 8], sums: &Sums, column: usize) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *sha512;
    let word = |word: u32| _mm_cvtsi32_si128(word.cast_signed());
    let (mut w, mut x, mut y, mut z) = (word(md5[0]), word(md5[1]), word(md5[2]), word(md5[3]));
    let base = (&raw const *sums).cast::<u64>().wrapping_add(column);
    let block = sums.md5[2 * column].as_ptr();
    half!(base, 0, block, a b c d e f g h, w x y z);
    half!(base, 40 * ROW, block.wrapping_add(4), a b c d e f g h, w x y z);
    for (word, value) in sha512.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(value);
    }
    for (word, value) in md5.iter_mut().zip([w, x, y, z]) {
        *word = _mm_cvtsi128_si32(value).cast_unsigned();
    }
}
