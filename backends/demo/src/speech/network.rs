//! The small network from mel features to the mouth, streaming.
//!
//! In: one feature frame each 10 ms, f32 `[40]`, levels relative to the voice's own loudness.
//! Out: [`Output`]s at the same rate, each [`AHEAD`] frames (80 ms) behind the newest input.
//! Before the first input, it was as it is in that: a sound that begins with the tone of a room or a hum is not heard as
//! the sudden beginning of one.
//!
//! The weights were trained by `tools/train_visemes.py`, which also says what the layers are and how the file is
//! laid out. They are part of the library; a damaged file fails the tests, never a session.

use super::mel::{BANDS, HOP, MelFrame, WINDOW};

/// The trained weights; written by the training script.
const WEIGHTS: &[u8] = include_bytes!("../../assets/visemes.bin");
const MAGIC: &[u8] = b"LCVISEM1";
/// Slope of the rectifier below zero.
const SLOPE: f32 = 0.1;

const INPUT_OFFSET_DB: f32 = 15.0;
const INPUT_SCALE_DB: f32 = 20.0;
const INPUT_RANGE: f32 = 2.0;

/// Frames of future input that an output needs.
pub(super) const AHEAD: usize = 8;
/// Frames of past input that an output depends on.
const BEHIND: usize = 24;
/// The first frame whose window does not begin before the sound; it stands for those before it.
const FIRST_WHOLE: usize = WINDOW / 2 / HOP + 1;

/// What the network says about 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Output {
    /// 0..1
    pub(super) opening: f32,
    /// -1 rounded .. 1 spread
    pub(super) width: f32,
    /// 0..1
    pub(super) teeth: f32,
    /// 0..1
    pub(super) closed: f32,
    /// 0..1: somebody speaks.
    pub(super) speech: f32,
}

/// The network's input for a mel frame: levels under the voice's ceiling (dB), scaled and clamped to -2..2.
pub(super) fn features(mel: &MelFrame, ceiling: f32) -> MelFrame {
    mel.map(|level| ((level - ceiling + INPUT_OFFSET_DB) / INPUT_SCALE_DB).clamp(-INPUT_RANGE, INPUT_RANGE))
}

/// The layers with the inputs that they still remember.
#[derive(Debug)]
pub(super) struct Network {
    layers: Vec<Layer>,
    /// Frames that have come, as far as it matters.
    begun: usize,
}

impl Network {
    pub(super) fn new() -> Self {
        // The weights are compiled in and read by a test: failing here means a broken build.
        Self { layers: parse(WEIGHTS).expect("the built-in weights are intact"), begun: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.layers.iter_mut().for_each(Layer::reset);
        self.begun = 0;
    }

    /// Takes the next feature frame; from the ninth on each gives one output.
    pub(super) fn push(&mut self, features: &MelFrame) -> Option<Output> {
        let index = self.begun;
        self.begun = (index + 1).min(AHEAD + 1);
        if index < FIRST_WHOLE {
            return None;
        }
        if index == FIRST_WHOLE {
            for _ in 0..BEHIND + FIRST_WHOLE {
                self.run(features);
            }
        }
        // What comes out before belongs to the time before the first input.
        self.run(features).filter(|_| index >= AHEAD)
    }

    fn run(&mut self, features: &MelFrame) -> Option<Output> {
        let mut values: &[f32] = features;
        let last = self.layers.len() - 1;
        for (i, layer) in self.layers.iter_mut().enumerate() {
            values = layer.push(values, i < last)?;
        }
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        Some(Output {
            opening: sigmoid(values[0]),
            width: 2.0 * sigmoid(values[1]) - 1.0,
            teeth: sigmoid(values[2]),
            closed: sigmoid(values[3]),
            speech: sigmoid(values[4]),
        })
    }
}

/// One dilated convolution over time.
#[derive(Debug)]
struct Layer {
    inputs: usize,
    kernel: usize,
    dilation: usize,
    /// Inputs after the one that an output stands for.
    ahead: usize,
    /// f32 `[outputs, kernel, inputs]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    /// Ring of the last `(kernel - 1) * dilation + 1` inputs; before the start there were zeros.
    history: Vec<f32>,
    /// The row of `history` to be written next, which is the oldest.
    next: usize,
    /// Inputs still to come before the first output.
    waiting: usize,
    taps: Vec<f32>,
    output: Vec<f32>,
}

impl Layer {
    fn reset(&mut self) {
        self.history.fill(0.0);
        self.next = 0;
        self.waiting = self.ahead;
    }

