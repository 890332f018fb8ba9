//! The control socket, served: what is short at once, what may take long on a thread of its own.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use lipcast_plugins_api::loader::{Instance, Plugin};
use lipcast_plugins_api::types::{Code, Error};
use lipcast_wire::control::Packet;
use lipcast_wire::memory::{FileBytes, SharedMemory};
use lipcast_wire::message::{
    AvatarMessage, Call, FromChild, FromParent, HealthMessage, LoadedMessage, SourceMessage,
};
use lipcast_wire::ring::Stopper;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::avatars::{self, Avatars, Slots};
use crate::prepare::{Questions, RemoteSink, RemoteSource, Running};
use crate::voice::Voice;

/// What all threads share.
pub(crate) struct Desk {
    pub(crate) avatars: Avatars,
    plugin: Plugin,
    voice: Voice,
    questions: Arc<Questions>,
    instance: Mutex<Option<Instance>>,
    /// Calls that run, and what tells them to end early.
    running: Mutex<HashMap<u64, Arc<AtomicBool>>>,
    stopper: Stopper,
    /// The number of the call that wants the end.
    ending: Mutex<Option<u64>>,
    /// Hands the instance to the thread that performs.
    created: Mutex<Option<mpsc::Sender<Instance>>>,
}

/// What a call gives: an object, and a descriptor beside it.
type Reply = Result<(Value, Option<OwnedFd>), Error>;

/// Serves on a thread of its own. The instance arrives once it is created; nothing does when the parent goes before.
pub(crate) fn serve(plugin: Plugin, voice: Voice, stopper: Stopper) -> (Arc<Desk>, mpsc::Receiver<Instance>) {
    let (created, instance) = mpsc::channel();
    let desk = Arc::new(Desk {
        avatars: Avatars::default(),
        plugin,
        voice,
        questions: Arc::default(),
        instance: Mutex::default(),
        running: Mutex::default(),
        stopper,
        ending: Mutex::default(),
        created: Mutex::new(Some(created)),
    });
    let reader = desk.clone();
    thread::spawn(move || reader.read());
    (desk, instance)
}

impl Desk {
    /// After the last call: everything of the plugin goes, and the parent is told.
    pub(crate) fn finish(&self) {
        self.avatars.clear();
        // The last one that holds it, unless a call runs beside: then the plugin's own `destroy` is left out, and the
        // process ends all the same.
        let instance = lock(&self.instance).take();
        drop(instance);
        if let Some(number) = *lock(&self.ending) {
            self.reply(number, Ok((json!({}), None)));
        }
    }

    fn read(self: &Arc<Self>) {
        while let Some(Packet { bytes, descriptors }) = self.voice.listen() {
            match serde_json::from_slice(&bytes) {
                Ok(FromParent::Call { number, call }) => self.obey(number, call, descriptors),
                Ok(FromParent::Answer { answer, outcome }) => {
                    self.questions.answer(answer, outcome, descriptors);
                }
                Ok(FromParent::Cancel { cancel }) => {
                    if let Some(cancelled) = lock(&self.running).get(&cancel) {
                        cancelled.store(true, Ordering::Relaxed);
                    }
                }
                Err(error) => eprintln!("the parent sent something that is no message: {error}"),
            }
        }
        self.questions.close();
        // The parent is gone, or wants nothing to do with us: nobody is left to say goodbye to, and a plugin that
        // hangs must not keep the process.
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }

    fn obey(self: &Arc<Self>, number: u64, call: Call, descriptors: Vec<OwnedFd>) {
        match call {
            Call::Health {} => self.reply(number, self.health()),
            Call::Stats {} => self.reply(number, self.stats()),
            Call::AttachSlots { avatar, count, len, stride } => {
                let slots = one(descriptors).and_then(|file| Slots::open(file, count, len, stride));
                let attached = slots.and_then(|slots| self.avatars.attach(avatar, slots));
                self.reply(number, attached.map(|()| (json!({}), None)));
            }
            Call::End {} => {
                *lock(&self.ending) = Some(number);
                // One that never created anything ends here too.
                lock(&self.created).take();
                self.stopper.stop();
            }
            call => {
                let cancelled = Arc::new(AtomicBool::new(false));
                lock(&self.running).insert(number, cancelled.clone());
                let desk = self.clone();
                let running = Running {
                    voice: self.voice.clone(),
                    questions: self.questions.clone(),
                    number,
                    cancelled,
                };
                let work = move || {
                    let reply = desk.work(&running, call, descriptors);
                    lock(&desk.running).remove(&number);
                    desk.reply(number, reply);
                };
                if let Err(error) = thread::Builder::new().spawn(work) {
                    lock(&self.running).remove(&number);
                    self.reply(number, Err(Error::internal(format!("no thread for it: {error}"))));
                }
            }
        }
    }

