//! Placeholder.

pub mod speech;
