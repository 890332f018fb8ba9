//! The thread that owns the networks: they are made, used and dropped there, since a runtime may want that.
//!
//! In: jobs over two bounded channels. Out: answers over a channel of the caller's. Speech that somebody
//! waits for comes before preparation, which goes in pieces short enough to wait for: a batch of the encoder
//! at most.
//!
//! A panic of the networks, or a device that is lost, ends them for good: the job gets an error, and so does
//! each one after it, so that no caller waits for an answer that cannot come. [`Worker::broken`] tells the
//! rest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, bounded, select,
};
use lipcast_plugins_api::author::{Code, Error, Host, LogLevel, Operation};

use crate::bundle::Bundle;
use crate::networks::{Device, Network, NetworkError, Networks, Tensor};
use crate::settings::RuntimeSettings;

/// The networks' log lines go under this name.
pub(crate) const LOG: &str = "musetalk";
/// One job waits while one is done: the inference thread asks for one thing at a time, and who prepares waits
/// anyway.
const QUEUE: usize = 1;
/// How often one who waits looks whether he is to give up.
const LOOK: Duration = Duration::from_millis(50);

/// A job and where its answer goes. What was lent comes back with the answer, also with an error.
enum Job {
    Run { network: Network, inputs: Vec<Tensor>, reply: Sender<Answer<Vec<Tensor>, Vec<Tensor>>> },
    Generate { faces: Faces, reply: Sender<Answer<Faces, ()>> },
    Release,
}

/// What was lent, and what became of the job.
type Answer<L, T> = (L, Result<T, Error>);

/// What [`Networks::generate`] takes and fills, lent to the worker and back.
#[derive(Debug, Default)]
pub(crate) struct Faces {
    /// `[n, 8, 32, 32]`.
    pub(crate) latents: Vec<f32>,
    /// `[n, 50, 384]`.
    pub(crate) audio: Vec<f32>,
    /// `[n, 256, 256, 3]`.
    pub(crate) frames: Vec<u8>,
}

/// The thread, and the ways to it.
pub(crate) struct Worker {
    live: Option<Sender<Job>>,
    background: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    broken: Arc<OnceLock<String>>,
    device: Device,
    there: Vec<Network>,
}

/// Whose job comes first.
#[derive(Clone, Copy)]
pub(crate) enum Urgency<'a> {
    /// A viewer waits for it.
    Live,
    /// It comes after all that is live, and its caller gives up when the operation is cancelled.
    Background(&'a Operation<'a>),
}

