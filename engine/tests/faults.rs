//! Backends that misbehave, through the real contract: what it costs is one session, or one instance, and no more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use lipcast_engine::avatar::{AvatarId, AvatarStore, Job, PrepareOptions, PrepareSource};
use lipcast_engine::backend::supervisor::Policy;
use lipcast_engine::backend::{
    BackendSpec, Backends, Candidate, FrameReply, FrameRequest, Instance, LocalInstance, Outcome, Program,
    ReportedState, RequestFlags, SessionPort, load_avatar,
};
use lipcast_engine::time::FrameRate;
use lipcast_plugins_api::author::*;
use lipcast_plugins_api::loader::Plugin;
use lipcast_plugins_api::serde_json::{Value, json};

/// Samples that its queue holds beyond the last frame that was asked for.
const ROOM: u64 = 2_000;
const FRAME: u64 = 640;

/// What it does wrong, as its settings say: `panic_at`, `lose_device_at` (a frame), `fail_at` (a frame, `fails` times,
/// an error that may pass or, with `for_good`, not), `broken` (its health), `load` (a status code's name).
struct Moody {
    settings: Value,
    broken: Arc<AtomicUsize>,
    /// How often it failed at `fail_at`.
    failed: Arc<AtomicUsize>,
}

/// How often a blob was made, by the `name` of the settings.
static PREPARED: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Heard {
    end: u64,
    asked_until: u64,
}

const SQUARE: Rect = Rect::new(0, 0, 16, 16);

impl Backend for Moody {
    type Avatar = ();
    type Session = Heard;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "lipcast.test.moody".into(),
            name: String::new(),
            version: String::new(),
            vendor: String::new(),
            license: String::new(),
            url: String::new(),
            capabilities: Capabilities::default(),
        }
    }

    fn create(_: Host, settings: Value, _: &Operation<'_>) -> Result<Self, Error> {
        Ok(Self { settings, broken: Arc::default(), failed: Arc::default() })
    }

    fn prepare_avatar(
        &self,
        _: &AvatarSource<'_>,
        _: &Value,
        sink: &mut BlobSink<'_>,
        _: &Operation<'_>,
    ) -> Result<(), Error> {
        let name = self.settings["name"].as_str().unwrap_or_default().to_owned();
        *PREPARED.lock().unwrap().entry(name).or_default() += 1;
        sink.write(b"blob")
    }

    fn load_avatar(&self, _: &[u8]) -> Result<(), Error> {
        match self.settings["load"].as_str() {
            Some("OOM_DEVICE") => Err(Error::new(Code::OomDevice, "full")),
            Some("BLOB_INCOMPATIBLE") => Err(Error::blob_incompatible("another version")),
            _ => Ok(()),
        }
    }

    fn avatar_info(&self, (): &()) -> AvatarInfo {
        let side = self.settings["side"].as_u64().unwrap_or(64) as u32;
        AvatarInfo {
            canvas: (side, side),
            fps: (25, 1),
            frame_count: 1,
            max_rect: SQUARE,
            slots: 0,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::Ask,
        }
    }

    fn frame_mask<'a>(&self, (): &'a (), _: u32) -> Result<FrameMask<'a>, Error> {
        Ok(FrameMask { rect: SQUARE, alpha: None })
    }

    fn open_session(&self, _: Arc<()>, _: &SessionParams) -> Result<Heard, Error> {
        Ok(Heard::default())
    }

    fn push_audio(&self, session: &mut Heard, first: u64, pcm: &[f32], _: bool) -> Result<(), Error> {
        if first + pcm.len() as u64 > session.asked_until + ROOM {
            return Err(Error::new(Code::WouldBlock, "the queue is full").retryable());
        }
        assert_eq!(first, session.end, "nothing is pushed twice or left out");
        session.end = first + pcm.len() as u64;
        Ok(())
    }

    fn reset(&self, session: &mut Heard, _: u32) -> Result<(), Error> {
        *session = Heard::default();
        Ok(())
    }

    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        let at = |name: &str, frame| self.settings[name].as_u64() == Some(frame);
        if self.settings["broken"].is_string() {
            self.broken.store(1, Ordering::SeqCst);
        }
        batch.for_each(|request| {
            if at("panic_at", request.frame) {
                panic!("told to");
            }
            if at("fail_at", request.frame)
                && self.failed.fetch_add(1, Ordering::SeqCst)
                    < self.settings["fails"].as_u64().unwrap() as usize
            {
                let error = Error::internal("in a bad mood");
                return Err(if self.settings["for_good"].is_null() { error.retryable() } else { error });
            }
            if at("lose_device_at", request.frame) {
                return Err(Error::new(Code::DeviceLost, "fell off the bus"));
            }
            let session = &mut *request.session;
            session.asked_until = (request.frame + 1) * FRAME;
            assert!(
                session.end >= session.asked_until || session.end == 0,
                "asked before the audio was there"
            );
            let flags =
                u8::from(request.first) + 2 * u8::from(request.last) + 4 * u8::from(request.discard_ok);
            request.output.picture(SQUARE, PixelFormat::Rgb24, Alpha::Opaque)?.fill(flags);
            Ok(())
        });
        Ok(())
    }

    fn health(&self) -> Health {
        let broken = self.broken.load(Ordering::SeqCst) > 0;
        let state = if broken { HealthState::Broken } else { HealthState::Ok };
        Health { state, message: self.settings["broken"].as_str().unwrap_or_default().to_owned() }
    }
}

