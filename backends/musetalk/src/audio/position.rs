//! The position code of the audio tokens.
//!
//! The UNet of a bundle adds it to the tokens by itself. The training of version 1.5 left it out, so it can
//! be taken away before: what then reaches the UNet's attention are the tokens alone.

use super::TOKEN_VALUES;
use crate::networks::{FEATURES, TOKENS};

/// The longest wavelength of the code is 2π times this, in tokens (the transformer's own choice).
const LONGEST: f64 = 10_000.0;

/// What is added to token `t` of a frame: sines and cosines of `t`, f32 `[50, 384]`.
#[derive(Debug, Clone)]
pub struct PositionCode {
    table: Vec<f32>,
}

impl PositionCode {
    /// Column 2k is sin(t · 10000^(−2k/384)), column 2k + 1 the cosine of the same.
    pub fn new() -> Self {
        // The reference computes frequencies and angles in f32, and at token 49 their rounding shows: 3e-6.
        let slope = (-LONGEST.ln() / FEATURES as f64) as f32;
        let frequency = |column: usize| f64::from((column & !1) as f32 * slope).exp() as f32;
        let value = |token: usize, column: usize| {
            let angle = f64::from(token as f32 * frequency(column));
            (if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
        };
        let table = (0..TOKENS).flat_map(|t| (0..FEATURES).map(move |c| value(t, c))).collect();
        Self { table }
    }

    /// The code, f32 `[50, 384]`.
    pub fn table(&self) -> &[f32] {
        &self.table
    }

    /// Takes the code from `tokens`, f32 `[50, 384]`, so that nothing is left of it once the UNet has added
    /// it.
    ///
    /// Panics where the length is another: a bug of the caller.
    pub fn remove(&self, tokens: &mut [f32]) {
        assert_eq!(tokens.len(), TOKEN_VALUES, "tokens of one frame");
        tokens.iter_mut().zip(&self.table).for_each(|(token, code)| *token -= code);
    }
}

impl Default for PositionCode {
    fn default() -> Self {
        Self::new()
    }
}
