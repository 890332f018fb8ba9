//! The workbench of a check: fresh hosts, clips, blobs that are made once, and what is going on right now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lipcast_plugins_api::loader::{NoProgress, Progress, Source};
use lipcast_plugins_api::types::{AvatarInfo, Capabilities, Health, SessionMode, SessionParams};
use serde_json::Value;

use crate::Options;
use crate::footprint::Footprint;
use crate::material::Clip;
use crate::outcome::{Trouble, fails, skipped, unexpected};
use crate::subject::{Ask, Drawn, Fault, Launcher, LoadedAvatar, Reply, Subject};

/// What the checks of one run share.
pub(crate) struct Shared {
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) options: Options,
    pub(crate) clips: Vec<Clip>,
    blobs: Mutex<HashMap<usize, Arc<[u8]>>>,
    /// How long it took to be ready with an avatar, the slowest of all times.
    startup: Mutex<Duration>,
}

/// What one check works with.
pub(crate) struct Bench {
    pub(crate) shared: Arc<Shared>,
    hosts: Mutex<Vec<Arc<dyn Subject>>>,
    doing: Mutex<String>,
    over: std::sync::atomic::AtomicBool,
}

impl Shared {
    pub(crate) fn new(launcher: Arc<dyn Launcher>, options: Options) -> Self {
        let clips = match &options.clip {
            Some(clip) => vec![clip.clone(), Clip::drawn((256, 320), 4)],
            None => vec![Clip::drawn((256, 320), 12), Clip::drawn((192, 192), 5)],
        };
        Self { launcher, options, clips, blobs: Mutex::default(), startup: Mutex::default() }
    }

    /// What a check's limit grows by: models may take minutes to load.
    pub(crate) fn startup(&self) -> Duration {
        *lock(&self.startup)
    }

    fn took(&self, time: Duration) {
        let mut startup = lock(&self.startup);
        *startup = time.max(*startup);
    }
}

impl Bench {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, hosts: Mutex::default(), doing: Mutex::default(), over: false.into() }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// A clip of the check's own: 0 is the usual one, 1 has another size.
    pub(crate) fn clip(&self, index: usize) -> Clip {
        self.shared.clips[index].clone()
    }

    /// A fresh host that has not been asked anything.
    pub(crate) fn launch(&self) -> Result<Host<'_>, Trouble> {
        self.doing("starting");
        let subject = self.shared.launcher.launch(self.options().patience).map_err(|refused| {
            let mut trouble = fails(
                format!("it is not loaded: {}", refused.reason),
                "nothing else can be checked until it loads",
            );
            if let Trouble::Fails(failure) = &mut trouble {
                failure.lines = refused.lines;
            }
            trouble
        })?;
        let subject: Arc<dyn Subject> = subject.into();
        lock(&self.hosts).push(subject.clone());
        if self.over.load(std::sync::atomic::Ordering::Acquire) {
            subject.kill();
        }
        Ok(Host { bench: self, subject })
    }

    /// A fresh host with the backend created.
    pub(crate) fn ready(&self) -> Result<Host<'_>, Trouble> {
        let host = self.launch()?;
        let begin = Instant::now();
        host.create(&self.options().config, &NoProgress)?;
        self.shared.took(begin.elapsed());
        Ok(host)
    }

    /// The blob of clip `index`, made when it is first asked for.
    pub(crate) fn blob(&self, index: usize) -> Result<Arc<[u8]>, Trouble> {
        if let Some(blob) = lock(&self.shared.blobs).get(&index) {
            return Ok(blob.clone());
        }
        let begin = Instant::now();
        let blob = self.ready()?.prepare(&mut self.clip(index), &NoProgress)?;
        self.shared.took(begin.elapsed());
        let blob: Arc<[u8]> = blob.into();
        lock(&self.shared.blobs).insert(index, blob.clone());
        Ok(blob)
    }

    /// A fresh host with the avatar of clip `index` loaded.
    pub(crate) fn stage(&self, index: usize) -> Result<Stage<'_>, Trouble> {
        let blob = self.blob(index)?;
        let host = self.ready()?;
        let avatar = host.load(&blob)?;
        Ok(Stage { host, avatar })
    }

    /// Notes what is going on, for a report of what was interrupted.
    pub(crate) fn doing(&self, what: impl Into<String>) {
        *lock(&self.doing) = what.into();
    }

    pub(crate) fn was_doing(&self) -> String {
        lock(&self.doing).clone()
    }

    /// Ends all hosts at once, so that calls that wait come back.
    pub(crate) fn kill(&self) {
        self.over.store(true, std::sync::atomic::Ordering::Release);
        lock(&self.hosts).iter().for_each(|subject| subject.kill());
    }

    /// The last lines of all hosts, that of the last one at the end.
    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.hosts).last().map(|subject| subject.lines()).unwrap_or_default()
    }
}

/// A running backend whose failures are told in words.
#[derive(Clone)]
pub(crate) struct Host<'b> {
    bench: &'b Bench,
    pub(crate) subject: Arc<dyn Subject>,
}