fn plugin() -> Plugin {
    Plugin::linked(plugin_table::<Moody>()).unwrap()
}

fn instance(settings: Value) -> Arc<dyn Instance> {
    // Panics are expected here; the default hook would print each.
    std::panic::set_hook(Box::new(|info| {
        if info.payload_as_str() != Some("told to") {
            eprintln!("{info}");
        }
    }));
    LocalInstance::create("moody", &plugin(), &settings).unwrap()
}

/// A session's line into an instance.
struct Line {
    port: Box<dyn SessionPort>,
    replies: Receiver<FrameReply>,
    seq: u64,
    epoch: u32,
}

impl Line {
    fn open(instance: &Arc<dyn Instance>) -> Self {
        let avatar = instance.load_avatar(b"blob").unwrap();
        let (sender, replies) = unbounded();
        let params = lipcast_engine::backend::SessionParams { fps: FrameRate::FPS_25, whole: false };
        Self { port: instance.open_session(&avatar, params, sender).unwrap(), replies, seq: 0, epoch: 0 }
    }

    fn ask(&mut self, frame: u64, deadline: Option<Instant>, flags: RequestFlags) {
        let seq = self.seq;
        self.seq += 1;
        self.port.request(FrameRequest { seq, epoch: self.epoch, frame, avatar_frame: 0, deadline, flags });
    }

    fn reset(&mut self) {
        self.epoch += 1;
        self.port.reset(self.epoch);
    }

    fn draw(&mut self, frame: u64) -> Outcome {
        self.ask(frame, None, RequestFlags::default());
        self.reply().outcome
    }

    fn reply(&self) -> FrameReply {
        self.replies.recv_timeout(Duration::from_secs(60)).expect("every request gets a reply")
    }
}

/// Waits until `done`; a minute at most.
fn until(done: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < patience, "a minute was not enough");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The flags that the backend saw with a frame.
fn flags(outcome: &Outcome) -> u8 {
    let Outcome::Patch(patch) = outcome else { panic!("{outcome:?}") };
    patch.pixels[0]
}

#[test]
fn audio_that_finds_no_room_comes_again_after_the_next_batch() {
    let instance = instance(json!({}));
    let mut line = Line::open(&instance);
    // Thirty frames at once: far more than its queue holds.
    for frame in 0..30u64 {
        line.port.push_audio(frame * FRAME, vec![0.0; FRAME as usize], frame == 29);
        line.ask(frame, None, RequestFlags::default());
    }
    for frame in 0..30u64 {
        let reply = line.reply();
        assert_eq!(reply.seq, frame);
        assert_eq!(flags(&reply.outcome), 0, "frame {frame}");
    }
}

#[test]
fn a_queue_that_no_frame_will_empty_is_a_fault_until_the_next_reset() {
    let instance = instance(json!({}));
    let mut line = Line::open(&instance);
    line.port.push_audio(0, vec![0.0; 30 * FRAME as usize], true);
    assert!(matches!(line.draw(0), Outcome::Failed(reason) if reason.contains("WOULD_BLOCK")));
    line.reset();
    line.port.push_audio(0, vec![0.0; FRAME as usize], true);
    assert_eq!(flags(&line.draw(0)), 0);
}

