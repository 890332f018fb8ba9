//! The demo backend: moves the mouth of any avatar to speech, without a neural network for pictures.
//!
//! In: an avatar's frames with 68 landmarks once, then 16 kHz mono PCM. Out: the lower face of each frame, RGB24,
//! with a feathered mask.
//!
//! ```text
//! frames ─► prepare ─► blob ─► Avatar ────────────────┐
//! PCM ─► speech ─► MouthShape ─► session ─► Pose ─► warp ─► patch
//! ```
//!
//! It runs everywhere on one core, and a server keeps a copy of it linked in as the last resort.
#![forbid(unsafe_code)]

pub mod speech;

pub mod warp;

mod avatar;

mod backend;

mod error;

mod planes;

mod prepare;

mod session;

pub use avatar::Avatar;
pub use backend::DemoBackend;
pub use error::BlobError;
