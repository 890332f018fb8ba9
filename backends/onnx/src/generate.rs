//! UNet, decoder and rounding for one batch, without leaving the device between them.
//!
//! ```text
//! latents, audio ─► UNet ─► latent ─► decoder ─► image ─► to bytes ─► frames
//! main memory      └────────────── device ─────────────────┘         main memory
//! ```
//!
//! All memory is taken when it is opened, once for each batch size, and stays at its address, which is what recorded
//! graphs need. On a CPU the device is main memory, and the path is the same.

use half::f16;
use half::slice::HalfFloatSliceExt;
use lipcast_musetalk::NetworkError;
use lipcast_musetalk::networks::{FACE, FACE_BYTES, FEATURES, LATENT, LATENT_CHANNELS, LATENTS, TOKENS};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, Tensor, TensorElementType};

use crate::device::{Place, Target};
use crate::error::failed;
use crate::rgb8;
use crate::session::Opened;

/// Runs [`Networks::generate`](lipcast_musetalk::Networks::generate).
pub(crate) struct Generator {
    pub(crate) unet: Opened,
    pub(crate) decoder: Opened,
    to_bytes: Session,
    batches: Vec<Batch>,
}

impl Generator {
    /// Binds `unet` and `decoder` together on `target` for each of `batches`.
    ///
    /// # Errors
    /// When they do not fit together, or memory runs out.
    pub(crate) fn open(
        target: &Target,
        unet: Opened,
        decoder: Opened,
        batches: &[usize],
    ) -> Result<Self, NetworkError> {
        let (gives, takes) = (unet.values("latent"), decoder.values("latent"));
        let image = decoder.values("image");
        if gives != takes || gives != image {
            return Err(NetworkError::Corrupt(format!(
                "{} gives {gives} where {} takes {takes} and gives {image}; both must be of one precision",
                unet.file.display(),
                decoder.file.display()
            )));
        }
        let to_bytes = rgb8::open(target, gives)?;
        let bind = |&size: &usize| {
            Batch::bind(target, &unet.session, &decoder.session, &to_bytes, gives, size)
                .map_err(|error| failed(&format!("memory for a batch of {size} on {}", target.name()), error))
        };
        let batches = batches.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { unet, decoder, to_bytes, batches })
    }

    /// Draws `frames.len() / FACE_BYTES` frames, which must be one of the batch sizes.
    ///
    /// # Errors
    /// When the runtime fails, or a network's output is no number.
    pub(crate) fn run(
        &mut self,
        latents: &[f32],
        audio: &[f32],
        frames: &mut [u8],
    ) -> Result<(), NetworkError> {
        let size = frames.len() / FACE_BYTES;
        let Some(batch) = self.batches.iter_mut().find(|batch| batch.size == size) else {
            let sizes: Vec<_> = self.batches.iter().map(|batch| batch.size).collect();
            return Err(NetworkError::Runtime(format!(
                "a batch of {size} frames; the batch sizes are {sizes:?}"
            )));
        };
        let lengths = [latents.len(), audio.len(), frames.len()];
        if lengths != [size * LATENTS, size * TOKENS * FEATURES, size * FACE_BYTES] {
            return Err(NetworkError::Runtime(format!("{lengths:?} values for a batch of {size} frames")));
        }
        let put = |error| failed("inputs of the UNet", error);
        batch.latents.write(latents).map_err(put)?;
        batch.audio.write(audio).map_err(put)?;
        for (session, binding, name) in [
            (&mut self.unet.session, &batch.unet, "unet"),
            (&mut self.decoder.session, &batch.decoder, "vae_decoder"),
            (&mut self.to_bytes, &batch.to_bytes, "turning pictures to bytes"),
        ] {
            session.run_binding_with_options(binding, &batch.options).map_err(|error| failed(name, error))?;
        }
        let finite = |sum: &Tensor<f32>| sum.extract_tensor().1[0].is_finite();
        for (sum, name) in [(&batch.latent_sum, "unet: `latent`"), (&batch.image_sum, "vae_decoder: `image`")]
        {
            if !finite(sum) {
                return Err(NetworkError::BadOutput(format!("{name} holds NaN or infinity")));
            }
        }
        frames.copy_from_slice(batch.frames.extract_tensor().1);
        Ok(())
    }
}

