//! A performance against a backend that answers what the test says, when the test says: late, repeated, lost.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use lipcast_codecs::I420;
use lipcast_engine::audio::{SpeechChunk, SpeechDecoder, SpeechLimits};
use lipcast_engine::avatar::Job;
use lipcast_engine::backend::{
    Alpha, AvatarInfo, AvatarSource, BackendError, FrameMask, FrameReply, FrameRequest, Idle, Instance,
    LoadedAvatar, Outcome, Patch, PixelFormat, Rect, Rest, SessionParams, SessionPort,
};
use lipcast_engine::session::offline::{self, RenderError};
use lipcast_engine::session::{
    Canvas, Cast, Casting, OpenError, Performance, SpeechEvent, Stage, Standby, Unit, UnitKind, UtteranceId,
};
use lipcast_engine::time::FrameRate;

const SIDE: usize = 32;
const FRAMES: usize = 20;

/// Frame i is as bright as 16 + i, and is played in order. It breaks when the test says so.
#[derive(Default)]
struct Steps(Vec<I420>, AtomicBool);

impl Canvas for Steps {
    fn size(&self) -> (usize, usize) {
        (SIDE, SIDE)
    }

    fn fps(&self) -> FrameRate {
        FrameRate::FPS_25
    }

    fn playback_index(&self, counter: u64) -> usize {
        counter as usize % FRAMES
    }

    fn frame_count(&self) -> usize {
        FRAMES
    }

    fn read(&self, index: usize, picture: &mut I420) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        picture.copy_from(self.0[index].as_view());
        Ok(())
    }
}

/// The mask of frame i lies at x = 2 (i mod 8).
struct Masks(u32, Idle);

fn rect_of(frame: u32) -> Rect {
    Rect::new(2 * (frame % 8), 8, 8, 8)
}

impl LoadedAvatar for Masks {
    fn info(&self) -> AvatarInfo {
        AvatarInfo {
            canvas_width: SIDE as u32,
            canvas_height: SIDE as u32,
            fps: FrameRate::FPS_25,
            frame_count: self.0,
            max_rect: (SIDE as u32, SIDE as u32),
            idle: self.1,
            rest: Rest::Backend,
        }
    }

    fn mask(&self, index: u32) -> Option<FrameMask<'_>> {
        Some(FrameMask { rect: rect_of(index), alpha: None })
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// What reached the backend, and the line back.
#[derive(Default)]
struct Script {
    asked: VecDeque<FrameRequest>,
    resets: Vec<u32>,
    replies: Option<Sender<FrameReply>>,
    /// Hangs up instead of taking this request.
    hang_up_at: Option<u64>,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Instance for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn summary(&self) -> String {
        String::new()
    }

    fn blob_key(&self) -> (&str, u32) {
        ("scripted", 1)
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
        _: &mut dyn AvatarSource,
        _: &mut (dyn Write + Send),
        _: &Job,
    ) -> Result<(), BackendError> {
        Ok(())
    }

    fn load_avatar(&self, _: &[u8]) -> Result<Arc<dyn LoadedAvatar>, BackendError> {
        Ok(Arc::new(Masks(FRAMES as u32, Idle::Host)))
    }

    fn open_session(
        &self,
        _: &Arc<dyn LoadedAvatar>,
        _: SessionParams,
        replies: Sender<FrameReply>,
    ) -> Result<Box<dyn SessionPort>, BackendError> {
        self.0.lock().unwrap().replies = Some(replies);
        Ok(Box::new(self.clone()))
    }
}

impl SessionPort for Scripted {
    fn push_audio(&mut self, _: u64, _: Vec<f32>, _: bool) {}

    fn request(&mut self, request: FrameRequest) {
        let mut script = self.0.lock().unwrap();
        if script.hang_up_at.is_some_and(|frame| request.frame >= frame) {
            script.replies = None;
        }
        script.asked.push_back(request);
    }

