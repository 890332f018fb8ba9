//! Where everything lies in the shared memory. Offsets and lengths in bytes, numbers little-endian.
//!
//! A word that one side writes and the other watches has a cache line to itself.

/// Version of the protocol.
pub const VERSION: u32 = 1;

/// "LPCR", at the start of the ring.
pub const MAGIC: u32 = u32::from_le_bytes(*b"LPCR");

/// Descriptors that a child finds open: the control socket, the ring, and the two eventfds.
pub const CONTROL_FD: i32 = 3;
/// The ring's memory.
pub const RING_FD: i32 = 4;
/// Rung by the parent: there is work.
pub const WORK_FD: i32 = 5;
/// Rung by the child: something is done.
pub const DONE_FD: i32 = 6;

/// Header of the ring.
pub mod header {
    /// [`super::MAGIC`].
    pub const MAGIC: usize = 0;
    /// [`super::VERSION`].
    pub const VERSION: usize = 4;
    /// [`super::CELLS`].
    pub const CELLS: usize = 8;
    /// [`super::CELL_LEN`].
    pub const CELL_LEN: usize = 12;
    /// Operations that the parent has put in, modulo 2^32.
    pub const SUBMITTED: usize = 64;
    /// Operations that the child has done, modulo 2^32; they are done in order.
    pub const COMPLETED: usize = 128;
    /// Not 0: the child sleeps, or may be about to.
    pub const CHILD_WAITS: usize = 192;
    /// Not 0: the parent sleeps, or may be about to.
    pub const PARENT_WAITS: usize = 256;
    /// Counted up by the child every [`super::BEAT_MS`] from a thread that does nothing else.
    pub const BEAT: usize = 320;
    /// Bytes of the header.
    pub const LEN: usize = 4096;
}

/// Cells of the ring, a power of two: operations that may be under way at once.
pub const CELLS: u32 = 64;

/// Bytes of a cell: an operation with its arguments, and what came of it.
pub const CELL_LEN: usize = 65_536;

/// Bytes of the whole ring.
pub const RING_LEN: usize = header::LEN + CELLS as usize * CELL_LEN;

/// The heartbeat's period, milliseconds.
pub const BEAT_MS: u64 = 100;

/// Fields of a cell that all operations have.
pub mod cell {
    /// Which operation, a `u32`.
    pub const OP: usize = 0;
    /// Its flags, a `u32`.
    pub const FLAGS: usize = 4;
    /// Whose, a `u64` that the parent chose.
    pub const SESSION: usize = 8;
    /// Its arguments.
    pub const ARGUMENTS: usize = 16;
    /// How the call itself ended: code `i32`, retryable `u32`, [`MESSAGE_LEN`] bytes of text ended by a zero.
    pub const STATUS: usize = super::CELL_LEN - 512;
    /// Bytes of an error's text, the ending zero included.
    pub const MESSAGE_LEN: usize = 240;
}

/// Most samples that one push carries.
pub const PUSH_SAMPLES: usize = 16_000;

/// One request of a batch; the first lies at [`REQUESTS`](request::REQUESTS) of the cell.
pub mod request {
    /// Where requests begin.
    pub const REQUESTS: usize = 64;
    /// Bytes of a request with its result.
    pub const LEN: usize = 512;
    /// `u64`.
    pub const SESSION: usize = 0;
    /// `u64`.
    pub const SEQ: usize = 8;
    /// `u64`.
    pub const FRAME: usize = 16;
    /// `u64`, nanoseconds of CLOCK_MONOTONIC; 0: never.
    pub const DEADLINE: usize = 24;
    /// `u32`.
    pub const EPOCH: usize = 32;
    /// `u32`.
    pub const AVATAR_FRAME: usize = 36;
    /// `u32`, the header's `LIPCAST_REQUEST_*`.
    pub const FLAGS: usize = 40;
    /// `u32`, which slot of the session's avatar.
    pub const SLOT: usize = 44;
    /// Result: code `i32`, retryable `u32`.
    pub const CODE: usize = 64;
    /// Result: x, y, width, height, `u32` each.
    pub const RECT: usize = 72;
    /// Result: `u32`, the header's `LIPCAST_FORMAT_*`.
    pub const FORMAT: usize = 88;
    /// Result: `u32`, the header's `LIPCAST_ALPHA_*`.
    pub const ALPHA: usize = 92;
    /// Result: `u32`, the header's `LIPCAST_RESULT_*`.
    pub const RESULT_FLAGS: usize = 96;
    /// Result: `u32`.
    pub const AVATAR_FRAME_USED: usize = 100;
    /// Result: text of an error.
    pub const MESSAGE: usize = 128;
    /// Most requests of a batch.
    pub const MOST: usize = 64;
}

/// One avatar frame in the masks of a loaded avatar.
pub mod mask {
    /// Bytes of an entry: x, y, width, height `u32`, offset of the alpha `u64` (0: opaque), reserved `u64`.
    pub const LEN: usize = 32;
}

const _: () = assert!(request::REQUESTS + request::MOST * request::LEN <= cell::STATUS);
const _: () = assert!(32 + PUSH_SAMPLES * 4 <= cell::STATUS);
