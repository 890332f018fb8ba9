//! An incarnation in a process of its own: calls go into the ring, what came of them comes out of it, and the process's
//! end is seen by its pidfd.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use lipcast_plugins_api::abi;
use lipcast_plugins_api::author::{Error, HealthState};
use lipcast_wire::client::{CallError, Calls, Greeting, HUNG_UP, RemoteAvatar};
use lipcast_wire::lines::Limiter;
use lipcast_wire::message::Hello;
use lipcast_wire::op;
use lipcast_wire::ring::{Completion, Submissions};
use lipcast_wire::spawn::{Child, ChildCommand, Ends};
use rustix::event::{PollFd, PollFlags};
use serde_json::Value;

use super::{Answer, Control, Link, Load, Opened, Opening, Origin, Person, answer, resident_bytes};
use crate::avatar::Job;
use crate::backend::BackendMeter;
use crate::backend::host_services::{ChildEvents, JobProgress};
use crate::backend::mailbox::Mailbox;
use crate::backend::supervisor::{LinkEvent, Op, Ticket};

/// How often the backend is asked how it feels, and how long it may take to say it.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// How many times in a row a process that lives may not answer how it feels: one whose health call does not return
/// hears no other call either.
const HEALTH_MISSES: u32 = 3;

/// Beats for each of them at least, half of those that it would have with the processor for itself. One that is starved
/// has fewer, and is waited for.
const BEATS_A_MISS: u32 = 5;

/// How many times in a row a process without a single beat may not answer. No starving lasts that long: it was stopped,
/// and would be called ready for ever while nobody speaks.
const STILL_MISSES: u32 = 20;

/// Between the closing of a dying process's socket and its end, amply.
const A_MOMENT: Duration = Duration::from_millis(20);

/// What is started, and for whom.
#[derive(Debug, Clone)]
pub(in crate::backend) struct ProcessProgram {
    /// The program with its arguments.
    pub(in crate::backend) command: ChildCommand,
    /// The library, whose crash while it starts is remembered.
    pub(in crate::backend) library: Option<PathBuf>,
}

pub(in crate::backend) struct ProcessLink {
    origin: Origin,
    child: Child,
    ring: Submissions,
    news: Arc<Mailbox<News>>,
    /// What it hands out, once it has started.
    opened: Option<Opened>,
    calls: Arc<Calls>,
    /// What is in the ring, oldest first.
    under_way: VecDeque<UnderWay>,
    /// The avatar of each open session.
    seats: HashMap<u64, Arc<Person>>,
    told: VecDeque<LinkEvent<Load>>,
    /// It wrote something into the ring that cannot be: nothing is read from there any more.
    ring_broken: bool,
    /// Its pidfd was seen to be readable: how the process ended can be asked.
    ended: bool,
    /// Its end was told: nothing else is.
    over: bool,
    /// It is known how the opening came out; an end before that says less than what is still on its way.
    settled: bool,
    /// The process opens a library, and is not a program of its own.
    has_library: bool,
    killed: bool,
    /// Ends the thread that asks for its health.
    leaving: Arc<AtomicBool>,
    /// Its heartbeat when it first did not say how it feels.
    deaf_since: u32,
}

enum UnderWay {
    Call { op: u64, session: u64, opening: Option<Arc<Person>> },
    Batch { op: u64, requests: Vec<Asked> },
}

/// A request of a batch, and the place of its picture.
struct Asked {
    request: op::Request,
    /// None: a session that is not open, which the child refuses.
    avatar: Option<Arc<RemoteAvatar>>,
}

/// What threads beside the keeper's have to tell.
enum News {
    Started(Box<Opened>),
    Failed {
        reason: String,
        retryable: bool,
    },
    /// The process went while it was being opened.
    Gone,
    /// It closed its socket.
    HungUp,
    /// It did not say how it feels, so many times in a row.
    Deaf(u32),
    Broken(String),
}

