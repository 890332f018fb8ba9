//! Sessions through a real backend and the real contract: every frame once, in order, in step with its audio.

mod common;

use std::sync::Arc;
use std::time::Duration;

use lipcast_codecs::{I420, I420Ref};
use lipcast_engine::audio::{SpeechDecoder, SpeechLimits, wav};
use lipcast_engine::backend::Instance;
use lipcast_engine::session::live::{LiveConfig, LiveEvent, LiveSession, LiveState, SpeakError};
use lipcast_engine::session::{Canvas, Cast, Casting, Stage, Standby, Unit, UnitKind, offline};
use lipcast_engine::time::FrameRate;
use lipcast_probe::barcode;

fn speech(samples: &[i16]) -> SpeechDecoder {
    SpeechDecoder::from_bytes(wav::pcm_16(16_000, 1, samples), "test.wav", &SpeechLimits::default()).unwrap()
}

fn tone(frames: usize) -> Vec<i16> {
    (0..frames * 640).map(|n| ((n as f32 * 0.3).sin() * 9_000.0) as i16).collect()
}

fn code(unit: &Unit) -> Option<u64> {
    let view = unit.picture.as_view();
    barcode::read(view.y, view.width, view.height, view.y_stride).map(|code| u64::from(code.frame))
}

/// The avatar frame that a picture shows, read from its last chroma sample.
fn avatar_frame_of(picture: I420Ref<'_>) -> usize {
    usize::from(*picture.u.last().unwrap())
}

