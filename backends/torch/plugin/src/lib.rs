//! The libtorch backend as a shared library: its exported symbols, and nothing else.
#![forbid(unsafe_code)]

lipcast_plugins_api::export_backend!(lipcast_torch::TorchBackend);
