//! Measurements behind `lipcast bench`.

pub mod around;

pub mod black_box;

pub mod compose;

pub mod crash;

pub mod cpu;

pub mod isolation;

pub mod lipsync;

pub mod rig;

pub mod sessions;

pub mod stand;

pub mod start;

pub mod sync;
