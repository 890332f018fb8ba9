//! A batch of requests, of whatever sessions, drawn together.
//!
//! ```text
//! requests ─► who hears what ─► mel windows ─► (Whisper encoder) ─► tokens ─┐
//!                                                  latents of avatar frames ┴► (UNet, decoder) ─► faces ─► patches
//! ```
//!
//! Networks run for what somebody will see and for nothing else: not for late frames, not where the avatar
//! frame has no face, not where nothing was spoken. Windows that two frames share are encoded once, those of
//! equal length together. Memory grows to that of the largest batch and is kept.
//!
//! A request that fails is answered by itself, and its neighbours are drawn.

use std::time::Instant;

use lipcast_plugins_api::author::{Alpha, Backend, Batch, Code, Error, PixelFormat};

use crate::audio::{MelWindow, PositionCode, TOKEN_VALUES, WindowId};
use crate::image::{Bilinear, View};
use crate::mask::draw_patch;
use crate::networks::{FACE, FACE_BYTES, LATENTS, MELS, Network, Tensor};
use crate::session::Session;
use crate::settings::Settings;
use crate::stats::Counters;
use crate::worker::{Faces, Urgency, Worker};

/// Windows that one frame can need, one after the other: of a whole file it may lie across two segments.
const MOST_WINDOWS: usize = 2;

/// The memory of the inference thread.
#[derive(Default)]
pub(crate) struct Inference {
    wanted: Vec<Wanted>,
    windows: Vec<Window>,
    /// Mel of all windows, one after the other.
    mel: Vec<f32>,
    /// Windows that are encoded together, and their mel.
    group: Vec<usize>,
    input: Vec<f32>,
    /// Input of UNet and decoder, of all requests that are wanted.
    latents: Vec<f32>,
    audio: Vec<f32>,
    faces: Faces,
    resizer: Bilinear,
    positions: PositionCode,
}

/// What a batch is drawn with.
pub(crate) struct Means<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) settings: &'a Settings,
    pub(crate) counters: &'a Counters,
}

/// A request on its way to a picture.
struct Wanted {
    /// Its place in the batch.
    request: usize,
    /// The window that it waits for, by its place among the windows.
    window: Option<usize>,
    failed: Option<Error>,
}

/// A mel window that has to be encoded.
struct Window {
    session: u64,
    id: WindowId,
    columns: usize,
    /// Where its `[80, columns]` begin.
    mel: usize,
    /// A request of its session.
    request: usize,
    done: bool,
}

impl Inference {
    /// Answers every request of `batch`.
    pub(crate) fn run<B>(&mut self, batch: &mut Batch<'_, B>, means: &Means<'_>)
    where
        B: Backend<Session = Session>,
    {
        let begin = Instant::now();
        self.choose(batch, means);
        self.hear(batch, means);
        self.answer_failed(batch, means);
        self.gather(batch, means);
        self.answer_failed(batch, means);
        means.counters.hearing.spend(begin.elapsed());
        let mut from = 0;
        while from < self.wanted.len() {
            let count = bucket(means, self.wanted.len() - from).min(self.wanted.len() - from);
            self.draw(batch, means, from, count);
            from += count;
        }
        self.answer_failed(batch, means);
        means.counters.frames.add(self.wanted.len() as u64);
    }

    /// Answers what needs no network; the rest is wanted.
    fn choose<B>(&mut self, batch: &mut Batch<'_, B>, means: &Means<'_>)
    where
        B: Backend<Session = Session>,
    {
        self.wanted.clear();
        for index in 0..batch.len() {
            let mut request = batch.request(index);
            let (frame, session) = (request.frame, &mut *request.session);
            let Some(face) = session.avatar.frame(request.avatar_frame) else {
                let (asked, count) = (request.avatar_frame, session.avatar.header().frames);
                request.output.fail(&Error::invalid_arg(format!("avatar frame {asked} of {count}")));
                means.counters.failed.add(1);
                continue;
            };
            let dropped = means.settings.compat.drop_last_frame && request.last;
            let (drawn, quiet) = (face.is_some() && !dropped, !session.speech.hears(frame));
            if drawn && !quiet && !request.discard_ok {
                self.wanted.push(Wanted { request: index, window: None, failed: None });
                continue;
            }
            session.speech.pass(frame);
            if request.discard_ok {
                request.output.left_out();
                means.counters.left_out.add(1);
                continue;
            }
            request.output.nothing();
            means.counters.plain.add(1);
            if quiet {
                request.output.at_rest();
            }
        }
    }

