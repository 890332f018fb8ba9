//! A sample of the kind that moves a whole head: ordered frames, computed a chunk at a time, each with its own alpha.
//!
//! The head nods as loud as the voice is. A spring carries the nod from frame to frame, so every frame needs the one
//! before it: `order` is SEQUENTIAL. Four frames are worked out at once, and `lookahead_ms` covers the rest of the
//! chunk. After the speech the host asks on (`RestPolicy::Ask`) until the spring has come back.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;

use lipcast_plugins_api::author::*;
use lipcast_plugins_api::serde_json::Value;

/// Frames worked out at once, where the look-ahead reaches so far.
const CHUNK: u64 = 4;

/// Audio after a frame's end that is looked at; three frames at 15 a second or more.
const LOOKAHEAD_MS: u32 = 200;

/// As far as the head nods.
const FULL: i32 = 65_536;

const MAGIC: u32 = u32::from_le_bytes(*b"SEQ1");

struct Sequential;

/// What `prepare_avatar` cut out: the head of each frame.
struct Person {
    canvas: (u32, u32),
    fps: (u32, u32),
    heads: Vec<Head>,
}

/// The rect is empty where no face was found; `rgb` has 3·width·height bytes.
struct Head {
    rect: Rect,
    rgb: Vec<u8>,
}

struct Performance {
    person: Arc<Person>,
    params: SessionParams,
    audio: AudioTimeline,
    /// The nod of the frame drawn last.
    nod: Nod,
    /// Worked out and not asked for yet: the state at each of the frames from `next` on.
    chunk: VecDeque<Nod>,
    /// The frame that must come next; `None` before the first.
    next: Option<u64>,
}

/// Place and speed a frame, 65536 being as far as it goes. Whole numbers, so that the same audio gives the same frame on
/// every machine; fine ones, so that rounding does not keep it from coming to rest.
#[derive(Clone, Copy, Default, PartialEq)]
struct Nod {
    place: i32,
    speed: i32,
}

impl Nod {
    /// One frame on: pulled to `target`, slowed down.
    fn step(self, target: i32) -> Self {
        let speed = (self.speed + (target - self.place) * 3 / 8) * 5 / 8;
        Self { place: (self.place + speed).clamp(-FULL, FULL), speed }
    }

    /// Too little to be seen. A nod is there fifteen frames after the last sound, well before a host loses patience.
    fn is_still(self) -> bool {
        self.place.abs() <= FULL / 32 && self.speed.abs() <= FULL / 32
    }
}

