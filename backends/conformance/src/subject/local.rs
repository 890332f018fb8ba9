//! A backend in this very process, through the loader: for backends that are linked in, where nobody expects a crash.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use lipcast_plugins_api::author::LinkedPlugin;
use lipcast_plugins_api::loader::{
    self, Avatar, FrameRequest, HostServices, Inferer, Instance, Plugin, Progress, Session, Slot, Source,
    monotonic_ns,
};
use lipcast_plugins_api::types::{Code, Descriptor, Error, Health, LogLevel, SessionParams};
use serde_json::Value;

use super::{Ask, Drawn, Fault, Launcher, LoadedAvatar, Refused, Reply, Subject};

/// Which backend runs in this process.
pub enum Linked {
    /// A shared library.
    Library(PathBuf),
    /// One that is linked into this program.
    Table(LinkedPlugin),
}

/// Starts backends in this process. A fault of theirs is a fault of this process.
pub struct LocalLauncher(pub Linked);

impl Launcher for LocalLauncher {
    fn launch(&self, _patience: std::time::Duration) -> Result<Box<dyn Subject>, Refused> {
        let plugin = match &self.0 {
            Linked::Library(path) => Plugin::open(path),
            Linked::Table(table) => Plugin::linked(*table),
        };
        let plugin =
            plugin.map_err(|error| Refused { reason: error.refusal.to_string(), lines: Vec::new() })?;
        Ok(Box::new(Local {
            plugin,
            log: Arc::default(),
            instance: Mutex::default(),
            avatars: Arc::default(),
            next: AtomicU64::new(1),
            worker: Mutex::default(),
        }))
    }

    fn origin(&self) -> String {
        match &self.0 {
            Linked::Library(path) => path.display().to_string(),
            Linked::Table(_) => "linked backend".to_owned(),
        }
    }
}

type Avatars = Arc<Mutex<HashMap<u64, Avatar>>>;
type Job = Box<dyn FnOnce(&mut Worker) + Send>;

struct Local {
    plugin: Plugin,
    log: Arc<Log>,
    instance: Mutex<Option<Instance>>,
    avatars: Avatars,
    next: AtomicU64,
    worker: Mutex<Option<Sender<Job>>>,
}

/// What lives on the instance's one thread.
struct Worker {
    inferer: Inferer,
    sessions: HashMap<u64, Open>,
}

struct Open {
    session: Session,
    slot_len: usize,
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl HostServices for Log {
    fn log(&self, level: LogLevel, target: &str, message: &str, _fields_json: &str) {
        lock(&self.0).push(format!("{level:?} {target}: {message}"));
    }
}

impl Local {
    fn instance(&self) -> Reply<Instance> {
        lock(&self.instance).clone().ok_or_else(|| said(Code::NotReady, "nothing is created yet"))
    }

    fn avatar(&self, id: u64) -> Reply<Avatar> {
        lock(&self.avatars).get(&id).cloned().ok_or_else(|| said(Code::NotFound, "no such avatar"))
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs `job` on the instance's thread and waits for it.
    fn on_worker<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Worker) -> Result<T, Error> + Send + 'static,
    ) -> Reply<T> {
        let (answer, answered) = channel();
        let job: Job = Box::new(move |worker| drop(answer.send(job(worker))));
        let worker = lock(&self.worker);
        let worker = worker.as_ref().ok_or_else(|| said(Code::NotReady, "nothing is created yet"))?.clone();
        worker.send(job).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?.map_err(Fault::Said)
    }
}

impl Subject for Local {
    fn descriptor(&self) -> &Descriptor {
        self.plugin.descriptor()
    }

    fn process(&self) -> Option<u32> {
        None
    }

    fn create(&self, config: &Value, progress: &dyn Progress) -> Reply<()> {
        let instance = self.plugin.create(self.log.clone(), config, progress).map_err(Fault::Said)?;
        *lock(&self.instance) = Some(instance.clone());
        let (sender, jobs) = channel::<Job>();
        thread::spawn(move || {
            let Ok(inferer) = instance.inferer() else { return };
            drop(instance);
            let mut worker = Worker { inferer, sessions: HashMap::new() };
            jobs.into_iter().for_each(|job| job(&mut worker));
        });
        *lock(&self.worker) = Some(sender);
        Ok(())
    }

    fn describe(&self) -> Reply<Value> {
        self.instance()?.describe().map_err(Fault::Said)
    }

    fn health(&self) -> Reply<Health> {
        Ok(self.instance()?.health())
    }

    fn stats(&self) -> Reply<Option<Value>> {
        self.instance()?.stats().map_err(Fault::Said)
    }