impl Worker {
    /// Starts the thread and loads the networks there.
    ///
    /// # Errors
    /// What the runtime said; `CANCELLED` at once when the operation is, while the thread loads to the end,
    /// since a runtime cannot be stopped at that, and then goes.
    pub(crate) fn start<N: Networks>(
        bundle: &Bundle,
        settings: &RuntimeSettings,
        host: Host,
        operation: &Operation<'_>,
    ) -> Result<Self, Error> {
        let (live, live_jobs) = bounded(QUEUE);
        let (background, background_jobs) = bounded(QUEUE);
        let (opened, opening) = bounded(1);
        let broken = Arc::<OnceLock<String>>::default();
        let (bundle, settings, fate) = (bundle.clone(), settings.clone(), broken.clone());
        let thread = std::thread::Builder::new().name("musetalk".to_owned()).spawn(move || {
            let log = |line: &str| host.log(LogLevel::Info, LOG, line);
            let networks = match guarded(|| N::open(&bundle, &settings, &log)) {
                Ok(networks) => networks,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let there = Network::ALL.into_iter().filter(|network| networks.has(*network)).collect();
            let device = networks.device();
            if opened.send(Ok((device, there))).is_ok() {
                serve(networks, &live_jobs, &background_jobs, &fate);
            }
        });
        let thread =
            thread.map_err(|error| Error::internal(format!("no thread for the networks: {error}")))?;
        let (device, there): (Device, Vec<Network>) = wait(&opening, || operation.check())??;
        Ok(Self {
            live: Some(live),
            background: Some(background),
            thread: Some(thread),
            broken,
            device,
            there,
        })
    }

    /// What the networks run on.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the bundle brought `network`.
    pub(crate) fn has(&self, network: Network) -> bool {
        self.there.contains(&network)
    }

    /// Why the networks are of no more use, once they are.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    /// Runs one network. The inputs come back, so that their memory can be used again.
    ///
    /// # Errors
    /// What the runtime said, with the network's name; `CANCELLED` when the operation is.
    pub(crate) fn run(
        &self,
        network: Network,
        inputs: Vec<Tensor>,
        urgency: Urgency<'_>,
    ) -> Result<(Vec<Tensor>, Vec<Tensor>), Error> {
        let (reply, answer) = bounded(1);
        self.send(Job::Run { network, inputs, reply }, urgency)?;
        let (inputs, outputs) = wait(&answer, || self.goes_on(urgency))?;
        Ok((inputs, outputs?))
    }

    /// Draws the faces for as many frames as `faces.frames` has room for; one of the device's batch sizes.
    ///
    /// # Errors
    /// What the runtime said. `faces` keeps its memory either way.
    pub(crate) fn generate(&self, faces: &mut Faces, urgency: Urgency<'_>) -> Result<(), Error> {
        let (reply, answer) = bounded(1);
        self.send(Job::Generate { faces: std::mem::take(faces), reply }, urgency)?;
        let (lent, drawn) = wait(&answer, || self.goes_on(urgency))?;
        *faces = lent;
        drawn
    }

    /// Has what preparation alone needs given back. Nobody waits for it; where somebody prepares, it is left for when they
    /// are done.
    pub(crate) fn release(&self) {
        if let Some(queue) = &self.background {
            let _ = queue.try_send(Job::Release);
        }
    }

    fn send(&self, mut job: Job, urgency: Urgency<'_>) -> Result<(), Error> {
        let queue = match urgency {
            Urgency::Live => &self.live,
            Urgency::Background(_) => &self.background,
        };
        let queue = queue.as_ref().ok_or_else(gone)?;
        loop {
            match queue.send_timeout(job, LOOK) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Timeout(refused)) => job = refused,
                Err(SendTimeoutError::Disconnected(_)) => return Err(gone()),
            }
            self.goes_on(urgency)?;
        }
    }

    fn goes_on(&self, urgency: Urgency<'_>) -> Result<(), Error> {
        match urgency {
            Urgency::Live => Ok(()),
            Urgency::Background(operation) => operation.check(),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        (self.live, self.background) = (None, None);
        if let Some(thread) = self.thread.take() {
            // The thread catches panics; if one got through even so, there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// Waits for an answer, and looks now and then whether to go on with that.
fn wait<T>(answer: &Receiver<T>, mut goes_on: impl FnMut() -> Result<(), Error>) -> Result<T, Error> {
    loop {
        match answer.recv_timeout(LOOK) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Timeout) => goes_on()?,
            Err(RecvTimeoutError::Disconnected) => return Err(gone()),
        }
    }
}

fn gone() -> Error {
    Error::internal("the thread of the networks has ended")
}

/// Does jobs until nobody is left to send one.
fn serve<N: Networks>(
    networks: N,
    live: &Receiver<Job>,
    background: &Receiver<Job>,
    broken: &OnceLock<String>,
) {
    let mut networks = Some(networks);
    while let Some(job) = next(live, background) {
        let fault = match networks.as_mut() {
            Some(networks) => job.work(networks),
            None => {
                let why = broken.get().map_or("", String::as_str);
                job.refuse(Error::internal(format!("the networks are out of use: {why}")));
                continue;
            }
        };
        if let Some(fault) = fault {
            // Set once: from here on there are no networks that could fail again.
            let _ = broken.set(fault.to_string());
            discard(networks.take());
        }
    }
    discard(networks);
}

/// The next job, a live one if there is any; `None`: nobody can send one any more.
fn next(live: &Receiver<Job>, background: &Receiver<Job>) -> Option<Job> {
    match live.try_recv() {
        Ok(job) => return Some(job),
        // Both channels belong to one value, and end together.
        Err(TryRecvError::Disconnected) => return None,
        Err(TryRecvError::Empty) => {}
    }
    select! {
        recv(live) -> job => job.ok(),
        recv(background) -> job => job.ok(),
    }
}

impl Job {
    /// Does the job and answers it. Gives the error after which the networks are of no more use.
    fn work<N: Networks>(self, networks: &mut N) -> Option<Error> {
        // An answer that nobody waits for any more goes nowhere.
        match self {
            Self::Run { network, inputs, reply } => {
                let done = guarded(|| networks.run(network, &inputs));
                let fault = fatal(&done);
                drop(reply.send((inputs, done)));
                fault
            }
            Self::Generate { mut faces, reply } => {
                let Faces { latents, audio, frames } = &mut faces;
                let done = guarded(|| networks.generate(latents, audio, frames));
                let fault = fatal(&done);
                drop(reply.send((faces, done)));
                fault
            }
            Self::Release => fatal(&guarded(|| {
                networks.release();
                Ok(())
            })),
        }
    }

    fn refuse(self, error: Error) {
        match self {
            Self::Run { inputs, reply, .. } => drop(reply.send((inputs, Err(error)))),
            Self::Generate { faces, reply } => drop(reply.send((faces, Err(error)))),
            Self::Release => {}
        }
    }
}

fn fatal<T>(done: &Result<T, Error>) -> Option<Error> {
    let error = done.as_ref().err()?;
    [Code::BackendPanic, Code::DeviceLost].contains(&error.code).then(|| error.clone())
}

/// Calls the networks; their panic becomes an error.
fn guarded<T>(call: impl FnOnce() -> Result<T, NetworkError>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(done) => Ok(done?),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let message = format!("the networks panicked: {}", text.unwrap_or("no message"));
            // The payload's own drop may panic too; better leaked than unwound into the loop.
            std::mem::forget(panic);
            Err(Error::new(Code::BackendPanic, message))
        }
    }
}

/// Drops the networks; those that panicked may do so again.
fn discard<N>(networks: Option<N>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(networks))) {
        std::mem::forget(panic);
    }
}
