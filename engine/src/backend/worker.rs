//! The one thread of an instance: all calls of its sessions, in the order they came, its batches, and a look at its
//! health now and then.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use lipcast_plugins_api::author::{Code, Error, FrameOrder, HealthState};
use lipcast_plugins_api::loader::{self, Inferer, Slot, monotonic_ns};

use super::seat::{Push, Seat, Trouble};
use super::{Batcher, FrameReply, FrameRequest, Outcome, Patch, RequestFlags, SessionParams, Ticket};

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

/// What the thread tells everybody.
#[derive(Default)]
pub(super) struct Shared {
    batch_p99_ns: AtomicU64,
    lost: OnceLock<String>,
}

impl Shared {
    pub(super) fn batch_p99(&self) -> Duration {
        Duration::from_nanos(self.batch_p99_ns.load(Ordering::Relaxed))
    }

    /// Why the instance is of no more use.
    pub(super) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    fn lose(&self, reason: String) {
        // The first reason stays: those that follow come of it.
        let _ = self.lost.set(reason);
    }
}

/// Starts the thread; it ends when every sender is gone.
pub(super) fn spawn(
    name: &str,
    instance: loader::Instance,
    shared: Arc<Shared>,
) -> Result<Sender<Call>, Error> {
    // Bounded by those who call: a session that has too many unanswered requests gives the backend up, and it pushes
    // and resets no more often than it asks.
    let (calls, inbox) = unbounded();
    let (ready, taken) = bounded(1);
    let farewell = Farewell(shared.clone());
    let run = move || {
        let _farewell = farewell;
        match instance.inferer() {
            Ok(inferer) => {
                let _ = ready.send(Ok(()));
                Worker::new(instance, inferer, shared).run(&inbox);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    };
    thread::Builder::new()
        .name(format!("backend {name}"))
        .spawn(run)
        .map_err(|error| Error::internal(format!("no thread for it: {error}")))?;
    taken.recv().unwrap_or_else(|_| Err(Error::internal("its thread ended at once")))?;
    Ok(calls)
}

/// Tells that the thread panicked. Its seats, and with them the senders of replies, are gone by then.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lose("its thread panicked".to_owned());
        }
    }
}

struct Worker {
    instance: loader::Instance,
    inferer: Inferer,
    max_batch: usize,
    one_per_session: bool,
    sequential: bool,
    seats: HashMap<u64, Seat>,
    batcher: Batcher,
    /// The last batches' durations, nanoseconds: as they came, and in order of length.
    durations: VecDeque<u64>,
    sorted: Vec<u64>,
    health_due: Instant,
    shared: Arc<Shared>,
}

/// What became of one request.
struct Answer {
    outcome: Outcome,
    at_rest: bool,
    avatar_frame_used: u32,
}

impl Worker {
    /// Batches that the 99th percentile is taken over.
    const MEASURED: usize = 256;
    /// How often the backend is asked how it feels.
    const HEALTH_PERIOD: Duration = Duration::from_secs(1);

    fn new(instance: loader::Instance, inferer: Inferer, shared: Arc<Shared>) -> Self {
        let capabilities = &instance.plugin().descriptor().capabilities;
        let sequential = capabilities.order == FrameOrder::Sequential;
        Self {
            max_batch: capabilities.max_batch.max(1) as usize,
            one_per_session: sequential && capabilities.chunk_frames <= 1,
            instance,
            inferer,
            sequential,
            seats: HashMap::new(),
            batcher: Batcher::default(),
            durations: VecDeque::with_capacity(Self::MEASURED),
            sorted: Vec::with_capacity(Self::MEASURED),
            health_due: Instant::now(),
            shared,
        }
    }