    fn reset(&mut self, epoch: u32) {
        self.0.lock().unwrap().resets.push(epoch);
    }
}

impl Scripted {
    /// Answers the oldest request.
    fn answer(&self, outcome: Outcome) {
        let mut script = self.0.lock().unwrap();
        let request = script.asked.pop_front().expect("something was asked");
        let reply = FrameReply {
            seq: request.seq,
            epoch: request.epoch,
            outcome,
            at_rest: false,
            avatar_frame_used: request.avatar_frame,
        };
        script.replies.as_ref().expect("still there").send(reply).unwrap();
    }
}

/// A patch of one brightness where the mask of avatar frame `frame` lies.
fn patch(frame: u32, luma: u8) -> Outcome {
    let rect = rect_of(frame);
    let mut pixels = vec![luma; rect.area() as usize];
    pixels.resize(PixelFormat::I420.bytes(&rect) as usize, 128);
    Outcome::Patch(Patch { rect, format: PixelFormat::I420, alpha: Alpha::Static, pixels: pixels.into() })
}

/// The brightness where the mask of avatar frame `frame` lies.
fn luma(unit: &Unit, frame: u32) -> u8 {
    let (view, rect) = (unit.picture.as_view(), rect_of(frame));
    view.y[(rect.y + 4) as usize * view.y_stride + (rect.x + 1) as usize]
}

fn stage(script: &Scripted, avatar: Masks) -> (Stage, Arc<Steps>) {
    let frames = (0..FRAMES).map(|index| {
        let mut frame = I420::black(SIDE, SIDE).unwrap();
        frame.planes_mut().0.fill(16 + index as u8);
        frame
    });
    let canvas = Arc::new(Steps(frames.collect(), AtomicBool::default()));
    let instance = Arc::new(script.clone());
    (Stage { canvas: canvas.clone(), instance, avatar: Arc::new(avatar) }, canvas)
}

/// A performance that speaks for a second.
fn speaking(script: &Scripted) -> (Performance, Arc<Steps>) {
    let (stage, canvas) = stage(script, Masks(FRAMES as u32, Idle::Host));
    let mut performance = Performance::open(stage, FrameRate::FPS_25).unwrap();
    say(&mut performance);
    (performance, canvas)
}

fn say(performance: &mut Performance) {
    let (sender, receiver) = bounded(1);
    let chunk = SpeechChunk { at_16k: vec![0.5; 16_000], at_48k: vec![0.5; 48_000] };
    sender.send(SpeechEvent::Chunk(chunk)).unwrap();
    performance.speech_mut().enqueue(UtteranceId(0), receiver);
}

fn next(performance: &mut Performance) -> Unit {
    performance.accept_ready();
    performance.give().unwrap()
}

#[test]
fn the_same_picture_is_the_backends_last_one_even_if_that_came_too_late_and_its_mask_moved() {
    let script = Scripted::default();
    let (mut performance, _) = speaking(&script);
    (0..3).for_each(|_| performance.plan(None));
    script.answer(patch(0, 100));
    let first = next(&mut performance);
    assert_eq!((luma(&first, 0), first.kind), (100, UnitKind::Speech));
    let held = next(&mut performance);
    assert_eq!((luma(&held, 0), held.kind), (100, UnitKind::Held));
    // The answer to frame 1 comes after frame 1 has left.
    script.answer(patch(1, 200));
    script.answer(Outcome::SamePatch);
    let same = next(&mut performance);
    assert_eq!((luma(&same, 1), same.kind), (200, UnitKind::Speech));
    assert_eq!(same.picture.as_view().y[0], 16 + 2, "over the frame that was asked for");
}

#[test]
fn after_a_barge_in_the_last_patch_fades_and_is_forgotten() {
    let script = Scripted::default();
    let (mut performance, _) = speaking(&script);
    performance.plan(None);
    script.answer(patch(0, 216));
    next(&mut performance);
    performance.interrupt();
    assert!(!performance.is_speaking());
    let fading: Vec<u8> = (0..5)
        .map(|_| {
            performance.plan(None);
            let unit = next(&mut performance);
            assert_eq!(unit.kind, UnitKind::Idle);
            luma(&unit, 0)
        })
        .collect();
    // From 216 down to the frames' own 17 to 21, a fifth at a time.
    assert_eq!(fading, [176, 137, 98, 59, 21]);

    say(&mut performance);
    performance.plan(None);
    script.answer(Outcome::SamePatch);
    let unit = next(&mut performance);
    assert_eq!((luma(&unit, 0), unit.kind), (16 + 6, UnitKind::Speech), "nothing was drawn since the reset");
}

#[test]
fn a_reset_is_sent_only_after_something_was_asked() {
    let script = Scripted::default();
    let (mut performance, _) = speaking(&script);
    (0..10).for_each(|_| performance.interrupt());
    assert_eq!(script.0.lock().unwrap().resets, [0; 0]);
    say(&mut performance);
    performance.plan(None);
    (0..10).for_each(|_| performance.interrupt());
    assert_eq!(script.0.lock().unwrap().resets, [1]);
}

#[test]
fn an_avatar_frame_that_is_not_there_fails_its_frame_only() {
    let script = Scripted::default();
    let (mut performance, _) = speaking(&script);
    (0..2).for_each(|_| performance.plan(None));
    script.0.lock().unwrap().asked[0].avatar_frame = FRAMES as u32;
    script.answer(patch(0, 100));
    script.answer(patch(1, 200));
    assert_eq!(next(&mut performance).kind, UnitKind::Held);
    assert_eq!(luma(&next(&mut performance), 1), 200);
    assert_eq!(performance.stats().failed, 1);
}

#[test]
fn another_avatar_than_the_one_shown_is_refused() {
    let script = Scripted::default();
    for frames in [FRAMES as u32 + 1, 1] {
        let (stage, _) = stage(&script, Masks(frames, Idle::Host));
        let refused = Performance::open(stage, FrameRate::FPS_25).err().unwrap();
        let OpenError::Backend(BackendError::Contract { message, .. }) = refused else { panic!("{refused}") };
        assert_eq!(message, format!("it knows {frames} frames, the avatar has {FRAMES}"));
    }
}

#[test]
fn a_backend_that_draws_idle_does_not_speak_for_ever() {
    let script = Scripted::default();
    let (stage, _) = stage(&script, Masks(0, Idle::Backend));
    let mut performance = Performance::open(stage, FrameRate::FPS_25).unwrap();
    for _ in 0..3 {
        performance.plan(None);
        assert!(!performance.is_speaking());
        assert_eq!(script.0.lock().unwrap().asked[0].avatar_frame, 0, "it has no frames to be numbered");
        script.answer(patch(0, 90));
        let unit = next(&mut performance);
        assert_eq!((luma(&unit, 0), unit.kind), (90, UnitKind::Speech));
    }
    say(&mut performance);
    let mut spoken = 0;
    for _ in 0..100 {
        performance.plan(None);
        spoken += usize::from(performance.is_speaking());
        script.answer(Outcome::SamePatch);
        next(&mut performance);
    }
    assert_eq!(spoken, 25 + 25, "a second of speech, and the time-out of coming to rest");
}

#[test]
fn a_backend_that_hangs_up_or_hangs_is_gone_and_the_avatar_and_the_speech_go_on() {
    let hung_up = Scripted::default();
    hung_up.0.lock().unwrap().hang_up_at = Some(3);
    let (mut performance, _) = speaking(&hung_up);
    for frame in 0..10u32 {
        performance.plan(None);
        if frame < 3 {
            hung_up.answer(patch(frame, 100));
        }
        let unit = next(&mut performance);
        let expected = if frame < 3 { UnitKind::Speech } else { UnitKind::Held };
        assert_eq!((unit.kind, unit.pcm_48k[0]), (expected, 0.5));
        if frame >= 3 {
            assert_eq!(luma(&unit, frame), 16 + frame as u8, "the avatar's own frame");
        }
    }
    assert_eq!(performance.backend_gone(), Some("its thread has ended"));

    let hanging = Scripted::default();
    let (stage, _) = stage(&hanging, Masks(0, Idle::Backend));
    let mut performance = Performance::open(stage, FrameRate::FPS_25).unwrap();
    for _ in 0..300 {
        performance.plan(None);
        next(&mut performance);
    }
    assert_eq!(performance.backend_gone(), Some("it left 250 frames unanswered"));
    assert_eq!(hanging.0.lock().unwrap().asked.len(), 250, "the queue to it is bounded");
}

#[test]
fn a_rendering_ends_when_its_backend_is_gone() {
    let script = Scripted::default();
    script.0.lock().unwrap().hang_up_at = Some(0);
    let (stage, _) = stage(&script, Masks(FRAMES as u32, Idle::Host));
    let mut wav =
        b"RIFF\x24\x7d\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\x7d\0\0"
            .to_vec();
    wav.resize(wav.len() + 32_000, 1);
    let mut speech = SpeechDecoder::from_bytes(wav, "test.wav", &SpeechLimits::default()).unwrap();
    let rendered =
        offline::render(stage, FrameRate::FPS_25, &mut speech, |_| Ok::<(), std::convert::Infallible>(()));
    assert!(matches!(rendered, Err(RenderError::BackendGone { frame: 0, .. })), "{rendered:?}");
}

#[test]
fn frames_that_cannot_be_read_leave_the_last_picture_and_the_sound() {
    let script = Scripted::default();
    let (mut performance, canvas) = speaking(&script);
    (0..4).for_each(|_| performance.plan(None));
    script.answer(patch(0, 100));
    let good = next(&mut performance);
    canvas.1.store(true, Ordering::Relaxed);
    script.answer(patch(1, 200));
    let bad = next(&mut performance);
    assert_eq!((luma(&bad, 0), bad.kind), (luma(&good, 0), UnitKind::Held));
    assert!(bad.pcm_48k.iter().all(|sample| *sample == 0.5), "its sound is untouched");
    script.answer(Outcome::AvatarFrame);
    assert_eq!(luma(&next(&mut performance), 0), luma(&good, 0));
    canvas.1.store(false, Ordering::Relaxed);
    script.answer(patch(3, 150));
    let again = next(&mut performance);
    assert_eq!((luma(&again, 3), again.kind), (150, UnitKind::Speech));
}

#[test]
fn a_canvas_that_never_could_be_read_is_black() {
    let script = Scripted::default();
    let (stage, canvas) = stage(&script, Masks(FRAMES as u32, Idle::Host));
    canvas.1.store(true, Ordering::Relaxed);
    let mut performance = Performance::open(stage, FrameRate::FPS_25).unwrap();
    performance.plan(None);
    assert_eq!(next(&mut performance).picture.as_view().y[0], 16);
}

/// Instances that are ready for good, all of the same avatar.
struct Ready(Vec<Arc<dyn Instance>>, Arc<Steps>);

impl Casting for Ready {
    fn ready(&self) -> Vec<Arc<dyn Instance>> {
        self.0.clone()
    }

