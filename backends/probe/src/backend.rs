//! The backend around barcode and flash.

use std::sync::Arc;

use lipcast_plugins_api::author::{
    Alpha, AudioTimeline, AvatarInfo, AvatarSource, Backend, Batch, BlobSink, Capabilities, Descriptor,
    Error, FrameMask, FrameRequest, Host, IdleBy, Operation, PixelFormat, Rect, RestPolicy, SessionParams,
};
use lipcast_plugins_api::serde_json::Value;

use crate::barcode::{self, Barcode};
use crate::{canvas, click};

/// What it draws.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Barcode,
    Flash { threshold: f32, late_frames: u64 },
    Canvas(PixelFormat),
}

/// The measuring backend. Settings: `mode` ("barcode", "flash" or "canvas"); for flash `threshold`, the absolute
/// sample value that makes a click (0 to 1; 0.25), and `late_frames`, by how many frames the flash comes too late
/// (0 to 25; 0): a known error, to see whether a meter reads it; for canvas `format` ("rgb" or "i420"; "rgb").
#[derive(Debug)]
pub struct ProbeBackend {
    mode: Mode,
}

/// All it needs to know of an avatar.
#[derive(Debug)]
pub struct Canvas {
    size: (u32, u32),
    fps: (u32, u32),
    frame_count: u32,
    patch: Rect,
}

/// One performance.
#[derive(Debug)]
pub struct Performance {
    canvas: Arc<Canvas>,
    params: SessionParams,
    audio: AudioTimeline,
}

const MAGIC: &[u8; 8] = b"LCPROBE1";

impl Backend for ProbeBackend {
    type Avatar = Canvas;
    type Session = Performance;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "lipcast.probe".into(),
            name: "Probe: barcode and flash".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            vendor: "Lipcast".into(),
            license: "MIT OR Apache-2.0".into(),
            url: String::new(),
            capabilities: Capabilities {
                lookbehind_ms: 10,
                max_batch: 16,
                prepare_concurrent: true,
                deterministic: true,
                ..Capabilities::default()
            },
        }
    }

    fn create(_host: Host, config: Value, _operation: &Operation<'_>) -> Result<Self, Error> {
        Ok(Self { mode: read_config(&config)? })
    }

    fn prepare_avatar(
        &self,
        source: &AvatarSource<'_>,
        _params: &Value,
        sink: &mut BlobSink<'_>,
        _operation: &Operation<'_>,
    ) -> Result<(), Error> {
        let ((width, height), (num, den)) = (source.size(), source.fps());
        if barcode::place(width, height).is_none() {
            return Err(Error::invalid_arg(format!(
                "a canvas of {width}x{height} is too small for a barcode"
            )));
        }
        sink.write(MAGIC)?;
        [width, height, num, den, source.frame_count()]
            .into_iter()
            .try_for_each(|n| sink.write(&n.to_le_bytes()))
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Canvas, Error> {
        let numbers: Option<&[u8; 20]> = blob.strip_prefix(MAGIC).and_then(|rest| rest.try_into().ok());
        let numbers = numbers.ok_or_else(|| Error::blob_incompatible("not a probe's blob"))?;
        let number = |i: usize| u32::from_le_bytes(std::array::from_fn(|byte| numbers[4 * i + byte]));
        let (size, fps, frame_count) = ((number(0), number(1)), (number(2), number(3)), number(4));
        match barcode::place(size.0, size.1) {
            Some(patch) if fps.0 > 0 && fps.1 > 0 && frame_count > 0 => {
                Ok(Canvas { size, fps, frame_count, patch })
            }
            _ => Err(Error::blob_incompatible("a probe's blob with impossible numbers")),
        }
    }

    fn avatar_info(&self, canvas: &Canvas) -> AvatarInfo {
        AvatarInfo {
            canvas: canvas.size,
            fps: canvas.fps,
            frame_count: canvas.frame_count,
            max_rect: self.rect(canvas),
            slots: 0,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::Ask,
        }
    }

    fn frame_mask<'a>(&self, canvas: &'a Canvas, _frame: u32) -> Result<FrameMask<'a>, Error> {
        Ok(FrameMask { rect: self.rect(canvas), alpha: None })
    }

    fn open_session(&self, canvas: Arc<Canvas>, params: &SessionParams) -> Result<Performance, Error> {
        Ok(Performance { canvas, params: params.clone(), audio: AudioTimeline::new(AudioTimeline::LIVE) })
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
        batch.for_each(|request| self.draw(request));
        Ok(())
    }
}

