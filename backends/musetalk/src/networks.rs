//! The seven networks, and the trait that a runtime implements to run them.

use lipcast_plugins_api::author::{Code, Error};

use crate::bundle::Bundle;
use crate::settings::RuntimeSettings;

/// Columns and rows of the face that the networks see.
pub const FACE: usize = 256;
/// Columns and rows of a latent.
pub const LATENT: usize = FACE / 8;
/// Channels of one latent; an avatar frame has two, the masked face's and the whole one's.
pub const LATENT_CHANNELS: usize = 4;
/// Values of an avatar frame's latents: `[8, 32, 32]`.
pub const LATENTS: usize = 2 * LATENT_CHANNELS * LATENT * LATENT;
/// Hidden states of the Whisper encoder: the input of its first layer and the output of each.
pub const HIDDEN_STATES: usize = 5;
/// Values of one hidden state.
pub const FEATURES: usize = 384;
/// Encoder steps, of 20 ms, that one video frame hears.
pub const WINDOW_STEPS: usize = 10;
/// Audio tokens of one video frame.
pub const TOKENS: usize = WINDOW_STEPS * HIDDEN_STATES;
/// Mel bands.
pub const MELS: usize = 80;
/// Bytes of a generated face: `[256, 256, 3]`, RGB.
pub const FACE_BYTES: usize = FACE * FACE * 3;

/// One of the networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// `mel` f32 `[B, 80, T]`, T even and at most 3000 → `features` `[B, T/2, 5, 384]`.
    WhisperEncoder,
    /// `latents` `[B, 8, 32, 32]` (masked, whole; scaled) and `audio` `[B, 50, 384]` → `latent` `[B, 4, 32, 32]`. Time
    /// step and position code are inside.
    Unet,
    /// `image` `[B, 3, 256, 256]`, RGB in -1…1 → `latent_mean` and `latent_std` `[B, 4, 32, 32]`, scaled.
    VaeEncoder,
    /// `latent` `[B, 4, 32, 32]`, scaled → `image` `[B, 3, 256, 256]`, RGB in 0…1.
    VaeDecoder,
    /// `image` `[B, 3, 512, 512]`, RGB normalised by ImageNet's mean and deviation → `logits` `[B, 19, 512, 512]`.
    FaceParsing,
    /// `input` `[B, 3, 384, 288]`, RGB less its mean over its deviation → `simcc_x` `[B, 133, 576]` and `simcc_y`
    /// `[B, 133, 768]`.
    Landmarks,
    /// `image` `[B, 3, H, W]`, RGB less (104, 117, 123) → `class0` `[B, 2, h, w]` (logits: background, face), `box0`
    /// `[B, 4, h, w]`, … `class5`, `box5`.
    FaceDetector,
}

impl Network {
    /// Those that run when an avatar is prepared, and never while somebody speaks: what latents and masks are made by.
    pub const PREPARING: [Self; 4] =
        [Self::VaeEncoder, Self::FaceParsing, Self::Landmarks, Self::FaceDetector];

    /// All of them, in the order of the flow.
    pub const ALL: [Self; 7] = [
        Self::WhisperEncoder,
        Self::Unet,
        Self::VaeEncoder,
        Self::VaeDecoder,
        Self::FaceParsing,
        Self::Landmarks,
        Self::FaceDetector,
    ];

    /// Its name in a bundle.
    pub fn name(self) -> &'static str {
        match self {
            Self::WhisperEncoder => "whisper_encoder",
            Self::Unet => "unet",
            Self::VaeEncoder => "vae_encoder",
            Self::VaeDecoder => "vae_decoder",
            Self::FaceParsing => "face_parsing",
            Self::Landmarks => "landmarks",
            Self::FaceDetector => "face_detector",
        }
    }
}

/// A dense tensor in main memory, C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of `shape`. Panics when `data` has another number of values: a bug of the caller.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), data.len(), "values of a tensor of shape {shape:?}");
        Self { shape, data }
    }
}

