//! A backend for Lipcast: the mouth opens as far as the voice is loud.
//!
//! An avatar's frames come in once and become a blob; the blob comes back as a loaded avatar; then 16 kHz speech comes
//! in and patches go out, 25 times a second. The calls below stand in that order.
#![forbid(unsafe_code)]

mod mouth;

use std::sync::Arc;

use lipcast_plugins_api::author::*;
use lipcast_plugins_api::serde_json::{Value, json};
use mouth::Mouth;

/// One loaded backend. A model would keep its weights here.
pub struct Talker {
    /// 0 to 2.
    strength: f32,
}

/// A person, shared by all sessions that show it.
pub struct Person {
    canvas: (u32, u32),
    fps: (u32, u32),
    mouths: Vec<Mouth>,
}

/// One performance.
pub struct Performance {
    person: Arc<Person>,
    params: SessionParams,
    audio: AudioTimeline,
}

/// The first bytes of a blob; change it when the layout changes, and `blob_version` below with it.
const MAGIC: u32 = u32::from_le_bytes(*b"TLK1");

/// Audio before a frame that is listened to, samples at 16 kHz: 40 ms.
const BEFORE: u64 = 640;

impl Backend for Talker {
    type Avatar = Person;
    type Session = Performance;

    /// The name tag. No files, no devices here: it is read before anything is loaded.
    fn descriptor() -> Descriptor {
        Descriptor {
            id: "org.example.talker".into(),
            name: "Talker".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            vendor: "you".into(),
            license: env!("CARGO_PKG_LICENSE").into(),
            url: String::new(),
            capabilities: Capabilities {
                // A model that hears the future says here how much: speech is heard that much later.
                lookahead_ms: 0,
                lookbehind_ms: 40,
                max_batch: 16,
                prepare: Prepare { frames: true, landmarks: true, ..Prepare::default() },
                blob_version: 1,
                prepare_concurrent: true,
                deterministic: true,
                ..Capabilities::default()
            },
        }
    }

    /// Loads weights and warms up. It may take minutes: call `operation.progress` and `operation.check`.
    fn create(host: Host, config: Value, _operation: &Operation<'_>) -> Result<Self, Error> {
        let strength = match &config {
            Value::Null => 1.0,
            Value::Object(table) => {
                if let Some(key) = table.keys().find(|key| *key != "strength") {
                    return Err(Error::invalid_arg(format!(
                        "there is no setting `{key}`; there is `strength`"
                    )));
                }
                let value = table.get("strength").cloned().unwrap_or_else(|| json!(1.0));
                let number = value.as_f64().filter(|number| (0.0..=2.0).contains(number));
                number.ok_or_else(|| Error::invalid_arg(format!("`strength` is 0 to 2, not {value}")))? as f32
            }
            other => return Err(Error::invalid_arg(format!("settings are a table, not {other}"))),
        };
        host.log(LogLevel::Info, "talker", "ready");
        Ok(Self { strength })
    }

    /// Frames in, blob out: once per avatar. A frame without a face is no error; nothing is painted there.
    fn prepare_avatar(
        &self,
        source: &AvatarSource<'_>,
        _params: &Value,
        sink: &mut BlobSink<'_>,
        operation: &Operation<'_>,
    ) -> Result<(), Error> {
        let (size, (num, den), count) = (source.size(), source.fps(), source.frame_count());
        write(sink, &[MAGIC, size.0, size.1, num, den, count])?;
        for frame in 0..count {
            operation.check()?;
            match source.landmarks(frame).and_then(|points| Mouth::find(&points, size)) {
                None => write(sink, &[0; 7])?,
                Some((rect, line, (left, right))) => {
                    write(sink, &[rect.x, rect.y, rect.width, rect.height, line, left, right])?;
                    let mut rgba = Vec::with_capacity(PixelFormat::Rgba.bytes(&rect) as usize);
                    source.with_frame(frame, |picture| {
                        for y in 0..rect.height {
                            let row = &picture.row(rect.y + y)[3 * rect.x as usize..];
                            for (x, rgb) in (0..rect.width).zip(row.chunks_exact(3)) {
                                rgba.extend_from_slice(&[rgb[0], rgb[1], rgb[2], Mouth::alpha(&rect, x, y)]);
                            }
                        }
                    })?;
                    sink.write(&rgba)?;
                }
            }
            operation.progress(1000 * (frame + 1) / count, "mouths");
        }
        Ok(())
    }

    /// Blob in, avatar out. The blob has been on a disk: believe none of it, and never panic.
    fn load_avatar(&self, blob: &[u8]) -> Result<Person, Error> {
        read_person(blob).ok_or_else(|| Error::blob_incompatible("not a whole blob of talker"))
    }

    fn avatar_info(&self, person: &Person) -> AvatarInfo {
        // Slots are as large as `max_rect`: the smallest rectangle around all mouths.
        let rects = || person.mouths.iter().map(|mouth| mouth.rect).filter(|rect| !rect.is_empty());
        let (x0, y0) = (rects().map(|r| r.x).min().unwrap_or(0), rects().map(|r| r.y).min().unwrap_or(0));
        let x1 = rects().map(|r| r.x + r.width).max().unwrap_or(2);
        let y1 = rects().map(|r| r.y + r.height).max().unwrap_or(2);
        AvatarInfo {
            canvas: person.canvas,
            fps: person.fps,
            frame_count: person.mouths.len() as u32,
            max_rect: Rect::new(x0, y0, x1 - x0, y1 - y0),
            slots: 0,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::Ask,
        }
    }

