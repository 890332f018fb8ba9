//! Backends as the engine sees them: one trait, wherever the instance lives.
//!
//! In: 16 kHz mono PCM and requests for frames. Out: patches.
//! [`Instance`] is one loaded backend with its weights, [`SessionPort`] one session's line into it.
//! Nothing here says whether the instance is in this process; [`LocalInstance`] is the kind that is.

mod instance;
pub use instance::{
    AvatarInfo, AvatarSource, BackendError, Idle, Instance, LoadedAvatar, RequestFlags, Rest, SessionParams,
    SessionPort,
};

mod capacity;
pub use capacity::{Capacity, Room};

mod patch;
pub use patch::{
    Alpha, Code, FrameMask, FrameReply, FrameRequest, Outcome, Patch, PixelFormat, Pixels, Rect,
};

pub mod supervisor;

mod program;
/// What is executed for a backend in a process of its own.
pub use lipcast_wire::spawn::ChildCommand;
pub use program::{BackendSpec, Candidate, Finder, Program};

mod meter;
pub use meter::BackendMeter;

mod mailbox;

mod host_services;

mod link;

mod incarnation;

mod keeper;

mod local;
pub use local::{LocalInstance, OpenError};

mod load;
pub use load::{LoadError, load_avatar, load_existing};

mod registry;
pub use registry::{BackendFigures, BackendReport, Backends, ReportedState};

mod reload;
pub use reload::ReloadError;