impl ProbeBackend {
    /// Where every picture lies.
    fn rect(&self, canvas: &Canvas) -> Rect {
        match self.mode {
            Mode::Canvas(_) => Rect::new(0, 0, canvas.size.0, canvas.size.1),
            Mode::Barcode | Mode::Flash { .. } => canvas.patch,
        }
    }

    fn draw(&self, request: &mut FrameRequest<'_, Self>) -> Result<(), Error> {
        let Performance { canvas, params, audio } = &mut *request.session;
        let (rect, first) = (self.rect(canvas), params.first_sample(request.frame));
        let format = if let Mode::Canvas(format) = self.mode { format } else { PixelFormat::I420 };
        let picture = request.output.picture(rect, format, Alpha::Opaque)?;
        let (luma, chroma) = picture.split_at_mut(rect.area() as usize);
        audio.release(first as i64);
        match self.mode {
            Mode::Canvas(_) => canvas::paint(request.frame, picture),
            Mode::Barcode => {
                chroma.fill(128);
                Barcode::new(request.frame, request.avatar_frame).draw(rect, luma);
            }
            Mode::Flash { threshold, late_frames } => {
                chroma.fill(128);
                let heard = request.frame.saturating_sub(late_frames);
                let first = params.first_sample(heard);
                let samples = (params.first_sample(heard + 1) - first) as usize;
                let mut pcm = vec![0.0; click::QUIET + samples];
                audio.window(first as i64 - click::QUIET as i64, &mut pcm);
                luma.fill(if click::onset(&pcm, threshold).is_some() { 235 } else { 16 });
            }
        }
        if audio.ended() && first >= audio.end() {
            request.output.at_rest();
        }
        Ok(())
    }
}

fn read_config(config: &Value) -> Result<Mode, Error> {
    let empty = lipcast_plugins_api::serde_json::Map::new();
    let table = match config {
        Value::Null => &empty,
        Value::Object(table) => table,
        other => return Err(Error::invalid_arg(format!("the probe's settings are a table, not {other}"))),
    };
    let known = ["mode", "threshold", "late_frames", "format"];
    if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Error::invalid_arg(format!(
            "the probe has no setting `{key}`; it has `mode`, `threshold`, `late_frames` and `format`"
        )));
    }
    let threshold =
        match table.get("threshold") {
            None => 0.25,
            Some(value) => value.as_f64().filter(|value| *value > 0.0 && *value <= 1.0).ok_or_else(|| {
                Error::invalid_arg(format!("`threshold` is above 0 and at most 1, not {value}"))
            })? as f32,
        };
    let late_frames = match table.get("late_frames") {
        None => 0,
        Some(value) => value
            .as_u64()
            .filter(|value| *value <= 25)
            .ok_or_else(|| Error::invalid_arg(format!("`late_frames` is 0 to 25, not {value}")))?,
    };
    let format = match table.get("format").map(Value::as_str) {
        None | Some(Some("rgb")) => PixelFormat::Rgb24,
        Some(Some("i420")) => PixelFormat::I420,
        Some(_) => {
            let text = format!("`format` is \"rgb\" or \"i420\", not {}", table["format"]);
            return Err(Error::invalid_arg(text));
        }
    };
    match table.get("mode").map(Value::as_str) {
        None | Some(Some("barcode")) => Ok(Mode::Barcode),
        Some(Some("flash")) => Ok(Mode::Flash { threshold, late_frames }),
        Some(Some("canvas")) => Ok(Mode::Canvas(format)),
        Some(_) => {
            let text = format!("`mode` is \"barcode\", \"flash\" or \"canvas\", not {}", table["mode"]);
            Err(Error::invalid_arg(text))
        }
    }
}