impl Backend for Sequential {
    type Avatar = Person;
    type Session = Performance;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "org.example.sequential".into(),
            name: "Sequential sample".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            vendor: "you".into(),
            license: "MIT OR Apache-2.0".into(),
            url: String::new(),
            capabilities: Capabilities {
                lookahead_ms: LOOKAHEAD_MS,
                // Half a second after it was hit the spring stands still.
                lookbehind_ms: 1_000,
                order: FrameOrder::Sequential,
                chunk_frames: CHUNK as u32,
                max_batch: 8,
                prepare: Prepare { frames: true, face_box: true, ..Prepare::default() },
                prepare_concurrent: true,
                deterministic: true,
                ..Capabilities::default()
            },
        }
    }

    fn create(_host: Host, config: Value, _operation: &Operation<'_>) -> Result<Self, Error> {
        match config.as_object().and_then(|table| table.keys().next()) {
            Some(key) => Err(Error::invalid_arg(format!("this sample has no setting `{key}`"))),
            None => Ok(Self),
        }
    }

    fn prepare_avatar(
        &self,
        source: &AvatarSource<'_>,
        _params: &Value,
        sink: &mut BlobSink<'_>,
        operation: &Operation<'_>,
    ) -> Result<(), Error> {
        let ((width, height), (num, den), count) = (source.size(), source.fps(), source.frame_count());
        write_numbers(sink, &[MAGIC, width, height, num, den, count])?;
        for frame in 0..count {
            operation.check()?;
            let rect = source.face_box(frame).map_or(Rect::default(), |face| head(face, width, height));
            write_numbers(sink, &[rect.x, rect.y, rect.width, rect.height])?;
            let mut rgb = Vec::with_capacity(PixelFormat::Rgb24.bytes(&rect) as usize);
            if !rect.is_empty() {
                source.with_frame(frame, |picture| {
                    for y in rect.y..rect.y + rect.height {
                        let row = &picture.row(y)[3 * rect.x as usize..];
                        rgb.extend_from_slice(&row[..3 * rect.width as usize]);
                    }
                })?;
            }
            sink.write(&rgb)?;
            operation.progress(1000 * (frame + 1) / count, "heads");
        }
        Ok(())
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Person, Error> {
        read_person(blob).ok_or_else(|| Error::blob_incompatible("not a whole blob of this sample"))
    }

    fn avatar_info(&self, person: &Person) -> AvatarInfo {
        AvatarInfo {
            canvas: person.canvas,
            fps: person.fps,
            frame_count: person.heads.len() as u32,
            max_rect: Rect::new(0, 0, person.canvas.0, person.canvas.1),
            slots: CHUNK as u32,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::Ask,
        }
    }

    fn frame_mask<'a>(&self, _person: &'a Person, _frame: u32) -> Result<FrameMask<'a>, Error> {
        // Every result brings its own rect and alpha.
        Ok(FrameMask { rect: Rect::default(), alpha: None })
    }

    fn open_session(&self, person: Arc<Person>, params: &SessionParams) -> Result<Performance, Error> {
        if params.mode == SessionMode::Whole {
            return Err(Error::unsupported("it keeps too little audio for a whole utterance"));
        }
        let audio = AudioTimeline::new(AudioTimeline::LIVE);
        let (nod, chunk) = (Nod::default(), VecDeque::new());
        Ok(Performance { person, params: params.clone(), audio, nod, chunk, next: None })
    }

    fn push_audio(&self, session: &mut Performance, first: u64, pcm: &[f32], end: bool) -> Result<(), Error> {
        session.audio.push(first, pcm, end)
    }

    fn reset(&self, session: &mut Performance, _epoch: u32) -> Result<(), Error> {
        session.audio.clear();
        session.chunk.clear();
        (session.nod, session.next) = (Nod::default(), None);
        Ok(())
    }

    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        batch.for_each(|request| {
            let session = &mut *request.session;
            session.advance(request.frame, request.first)?;
            let resting = session.nod.is_still() && session.is_over(request.frame);
            if request.discard_ok {
                // The spring has moved on; the picture nobody waits for is left out.
                request.output.left_out();
                return Ok(());
            }
            session.person.draw(request.avatar_frame, session.nod, &mut request.output)?;
            if resting {
                request.output.at_rest();
            }
            Ok(())
        });
        Ok(())
    }
}

impl Performance {
    /// Moves the spring to `frame`, working out the next chunk when the last one is used up.
    fn advance(&mut self, frame: u64, first: bool) -> Result<(), Error> {
        if first {
            // A new run: what was worked out beyond the last one is of no more use.
            self.chunk.clear();
        } else if let Some(next) = self.next.filter(|next| *next != frame) {
            return Err(Error::invalid_arg(format!("frame {frame} is asked for, frame {next} comes next")));
        }
        if self.chunk.is_empty() {
            let reach = u64::from(LOOKAHEAD_MS) * u64::from(self.params.fps.0);
            let reach = reach / (1_000 * u64::from(self.params.fps.1));
            let mut nod = self.nod;
            for ahead in 0..CHUNK.min(1 + reach) {
                nod = nod.step(self.loudness(frame + ahead));
                self.chunk.push_back(nod);
            }
        }
        self.nod = self.chunk.pop_front().unwrap_or_default();
        self.next = Some(frame + 1);
        Ok(())
    }

    /// 0 to [`FULL`]: the largest sample of frame `frame`.
    fn loudness(&mut self, frame: u64) -> i32 {
        let first = self.params.first_sample(frame);
        let mut pcm = vec![0.0_f32; (self.params.first_sample(frame + 1) - first) as usize];
        self.audio.window(first as i64, &mut pcm);
        let peak = pcm.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        (peak.min(1.0) * FULL as f32) as i32
    }

    /// Nothing more is to be heard from `frame` on.
    fn is_over(&self, frame: u64) -> bool {
        self.audio.ended() && self.params.first_sample(frame) >= self.audio.end()
    }
}

