//! The end of a batch: from the decoder's picture to bytes in main memory, on a GPU there, on a CPU in one pass.

use lipcast_musetalk::NetworkError;
use lipcast_musetalk::networks::{FACE, FACE_BYTES, all_finite};
use tch::{Device, Kind, TchError, Tensor};

use crate::error::failed;
use crate::tensors::to_host;

/// A batch on the device.
#[derive(Debug)]
pub(crate) struct Generated {
    /// u8 `[n, 256, 256, 3]`, RGB.
    pub(crate) pictures: Tensor,
    /// bool `[2]`: whether every value of the UNet's latent, and of the decoder's picture, is finite.
    pub(crate) finite: Tensor,
}

impl Generated {
    /// Ends a batch: `latent` is what the UNet gave, `image` `[n, 3, 256, 256]` in 0…1 what the decoder made of it.
    pub(crate) fn new(latent: &Tensor, image: &Tensor) -> Result<Self, NetworkError> {
        let end = || -> Result<_, TchError> {
            let finite = Tensor::f_stack(&[latent.f_isfinite()?.f_all()?, image.f_isfinite()?.f_all()?], 0)?;
            let mut levels = image.f_to_dtype(Kind::Float, false, false)?.f_mul_scalar(255.0)?;
            // To even at a half, as NumPy rounds for the reference.
            let _ = levels.f_round_()?.f_clamp_(0.0, 255.0)?;
            let pictures =
                levels.f_permute([0, 2, 3, 1])?.f_to_dtype(Kind::Uint8, false, false)?.f_contiguous()?;
            Ok(Self { pictures, finite })
        };
        end().map_err(failed("rounding"))
    }
}

/// Ends a batch on the CPU: `latent` is what the UNet gave, `image` `[n, 3, 256, 256]` in 0…1 what the decoder made of it,
/// `frames` RGB.
///
/// # Errors
/// [`NetworkError::BadOutput`] when a value is not finite.
pub(crate) fn round(latent: &Tensor, image: &Tensor, frames: &mut [u8]) -> Result<(), NetworkError> {
    let (latent, image) = (to_host(latent)?.data, to_host(image)?.data);
    for (values, network) in [(&latent, "unet"), (&image, "vae_decoder")] {
        if !all_finite(values) {
            return Err(not_finite(network));
        }
    }
    let plane = FACE * FACE;
    for (picture, frame) in image.chunks_exact(3 * plane).zip(frames.chunks_exact_mut(FACE_BYTES)) {
        let (red, rest) = picture.split_at(plane);
        let (green, blue) = rest.split_at(plane);
        for (pixel, ((red, green), blue)) in frame.chunks_exact_mut(3).zip(red.iter().zip(green).zip(blue)) {
            pixel.copy_from_slice(&[red, green, blue].map(|value| level(*value)));
        }
    }
    Ok(())
}

/// 0…1 as 0…255, to even at a half, as NumPy rounds for the reference.
fn level(value: f32) -> u8 {
    // From 2^23 on, f32 has no fractions: the addition rounds, and leaves the level in the lowest bits.
    const WHOLE: f32 = (1u32 << 23) as f32;
    ((value * 255.0).clamp(0.0, 255.0) + WHOLE).to_bits() as u8
}

fn not_finite(network: &str) -> NetworkError {
    NetworkError::BadOutput(format!("{network} gave NaN or infinity"))
}

/// Main memory that a GPU copies into by itself, as large as the largest batch so far.
#[derive(Debug, Default)]
pub(crate) struct Landing {
    pinned: Option<Tensor>,
}

impl Landing {
    /// Copies a batch into `frames`, waiting for the device once.
    ///
    /// # Errors
    /// [`NetworkError::BadOutput`] when a value is not finite; `frames` then holds nothing of use.
    pub(crate) fn fetch(&mut self, batch: &Generated, frames: &mut [u8]) -> Result<(), NetworkError> {
        let what = failed("UNet and decoder");
        let finite = self.copy(batch, frames).map_err(&what)?;
        for (finite, network) in finite.into_iter().zip(["unet", "vae_decoder"]) {
            if !finite {
                return Err(not_finite(network));
            }
        }
        Ok(())
    }