    fn run(mut self, inbox: &Receiver<Call>) {
        loop {
            match inbox.recv_deadline(self.health_due) {
                Ok(call) => self.obey(call),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            loop {
                while let Ok(call) = inbox.try_recv() {
                    self.obey(call);
                }
                self.look_at_health();
                if self.batcher.is_empty() {
                    break;
                }
                self.infer();
                self.come_again();
            }
        }
    }

    fn obey(&mut self, call: Call) {
        match call {
            Call::Open { session, avatar, params, replies, done } => {
                let opened = Seat::open(&self.inferer, &avatar, params, replies);
                let _ = done.send(opened.map(|seat| drop(self.seats.insert(session, seat))));
            }
            Call::Push { session, first_sample, pcm, end } => {
                if let Some(seat) = self.seats.get_mut(&session) {
                    seat.push(Push { first_sample, pcm, end }, self.batcher.holds(session));
                }
            }
            Call::Request { session, request } => {
                if let Some(seat) = self.seats.get_mut(&session)
                    && let Some(request) = seat.ask(request)
                {
                    self.batcher.push(Ticket { session, request });
                }
            }
            Call::Reset { session, epoch } => {
                let dropped = self.batcher.forget(session);
                if let Some(seat) = self.seats.get_mut(&session) {
                    dropped.iter().for_each(|ticket| seat.answer(&ticket.request, Outcome::Expired));
                    seat.reset(epoch);
                }
            }
            Call::Close { session } => {
                self.batcher.forget(session);
                self.seats.remove(&session);
            }
        }
    }

    /// Pushes what the backend had no room for before the last batch.
    fn come_again(&mut self) {
        for (session, seat) in &mut self.seats {
            while let Some(request) = seat.come_again(self.batcher.holds(*session)) {
                self.batcher.push(Ticket { session: *session, request });
            }
        }
    }

    fn look_at_health(&mut self) {
        let now = Instant::now();
        if now < self.health_due {
            return;
        }
        self.health_due = now + Self::HEALTH_PERIOD;
        if self.shared.lost().is_none() {
            let health = self.instance.health();
            if health.state == HealthState::Broken {
                self.lose(format!("it calls itself broken: {}", health.message));
            }
        }
    }

    fn lose(&self, reason: String) {
        tracing::error!(reason, "the backend is lost");
        self.shared.lose(reason);
    }

    fn infer(&mut self) {
        let now = Instant::now();
        let (seats, sequential) = (&mut self.seats, self.sequential);
        // A backend whose queue is full has to be asked for every frame, or the queue stays full.
        let sees_all = |session| sequential || seats.get(&session).is_some_and(Seat::is_waiting);
        for ticket in self.batcher.take_expired(now, sees_all) {
            if let Some(seat) = seats.get_mut(&ticket.session) {
                seat.carry(ticket.request.flags);
                seat.answer(&ticket.request, Outcome::Expired);
            }
        }
        let batch = self.batcher.take_batch(self.max_batch, self.one_per_session);
        let (mut tickets, mut slots) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for mut ticket in batch {
            let Some(seat) = seats.get_mut(&ticket.session) else { continue };
            let trouble = self
                .shared
                .lost()
                .map(|reason| Outcome::Gone { reason: reason.to_owned(), in_flight: false });
            if let Some(outcome) = trouble.or_else(|| seat.trouble.as_ref().map(Trouble::outcome)) {
                seat.answer(&ticket.request, outcome);
                continue;
            }
            seat.hand_on(&mut ticket.request.flags);
            slots.push(seat.slots.pop().unwrap_or_else(|| Slot::new(seat.slot_len)));
            tickets.push(ticket);
        }
        if tickets.is_empty() {
            return;
        }
        let answers = self.call(&tickets, &mut slots, now);
        self.measure(now.elapsed());
        let mut lost = None;
        for ((ticket, slot), answer) in tickets.iter().zip(slots).zip(answers) {
            let Some(seat) = self.seats.get_mut(&ticket.session) else { continue };
            seat.slots.push(slot);
            match answer {
                Ok(Answer { outcome, at_rest, avatar_frame_used }) => {
                    seat.answer_with(&ticket.request, outcome, at_rest, avatar_frame_used);
                }
                Err(error) => {
                    let outcome = seat.failed_frame(&error);
                    seat.answer(&ticket.request, outcome);
                    if error.code == Code::DeviceLost {
                        lost = Some(error);
                    }
                }
            }
        }
        if let Some(error) = lost {
            self.lose(error.to_string());
        }
    }

    /// Calls the backend and copies the pictures out of their slots.
    fn call(&mut self, tickets: &[Ticket], slots: &mut [Slot], now: Instant) -> Vec<Result<Answer, Error>> {
        let mut requests: Vec<loader::FrameRequest<'_>> = tickets
            .iter()
            .zip(slots)
            .map(|(ticket, slot)| {
                let asked = &ticket.request;
                let session = &self.seats[&ticket.session].session;
                let RequestFlags { first, last, discard_ok, alone: _ } = asked.flags;
                loader::FrameRequest {
                    epoch: asked.epoch,
                    seq: asked.seq,
                    deadline_ns: asked.deadline.map_or(0, |deadline| to_host_clock(deadline, now)),
                    first,
                    last,
                    discard_ok,
                    ..loader::FrameRequest::new(session, asked.frame, asked.avatar_frame, slot)
                }
            })
            .collect();
        self.inferer.infer_batch(&mut requests);
        requests.into_iter().map(read).collect()
    }

    fn measure(&mut self, taken: Duration) {
        let taken = taken.as_nanos() as u64;
        if self.durations.len() == Self::MEASURED
            && let Some(oldest) = self.durations.pop_front()
        {
            // It is in there: both hold the same values.
            self.sorted.remove(self.sorted.partition_point(|known| *known < oldest));
        }
        self.durations.push_back(taken);
        self.sorted.insert(self.sorted.partition_point(|known| *known < taken), taken);
        let rank = (self.sorted.len() * 99).div_ceil(100) - 1;
        self.shared.batch_p99_ns.store(self.sorted[rank], Ordering::Relaxed);
    }
}

fn read(request: loader::FrameRequest<'_>) -> Result<Answer, Error> {
    let result = match request.result {
        // A late frame that the backend was free to leave out.
        Err(error) if error.code == Code::Deadline && request.discard_ok => {
            return Ok(Answer {
                outcome: Outcome::Expired,
                at_rest: false,
                avatar_frame_used: request.avatar_frame,
            });
        }
        result => result?,
    };
    let outcome = if result.unchanged {
        Outcome::SamePatch
    } else if result.rect.is_empty() {
        Outcome::AvatarFrame
    } else {
        let pixels = result.picture(request.slot).to_vec();
        Outcome::Patch(Patch { rect: result.rect, format: result.format, alpha: result.alpha, pixels })
    };
    Ok(Answer { outcome, at_rest: result.at_rest, avatar_frame_used: result.avatar_frame_used })
}

/// A deadline in the clock of the host services; 1 when it has passed, since 0 means none.
fn to_host_clock(deadline: Instant, now: Instant) -> u64 {
    match deadline.checked_duration_since(now) {
        Some(left) => monotonic_ns() + left.as_nanos() as u64,
        None => 1,
    }
}
