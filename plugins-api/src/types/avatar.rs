//! What a loaded avatar is, and what a session over it is opened for.

use serde_json::Value;

use super::Rect;
use crate::abi;

/// What a loaded avatar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvatarInfo {
    /// Canvas columns and rows; even.
    pub canvas: (u32, u32),
    /// Frames per second as a fraction, numerator and denominator above zero.
    pub fps: (u32, u32),
    /// Avatar frames; 0: the backend draws without source frames.
    pub frame_count: u32,
    /// Every result lies inside.
    pub max_rect: Rect,
    /// Results the backend likes to have in flight; 0: the host chooses.
    pub slots: u32,
    /// Who shows the face while nobody speaks.
    pub idle: IdleBy,
    /// What happens after the last sample of speech.
    pub rest_policy: RestPolicy,
}

/// Who shows the face while nobody speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleBy {
    /// The host plays the avatar's own frames.
    Host,
    /// The backend is asked for idle frames too.
    Backend,
}

impl IdleBy {
    /// The contract's number.
    pub fn to_abi(self) -> u32 {
        if self == Self::Host { abi::IDLE_HOST } else { abi::IDLE_BACKEND }
    }

    /// Reads the contract's number.
    pub fn from_abi(idle: u32) -> Option<Self> {
        match idle {
            abi::IDLE_HOST => Some(Self::Host),
            abi::IDLE_BACKEND => Some(Self::Backend),
            _ => None,
        }
    }
}

/// What happens after the last sample of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestPolicy {
    /// The host asks on until a result says that the face is at rest.
    Ask,
    /// The host may blend out at once: the backend keeps no motion.
    AtOnce,
}

impl RestPolicy {
    /// The contract's number.
    pub fn to_abi(self) -> u32 {
        if self == Self::Ask { abi::REST_ASK } else { abi::REST_AT_ONCE }
    }

    /// Reads the contract's number.
    pub fn from_abi(policy: u32) -> Option<Self> {
        match policy {
            abi::REST_ASK => Some(Self::Ask),
            abi::REST_AT_ONCE => Some(Self::AtOnce),
            _ => None,
        }
    }
}

/// Where the patch of an avatar frame lies and how it is blended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMask<'a> {
    /// Even-aligned, inside `max_rect`; empty: nothing is painted on this frame.
    pub rect: Rect,
    /// `width`·`height` bytes, rows packed, 255 = the patch; `None`: opaque.
    pub alpha: Option<&'a [u8]>,
}

/// Whether audio arrives during the session or is complete before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionMode {
    /// Audio arrives while frames are asked for.
    Live,
    /// The whole utterance is pushed before the first request.
    Whole,
}

impl SessionMode {
    /// The contract's number.
    pub fn to_abi(self) -> u32 {
        if self == Self::Live { abi::MODE_LIVE } else { abi::MODE_WHOLE }
    }

    /// Reads the contract's number.
    pub fn from_abi(mode: u32) -> Option<Self> {
        match mode {
            abi::MODE_LIVE => Some(Self::Live),
            abi::MODE_WHOLE => Some(Self::Whole),
            _ => None,
        }
    }
}

/// What a session is opened for; fixed for its life.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionParams {
    /// Live or whole.
    pub mode: SessionMode,
    /// Canvas columns and rows.
    pub canvas: (u32, u32),
    /// Video frames per second as a fraction.
    pub fps: (u32, u32),
    /// Whatever the backend documents; an object or null.
    pub params: Value,
}

impl SessionParams {
    /// First 16 kHz sample of video frame `frame`: floor(frame · 16000 · den / num).
    pub fn first_sample(&self, frame: u64) -> u64 {
        let (num, den) = self.fps;
        (u128::from(frame) * 16_000 * u128::from(den) / u128::from(num.max(1))) as u64
    }
}
