//! `Networks` on ONNX Runtime.
#![deny(unsafe_code)]
