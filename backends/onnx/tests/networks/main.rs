//! The networks of the committed bundles on ONNX Runtime: what they give, and how what is wrong is refused.
//!
//! ONNX Runtime's library is where `cargo xtask runtimes onnx` puts it, or where `LIPCAST_ONNXRUNTIME` says.

mod common;

mod device;

mod generate;

mod parity;

mod refused;
