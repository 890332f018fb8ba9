//! Session calls and batches as bytes of a cell, and what came of them. Pure: no memory is shared here.
//!
//! Reading checks every length and number against the cell, so that any bytes give a value or a [`Malformed`].

use lipcast_plugins_api::types::{Code, Error};

use crate::layout::{CELL_LEN, PUSH_SAMPLES, cell, request};

/// Bytes that are not what the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A call of a session, or a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Begins a session on a loaded avatar.
    Open {
        /// A name that the parent chose.
        session: u64,
        /// The avatar's, as it was loaded.
        avatar: u64,
        /// The whole utterance comes before the first request.
        whole: bool,
        /// Frames per second as a fraction, both above 0.
        fps: (u32, u32),
        /// The session's parameters, JSON.
        params: String,
    },
    /// Appends 16 kHz mono PCM, at most [`PUSH_SAMPLES`].
    Push {
        /// Whose.
        session: u64,
        /// Number of the first sample on the session's timeline.
        first_sample: u64,
        /// -1 to 1.
        pcm: Vec<f32>,
        /// Nothing else is queued.
        end: bool,
    },
    /// Barge-in.
    Reset {
        /// Whose.
        session: u64,
        /// What later requests carry.
        epoch: u32,
    },
    /// Ends a session.
    Close {
        /// Which.
        session: u64,
    },
    /// Draws frames.
    Infer {
        /// At most [`request::MOST`].
        requests: Vec<Request>,
    },
}

/// One frame to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Whose.
    pub session: u64,
    /// Counts the session's requests.
    pub seq: u64,
    /// Frame k of the session's timeline.
    pub frame: u64,
    /// Nanoseconds of CLOCK_MONOTONIC; 0: never.
    pub deadline_ns: u64,
    /// Of the session.
    pub epoch: u32,
    /// Avatar frame j it is shown on.
    pub avatar_frame: u32,
    /// The header's `LIPCAST_REQUEST_*`.
    pub flags: u32,
    /// Which slot of the session's avatar the picture goes to.
    pub slot: u32,
}

/// What came of one request, as the child put it: not checked against the avatar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// x, y, width, height.
    pub rect: [u32; 4],
    /// The header's `LIPCAST_FORMAT_*`.
    pub format: u32,
    /// The header's `LIPCAST_ALPHA_*`.
    pub alpha: u32,
    /// The header's `LIPCAST_RESULT_*`.
    pub flags: u32,
    /// The avatar frame really used.
    pub avatar_frame_used: u32,
}

/// Bytes at the start of a cell that tell how long its operation is.
pub const HEAD_LEN: usize = 40;

/// How many bytes the operation has that begins with `head`; within a cell, whatever stands there.
///
/// # Errors
/// When it is none.
pub fn len_of(head: &[u8; HEAD_LEN]) -> Result<usize, Malformed> {
    let read = Reader(head);
    let len = match read.u32(cell::OP)? {
        OPEN => read.u32(36)? as usize + HEAD_LEN,
        PUSH => read.u32(24)? as usize * 4 + 32,
        RESET | CLOSE => HEAD_LEN,
        INFER => read.u32(16)? as usize * request::LEN + request::REQUESTS,
        other => return Err(Malformed(format!("there is no operation {other}"))),
    };
    // One that says it is longer is refused when it is read.
    Ok(len.clamp(HEAD_LEN, cell::STATUS))
}

const OPEN: u32 = 1;
const PUSH: u32 = 2;
const RESET: u32 = 3;
const CLOSE: u32 = 4;
pub(crate) const INFER: u32 = 5;

const END: u32 = 1;

