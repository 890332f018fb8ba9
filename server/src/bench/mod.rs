//! Measurements behind `lipcast bench`.

pub mod lipsync;

pub mod rig;

pub mod start;

pub mod sync;