impl Person {
    /// The whole canvas: transparent but for the head, which is moved down by the nod.
    fn draw(&self, frame: u32, nod: Nod, output: &mut FrameOutput<'_>) -> Result<(), Error> {
        let head =
            self.heads.get(frame as usize).ok_or_else(|| Error::invalid_arg("no such avatar frame"))?;
        let (width, height) = self.canvas;
        let canvas = Rect::new(0, 0, width, height);
        let picture = output.picture(canvas, PixelFormat::Rgba, Alpha::Inline)?;
        picture.fill(0);
        let Rect { x, y, width: columns, height: rows } = head.rect;
        // A twelfth of the head's height is as far as it nods.
        let down = nod.place * rows as i32 / (12 * FULL);
        for (row, rgb) in head.rgb.chunks_exact((3 * columns).max(1) as usize).enumerate() {
            let Ok(line) = usize::try_from(y as i32 + row as i32 + down) else { continue };
            let Some(start) = (line < height as usize).then(|| 4 * (line * width as usize + x as usize))
            else {
                break;
            };
            let out = &mut picture[start..start + 4 * columns as usize];
            for (column, (to, from)) in out.chunks_exact_mut(4).zip(rgb.chunks_exact(3)).enumerate() {
                to[..3].copy_from_slice(from);
                to[3] = oval(column as u32, row as u32, columns, rows);
            }
        }
        Ok(())
    }
}

/// Alpha of a soft oval that fills `width` by `height`.
fn oval(x: u32, y: u32, width: u32, height: u32) -> u8 {
    let centred = |at: u32, length: u32| (2.0 * at as f32 + 1.0) / length as f32 - 1.0;
    let (x, y) = (centred(x, width), centred(y, height));
    ((1.0 - (x * x + y * y).sqrt()).clamp(0.0, 0.25) * 4.0 * 255.0) as u8
}

/// The face box grown by a fifth, even, inside the canvas; empty when nothing is left of it.
fn head([x0, y0, x1, y1]: [f32; 4], width: u32, height: u32) -> Rect {
    let (dx, dy) = ((x1 - x0) * 0.2, (y1 - y0) * 0.2);
    let even = |value: f32, limit: u32| (value.max(0.0) as u32).min(limit) / 2 * 2;
    let (left, top) = (even(x0 - dx, width), even(y0 - dy, height));
    let (right, bottom) = (even(x1 + dx, width), even(y1 + dy, height));
    if right <= left || bottom <= top {
        return Rect::default();
    }
    Rect::new(left, top, right - left, bottom - top)
}

fn write_numbers(sink: &mut BlobSink<'_>, numbers: &[u32]) -> Result<(), Error> {
    sink.write(&numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>())
}

/// Nothing in the blob is believed: it has been on a disk.
fn read_person(mut blob: &[u8]) -> Option<Person> {
    let blob = &mut blob;
    let [magic, width, height, num, den, count] = read_numbers(blob)?;
    let even = |length: u32| (2..=8_192).contains(&length) && length.is_multiple_of(2);
    // A rate that nobody films at would make frames of millions of samples.
    let rate = den > 0 && (1..=240).contains(&(num / den));
    if magic != MAGIC || !even(width) || !even(height) || !rate || count == 0 {
        return None;
    }
    let mut heads = Vec::new();
    for _ in 0..count {
        let [x, y, columns, rows] = read_numbers(blob)?;
        let rect = Rect::new(x, y, columns, rows);
        if !rect.is_even() || !Rect::new(0, 0, width, height).contains(&rect) {
            return None;
        }
        let (rgb, rest) = blob.split_at_checked(PixelFormat::Rgb24.bytes(&rect) as usize)?;
        heads.push(Head { rect, rgb: rgb.to_vec() });
        *blob = rest;
    }
    blob.is_empty().then_some(Person { canvas: (width, height), fps: (num, den), heads })
}

fn read_numbers<const N: usize>(blob: &mut &[u8]) -> Option<[u32; N]> {
    let (head, rest) = blob.split_at_checked(4 * N)?;
    *blob = rest;
    Some(std::array::from_fn(|i| {
        u32::from_le_bytes([head[4 * i], head[4 * i + 1], head[4 * i + 2], head[4 * i + 3]])
    }))
}

lipcast_plugins_api::export_backend!(Sequential);