#[test]
fn a_panic_ends_its_session_and_no_other() {
    let instance = instance(json!({"panic_at": 3}));
    let (mut unlucky, mut other) = (Line::open(&instance), Line::open(&instance));
    assert_eq!(flags(&unlucky.draw(1)), 0);
    for frame in [3, 4, 5] {
        let Outcome::Gone { reason, in_flight } = unlucky.draw(frame) else { panic!("frame {frame}") };
        assert!(reason.contains("told to"), "{reason}");
        assert_eq!(in_flight, frame == 3, "only the first was in the batch that broke it");
    }
    unlucky.reset();
    assert!(matches!(unlucky.draw(6), Outcome::Gone { .. }), "a reset does not heal it");
    assert_eq!(flags(&other.draw(4)), 0);
    assert_eq!(instance.lost(), None);
}

#[test]
fn an_error_that_may_pass_is_asked_about_once_more_while_there_is_time() {
    let draw = |settings: Value, deadline: Option<Duration>| {
        let mut line = Line::open(&instance(settings));
        line.ask(2, deadline.map(|from_now| Instant::now() + from_now), RequestFlags::default());
        let outcome = line.reply().outcome;
        assert_eq!(flags(&line.draw(3)), 0, "and it goes on");
        outcome
    };
    let minute = Some(Duration::from_secs(60));
    assert_eq!(flags(&draw(json!({"fail_at": 2, "fails": 1}), minute)), 0);
    assert_eq!(flags(&draw(json!({"fail_at": 2, "fails": 1}), None)), 0);
    for (why, settings) in [
        ("the second time is the last", json!({"fail_at": 2, "fails": 2})),
        ("it will not pass", json!({"fail_at": 2, "fails": 1, "for_good": true})),
    ] {
        assert!(matches!(draw(settings, minute), Outcome::Failed(_)), "{why}");
    }
}

/// The moody backend before a sound one, as a server would have them.
fn chosen(settings: Value) -> (Arc<Backends>, Arc<dyn Instance>) {
    let spec = BackendSpec {
        name: "moody".into(),
        find: Arc::new(|| Ok(Candidate { program: Program::Linked(plugin()), expected_id: None })),
        config: settings,
        init_timeout: Duration::from_secs(60),
        policy: Policy::default(),
        required: true,
    };
    let backends = Backends::open(vec![spec], instance(json!({"last": "resort"})));
    backends.wait_settled();
    let first = backends.ready().remove(0);
    (backends, first)
}

#[test]
fn a_lost_device_ends_the_instance_in_its_own_words_and_the_next_backend_takes_new_sessions() {
    let (backends, moody) = chosen(json!({"lose_device_at": 2}));
    let (mut line, mut other) = (Line::open(&moody), Line::open(&moody));
    assert_eq!((backends.ready().len(), backends.report()[0].state), (2, ReportedState::Ready));
    assert!(matches!(line.draw(2), Outcome::Gone { in_flight: true, .. }));
    other.ask(1, None, RequestFlags::default());
    assert!(other.replies.recv_timeout(Duration::from_secs(60)).is_err(), "its channel hangs up");
    assert_eq!(moody.lost().unwrap(), "DEVICE_LOST: fell off the bus");
    // It comes back by itself, as another instance.
    until(|| backends.ready().len() == 2 && backends.report()[0].restarts == 1);
    assert!(!Arc::ptr_eq(&backends.ready()[0], &moody));
    assert_eq!(backends.report()[0].state, ReportedState::Ready);
}

#[test]
fn a_backend_that_calls_itself_broken_is_replaced_without_being_asked_for_a_frame() {
    let (backends, moody) = chosen(json!({"broken": "overheated"}));
    let mut line = Line::open(&moody);
    assert_eq!(flags(&line.draw(1)), 0);
    until(|| moody.lost().is_some());
    assert_eq!(moody.lost().unwrap(), "it calls itself broken: overheated");
    until(|| backends.report()[0].restarts >= 1);
}

#[test]
fn flags_of_a_request_that_expired_come_with_the_next() {
    let instance = instance(json!({}));
    let mut line = Line::open(&instance);
    let past = Instant::now();
    line.ask(0, Some(past), RequestFlags { first: true, ..RequestFlags::default() });
    assert_eq!(line.reply().outcome, Outcome::Expired);
    assert_eq!(flags(&line.draw(1)), 1);
    line.ask(2, Some(past), RequestFlags { last: true, ..RequestFlags::default() });
    assert_eq!(line.reply().outcome, Outcome::Expired);
    assert_eq!((flags(&line.draw(3)), flags(&line.draw(4))), (2, 0));
}

