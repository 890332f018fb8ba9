//! Why requests are refused that might be served at another time, or by another caller.

/// A refusal, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// As many sessions run as may.
    Sessions,
    /// As many viewers watch a session as may.
    Viewers,
    /// No backend can draw for one session more.
    Capacity,
    /// The server ends.
    Draining,
    /// As much is being prepared as may, or it failed a moment ago.
    Preparing,
    /// The disk is full or takes nothing.
    Disk,
    /// As many session tokens are out as may be.
    Tokens,
    /// As many sessions are being dumped as may.
    Dumps,
    /// The system gives the server no more threads.
    Threads,
    /// It took longer than `server.request_timeout`.
    Timeout,
    /// There was no valid token.
    Unauthorized,
}

impl Rejection {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 11] = [
        Self::Sessions,
        Self::Viewers,
        Self::Capacity,
        Self::Draining,
        Self::Preparing,
        Self::Disk,
        Self::Tokens,
        Self::Dumps,
        Self::Threads,
        Self::Timeout,
        Self::Unauthorized,
    ];

    /// It in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Viewers => "viewers",
            Self::Capacity => "capacity",
            Self::Draining => "draining",
            Self::Preparing => "preparing",
            Self::Disk => "disk",
            Self::Tokens => "tokens",
            Self::Dumps => "dumps",
            Self::Threads => "threads",
            Self::Timeout => "timeout",
            Self::Unauthorized => "unauthorized",
        }
    }
}
