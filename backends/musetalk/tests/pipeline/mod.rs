//! What the tests of the pipeline work with: networks of plain arithmetic, bundles of them, and a drawn face.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

pub mod arithmetic;
pub mod bundle;
pub mod clip;
pub mod stage;
