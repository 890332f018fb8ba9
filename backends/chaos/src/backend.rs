//! The backend: an honest barcode, and a look at the faults before each call.

use std::sync::Arc;

use lipcast_plugins_api::author::{
    Alpha, AvatarInfo, AvatarSource, Backend, Batch, BlobSink, Capabilities, Descriptor, Error, FrameMask,
    FrameRequest, Health, HealthState, Host, IdleBy, Operation, PixelFormat, Rect, RestPolicy, SessionParams,
};
use lipcast_plugins_api::serde_json::{Value, json};
use lipcast_probe::barcode::Barcode;

use crate::avatar::Avatar;
use crate::fault::{Call, Faults, Wrong};
use crate::session::{Gossip, Session};
use crate::settings::{Lies, Settings};
use crate::trigger::{self, Circumstance};
use crate::{harm, raw};

/// The misbehaving backend; the crate tells its settings.
pub struct ChaosBackend {
    id: u32,
    lies: Lies,
    faults: Arc<Faults>,
    gossip: Arc<Gossip>,
}

impl Backend for ChaosBackend {
    type Avatar = Avatar;
    type Session = Session;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "lipcast.chaos".into(),
            name: "Chaos: faults on command".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            vendor: "Lipcast".into(),
            license: "MIT OR Apache-2.0".into(),
            url: String::new(),
            capabilities: Capabilities {
                max_batch: 16,
                prepare_concurrent: true,
                deterministic: true,
                ..Capabilities::default()
            },
        }
    }

    fn create(host: Host, config: Value, _operation: &Operation<'_>) -> Result<Self, Error> {
        let Settings { id, lies, faults } = Settings::read(config)?;
        let faults = Arc::new(Faults::new(host, faults));
        faults.at(Call::Create, Circumstance::default())?;
        Ok(Self { id, lies, faults, gossip: Arc::default() })
    }

    fn describe(&self) -> Value {
        self.faults.quietly(Call::Describe);
        json!({ "device": "cpu", "max_batch": 16, "id": self.id })
    }

    fn prepare_avatar(
        &self,
        source: &AvatarSource<'_>,
        _params: &Value,
        sink: &mut BlobSink<'_>,
        _operation: &Operation<'_>,
    ) -> Result<(), Error> {
        self.faults.at(Call::PrepareAvatar, Circumstance::default())?;
        Avatar::prepare(source, self.lies, sink)
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Avatar, Error> {
        self.faults.at(Call::LoadAvatar, Circumstance::default())?;
        Avatar::load(blob, self.faults.clone())
    }

    fn avatar_info(&self, avatar: &Avatar) -> AvatarInfo {
        AvatarInfo {
            canvas: avatar.size,
            fps: avatar.fps,
            frame_count: avatar.frame_count,
            max_rect: avatar.patch,
            slots: 0,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::Ask,
        }
    }

    fn frame_mask<'a>(&self, avatar: &'a Avatar, _frame: u32) -> Result<FrameMask<'a>, Error> {
        Ok(FrameMask { rect: avatar.patch, alpha: None })
    }

    fn open_session(&self, avatar: Arc<Avatar>, params: &SessionParams) -> Result<Session, Error> {
        self.faults.at(Call::OpenSession, Circumstance::default())?;
        Ok(Session::new(avatar, params.clone(), self.faults.clone(), self.gossip.clone(), self.lies))
    }

    fn push_audio(&self, session: &mut Session, first: u64, pcm: &[f32], end: bool) -> Result<(), Error> {
        self.faults.at(Call::PushAudio, Circumstance { frame: None, pcm })?;
        session.push(first, pcm, end)
    }

    fn reset(&self, session: &mut Session, _epoch: u32) -> Result<(), Error> {
        self.faults.at(Call::Reset, Circumstance::default())?;
        session.reset();
        Ok(())
    }

    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        let mut whole = None;
        for index in 0..batch.len() {
            let place = (index, batch.len());
            let mut request = batch.request(index);
            match self.draw(&mut request, place) {
                Ok(refusal) => whole = whole.or(refusal),
                Err(error) => request.output.fail(&error),
            }
        }
        whole.map_or(Ok(()), Err)
    }

    fn health(&self) -> Health {
        match self.faults.at(Call::Health, Circumstance::default()) {
            Ok(_) => Health::ok(),
            Err(error) => {
                let state = if error.retryable { HealthState::Degraded } else { HealthState::Broken };
                Health { state, message: error.message }
            }
        }
    }
}

impl ChaosBackend {
    /// Draws one frame, or whatever its faults make of it; gives the error for the whole batch if one of them wants it.
    fn draw(
        &self,
        request: &mut FrameRequest<'_, Self>,
        place: (usize, usize),
    ) -> Result<Option<Error>, Error> {
        let session = &mut *request.session;
        let pcm = session.samples(request.frame);
        let left =
            self.faults.at(Call::InferBatch, Circumstance { frame: Some(request.frame), pcm: &pcm })?;
        if left.wrong.contains(&Wrong::NoResult) {
            return Ok(left.whole);
        }
        let patch = session.avatar.patch;
        let mut rect = patch;
        if left.wrong.contains(&Wrong::OutsideRect) {
            rect = Rect { x: patch.x + session.avatar.size.0, ..patch };
        }
        let print = session.fingerprint(request.frame, place);
        let tag = self.id << 12 | request.avatar_frame & 0xFFF;
        let picture = request.output.picture(rect, PixelFormat::I420, Alpha::Opaque)?;
        // With a fault that leaves part of the slot as it was, it is written only down to the middle.
        let kept = left.wrong.contains(&Wrong::ShortWrite).then(|| picture[picture.len() / 2..].to_vec());
        let (luma, chroma) = picture.split_at_mut(patch.area() as usize);
        Barcode::new(request.frame, tag).draw(patch, luma);
        // Colours so weak that they do not disturb who reads the bars.
        let (blue, red) = chroma.split_at_mut(chroma.len() / 2);
        blue.fill(116 + (print % 24) as u8);
        red.fill(116 + (print / 24 % 24) as u8);
        let half = picture.len() / 2;
        if let Some(kept) = kept {
            picture[half..].copy_from_slice(&kept);
        }
        for wrong in &left.wrong {
            spoil(*wrong, picture, print, patch, place.0);
        }
        if session.is_over(request.frame) {
            request.output.at_rest();
        }
        Ok(left.whole)
    }
}

fn spoil(wrong: Wrong, picture: &mut [u8], mut seed: u64, patch: Rect, index: usize) {
    match wrong {
        Wrong::Garbage => picture.iter_mut().for_each(|byte| *byte = trigger::random(&mut seed) as u8),
        Wrong::Black => {
            let (luma, chroma) = picture.split_at_mut(patch.area() as usize);
            luma.fill(16);
            chroma.fill(128);
        }
        Wrong::Flat => picture.fill(128),
        Wrong::Overrun { bytes } => harm::overrun(picture, 4 * patch.area() as usize, bytes),
        Wrong::OddRect | Wrong::UnknownFormat | Wrong::Frame | Wrong::Status => raw::spoil(index, wrong),
        Wrong::ShortWrite | Wrong::NoResult | Wrong::OutsideRect => {}
    }
}

impl Drop for ChaosBackend {
    fn drop(&mut self) {
        self.faults.quietly(Call::Destroy);
    }
}
