//! The fault matrix: what can go wrong, made to go wrong in real processes, and what a viewer sees of it.
//!
//! One test a row, named `row_NN_what` after the matrix of `docs/reliability.md`, which is made of what these tests
//! record. Each has a control without the fault, where one can be had. Counts and order are asserted; times are
//! measured and recorded. A row waits more than it computes, so as many run side by side as there are processors; those
//! that need the machine have it alone.

#[path = "../whole/mod.rs"]
mod whole;

mod cache;
mod drain;
mod init;
mod limits;
mod many;
mod metrics;
mod preload;
mod process;
mod row;
mod scene;
mod server;
mod session;
mod slow;
mod store;
