//! Backends slower than real time, on a clock of the test's own: what a session does with them.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use lipcast_codecs::I420;
use lipcast_engine::audio::SpeechChunk;
use lipcast_engine::avatar::Job;
use lipcast_engine::backend::{
    AvatarInfo, AvatarSource, BackendError, Capacity, FrameMask, FrameReply, FrameRequest, Idle, Instance,
    LoadedAvatar, Outcome, Rest, SessionParams, SessionPort,
};
use lipcast_engine::session::{
    Canvas, Cast, Casting, MoveReason, Performance, SpeechEvent, Stage, Standby, UnitKind, UtteranceId,
};
use lipcast_engine::time::FrameRate;

const SIDE: usize = 16;
const FRAME: Duration = Duration::from_millis(40);
/// Frames planned before the one that leaves: a render-ahead of 280 ms.
const AHEAD: u64 = 7;
const MS: Duration = Duration::from_millis(1);

/// Draws one frame after the other, each in the same time; earliest deadline first, and none that has expired.
#[derive(Clone)]
struct Worker {
    name: &'static str,
    state: Arc<Mutex<State>>,
}

struct State {
    takes: Duration,
    /// How long ago it drew, as far as it tells.
    age: Duration,
    waiting: Vec<FrameRequest>,
    at_work: Option<(FrameRequest, Duration)>,
    free_at: Duration,
    origin: Instant,
    drawn: u64,
    replies: Option<Sender<FrameReply>>,
}

