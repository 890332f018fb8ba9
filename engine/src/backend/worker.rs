//! The one thread of an instance: all calls of its sessions, in the order they came, and its batches.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use lipcast_plugins_api::author::{Error, FrameOrder, SessionMode};
use lipcast_plugins_api::loader::{self, Inferer, Slot, monotonic_ns};
use serde_json::Value;

use super::{Batcher, FrameReply, FrameRequest, Outcome, Patch, SessionParams, Ticket};

/// What other threads ask of the instance's own.
pub(super) enum Call {
    Open {
        session: u64,
        avatar: loader::Avatar,
        params: SessionParams,
        replies: Sender<FrameReply>,
        done: Sender<Result<(), Error>>,
    },
    Push {
        session: u64,
        first_sample: u64,
        pcm: Vec<f32>,
        end: bool,
    },
    Request {
        session: u64,
        request: FrameRequest,
    },
    Reset {
        session: u64,
        epoch: u32,
    },
    Close {
        session: u64,
    },
}

/// Starts the thread; it ends when every sender is gone.
pub(super) fn spawn(
    name: &str,
    instance: loader::Instance,
    batch_p99: Arc<AtomicU64>,
) -> Result<Sender<Call>, Error> {
    let (calls, inbox) = unbounded();
    let (ready, taken) = bounded(1);
    let run = move || match instance.inferer() {
        Ok(inferer) => {
            let _ = ready.send(Ok(()));
            Worker::new(instance, inferer, batch_p99).run(&inbox);
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    };
    thread::Builder::new()
        .name(format!("backend {name}"))
        .spawn(run)
        .map_err(|error| Error::internal(format!("no thread for it: {error}")))?;
    taken.recv().unwrap_or_else(|_| Err(Error::internal("its thread ended at once")))?;
    Ok(calls)
}

struct Seat {
    session: loader::Session,
    replies: Sender<FrameReply>,
    slot_len: usize,
    slots: Vec<Slot>,
    /// A push or a reset failed: no picture of this run can be trusted.
    broken: Option<String>,
}

struct Worker {
    inferer: Inferer,
    max_batch: usize,
    one_per_session: bool,
    sequential: bool,
    seats: HashMap<u64, Seat>,
    batcher: Batcher,
    durations: VecDeque<u64>,
    batch_p99: Arc<AtomicU64>,
}

impl Worker {
    /// Batches that the 99th percentile is taken over.
    const MEASURED: usize = 256;

    fn new(instance: loader::Instance, inferer: Inferer, batch_p99: Arc<AtomicU64>) -> Self {
        let capabilities = &instance.plugin().descriptor().capabilities;
        let sequential = capabilities.order == FrameOrder::Sequential;
        Self {
            inferer,
            max_batch: capabilities.max_batch.max(1) as usize,
            one_per_session: sequential && capabilities.chunk_frames <= 1,
            sequential,
            seats: HashMap::new(),
            batcher: Batcher::default(),
            durations: VecDeque::new(),
            batch_p99,
        }
    }

    fn run(mut self, inbox: &Receiver<Call>) {
        while let Ok(call) = inbox.recv() {
            self.obey(call);
            while let Ok(call) = inbox.try_recv() {
                self.obey(call);
            }
            while !self.batcher.is_empty() {
                self.infer();
                while let Ok(call) = inbox.try_recv() {
                    self.obey(call);
                }
            }
        }
    }

    fn obey(&mut self, call: Call) {
        match call {
            Call::Open { session, avatar, params, replies, done } => {
                let opened = self.open(session, &avatar, params, replies);
                let _ = done.send(opened);
            }
            Call::Push { session, first_sample, pcm, end } => {
                if let Some(seat) = self.seats.get_mut(&session)
                    && let Err(error) = seat.session.push_audio(first_sample, &pcm, end)
                {
                    seat.broken = Some(format!("push_audio: {error}"));
                }
            }
            Call::Request { session, request } => self.batcher.push(Ticket { session, request }),
            Call::Reset { session, epoch } => {
                self.batcher.forget(session);
                if let Some(seat) = self.seats.get_mut(&session) {
                    seat.broken = seat.session.reset(epoch).err().map(|error| format!("reset: {error}"));
                }
            }
            Call::Close { session } => {
                self.batcher.forget(session);
                self.seats.remove(&session);
            }
        }
    }

    fn open(
        &mut self,
        id: u64,
        avatar: &loader::Avatar,
        params: SessionParams,
        replies: Sender<FrameReply>,
    ) -> Result<(), Error> {
        let params = lipcast_plugins_api::author::SessionParams {
            mode: if params.whole { SessionMode::Whole } else { SessionMode::Live },
            canvas: avatar.info().canvas,
            fps: (params.fps.num(), params.fps.den()),
            params: Value::Null,
        };
        let session = self.inferer.open_session(avatar, &params)?;
        let slot_len = avatar.slot_len();
        self.seats.insert(id, Seat { session, replies, slot_len, slots: Vec::new(), broken: None });
        Ok(())
    }

    fn infer(&mut self) {
        let now = Instant::now();
        for ticket in self.batcher.take_expired(now, self.sequential) {
            self.answer(&ticket, Outcome::Expired, false, ticket.request.avatar_frame);
        }
        let batch = self.batcher.take_batch(self.max_batch, self.one_per_session);
        let (mut tickets, mut slots) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for ticket in batch {
            let Some(seat) = self.seats.get_mut(&ticket.session) else { continue };
            if let Some(reason) = seat.broken.clone() {
                self.answer(&ticket, Outcome::Failed(reason), false, ticket.request.avatar_frame);
                continue;
            }
            slots.push(seat.slots.pop().unwrap_or_else(|| Slot::new(seat.slot_len)));
            tickets.push(ticket);
        }
        if tickets.is_empty() {
            return;
        }
        let answers = self.call(&tickets, &mut slots, now);
        self.measure(now.elapsed());
        for ((ticket, slot), answer) in tickets.iter().zip(slots).zip(answers) {
            match answer {
                Ok((outcome, at_rest, used)) => self.answer(ticket, outcome, at_rest, used),
                Err(error) => {
                    self.answer(
                        ticket,
                        Outcome::Failed(error.to_string()),
                        false,
                        ticket.request.avatar_frame,
                    );
                }
            }
            if let Some(seat) = self.seats.get_mut(&ticket.session) {
                seat.slots.push(slot);
            }
        }
    }

    /// Calls the backend and copies the pictures out of their slots.
    fn call(
        &mut self,
        tickets: &[Ticket],
        slots: &mut [Slot],
        now: Instant,
    ) -> Vec<Result<(Outcome, bool, u32), Error>> {
        let mut requests: Vec<loader::FrameRequest<'_>> = tickets
            .iter()
            .zip(slots)
            .map(|(ticket, slot)| {
                let asked = &ticket.request;
                let session = &self.seats[&ticket.session].session;
                loader::FrameRequest {
                    epoch: asked.epoch,
                    seq: asked.seq,
                    deadline_ns: asked.deadline.map_or(0, |deadline| to_host_clock(deadline, now)),
                    first: asked.flags.first,
                    last: asked.flags.last,
                    discard_ok: asked.flags.discard_ok,
                    ..loader::FrameRequest::new(session, asked.frame, asked.avatar_frame, slot)
                }
            })
            .collect();
        self.inferer.infer_batch(&mut requests);
        requests
            .into_iter()
            .map(|request| {
                let result = request.result?;
                let outcome = if result.unchanged {
                    Outcome::SamePatch
                } else if result.rect.is_empty() {
                    Outcome::AvatarFrame
                } else {
                    let pixels = result.picture(request.slot).to_vec();
                    Outcome::Patch(Patch {
                        rect: result.rect,
                        format: result.format,
                        alpha: result.alpha,
                        pixels,
                    })
                };
                Ok((outcome, result.at_rest, result.avatar_frame_used))
            })
            .collect()
    }

    fn answer(&self, ticket: &Ticket, outcome: Outcome, at_rest: bool, avatar_frame_used: u32) {
        let FrameRequest { seq, epoch, .. } = ticket.request;
        if let Some(seat) = self.seats.get(&ticket.session) {
            // The session may be gone already; its `Close` is on the way.
            let _ = seat.replies.send(FrameReply { seq, epoch, outcome, at_rest, avatar_frame_used });
        }
    }

    fn measure(&mut self, taken: Duration) {
        if self.durations.len() == Self::MEASURED {
            self.durations.pop_front();
        }
        self.durations.push_back(taken.as_nanos() as u64);
        let mut sorted: Vec<u64> = self.durations.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100) - 1;
        self.batch_p99.store(sorted[rank], Ordering::Relaxed);
    }
}

/// A deadline in the clock of the host services; 1 when it has passed, since 0 means none.
fn to_host_clock(deadline: Instant, now: Instant) -> u64 {
    match deadline.checked_duration_since(now) {
        Some(left) => monotonic_ns() + left.as_nanos() as u64,
        None => 1,
    }
}