impl ProcessLink {
    /// Starts the process, and begins to create the instance in it; `wake` is called when there is news. Call it from
    /// a thread that lives as long as the process shall.
    pub(in crate::backend) fn start(
        name: &str,
        program: &ProcessProgram,
        config: Value,
        expected_id: Option<String>,
        origin: Origin,
        meter: Arc<BackendMeter>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> std::io::Result<Self> {
        let news = Arc::new(Mailbox::new()?);
        let Ends { child, control, ring, output } = Child::start(&program.command)?;
        let tell = {
            let news = news.clone();
            move |letter: News| {
                let _ = news.put(letter);
                wake();
            }
        };
        let closed = tell.clone();
        let events = Arc::new(ChildEvents::new(name, meter, move |reason: &str| {
            if reason != HUNG_UP {
                return closed(News::Broken(reason.to_owned()));
            }
            // A process that is ending closes its socket a moment before, and that it ended is what should be told.
            thread::sleep(A_MOMENT);
            closed(News::HungUp);
        }));
        let limiter = Limiter::default();
        let (calls, greeting) = Calls::open(control, events.clone(), limiter.clone())?;
        lipcast_wire::client::print_lines(output, events, limiter)?;
        let leaving = Arc::new(AtomicBool::new(false));
        let opening = Opener { name: name.to_owned(), config, expected_id, calls: calls.clone() };
        let stop = leaving.clone();
        thread::Builder::new().name(format!("open {name}")).spawn(move || {
            match opening.open(&greeting) {
                Ok(opened) => tell(News::Started(Box::new(opened))),
                // A process that is gone tells so by itself.
                Err(None) => return tell(News::Gone),
                Err(Some(error)) => {
                    let (reason, retryable) = (error.message, error.retryable);
                    return tell(News::Failed { reason, retryable });
                }
            }
            if let Some(reason) = watch_health(&opening.calls, &stop, |misses| tell(News::Deaf(misses))) {
                tell(News::Broken(reason));
            }
        })?;
        Ok(Self {
            origin,
            child,
            ring,
            news,
            opened: None,
            calls,
            under_way: VecDeque::new(),
            seats: HashMap::new(),
            told: VecDeque::new(),
            ring_broken: false,
            ended: false,
            over: false,
            settled: false,
            has_library: program.library.is_some(),
            killed: false,
            leaving,
            deaf_since: 0,
        })
    }

    /// Everything that the ring has.
    fn collect(&mut self) {
        while !self.ring_broken {
            match self.ring.complete() {
                Ok(Some(completion)) => self.complete(completion),
                Ok(None) => return,
                Err(error) => {
                    self.ring_broken = true;
                    self.told.push_back(LinkEvent::Broken(format!("it broke the ring: {error}")));
                }
            }
        }
    }

    fn complete(&mut self, completion: Completion) {
        match self.under_way.pop_front() {
            Some(UnderWay::Call { op, session, opening }) => {
                if let (Ok(()), Some(avatar)) = (&completion.status, opening) {
                    self.seats.insert(session, avatar);
                }
                self.told.push_back(LinkEvent::OpDone { op, result: completion.status });
            }
            Some(UnderWay::Batch { op, requests }) => {
                let mut overrun = false;
                let mut drawn = match completion.status {
                    Err(error) => vec![Err(error); requests.len()],
                    Ok(()) => completion.results,
                };
                // A child that changed its own cell may have given fewer.
                drawn.resize_with(requests.len(), || {
                    Err(Error::internal("the backend's process gave no result"))
                });
                let read = |(asked, drawn): (&Asked, _)| asked.read(drawn, &mut overrun);
                let results = requests.iter().zip(drawn).map(read).collect();
                self.told.push_back(LinkEvent::BatchDone { op, results });
                if overrun {
                    let reason = "it wrote behind the end of an output slot: its memory cannot be trusted";
                    self.told.push_back(LinkEvent::Broken(reason.to_owned()));
                }
            }
            // The ring never has more done than was put in.
            None => {}
        }
    }

    fn asked(&self, ticket: &Ticket) -> Asked {
        let avatar = self.seats.get(&ticket.session).and_then(|person| match &**person {
            Person::Remote(avatar) => Some(avatar.clone()),
            Person::Local(_) => None,
        });
        // There is one batch at a time, and as many places as it has requests are never lent out.
        let slot = avatar.as_ref().map_or(0, |avatar| avatar.take_slot().expect("a place for every request"));
        let flag = |set, bit| if set { bit } else { 0 };
        let wanted = &ticket.request;
        let request = op::Request {
            session: ticket.session,
            seq: wanted.seq,
            frame: wanted.frame,
            deadline_ns: self.origin.shared(wanted.deadline),
            epoch: wanted.epoch,
            avatar_frame: wanted.avatar_frame,
            flags: flag(wanted.flags.first, abi::REQUEST_FIRST)
                | flag(wanted.flags.last, abi::REQUEST_LAST)
                | flag(wanted.flags.discard_ok, abi::REQUEST_DISCARD_OK),
            slot,
        };
        Asked { request, avatar }
    }

    fn leave(&mut self, reason: String) {
        self.leaving.store(true, Ordering::Relaxed);
        self.over = true;
        // A library that crashes while it is opened will crash again.
        let barred = self.has_library && self.opened.is_none() && !self.killed && self.child.crashed();
        self.told.push_back(LinkEvent::Died { reason, barred });
    }
}

impl Asked {
    /// What came of it, checked; its place goes with the picture, or back.
    fn read(&self, drawn: Result<op::Drawn, Error>, overrun: &mut bool) -> Result<Answer, Error> {
        let Some(avatar) = &self.avatar else {
            return Err(Error::internal("no such session"));
        };
        let slot = self.request.slot;
        let (checked, intact) = match drawn {
            Ok(drawn) => avatar.check(&self.request, &drawn),
            Err(error) => (Err(error), avatar.is_intact(slot)),
        };
        *overrun |= !intact;
        match checked {
            Ok(result) if !result.unchanged && !result.rect.is_empty() => {
                Ok(answer(&result, || avatar.take_picture(slot, &result).into()))
            }
            other => {
                avatar.give_back(slot);
                other.map(|result| answer(&result, || Vec::new().into()))
            }
        }
    }
}

impl Link for ProcessLink {
    fn opened(&self) -> Option<Opened> {
        self.opened.clone()
    }