impl Worker {
    fn new(name: &'static str, takes: Duration) -> Self {
        let state = State {
            takes,
            age: Duration::ZERO,
            waiting: Vec::new(),
            at_work: None,
            free_at: Duration::ZERO,
            origin: Instant::now(),
            drawn: 0,
            replies: None,
        };
        Self { name, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Works until `now`.
    fn run(&self, now: Duration) {
        let mut state = self.lock();
        loop {
            if let Some((request, done)) = state.at_work.take() {
                if done > now {
                    state.at_work = Some((request, done));
                    return;
                }
                state.drawn += 1;
                state.age = Duration::ZERO;
                state.free_at = done;
                state.reply(&request, Outcome::AvatarFrame);
            }
            let (origin, start) = (state.origin, state.free_at);
            let unseen = |request: &mut FrameRequest| {
                let late = request.deadline.is_some_and(|deadline| deadline - origin <= start);
                late || request.flags.discard_ok
            };
            for request in state.waiting.extract_if(.., unseen).collect::<Vec<_>>() {
                state.reply(&request, Outcome::Expired);
            }
            let Some(next) = (0..state.waiting.len()).min_by_key(|index| state.waiting[*index].deadline)
            else {
                state.free_at = now;
                return;
            };
            let request = state.waiting.remove(next);
            state.at_work = Some((request, start + state.takes));
        }
    }
}

impl State {
    fn reply(&self, request: &FrameRequest, outcome: Outcome) {
        let (seq, epoch, avatar_frame_used) = (request.seq, request.epoch, request.avatar_frame);
        if let Some(replies) = &self.replies {
            let _ = replies.send(FrameReply { seq, epoch, outcome, at_rest: false, avatar_frame_used });
        }
    }
}

impl Instance for Worker {
    fn name(&self) -> &str {
        self.name
    }

    fn summary(&self) -> String {
        String::new()
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
        self.lock().takes
    }

    fn capacity(&self) -> Option<Capacity> {
        let state = self.lock();
        let frames_per_second = 1.0 / state.takes.as_secs_f64();
        (state.drawn >= 5).then_some(Capacity { frames_per_second, age: state.age })
    }

    fn prepare_avatar(
        &self,
        _: &mut dyn AvatarSource,
        _: &mut (dyn Write + Send),
        _: &Job,
    ) -> Result<(), BackendError> {
        Ok(())
    }

    fn load_avatar(&self, _: &[u8]) -> Result<Arc<dyn LoadedAvatar>, BackendError> {
        Ok(Arc::new(Plain))
    }

    fn open_session(
        &self,
        _: &Arc<dyn LoadedAvatar>,
        _: SessionParams,
        replies: Sender<FrameReply>,
    ) -> Result<Box<dyn SessionPort>, BackendError> {
        let mut state = self.lock();
        state.waiting.clear();
        state.at_work = None;
        state.replies = Some(replies);
        drop(state);
        Ok(Box::new(self.clone()))
    }
}

impl SessionPort for Worker {
    fn push_audio(&mut self, _: u64, _: Vec<f32>, _: bool) {}

    fn request(&mut self, request: FrameRequest) {
        self.lock().waiting.push(request);
    }

    fn reset(&mut self, _: u32) {
        self.lock().waiting.clear();
    }
}

struct Plain;

impl LoadedAvatar for Plain {
    fn info(&self) -> AvatarInfo {
        AvatarInfo {
            canvas_width: SIDE as u32,
            canvas_height: SIDE as u32,
            fps: FrameRate::FPS_25,
            frame_count: 1,
            max_rect: (SIDE as u32, SIDE as u32),
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

impl Canvas for Plain {
    fn size(&self) -> (usize, usize) {
        (SIDE, SIDE)
    }

    fn fps(&self) -> FrameRate {
        FrameRate::FPS_25
    }

    fn playback_index(&self, _: u64) -> usize {
        0
    }

    fn frame_count(&self) -> usize {
        1
    }

    fn read(&self, _: usize, _: &mut I420) -> io::Result<()> {
        Ok(())
    }
}

/// All are ready, in this order.
struct House(Vec<Worker>);

impl Casting for House {
    fn ready(&self) -> Vec<Arc<dyn Instance>> {
        // One handle each, so that they are told apart as instances are.
        static HANDLES: Mutex<Vec<(usize, Arc<dyn Instance>)>> = Mutex::new(Vec::new());
        let mut handles = HANDLES.lock().unwrap();
        let handle = |worker: &Worker| {
            let key = Arc::as_ptr(&worker.state).addr();
            if let Some((_, known)) = handles.iter().find(|(known, _)| *known == key) {
                return known.clone();
            }
            let made: Arc<dyn Instance> = Arc::new(worker.clone());
            handles.push((key, made.clone()));
            made
        };
        self.0.iter().map(handle).collect()
    }

    fn stage(&self, instance: &Arc<dyn Instance>) -> Result<Stage, String> {
        Ok(Stage { canvas: Arc::new(Plain), instance: instance.clone(), avatar: Arc::new(Plain) })
    }
}

struct Show {
    performance: Performance,
    workers: Vec<Worker>,
    /// What each frame was: `s`poken, `h`eld or `-`.
    kinds: String,
    moves: Vec<(String, String, MoveReason)>,
    origin: Instant,
}

/// What is heard as sample `index`, at 48 kHz.
fn heard(index: u64) -> f32 {
    0.1 + (index % 89) as f32 / 100.0
}

impl Show {
    /// Speaks for `seconds` on the first of `workers`.
    fn open(workers: &[&Worker], standby: Standby, seconds: u64) -> Self {
        let workers: Vec<Worker> = workers.iter().map(|worker| (*worker).clone()).collect();
        let origin = Instant::now();
        workers.iter().for_each(|worker| worker.lock().origin = origin);
        let house = Arc::new(House(workers.clone()));
        let stage = house.stage(&house.ready()[0]).unwrap();
        let cast = Cast { casting: house, standby, return_after: Duration::from_secs(1) };
        let mut performance = Performance::open_with(stage, FrameRate::FPS_25, cast).unwrap();
        let (sender, receiver) = bounded(1);
        let at_48k = (0..48_000 * seconds).map(heard).collect();
        let chunk = SpeechChunk { at_16k: vec![0.5; 16_000 * seconds as usize], at_48k };
        sender.send(SpeechEvent::Chunk(chunk)).unwrap();
        performance.speech_mut().enqueue(UtteranceId(0), receiver);
        let mut show = Self { performance, workers, kinds: String::new(), moves: Vec::new(), origin };
        if standby == Standby::Warm && show.workers.len() > 1 {
            show.until(|performance| performance.understudy().is_some());
        }
        show
    }

    /// Lets helper threads work until `done`; no frame passes.
    fn until(&mut self, done: impl Fn(&Performance) -> bool) {
        let patience = Instant::now() + Duration::from_secs(60);
        while !done(&self.performance) {
            assert!(Instant::now() < patience, "a minute was not enough");
            self.performance.attend();
            std::thread::sleep(MS);
        }
    }

    /// Plays up to frame `until`, each frame at its time; audio is checked sample by sample.
    fn play(&mut self, until: u64) -> &mut Self {
        let leaves = |frame: u64| FRAME * (frame + AHEAD + 1) as u32;
        for frame in self.kinds.len() as u64..until {
            while self.performance.planned_until() <= frame + AHEAD {
                let deadline = self.origin + leaves(self.performance.planned_until());
                self.performance.plan(Some(deadline));
            }
            self.workers.iter().for_each(|worker| worker.run(leaves(frame)));
            self.performance.accept_ready();
            let unit = self.performance.give().unwrap();
            assert_eq!(unit.frame, frame);
            let whole = (frame * 1920..).zip(&unit.pcm_48k).all(|(index, sample)| *sample == heard(index));
            assert!(whole && unit.pcm_48k.len() == 1920, "the sound of frame {frame}");
            self.kinds.push(match unit.kind {
                UnitKind::Speech => 's',
                UnitKind::Held => 'h',
                UnitKind::Idle => '-',
            });
            for change in self.performance.take_moves() {
                let name = |name: Option<String>| name.unwrap_or_default();
                self.moves.push((name(change.from), name(change.to), change.reason));
            }
        }
        self
    }

    fn second(&self, second: usize) -> &str {
        &self.kinds[25 * second..25 * (second + 1)]
    }
}

/// 25 frames of which every `stride`th is drawn, wherever that begins.
fn is_beat(frames: &str, stride: usize) -> bool {
    let beat = format!("s{}", "h".repeat(stride - 1)).repeat(25);
    (0..stride).any(|from| beat[from..from + frames.len()] == *frames)
}

#[test]
fn a_backend_in_real_time_draws_everything() {
    let worker = Worker::new("quick", 30 * MS);
    let mut show = Show::open(&[&worker], Standby::None, 10);
    show.play(240);
    assert_eq!(show.kinds, "s".repeat(240));
    assert_eq!(show.performance.stats().shed, 0);
}

#[test]
fn alone_and_too_slow_it_draws_every_second_frame_and_then_fewer_in_a_regular_beat() {
    for (takes, stride) in [(60, 2), (90, 3), (120, 4), (190, 5)] {
        let worker = Worker::new("slow", takes * MS);
        let mut show = Show::open(&[&worker], Standby::None, 30);
        show.play(740);
        let settled: String = (5..29).map(|second| show.second(second)).collect();
        for second in 5..29 {
            assert!(is_beat(show.second(second), stride), "{takes} ms, second {second}: {settled}");
        }
        let stats = show.performance.stats();
        assert!(stats.shed * 10 >= stats.held * 8, "what is held is not asked for: {stats:?}");
        assert_eq!((show.moves.len(), stats.frames), (0, 740));
    }
}

#[test]
fn one_that_recovers_draws_everything_again() {
    let worker = Worker::new("slow", 60 * MS);
    let mut show = Show::open(&[&worker], Standby::None, 30);
    show.play(250);
    assert!(is_beat(show.second(8), 2), "{}", show.kinds);
    worker.lock().takes = 20 * MS;
    show.play(740);
    assert_eq!(show.second(20), "s".repeat(25), "{}", show.kinds);
    assert_eq!(show.second(28), "s".repeat(25), "{}", show.kinds);
}

#[test]
fn who_is_slower_than_real_time_is_left_and_not_returned_to_before_its_second_chance() {
    let (slow, quick) = (Worker::new("slow", 60 * MS), Worker::new("quick", 10 * MS));
    let mut show = Show::open(&[&slow, &quick], Standby::Warm, 60);
    show.play(500);
    let left = ("slow".to_owned(), "quick".to_owned(), MoveReason::Late);
    assert_eq!(show.moves, std::slice::from_ref(&left), "return_after has passed many times");
    assert_eq!(show.second(15), "s".repeat(25), "{}", show.kinds);
    assert_eq!(show.performance.stats().shed, 0);
    // Long ago: it may have become better. It has not, and is left again.
    slow.lock().age = Capacity::SECOND_CHANCE;
    show.play(1400);
    let back = ("quick".to_owned(), "slow".to_owned(), MoveReason::Return);
    assert_eq!(show.moves, [left.clone(), back, left], "and then stays where it is");
    assert_eq!(show.second(50), "s".repeat(25), "{}", show.kinds);
}

#[test]
fn of_two_that_are_too_slow_the_session_stays_with_one() {
    let (first, second) = (Worker::new("first", 60 * MS), Worker::new("second", 70 * MS));
    let mut show = Show::open(&[&first, &second], Standby::Warm, 40);
    show.play(900);
    assert_eq!(show.moves.len(), 1, "{:?}", show.moves);
    assert!(is_beat(show.second(30), 2), "{}", show.kinds);
}
