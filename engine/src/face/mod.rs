//! Faces in avatar frames: source RGB in; a face box and 68 landmarks per frame out, in source pixels.
//!
//! ```text
//! RGB frame ─► detector (≤ 320 px) ─► calibrated box ─► 68 landmarks ─► tracking ─► gaps, medians, smoothing
//! ```
//!
//! Used only while an avatar is prepared; nothing here runs in a live session.

mod frame;
pub use frame::{FaceBox, FrameFace, FrameIssue, Landmarks, RgbView};

mod error;
pub use error::FaceError;

mod geometry;

mod detector;

mod dlib_file;
mod ensemble;
mod model;
pub use model::{DEFAULT_MODEL, DlibModel, LandmarkModel};

mod template;

mod scene;
mod smooth;

mod analyzer;
pub use analyzer::{ClipFaces, FaceAnalyzer, FaceOptions};

#[cfg(test)]
mod tests;
