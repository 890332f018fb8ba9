//! Where the face is: landmarks, detection, boxes, parsing.

pub mod boxes;

pub mod smooth;