    fn stage(&self, instance: &Arc<dyn Instance>) -> Result<Stage, String> {
        let avatar = Arc::new(Masks(FRAMES as u32, Idle::Host));
        Ok(Stage { canvas: self.1.clone(), instance: instance.clone(), avatar })
    }
}

#[test]
fn a_frame_that_was_in_flight_as_its_backend_broke_is_asked_again_alone() {
    let (broken, next) = (Scripted::default(), Scripted::default());
    let (stage, canvas) = stage(&broken, Masks(FRAMES as u32, Idle::Host));
    let ready: Vec<Arc<dyn Instance>> = vec![stage.instance.clone(), Arc::new(next.clone())];
    let casting = Arc::new(Ready(ready, canvas));
    let cast = Cast { casting, standby: Standby::Warm, return_after: Duration::from_secs(10) };
    let mut performance = Performance::open_with(stage, FrameRate::FPS_25, cast).unwrap();
    while performance.understudy().is_none() {
        std::thread::sleep(Duration::from_millis(1));
        performance.attend();
    }
    say(&mut performance);
    (0..4).for_each(|_| performance.plan(None));
    let gone = |in_flight| Outcome::Gone { reason: "it crashed".into(), in_flight };
    broken.answer(patch(0, 100));
    [true, false, false].into_iter().for_each(|in_flight| broken.answer(gone(in_flight)));
    performance.accept_ready();
    let asked: Vec<_> = next.0.lock().unwrap().asked.iter().map(|asked| (asked.frame, asked.flags)).collect();
    let flags = |frame| asked.iter().find(|(asked, _)| *asked == frame).map(|(_, flags)| *flags).unwrap();
    assert_eq!(asked.iter().map(|(frame, _)| *frame).collect::<Vec<_>>(), [1, 2, 3], "0 is drawn already");
    assert_eq!((flags(1).first, flags(1).alone), (true, true));
    assert_eq!((flags(2).first, flags(2).alone, flags(3).alone), (false, false, false));
}
