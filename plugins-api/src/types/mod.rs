//! The words both sides share: errors, rectangles and formats, what a backend can do, what an avatar is.

mod avatar;
mod capabilities;
mod error;
mod picture;

pub use avatar::{AvatarInfo, FrameMask, IdleBy, RestPolicy, SessionMode, SessionParams};
pub use capabilities::{Capabilities, Descriptor, Devices, FrameOrder, Prepare};
pub use error::{Code, Error};
pub use picture::{Alpha, PixelFormat, Rect, RgbFrame};

use crate::abi;

/// How an instance feels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it can be used.
    pub state: HealthState,
    /// One line for the operator; empty when there is nothing to say.
    pub message: String,
}

impl Health {
    /// All is well.
    pub fn ok() -> Self {
        Self { state: HealthState::Ok, message: String::new() }
    }
}

/// Whether an instance can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// It works.
    Ok,
    /// It works, but not as it should.
    Degraded,
    /// It does not work and will not recover; the host replaces it.
    Broken,
}

impl HealthState {
    /// The contract's number.
    pub fn to_abi(self) -> u32 {
        match self {
            Self::Ok => abi::HEALTH_OK,
            Self::Degraded => abi::HEALTH_DEGRADED,
            Self::Broken => abi::HEALTH_BROKEN,
        }
    }

    /// Reads the contract's number; an unknown one is `Broken`.
    pub fn from_abi(state: u32) -> Self {
        match state {
            abi::HEALTH_OK => Self::Ok,
            abi::HEALTH_DEGRADED => Self::Degraded,
            _ => Self::Broken,
        }
    }
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Worth knowing once.
    Info,
    /// For finding faults.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The contract's number.
    pub fn to_abi(self) -> u32 {
        match self {
            Self::Error => abi::LOG_ERROR,
            Self::Warn => abi::LOG_WARN,
            Self::Info => abi::LOG_INFO,
            Self::Debug => abi::LOG_DEBUG,
            Self::Trace => abi::LOG_TRACE,
        }
    }

    /// Reads the contract's number; an unknown one is `Info`.
    pub fn from_abi(level: u32) -> Self {
        match level {
            abi::LOG_ERROR => Self::Error,
            abi::LOG_WARN => Self::Warn,
            abi::LOG_DEBUG => Self::Debug,
            abi::LOG_TRACE => Self::Trace,
            _ => Self::Info,
        }
    }
}

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows; the value is added.
    Counter,
    /// Is set.
    Gauge,
    /// Its distribution matters; seconds or bytes.
    Histogram,
}

impl MetricKind {
    /// The contract's number.
    pub fn to_abi(self) -> u32 {
        match self {
            Self::Counter => abi::METRIC_COUNTER,
            Self::Gauge => abi::METRIC_GAUGE,
            Self::Histogram => abi::METRIC_HISTOGRAM,
        }
    }

    /// Reads the contract's number.
    pub fn from_abi(kind: u32) -> Option<Self> {
        match kind {
            abi::METRIC_COUNTER => Some(Self::Counter),
            abi::METRIC_GAUGE => Some(Self::Gauge),
            abi::METRIC_HISTOGRAM => Some(Self::Histogram),
            _ => None,
        }
    }
}