/// The memory of one batch size, and the sessions bound to it.
struct Batch {
    size: usize,
    latents: Input,
    audio: Input,
    frames: Tensor<u8>,
    latent_sum: Tensor<f32>,
    image_sum: Tensor<f32>,
    unet: IoBinding,
    decoder: IoBinding,
    to_bytes: IoBinding,
    options: RunOptions,
}

impl Batch {
    fn bind(
        target: &Target,
        unet: &Session,
        decoder: &Session,
        to_bytes: &Session,
        values: TensorElementType,
        size: usize,
    ) -> ort::Result<Self> {
        let main = Allocator::default();
        let on_device = |session: &Session, shape: Vec<usize>| {
            DynTensor::new(&allocator(target.place, session)?, values, shape)
        };
        let input = |shape: Vec<usize>| -> ort::Result<Input> {
            let device = match target.place {
                Place::Cpu => None,
                Place::Cuda(_) => Some(on_device(unet, shape.clone())?),
            };
            Ok(Input { main: DynTensor::new(&main, values, shape)?, device })
        };
        let latents = input(vec![size, 2 * LATENT_CHANNELS, LATENT, LATENT])?;
        let audio = input(vec![size, TOKENS, FEATURES])?;
        let latent = on_device(unet, vec![size, LATENT_CHANNELS, LATENT, LATENT])?;
        let image = on_device(decoder, vec![size, 3, FACE, FACE])?;
        let mut batch = Self {
            size,
            frames: Tensor::new(&main, [size, FACE, FACE, 3])?,
            latent_sum: Tensor::new(&main, Vec::<i64>::new())?,
            image_sum: Tensor::new(&main, Vec::<i64>::new())?,
            unet: unet.create_binding()?,
            decoder: decoder.create_binding()?,
            to_bytes: to_bytes.create_binding()?,
            options: RunOptions::new()?,
            latents,
            audio,
        };
        if target.records() {
            // One recorded graph for each size.
            batch.options.set("gpu_graph_id", size.to_string())?;
        }
        batch.unet.bind_input("latents", batch.latents.bound())?;
        batch.unet.bind_input("audio", batch.audio.bound())?;
        batch.decoder.bind_input("latent", &latent)?;
        batch.to_bytes.bind_input(rgb8::LATENT, &latent)?;
        batch.unet.bind_output("latent", latent)?;
        batch.to_bytes.bind_input(rgb8::IMAGE, &image)?;
        batch.decoder.bind_output("image", image)?;
        batch.to_bytes.bind_output(rgb8::FRAMES, &mut batch.frames)?;
        batch.to_bytes.bind_output(rgb8::LATENT_SUM, &mut batch.latent_sum)?;
        batch.to_bytes.bind_output(rgb8::IMAGE_SUM, &mut batch.image_sum)?;
        Ok(batch)
    }
}

/// An input of the UNet: written in main memory, and brought to the device when that is another.
struct Input {
    main: DynTensor,
    device: Option<DynTensor>,
}

impl Input {
    fn bound(&self) -> &DynTensor {
        self.device.as_ref().unwrap_or(&self.main)
    }

    fn write(&mut self, values: &[f32]) -> ort::Result<()> {
        if *self.main.data_type() == TensorElementType::Float16 {
            self.main.try_extract_tensor_mut::<f16>()?.1.convert_from_f32_slice(values);
        } else {
            self.main.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(values);
        }
        match &mut self.device {
            Some(device) => self.main.copy_into(device),
            None => Ok(()),
        }
    }
}

/// Memory where `session` runs.
fn allocator(place: Place, session: &Session) -> ort::Result<Allocator> {
    match place {
        Place::Cpu => Ok(Allocator::default()),
        Place::Cuda(number) => {
            let info = MemoryInfo::new(
                AllocationDevice::CUDA,
                number.into(),
                AllocatorType::Device,
                MemoryType::Default,
            )?;
            Allocator::new(session, info)
        }
    }
}