impl Host<'_> {
    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.subject.descriptor().capabilities
    }

    /// Samples of the look-ahead.
    pub(crate) fn lookahead(&self) -> u64 {
        u64::from(self.capabilities().lookahead_ms) * 16
    }

    fn call<T>(&self, doing: &str, call: impl FnOnce(&dyn Subject) -> Reply<T>) -> Result<T, Trouble> {
        self.bench.doing(doing);
        call(&*self.subject).map_err(|fault| unexpected(doing, fault))
    }

    /// A call that may be refused, with a line that says why; `None` then. A death is a failure.
    pub(crate) fn attempt<T>(
        &self,
        doing: &str,
        call: impl FnOnce(&dyn Subject) -> Reply<T>,
    ) -> Result<Result<T, lipcast_plugins_api::types::Error>, Trouble> {
        self.bench.doing(doing);
        match call(&*self.subject) {
            Ok(value) => Ok(Ok(value)),
            Err(Fault::Said(error)) if error.message.is_empty() => Err(unexpected(doing, Fault::Said(error))),
            Err(Fault::Said(error)) => Ok(Err(error)),
            Err(lost) => Err(unexpected(doing, lost)),
        }
    }

    pub(crate) fn create(&self, config: &Value, progress: &dyn Progress) -> Result<(), Trouble> {
        self.call("create", |subject| subject.create(config, progress))
    }

    pub(crate) fn describe(&self) -> Result<Value, Trouble> {
        self.call("describe", |subject| subject.describe())
    }

    pub(crate) fn health(&self) -> Result<Health, Trouble> {
        self.call("health", |subject| subject.health())
    }

    pub(crate) fn stats(&self) -> Result<Option<Value>, Trouble> {
        self.call("stats", |subject| subject.stats())
    }

    pub(crate) fn prepare(
        &self,
        source: &mut dyn Source,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, Trouble> {
        self.call("prepare_avatar", |subject| subject.prepare(source, &Value::Null, progress))
    }

    pub(crate) fn load(&self, blob: &[u8]) -> Result<LoadedAvatar, Trouble> {
        self.call("load_avatar", |subject| subject.load(blob))
    }

    pub(crate) fn unload(&self, avatar: &LoadedAvatar) -> Result<(), Trouble> {
        self.call("unload_avatar", |subject| subject.unload(avatar.id))
    }

    pub(crate) fn open(&self, avatar: &LoadedAvatar) -> Result<u64, Trouble> {
        let params = params_of(&avatar.info);
        self.call("open_session", |subject| subject.open(avatar.id, &params))
    }

    pub(crate) fn push(&self, session: u64, first: u64, pcm: &[f32], end: bool) -> Result<(), Trouble> {
        let doing = format!("push_audio of {} samples from {first}", pcm.len());
        self.call(&doing, |subject| subject.push(session, first, pcm, end))
    }

    pub(crate) fn reset(&self, session: u64, epoch: u32) -> Result<(), Trouble> {
        self.call("reset", |subject| subject.reset(session, epoch))
    }

    pub(crate) fn close(&self, session: u64) -> Result<(), Trouble> {
        self.call("close_session", |subject| subject.close(session))
    }

    pub(crate) fn infer(
        &self,
        asks: &[Ask],
    ) -> Result<Vec<Result<Drawn, lipcast_plugins_api::types::Error>>, Trouble> {
        let frames: Vec<u64> = asks.iter().map(|ask| ask.frame).collect();
        let doing = format!("infer_batch of {} (frames {frames:?})", asks.len());
        let answers = self.call(&doing, |subject| subject.infer(asks))?;
        if answers.len() == asks.len() {
            return Ok(answers);
        }
        Err(fails(format!("{doing}: {} answers", answers.len()), "every request gets its own result"))
    }

    /// What its process holds; skips the check where the backend has none of its own.
    pub(crate) fn footprint(&self) -> Result<Footprint, Trouble> {
        let process = self.subject.process().ok_or_else(|| skipped("it runs in this process"))?;
        Footprint::of(process).ok_or_else(|| skipped("its process cannot be looked at"))
    }
}

/// What a span of work left behind.
pub(crate) struct Left {
    /// What the process held before it.
    pub(crate) before: Footprint,
    /// What it holds after it.
    pub(crate) after: Footprint,
    /// Bytes of memory that it holds more.
    pub(crate) grown: u64,
}

impl Host<'_> {
    /// Does `span` once, or up to three times while each leaves more than `most` bytes behind: a pool finds its size
    /// once, what leaks does not stop.
    pub(crate) fn left_by(
        &self,
        most: impl Fn(&Footprint) -> u64,
        mut span: impl FnMut() -> Result<(), Trouble>,
    ) -> Result<Left, Trouble> {
        let (mut before, mut spans) = (self.footprint()?, 0);
        loop {
            span()?;
            spans += 1;
            let after = self.footprint_since(&before)?;
            let grown = after.memory.saturating_sub(before.memory);
            if spans == 3 || grown <= most(&before) || !after.is_within(&before) {
                return Ok(Left { before, after, grown });
            }
            before = after;
        }
    }

    /// What its process holds once it has had time to give back what it held at `before`: the host around the plugin
    /// closes its own files and threads a moment after it answered.
    pub(crate) fn footprint_since(&self, before: &Footprint) -> Result<Footprint, Trouble> {
        let limit = Instant::now() + Duration::from_secs(1);
        loop {
            let now = self.footprint()?;
            if now.is_within(before) || Instant::now() > limit {
                return Ok(now);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A host with an avatar.
pub(crate) struct Stage<'b> {
    pub(crate) host: Host<'b>,
    pub(crate) avatar: LoadedAvatar,
}

/// A live session of the avatar's own rate.
pub(crate) fn params_of(info: &AvatarInfo) -> SessionParams {
    SessionParams { mode: SessionMode::Live, canvas: info.canvas, fps: info.fps, params: Value::Null }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
