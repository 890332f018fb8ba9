//! Measurements behind `lipcast bench`.

pub mod black_box;

pub mod compose;

pub mod cpu;

pub mod lipsync;

pub mod rig;

pub mod sessions;

pub mod start;

pub mod sync;