    fn submit(&mut self, op: u64, session: u64, call: Op<Load>) {
        let mut opening = None;
        let wire = match call {
            Op::Open(Opening { avatar, params }) => {
                let Person::Remote(remote) = &*avatar else {
                    let result = Err(Error::invalid_arg("the avatar was loaded by another instance"));
                    return self.told.push_back(LinkEvent::OpDone { op, result });
                };
                let avatar_id = remote.id();
                opening = Some(avatar);
                let fps = (params.fps.num(), params.fps.den());
                op::Op::Open {
                    session,
                    avatar: avatar_id,
                    whole: params.whole,
                    fps,
                    params: "null".to_owned(),
                }
            }
            Op::Push(audio) => op::Op::Push {
                session,
                first_sample: audio.first_sample,
                pcm: audio.pcm.to_vec(),
                end: audio.end,
            },
            Op::Reset { epoch } => op::Op::Reset { session, epoch },
            Op::Close => {
                self.seats.remove(&session);
                op::Op::Close { session }
            }
        };
        self.under_way.push_back(UnderWay::Call { op, session, opening });
        self.ring.submit(&wire);
    }

    fn infer(&mut self, op: u64, batch: &[Ticket]) {
        let asked: Vec<Asked> = batch.iter().map(|ticket| self.asked(ticket)).collect();
        self.ring.submit(&op::Op::Infer { requests: asked.iter().map(|asked| asked.request).collect() });
        self.under_way.push_back(UnderWay::Batch { op, requests: asked });
    }

    fn take(&mut self) -> Option<LinkEvent<Load>> {
        if let Some(event) = self.told.pop_front() {
            return Some(event);
        }
        if self.over {
            return None;
        }
        for news in self.news.take() {
            self.told.push_back(match news {
                News::Started(opened) => {
                    self.settled = true;
                    let abilities = opened.abilities();
                    self.opened = Some(*opened);
                    LinkEvent::Started(abilities)
                }
                News::Failed { reason, retryable } => {
                    self.settled = true;
                    LinkEvent::StartFailed { reason, retryable }
                }
                News::Gone => {
                    self.settled = true;
                    continue;
                }
                // A process that ends closes its socket: how it ended says more.
                News::HungUp if self.child.ended().is_some() => {
                    self.ended = true;
                    continue;
                }
                News::HungUp => LinkEvent::Broken(HUNG_UP.to_owned()),
                News::Deaf(misses) => {
                    let beat = self.ring.beat();
                    if misses == 1 {
                        self.deaf_since = beat;
                    }
                    let lived = beat.wrapping_sub(self.deaf_since);
                    if misses >= HEALTH_MISSES && lived >= BEATS_A_MISS * (misses - 1) {
                        LinkEvent::Broken("its health call does not return".to_owned())
                    } else if misses >= STILL_MISSES && lived == 0 {
                        LinkEvent::Broken("it gives no sign of life, as if it was stopped".to_owned())
                    } else {
                        continue;
                    }
                }
                News::Broken(reason) => LinkEvent::Broken(reason),
            });
        }
        self.collect();
        // Asked as soon as it can be: it ends what the process left behind, and with it the last ends of its socket.
        let ended = if self.ended { self.child.ended() } else { None };
        if ended.is_some() {
            // A process that it left behind may hold the other end open.
            self.calls.hang_up();
        }
        if let Some(how) = ended.filter(|_| self.settled && self.told.is_empty()) {
            // What it finished before it ended counts.
            self.collect();
            self.leave(how);
        }
        self.told.pop_front()
    }

