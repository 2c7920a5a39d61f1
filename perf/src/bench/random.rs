//! Numbers that look random and can be had again: the same seed gives the same run.

use super::pattern::mix;

/// SplitMix64, as in [`crate::payload`].
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5EED))
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is spread evenly enough for any bound that occurs here.
        u64::try_from((u128::from(self.word()) * u128::from(bound)) >> 64).unwrap_or_default()
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number of the exponential law with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Which of some weights is drawn; the first if all are zero.
    pub fn weighted(&mut self, weights: impl Iterator<Item = u64> + Clone) -> usize {
        let mut at = self.below(weights.clone().sum());
        for (number, weight) in weights.enumerate() {
            if at < weight {
                return number;
            }
            at -= weight;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept() {
        let mut random = Random::new(4);
        let mut counts = [0_u32; 3];
        for _ in 0..10_000 {
            counts[random.weighted([70, 0, 30].into_iter())] += 1;
        }
        assert!(counts[0].abs_diff(7_000) < 250 && counts[1] == 0, "{counts:?}");
        assert_eq!(random.weighted([0, 0].into_iter()), 0);
    }
}
