//! A third implementation of [`Networks`]: arithmetic that a reader can follow in his head, instead of
//! weights.
//!
//! Each function takes and gives what its network does, depends on all of its input that a network would, and
//! knows nothing of the others:
//!
//! | network | function |
//! | --- | --- |
//! | Whisper encoder | the mean of five mel columns around a step, by band, and a little of the window's mean |
//! | VAE encoder | the means of 8 × 8 pixels: red, green, blue, grey; deviation 0.05 |
//! | UNet | 0.7 of the whole face's latent, 0.2 of the masked one's, and the audio's mean, more at the chin |
//! | VAE decoder | each value of the first three channels as 8 × 8 pixels |
//! | face parsing | skin, lips and the rest by their colour |
//! | landmarks | the points of [`clip`](super::clip)'s face, laid over the skin's extent |
//! | face detector | one face around the skin, if there is enough of it |
//!
//! A file holds one f32, the gain by which the network's output is multiplied; `options` of the settings make
//! it fail on purpose:
//!
//! | option | what happens |
//! | --- | --- |
//! | `panic_at = n` | the n-th call of `generate` panics |
//! | `lose_at = n` | the n-th call of `generate` loses the device |
//! | `overflow = x` | `generate` gives unusable output when a latent is larger than x |
//! | `open_when = file` | opening takes until that file is there |

use std::path::Path;
use std::time::Duration;

use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::bundle::ports::{BODY_POINTS, LABELS, POSE_COLUMNS, POSE_ROWS};
use lipcast_musetalk::networks::{
    Device, FACE, FACE_BYTES, FEATURES, HIDDEN_STATES, LATENT, LATENTS, MELS, Network, TOKENS,
};
use lipcast_musetalk::settings::RuntimeSettings;
use lipcast_musetalk::{NetworkError, Networks, Tensor};
use serde_json::Value;

use super::clip;

const PLANE: usize = LATENT * LATENT;

/// Gains of the networks that the bundle has, and what is to go wrong.
pub struct Arithmetic {
    gains: Vec<(Network, f32)>,
    batches: Vec<usize>,
    options: Value,
    generated: u64,
}

impl Networks for Arithmetic {
    const ID: &'static str = "lipcast.musetalk.arithmetic";
    const NAME: &'static str = "MuseTalk by arithmetic";
    const FORMAT: &'static str = "arithmetic";

