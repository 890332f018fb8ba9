//! One performance: speech in, the pose of each frame out.
//!
//! Each run of speech has a [`SpeechToMouth`] of its own and begins at rest. The pose of a frame depends on its number
//! and the audio only, never on which frames were asked for before.

use std::collections::VecDeque;
use std::sync::Arc;

use lipcast_plugins_api::author::{
    Alpha, Code, Error, FrameRequest, PixelFormat, SessionMode, SessionParams,
};

use crate::DemoBackend;
use crate::avatar::Avatar;
use crate::speech::SpeechToMouth;
use crate::warp::{Patch, Pose, Renderer};

/// Samples in a second.
const RATE: f32 = 16_000.0;
/// Seconds in which a run of speech takes over from the one before.
const EASE_IN: f32 = 0.14;
/// Audio that waits for its frames to be asked for, at most, in a live session: ten minutes.
const MOST_WAITING: usize = 600 * 16_000;
/// A run that follows this closely on another is blended with it: runs kept.
const RUNS: usize = 2;

/// The state of one performance.
#[derive(Debug)]
pub struct Session {
    avatar: Arc<Avatar>,
    params: SessionParams,
    runs: VecDeque<Run>,
    renderer: Renderer,
    /// The stored patch and the posed one, RGB24.
    source: Vec<u8>,
    pub(crate) posed: Vec<u8>,
}

/// One run of speech.
#[derive(Debug)]
struct Run {
    speech: SpeechToMouth,
    /// Audio that no frame has needed yet; the speech network hears no more than the look-ahead.
    waiting: VecDeque<f32>,
    /// Samples that it has heard.
    heard: u64,
    /// Session samples: the first, and one past the last so far.
    first: u64,
    end: u64,
    ended: bool,
}

impl Session {
    pub(crate) fn new(avatar: Arc<Avatar>, params: SessionParams) -> Self {
        Self {
            avatar,
            params,
            runs: VecDeque::with_capacity(RUNS + 1),
            renderer: Renderer::default(),
            source: Vec::new(),
            posed: Vec::new(),
        }
    }

    /// Appends audio; audio that does not follow on the last, or follows its end, begins a new run.
    pub(crate) fn push(&mut self, first_sample: u64, pcm: &[f32], end: bool) -> Result<(), Error> {
        let known = self.runs.back().map_or(0, |run| run.end);
        if first_sample < known {
            let message = format!("audio from sample {first_sample} after audio up to {known}");
            return Err(Error::invalid_arg(message));
        }
        let goes_on = self.runs.back().is_some_and(|run| !run.ended && run.end == first_sample);
        if !goes_on {
            if let Some(run) = self.runs.back_mut() {
                run.finish();
            }
            if pcm.is_empty() {
                return Ok(());
            }
            self.runs.push_back(Run {
                speech: SpeechToMouth::new(),
                waiting: VecDeque::new(),
                heard: 0,
                first: first_sample,
                end: first_sample,
                ended: false,
            });
            if self.runs.len() > RUNS {
                self.runs.pop_front();
            }
        }
        let Some(run) = self.runs.back_mut() else { return Ok(()) };
        if self.params.mode == SessionMode::Live && run.waiting.len() + pcm.len() > MOST_WAITING {
            return Err(
                Error::new(Code::WouldBlock, "ten minutes of audio wait for their frames").retryable()
            );
        }
        run.waiting.extend(pcm);
        run.end += pcm.len() as u64;
        if end {
            run.finish();
        }
        Ok(())
    }

    /// Drops all audio and motion.
    pub(crate) fn reset(&mut self) {
        self.runs.clear();
    }

    /// What the mouth does in video frame `frame`.
    pub(crate) fn pose(&mut self, frame: u64) -> Pose {
        let (start, end) = (self.params.first_sample(frame), self.params.first_sample(frame + 1));
        let mut pose = Pose::default();
        for run in self.runs.iter_mut().filter(|run| run.first <= start) {
            // A run that began while the one before it was still moving takes over from it.
            pose = take_over(pose, run.pose(start, end), run.rise(end));
        }
        pose
    }

    /// Draws one request.
    pub(crate) fn draw(request: &mut FrameRequest<'_, DemoBackend>) -> Result<(), Error> {
        let session = &mut *request.session;
        let pose = session.pose(request.frame);
        let avatar = Arc::clone(&session.avatar);
        let Some(frame) = avatar.frame(request.avatar_frame) else {
            let (asked, count) = (request.avatar_frame, avatar.header().frames);
            return Err(Error::invalid_arg(format!("avatar frame {asked} of {count}")));
        };
        let rect = avatar.rect(frame);
        let moves = !request.discard_ok && !rect.is_empty() && session.render(request.avatar_frame, &pose);
        if moves {
            let out = request.output.picture(rect, PixelFormat::Rgb24, Alpha::Static)?;
            let [columns, rows] = avatar.header().patch.map(|side| side as usize);
            enlarge(&session.posed, columns, rows, avatar.header().scale as usize, out);
        } else {
            request.output.nothing();
        }
        if pose.presence <= 0.0 {
            request.output.at_rest();
        }
        Ok(())
    }

