//! Where the face is: landmarks, detection, boxes, parsing.

pub mod detector;

pub mod parsing;

pub mod pose;

mod planes;