    fn open(bundle: &Bundle, settings: &RuntimeSettings, log: &dyn Fn(&str)) -> Result<Self, NetworkError> {
        let options = settings.options.clone();
        if let Some(file) = options["open_when"].as_str() {
            while !Path::new(file).exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let mut gains = Vec::new();
        for network in Network::ALL {
            let Some(file) = bundle.file(network, Self::FORMAT, "fp32") else { continue };
            let missing = |error| NetworkError::Missing(format!("{}: {error}", file.display()));
            let bytes = std::fs::read(&file).map_err(missing)?;
            let bytes = bytes.try_into().map_err(|_| NetworkError::Corrupt(file.display().to_string()))?;
            gains.push((network, f32::from_le_bytes(bytes)));
        }
        log("arithmetic is ready");
        let batches = if settings.batches.is_empty() { vec![1] } else { settings.batches.clone() };
        Ok(Self { gains, batches, options, generated: 0 })
    }

    fn device(&self) -> Device {
        Device {
            name: "cpu".into(),
            runtime: "arithmetic".into(),
            precision: "fp32".into(),
            buckets: self.batches.clone(),
        }
    }

    fn has(&self, network: Network) -> bool {
        self.gains.iter().any(|(known, _)| *known == network)
    }

    fn run(&mut self, network: Network, inputs: &[Tensor]) -> Result<Vec<Tensor>, NetworkError> {
        let batch = network.check(inputs)?;
        let gain = self.gain(network)?;
        let shape = inputs[0].shape.clone();
        let mut outputs = match network {
            Network::WhisperEncoder => {
                let rows = shape[2] / 2;
                let data = each(&inputs[0], |mel| encode_mel(mel, shape[2]));
                vec![Tensor::new([batch, rows, HIDDEN_STATES, FEATURES], data)]
            }
            Network::Unet => {
                let audio = inputs[1].data.chunks_exact(TOKENS * FEATURES);
                let pairs = inputs[0].data.chunks_exact(LATENTS).zip(audio);
                let data = pairs.flat_map(|(latents, audio)| unet(latents, audio)).collect();
                vec![Tensor::new([batch, 4, LATENT, LATENT], data)]
            }
            Network::VaeEncoder => {
                let mean = each(&inputs[0], encode_image);
                let deviation = vec![0.05; mean.len()];
                let tensor = |data| Tensor::new([batch, 4, LATENT, LATENT], data);
                vec![tensor(mean), tensor(deviation)]
            }
            Network::VaeDecoder => vec![Tensor::new([batch, 3, FACE, FACE], each(&inputs[0], decode))],
            Network::FaceParsing => {
                vec![Tensor::new([batch, LABELS, shape[2], shape[3]], each(&inputs[0], parse))]
            }
            Network::Landmarks => {
                let (mut x, mut y) = (Vec::new(), Vec::new());
                for image in inputs[0].data.chunks_exact(3 * POSE_ROWS * POSE_COLUMNS) {
                    simcc(image, &mut x, &mut y);
                }
                vec![
                    Tensor::new([batch, BODY_POINTS, 2 * POSE_COLUMNS], x),
                    Tensor::new([batch, BODY_POINTS, 2 * POSE_ROWS], y),
                ]
            }
            Network::FaceDetector => detect(&inputs[0].data, shape[2], shape[3]),
        };
        outputs.iter_mut().flat_map(|output| &mut output.data).for_each(|value| *value *= gain);
        Ok(outputs)
    }

    fn release(&mut self) {
        if let Some(file) = self.options["releases"].as_str() {
            let known = std::fs::read_to_string(file).unwrap_or_default();
            std::fs::write(file, known + "released\n").unwrap();
        }
    }

    fn generate(&mut self, latents: &[f32], audio: &[f32], frames: &mut [u8]) -> Result<(), NetworkError> {
        let batch = frames.len() / FACE_BYTES;
        assert!(self.batches.contains(&batch), "a batch of {batch} where {:?} are run", self.batches);
        self.generated += 1;
        let now = |key: &str| self.options[key].as_u64() == Some(self.generated);
        assert!(!now("panic_at"), "asked for by `panic_at`");
        if now("lose_at") {
            return Err(NetworkError::DeviceLost("the device fell off the bus".into()));
        }
        let limit = self.options["overflow"].as_f64().map_or(f32::INFINITY, |limit| limit as f32);
        if latents.iter().any(|value| *value > limit) {
            return Err(NetworkError::BadOutput("the output is not finite".into()));
        }
        let gains = self.gain(Network::Unet)? * self.gain(Network::VaeDecoder)?;
        let items = latents.chunks_exact(LATENTS).zip(audio.chunks_exact(TOKENS * FEATURES));
        for ((latents, audio), frame) in items.zip(frames.chunks_exact_mut(FACE_BYTES)) {
            frame.copy_from_slice(&face(latents, audio, gains)?);
        }
        Ok(())
    }
}

impl Arithmetic {
    fn gain(&self, network: Network) -> Result<f32, NetworkError> {
        let gain = self.gains.iter().find(|(known, _)| *known == network).map(|(_, gain)| *gain);
        gain.ok_or_else(|| NetworkError::Missing(format!("no {}", network.name())))
    }
}

/// The generated face of one frame, RGB bytes `[256, 256, 3]`.
pub fn face(latents: &[f32], audio: &[f32], gain: f32) -> Result<Vec<u8>, NetworkError> {
    let image = decode(&unet(latents, audio));
    let mut bytes = vec![0; FACE_BYTES];
    for (at, value) in image.iter().enumerate() {
        let value = value * gain;
        if !value.is_finite() {
            return Err(NetworkError::BadOutput("the output is not finite".into()));
        }
        let (channel, pixel) = (at / (FACE * FACE), at % (FACE * FACE));
        bytes[3 * pixel + channel] = (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    }
    Ok(bytes)
}

fn each(input: &Tensor, function: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    let size = input.data.len() / input.shape[0];
    input.data.chunks_exact(size).flat_map(function).collect()
}

/// Mel `[80, columns]` → features `[columns / 2, 5, 384]`.
pub fn encode_mel(mel: &[f32], columns: usize) -> Vec<f32> {
    let whole: f32 = mel.iter().sum::<f32>() / mel.len() as f32;
    let mut features = Vec::with_capacity(columns / 2 * HIDDEN_STATES * FEATURES);
    for row in 0..columns / 2 {
        let near = (2 * row).saturating_sub(2)..(2 * row + 3).min(columns);
        let bands: Vec<f32> = (0..MELS)
            .map(|band| near.clone().map(|column| mel[band * columns + column]).sum::<f32>() / 5.0)
            .collect();
        for state in 0..HIDDEN_STATES {
            let of_window = 0.02 * (state + 1) as f32 * whole;
            features.extend((0..FEATURES).map(|feature| bands[feature % MELS] + of_window));
        }
    }
    features
}

/// An image `[3, 256, 256]` in -1…1 → a latent `[4, 32, 32]`.
pub fn encode_image(image: &[f32]) -> Vec<f32> {
    let mut latent = vec![0.0; 4 * PLANE];
    for (at, value) in image.iter().enumerate() {
        let (channel, row, column) = (at / (FACE * FACE), at / FACE % FACE, at % FACE);
        let cell = row / 8 * LATENT + column / 8;
        latent[channel * PLANE + cell] += value / 64.0;
        latent[3 * PLANE + cell] += value / 192.0;
    }
    latent
}

/// Latents `[8, 32, 32]` and audio `[50, 384]` → a latent `[4, 32, 32]`.
fn unet(latents: &[f32], audio: &[f32]) -> Vec<f32> {
    let (masked, whole) = latents.split_at(4 * PLANE);
    // Later tokens count a little more, so that their order matters.
    let weights = (0..TOKENS).map(|token| 1.0 + 0.01 * token as f32);
    let heard: f32 =
        audio.chunks_exact(FEATURES).zip(weights).map(|(token, w)| token.iter().sum::<f32>() * w).sum();
    let heard = heard / (TOKENS * FEATURES) as f32;
    let value = |at: usize| {
        let row = at % PLANE / LATENT;
        0.7 * whole[at] + 0.2 * masked[at] + heard * row as f32 / LATENT as f32
    };
    (0..4 * PLANE).map(value).collect()
}

/// A latent `[4, 32, 32]` → an image `[3, 256, 256]` in 0…1.
fn decode(latent: &[f32]) -> Vec<f32> {
    let value = |at: usize| {
        let (channel, row, column) = (at / (FACE * FACE), at / FACE % FACE, at % FACE);
        0.5 + 0.5 * latent[channel * PLANE + row / 8 * LATENT + column / 8]
    };
    (0..FACE_BYTES).map(value).collect()
}

/// An image by ImageNet's mean and deviation → logits of 19 labels: what is red enough for a lip, or for
/// skin.
fn parse(image: &[f32]) -> Vec<f32> {
    let plane = image.len() / 3;
    let colour = |at: usize, channel: usize| {
        let (mean, deviation) = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)][channel];
        (image[channel * plane + at] * deviation + mean) * 255.0
    };
    let mut logits = vec![0.0; LABELS * plane];
    for at in 0..plane {
        let [red, green] = [0, 1].map(|channel| colour(at, channel));
        let label = if red < 140.0 {
            0
        } else if red - green > 60.0 {
            12
        } else {
            1
        };
        logits[label * plane + at] = 1.0;
    }
    logits
}

