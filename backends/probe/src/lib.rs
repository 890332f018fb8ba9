//! The measuring backend: what it draws is meant for instruments, not for people.
//!
//! In: any avatar, then 16 kHz mono PCM. Out: an opaque patch near the top left of the canvas, in I420, or the whole
//! canvas.
//!
//! `{"mode": "barcode"}` (the default) writes the number of each video frame and of its avatar frame as a
//! barcode that survives lossy coding; [`barcode::read`] reads it back from decoded luma. A test that sees
//! all numbers, in order, knows that every frame came through the backend and reached the viewer.
//!
//! `{"mode": "flash"}` paints the patch white for the frame whose samples hold the onset of a click, black
//! otherwise. Flash against click, measured at the receiver, is the A/V offset of the whole path.
//!
//! `{"mode": "canvas"}` paints the whole canvas and next to nothing else, in `format` ("rgb" or "i420"): what a frame
//! then costs is what its way through the host costs.
#![forbid(unsafe_code)]

pub mod barcode;

pub mod click;

pub mod canvas;

mod backend;

pub use backend::ProbeBackend;
