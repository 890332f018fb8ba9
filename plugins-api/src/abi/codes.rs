//! The numbers of the contract: status codes, formats, flags and states, as in the header.

/// Done.
pub const OK: i32 = 0;
/// An argument is out of range or malformed.
pub const INVALID_ARG: i32 = 1;
/// The backend has no such ability.
pub const UNSUPPORTED: i32 = 2;
/// Called in a state that does not allow it.
pub const NOT_READY: i32 = 3;
/// A bounded queue is full; nothing was taken.
pub const WOULD_BLOCK: i32 = 4;
/// The host asked to stop.
pub const CANCELLED: i32 = 5;
/// Too late to be worth doing.
pub const DEADLINE: i32 = 6;
/// Main memory ran out.
pub const OOM_HOST: i32 = 7;
/// Device memory ran out.
pub const OOM_DEVICE: i32 = 8;
/// The device is gone; the instance is of no more use.
pub const DEVICE_LOST: i32 = 9;
/// A model file is not there.
pub const MODEL_MISSING: i32 = 10;
/// A model file is damaged.
pub const MODEL_CORRUPT: i32 = 11;
/// The avatar blob is of another kind or version: prepare again.
pub const BLOB_INCOMPATIBLE: i32 = 12;
/// The backend found its own output unusable (NaN, constant).
pub const BAD_OUTPUT: i32 = 13;
/// There is no such frame, asset, landmark set or extension.
pub const NOT_FOUND: i32 = 14;
/// Anything else; also what an unknown code is read as.
pub const INTERNAL: i32 = 15;
/// The backend panicked or threw; its session cannot be trusted any more.
pub const BACKEND_PANIC: i32 = 16;

/// R, G, B bytes, full-range sRGB; 3·w·h bytes.
pub const FORMAT_RGB24: u32 = 1;
/// R, G, B, A bytes, full-range sRGB, straight alpha; 4·w·h bytes.
pub const FORMAT_RGBA: u32 = 2;
/// Y, U, V planes, BT.601 limited range, even sides; 3·w·h/2 bytes.
pub const FORMAT_I420: u32 = 3;
/// I420 followed by a full-size alpha plane; 5·w·h/2 bytes.
pub const FORMAT_I420A: u32 = 4;

/// Blend with the static mask of `avatar_frame_used`; the rect must be that mask's.
pub const ALPHA_STATIC: u32 = 0;
/// The format carries the alpha.
pub const ALPHA_INLINE: u32 = 1;
/// Paste as it is.
pub const ALPHA_OPAQUE: u32 = 2;

/// Request: the first of a run of speech, or after a reset.
pub const REQUEST_FIRST: u32 = 1;
/// Request: the last frame with audio of this run.
pub const REQUEST_LAST: u32 = 2;
/// Request: it is late; keep state in step, the picture may be left out.
pub const REQUEST_DISCARD_OK: u32 = 4;

/// Result: the picture is that of this session's previous result; the slot was not written.
pub const RESULT_UNCHANGED: u32 = 1;
/// Result: the face is at rest; the host may go on with the avatar's own frames.
pub const RESULT_AT_REST: u32 = 2;

/// `push_audio`: nothing else is queued; audio past these samples reads as zero.
pub const AUDIO_END: u32 = 1;

/// Session: audio arrives while frames are asked for.
pub const MODE_LIVE: u32 = 0;
/// Session: the whole utterance is pushed before the first request.
pub const MODE_WHOLE: u32 = 1;

/// Without speech the host plays the avatar's own frames.
pub const IDLE_HOST: u32 = 0;
/// The backend is asked for idle frames too.
pub const IDLE_BACKEND: u32 = 1;

/// After END the host asks on until a result is `AT_REST`, or a time-out.
pub const REST_ASK: u32 = 0;
/// After END the host may blend out at once: the backend keeps no motion.
pub const REST_AT_ONCE: u32 = 1;

/// Works.
pub const HEALTH_OK: u32 = 0;
/// Works, but not as it should.
pub const HEALTH_DEGRADED: u32 = 1;
/// Does not work and will not recover.
pub const HEALTH_BROKEN: u32 = 2;

/// Log level.
pub const LOG_ERROR: u32 = 1;
/// Log level.
pub const LOG_WARN: u32 = 2;
/// Log level.
pub const LOG_INFO: u32 = 3;
/// Log level.
pub const LOG_DEBUG: u32 = 4;
/// Log level.
pub const LOG_TRACE: u32 = 5;

/// Metric that only grows; the value is added.
pub const METRIC_COUNTER: u32 = 1;
/// Metric that is set.
pub const METRIC_GAUGE: u32 = 2;
/// Metric whose distribution matters; seconds or bytes.
pub const METRIC_HISTOGRAM: u32 = 3;

/// First draft extension: JSON messages (emotion, gesture) to a session.
pub const EXTENSION_CONTROL: &str = "draft.control/1";
