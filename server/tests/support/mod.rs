//! A session without an engine and a viewer without a browser.

#![allow(dead_code, unreachable_pub, reason = "each test binary is a crate that uses its own part of this")]

pub(crate) mod client;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use lipcast_codecs::{I420, I420Ref};
use lipcast_engine::time::FrameRate;
use lipcast_server::live::{LiveStream, LiveUnit, StreamFormat};

pub(crate) const FPS: FrameRate = FrameRate::FPS_25;

/// A picture that moves, and a hum.
pub(crate) struct TestUnit {
    frame: u64,
    picture: I420,
    pcm: Vec<f32>,
}

impl TestUnit {
    pub(crate) fn new(frame: u64) -> Self {
        let mut picture = I420::black(128, 96).unwrap();
        for (index, pixel) in picture.data_mut()[..128 * 96].iter_mut().enumerate() {
            *pixel = 30 + ((index as u64 * 7 + index as u64 / 128 * 13 + frame * 5) % 190) as u8;
        }
        let samples = FPS.first_sample(frame, 48_000)..FPS.first_sample(frame + 1, 48_000);
        let pcm = samples.map(|sample| (sample as f32 * 0.05).sin() * 0.3).collect();
        Self { frame, picture, pcm }
    }
}

impl LiveUnit for TestUnit {
    fn frame(&self) -> u64 {
        self.frame
    }

    fn picture(&self) -> I420Ref<'_> {
        self.picture.as_view()
    }

    fn pcm_48k(&self) -> &[f32] {
        &self.pcm
    }
}

/// A stream whose units the test hands over itself, and the sign that the first viewer came.
pub(crate) fn stream() -> (Arc<LiveStream>, SyncSender<TestUnit>, Receiver<()>) {
    let (units, receiver) = sync_channel(2);
    let (first, came) = sync_channel(8);
    let format =
        StreamFormat { width: 128, height: 96, fps: FPS, video_bitrate: 800_000, audio_bitrate: 32_000 };
    let stream = LiveStream::start(format, receiver, move || first.send(()).unwrap()).unwrap();
    (stream, units, came)
}

/// Hands over units from the first viewer on, one each `pace`, until the returned guard is dropped.
pub(crate) fn performing(pace: Duration) -> (Arc<LiveStream>, Performer) {
    let (stream, units, came) = stream();
    let (stop, stopped) = sync_channel::<()>(0);
    let thread = std::thread::spawn(move || {
        if came.recv().is_err() {
            return;
        }
        for frame in 0.. {
            let ended = stopped.recv_timeout(pace) != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if ended || units.send(TestUnit::new(frame)).is_err() {
                return;
            }
        }
    });
    (stream, Performer { stop: Some(stop), thread: Some(thread) })
}

/// Ends the session when dropped.
pub(crate) struct Performer {
    stop: Option<SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Performer {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Without a viewer the thread waits for one until the stream is dropped as well.
        drop(self.thread.take());
    }
}
