//! The contract between Lipcast and a lip-sync backend, version 1.0.
//!
//! The reference text is `include/lipcast_backend.h`; this crate holds the same tables for Rust and the
//! safe layers on both sides of them:
//!
//! - [`abi`]: the `repr(C)` tables, byte for byte those of the header, with their fingerprint.
//! - [`types`]: rectangles, formats, errors, capabilities: the words both sides share.
//! - [`author`]: the safe [`Backend`](author::Backend) trait and [`export_backend!`], for plugins.
//! - [`loader`] (feature `loader`): opens a plugin from a file or from a linked backend, for hosts.
//!
//! What goes in: an avatar's frames once, then 16 kHz mono PCM. What comes out: patches of the canvas,
//! one a video frame. No tensors cross this line.
#![allow(unsafe_code, reason = "this crate is the foreign-function boundary; every block states its proof")]

pub mod abi;
pub mod author;
#[cfg(feature = "loader")]
pub mod loader;
pub mod root;
pub mod types;

pub use serde_json;

#[doc(hidden)]
pub use root::__export;
