//! What a supervisor is told, and what it wants done.

use std::fmt::Debug;
use std::time::Duration;

use lipcast_plugins_api::author::Error;

use super::{Note, State};
use crate::backend::RequestFlags;

/// What passes through a supervisor without being looked at.
pub trait Cargo {
    /// What a session is opened with: its avatar, rate and mode.
    type Opening: Debug;
    /// A piece of audio. Cloned into every attempt to push it, so it should be cheap to clone.
    type Audio: Clone + Debug;
    /// What a backend made of a request.
    type Picture: Debug;

    /// Whether it was painted. One that only says that the avatar's frame, or the last picture, is shown took no time
    /// that would say something of those that are.
    fn is_painted(picture: &Self::Picture) -> bool;
}

/// Asks for one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Counts a session's requests, so that a late reply is told from the next.
    pub seq: u64,
    /// Bumped by every barge-in.
    pub epoch: u32,
    /// Frame k of the session's clock.
    pub frame: u64,
    /// Which of the avatar's frames lies under it.
    pub avatar_frame: u32,
    /// When the frame leaves, since the supervisor's origin; `None` offline, where every frame is waited for.
    pub deadline: Option<Duration>,
    /// First or last of a run; may be thrown away; shares its batch with nobody.
    pub flags: RequestFlags,
}

impl Request {
    /// Its frame has left.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// A request and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The session that asked.
    pub session: u64,
    /// What it asked for.
    pub request: Request,
    /// When, since the supervisor's origin.
    pub asked: Duration,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<P> {
    /// The backend answered.
    Drawn(P),
    /// There is no picture, because the deadline had passed or a reset came between.
    Expired,
    /// The backend refused or broke; its own words. Others may go well.
    Failed(String),
    /// The backend is of no more use to this session.
    Gone {
        /// In words.
        reason: String,
        /// The backend was at work on this very request when it was lost, so the request may be what killed it.
        in_flight: bool,
    },
}

/// Something happened.
#[derive(Debug)]
pub enum Event<C: Cargo> {
    /// Bring the backend up. Of no effect unless it is idle.
    Start,
    /// A session begins. Numbers are never used again. Answered by one [`Action::Opened`].
    Open {
        /// Its number.
        session: u64,
        /// What it is opened with.
        opening: C::Opening,
    },
    /// A session appends audio.
    Push {
        /// Its number.
        session: u64,
        /// The piece.
        audio: C::Audio,
    },
    /// A session asks for a frame. Answered by one [`Action::Reply`], unless the session closes before.
    Request {
        /// Its number.
        session: u64,
        /// What it asks for.
        request: Request,
    },
    /// Barge-in: what the backend has not seen it never will; requests of other epochs expire.
    Reset {
        /// Its number.
        session: u64,
        /// The epoch of the requests that follow.
        epoch: u32,
    },
    /// A session ends. It hears no more.
    Close {
        /// Its number.
        session: u64,
    },
    /// Drain, then end.
    Retire {
        /// Start anew after that, at once.
        again: bool,
    },
    /// An operator wants it tried now, whatever happened before.
    Retry,
    /// [`Supervisor::next_deadline`](super::Supervisor::next_deadline) has come. What the link has to tell, its
    /// heartbeat above all, is handed over before.
    Tick,
    /// An incarnation speaks. Those that are past are not listened to.
    Link {
        /// Which one: the number of its [`Action::Spawn`].
        incarnation: u64,
        /// What it says.
        event: LinkEvent<C>,
    },
}

/// What becomes of an incarnation, and what it answers.
#[derive(Debug)]
pub enum LinkEvent<C: Cargo> {
    /// It can be asked.
    Started(Abilities),
    /// It lives, but said that it cannot serve. It is killed for that.
    StartFailed {
        /// Its own words.
        reason: String,
        /// The same start may succeed later.
        retryable: bool,
    },
    /// It is no more: its process is reaped, or could not be made. Comes exactly once for every [`Action::Spawn`].
    Died {
        /// How, in words.
        reason: String,
        /// Its library is on the crash list: not to be started again until [`Event::Retry`].
        barred: bool,
    },
    /// A call of a session is done.
    OpDone {
        /// The number it was submitted under.
        op: u64,
        /// How it went.
        result: Result<(), Error>,
    },
    /// The batch is done.
    BatchDone {
        /// The number it was submitted under.
        op: u64,
        /// One result for each request, in order.
        results: Vec<Result<C::Picture, Error>>,
    },
    /// It calls itself broken, or it broke the protocol: it is killed.
    Broken(String),
    /// Its heartbeat, as it stands now.
    Beat(u32),
    /// Its resident memory, bytes.
    Memory(u64),
}

/// What a started incarnation can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Requests in a batch, at least 1.
    pub max_batch: usize,
    /// It has to see every frame of a session once, in order.
    pub sequential: bool,
    /// Frames that it draws at once; a sequential one with 0 or 1 gets one request a session and batch.
    pub chunk_frames: u32,
}

/// A call of one session.
#[derive(Debug)]
pub enum Op<C: Cargo> {
    /// Opens it.
    Open(C::Opening),
    /// Appends audio; `WOULD_BLOCK` has it come again.
    Push(C::Audio),
    /// Barge-in.
    Reset {
        /// The epoch that begins.
        epoch: u32,
    },
    /// Closes it.
    Close,
}

/// Something is to be done, in the order of the actions.
#[derive(Debug)]
pub enum Action<C: Cargo> {
    /// Start an incarnation. None other lives.
    Spawn {
        /// Its number; they count up.
        incarnation: u64,
    },
    /// End it by force. Nothing that it says counts any more, but its [`LinkEvent::Died`] is waited for.
    Kill {
        /// Its number.
        incarnation: u64,
        /// In words.
        reason: String,
    },
    /// Ask it to end; nothing is out.
    End {
        /// Its number.
        incarnation: u64,
    },
    /// Hand a call to the living incarnation.
    Submit {
        /// Counts the incarnation's calls and batches together, from 0.
        op: u64,
        /// Whose call.
        session: u64,
        /// Which.
        call: Op<C>,
    },
    /// Hand a batch to the living incarnation. The next one comes after its [`LinkEvent::BatchDone`].
    Infer {
        /// Counts the incarnation's calls and batches together, from 0.
        op: u64,
        /// At least one, at most [`Abilities::max_batch`].
        batch: Vec<Ticket>,
    },
    /// Whether a session could be opened.
    Opened {
        /// Its number.
        session: u64,
        /// How it went; after an error the session is over.
        result: Result<(), Error>,
    },
    /// The answer to a request.
    Reply {
        /// Whose request.
        session: u64,
        /// The request itself.
        request: Request,
        /// What came of it.
        outcome: Outcome<C::Picture>,
    },
    /// An opened session is over, because its incarnation is. All its requests have been answered.
    Over {
        /// Its number.
        session: u64,
        /// In words.
        reason: String,
    },
    /// The backend is in another state.
    Announce {
        /// Which.
        state: State,
        /// Why, for people; empty where the state says all.
        reason: String,
    },
    /// Operators should know.
    Warn(Warning),
    /// To be counted.
    Note(Note),
}

/// What operators should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// It comes near its memory limit; given once an incarnation.
    Memory {
        /// Resident bytes.
        resident: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// Its device has no room for such batches: they are made smaller.
    SmallerBatches {
        /// Requests in a batch from now on.
        max_batch: usize,
    },
    /// A session is no longer served before its next reset: it has more waiting than it may.
    Flooded {
        /// Its number.
        session: u64,
    },
}
