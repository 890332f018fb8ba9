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

mod patch;
pub use patch::{Alpha, Code, FrameMask, FrameReply, FrameRequest, Outcome, Patch, PixelFormat, Rect};

mod local;
pub use local::{LocalInstance, OpenError};

mod seat;

mod worker;

mod load;
pub use load::{LoadError, load_avatar, load_existing};

mod batcher;
pub use batcher::{Batcher, Ticket};

pub mod supervisor;

mod registry;
pub use registry::{BackendReport, BackendSpec, BackendState, Backends, Opener, ReportedState};

mod reload;
pub use reload::ReloadError;
