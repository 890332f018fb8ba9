//! What happens that somebody may want to count; nothing is decided by it.

use std::time::Duration;

/// What happened, for whoever keeps count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A batch came back.
    Batch {
        /// Requests in it.
        size: usize,
        /// How long the request that waited longest had been asked for when the batch went out.
        waited: Duration,
        /// How long it was out.
        taken: Duration,
    },
    /// So many frames had no picture when they left. Those that nobody was to see do not count.
    Missed(u64),
    /// So many results broke the contract.
    BadOutput(u64),
    /// A call was out for longer than any that works, and its incarnation is killed.
    HardKill,
    /// Another incarnation is started, for this reason.
    Restart(Cause),
}

/// Why an incarnation had to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It ended by itself.
    Crash,
    /// A call did not come back.
    Hang,
    /// It broke the protocol, or said that it is broken.
    Broken,
    /// Its device was lost, or has no room for a single request.
    Device,
    /// It held more memory than it may.
    Memory,
    /// It could not be started.
    Start,
    /// Somebody asked for it.
    Operator,
}

impl Cause {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 7] =
        [Self::Crash, Self::Hang, Self::Broken, Self::Device, Self::Memory, Self::Start, Self::Operator];

    /// It in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Broken => "broken",
            Self::Device => "device",
            Self::Memory => "memory",
            Self::Start => "start",
            Self::Operator => "operator",
        }
    }
}
