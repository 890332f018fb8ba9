//! A backend in a process of its own, through the protocol: a plugin in `backend-host`, or a program that is one.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lipcast_plugins_api::abi;
use lipcast_plugins_api::loader::{Progress, Source};
use lipcast_plugins_api::types::{
    Code, Descriptor, Error, Health, LogLevel, MetricKind, SessionMode, SessionParams,
};
use lipcast_wire::client::{Blocking, CallError, Calls, Events, Host, RemoteAvatar};
use lipcast_wire::layout::{PUSH_SAMPLES, request};
use lipcast_wire::op::{Op, Request};
use lipcast_wire::spawn::ChildCommand;
use rustix::process::{Signal, pidfd_send_signal};
use serde_json::Value;

use super::{
    Ask, Drawn, Fault, HELLO_LIMIT, Inspect, Launcher, LoadedAvatar, Refused, Reply, Subject, inspect,
};

/// Starts a backend in a process, as a server does.
#[derive(Clone, Debug)]
pub struct ProcessLauncher {
    /// `backend-host` with a library, or a program that speaks the protocol itself.
    pub command: ChildCommand,
    /// The library, where `command` is `backend-host`: it is also opened by hand.
    pub library: Option<PathBuf>,
    /// Libraries that are opened before it, in order.
    pub preload: Vec<PathBuf>,
    /// For the head of the report.
    pub origin: String,
}

impl ProcessLauncher {
    /// The library at `path` in the `backend-host` at `host`, which opens those of `preload` first.
    pub fn library(host: &Path, path: &Path, preload: &[PathBuf]) -> Self {
        let before = preload.iter().flat_map(|library| ["--preload".into(), library.into()]);
        Self {
            command: ChildCommand {
                program: host.to_owned(),
                arguments: before.chain([path.into()]).collect(),
                folder: None,
                core_dumps: false,
            },
            library: Some(path.to_owned()),
            preload: preload.to_owned(),
            origin: path.display().to_string(),
        }
    }
}

impl Launcher for ProcessLauncher {
    fn launch(&self, patience: Duration) -> Result<Box<dyn Subject>, Refused> {
        let log = Arc::new(Log::default());
        let host = Host::start(&self.command, log.clone(), HELLO_LIMIT).map_err(|error| {
            // What it printed comes through a pipe that may still be read.
            thread::sleep(Duration::from_millis(50));
            Refused { reason: error.to_string(), lines: log.lines() }
        })?;
        let failed = |error: std::io::Error| Refused { reason: error.to_string(), lines: Vec::new() };
        let mut ring = host.into_blocking();
        let process = ring.child().id();
        let pidfd = ring.child().pidfd().try_clone_to_owned().map_err(failed)?;
        Ok(Box::new(Remote {
            descriptor: ring.descriptor().clone(),
            calls: ring.calls().clone(),
            ring: Mutex::new(ring),
            process,
            pidfd,
            patience,
            log,
            avatars: Mutex::default(),
            sessions: Mutex::default(),
            next: AtomicU64::new(1),
        }))
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn library(&self) -> Option<&Path> {
        self.library.as_deref()
    }

    fn inspect(&self, what: Inspect, config: &Value) -> Option<Result<Value, Refused>> {
        let library = self.library.as_deref()?;
        Some(inspect::run(&self.command.program, &self.preload, what, library, config))
    }
}

/// Lines kept of a log.
const LINES: usize = 200;

struct Remote {
    descriptor: Descriptor,
    calls: Arc<Calls>,
    ring: Mutex<Blocking>,
    process: u32,
    pidfd: OwnedFd,
    patience: Duration,
    log: Arc<Log>,
    avatars: Mutex<HashMap<u64, Arc<RemoteAvatar>>>,
    sessions: Mutex<HashMap<u64, Arc<RemoteAvatar>>>,
    next: AtomicU64,
}

#[derive(Default)]
struct Log {
    lines: Mutex<VecDeque<String>>,
    said: AtomicUsize,
}

impl Log {
    fn keep(&self, line: String) {
        self.said.fetch_add(1, Ordering::Relaxed);
        let mut lines = lock(&self.lines);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn lines(&self) -> Vec<String> {
        lock(&self.lines).iter().cloned().collect()
    }
}

impl Events for Log {
    fn log(&self, level: LogLevel, target: &str, message: &str, _fields: &Value) {
        self.keep(format!("{level:?} {target}: {message}"));
    }