    fn prepare(&self, source: &mut dyn Source, params: &Value, progress: &dyn Progress) -> Reply<Vec<u8>> {
        let mut blob = Vec::new();
        self.instance()?.prepare_avatar(source, params, &mut blob, progress).map_err(Fault::Said)?;
        Ok(blob)
    }

    fn load(&self, blob: &[u8]) -> Reply<LoadedAvatar> {
        let avatar = self.instance()?.load_avatar(blob).map_err(Fault::Said)?;
        let info = *avatar.info();
        for frame in 0..info.frame_count {
            avatar.frame_mask(frame).map_err(Fault::Said)?;
        }
        let id = self.number();
        lock(&self.avatars).insert(id, avatar);
        Ok(LoadedAvatar { id, info })
    }

    fn unload(&self, avatar: u64) -> Reply<()> {
        let unloaded = lock(&self.avatars).remove(&avatar);
        unloaded.map(drop).ok_or_else(|| said(Code::NotFound, "no such avatar"))
    }

    fn open(&self, avatar: u64, params: &SessionParams) -> Reply<u64> {
        let (avatar, params, id) = (self.avatar(avatar)?, params.clone(), self.number());
        self.on_worker(move |worker| {
            let session = worker.inferer.open_session(&avatar, &params)?;
            worker.sessions.insert(id, Open { session, slot_len: avatar.slot_len() });
            Ok(id)
        })
    }

    fn push(&self, session: u64, first_sample: u64, pcm: &[f32], end: bool) -> Reply<()> {
        let pcm = pcm.to_vec();
        self.on_worker(move |worker| worker.session(session)?.session.push_audio(first_sample, &pcm, end))
    }

    fn reset(&self, session: u64, epoch: u32) -> Reply<()> {
        self.on_worker(move |worker| worker.session(session)?.session.reset(epoch))
    }

    fn close(&self, session: u64) -> Reply<()> {
        self.on_worker(move |worker| {
            worker.sessions.remove(&session).map(drop).ok_or_else(|| Error::not_found("no such session"))
        })
    }

    fn infer(&self, requests: &[Ask]) -> Reply<Vec<Result<Drawn, Error>>> {
        let requests = requests.to_vec();
        self.on_worker(move |worker| worker.infer(&requests))
    }

    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn end(&self) -> Reply<()> {
        drop(self.on_worker(|worker| {
            worker.sessions.clear();
            Ok(())
        }));
        lock(&self.worker).take();
        lock(&self.avatars).clear();
        lock(&self.instance).take();
        Ok(())
    }

    fn kill(&self) {}

    fn lines(&self) -> Vec<String> {
        lock(&self.log.0).clone()
    }

    fn said(&self) -> usize {
        lock(&self.log.0).len()
    }
}

impl Worker {
    fn session(&mut self, id: u64) -> Result<&mut Open, Error> {
        self.sessions.get_mut(&id).ok_or_else(|| Error::not_found("no such session"))
    }

    fn infer(&mut self, asks: &[Ask]) -> Result<Vec<Result<Drawn, Error>>, Error> {
        let mut slots = Vec::with_capacity(asks.len());
        for ask in asks {
            let mut slot = Slot::new(self.session(ask.session)?.slot_len);
            if let Some(value) = ask.blank {
                slot.fill(value);
            }
            slots.push(slot);
        }
        let mut requests: Vec<_> = asks
            .iter()
            .zip(&mut slots)
            .map(|(ask, slot)| FrameRequest {
                session: &self.sessions[&ask.session].session,
                epoch: ask.epoch,
                seq: ask.seq,
                frame: ask.frame,
                avatar_frame: ask.avatar_frame,
                deadline_ns: ask.deadline_ns,
                first: ask.first,
                last: ask.last,
                discard_ok: ask.discard_ok,
                slot,
                result: Err(Error::new(Code::NotReady, "not asked yet")),
            })
            .collect();
        self.inferer.infer_batch(&mut requests);
        let results: Vec<_> = requests.into_iter().map(|request| request.result).collect();
        let drawn = |(result, slot): (Result<loader::FrameResult, Error>, &Slot)| {
            result.map(|result| {
                let picture = if result.unchanged { Vec::new() } else { result.picture(slot).to_vec() };
                Drawn { result, picture }
            })
        };
        Ok(results.into_iter().zip(&slots).map(drawn).collect())
    }
}

fn said(code: Code, message: &str) -> Fault {
    Fault::Said(Error::new(code, message))
}

fn gone() -> Fault {
    Fault::Lost("the instance's thread is gone".to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
