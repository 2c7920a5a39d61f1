//! The algorithms, each written once over a [`Vector`] of lanes: lane `i` is stream `i`. With one lane of plain words this is the
//! scalar code, with SIMD registers the lane code.
//!
//! Everything here is inlined into functions that are compiled for one instruction set. Round constants come as an
//! argument that the compiler cannot see through: it would move a known constant to the end of a sum, which puts one
//! more addition on the longest chain of dependent instructions.

use super::constants;

/// `N` words side by side.
pub(super) trait Vector<const N: usize>: Copy {
    /// A word of the algorithm: `u32` or `u64`.
    type Word: Copy;
    /// Sixteen words of input.
    type Block: Copy;

    fn new(lanes: [Self::Word; N]) -> Self;
    fn lanes(self) -> [Self::Word; N];
    fn splat(word: Self::Word) -> Self;
    /// Reads one block of each lane, and puts word `i` of all of them into vector `i`.
    fn load<const BIG_ENDIAN: bool>(blocks: [&Self::Block; N]) -> [Self; 16];
    fn add(self, other: Self) -> Self;
    /// `RIGHT` and `LEFT` add up to the bits of a word.
    fn rotate<const RIGHT: i32, const LEFT: i32>(self) -> Self;
    fn shift_right<const BITS: i32>(self) -> Self;
    /// `self ^ b ^ c`
    fn xor(self, b: Self, c: Self) -> Self;
    /// The bits of `b` where `self` is one, else those of `c`.
    fn choose(self, b: Self, c: Self) -> Self;
    /// The bits that are one in at least two of the three.
    fn majority(self, b: Self, c: Self) -> Self;
    /// `self ^ (b | !c)`, of the last round of MD5.
    fn xor_or_not(self, b: Self, c: Self) -> Self;
    /// `self + d.choose(b, c)`. Where that takes several instructions it can be made so that `b`, the word that is ready
    /// last, comes in late: the two sides have no bits in common, so both may be added.
    fn add_choice(self, d: Self, b: Self, c: Self) -> Self {
        self.add(d.choose(b, c))
    }
}

/// Expands four steps of which each begins with the word that the one before it changed last.
macro_rules! four {
    ($step:ident, $first:expr, [$a:ident $b:ident $c:ident $d:ident]) => {
        $step!($first, $a, $b, $c, $d, 0);
        $step!($first + 1, $d, $a, $b, $c, 1);
        $step!($first + 2, $c, $d, $a, $b, 2);
        $step!($first + 3, $b, $c, $d, $a, 3);
    };
}

/// Expands the sixteen steps of one round of MD5.
macro_rules! sixteen {
    ($step:ident, $first:expr, $words:tt) => {
        four!($step, $first, $words);
        four!($step, $first + 4, $words);
        four!($step, $first + 8, $words);
        four!($step, $first + 12, $words);
    };
}

/// How far step `$step` of a round rotates to the left, as right and left.
macro_rules! rotate {
    ($value:expr, $index:tt, $one:literal $two:literal $three:literal $four:literal) => {
        rotate!(@ $index, $value, $one $two $three $four)
    };
    (@ 0, $value:expr, $n:literal $two:literal $three:literal $four:literal) => { $value.rotate::<{ 32 - $n }, $n>() };
    (@ 1, $value:expr, $one:literal $n:literal $three:literal $four:literal) => { $value.rotate::<{ 32 - $n }, $n>() };
    (@ 2, $value:expr, $one:literal $two:literal $n:literal $four:literal) => { $value.rotate::<{ 32 - $n }, $n>() };
    (@ 3, $value:expr, $one:literal $two:literal $three:literal $n:literal) => { $value.rotate::<{ 32 - $n }, $n>() };
}