    fn push(&mut self, input: &[f32], hidden: bool) -> Option<&[f32]> {
        let (n, rows) = (self.inputs, self.history.len() / self.inputs);
        self.history[self.next * n..][..n].copy_from_slice(input);
        self.next = (self.next + 1) % rows;
        if self.waiting > 0 {
            self.waiting -= 1;
            return None;
        }
        // `next` is now the oldest row.
        for k in 0..self.kernel {
            let row = (self.next + k * self.dilation) % rows;
            self.taps[k * n..][..n].copy_from_slice(&self.history[row * n..][..n]);
        }
        let weights = self.weights.chunks_exact(self.taps.len());
        for ((out, bias), weights) in self.output.iter_mut().zip(&self.bias).zip(weights) {
            *out = bias + dot(weights, &self.taps);
        }
        if hidden {
            for out in &mut self.output {
                if *out < 0.0 {
                    *out *= SLOPE;
                }
            }
            if self.output.len() == n {
                let row = (self.next + rows - 1 - self.ahead) % rows;
                for (out, input) in self.output.iter_mut().zip(&self.history[row * n..][..n]) {
                    *out += input;
                }
            }
        }
        Some(&self.output)
    }
}

/// In eight lanes, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        for (lane, (x, y)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Reads the layers, or says what is wrong with the file.
fn parse(file: &[u8]) -> Result<Vec<Layer>, &'static str> {
    let (data, hash) = file.split_last_chunk::<8>().ok_or("too short")?;
    if fnv1a(data) != u64::from_le_bytes(*hash) {
        return Err("hash mismatch");
    }
    let mut rest = data.strip_prefix(MAGIC).ok_or("not a weights file")?;
    let count = word(&mut rest)?;
    let mut layers = Vec::with_capacity(count);
    let mut expected = BANDS;
    for _ in 0..count {
        let (inputs, outputs) = (word(&mut rest)?, word(&mut rest)?);
        let (kernel, dilation, ahead) = (word(&mut rest)?, word(&mut rest)?, word(&mut rest)?);
        if inputs != expected {
            return Err("layers do not fit together");
        }
        expected = outputs;
        let weights = floats(&mut rest, outputs * kernel * inputs)?;
        let bias = floats(&mut rest, outputs)?;
        let rows = (kernel - 1) * dilation + 1;
        layers.push(Layer {
            inputs,
            kernel,
            dilation,
            ahead,
            weights,
            bias,
            history: vec![0.0; rows * inputs],
            next: 0,
            waiting: ahead,
            taps: vec![0.0; kernel * inputs],
            output: vec![0.0; outputs],
        });
    }
    let ahead: usize = layers.iter().map(|layer| layer.ahead).sum();
    if expected != 5 || ahead != AHEAD || !rest.is_empty() {
        return Err("not this network");
    }
    Ok(layers)
}

fn word(rest: &mut &[u8]) -> Result<usize, &'static str> {
    let (word, tail) = rest.split_first_chunk::<4>().ok_or("cut short")?;
    *rest = tail;
    Ok(u32::from_le_bytes(*word) as usize)
}

fn floats(rest: &mut &[u8], count: usize) -> Result<Vec<f32>, &'static str> {
    let (bytes, tail) = rest.split_at_checked(4 * count).ok_or("cut short")?;
    *rest = tail;
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}

fn fnv1a(data: &[u8]) -> u64 {
    data.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_or_cut_file_is_refused() {
        assert!(parse(WEIGHTS).is_ok());
        let mut damaged = WEIGHTS.to_vec();
        damaged[1_000] ^= 1;
        assert_eq!(parse(&damaged).unwrap_err(), "hash mismatch");
        assert!(parse(&WEIGHTS[..100]).is_err());
        assert!(parse(&[]).is_err());
    }
}