    fn output(&self, line: &str) {
        self.keep(line.to_owned());
    }

    fn dropped(&self, lines: u64) {
        self.keep(format!("({lines} lines left out: more than a hundred a second)"));
    }

    fn metric(&self, _name: &str, _kind: MetricKind, _value: f64, _labels: &Value) {}

    fn closed(&self, _reason: &str) {}
}

impl Remote {
    fn fault(&self, error: CallError) -> Fault {
        match error {
            CallError::Failed(error) => Fault::Said(error),
            CallError::Gone(reason) => Fault::Lost(self.obituary(&reason)),
            CallError::TimedOut { call, after } => {
                let seconds = after.as_secs_f64();
                Fault::Lost(format!("no answer to {call} within {seconds:.0} s{}", self.standing()))
            }
        }
    }

    /// Whether somebody has stopped the process: for the end of a sentence.
    fn standing(&self) -> &'static str {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process)).unwrap_or_default();
        // The state stands behind the name, which may hold anything.
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        if state == Some('T') { ": its process was stopped by a signal" } else { "" }
    }

    /// How the process ended, if it does so soon; `reason` if not.
    fn obituary(&self, reason: &str) -> String {
        let limit = Instant::now() + Duration::from_secs(1);
        while Instant::now() < limit {
            if let Some(how) = lock(&self.ring).ended() {
                // Its last words may still be in the pipe.
                thread::sleep(Duration::from_millis(30));
                return format!("its process was lost: {how}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        format!("its process was lost: {reason}")
    }

    fn run(&self, op: &Op) -> Reply<()> {
        let result = lock(&self.ring).run(op, self.patience);
        result.map_err(|error| self.fault(error))
    }

    fn avatar_of(&self, session: u64) -> Reply<Arc<RemoteAvatar>> {
        let missing = || Fault::Said(Error::new(Code::NotFound, "no such session"));
        lock(&self.sessions).get(&session).cloned().ok_or_else(missing)
    }
}

impl Subject for Remote {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn process(&self) -> Option<u32> {
        Some(self.process)
    }

    fn create(&self, config: &Value, progress: &dyn Progress) -> Reply<()> {
        self.calls.create(config, progress, None).map_err(|error| self.fault(error))
    }

    fn describe(&self) -> Reply<Value> {
        self.calls.describe(self.patience).map_err(|error| self.fault(error))
    }

    fn health(&self) -> Reply<Health> {
        self.calls.health(self.patience).map_err(|error| self.fault(error))
    }

    fn stats(&self) -> Reply<Option<Value>> {
        let stats = self.calls.stats(self.patience).map_err(|error| self.fault(error))?;
        Ok(Some(stats).filter(|stats| !stats.is_null()))
    }

    fn prepare(&self, source: &mut dyn Source, params: &Value, progress: &dyn Progress) -> Reply<Vec<u8>> {
        let mut blob = Vec::new();
        self.calls.prepare_avatar(source, params, &mut blob, progress).map_err(|error| self.fault(error))?;
        Ok(blob)
    }

    fn load(&self, blob: &[u8]) -> Reply<LoadedAvatar> {
        let slots = self.descriptor.capabilities.max_batch.min(request::MOST as u32);
        let avatar = self.calls.load_avatar(blob, slots, None).map_err(|error| self.fault(error))?;
        let loaded = LoadedAvatar { id: avatar.id(), info: *avatar.info() };
        lock(&self.avatars).insert(loaded.id, Arc::new(avatar));
        Ok(loaded)
    }

    fn unload(&self, avatar: u64) -> Reply<()> {
        let avatar = lock(&self.avatars).remove(&avatar);
        drop(avatar.ok_or_else(|| Fault::Said(Error::new(Code::NotFound, "no such avatar")))?);
        // Nobody answers to the unloading; who answers to this has done it.
        self.describe().map(drop)
    }

    fn open(&self, avatar: u64, params: &SessionParams) -> Reply<u64> {
        let loaded = lock(&self.avatars).get(&avatar).cloned();
        let loaded = loaded.ok_or_else(|| Fault::Said(Error::new(Code::NotFound, "no such avatar")))?;
        let session = self.next.fetch_add(1, Ordering::Relaxed);
        self.run(&Op::Open {
            session,
            avatar,
            whole: params.mode == SessionMode::Whole,
            fps: params.fps,
            params: params.params.to_string(),
        })?;
        lock(&self.sessions).insert(session, loaded);
        Ok(session)
    }

    fn push(&self, session: u64, first_sample: u64, pcm: &[f32], end: bool) -> Reply<()> {
        let pieces = pcm.len().div_ceil(PUSH_SAMPLES).max(1);
        for piece in 0..pieces {
            let from = piece * PUSH_SAMPLES;
            let until = pcm.len().min(from + PUSH_SAMPLES);
            self.run(&Op::Push {
                session,
                first_sample: first_sample.saturating_add(from as u64),
                pcm: pcm[from..until].to_vec(),
                end: end && piece + 1 == pieces,
            })?;
        }
        Ok(())
    }

    fn reset(&self, session: u64, epoch: u32) -> Reply<()> {
        self.run(&Op::Reset { session, epoch })
    }

    fn close(&self, session: u64) -> Reply<()> {
        lock(&self.sessions).remove(&session);
        self.run(&Op::Close { session })
    }

    fn infer(&self, asks: &[Ask]) -> Reply<Vec<Result<Drawn, Error>>> {
        let mut used: HashMap<u64, u32> = HashMap::new();
        let mut wanted = Vec::with_capacity(asks.len());
        for ask in asks {
            let avatar = self.avatar_of(ask.session)?;
            let slot = used.entry(avatar.id()).or_default();
            if let Some(value) = ask.blank {
                avatar.fill(*slot, value);
            }
            wanted.push((request_of(ask, *slot), avatar));
            *slot += 1;
        }
        let requests: Vec<Request> = wanted.iter().map(|(request, _)| *request).collect();
        let answers = lock(&self.ring).infer(&requests, self.patience);
        let answers = answers.map_err(|error| self.fault(error))?;
        let checked = |(answer, (request, avatar)): (Result<_, Error>, &(Request, Arc<RemoteAvatar>))| {
            let drawn = match answer {
                Ok(drawn) => drawn,
                Err(_) if !avatar.is_intact(request.slot) => return Err(overrun()),
                Err(error) => return Err(error),
            };
            let (result, intact) = avatar.check(request, &drawn);
            if !intact {
                return Err(overrun());
            }
            let result = result?;
            let picture = if result.unchanged { Vec::new() } else { avatar.picture(request.slot, &result) };
            Ok(Drawn { result, picture })
        };
        Ok(answers.into_iter().zip(&wanted).map(checked).collect())
    }

    fn now_ns(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }

    fn end(&self) -> Reply<()> {
        let sessions: Vec<u64> = lock(&self.sessions).keys().copied().collect();
        for session in sessions {
            self.close(session)?;
        }
        lock(&self.avatars).clear();
        self.calls.end();
        let limit = Instant::now() + Duration::from_secs(15);
        while Instant::now() < limit {
            match lock(&self.ring).ended() {
                Some(how) if how == "exited with 0" => return Ok(()),
                Some(how) => return Err(Fault::Lost(format!("its process ended badly: {how}"))),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
        Err(Fault::Lost("its process does not end".to_owned()))
    }

    fn kill(&self) {
        // One that has ended needs no end.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), Signal::KILL);
    }

    fn lines(&self) -> Vec<String> {
        self.log.lines()
    }

    fn said(&self) -> usize {
        self.log.said.load(Ordering::Relaxed)
    }
}

fn request_of(ask: &Ask, slot: u32) -> Request {
    let flag = |set, bit| if set { bit } else { 0 };
    Request {
        session: ask.session,
        seq: ask.seq,
        frame: ask.frame,
        deadline_ns: ask.deadline_ns,
        epoch: ask.epoch,
        avatar_frame: ask.avatar_frame,
        flags: flag(ask.first, abi::REQUEST_FIRST)
            | flag(ask.last, abi::REQUEST_LAST)
            | flag(ask.discard_ok, abi::REQUEST_DISCARD_OK),
        slot,
    }
}

fn overrun() -> Error {
    Error::new(Code::BadOutput, "the backend wrote behind the end of its output slot")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