    fn kill(&mut self) {
        self.killed = true;
        self.leaving.store(true, Ordering::Relaxed);
        self.child.kill();
    }

    fn end(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.calls.end();
    }

    fn beat(&self) -> Option<u32> {
        Some(self.ring.beat())
    }

    fn memory(&self) -> Option<u64> {
        resident_bytes(self.child.id())
    }

    fn process(&self) -> Option<u32> {
        Some(self.child.id())
    }

    fn wait(&mut self, mailbox: BorrowedFd<'_>, patience: Option<Duration>) {
        if self.over {
            return super::sleep(&mut [PollFd::from_borrowed_fd(mailbox, PollFlags::IN)], patience);
        }
        // What is done already, or broken, is not waited for; whether the process still lives is seen even so.
        let idle = !self.ring_broken && self.ring.sleep();
        let patience = if idle || self.ring_broken { patience } else { Some(Duration::ZERO) };
        let mut ends = [
            PollFd::from_borrowed_fd(mailbox, PollFlags::IN),
            PollFd::from_borrowed_fd(self.ring.bell().as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.child.pidfd(), PollFlags::IN),
        ];
        // The pidfd of one that has ended is always readable; what is waited for then is how its opening came out.
        let count = if self.ended { 2 } else { 3 };
        super::sleep(&mut ends[..count], patience);
        let rung = !ends[1].revents().is_empty();
        self.ended |= !ends[2].revents().is_empty();
        self.ring.wake(rung);
    }
}

impl Drop for ProcessLink {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.calls.hang_up();
    }
}

/// Creates the instance, on a thread that may wait.
struct Opener {
    name: String,
    config: Value,
    expected_id: Option<String>,
    calls: Arc<Calls>,
}

impl Opener {
    /// The error is none when the process is gone.
    fn open(&self, greeting: &Greeting) -> Result<Opened, Option<Error>> {
        let refused = |reason: String| Some(Error::unsupported(reason));
        // The supervisor's own deadline ends what takes too long, by ending the process.
        let hello: Hello = match greeting.wait(None) {
            Ok(Ok(hello)) => hello,
            Ok(Err(refusal)) => return Err(Some(Error::unsupported(refusal))),
            Err(mpsc::RecvTimeoutError::Disconnected | mpsc::RecvTimeoutError::Timeout) => return Err(None),
        };
        let descriptor = hello.descriptor().map_err(refused)?;
        if let Some(expected) = self.expected_id.as_ref().filter(|expected| **expected != descriptor.id) {
            let found = &descriptor.id;
            return Err(refused(format!("plugin.toml says id {expected}, the plugin itself says {found}")));
        }
        let job = Job::new();
        let progress = JobProgress { job: &job, backend: &self.name };
        match self.calls.create(&self.config, &progress, None) {
            Ok(()) => {}
            Err(CallError::Failed(error)) => {
                let message = format!("create: {error}");
                return Err(Some(Error { message, ..error }));
            }
            Err(CallError::Gone(_) | CallError::TimedOut { .. }) => return Err(None),
        }
        let (origin, control) = (hello.origin, Control::Remote(self.calls.clone()));
        Ok(Opened { descriptor, origin, control })
    }
}

/// Asks now and then; returns why it is of no more use, or nothing once nobody wants to know any more. `deaf` hears how
/// many times in a row there was no answer.
fn watch_health(calls: &Calls, leaving: &AtomicBool, deaf: impl Fn(u32)) -> Option<String> {
    let mut misses = 0;
    while !leaving.load(Ordering::Relaxed) {
        match calls.health(HEALTH_PERIOD) {
            Ok(health) if health.state == HealthState::Broken => {
                return Some(format!("it calls itself broken: {}", health.message));
            }
            Ok(_) | Err(CallError::Failed(_)) => misses = 0,
            // Whether it hangs or is starved, its heartbeat tells.
            Err(CallError::TimedOut { .. }) => {
                misses += 1;
                deaf(misses);
            }
            Err(CallError::Gone(_)) => return None,
        }
        thread::sleep(HEALTH_PERIOD);
    }
    None
}
