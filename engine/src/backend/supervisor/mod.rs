//! One configured backend, supervised: a pure state machine between its sessions and its incarnations.
//!
//! In: [`Event`]s, each with the time since an origin of the caller's choice. Out: [`Action`]s, and when the next
//! [`Event::Tick`] is due. No thread, no clock, no process, no memory of pixels: the caller has those.
//!
//! An *incarnation* is one loaded instance of the backend, in a process of its own or not; a backend has many, one
//! after another.

mod policy;
pub use policy::Policy;

mod message;
pub use message::{Abilities, Action, Cargo, Event, LinkEvent, Op, Outcome, Request, Ticket, Warning};

mod rules;
pub use rules::{Rules, Sound};

#[allow(dead_code, reason = "what drives it follows")]
mod setback;

#[allow(dead_code, reason = "what drives it follows")]
mod life;
pub use life::State;
