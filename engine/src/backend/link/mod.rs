//! An incarnation as its keeper reaches it: calls go down, what came of them is picked up. Nothing here waits, but for
//! backends inside this process, whose calls are made on the spot.

mod local;
pub(super) use local::LocalLink;

mod none;
pub(super) use none::NoLink;

mod process;
pub(super) use process::{ProcessLink, ProcessProgram};

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lipcast_plugins_api::author::Descriptor;
use lipcast_plugins_api::loader;
use lipcast_wire::client::{Calls, RemoteAvatar};
use rustix::event::{PollFd, PollFlags};
use rustix::time::ClockId;

use super::supervisor::{Abilities, Cargo, LinkEvent, Op, Ticket};
use super::{Alpha, FrameMask, Patch, PixelFormat, Pixels, Rect, SessionParams};

/// What passes through the supervisor.
#[derive(Debug)]
pub(super) struct Load;

impl Cargo for Load {
    type Opening = Opening;
    type Audio = Audio;
    type Picture = Answer;

    fn is_painted(picture: &Answer) -> bool {
        matches!(picture.drawing, Drawing::Patch(_))
    }
}

/// What a session is opened with.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) avatar: Arc<Person>,
    pub(super) params: SessionParams,
}

/// A piece of audio, no longer than the ring takes at once.
#[derive(Debug, Clone)]
pub(super) struct Audio {
    pub(super) first_sample: u64,
    pub(super) pcm: Arc<[f32]>,
    pub(super) end: bool,
}

/// What a backend made of a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) drawing: Drawing,
    pub(super) at_rest: bool,
    pub(super) avatar_frame_used: u32,
}

#[derive(Debug)]
pub(super) enum Drawing {
    Patch(Patch),
    AvatarFrame,
    SamePatch,
}

/// An avatar as one incarnation loaded it.
pub(super) enum Person {
    Local(loader::Avatar),
    Remote(Arc<RemoteAvatar>),
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Local(_)) { "Person(here)" } else { "Person(in its process)" })
    }
}

impl Person {
    pub(super) fn info(&self) -> &lipcast_plugins_api::author::AvatarInfo {
        match self {
            Self::Local(avatar) => avatar.info(),
            Self::Remote(avatar) => avatar.info(),
        }
    }

    pub(super) fn mask(&self, frame: u32) -> Option<FrameMask<'_>> {
        match self {
            Self::Local(avatar) => avatar.frame_mask(frame).ok(),
            Self::Remote(avatar) => avatar.mask(frame).ok(),
        }
    }
}

/// What a started incarnation hands out, for control calls from any thread.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) descriptor: Descriptor,
    /// What was opened, for people.
    pub(super) origin: String,
    pub(super) control: Control,
}

/// Control calls.
#[derive(Clone)]
pub(super) enum Control {
    Local(loader::Instance),
    Remote(Arc<Calls>),
}

impl Opened {
    pub(super) fn abilities(&self) -> Abilities {
        let capabilities = &self.descriptor.capabilities;
        Abilities {
            max_batch: self.max_batch() as usize,
            sequential: capabilities.order == lipcast_plugins_api::author::FrameOrder::Sequential,
            chunk_frames: capabilities.chunk_frames,
        }
    }

    /// Requests in a batch: what the backend takes and the ring carries.
    pub(super) fn max_batch(&self) -> u32 {
        self.descriptor.capabilities.max_batch.clamp(1, lipcast_wire::layout::request::MOST as u32)
    }
}

/// An incarnation, from its start to its end.
pub(super) trait Link {
    /// What it hands out, once [`LinkEvent::Started`] came.
    fn opened(&self) -> Option<Opened>;
    /// Makes a call of a session.
    fn submit(&mut self, op: u64, session: u64, call: Op<Load>);
    /// Draws a batch.
    fn infer(&mut self, op: u64, batch: &[Ticket]);
    /// The next thing that it has to tell.
    fn take(&mut self) -> Option<LinkEvent<Load>>;
    /// Ends it by force.
    fn kill(&mut self);
    /// Asks it to end.
    fn end(&mut self);
    /// Its heartbeat, if it has one that is seen from here.
    fn beat(&self) -> Option<u32> {
        None
    }
    /// Resident bytes of its process, if it has one.
    fn memory(&self) -> Option<u64> {
        None
    }
    /// Its process, if it has one.
    fn process(&self) -> Option<u32> {
        None
    }
    /// Sleeps until the mailbox rings, something is to be [taken](Self::take), or `patience` is over.
    fn wait(&mut self, mailbox: BorrowedFd<'_>, patience: Option<Duration>) {
        sleep(&mut [PollFd::from_borrowed_fd(mailbox, PollFlags::IN)], patience);
    }
}

/// Sleeps until one of `ends` is readable. A signal ends it too: whoever sleeps looks again anyway.
pub(super) fn sleep(ends: &mut [PollFd<'_>], patience: Option<Duration>) {
    let limit = patience.map(lipcast_wire::control::timespec);
    let _ = rustix::event::poll(ends, limit.as_ref());
}

/// Resident bytes of a process, while it lives.
pub(super) fn resident_bytes(process: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The clock of deadlines: since when they count, in the supervisor's time and in that of a host table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) instant: Instant,
    monotonic_ns: u64,
    loader_ns: u64,
}

impl Origin {
    pub(super) fn now() -> Self {
        let now = rustix::time::clock_gettime(ClockId::Monotonic);
        let monotonic_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        Self { instant: Instant::now(), monotonic_ns, loader_ns: loader::monotonic_ns() }
    }

    /// A deadline in CLOCK_MONOTONIC, which processes share; 0: none.
    fn shared(&self, deadline: Option<Duration>) -> u64 {
        deadline.map_or(0, |deadline| self.monotonic_ns + deadline.as_nanos() as u64)
    }

    /// A deadline in the clock of a plugin that is loaded here; 0: none.
    fn here(&self, deadline: Option<Duration>) -> u64 {
        deadline.map_or(0, |deadline| (self.loader_ns + deadline.as_nanos() as u64).max(1))
    }
}

/// What a checked result means; `pixels` are asked for only where there are some.
fn answer(result: &loader::FrameResult, pixels: impl FnOnce() -> Pixels) -> Answer {
    let drawing = if result.unchanged {
        Drawing::SamePatch
    } else if result.rect.is_empty() {
        Drawing::AvatarFrame
    } else {
        let (rect, format, alpha): (Rect, PixelFormat, Alpha) = (result.rect, result.format, result.alpha);
        Drawing::Patch(Patch { rect, format, alpha, pixels: pixels() })
    };
    Answer { drawing, at_rest: result.at_rest, avatar_frame_used: result.avatar_frame_used }
}