impl Op {
    /// Writes the operation into `bytes`, which becomes as long as it has to.
    ///
    /// # Panics
    /// When a push, a batch or the parameters are larger than a cell takes: the caller's bug.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        let mut head = |op: u32, flags: u32, session: u64| {
            bytes.extend(op.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
            bytes.extend(session.to_le_bytes());
        };
        match self {
            Self::Open { session, avatar, whole, fps, params } => {
                head(OPEN, 0, *session);
                bytes.extend(avatar.to_le_bytes());
                let numbers = [u32::from(*whole), fps.0, fps.1, params.len() as u32];
                bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
                bytes.extend(params.as_bytes());
            }
            Self::Push { session, first_sample, pcm, end } => {
                assert!(pcm.len() <= PUSH_SAMPLES, "a push is cut before it gets here");
                head(PUSH, if *end { END } else { 0 }, *session);
                bytes.extend(first_sample.to_le_bytes());
                bytes.extend((pcm.len() as u64).to_le_bytes());
                bytes.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
            }
            Self::Reset { session, epoch } => {
                head(RESET, 0, *session);
                bytes.extend(epoch.to_le_bytes());
            }
            Self::Close { session } => head(CLOSE, 0, *session),
            Self::Infer { requests } => {
                assert!(requests.len() <= request::MOST, "a batch is cut before it gets here");
                head(INFER, 0, 0);
                bytes.extend((requests.len() as u32).to_le_bytes());
                bytes.resize(request::REQUESTS, 0);
                for one in requests {
                    let start = bytes.len();
                    let long = [one.session, one.seq, one.frame, one.deadline_ns];
                    bytes.extend(long.iter().flat_map(|number| number.to_le_bytes()));
                    let short = [one.epoch, one.avatar_frame, one.flags, one.slot];
                    bytes.extend(short.iter().flat_map(|number| number.to_le_bytes()));
                    bytes.resize(start + request::LEN, 0);
                }
            }
        }
        assert!(bytes.len() <= cell::STATUS, "parameters are checked before they get here");
    }

    /// Reads an operation from the bytes of a cell.
    ///
    /// # Errors
    /// When it is none, or says of itself that it is longer than a cell.
    pub fn decode(cell: &[u8]) -> Result<Self, Malformed> {
        let read = Reader(cell);
        let (op, flags, session) = (read.u32(cell::OP)?, read.u32(cell::FLAGS)?, read.u64(cell::SESSION)?);
        match op {
            OPEN => {
                let fps = (read.u32(28)?, read.u32(32)?);
                if fps.0 == 0 || fps.1 == 0 {
                    return Err(Malformed(format!("a session at {}/{} frames a second", fps.0, fps.1)));
                }
                let params = read.bytes(40, read.u32(36)? as usize)?;
                let params =
                    std::str::from_utf8(params).map_err(|_| Malformed("parameters are text".into()))?;
                let (avatar, whole) = (read.u64(16)?, read.u32(24)? != 0);
                Ok(Self::Open { session, avatar, whole, fps, params: params.to_owned() })
            }
            PUSH => {
                let (first_sample, count) = (read.u64(16)?, read.u32(24)? as usize);
                if count > PUSH_SAMPLES {
                    return Err(Malformed(format!("a push of {count} samples, {PUSH_SAMPLES} is the most")));
                }
                let samples = read.bytes(32, count * 4)?.chunks_exact(4);
                let pcm = samples.map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
                Ok(Self::Push { session, first_sample, pcm: pcm.collect(), end: flags & END != 0 })
            }
            RESET => Ok(Self::Reset { session, epoch: read.u32(16)? }),
            CLOSE => Ok(Self::Close { session }),
            INFER => {
                let count = read.u32(16)? as usize;
                if count > request::MOST {
                    return Err(Malformed(format!("a batch of {count}, {} is the most", request::MOST)));
                }
                let requests = (0..count).map(|index| {
                    let read = Reader(read.bytes(request::REQUESTS + index * request::LEN, request::LEN)?);
                    Ok(Request {
                        session: read.u64(request::SESSION)?,
                        seq: read.u64(request::SEQ)?,
                        frame: read.u64(request::FRAME)?,
                        deadline_ns: read.u64(request::DEADLINE)?,
                        epoch: read.u32(request::EPOCH)?,
                        avatar_frame: read.u32(request::AVATAR_FRAME)?,
                        flags: read.u32(request::FLAGS)?,
                        slot: read.u32(request::SLOT)?,
                    })
                });
                Ok(Self::Infer { requests: requests.collect::<Result<_, _>>()? })
            }
            other => Err(Malformed(format!("there is no operation {other}"))),
        }
    }

    /// Bytes of the cell from its start that hold the operation and, once it is done, the results of its requests.
    pub fn span(&self) -> usize {
        match self {
            Self::Infer { requests } => request::REQUESTS + requests.len() * request::LEN,
            Self::Open { params, .. } => 40 + params.len(),
            Self::Push { pcm, .. } => 32 + pcm.len() * 4,
            Self::Reset { .. } | Self::Close { .. } => 24,
        }
    }
}

