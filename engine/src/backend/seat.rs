//! One session at the instance's thread: what the backend has no room for yet, and what it can no more be trusted with.

use std::collections::VecDeque;

use crossbeam_channel::Sender;
use lipcast_plugins_api::author::{Code, Error, SessionMode};
use lipcast_plugins_api::loader::{self, Inferer, Slot};
use serde_json::Value;

use super::{FrameReply, FrameRequest, Outcome, RequestFlags, SessionParams};

pub(super) struct Seat {
    pub(super) session: loader::Session,
    pub(super) slot_len: usize,
    /// Memory of results, used in turn.
    pub(super) slots: Vec<Slot>,
    pub(super) trouble: Option<Trouble>,
    replies: Sender<FrameReply>,
    /// Audio that the backend had no room for, and everything that came after it. Not longer than what the session
    /// may leave unanswered.
    held: VecDeque<Held>,
    /// Flags of requests that the backend never saw.
    carried: RequestFlags,
}

/// A piece of audio on its way to the backend.
pub(super) struct Push {
    pub(super) first_sample: u64,
    pub(super) pcm: Vec<f32>,
    pub(super) end: bool,
}

enum Held {
    Audio(Push),
    Request(FrameRequest),
}

/// Why a seat's frames are not asked for.
pub(super) enum Trouble {
    /// A push or a reset failed: no picture can be trusted until the next reset.
    Run(String),
    /// The backend panicked in a call of this session, which is over for it.
    Poisoned(String),
}

impl Trouble {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Run(reason) => Outcome::Failed(reason.clone()),
            Self::Poisoned(reason) => Outcome::Gone { reason: reason.clone(), in_flight: false },
        }
    }
}

impl Seat {
    pub(super) fn open(
        inferer: &Inferer,
        avatar: &loader::Avatar,
        params: SessionParams,
        replies: Sender<FrameReply>,
    ) -> Result<Self, Error> {
        let params = lipcast_plugins_api::author::SessionParams {
            mode: if params.whole { SessionMode::Whole } else { SessionMode::Live },
            canvas: avatar.info().canvas,
            fps: (params.fps.num(), params.fps.den()),
            params: Value::Null,
        };
        Ok(Self {
            session: inferer.open_session(avatar, &params)?,
            slot_len: avatar.slot_len(),
            slots: Vec::new(),
            trouble: None,
            replies,
            held: VecDeque::new(),
            carried: RequestFlags::default(),
        })
    }

    /// Hands audio to the backend, or keeps it until there is room: `asked` tells that frames of this session wait,
    /// so that a batch will come and make room.
    pub(super) fn push(&mut self, push: Push, asked: bool) {
        if self.is_waiting() {
            self.held.push_back(Held::Audio(push));
        } else if let Some(push) = self.try_push(push, asked) {
            self.held.push_front(Held::Audio(push));
        }
    }

    /// A request that may be drawn now; one that stands behind audio without room waits with it.
    pub(super) fn ask(&mut self, request: FrameRequest) -> Option<FrameRequest> {
        if !self.is_waiting() {
            return Some(request);
        }
        self.held.push_back(Held::Request(request));
        None
    }

    /// Audio waits for room.
    pub(super) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// After a batch: pushes what waits, up to the next request, which is returned.
    pub(super) fn come_again(&mut self, asked: bool) -> Option<FrameRequest> {
        loop {
            match self.held.pop_front()? {
                Held::Request(request) => return Some(request),
                Held::Audio(push) => {
                    if let Some(push) = self.try_push(push, asked) {
                        self.held.push_front(Held::Audio(push));
                        return None;
                    }
                }
            }
        }
    }

    /// Barge-in. What the backend has not seen it never will.
    pub(super) fn reset(&mut self, epoch: u32) {
        for held in std::mem::take(&mut self.held) {
            if let Held::Request(request) = held {
                self.answer(&request, Outcome::Expired);
            }
        }
        self.carried = RequestFlags::default();
        if matches!(self.trouble, Some(Trouble::Poisoned(_))) {
            return;
        }
        self.trouble = None;
        if let Err(error) = self.session.reset(epoch) {
            self.failed_call("reset", &error);
        }
    }

    /// Remembers the flags of a request that the backend did not see.
    pub(super) fn carry(&mut self, flags: RequestFlags) {
        self.carried.first |= flags.first;
        self.carried.last |= flags.last;
    }

    /// Adds what was carried to a request that the backend will see.
    pub(super) fn hand_on(&mut self, flags: &mut RequestFlags) {
        let carried = std::mem::take(&mut self.carried);
        // Where a new run begins, the end of the last one says nothing any more.
        flags.last |= carried.last && !flags.first;
        flags.first |= carried.first;
    }

    /// What a frame that failed is answered with.
    pub(super) fn failed_frame(&mut self, error: &Error) -> Outcome {
        match error.code {
            Code::BackendPanic => {
                self.trouble = Some(Trouble::Poisoned(error.to_string()));
                Outcome::Gone { reason: error.to_string(), in_flight: true }
            }
            Code::DeviceLost => Outcome::Gone { reason: error.to_string(), in_flight: true },
            _ => Outcome::Failed(error.to_string()),
        }
    }

    /// Answers a request that has no picture.
    pub(super) fn answer(&self, request: &FrameRequest, outcome: Outcome) {
        self.answer_with(request, outcome, false, request.avatar_frame);
    }

    pub(super) fn answer_with(&self, request: &FrameRequest, outcome: Outcome, at_rest: bool, used: u32) {
        let FrameRequest { seq, epoch, .. } = *request;
        // The session may be gone already; its `Close` is on the way.
        let _ = self.replies.send(FrameReply { seq, epoch, outcome, at_rest, avatar_frame_used: used });
    }

    /// Gives the audio back when the backend has no room but will have.
    fn try_push(&mut self, push: Push, asked: bool) -> Option<Push> {
        if self.trouble.is_some() {
            return None;
        }
        match self.session.push_audio(push.first_sample, &push.pcm, push.end) {
            Ok(()) => None,
            Err(error) if error.code == Code::WouldBlock && asked => Some(push),
            Err(error) => {
                self.failed_call("push_audio", &error);
                None
            }
        }
    }

    fn failed_call(&mut self, call: &str, error: &Error) {
        let reason = format!("{call}: {error}");
        self.trouble = Some(match error.code {
            Code::BackendPanic => Trouble::Poisoned(reason),
            _ => Trouble::Run(reason),
        });
    }
}