/// Whether no value is NaN or infinite. Without a branch in the loop it runs in vectors.
pub fn all_finite(values: &[f32]) -> bool {
    let magnitude = |value: &f32| (value.to_bits() & !SIGN) as i32;
    values.iter().map(magnitude).fold(0, i32::max) < f32::INFINITY.to_bits() as i32
}

/// The sign of an f32.
const SIGN: u32 = 1 << 31;

/// What networks run on, once they are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// `cpu`, or like `cuda:0`.
    pub name: String,
    /// The runtime and its version, like `ONNX Runtime 1.31.1`.
    pub runtime: String,
    /// `fp32` or `fp16`.
    pub precision: String,
    /// Batch sizes that are run; a batch is filled up to the next one.
    pub buckets: Vec<usize>,
}

/// Why a network could not be loaded or run; one line that names the file or network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The runtime's own library, or a model file, is not there.
    #[error("{0}")]
    Missing(String),
    /// A file is not what it should be.
    #[error("{0}")]
    Corrupt(String),
    /// The setting asks for something that is not there.
    #[error("{0}")]
    Unsupported(String),
    /// The device has no memory left.
    #[error("{0}")]
    OutOfMemory(String),
    /// The device is gone, or so confused that nothing runs on it any more; the networks are of no more use.
    #[error("{0}")]
    DeviceLost(String),
    /// What came out cannot be used: it holds NaN or infinity.
    #[error("{0}")]
    BadOutput(String),
    /// Anything else that the runtime said.
    #[error("{0}")]
    Runtime(String),
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        let code = match error {
            NetworkError::Missing(_) => Code::ModelMissing,
            NetworkError::Corrupt(_) => Code::ModelCorrupt,
            NetworkError::Unsupported(_) => Code::InvalidArg,
            NetworkError::OutOfMemory(_) => Code::OomDevice,
            NetworkError::DeviceLost(_) => Code::DeviceLost,
            NetworkError::BadOutput(_) => Code::BadOutput,
            NetworkError::Runtime(_) => Code::Internal,
        };
        Error::new(code, error.to_string())
    }
}

/// Runs the networks of a bundle. One thread owns it: it is made, used and dropped there.
pub trait Networks: Sized + 'static {
    /// Id of the backend that they make, like `lipcast.musetalk.onnx`.
    const ID: &'static str;
    /// Its name for people, like `MuseTalk on ONNX Runtime`.
    const NAME: &'static str;
    /// The runtime's name and the formats it reads: `onnx` or `torchscript`.
    const FORMAT: &'static str;

    /// Loads the networks that `bundle` has. `log` takes a line for the operator.
    ///
    /// # Errors
    /// When the runtime, the device or a file is not there or not usable; the message names it.
    fn open(bundle: &Bundle, settings: &RuntimeSettings, log: &dyn Fn(&str)) -> Result<Self, NetworkError>;

    /// What they run on.
    fn device(&self) -> Device;

    /// Whether the bundle brought `network`.
    fn has(&self, network: Network) -> bool;

    /// Runs one network: inputs and outputs as [`Network`] lists them, in that order, f32 whatever the precision inside.
    ///
    /// # Errors
    /// When the network is not there, a shape is wrong, the runtime fails, or the result holds NaN.
    fn run(&mut self, network: Network, inputs: &[Tensor]) -> Result<Vec<Tensor>, NetworkError>;

    /// UNet and decoder for `frames.len() / FACE_BYTES` video frames, without leaving the device between them.
    /// `latents` `[n, 8, 32, 32]`, `audio` `[n, 50, 384]` → `frames` `[n, 256, 256, 3]`, RGB bytes, rounded half to even.
    ///
    /// `n` is one of [`Device::buckets`].
    ///
    /// # Errors
    /// When the runtime fails, or the result holds NaN.
    fn generate(&mut self, latents: &[f32], audio: &[f32], frames: &mut [u8]) -> Result<(), NetworkError>;

    /// Gives back what the networks of preparation hold: memory that speech has use for. Running one brings it back.
    fn release(&mut self) {}
}
