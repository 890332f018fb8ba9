//! Pictures byte for byte as OpenCV and Pillow make them, masks and faces as the reference does.
//!
//! All inputs come from the generator in `support`; all results are compared by CRC-32. Values marked "spec" are those
//! of the project's specification of the pipeline; the others were produced by the library that a comment names, on the
//! same inputs.

mod support;

mod resizing;

mod filters;

mod warping;

mod masks;

mod parsing;

mod pose;

mod detector;