    /// A fixed mask per avatar frame. Ours is in the pictures themselves (`Alpha::Inline`).
    fn frame_mask<'a>(&self, _person: &'a Person, _frame: u32) -> Result<FrameMask<'a>, Error> {
        Ok(FrameMask { rect: Rect::default(), alpha: None })
    }

    fn open_session(&self, person: Arc<Person>, params: &SessionParams) -> Result<Performance, Error> {
        if params.mode == SessionMode::Whole {
            return Err(Error::unsupported("it keeps too little audio for a whole utterance"));
        }
        Ok(Performance { person, params: params.clone(), audio: AudioTimeline::new(AudioTimeline::LIVE) })
    }

    /// What finds no room is answered with `WOULD_BLOCK`, and comes again after the next batch.
    fn push_audio(&self, session: &mut Performance, first: u64, pcm: &[f32], end: bool) -> Result<(), Error> {
        session.audio.push(first, pcm, end)
    }

    /// Barge-in: forget what was heard.
    fn reset(&self, session: &mut Performance, _epoch: u32) -> Result<(), Error> {
        session.audio.clear();
        Ok(())
    }

    /// One batch, requests of several sessions. A model gathers its inputs first and runs them together.
    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        batch.for_each(|request| {
            let session = &mut *request.session;
            let opening = (session.loudness(request.frame) * self.strength).min(1.0);
            let mouth = session.person.mouths.get(request.avatar_frame as usize);
            match mouth.filter(|mouth| opening > 0.0 && !mouth.rect.is_empty()) {
                // The avatar's own frame shows.
                None => request.output.nothing(),
                Some(mouth) => {
                    let picture = request.output.picture(mouth.rect, PixelFormat::Rgba, Alpha::Inline)?;
                    mouth.draw(opening, picture);
                }
            }
            if session.is_over(request.frame) {
                request.output.at_rest();
            }
            Ok(())
        });
        Ok(())
    }
}

impl Performance {
    /// 0 in silence, 1 for a loud voice: a function of frame and audio alone, so the same audio gives the same frame.
    fn loudness(&mut self, frame: u64) -> f32 {
        let (first, end) = (self.params.first_sample(frame), self.params.first_sample(frame + 1));
        let mut pcm = vec![0.0; (end - first + BEFORE) as usize];
        self.audio.window(first as i64 - BEFORE as i64, &mut pcm);
        // Anything may come in: what is no number is silence, and what is too loud is as loud as it gets.
        let square = |sample: &f32| if sample.is_finite() { sample.clamp(-1.0, 1.0).powi(2) } else { 0.0 };
        let rms = (pcm.iter().map(square).sum::<f32>() / pcm.len() as f32).sqrt();
        // Below this it is the room.
        if rms < 0.004 { 0.0 } else { ((rms - 0.004) * 6.0).sqrt().min(1.0) }
    }

    /// The speech is over and out of earshot: the host may go on with the avatar's own frames.
    fn is_over(&self, frame: u64) -> bool {
        self.audio.ended() && self.params.first_sample(frame) >= self.audio.end() + BEFORE
    }
}

fn write(sink: &mut BlobSink<'_>, numbers: &[u32]) -> Result<(), Error> {
    sink.write(&numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>())
}

fn read_person(mut blob: &[u8]) -> Option<Person> {
    let [magic, width, height, num, den, count] = take(&mut blob)?;
    let even = |length: u32| (2..=8_192).contains(&length) && length.is_multiple_of(2);
    // A rate that nobody films at would make frames of millions of samples.
    let rate = den > 0 && (1..=240).contains(&(num / den));
    if magic != MAGIC || !even(width) || !even(height) || !rate || count == 0 {
        return None;
    }
    let mut mouths = Vec::new();
    for _ in 0..count {
        let [x, y, columns, rows, line, left, right] = take(&mut blob)?;
        let rect = Rect::new(x, y, columns, rows);
        let inside = rect.is_even() && Rect::new(0, 0, width, height).contains(&rect);
        let sane = rect.is_empty() || (line < rows && left <= right && right <= columns);
        if !inside || !sane {
            return None;
        }
        let (rgba, rest) = blob.split_at_checked(PixelFormat::Rgba.bytes(&rect) as usize)?;
        mouths.push(Mouth { rect, line, corners: (left, right), rgba: rgba.to_vec() });
        blob = rest;
    }
    blob.is_empty().then_some(Person { canvas: (width, height), fps: (num, den), mouths })
}

fn take<const N: usize>(blob: &mut &[u8]) -> Option<[u32; N]> {
    let (head, rest) = blob.split_at_checked(4 * N)?;
    *blob = rest;
    Some(std::array::from_fn(|i| u32::from_le_bytes(std::array::from_fn(|byte| head[4 * i + byte]))))
}

lipcast_plugins_api::export_backend!(Talker);