    /// Has the windows encoded that the wanted requests need.
    fn hear<B>(&mut self, batch: &mut Batch<'_, B>, means: &Means<'_>)
    where
        B: Backend<Session = Session>,
    {
        let limit = means.worker.device().buckets.iter().max().copied().unwrap_or(1);
        for _ in 0..MOST_WINDOWS {
            self.collect(batch);
            while let Some(columns) = self.windows.iter().find(|window| !window.done).map(|w| w.columns) {
                let alike = (0..self.windows.len())
                    .filter(|at| !self.windows[*at].done && self.windows[*at].columns == columns);
                self.group.clear();
                self.group.extend(alike.take(limit));
                let encoded = self.encode(columns, means);
                self.supply(batch, encoded);
            }
        }
    }

    /// Asks each session what its frame needs next.
    fn collect<B>(&mut self, batch: &mut Batch<'_, B>)
    where
        B: Backend<Session = Session>,
    {
        self.windows.clear();
        self.mel.clear();
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.failed.is_none()) {
            let request = batch.request(wanted.request);
            let session = request.session.serial;
            wanted.window = match request.session.speech.needs(request.frame) {
                Ok(None) => None,
                Ok(Some(MelWindow { id, columns, mel })) => {
                    let known = self.windows.iter().position(|w| (w.session, w.id) == (session, id));
                    Some(known.unwrap_or_else(|| {
                        let (start, request) = (self.mel.len(), wanted.request);
                        self.mel.extend_from_slice(mel);
                        self.windows.push(Window { session, id, columns, mel: start, request, done: false });
                        self.windows.len() - 1
                    }))
                }
                Err(error) => {
                    wanted.failed = Some(error.into());
                    None
                }
            };
        }
    }

    /// Encodes the windows of the group; gives features `[group, columns / 2, 5, 384]`.
    fn encode(&mut self, columns: usize, means: &Means<'_>) -> Result<Tensor, Error> {
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        for window in &self.group {
            input.extend_from_slice(&self.mel[self.windows[*window].mel..][..MELS * columns]);
        }
        means.counters.windows.add(self.group.len() as u64);
        let mel = Tensor::new([self.group.len(), MELS, columns], input);
        let (mut inputs, mut outputs) =
            means.worker.run(Network::WhisperEncoder, vec![mel], Urgency::Live)?;
        if let Some(mel) = inputs.pop() {
            self.input = mel.data;
        }
        outputs.pop().ok_or_else(|| Error::internal("the Whisper encoder gave no output"))
    }