#[test]
fn offline_every_frame_of_speech_is_drawn_for_its_own_number() {
    let mut frames = Vec::new();
    let samples =
        offline::render(common::stage("barcode"), FrameRate::FPS_25, &mut speech(&tone(100)), |unit| {
            assert_eq!(unit.kind, UnitKind::Speech);
            assert_eq!(unit.pcm_48k.len(), 1_920);
            assert_eq!(avatar_frame_of(unit.picture.as_view()), unit.avatar_frame);
            frames.push((unit.frame, code(&unit)));
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap();
    assert_eq!(samples, 192_000);
    assert_eq!(frames, (0..100).map(|frame| (frame, Some(frame))).collect::<Vec<_>>());
}

#[test]
fn offline_the_flash_lies_in_the_frame_of_its_click() {
    let mut samples = vec![0i16; 640 * 60];
    let clicks = [10u64, 23, 41];
    for click in clicks {
        let at = click as usize * 640 + 100;
        for (n, sample) in samples[at..at + 32].iter_mut().enumerate() {
            *sample = if n % 2 == 0 { 30_000 } else { -30_000 };
        }
    }
    let (mut flashes, mut heard) = (Vec::new(), Vec::new());
    offline::render(common::stage("flash"), FrameRate::FPS_25, &mut speech(&samples), |unit| {
        let view = unit.picture.as_view();
        let rect = barcode::place(view.width as u32, view.height as u32).unwrap();
        let middle = (rect.y + rect.height / 2) as usize * view.y_stride + (rect.x + rect.width / 2) as usize;
        if view.y[middle] > 180 {
            flashes.push(unit.frame);
        }
        if unit.pcm_48k.iter().any(|sample| sample.abs() > 0.4) {
            heard.push(unit.frame);
        }
        Ok::<(), std::convert::Infallible>(())
    })
    .unwrap();
    assert_eq!(flashes, clicks);
    assert_eq!(heard, clicks);
}

#[test]
fn live_no_frame_number_is_missing_and_the_head_does_not_jump() {
    let config = LiveConfig {
        fps: FrameRate::FPS_25,
        first_viewer_wait: Duration::from_secs(30),
        // Generous: this test counts frames on machines that are busy with other tests.
        render_ahead: Duration::from_secs(2),
        max_queued: 1,
        black_box: None,
        meter: Default::default(),
    };
    let (session, units) = LiveSession::open("test", common::stage("barcode"), config).unwrap();
    assert_eq!(session.status().state, LiveState::Waiting);
    session.begin();
    let mut seen = Vec::new();
    let mut take = |count: usize| {
        let start = seen.len();
        seen.extend(units.iter().take(count));
        seen[start..].iter().filter(|unit| unit.kind == UnitKind::Speech).count()
    };
    assert_eq!(take(5), 0, "idle before anything is said");
    session.speak(speech(&tone(25))).unwrap();
    take(60);
    assert!(!session.status().speaking);
    session.end();
    assert!(units.iter().count() < 200, "the channel hangs up");

    let mut steps = Vec::new();
    for (index, unit) in seen.iter().enumerate() {
        assert_eq!(unit.frame, index as u64);
        let shown = avatar_frame_of(unit.picture.as_view());
        if unit.kind != UnitKind::Held {
            assert_eq!(shown, unit.avatar_frame);
        }
        steps.push(unit.avatar_frame as i64);
        match (unit.kind, code(unit)) {
            (UnitKind::Speech, Some(code)) => assert_eq!(code, unit.frame),
            (UnitKind::Idle, code) => assert_eq!(code, None),
            _ => {}
        }
    }
    assert!(steps.windows(2).all(|pair| (pair[1] - pair[0]).abs() == 1), "{steps:?}");
    let heard: usize =
        seen.iter().flat_map(|unit| &unit.pcm_48k).filter(|sample| sample.abs() > 0.01).count();
    assert!(heard > 25 * 1_920 * 9 / 10, "{heard} samples of the tone were heard");
}

/// The common stage's canvas until `frame` is read for the first time, which panics.
struct Trap {
    canvas: Arc<dyn Canvas>,
    frame: usize,
}

impl Canvas for Trap {
    fn size(&self) -> (usize, usize) {
        self.canvas.size()
    }

    fn fps(&self) -> FrameRate {
        self.canvas.fps()
    }

    fn playback_index(&self, counter: u64) -> usize {
        self.canvas.playback_index(counter)
    }

    fn frame_count(&self) -> usize {
        self.canvas.frame_count()
    }

    fn read(&self, index: usize, picture: &mut I420) -> std::io::Result<()> {
        assert_ne!(index, self.frame, "a trap of the test");
        self.canvas.read(index, picture)
    }
}

#[test]
fn live_a_panic_ends_its_session_tells_so_and_leaves_others_alone() {
    let config = LiveConfig {
        fps: FrameRate::FPS_25,
        first_viewer_wait: Duration::from_secs(30),
        render_ahead: Duration::from_secs(2),
        max_queued: 1,
        black_box: None,
        meter: Default::default(),
    };
    let (told, events) = crossbeam_channel::unbounded();
    let stage = common::stage("barcode");
    let trapped = Stage { canvas: Arc::new(Trap { canvas: stage.canvas.clone(), frame: 5 }), ..stage };
    let nobody =
        Cast { casting: Arc::new(Nobody), standby: Standby::None, return_after: Duration::from_secs(1) };
    let observer = Box::new(move |event| told.send(event).unwrap());
    let (unlucky, units) =
        LiveSession::open_with("unlucky", trapped, config.clone(), nobody, observer).unwrap();
    let (other, others) = LiveSession::open("other", common::stage("barcode"), config).unwrap();
    unlucky.begin();
    other.begin();
    assert_eq!(units.iter().count(), 5, "its channel hangs up");
    let LiveEvent::Ended { error: Some(error) } = events.recv_timeout(Duration::from_secs(30)).unwrap()
    else {
        panic!("it does not tell why")
    };
    assert!(error.contains("panicked"), "{error}");
    let status = unlucky.status();
    assert_eq!((status.state, status.error), (LiveState::Ended, Some(error)));
    assert_eq!(
        others.iter().take(20).map(|unit| unit.frame).collect::<Vec<_>>(),
        (0..20).collect::<Vec<_>>()
    );
}

/// No other backend.
struct Nobody;

impl Casting for Nobody {
    fn ready(&self) -> Vec<Arc<dyn Instance>> {
        Vec::new()
    }

    fn stage(&self, _: &Arc<dyn Instance>) -> Result<Stage, String> {
        Err("there is none".to_owned())
    }
}

#[test]
fn live_a_session_that_nobody_watches_ends() {
    let config = LiveConfig {
        fps: FrameRate::FPS_25,
        first_viewer_wait: Duration::ZERO,
        render_ahead: Duration::from_millis(200),
        max_queued: 1,
        black_box: None,
        meter: Default::default(),
    };
    let (session, units) = LiveSession::open("test", common::stage("barcode"), config).unwrap();
    assert_eq!(units.iter().count(), 0);
    assert_eq!(session.status().state, LiveState::Ended);
}

#[test]
fn live_utterances_take_their_places_in_the_queue() {
    let config = LiveConfig {
        fps: FrameRate::FPS_25,
        first_viewer_wait: Duration::from_secs(30),
        render_ahead: Duration::from_millis(200),
        max_queued: 1,
        black_box: None,
        meter: Default::default(),
    };
    let (session, units) = LiveSession::open("test", common::stage("barcode"), config).unwrap();
    let first = session.speak(speech(&tone(5))).unwrap();
    let second = session.speak(speech(&tone(200))).unwrap();
    assert_eq!((first.ahead, second.ahead), (0, 1));
    assert_ne!(first.id, second.id);
    assert_eq!(session.speak(speech(&tone(5))), Err(SpeakError::Full { most: 1 }));
    session.begin();
    while session.status().utterances != 1 {
        units.recv().unwrap();
    }
    let third = session.speak(speech(&tone(5))).unwrap();
    assert_eq!(third.ahead, 1, "the first is over, its place is free");
    session.interrupt();
    while session.status().utterances != 0 {
        units.recv().unwrap();
    }
    assert_eq!(session.speak(speech(&tone(5))).unwrap().ahead, 0);
    session.end();
    while units.recv().is_ok() {}
    let ended = (0..5_000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        session.status().state == LiveState::Ended
    });
    assert!(ended, "{:?}", session.status());
    assert_eq!(session.speak(speech(&tone(5))), Err(SpeakError::Ended));
}
