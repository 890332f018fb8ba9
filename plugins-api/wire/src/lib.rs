//! The third door: a backend in a process of its own, spoken to over a socket and a ring in shared memory.
//!
//! Version 1 of the protocol; `docs/exec-protocol.md` is its reference for other languages.
//! The *parent* is the host of backends, the *child* has one plugin open, or is one itself (`kind = "exec"`).
//!
//! - [`layout`]: where everything lies in the shared memory, in bytes.
//! - [`op`]: session calls and batches as bytes, and their answers: pure, and checked against every length.
//! - [`message`]: what goes over the control socket, as JSON.
//! - [`memory`], [`doorbell`], [`control`]: sealed shared memory, eventfds, packets with descriptors.
//! - [`ring`]: the two ends of the ring.
//! - [`child`]: how a child finds its ends.
//! - [`spawn`], [`client`]: how a parent starts a child and calls it.
//!
//! Nothing that a child writes is believed: every number is copied out once and checked, there are no pointers and
//! no locks in shared memory, and memory that both map can be neither cut nor grown.

pub mod layout;

pub mod op;

pub mod message;

pub mod memory;

pub mod doorbell;

pub mod control;

pub mod ring;

pub mod lines;

pub mod child;

pub mod spawn;

pub mod client;
