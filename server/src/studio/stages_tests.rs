//! Who shows an avatar while what others need of it is still being made.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use lipcast_engine::avatar::Job;
use lipcast_engine::backend::{
    AvatarInfo, AvatarSource, BackendError, Backends, FrameMask, FrameReply, Idle, Instance, LoadedAvatar,
    Rest, SessionParams, SessionPort,
};
use lipcast_engine::time::FrameRate;

use super::gallery::Gallery;
use super::stages::Stages;
use crate::config::{Bases, Config};

/// A backend that prepares an avatar when the test lets it, or refuses to.
struct Slow {
    name: &'static str,
    refuses: bool,
    begun: AtomicUsize,
    go: Receiver<()>,
}

impl Slow {
    fn new(name: &'static str, refuses: bool) -> (Arc<Self>, Sender<()>) {
        let (sender, go) = unbounded();
        (Arc::new(Self { name, refuses, begun: AtomicUsize::new(0), go }), sender)
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn refusal(&self) -> BackendError {
        let backend = self.name.to_owned();
        BackendError::NotReady { backend, reason: "it does not like this face".to_owned() }
    }
}

impl Instance for Slow {
    fn name(&self) -> &str {
        self.name
    }

    fn summary(&self) -> String {
        "a test's own".to_owned()
    }

    fn blob_key(&self) -> (&str, u32) {
        (self.name, 1)
    }

    fn lookahead_samples(&self) -> u64 {
        0
    }

    fn lookbehind_samples(&self) -> u64 {
        0
    }

    fn batch_p99(&self) -> Duration {
        Duration::ZERO
    }

    fn prepare_avatar(
        &self,
        source: &mut dyn AvatarSource,
        sink: &mut (dyn Write + Send),
        job: &Job,
    ) -> Result<(), BackendError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        while self.go.recv_timeout(Duration::from_millis(1)).is_err() {
            if job.is_cancelled() {
                return Err(BackendError::Cancelled);
            }
        }
        if self.refuses {
            return Err(self.refusal());
        }
        let (width, height) = source.size();
        let blob = [width.to_le_bytes(), height.to_le_bytes()].concat();
        sink.write_all(&blob).map_err(|_| self.refusal())
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Arc<dyn LoadedAvatar>, BackendError> {
        let side = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| blob[at + byte]));
        Ok(Arc::new(There { canvas: (side(0), side(4)) }))
    }

    fn open_session(
        &self,
        _: &Arc<dyn LoadedAvatar>,
        _: SessionParams,
        _: Sender<FrameReply>,
    ) -> Result<Box<dyn SessionPort>, BackendError> {
        Err(self.refusal())
    }
}

struct There {
    canvas: (u32, u32),
}

impl LoadedAvatar for There {
    fn info(&self) -> AvatarInfo {
        AvatarInfo {
            canvas_width: self.canvas.0,
            canvas_height: self.canvas.1,
            fps: FrameRate::FPS_25,
            frame_count: 0,
            max_rect: (2, 2),
            idle: Idle::Host,
            rest: Rest::Backend,
        }
    }

    fn mask(&self, _: u32) -> Option<FrameMask<'_>> {
        None
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Stages with `first` preferred to `last`, in a folder of their own.
fn stages(first: &Arc<Slow>, last: &Arc<Slow>) -> (tempfile::TempDir, Stages) {
    let folder = tempfile::tempdir().unwrap();
    let bases = Bases { config: folder.path().to_owned(), program: folder.path().to_owned() };
    let config = Config::parse("t", "", &bases).unwrap();
    let backends = Backends::given(vec![first.clone()], last.clone());
    let stages = Stages::of(Gallery::open(&config.media).unwrap(), backends);
    stages.settle_backends();
    (folder, stages)
}

/// The name of the backend that serves, or every reason why none does.
fn serves(stages: &Stages) -> Result<String, Vec<String>> {
    let avatar = stages.builtin_avatar().unwrap();
    let mut refusals = Vec::new();
    for stage in stages.stages_soon(&avatar, Job::new()) {
        match stage {
            Ok((stage, _)) => return Ok(stage.instance.name().to_owned()),
            Err(refusal) => refusals.push(refusal.to_string()),
        }
    }
    Err(refusals)
}

/// Waits until `done`; a minute at most.
fn until(done: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("a minute was not enough");
}

#[test]
fn a_backend_that_has_an_avatar_serves_while_the_preferred_one_prepares_it() {
    let ((slow, go), (quick, let_quick)) = (Slow::new("slow", false), Slow::new("quick", false));
    let (_folder, stages) = stages(&slow, &quick);
    let_quick.send(()).unwrap();
    stages.stage_on(&stages.builtin_avatar().unwrap(), "quick", &Job::new()).unwrap();
    for _ in 0..3 {
        assert_eq!(serves(&stages).unwrap(), "quick");
    }
    until(|| slow.begun() == 1);
    go.send(()).unwrap();
    until(|| serves(&stages).unwrap() == "slow");
    assert_eq!((slow.begun(), quick.begun()), (1, 1), "each prepared it once");
}

#[test]
fn all_who_ask_wait_for_one_preparation() {
    let ((slow, go), (last, _let_last)) = (Slow::new("slow", false), Slow::new("last", false));
    let (_folder, stages) = stages(&slow, &last);
    let avatar = stages.builtin_avatar().unwrap();
    // One goes away, as a client does when its request takes too long; the work goes on.
    let gone = Job::new();
    gone.cancel();
    assert!(stages.stages_soon(&avatar, gone).next().unwrap().is_err());
    let served = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| served.lock().unwrap().push(serves(&stages).unwrap()));
        }
        until(|| slow.begun() == 1);
        go.send(()).unwrap();
    });
    assert_eq!(served.into_inner().unwrap(), ["slow"; 4]);
    assert_eq!((slow.begun(), last.begun()), (1, 0));
}

#[test]
fn a_refusal_is_told_and_the_next_backend_serves() {
    let ((slow, go), (last, let_last)) = (Slow::new("slow", true), Slow::new("last", true));
    let (_folder, stages) = stages(&slow, &last);
    go.send(()).unwrap();
    let_last.send(()).unwrap();
    let reasons = serves(&stages).unwrap_err();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(
        reasons[0].starts_with("slow: ") && reasons[0].contains("does not like this face"),
        "{reasons:?}"
    );
    assert_eq!(serves(&stages).unwrap_err(), reasons, "asked again at once, it says the same");
    assert_eq!((slow.begun(), last.begun()), (1, 1), "and does not try again");
}

#[test]
fn the_end_stops_what_is_prepared() {
    let ((slow, _go), (last, _let_last)) = (Slow::new("slow", false), Slow::new("last", false));
    let (_folder, stages) = stages(&slow, &last);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let avatar = stages.builtin_avatar().unwrap();
            stages.stages_soon(&avatar, Job::new()).next().unwrap().map(|_| ()).unwrap_err()
        });
        until(|| slow.begun() == 1);
        stages.stop();
        assert_eq!(waiting.join().unwrap().to_string(), "slow: cancelled");
    });
}
