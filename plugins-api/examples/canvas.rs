//! A sample of the kind that draws all by itself: no source frames, a canvas of its own with transparency.
//!
//! A round face on nothing; its mouth opens with the voice, its eyes blink every four seconds. The backend draws idle
//! too (`IdleBy::Backend`), so it is asked for every frame, and answers "the same picture" wherever nothing moved.
#![forbid(unsafe_code)]

use std::sync::Arc;

use lipcast_plugins_api::author::*;
use lipcast_plugins_api::serde_json::Value;

const MAGIC: u32 = u32::from_le_bytes(*b"CNV1");

/// How finely the mouth opens; coarse, so that a picture often is the one before it.
const STEPS: f32 = 8.0;

struct Canvas;

/// All there is to know: how large, and how fast.
struct Stage {
    size: (u32, u32),
    fps: (u32, u32),
}

struct Performance {
    stage: Arc<Stage>,
    params: SessionParams,
    audio: AudioTimeline,
    /// What the result before showed.
    last: Option<Look>,
}

/// What the face looks like; two equal ones are the same picture.
#[derive(Clone, Copy, PartialEq)]
struct Look {
    /// 0 (closed) to 8.
    mouth: u8,
    blinking: bool,
}

impl Backend for Canvas {
    type Avatar = Stage;
    type Session = Performance;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "org.example.canvas".into(),
            name: "Frameless canvas sample".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            vendor: "you".into(),
            license: "MIT OR Apache-2.0".into(),
            url: String::new(),
            capabilities: Capabilities {
                max_batch: 8,
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
        operation.check()?;
        // Its frames are not looked at; the size is what the host would like the canvas to be.
        let ((width, height), (num, den)) = (source.size(), source.fps());
        let numbers = [MAGIC, width, height, num, den].map(u32::to_le_bytes);
        operation.progress(1000, "canvas");
        sink.write(numbers.as_flattened())
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Stage, Error> {
        let numbers: Vec<_> =
            blob.chunks(4).filter_map(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?))).collect();
        let even = |length: u32| (16..=8_192).contains(&length) && length.is_multiple_of(2);
        // A rate that nobody films at would make frames of millions of samples.
        let rate = |num: u32, den: u32| den > 0 && (1..=240).contains(&(num / den));
        match numbers[..] {
            [MAGIC, width, height, num, den]
                if blob.len() == 20 && even(width) && even(height) && rate(num, den) =>
            {
                Ok(Stage { size: (width, height), fps: (num, den) })
            }
            _ => Err(Error::blob_incompatible("not a blob of this sample")),
        }
    }

    fn avatar_info(&self, stage: &Stage) -> AvatarInfo {
        AvatarInfo {
            canvas: stage.size,
            fps: stage.fps,
            frame_count: 0,
            max_rect: Rect::new(0, 0, stage.size.0, stage.size.1),
            slots: 0,
            idle: IdleBy::Backend,
            rest_policy: RestPolicy::Ask,
        }
    }

    fn frame_mask<'a>(&self, _stage: &'a Stage, frame: u32) -> Result<FrameMask<'a>, Error> {
        Err(Error::not_found(format!("avatar frame {frame}: this backend draws without")))
    }

    fn open_session(&self, stage: Arc<Stage>, params: &SessionParams) -> Result<Performance, Error> {
        if params.mode == SessionMode::Whole {
            return Err(Error::unsupported("it keeps too little audio for a whole utterance"));
        }
        let audio = AudioTimeline::new(AudioTimeline::LIVE);
        Ok(Performance { stage, params: params.clone(), audio, last: None })
    }

    fn push_audio(&self, session: &mut Performance, first: u64, pcm: &[f32], end: bool) -> Result<(), Error> {
        session.audio.push(first, pcm, end)
    }

    fn reset(&self, session: &mut Performance, _epoch: u32) -> Result<(), Error> {
        session.audio.clear();
        // "Unchanged" would mean a picture from before the reset, and there is none any more.
        session.last = None;
        Ok(())
    }

    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        batch.for_each(|request| {
            let session = &mut *request.session;
            let look = session.look(request.frame);
            if session.last == Some(look) {
                request.output.unchanged();
            } else {
                session.stage.draw(look, &mut request.output)?;
                session.last = Some(look);
            }
            let over = session.params.first_sample(request.frame) >= session.audio.end();
            if look.mouth == 0 && over && session.audio.ended() {
                request.output.at_rest();
            }
            Ok(())
        });
        Ok(())
    }
}

impl Performance {
    /// A function of the frame and its own audio, nothing else.
    fn look(&mut self, frame: u64) -> Look {
        let first = self.params.first_sample(frame);
        let mut pcm = vec![0.0_f32; (self.params.first_sample(frame + 1) - first) as usize];
        self.audio.window(first as i64, &mut pcm);
        let peak = pcm.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let seconds_in_four = first % (4 * 16_000);
        Look { mouth: (peak.min(1.0) * STEPS).round() as u8, blinking: seconds_in_four < 2_000 }
    }
}

impl Stage {
    /// The whole canvas in RGBA, transparent around the face.
    fn draw(&self, look: Look, output: &mut FrameOutput<'_>) -> Result<(), Error> {
        let (width, height) = self.size;
        let picture = output.picture(Rect::new(0, 0, width, height), PixelFormat::Rgba, Alpha::Inline)?;
        let radius = width.min(height) as f32 * 0.45;
        let open = f32::from(look.mouth) / STEPS;
        for (index, pixel) in picture.chunks_exact_mut(4).enumerate() {
            let (x, y) = ((index as u32 % width) as f32, (index as u32 / width) as f32);
            // The face's own measure: its centre is 0, 0 and its edge at distance 1.
            let (x, y) = ((x - width as f32 / 2.0 + 0.5) / radius, (y - height as f32 / 2.0 + 0.5) / radius);
            // How far inside the edge, in pixels: the edge is one pixel soft.
            let inside = (1.0 - (x * x + y * y).sqrt()) * radius;
            let alpha = (inside + 0.5).clamp(0.0, 1.0);
            let within = |cx: f32, cy: f32, rx: f32, ry: f32| {
                let (dx, dy) = ((x - cx) / rx, (y - cy) / ry);
                dx * dx + dy * dy < 1.0
            };
            let eye_height = if look.blinking { 0.02 } else { 0.12 };
            let eye = within(-0.35, -0.25, 0.12, eye_height) || within(0.35, -0.25, 0.12, eye_height);
            let mouth = within(0.0, 0.4, 0.35, 0.03 + 0.22 * open);
            let rgb = if mouth {
                [110, 20, 30]
            } else if eye {
                [30, 30, 40]
            } else {
                [250, 205, 80]
            };
            pixel[..3].copy_from_slice(&rgb);
            pixel[3] = (alpha * 255.0) as u8;
        }
        Ok(())
    }
}

lipcast_plugins_api::export_backend!(Canvas);
