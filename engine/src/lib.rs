//! The talking-avatar pipeline as a library: no HTTP, no WebRTC, no concrete backend.
//!
//! ```text
//! source ─► speech queue ─► 16 kHz PCM ─► backend ─► patch ─► compose ─► unit (picture + its 48 kHz PCM)
//! ```
//!
//! The modules stand in the order of that flow.

pub mod time;

pub mod meter;

pub mod audio;

pub mod media;

pub mod face;

pub mod avatar;

pub mod backend;

pub mod compose;

pub mod session;

mod sync;
