//! The live stage: one performance, encoded once, for any number of viewers.
//!
//! In: units of a session (one I420 picture and exactly its 48 kHz mono PCM), in order, at their send time.
//! Out: H.264 or VP8 access units and 20 ms Opus frames, each stamped with its place on the session's one
//! clock: 90 kHz ticks for video, 48 kHz ticks for audio, both counted from media instant 0.
//!
//! ```text
//! units ─► encoder thread ─► broadcast ─► one Subscription a viewer
//! ```
//!
//! Blocking work owns one thread a session; nothing here knows of peer connections.

mod clock;
pub use clock::MediaClock;

mod unit;
pub use unit::LiveUnit;

mod stream;
pub use stream::{EncodedFrame, LiveStream, Medium, StreamFormat, Subscription};

mod encode;

mod key_frames;

mod opus_frames;
