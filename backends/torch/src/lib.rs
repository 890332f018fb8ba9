//! `Networks` on libtorch: a bundle's TorchScript files, or packages compiled for one kind of GPU.
//!
//! In: a [`Bundle`](lipcast_musetalk::bundle::Bundle) and settings once, then tensors in main memory. Out: tensors in
//! main memory, and faces as RGB bytes.
//!
//! ```text
//! latents ─┐
//! audio   ─┴─► device ─► UNet ─► decoder ─► round ─► RGB bytes ─► pinned memory ─► caller
//!                        └── nothing leaves the device here ──┘
//!                              on a GPU one recorded launch
//! ```
//!
//! libtorch must be mapped before this code is: the plugin's `preload` names it. Its GPU half is opened here, when a
//! GPU is asked for.
#![forbid(unsafe_code)]

mod options;

mod device;

mod tensors;

mod script;

mod compiled;

mod frames;

mod recorded;

mod networks;

mod error;

use lipcast_musetalk::MuseTalk;

pub use networks::TorchNetworks;
pub use options::Options;

/// MuseTalk on libtorch.
pub type TorchBackend = MuseTalk<TorchNetworks>;