    /// Calls that may take long.
    fn work(&self, running: &Running, call: Call, descriptors: Vec<OwnedFd>) -> Reply {
        match call {
            Call::Create { config } => self.create(running, &config),
            Call::Describe {} => Ok((self.instance()?.describe()?, None)),
            Call::PrepareAvatar { source, params, transfer_len } => {
                self.prepare(running, source, &params, transfer_len, descriptors)
            }
            Call::LoadAvatar { avatar, len } => {
                let file = one(descriptors)?;
                let blob = FileBytes::map(&file, len).map_err(|error| Error::internal(error.to_string()))?;
                let loaded = self.instance()?.load_avatar(blob.bytes())?;
                let masks = avatars::masks(&loaded)?;
                let message = LoadedMessage { info: AvatarMessage::from(loaded.info()) };
                self.avatars.insert(avatar, loaded);
                let beside = masks.and_then(|masks| masks.file().try_clone_to_owned().ok());
                Ok((serde_json::to_value(message).unwrap_or_default(), beside))
            }
            Call::UnloadAvatar { avatar } => {
                self.avatars.remove(avatar);
                Ok((json!({}), None))
            }
            other => Err(Error::unsupported(format!("{} is answered elsewhere", other.name()))),
        }
    }

    fn create(&self, running: &Running, config: &Value) -> Reply {
        let Some(created) = lock(&self.created).take() else {
            return Err(Error::new(Code::NotReady, "it was created already"));
        };
        let services = Arc::new(self.voice.clone());
        match self.plugin.create(services, config, running) {
            Ok(instance) => {
                *lock(&self.instance) = Some(instance.clone());
                let _ = created.send(instance);
                Ok((json!({}), None))
            }
            Err(error) => {
                // It may be tried again.
                *lock(&self.created) = Some(created);
                Err(error)
            }
        }
    }

    fn prepare(
        &self,
        running: &Running,
        message: SourceMessage,
        params: &Value,
        transfer_len: u64,
        descriptors: Vec<OwnedFd>,
    ) -> Reply {
        let transfer = SharedMemory::open(one(descriptors)?, transfer_len as usize)
            .map_err(|error| Error::invalid_arg(error.to_string()))?;
        let mut source = RemoteSource { running, transfer: &transfer, message };
        let sink = RemoteSink { running, transfer: &transfer };
        // Small writes of a plugin become few messages.
        let mut sink = BufWriter::with_capacity(1 << 20, sink);
        self.instance()?.prepare_avatar(&mut source, params, &mut sink, running)?;
        sink.flush().map_err(|error| Error::internal(error.to_string()))?;
        Ok((json!({}), None))
    }

    fn health(&self) -> Reply {
        let message = HealthMessage::from(self.instance()?.health());
        Ok((serde_json::to_value(message).unwrap_or_default(), None))
    }

    fn stats(&self) -> Reply {
        Ok((self.instance()?.stats()?.unwrap_or_else(|| json!({})), None))
    }

    fn instance(&self) -> Result<Instance, Error> {
        lock(&self.instance).clone().ok_or_else(|| Error::new(Code::NotReady, "it is not created yet"))
    }

    fn reply(&self, number: u64, reply: Reply) {
        match reply {
            Ok((ok, file)) => {
                let beside: Vec<_> = file.iter().map(AsFd::as_fd).collect();
                if let Err(error) = self.voice.say_with(&FromChild::Done { reply: number, ok }, &beside) {
                    // What does not fit into a packet is an answer all the same.
                    let error = (&Error::new(Code::BadOutput, format!("its reply: {error}"))).into();
                    self.voice.say(&FromChild::Failed { reply: number, error });
                }
            }
            Err(error) => self.voice.say(&FromChild::Failed { reply: number, error: (&error).into() }),
        }
    }
}

fn one(descriptors: Vec<OwnedFd>) -> Result<OwnedFd, Error> {
    descriptors
        .into_iter()
        .next()
        .ok_or_else(|| Error::invalid_arg("a descriptor is missing beside the call"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics while it holds a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