/// MD5 (RFC 1321). All lanes have the same number of blocks; the state is in the first four words.
#[inline(always)]
pub(super) fn md5<V: Vector<N, Word = u32, Block = [u8; 64]>, const N: usize>(
    state: &mut [[u32; N]; 8],
    lanes: &[&[[u8; 64]]; N],
) {
    let k: &[u32; 64] = std::hint::black_box(&constants::MD5);
    macro_rules! k {
        ($index:expr) => {
            V::splat(k[$index])
        };
    }
    let (mut a, mut b, mut c, mut d) = (V::new(state[0]), V::new(state[1]), V::new(state[2]), V::new(state[3]));
    let [first, ..] = lanes[..] else { return };
    #[expect(clippy::needless_range_loop, reason = "every lane has a block of its own at the index")]
    for index in 0..first.len() {
        let m = V::load::<false>(std::array::from_fn(|lane| &lanes[lane][index]));
        let before = [a, b, c, d];
        macro_rules! f {
            ($i:expr, $a:ident, $b:ident, $c:ident, $d:ident, $s:tt) => {
                $a = $a.add(k!($i).add(m[$i])).add($b.choose($c, $d));
                $a = rotate!($a, $s, 7 12 17 22).add($b);
            };
        }
        macro_rules! g {
            ($i:expr, $a:ident, $b:ident, $c:ident, $d:ident, $s:tt) => {
                $a = $a.add(k!($i).add(m[(5 * ($i) + 1) % 16])).add_choice($d, $b, $c);
                $a = rotate!($a, $s, 5 9 14 20).add($b);
            };
        }
        macro_rules! h {
            ($i:expr, $a:ident, $b:ident, $c:ident, $d:ident, $s:tt) => {
                $a = $a.add(k!($i).add(m[(3 * ($i) + 5) % 16])).add($c.xor($d, $b));
                $a = rotate!($a, $s, 4 11 16 23).add($b);
            };
        }
        macro_rules! i {
            ($i:expr, $a:ident, $b:ident, $c:ident, $d:ident, $s:tt) => {
                $a = $a.add(k!($i).add(m[(7 * ($i)) % 16])).add($c.xor_or_not($b, $d));
                $a = rotate!($a, $s, 6 10 15 21).add($b);
            };
        }
        sixteen!(f, 0, [a b c d]);
        sixteen!(g, 16, [a b c d]);
        sixteen!(h, 32, [a b c d]);
        sixteen!(i, 48, [a b c d]);
        [a, b, c, d] = [a.add(before[0]), b.add(before[1]), c.add(before[2]), d.add(before[3])];
    }
    for (word, value) in state.iter_mut().zip([a, b, c, d]) {
        *word = value.lanes();
    }
}

/// SHA-1 (FIPS 180-4), with the state in the first five words.
#[inline(always)]
pub(super) fn sha1<V: Vector<N, Word = u32, Block = [u8; 64]>, const N: usize>(
    state: &mut [[u32; N]; 8],
    lanes: &[&[[u8; 64]]; N],
) {
    let k: &[u32; 4] = std::hint::black_box(&constants::SHA1);
    let [s0, s1, s2, s3, s4, ..] = *state;
    let mut words = [V::new(s0), V::new(s1), V::new(s2), V::new(s3), V::new(s4)];
    let [first, ..] = lanes[..] else { return };
    #[expect(clippy::needless_range_loop, reason = "every lane has a block of its own at the index")]
    for index in 0..first.len() {
        let mut w = V::load::<true>(std::array::from_fn(|lane| &lanes[lane][index]));
        let before = words;
        let [mut a, mut b, mut c, mut d, mut e] = words;
        macro_rules! step {
            ($t:expr, $mix:expr) => {
                if $t >= 16 {
                    let mixed =
                        w[($t) % 16].xor(w[(($t) + 2) % 16], w[(($t) + 8) % 16]).xor(w[(($t) + 13) % 16], V::splat(0));
                    w[($t) % 16] = mixed.rotate::<31, 1>();
                }
                let sum = e.add(V::splat(k[($t) / 20])).add(w[($t) % 16]).add($mix).add(a.rotate::<27, 5>());
                (e, d, c, b, a) = (d, c, b.rotate::<2, 30>(), a, sum);
            };
        }
        for t in 0..20 {
            step!(t, b.choose(c, d));
        }
        for t in 20..40 {
            step!(t, b.xor(c, d));
        }
        for t in 40..60 {
            step!(t, b.majority(c, d));
        }
        for t in 60..80 {
            step!(t, b.xor(c, d));
        }
        words = [a, b, c, d, e];
        for (word, before) in words.iter_mut().zip(before) {
            *word = word.add(before);
        }
    }
    for (word, value) in state.iter_mut().zip(words) {
        *word = value.lanes();
    }
}

