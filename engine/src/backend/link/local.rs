//! An incarnation inside this process: its calls are made where they are submitted, on the keeper's thread.
//!
//! It cannot be killed: code in one's own process can only be trusted. Its end is that nobody calls it any more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lipcast_plugins_api::author::{Error, HealthState, SessionMode};
use lipcast_plugins_api::loader::{self, Inferer, Instance, Plugin, Slot};
use serde_json::Value;

use super::{Answer, Control, Link, Load, Opened, Opening, Origin, Person, answer};
use crate::avatar::Job;
use crate::backend::host_services::{JobProgress, TracingHost};
use crate::backend::mailbox::Mailbox;
use crate::backend::supervisor::{LinkEvent, Op, Ticket};

/// How often the backend is asked how it feels.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// A finished attempt to create an instance.
pub(in crate::backend) type Created = Result<Instance, Error>;

pub(in crate::backend) struct LocalLink {
    origin: Origin,
    created: Arc<Mailbox<Created>>,
    stage: Option<Stage>,
    health_due: Instant,
    news: VecDeque<LinkEvent<Load>>,
    over: bool,
}

struct Stage {
    opened: Opened,
    instance: Instance,
    inferer: Inferer,
    seats: HashMap<u64, Seat>,
}

struct Seat {
    session: loader::Session,
    slot_len: usize,
    /// Memory of results, used in turn.
    slots: Vec<Slot>,
}

impl LocalLink {
    /// Begins to create an instance of `plugin`; `wake` is called when that is over.
    pub(in crate::backend) fn start(
        name: &str,
        plugin: Plugin,
        config: Value,
        origin: Origin,
        wake: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let created = Arc::new(Mailbox::new()?);
        let (backend, outcome) = (name.to_owned(), created.clone());
        let create = move || {
            let job = Job::new();
            let services = Arc::new(TracingHost { backend: backend.clone() });
            let progress = JobProgress { job: &job, backend: &backend };
            let attempt = || plugin.create(services, &config, &progress);
            let instance = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt))
                .unwrap_or_else(|_| Err(Error::internal("panicked while it was created")));
            let _ = outcome.put(instance);
            wake();
        };
        std::thread::Builder::new().name(format!("create {name}")).spawn(create)?;
        let (news, stage) = (VecDeque::new(), None);
        Ok(Self { origin, created, stage, health_due: Instant::now(), news, over: false })
    }

    /// The instance is there, or not.
    fn settle(&mut self, created: Created) {
        let stage = created.and_then(|instance| {
            let inferer = instance.inferer()?;
            let plugin = instance.plugin();
            let (major, minor) = plugin.api_version();
            let opened = Opened {
                descriptor: plugin.descriptor().clone(),
                origin: format!("contract {major}.{minor}, {}", plugin.origin()),
                control: Control::Local(instance.clone()),
            };
            Ok(Stage { opened, instance, inferer, seats: HashMap::new() })
        });
        match stage {
            Ok(stage) => {
                self.news.push_back(LinkEvent::Started(stage.opened.abilities()));
                self.stage = Some(stage);
            }
            Err(error) => {
                let (reason, retryable) = (format!("create: {error}"), error.retryable);
                self.news.push_back(LinkEvent::StartFailed { reason, retryable });
            }
        }
    }

    fn look_at_health(&mut self) {
        let now = Instant::now();
        let Some(stage) = self.stage.as_ref().filter(|_| now >= self.health_due) else { return };
        self.health_due = now + HEALTH_PERIOD;
        let health = stage.instance.health();
        if health.state == HealthState::Broken {
            let reason = format!("it calls itself broken: {}", health.message);
            self.news.push_back(LinkEvent::Broken(reason));
        }
    }

    fn leave(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.over, true) {
            self.stage = None;
            self.news.clear();
            self.news.push_back(LinkEvent::Died { reason: reason.to_owned(), barred: false });
        }
    }
}

impl Link for LocalLink {
    fn opened(&self) -> Option<Opened> {
        self.stage.as_ref().map(|stage| stage.opened.clone())
    }

    fn submit(&mut self, op: u64, session: u64, call: Op<Load>) {
        let Some(stage) = &mut self.stage else { return };
        let result = stage.obey(session, call);
        self.news.push_back(LinkEvent::OpDone { op, result });
    }

