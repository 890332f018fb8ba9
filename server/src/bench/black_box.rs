//! What recording a session costs: the audio, the request, the answer and the unit of every frame of speech.

use std::time::{Duration, Instant};

use lipcast_engine::backend::{
    Alpha, FrameReply, FrameRequest, Outcome, Patch, PixelFormat, Rect, RequestFlags,
};
use lipcast_engine::session::UnitKind;
use lipcast_engine::session::black_box::{AvatarMark, BackendMark, BlackBox, Limits, Subject};
use lipcast_engine::time::FrameRate;

use super::compose::thread_ms;

/// Frames of each measurement.
const FRAMES: u64 = 5_000;
/// Frames of a run of speech: ten seconds.
const RUN: u64 = 250;

/// Milliseconds of processor time a frame.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// A frame of speech with a patch.
    pub patch: f64,
    /// One where the backend answers without a picture, so that nothing is hashed.
    pub no_picture: f64,
    /// A frame while nobody speaks.
    pub idle: f64,
}

/// Records frames with a `side` × `side` patch in `format`, in a black box that is full.
pub fn per_frame_ms(side: u32, format: PixelFormat) -> Costs {
    let rect = Rect::new(0, 0, side, side);
    let pixels: Vec<u8> = (0..format.bytes(&rect)).map(|at| at as u8).collect();
    let patch = Patch { rect, format, alpha: Alpha::Static, pixels: pixels.into() };
    let cost = |outcome: &Outcome| {
        let black_box = full();
        let tape = black_box.open(mark());
        let pcm = vec![0.1; 640];
        let mut record = |frame: u64| {
            let (deadline, flags) =
                (Some(Instant::now() + Duration::from_millis(200)), RequestFlags::default());
            let request = FrameRequest { seq: frame, epoch: 0, frame, avatar_frame: 0, deadline, flags };
            tape.audio(frame * 640, &pcm, frame % RUN == RUN - 1);
            tape.request(&request);
            let outcome = outcome.clone();
            let reply = FrameReply { seq: frame, epoch: 0, outcome, at_rest: false, avatar_frame_used: 0 };
            tape.reply(&reply);
            black_box.left(frame, UnitKind::Speech);
        };
        (0..RUN * 8).for_each(&mut record);
        let begun = thread_ms();
        (RUN * 8..RUN * 8 + FRAMES).for_each(&mut record);
        thread_ms() - begun
    };
    // The copy of the answer is the measurement's own.
    let copy = {
        let begun = thread_ms();
        (0..FRAMES).for_each(|_| drop(std::hint::black_box(patch.clone())));
        thread_ms() - begun
    };
    let idle = {
        let black_box = full();
        let begun = thread_ms();
        (0..FRAMES).for_each(|frame| black_box.left(frame, UnitKind::Idle));
        thread_ms() - begun
    };
    let frames = FRAMES as f64;
    let no_picture = cost(&Outcome::AvatarFrame) / frames;
    Costs { patch: (cost(&Outcome::Patch(patch)) - copy) / frames, no_picture, idle: idle / frames }
}

/// One that holds half a minute, so that what is measured includes that old events go.
fn full() -> BlackBox {
    let (session, program, id) = ("bench".to_owned(), "lipcast".to_owned(), "nobody".to_owned());
    let avatar = AvatarMark { id, frames_blake3: String::new(), frame_count: 1, width: 512, height: 512 };
    let subject = Subject { session, program, avatar, fps: FrameRate::FPS_25, settings: Default::default() };
    BlackBox::new(subject, Limits { window: Duration::from_secs(3_600), bytes: 2 << 20 })
}

fn mark() -> BackendMark {
    let (name, id, summary) = ("bench".to_owned(), "bench".to_owned(), String::new());
    BackendMark { name, id, blob_version: 1, summary, lookahead: 0, lookbehind: 0 }
}