/// The extent of the skin, `[left, top, right, bottom]` with ends, and its part of all pixels.
fn extent(columns: usize, rows: usize, is_skin: impl Fn(usize) -> bool) -> Option<[f32; 4]> {
    let mut bounds: Option<[usize; 4]> = None;
    let mut count = 0;
    for at in (0..columns * rows).filter(|at| is_skin(*at)) {
        let (x, y) = (at % columns, at / columns);
        let [left, top, right, bottom] = bounds.unwrap_or([x, y, x, y]);
        bounds = Some([left.min(x), top.min(y), right.max(x), bottom.max(y)]);
        count += 1;
    }
    bounds
        .filter(|_| count * 50 > columns * rows)
        .map(|[left, top, right, bottom]| [left as f32, top as f32, (right + 1) as f32, (bottom + 1) as f32])
}

/// SimCC vectors with one peak a point: of the face's points where [`clip`] has them in its skin.
fn simcc(image: &[f32], x: &mut Vec<f32>, y: &mut Vec<f32>) {
    let red = |at: usize| image[at] * 58.395 + 123.675;
    let [left, top, right, bottom] =
        extent(POSE_COLUMNS, POSE_ROWS, |at| red(at) > 140.0).unwrap_or([0.0, 0.0, 1.0, 1.0]);
    for point in 0..BODY_POINTS {
        // All others lie on the chin.
        let [u, v] = clip::POINTS(point.checked_sub(23).filter(|face| *face < 68).unwrap_or(8));
        let at = [left + u * (right - left), top + v * (bottom - top)];
        for (vector, place, bins) in [(&mut *x, at[0], 2 * POSE_COLUMNS), (&mut *y, at[1], 2 * POSE_ROWS)] {
            // A parabola around the place, so that the largest bin and what lies between bins both mean
            // something.
            vector.extend((0..bins).map(|bin| 9.0 - 0.01 * (bin as f32 - 2.0 * place).powi(2)));
        }
    }
}

/// The detector's twelve maps of a frame less (104, 117, 123).
fn detect(image: &[f32], rows: usize, columns: usize) -> Vec<Tensor> {
    let skin = extent(columns, rows, |at| image[at] + 104.0 > 140.0);
    let mut maps = Vec::new();
    for level in 0..6 {
        let stride = 4 << level;
        let (h, w) = (rows.div_ceil(stride), columns.div_ceil(stride));
        let (mut class, mut bounds) = (vec![0.0; 2 * h * w], vec![0.0; 4 * h * w]);
        class[..h * w].fill(4.0);
        // Faces of some hundred pixels belong to the fourth level.
        if let (3, Some([left, top, right, bottom])) = (level, skin) {
            let (x, y) = ((left + right) / 2.0, (top + bottom) / 2.0);
            let cell = (y as usize / stride).min(h - 1) * w + (x as usize / stride).min(w - 1);
            class[h * w + cell] = 9.0;
            let (stride, size) = (stride as f32, 4.0 * stride as f32);
            let centre = |at: usize| stride / 2.0 + at as f32 * stride;
            let shifts = [
                (x - centre(cell % w)) / (0.1 * size),
                (y - centre(cell / w)) / (0.1 * size),
                ((right - left) / size).ln() / 0.2,
                ((bottom - top) / size).ln() / 0.2,
            ];
            (0..4).for_each(|of| bounds[of * h * w + cell] = shifts[of]);
        }
        maps.extend([Tensor::new([1, 2, h, w], class), Tensor::new([1, 4, h, w], bounds)]);
    }
    maps
}