    fn infer(&mut self, op: u64, batch: &[Ticket]) {
        let Some(stage) = &mut self.stage else { return };
        let results = stage.infer(batch, &self.origin);
        self.news.push_back(LinkEvent::BatchDone { op, results });
    }

    fn take(&mut self) -> Option<LinkEvent<Load>> {
        if self.over {
            return self.news.pop_front();
        }
        if let Some(created) = self.created.take().pop_front() {
            self.settle(created);
        }
        self.look_at_health();
        self.news.pop_front()
    }

    fn kill(&mut self) {
        self.leave("it is not called any more");
    }

    fn end(&mut self) {
        self.leave("it was asked to end");
    }

    fn wait(&mut self, mailbox: std::os::fd::BorrowedFd<'_>, patience: Option<Duration>) {
        let health = self.stage.as_ref().map(|_| self.health_due.saturating_duration_since(Instant::now()));
        let patience = [patience, health].into_iter().flatten().min();
        let end = rustix::event::PollFd::from_borrowed_fd(mailbox, rustix::event::PollFlags::IN);
        super::sleep(&mut [end], patience);
    }
}

impl Stage {
    fn obey(&mut self, session: u64, call: Op<Load>) -> Result<(), Error> {
        match call {
            Op::Open(Opening { avatar, params }) => {
                let Person::Local(avatar) = &*avatar else {
                    return Err(Error::invalid_arg("the avatar was loaded by another instance"));
                };
                let params = lipcast_plugins_api::author::SessionParams {
                    mode: if params.whole { SessionMode::Whole } else { SessionMode::Live },
                    canvas: avatar.info().canvas,
                    fps: (params.fps.num(), params.fps.den()),
                    params: Value::Null,
                };
                let opened = self.inferer.open_session(avatar, &params)?;
                let seat = Seat { session: opened, slot_len: avatar.slot_len(), slots: Vec::new() };
                self.seats.insert(session, seat);
                Ok(())
            }
            Op::Push(audio) => {
                self.seat(session)?.session.push_audio(audio.first_sample, &audio.pcm, audio.end)
            }
            Op::Reset { epoch } => self.seat(session)?.session.reset(epoch),
            Op::Close => {
                self.seats.remove(&session);
                Ok(())
            }
        }
    }

    fn infer(&mut self, batch: &[Ticket], origin: &Origin) -> Vec<Result<Answer, Error>> {
        let mut slots: Vec<Slot> = Vec::with_capacity(batch.len());
        for ticket in batch {
            match self.seats.get_mut(&ticket.session) {
                Some(seat) => slots.push(seat.slots.pop().unwrap_or_else(|| Slot::new(seat.slot_len))),
                // The supervisor hands on what is open; anything else is a bug of ours that one batch pays for.
                None => return batch.iter().map(|_| Err(Error::internal("no such session"))).collect(),
            }
        }
        let seats = &self.seats;
        let mut requests: Vec<loader::FrameRequest<'_>> = batch
            .iter()
            .zip(&mut slots)
            .map(|(ticket, slot)| {
                let asked = &ticket.request;
                loader::FrameRequest {
                    epoch: asked.epoch,
                    seq: asked.seq,
                    deadline_ns: origin.here(asked.deadline),
                    first: asked.flags.first,
                    last: asked.flags.last,
                    discard_ok: asked.flags.discard_ok,
                    ..loader::FrameRequest::new(
                        &seats[&ticket.session].session,
                        asked.frame,
                        asked.avatar_frame,
                        slot,
                    )
                }
            })
            .collect();
        self.inferer.infer_batch(&mut requests);
        let results: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let result = request.result?;
                Ok(answer(&result, || result.picture(request.slot).to_vec().into()))
            })
            .collect();
        for (ticket, slot) in batch.iter().zip(slots) {
            if let Some(seat) = self.seats.get_mut(&ticket.session) {
                seat.slots.push(slot);
            }
        }
        results
    }

    fn seat(&mut self, session: u64) -> Result<&mut Seat, Error> {
        self.seats.get_mut(&session).ok_or_else(|| Error::internal("no such session"))
    }
}
