//! From the pixels of a face to its latents.
//!
//! In: faces of 256 × 256 pixels, RGB. Out: of each the latents `[8, 32, 32]` that the UNet takes: first
//! those of the face whose lower half is black, then those of the whole face, scaled.

use lipcast_plugins_api::author::Error;

use super::noise::Noise;
use crate::networks::{FACE, FACE_BYTES, LATENT, LATENT_CHANNELS, LATENTS, Network, Tensor};
use crate::worker::{Urgency, Worker};

/// Values of the pair of pictures that a face becomes: `[2, 3, 256, 256]`.
const PAIR: usize = 2 * FACE_BYTES;

/// Runs the encoder on several faces at a time.
pub(super) struct Encoder<'a> {
    worker: &'a Worker,
    /// `None`: the posterior's mode.
    noise: Option<Noise>,
    images: Vec<f32>,
    faces: usize,
    done: u64,
}

impl<'a> Encoder<'a> {
    /// `seed`: the posterior is sampled.
    pub(super) fn new(worker: &'a Worker, seed: Option<u64>) -> Self {
        Self { worker, noise: seed.map(Noise::new), images: Vec::new(), faces: 0, done: 0 }
    }

    /// Appends a face, `[256, 256, 3]`.
    pub(super) fn push(&mut self, face: &[u8]) {
        let start = self.images.len();
        self.images.resize(start + PAIR, 0.0);
        to_pair(face, &mut self.images[start..]);
        self.faces += 1;
    }

    /// Faces that wait.
    pub(super) fn len(&self) -> usize {
        self.faces
    }

    /// Encodes the faces that wait, in one batch; gives `[8, 32, 32]` of each, in their order.
    pub(super) fn encode(&mut self, urgency: Urgency<'_>) -> Result<Vec<Vec<f32>>, Error> {
        let faces = std::mem::take(&mut self.faces);
        if faces == 0 {
            return Ok(Vec::new());
        }
        let images = Tensor::new([2 * faces, 3, FACE, FACE], std::mem::take(&mut self.images));
        let (mut inputs, outputs) = self.worker.run(Network::VaeEncoder, vec![images], urgency)?;
        // The same memory for the next batch.
        if let Some(images) = inputs.pop() {
            self.images = images.data;
            self.images.clear();
        }
        let expected = faces * LATENTS;
        let [mean, deviation] = &outputs[..] else {
            return Err(Error::internal(format!("the encoder gave {} outputs", outputs.len())));
        };
        if mean.data.len() != expected || deviation.data.len() != expected {
            return Err(Error::internal(format!("the encoder gave {:?}", mean.shape)));
        }
        let mut latents = Vec::with_capacity(faces);
        for (mean, deviation) in mean.data.chunks_exact(LATENTS).zip(deviation.data.chunks_exact(LATENTS)) {
            let first = self.done * LATENTS as u64;
            self.done += 1;
            latents.push(match self.noise {
                None => mean.to_vec(),
                Some(noise) => (first..)
                    .zip(mean.iter().zip(deviation))
                    .map(|(at, (mean, deviation))| mean + deviation * noise.at(at))
                    .collect(),
            });
        }
        Ok(latents)
    }
}

/// The two pictures of a face: the masked one, then the whole one; `[3, 256, 256]` each, -1…1. Black is taken
/// before the range is, so that the masked half is -1.
pub(crate) fn to_pair(face: &[u8], pair: &mut [f32]) {
    let value = |byte: u8| ((f64::from(byte) / 255.0) as f32 - 0.5) / 0.5;
    let (masked, whole) = pair.split_at_mut(FACE_BYTES);
    let plane = FACE * FACE;
    for (at, pixel) in face.as_chunks::<3>().0.iter().enumerate() {
        for (channel, byte) in pixel.iter().enumerate() {
            let to = channel * plane + at;
            whole[to] = value(*byte);
            masked[to] = if at < plane / 2 { whole[to] } else { value(0) };
        }
    }
}

const _: () = assert!(LATENTS == 2 * LATENT_CHANNELS * LATENT * LATENT, "two latents make a face");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_face_becomes_a_masked_and_a_whole_picture_of_planes() {
        let face: Vec<u8> = (0..FACE_BYTES).map(|n| (n * 31 % 256) as u8).collect();
        let mut pair = vec![9.0; PAIR];
        to_pair(&face, &mut pair);
        let plane = FACE * FACE;
        for (row, column, channel) in [(0, 0, 0), (3, 200, 1), (127, 255, 2), (128, 0, 0), (255, 255, 2)] {
            let byte = face[(row * FACE + column) * 3 + channel];
            let at = channel * plane + row * FACE + column;
            let expected = 2.0 * f32::from(byte) / 255.0 - 1.0;
            assert!((pair[FACE_BYTES + at] - expected).abs() < 1e-6, "{row} {column} {channel}");
            let masked = if row < 128 { pair[FACE_BYTES + at] } else { -1.0 };
            assert_eq!(pair[at], masked, "{row} {column} {channel}");
        }
    }
}
