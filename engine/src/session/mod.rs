//! A session: one performance of an avatar, on one media clock.
//!
//! In: utterances (16 kHz PCM for the backend, the same speech at 48 kHz to be heard) and the backend's patches.
//! Out: [`Unit`]s: one picture and exactly the audio that belongs to it, in frame order, none left out.
//!
//! [`Timeline`] decides what each frame is, [`Performance`] asks the backend and composes, [`live`] runs it on the
//! clock, [`offline`] as fast as the backend can. A performance has a *lead*, the backend that draws, and an
//! *understudy*, a session that is open in the next one and takes over in mid-sentence; [`Casting`] tells who there is.
//! What passed between a session and its backends is kept in a [`black_box`].

mod unit;
pub use unit::{Canvas, Picture, Unit, UnitKind};

mod speech;
pub use speech::{SpeechEvent, SpeechQueue, UtteranceId};

mod timeline;
pub use timeline::{Step, Timeline, TimelineConfig};

pub mod black_box;

mod history;

mod painter;

mod line;

mod cast;
pub use cast::{Cast, Casting, Move, MoveReason, Standby};

mod troupe;

mod shedding;

mod performance;
pub use performance::{OpenError, Performance, PerformanceStats, Stage};

mod meter;
pub use meter::SessionMeter;

mod moves;

pub mod offline;

pub mod live;
