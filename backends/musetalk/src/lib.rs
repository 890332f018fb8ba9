//! The MuseTalk pipeline as a library, generic over whatever runs its networks.
//!
//! In: an avatar's frames once, then 16 kHz mono PCM. Out: the mouth of each frame, RGB24, with a feathered mask.
//!
//! ```text
//! PREPARE  frame ─► face ─► box ─► 256×256 crop ─► VAE encoder ─► latents ─┐
//!                            └───► square ─► face parsing ─► mask ─────────┴► blob
//! SPEAK    PCM ─► log-mel ─► Whisper encoder ─► feature window ─► UNet ─► VAE decoder ─► 256×256 ─► box ─► patch
//! ```
//!
//! The arithmetic around the networks equals that of the reference (MuseTalk 1.5, with OpenCV and Pillow) byte for
//! byte; where the reference is plainly wrong, the default is right and a `compat` setting brings its way back.
#![forbid(unsafe_code)]

pub mod settings;

pub mod bundle;

pub mod networks;

mod worker;

mod warmup;

pub mod audio;

pub mod image;

pub mod face;

pub mod mask;

mod prepare;

mod avatar;

mod session;

mod infer;

mod stats;

mod backend;

mod error;

pub mod file;

pub mod import;

pub mod parity;

pub mod percall;

pub use avatar::Avatar;
pub use backend::MuseTalk;
pub use error::BlobError;
pub use networks::{NetworkError, Networks, Tensor};
pub use session::Session;
