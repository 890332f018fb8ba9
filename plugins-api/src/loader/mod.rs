//! For hosts: opens a plugin and calls it without any `unsafe` on the caller's side.
//!
//! [`Plugin`] comes from a file or from a linked backend; [`Instance`] is one loaded backend, for control
//! calls from any thread; [`Inferer`] holds the calls that belong to the instance's one fixed thread, and
//! its types keep it there. Libraries are never unloaded: a plugin may have threads and thread-locals.
//!
//! Whatever comes out of a plugin is checked before it is handed on: rectangles, formats, sizes, and a
//! canary behind each output [`Slot`]. Code in the same process can still do anything; see
//! `docs/plugin-abi.md`.

pub mod checks;
mod elf;
mod error;
mod inferer;
mod instance;
mod open;
mod preload;
mod services;
mod slot;
mod source;

pub use checks::FrameResult;
pub use elf::check as check_library;
pub use error::{LoadError, Refusal};
pub use inferer::{FrameRequest, Inferer, Session};
pub use instance::{Avatar, Instance};
pub use open::Plugin;
pub use preload::preload;
pub use services::{HostServices, NoProgress, Progress, SilentHost, monotonic_ns};
pub use slot::Slot;
pub use source::Source;