    /// Hands what became of the group to its sessions; who waits for a window that failed has failed.
    fn supply<B>(&mut self, batch: &mut Batch<'_, B>, encoded: Result<Tensor, Error>)
    where
        B: Backend<Session = Session>,
    {
        for (place, &at) in self.group.iter().enumerate() {
            let window = &mut self.windows[at];
            window.done = true;
            let taken = match &encoded {
                Ok(features) => {
                    let each = features.data.len() / self.group.len();
                    let features = &features.data[place * each..][..each];
                    let session = batch.request(window.request).session;
                    session.speech.supply(window.id, features).map_err(Error::from)
                }
                Err(error) => Err(error.clone()),
            };
            if let Err(error) = taken {
                for wanted in self.wanted.iter_mut().filter(|wanted| wanted.window == Some(at)) {
                    wanted.failed = Some(error.clone());
                }
            }
        }
    }

    /// Lays out the latents and tokens of all that is wanted, one after the other.
    fn gather<B>(&mut self, batch: &mut Batch<'_, B>, means: &Means<'_>)
    where
        B: Backend<Session = Session>,
    {
        self.latents.clear();
        self.audio.clear();
        for wanted in &mut self.wanted {
            let request = batch.request(wanted.request);
            let Session { avatar, speech, .. } = request.session;
            let Some(Some(face)) = avatar.frame(request.avatar_frame) else {
                wanted.failed = Some(Error::internal("a face that was there is gone"));
                continue;
            };
            let start = self.audio.len();
            self.audio.resize(start + TOKEN_VALUES, 0.0);
            let tokens = &mut self.audio[start..];
            if let Err(error) = speech.tokens(request.frame, tokens) {
                wanted.failed = Some(error.into());
                self.audio.truncate(start);
                continue;
            }
            if means.settings.compat.no_positions {
                self.positions.remove(tokens);
            }
            self.latents.extend_from_slice(avatar.latents(face));
        }
    }

    /// Generates the faces of `count` wanted requests and draws them.
    fn draw<B>(&mut self, batch: &mut Batch<'_, B>, means: &Means<'_>, from: usize, count: usize)
    where
        B: Backend<Session = Session>,
    {
        let begin = Instant::now();
        let generated = self.generate(means, from, count);
        means.counters.generating.spend(begin.elapsed());
        match generated {
            Ok(()) => {
                let begin = Instant::now();
                for place in 0..count {
                    let wanted = &mut self.wanted[from + place];
                    let face = &self.faces.frames[place * FACE_BYTES..][..FACE_BYTES];
                    wanted.failed = paint(batch, wanted.request, face, &mut self.resizer).err();
                }
                means.counters.drawing.spend(begin.elapsed());
            }
            // One of them has spoilt it for all; alone, only that one fails.
            Err(error) if error.code == Code::BadOutput && count > 1 => {
                (from..from + count).for_each(|one| self.draw(batch, means, one, 1));
            }
            Err(error) => {
                let spoilt = &mut self.wanted[from..from + count];
                spoilt.iter_mut().for_each(|wanted| wanted.failed = Some(error.clone()));
            }
        }
    }

    /// Fills `faces.frames` with the faces of `count` wanted requests.
    fn generate(&mut self, means: &Means<'_>, from: usize, count: usize) -> Result<(), Error> {
        let size = bucket(means, count);
        let Faces { latents, audio, frames } = &mut self.faces;
        latents.clear();
        audio.clear();
        for place in 0..size {
            // The places that are left over repeat the last one.
            let at = from + place.min(count - 1);
            latents.extend_from_slice(&self.latents[at * LATENTS..][..LATENTS]);
            audio.extend_from_slice(&self.audio[at * TOKEN_VALUES..][..TOKEN_VALUES]);
        }
        frames.resize(size * FACE_BYTES, 0);
        means.counters.batches.add(1);
        means.counters.filled.add((size - count) as u64);
        means.worker.generate(&mut self.faces, Urgency::Live)
    }

    /// Answers those that failed; they are wanted no more.
    fn answer_failed<B: Backend>(&mut self, batch: &mut Batch<'_, B>, means: &Means<'_>) {
        self.wanted.retain(|wanted| {
            if let Some(error) = &wanted.failed {
                batch.request(wanted.request).output.fail(error);
                means.counters.failed.add(1);
            }
            wanted.failed.is_none()
        });
    }
}

/// Draws a generated face, `[256, 256, 3]`, into the slot of a request: what of it lies on the patch.
fn paint<B>(
    batch: &mut Batch<'_, B>,
    request: usize,
    pixels: &[u8],
    resizer: &mut Bilinear,
) -> Result<(), Error>
where
    B: Backend<Session = Session>,
{
    let mut request = batch.request(request);
    let Some(Some(face)) = request.session.avatar.frame(request.avatar_frame) else {
        return Err(Error::internal("a face that was there is gone"));
    };
    let out = request.output.picture(face.patch, PixelFormat::Rgb24, Alpha::Static)?;
    draw_patch(View::new(pixels, FACE, FACE), face.face, face.patch, resizer, out);
    Ok(())
}

/// The batch size that `count` frames are run in: the smallest with room for them, or the largest.
fn bucket(means: &Means<'_>, count: usize) -> usize {
    let buckets = &means.worker.device().buckets;
    let fits = buckets.iter().filter(|size| **size >= count).min();
    fits.or(buckets.iter().max()).copied().unwrap_or(1)
}