/// Makes one algorithm of the SHA-2 family: its schedule of words, its rounds over lanes.
macro_rules! sha2 {
    (
        $(#[$doc:meta])* $name:ident, $schedule:ident, $word:ty, $block:literal, $rounds:literal, $constants:expr,
        lower [$l1:literal $l2:literal >> $l3:literal] [$m1:literal $m2:literal >> $m3:literal],
        upper [$e1:literal $e2:literal $e3:literal] [$a1:literal $a2:literal $a3:literal], $bits:literal
    ) => {
        /// Replaces word `t` of the last sixteen of the schedule by the one sixteen later.
        #[inline(always)]
        pub(super) fn $schedule<V: Vector<N, Word = $word>, const N: usize>(w: &mut [V; 16], t: usize) {
            let (near, far) = (w[(t + 1) % 16], w[(t + 14) % 16]);
            let lower = near.rotate::<$l1, { $bits - $l1 }>()
                .xor(near.rotate::<$l2, { $bits - $l2 }>(), near.shift_right::<$l3>());
            let upper = far.rotate::<$m1, { $bits - $m1 }>()
                .xor(far.rotate::<$m2, { $bits - $m2 }>(), far.shift_right::<$m3>());
            w[t % 16] = w[t % 16].add(w[(t + 9) % 16]).add(lower).add(upper);
        }

        $(#[$doc])*
        #[inline(always)]
        pub(super) fn $name<V: Vector<N, Word = $word, Block = [u8; $block]>, const N: usize>(
            state: &mut [[$word; N]; 8],
            lanes: &[&[[u8; $block]]; N],
        ) {
            let k: &[$word; $rounds] = std::hint::black_box(&$constants);
            let [s0, s1, s2, s3, s4, s5, s6, s7] = *state;
            let mut words = [
                V::new(s0), V::new(s1), V::new(s2), V::new(s3), V::new(s4), V::new(s5), V::new(s6), V::new(s7),
            ];
            let [first, ..] = lanes[..] else { return };
    for index in 0..first.len() {
                let mut w = V::load::<true>(std::array::from_fn(|lane| &lanes[lane][index]));
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = words;
                macro_rules! round {
                    ($t:expr, $i:literal, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
                        let sum = $e.rotate::<$e1, { $bits - $e1 }>()
                            .xor($e.rotate::<$e2, { $bits - $e2 }>(), $e.rotate::<$e3, { $bits - $e3 }>());
                        $h = $h.add(w[$i]).add(V::splat(k[$t + $i])).add($e.choose($f, $g)).add(sum);
                        $d = $d.add($h);
                        let sum = $a.rotate::<$a1, { $bits - $a1 }>()
                            .xor($a.rotate::<$a2, { $bits - $a2 }>(), $a.rotate::<$a3, { $bits - $a3 }>());
                        $h = $h.add($a.majority($b, $c)).add(sum);
                        if $t + 16 < $rounds {
                            $schedule(&mut w, $i);
                        }
                    };
                }
                let mut t = 0;
                while t < $rounds {
                    round!(t, 0, a b c d e f g h);
                    round!(t, 1, h a b c d e f g);
                    round!(t, 2, g h a b c d e f);
                    round!(t, 3, f g h a b c d e);
                    round!(t, 4, e f g h a b c d);
                    round!(t, 5, d e f g h a b c);
                    round!(t, 6, c d e f g h a b);
                    round!(t, 7, b c d e f g h a);
                    round!(t, 8, a b c d e f g h);
                    round!(t, 9, h a b c d e f g);
                    round!(t, 10, g h a b c d e f);
                    round!(t, 11, f g h a b c d e);
                    round!(t, 12, e f g h a b c d);
                    round!(t, 13, d e f g h a b c);
                    round!(t, 14, c d e f g h a b);
                    round!(t, 15, b c d e f g h a);
                    t += 16;
                }
                for (word, value) in words.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                    *word = word.add(value);
                }
            }
            for (word, value) in state.iter_mut().zip(words) {
                *word = value.lanes();
            }
        }
    };
}

sha2!(
    /// SHA-256 and SHA-224 (FIPS 180-4).
    sha256, schedule256, u32, 64, 64, constants::SHA256,
    lower [7 18 >> 3] [17 19 >> 10], upper [6 11 25] [2 13 22], 32
);
sha2!(
    /// SHA-512, SHA-384 and SHA-512/t (FIPS 180-4).
    sha512, schedule512, u64, 128, 80, constants::SHA512,
    lower [1 8 >> 7] [19 61 >> 6], upper [14 18 41] [28 34 39], 64
);

/// Plain words: any number of lanes, on any machine.
macro_rules! plain {
    ($word:ty, $bytes:literal, $block:literal) => {
        impl<const N: usize> Vector<N> for [$word; N] {
            type Word = $word;
            type Block = [u8; $block];

            #[inline(always)]
            fn new(lanes: [$word; N]) -> Self {
                lanes
            }
            #[inline(always)]
            fn lanes(self) -> [$word; N] {
                self
            }
            #[inline(always)]
            fn splat(word: $word) -> Self {
                [word; N]
            }
            #[inline(always)]
            fn load<const BIG_ENDIAN: bool>(blocks: [&[u8; $block]; N]) -> [Self; 16] {
                let from = if BIG_ENDIAN { <$word>::from_be_bytes } else { <$word>::from_le_bytes };
                std::array::from_fn(|word| std::array::from_fn(|lane| from(blocks[lane].as_chunks::<$bytes>().0[word])))
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                std::array::from_fn(|i| self[i].wrapping_add(other[i]))
            }
            #[inline(always)]
            fn rotate<const RIGHT: i32, const LEFT: i32>(self) -> Self {
                self.map(|word| word.rotate_right(RIGHT.unsigned_abs()))
            }
            #[inline(always)]
            fn shift_right<const BITS: i32>(self) -> Self {
                self.map(|word| word >> BITS)
            }
            #[inline(always)]
            fn xor(self, b: Self, c: Self) -> Self {
                std::array::from_fn(|i| self[i] ^ b[i] ^ c[i])
            }
            #[inline(always)]
            fn choose(self, b: Self, c: Self) -> Self {
                std::array::from_fn(|i| c[i] ^ (self[i] & (b[i] ^ c[i])))
            }
            #[inline(always)]
            fn majority(self, b: Self, c: Self) -> Self {
                std::array::from_fn(|i| (self[i] & b[i]) | (c[i] & (self[i] | b[i])))
            }
            #[inline(always)]
            fn xor_or_not(self, b: Self, c: Self) -> Self {
                std::array::from_fn(|i| self[i] ^ (b[i] | !c[i]))
            }
            #[inline(always)]
            fn add_choice(self, d: Self, b: Self, c: Self) -> Self {
                std::array::from_fn(|i| self[i].wrapping_add(c[i] & !d[i]).wrapping_add(b[i] & d[i]))
            }
        }
    };
}

plain!(u32, 4, 64);
plain!(u64, 8, 128);
