//! Where the face is: landmarks, detection, boxes, parsing.

pub mod pose;

pub mod detector;

pub mod boxes;

pub mod smooth;

pub mod parsing;

pub mod outline;

mod planes;
