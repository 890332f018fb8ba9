//! WebRTC: one answering peer connection a viewer.
//!
//! In: a viewer's SDP offer and a session's [`LiveStream`](crate::live::LiveStream). Out: the SDP answer, then RTP
//! over SRTP until the viewer leaves or the session ends.
//!
//! ```text
//! Subscription ─► RtpWriter ─► track ─► interceptors ─► ICE/DTLS/SRTP
//! ```
//!
//! RTP timestamps and sender reports of both tracks come from the session's one clock, never from the instant a
//! packet happened to be written; each viewer has its own random offset to it.
//! The library is reached through `MediaPeer` alone, so that another one can take its place.

mod settings;
pub use settings::WebrtcSettings;

mod error;
pub use error::OfferError;

mod offer;

mod rtp_writer;

mod interceptors;

mod peer;

mod viewer;
pub use viewer::{Viewer, connect};

/// Log targets of the library below that speak at `WARN` about what is no trouble, and the level to hold them
/// at; a filter directive each, in the syntax of `tracing-subscriber`.
pub const QUIET_TARGETS: &[&str] = &[
    // A line for each datagram that is no media, whoever sent it.
    "rtc::peer_connection::handler=error",
    "rtc_dtls=error",
    "rtc_ice=error",
    "rtc_mdns=error",
    "rtc_sctp=error",
    "rtc_stun=error",
    "webrtc=error",
];