    /// Poses the stored patch; `false` if that leaves it as it is.
    pub(crate) fn render(&mut self, index: u32, pose: &Pose) -> bool {
        if pose.presence <= 0.0 {
            return false;
        }
        let Some(frame) = self.avatar.frame(index) else { return false };
        let [columns, rows] = self.avatar.header().patch.map(|side| side as usize);
        self.avatar.picture(index, &mut self.source);
        self.posed.resize(self.source.len(), 0);
        let Some(source) = Patch::new(&self.source, columns, rows) else { return false };
        let looks = self.avatar.looks();
        self.renderer.render(source, &frame.mouth, &looks.palette, looks.rest_gap, pose, &mut self.posed)
    }
}

impl Run {
    fn finish(&mut self) {
        self.ended = true;
        if self.waiting.is_empty() {
            self.speech.finish();
        }
    }

    /// Lets the speech network hear what the frame up to run sample `end` needs.
    fn hear(&mut self, end: u64) {
        let needed = end + u64::from(SpeechToMouth::LOOKAHEAD_MS) * 16;
        let count = (needed.saturating_sub(self.heard)).min(self.waiting.len() as u64) as usize;
        if count > 0 {
            self.waiting.make_contiguous();
            self.speech.push(&self.waiting.as_slices().0[..count]);
            self.waiting.drain(..count);
            self.heard += count as u64;
        }
        if self.ended && self.waiting.is_empty() {
            self.speech.finish();
        }
    }

    /// How far into the run its mouth has taken over, at the end of a frame.
    fn rise(&self, end: u64) -> f32 {
        smooth(end.saturating_sub(self.first) as f32 / RATE / EASE_IN)
    }

    fn pose(&mut self, start: u64, end: u64) -> Pose {
        self.hear(end - self.first);
        let shape = self.speech.shape(start - self.first, end - self.first);
        Pose {
            opening: shape.opening,
            width: shape.width,
            teeth: shape.teeth,
            closed: shape.closed,
            presence: shape.presence,
        }
    }
}

/// `to` in place of `from` as far as `part` says; each counts by its presence. Where nothing is there to be taken over
/// from, `to` comes at once.
fn take_over(from: Pose, to: Pose, part: f32) -> Pose {
    let old = from.presence * (1.0 - part);
    let new = to.presence * (1.0 - old);
    let sum = old + new;
    if sum <= 0.0 {
        return Pose::default();
    }
    let weigh = |a: f32, b: f32| (a * old + b * new) / sum;
    Pose {
        opening: weigh(from.opening, to.opening),
        width: weigh(from.width, to.width),
        teeth: weigh(from.teeth, to.teeth),
        closed: weigh(from.closed, to.closed),
        presence: sum,
    }
}

fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Writes RGB24 at `scale` times its size, bilinear.
fn enlarge(small: &[u8], columns: usize, rows: usize, scale: usize, out: &mut [u8]) {
    if scale == 1 {
        out.copy_from_slice(small);
        return;
    }
    // Where a large pixel's centre lies among the small ones: the first of two, and the part of the second in 256.
    let place = |at: usize, size: usize| {
        let twice = (2 * at + 1) as f32 / (2 * scale) as f32 - 0.5;
        let first = (twice.max(0.0) as usize).min(size - 2);
        (first, ((twice - first as f32).clamp(0.0, 1.0) * 256.0) as u32)
    };
    let across: Vec<(usize, u32)> = (0..columns * scale).map(|x| place(x, columns)).collect();
    for (y, line) in out.chunks_exact_mut(columns * scale * 3).enumerate() {
        let (row, fy) = place(y, rows);
        for (pixel, (column, fx)) in line.chunks_exact_mut(3).zip(&across) {
            let at = (row * columns + column) * 3;
            for (c, value) in pixel.iter_mut().enumerate() {
                let sample = |offset: usize| u32::from(small[at + c + offset]);
                let top = sample(0) * (256 - fx) + sample(3) * fx;
                let bottom = sample(columns * 3) * (256 - fx) + sample(columns * 3 + 3) * fx;
                *value = ((top * (256 - fy) + bottom * fy + (1 << 15)) >> 16) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_enlarged_to_a_ramp() {
        let (columns, rows) = (5, 3);
        let small: Vec<u8> = (0..rows).flat_map(|_| (0..columns).flat_map(|x| [40 * x as u8; 3])).collect();
        let mut large = vec![0; columns * rows * 4 * 3];
        enlarge(&small, columns, rows, 2, &mut large);
        let line: Vec<u8> = large.chunks(3).take(columns * 2).map(|p| p[0]).collect();
        assert_eq!(line, [0, 10, 30, 50, 70, 90, 110, 130, 150, 160]);
        assert!(large.chunks(columns * 6).all(|row| row == &large[..columns * 6]));
    }

    #[test]
    fn a_run_takes_over_from_the_one_before_without_a_jump() {
        let old = Pose { opening: 0.8, presence: 0.6, ..Pose::default() };
        let new = Pose { opening: 0.2, presence: 1.0, ..Pose::default() };
        // A run begins at rest, and is present sooner than it has taken over.
        let rising = |part: f32| Pose { presence: (2.0 * part).min(1.0), ..new };
        let poses = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| take_over(old, rising(part), part));
        assert_eq!((poses[0], poses[4]), (old, new));
        assert!(poses.windows(2).all(|w| w[1].opening < w[0].opening && w[1].presence >= w[0].presence));
        assert_eq!(take_over(Pose::default(), new, 0.0), new);
    }
}
