//! Picture arithmetic that equals OpenCV 4.9 and Pillow 10.4 byte for byte.
//!
//! In and out: 8-bit pictures of interleaved channels, rows from the top. Each operation is its own file and its own
//! formula: the two libraries round differently, and so do the operations of one of them.
//! Nothing here depends on the order of colours.

mod picture;

mod crop;

mod bilinear;

mod lanczos;

mod pillow;

mod gaussian;

mod morphology;

mod paste;

mod warp;

pub use bilinear::Bilinear;
pub use crop::crop;
pub use gaussian::gaussian_blur;
pub use lanczos::lanczos4;
pub use morphology::{Element, Run, dilate, erode};
pub use paste::{paste, paste_masked};
pub use picture::{Picture, View, ViewMut};
pub use pillow::{Filter, resample};
pub use warp::warp_affine;