/// How one call ended, as bytes: code, retryable, text.
pub type StatusBytes = [u8; 8 + cell::MESSAGE_LEN];

/// Writes how a call ended.
pub fn encode_status(result: Result<(), &Error>) -> StatusBytes {
    let mut bytes = [0; 8 + cell::MESSAGE_LEN];
    if let Err(error) = result {
        bytes[..4].copy_from_slice(&error.code.to_abi().to_le_bytes());
        bytes[4..8].copy_from_slice(&u32::from(error.retryable).to_le_bytes());
        put_text(&mut bytes[8..], &error.message);
    }
    bytes
}

/// Reads how a call ended.
pub fn decode_status(bytes: &StatusBytes) -> Result<(), Error> {
    let code = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    match Code::from_abi(code) {
        None => Ok(()),
        Some(code) => {
            let retryable = bytes[4..8] != [0; 4];
            Err(Error { code, retryable, message: take_text(&bytes[8..]) })
        }
    }
}

/// Writes what came of a request into its [`request::LEN`] bytes.
pub fn encode_result(bytes: &mut [u8], result: Result<&Drawn, &Error>) {
    let status = encode_status(result.map(|_| ()));
    bytes[request::CODE..request::CODE + 8].copy_from_slice(&status[..8]);
    bytes[request::MESSAGE..request::MESSAGE + cell::MESSAGE_LEN].copy_from_slice(&status[8..]);
    if let Ok(drawn) = result {
        let [x, y, width, height] = drawn.rect;
        let numbers = [x, y, width, height, drawn.format, drawn.alpha, drawn.flags, drawn.avatar_frame_used];
        for (index, number) in numbers.iter().enumerate() {
            let at = request::RECT + 4 * index;
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
    }
}

/// Reads what came of a request from its bytes.
///
/// # Errors
/// The inner error is the backend's own.
pub fn decode_result(bytes: &[u8]) -> Result<Result<Drawn, Error>, Malformed> {
    let read = Reader(bytes);
    let mut status: StatusBytes = [0; 8 + cell::MESSAGE_LEN];
    status[..8].copy_from_slice(read.bytes(request::CODE, 8)?);
    status[8..].copy_from_slice(read.bytes(request::MESSAGE, cell::MESSAGE_LEN)?);
    if let Err(error) = decode_status(&status) {
        return Ok(Err(error));
    }
    let number = |index: usize| read.u32(request::RECT + 4 * index);
    Ok(Ok(Drawn {
        rect: [number(0)?, number(1)?, number(2)?, number(3)?],
        format: number(4)?,
        alpha: number(5)?,
        flags: number(6)?,
        avatar_frame_used: number(7)?,
    }))
}

fn put_text(bytes: &mut [u8], text: &str) {
    let mut length = text.len().min(bytes.len() - 1);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// One line, whatever stands there.
fn take_text(bytes: &[u8]) -> String {
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..length]).replace(char::is_control, " ")
}

/// Numbers at places of a piece of memory that may be too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&self, at: usize, count: usize) -> Result<&'a [u8], Malformed> {
        let limit = self.0.len().min(CELL_LEN);
        match at.checked_add(count) {
            Some(end) if end <= limit => Ok(&self.0[at..end]),
            _ => Err(Malformed(format!("{count} bytes at {at} do not fit into {limit}"))),
        }
    }

    fn u32(&self, at: usize) -> Result<u32, Malformed> {
        self.bytes(at, 4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
    }

    fn u64(&self, at: usize) -> Result<u64, Malformed> {
        let (low, high) = (self.u32(at)?, self.u32(at + 4)?);
        Ok(u64::from(high) << 32 | u64::from(low))
    }
}
