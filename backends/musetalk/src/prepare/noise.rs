//! Gaussian noise that is the same on every machine, for those who want the posterior sampled.

/// Numbers with mean 0 and deviation 1, by their place and a seed.
///
/// Number k is the sum of twelve even ones less six (the Irwin–Hall distribution, which is a Gaussian as far
/// as anybody could see here): words 12 k to 12 k + 11 of SplitMix64 over the seed, 24 bits of each. Sums of
/// integers round nowhere, where logarithms and cosines differ from library to library in their last bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    seed: u64,
}

/// Numbers that are added up for one.
const TERMS: u64 = 12;

impl Noise {
    /// The noise of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Number `at`.
    pub(super) fn at(&self, at: u64) -> f32 {
        let sum: u64 = (0..TERMS).map(|term| self.word(TERMS * at + term) >> 40).sum();
        // Less the mean, in units of 2^-24; half a unit each makes the terms even about it.
        let sum = sum as i64 - ((TERMS as i64) << 23) + TERMS as i64 / 2;
        sum as f32 / (1 << 24) as f32
    }

    fn word(&self, index: u64) -> u64 {
        let mut z = self.seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_moments_of_a_gaussian_and_repeats() {
        let noise = Noise::new(7);
        let numbers: Vec<f64> = (0..200_000).map(|at| f64::from(noise.at(at))).collect();
        let moment = |power: i32| numbers.iter().map(|n| n.powi(power)).sum::<f64>() / numbers.len() as f64;
        let [mean, variance, skew, fourth] = [1, 2, 3, 4].map(moment);
        // Four deviations of each estimate; the fourth moment of twelve terms is 2.9, a Gaussian's is 3.
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.015, "{mean} {variance}");
        assert!(skew.abs() < 0.04 && (fourth - 2.9).abs() < 0.09, "{skew} {fourth}");
        assert_eq!(noise.at(12_345), Noise::new(7).at(12_345));
        assert_ne!(noise.at(12_345), Noise::new(8).at(12_345));
    }

    #[test]
    fn its_words_are_those_of_splitmix64() {
        // The published sequence of seed 1234567.
        let noise = Noise::new(1_234_567);
        assert_eq!(
            [0, 1, 2].map(|at| noise.word(at)),
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
