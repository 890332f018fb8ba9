//! One configured backend, supervised: a pure state machine between its sessions and its incarnations.
//!
//! In: [`Event`]s, each with the time since an origin of the caller's choice. Out: [`Action`]s, and when the next
//! [`Event::Tick`] is due. No thread, no clock, no process, no memory of pixels: the caller has those.
//!
//! An *incarnation* is one loaded instance of the backend, in a process of its own or not; a backend has many, one
//! after another. [`State`] tells where the backend is; its life decides when an incarnation begins and ends, its
//! desk keeps the sessions of the living one.

mod policy;
pub use policy::Policy;

mod message;
pub use message::{Abilities, Action, Cargo, Event, LinkEvent, Op, Outcome, Request, Ticket, Warning};

mod note;
pub use note::{Cause, Note};

mod rules;
pub use rules::{Rules, Sound};

mod setback;

mod life;
pub use life::State;

mod queue;

mod seat;

mod watch;

mod pace;

mod desk;

mod machine;
pub use machine::Supervisor;
