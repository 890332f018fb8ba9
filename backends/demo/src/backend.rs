//! The backend as the host sees it.

use std::sync::Arc;

use lipcast_plugins_api::author::{
    AvatarInfo, AvatarSource, Backend, Batch, BlobSink, Capabilities, Descriptor, Error, FrameMask,
    FrameOrder, Host, IdleBy, Operation, Prepare, Rect, RestPolicy, SessionParams,
};
use serde_json::Value;

use crate::avatar::{Avatar, BLOB_VERSION};
use crate::prepare;
use crate::session::Session;
use crate::speech::SpeechToMouth;

/// Moves the mouth of any avatar to speech by warping its own frames.
///
/// It takes no settings.
#[derive(Debug)]
pub struct DemoBackend;

impl Backend for DemoBackend {
    type Avatar = Avatar;
    type Session = Session;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "lipcast.demo".into(),
            name: "Demo: mouth warp".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            vendor: "Lipcast".into(),
            license: "MIT OR Apache-2.0".into(),
            url: String::new(),
            capabilities: Capabilities {
                lookahead_ms: SpeechToMouth::LOOKAHEAD_MS,
                // How loud this voice is was learned from its last seconds.
                lookbehind_ms: 2_000,
                order: FrameOrder::Any,
                max_batch: 16,
                prepare: Prepare { frames: true, landmarks: true, ..Prepare::default() },
                blob_version: BLOB_VERSION,
                prepare_concurrent: true,
                deterministic: true,
                ..Capabilities::default()
            },
        }
    }

    fn create(_host: Host, config: Value, _operation: &Operation<'_>) -> Result<Self, Error> {
        match config.as_object().and_then(|table| table.keys().next()) {
            Some(key) => Err(Error::invalid_arg(format!("the demo backend has no setting `{key}`"))),
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
        if prepare::prepare(&mut HostSource { source, sink, operation })? {
            return Ok(());
        }
        let (width, height) = source.size();
        let count = source.frame_count();
        Err(Error::invalid_arg(format!(
            "none of the {count} frames of {width}x{height} shows a face from the front that is at least 60 pixels wide"
        )))
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Avatar, Error> {
        Ok(Avatar::parse(blob)?)
    }

    fn avatar_info(&self, avatar: &Avatar) -> AvatarInfo {
        let header = avatar.header();
        let [width, height] = header.canvas;
        AvatarInfo {
            canvas: (width, height),
            fps: (header.fps[0], header.fps[1]),
            frame_count: header.frames,
            max_rect: bounds(avatar),
            slots: 0,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::Ask,
        }
    }

    fn frame_mask<'a>(&self, avatar: &'a Avatar, frame: u32) -> Result<FrameMask<'a>, Error> {
        let found = avatar
            .frame(frame)
            .ok_or_else(|| Error::not_found(format!("there is no avatar frame {frame}")))?;
        let rect = avatar.rect(found);
        Ok(FrameMask { rect, alpha: (!rect.is_empty()).then(|| avatar.alpha()) })
    }

    fn open_session(&self, avatar: Arc<Avatar>, params: &SessionParams) -> Result<Session, Error> {
        Ok(Session::new(avatar, params.clone()))
    }

    fn push_audio(
        &self,
        session: &mut Session,
        first_sample: u64,
        pcm: &[f32],
        end: bool,
    ) -> Result<(), Error> {
        session.push(first_sample, pcm, end)
    }

    fn reset(&self, session: &mut Session, _epoch: u32) -> Result<(), Error> {
        session.reset();
        Ok(())
    }

    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        batch.for_each(Session::draw);
        Ok(())
    }
}

/// The smallest rectangle around the patches of all frames.
fn bounds(avatar: &Avatar) -> Rect {
    let mut all: Option<Rect> = None;
    for frame in (0..avatar.header().frames).filter_map(|i| avatar.frame(i)) {
        let rect = avatar.rect(frame);
        if rect.is_empty() {
            continue;
        }
        all = Some(all.map_or(rect, |a| {
            let (x, y) = (a.x.min(rect.x), a.y.min(rect.y));
            let (right, bottom) =
                ((a.x + a.width).max(rect.x + rect.width), (a.y + a.height).max(rect.y + rect.height));
            Rect::new(x, y, right - x, bottom - y)
        }));
    }
    all.unwrap_or_default()
}

struct HostSource<'a, 's, 'k, 'o> {
    source: &'a AvatarSource<'s>,
    sink: &'a mut BlobSink<'k>,
    operation: &'a Operation<'o>,
}

impl prepare::Source for HostSource<'_, '_, '_, '_> {
    type Error = Error;

    fn size(&self) -> [u32; 2] {
        let (width, height) = self.source.size();
        [width, height]
    }

    fn fps(&self) -> [u32; 2] {
        let (num, den) = self.source.fps();
        [num, den]
    }

    fn frame_count(&self) -> u32 {
        self.source.frame_count()
    }

    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        self.source.landmarks(index)
    }

    fn crop(&self, index: u32, [x, y, width, height]: [u32; 4], rgb: &mut Vec<u8>) -> Result<(), Error> {
        self.source.with_frame(index, |frame| {
            if frame.width < x + width || frame.height < y + height {
                let (has, size) = ((frame.width, frame.height), self.source.size());
                return Err(Error::invalid_arg(format!(
                    "frame {index} is {has:?} where the avatar is {size:?}"
                )));
            }
            rgb.clear();
            for row in y..y + height {
                rgb.extend_from_slice(&frame.row(row)[x as usize * 3..(x + width) as usize * 3]);
            }
            Ok(())
        })?
    }

    fn step(&self, done: u32, all: u32) -> Result<(), Error> {
        self.operation.check()?;
        self.operation.progress((u64::from(done) * 1000 / u64::from(all.max(1))) as u32, "lower faces");
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.sink.write(bytes)
    }
}
