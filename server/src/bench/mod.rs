//! Measurements behind `lipcast bench`.

pub mod lipsync;
