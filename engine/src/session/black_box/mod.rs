//! The black box: what passed between a session and its backends in its last minutes, to look at and to repeat.
//!
//! In: events, as they happen, on the session's thread. Out: a [`Recording`], and its file. [`replay`] tells a backend
//! once more what one line of a recording told it, and compares the answers.
//!
//! PCM is kept exactly, pictures as their hashes. Without speech nothing is recorded but that nothing is said.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::UnitKind;
use crate::backend::{FrameReply, FrameRequest};

mod event;
pub use event::{
    Answer, Answered, Asked, AvatarMark, BackendMark, Begins, Entry, Event, LineMark, Recording, Subject,
    UtteranceStep,
};

mod codec;

mod recorder;
pub use recorder::{Limits, Recorder};

mod file;
pub use file::{Chunks, FORMAT_VERSION, ReadError};

mod script;
pub use script::{Script, ScriptError, Step};

pub mod replay;

/// The black box of one session. Clones share it.
#[derive(Debug, Clone)]
pub struct BlackBox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    subject: Subject,
    began: Instant,
    recorder: Mutex<Recorder>,
}

impl BlackBox {
    /// An empty one; the session's time begins now.
    pub fn new(subject: Subject, limits: Limits) -> Self {
        let recorder = Mutex::new(Recorder::new(limits));
        Self(Arc::new(Shared { subject, began: Instant::now(), recorder }))
    }

    /// Whose session it is.
    pub fn subject(&self) -> &Subject {
        &self.0.subject
    }

    /// `backend` draws from here on.
    pub fn open(&self, backend: BackendMark) -> Tape {
        let line = self.lock().open(self.0.began.elapsed(), backend);
        Tape { black_box: self.clone(), line }
    }

    /// Adds an event about `frame`; without one it is about the next frame that leaves.
    pub fn note(&self, frame: Option<u64>, event: Event) {
        self.lock().note(self.0.began.elapsed(), frame, event);
    }

    /// A frame has left with such a picture.
    pub fn left(&self, frame: u64, kind: UnitKind) {
        self.lock().left(self.0.began.elapsed(), frame, kind);
    }

    /// The session is over; the first who says so is heard.
    pub fn end(&self, reason: &str) {
        self.note(None, Event::Ended { reason: reason.to_owned() });
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    /// All that is kept, as it stands.
    pub fn recording(&self) -> Recording {
        let (lines, entries) = self.lock().snapshot();
        Recording { subject: self.0.subject.clone(), lines, entries }
    }

    /// Whether both are the same session's.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn lock(&self) -> MutexGuard<'_, Recorder> {
        // A session that panicked is one whose last minutes somebody wants to see.
        self.0.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records one line; dropping it closes the line.
#[derive(Debug)]
pub struct Tape {
    black_box: BlackBox,
    line: u32,
}

impl Tape {
    /// The backend is given audio.
    pub fn audio(&self, first_sample: u64, pcm: &[f32], end: bool) {
        self.note(None, Event::Audio { line: self.line, first_sample, end, pcm: pcm.into() });
    }

    /// The backend is asked for a frame.
    pub fn request(&self, request: &FrameRequest) {
        let FrameRequest { seq, epoch, frame, avatar_frame, deadline, flags } = *request;
        let leaves_in = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let asked = Asked { seq, epoch, avatar_frame, leaves_in, flags };
        self.note(Some(frame), Event::Request { line: self.line, asked });
    }

    /// The backend forgets.
    pub fn reset(&self, epoch: u32) {
        self.note(None, Event::Reset { line: self.line, epoch });
    }

    /// The backend answers. Its picture is hashed here, before anything is locked.
    pub fn reply(&self, reply: &FrameReply) {
        let (seq, epoch, answer) = (reply.seq, reply.epoch, Answer::of(reply));
        self.note(None, Event::Reply { line: self.line, seq, epoch, answer });
    }

    fn note(&self, frame: Option<u64>, event: Event) {
        self.black_box.note(frame, event);
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.note(None, Event::Closed { line: self.line });
    }
}

#[cfg(test)]
mod tests;
