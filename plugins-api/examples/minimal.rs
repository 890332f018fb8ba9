//! The smallest whole backend: a square in the middle of the face box that is as bright as the voice is
//! loud. Copy it to begin; `docs/plugin-abi.md` explains each step.
#![forbid(unsafe_code)]

use std::sync::Arc;

use lipcast_plugins_api::author::*;
use lipcast_plugins_api::serde_json::Value;

/// One loaded instance. There are no weights, so it holds nothing.
struct Minimal;

/// What `prepare_avatar` found out about a person, and `load_avatar` read back.
struct Person {
    canvas: (u32, u32),
    fps: (u32, u32),
    squares: Vec<Rect>,
}

/// One performance.
struct Performance {
    person: Arc<Person>,
    params: SessionParams,
    audio: AudioTimeline,
}

impl Backend for Minimal {
    type Avatar = Person;
    type Session = Performance;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "org.example.minimal".into(),
            name: "Minimal".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            vendor: "you".into(),
            license: "MIT OR Apache-2.0".into(),
            url: String::new(),
            capabilities: Capabilities {
                max_batch: 16,
                deterministic: true,
                prepare_concurrent: true,
                prepare: Prepare { face_box: true, ..Prepare::default() },
                ..Capabilities::default()
            },
        }
    }

    fn create(host: Host, _config: Value, _operation: &Operation<'_>) -> Result<Self, Error> {
        host.log(LogLevel::Info, "minimal", "ready");
        Ok(Self)
    }

    fn prepare_avatar(
        &self,
        source: &AvatarSource<'_>,
        _params: &Value,
        sink: &mut BlobSink<'_>,
        operation: &Operation<'_>,
    ) -> Result<(), Error> {
        let (width, height) = source.size();
        let (num, den) = source.fps();
        let count = source.frame_count();
        let mut numbers = vec![width, height, num, den];
        for frame in 0..count {
            operation.check()?;
            // A frame without a face keeps an empty square: nothing is painted there.
            let [x0, y0, x1, y1] = source.face_box(frame).unwrap_or_default().map(|v| v.max(0.0) as u32);
            let (x, y) = ((x0 + x1) / 4 * 2, (y0 + y1) / 4 * 2);
            let side = if x + 16 <= width && y + 16 <= height && x1 > x0 { 16 } else { 0 };
            numbers.extend([x, y, side, side]);
            operation.progress(1000 * (frame + 1) / count, "squares");
        }
        sink.write(&numbers.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<_>>())
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Person, Error> {
        let numbers: Vec<u32> =
            blob.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let [width, height, num, den, ref squares @ ..] = numbers[..] else {
            return Err(Error::blob_incompatible("too short"));
        };
        let canvas = Rect::new(0, 0, width, height);
        let squares: Vec<_> = squares.chunks_exact(4).map(|s| Rect::new(s[0], s[1], s[2], s[3])).collect();
        if num == 0 || den == 0 || squares.is_empty() || squares.iter().any(|s| !canvas.contains(s)) {
            return Err(Error::blob_incompatible("a square outside of its canvas"));
        }
        Ok(Person { canvas: (width, height), fps: (num, den), squares })
    }

    fn avatar_info(&self, person: &Person) -> AvatarInfo {
        AvatarInfo {
            canvas: person.canvas,
            fps: person.fps,
            frame_count: person.squares.len() as u32,
            max_rect: Rect::new(0, 0, person.canvas.0, person.canvas.1),
            slots: 0,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::AtOnce,
        }
    }

    fn frame_mask<'a>(&self, person: &'a Person, frame: u32) -> Result<FrameMask<'a>, Error> {
        Ok(FrameMask { rect: person.squares[frame as usize], alpha: None })
    }

    fn open_session(&self, person: Arc<Person>, params: &SessionParams) -> Result<Performance, Error> {
        if params.mode == SessionMode::Whole {
            return Err(Error::unsupported("it keeps too little audio for a whole utterance"));
        }
        Ok(Performance { person, params: params.clone(), audio: AudioTimeline::new(AudioTimeline::LIVE) })
    }

    fn push_audio(
        &self,
        session: &mut Performance,
        first_sample: u64,
        pcm: &[f32],
        end: bool,
    ) -> Result<(), Error> {
        session.audio.push(first_sample, pcm, end)
    }

    fn reset(&self, session: &mut Performance, _epoch: u32) -> Result<(), Error> {
        session.audio.clear();
        Ok(())
    }

    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        batch.for_each(|request| {
            let Performance { person, params, audio } = &mut *request.session;
            let first = params.first_sample(request.frame);
            let mut pcm = vec![0.0; (params.first_sample(request.frame + 1) - first) as usize];
            audio.window(first as i64, &mut pcm);
            let peak = pcm.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
            let square = person.squares[request.avatar_frame as usize];
            request.output.picture(square, PixelFormat::Rgb24, Alpha::Static)?.fill((peak * 255.0) as u8);
            if peak == 0.0 {
                request.output.at_rest();
            }
            Ok(())
        });
        Ok(())
    }
}

lipcast_plugins_api::export_backend!(Minimal);