#[test]
fn a_blob_is_made_again_only_when_it_is_of_another_kind() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("face.png");
    image::RgbImage::from_pixel(64, 64, image::Rgb([90, 80, 70])).save(&image).unwrap();
    let store = AvatarStore::open(folder.path().join("store")).unwrap();
    let options = PrepareOptions { face_box: Some([8.0, 8.0, 56.0, 56.0]), ..PrepareOptions::default() };
    let id = AvatarId::parse("still").unwrap();
    let avatar = store.prepare(&id, PrepareSource::File(image), &options, &Job::new()).unwrap();
    let load = |settings: Value| {
        let loaded = load_avatar(&avatar, &instance(settings), None, &Job::new());
        loaded.map(drop).map_err(|error| error.to_string())
    };
    let prepared = |name: &str| PREPARED.lock().unwrap().get(name).copied().unwrap_or_default();

    load(json!({"name": "blob"})).unwrap();
    load(json!({"name": "blob"})).unwrap();
    assert_eq!(prepared("blob"), 1);
    let full = load(json!({"name": "full", "load": "OOM_DEVICE"})).unwrap_err();
    assert!(full.contains("OOM_DEVICE"), "{full}");
    assert_eq!(prepared("full"), 0, "the blob is good, only the device was full");
    load(json!({"name": "other", "load": "BLOB_INCOMPATIBLE"})).unwrap_err();
    assert_eq!(prepared("other"), 1);
    let differs = load(json!({"name": "blob", "side": 48})).unwrap_err();
    assert!(differs.contains("its canvas has 48x48 pixels, the avatar 64x64"), "{differs}");
}

#[test]
fn a_reload_puts_a_new_instance_in_the_old_ones_place_or_leaves_the_old_one() {
    let (backends, former) = chosen(json!({}));
    let is_first = |instance: &Arc<dyn Instance>| Arc::ptr_eq(&backends.ready()[0], instance);
    let mut spec = backends.spec("moody").unwrap();
    spec.find = Arc::new(|| Err("its weights are gone".to_owned()));
    let refused = backends.reload(spec.clone()).err().unwrap().to_string();
    assert!(refused.contains("its weights are gone") && is_first(&former), "{refused}");
    // One that hangs is given up; once it comes, nobody takes it.
    let (open, gate) = crossbeam_channel::bounded::<()>(0);
    spec.init_timeout = Duration::from_millis(20);
    spec.find = Arc::new(move || {
        let _ = gate.recv();
        Err("too late".to_owned())
    });
    assert!(backends.reload(spec).err().unwrap().to_string().contains("not ready within"));
    drop(open);
    assert!(is_first(&former));
    let spec = backends.spec("moody").unwrap();
    backends.reload(spec.clone()).unwrap();
    assert!(!is_first(&former));
    until(|| former.lost().is_some());
    assert_eq!(backends.report()[0].state, ReportedState::Ready);
    let unknown = BackendSpec { name: "nobody".into(), ..spec };
    assert!(backends.reload(unknown).err().unwrap().to_string().contains("no backend \"nobody\""));
}

#[test]
fn a_backend_whose_files_were_missing_is_tried_when_they_are_there() {
    let there = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = there.clone();
    let find = move || match seen.load(std::sync::atomic::Ordering::Relaxed) {
        true => Ok(Candidate { program: Program::Linked(plugin()), expected_id: None }),
        false => Err("its folder is missing".to_owned()),
    };
    let spec = BackendSpec {
        name: "moody".into(),
        find: Arc::new(find),
        config: json!({}),
        init_timeout: Duration::from_secs(60),
        policy: Policy::default(),
        required: false,
    };
    let backends = Backends::open(vec![spec], instance(json!({"last": "resort"})));
    backends.wait_settled();
    let report = || backends.report().remove(0);
    assert_eq!((report().state, report().detail.as_str()), (ReportedState::Failed, "its folder is missing"));
    there.store(true, std::sync::atomic::Ordering::Relaxed);
    until(|| report().state == ReportedState::Ready);
}