    fn copy(&mut self, batch: &Generated, frames: &mut [u8]) -> Result<[bool; 2], TchError> {
        let bytes = frames.len();
        // On its way while the pictures follow; on the CPU it is there already.
        let finite = batch.finite.f_to_device_(Device::Cpu, Kind::Bool, true, false)?;
        match batch.pictures.device() {
            Device::Cpu => batch.pictures.f_copy_data(frames, bytes)?,
            device => {
                let mut landed = self.room(device, frames.len() / FACE_BYTES)?;
                // It returns when everything before it in the stream is done, the flags too.
                landed.f_copy_(&batch.pictures)?;
                landed.f_copy_data(frames, bytes)?;
            }
        }
        let mut flags = [true; 2];
        finite.f_copy_data(&mut flags, 2)?;
        Ok(flags)
    }

    /// Pinned memory for `count` frames.
    fn room(&mut self, device: Device, count: usize) -> Result<Tensor, TchError> {
        let count = count as i64;
        let kept = self.pinned.take().filter(|pinned| pinned.size()[0] >= count);
        let pinned = match kept {
            Some(pinned) => pinned,
            None => {
                let side = FACE as i64;
                // What is copied from a GPU without waiting lands in pinned memory: libtorch makes it so.
                Tensor::f_zeros([count, side, side, 3], (Kind::Uint8, device))?.f_to_device_(
                    Device::Cpu,
                    Kind::Uint8,
                    true,
                    true,
                )?
            }
        };
        let room = pinned.f_narrow(0, 0, count)?;
        self.pinned = Some(pinned);
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What both ways give, which is the same.
    fn fetched(latent: &[f32], image: &[f32]) -> Result<Vec<u8>, NetworkError> {
        let side = FACE as i64;
        let latent = Tensor::from_slice(latent);
        // The values stand at the beginning of the red plane; all others are 0.
        let mut picture = vec![0.0f32; FACE_BYTES];
        picture[..image.len()].copy_from_slice(image);
        let image = Tensor::from_slice(&picture).view([1, 3, side, side]);
        let mut frames = [vec![7; FACE_BYTES], vec![7; FACE_BYTES]];
        let done = Landing::default().fetch(&Generated::new(&latent, &image)?, &mut frames[0]);
        assert_eq!(round(&latent, &image, &mut frames[1]), done);
        done?;
        assert!(frames[0] == frames[1]);
        let [frames, _] = frames;
        Ok(frames)
    }

    #[test]
    fn halves_round_to_even_and_channels_come_together() {
        let image: Vec<f32> = [0.5, 1.5, 2.5, 254.5, 253.5].iter().map(|level| level / 255.0).collect();
        // Which of these quotients times 255 is exactly a half again in f32, NumPy tells: all five.
        assert!(image.iter().zip([0.5, 1.5, 2.5, 254.5, 253.5]).all(|(value, level)| value * 255.0 == level));
        let frames = fetched(&[0.0], &image).expect("all is finite");
        let red: Vec<u8> = frames.iter().step_by(3).take(6).copied().collect();
        assert_eq!(red, [0, 2, 2, 254, 254, 0]);
        assert!(frames.iter().skip(1).step_by(3).chain(frames.iter().skip(2).step_by(3)).all(|&v| v == 0));
    }

    #[test]
    fn what_leaves_the_range_is_clamped() {
        let frames = fetched(&[0.0], &[-0.1, 1.1, 1.0]).expect("all is finite");
        assert_eq!([frames[0], frames[3], frames[6]], [0, 255, 255]);
    }

    #[test]
    fn nan_and_infinity_are_errors_that_name_the_network() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = fetched(&[0.0, bad], &[]).expect_err("the latent is bad");
            assert_eq!(error, NetworkError::BadOutput("unet gave NaN or infinity".to_owned()));
            let error = fetched(&[0.0], &[0.5, bad]).expect_err("the picture is bad");
            assert_eq!(error, NetworkError::BadOutput("vae_decoder gave NaN or infinity".to_owned()));
        }
    }
}
