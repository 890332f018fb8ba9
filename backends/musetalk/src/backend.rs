//! The backend as the host sees it, whatever runs its networks.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lipcast_plugins_api::author::{
    AvatarInfo, AvatarSource, Backend, Batch, BlobSink, Capabilities, Descriptor, Error, FrameMask,
    FrameOrder, Health, HealthState, Host, IdleBy, LogLevel, Operation, Prepare, RestPolicy, SessionParams,
};
use serde_json::{Value, json};

use crate::audio::LOOKAHEAD_MS;
use crate::avatar::{Avatar, BLOB_VERSION, Fingerprint, decisive};
use crate::bundle::Bundle;
use crate::infer::{Inference, Means};
use crate::networks::{Network, Networks};
use crate::prepare::Preparation;
use crate::session::Session;
use crate::settings::{Decoder, LARGEST_BATCH, Settings};
use crate::stats::Counters;
use crate::warmup::warm_up;
use crate::worker::{LOG, Worker};

/// Audio before a frame that it may depend on, milliseconds: the encoder's context at its default, the
/// frame's own window, and what the level of a voice is learnt from. The descriptor knows no settings: with a longer
/// context, frames soon after a change of backend hear less than they would have.
const LOOKBEHIND_MS: u32 = 3_000;
/// Requests that one call takes.
const MAX_BATCH: u32 = LARGEST_BATCH as u32;

/// MuseTalk on the networks `N`.
pub struct MuseTalk<N> {
    host: Host,
    settings: Settings,
    bundle: Bundle,
    fingerprint: Fingerprint,
    worker: Worker,
    /// Of the one thread that infers; the lock is there for the compiler.
    inference: Mutex<Inference>,
    counters: Counters,
    /// Avatars that are being prepared.
    preparing: AtomicUsize,
    networks: PhantomData<fn() -> N>,
}

impl<N: Networks> Backend for MuseTalk<N> {
    type Avatar = Avatar;
    type Session = Session;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: N::ID.into(),
            name: N::NAME.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            vendor: "Lipcast".into(),
            license: "MIT OR Apache-2.0".into(),
            url: String::new(),
            capabilities: Capabilities {
                devices: vec!["cuda".into(), "cpu".into()],
                precision: vec!["fp32".into(), "fp16".into()],
                lookahead_ms: LOOKAHEAD_MS,
                lookbehind_ms: LOOKBEHIND_MS,
                order: FrameOrder::Any,
                max_batch: MAX_BATCH,
                prepare: Prepare { frames: true, landmarks: true, face_box: true, ..Prepare::default() },
                blob_version: BLOB_VERSION,
                prepare_concurrent: true,
                // True on a CPU. On a GPU a batch of another size rounds otherwise, and the claim is for all.
                deterministic: false,
                ..Capabilities::default()
            },
        }
    }

    fn create(host: Host, config: Value, operation: &Operation<'_>) -> Result<Self, Error> {
        let settings = Settings::read(config)?;
        let runtime = &settings.runtime;
        if runtime.bundle.as_os_str().is_empty() {
            return Err(Error::invalid_arg(
                "bundle: the folder of a MuseTalk bundle is expected, and none is given",
            ));
        }
        let bundle = Bundle::open(&runtime.bundle, N::FORMAT)?.with_decoder(runtime.decoder)?;
        operation.check()?;
        if runtime.verify {
            bundle.verify(&|done, all| {
                operation.progress((500 * done / all.max(1)) as u32, "verifying the bundle");
                operation.check()
            })?;
        }
        operation.progress(500, "loading networks");
        let worker = Worker::start::<N>(&bundle, runtime, host, operation)?;
        warm_up(&worker, &bundle, settings.context, operation)?;
        worker.release();
        let fingerprint = bundle.fingerprint(&decisive(&settings));
        Ok(Self {
            host,
            settings,
            bundle,
            fingerprint,
            worker,
            inference: Mutex::default(),
            counters: Counters::default(),
            preparing: AtomicUsize::new(0),
            networks: PhantomData,
        })
    }

    fn describe(&self) -> Value {
        let (device, manifest) = (self.worker.device(), self.bundle.manifest());
        let decoder = match self.settings.runtime.decoder {
            Decoder::SdVae => "sd-vae",
            Decoder::Taesd => "taesd",
        };
        let networks: Vec<&str> =
            Network::ALL.into_iter().filter(|n| self.worker.has(*n)).map(Network::name).collect();
        let bundle = json!({
            "folder": self.bundle.folder(),
            "weights": manifest.weights,
            "preset": manifest.preset,
        });
        json!({
            "device": device.name,
            "runtime": device.runtime,
            "precision": device.precision,
            "batches": device.buckets,
            "decoder": decoder,
            "bundle": bundle,
            "networks": networks,
        })
    }

    fn prepare_avatar(
        &self,
        source: &AvatarSource<'_>,
        _params: &Value,
        sink: &mut BlobSink<'_>,
        operation: &Operation<'_>,
    ) -> Result<(), Error> {
        let preparation = Preparation {
            worker: &self.worker,
            settings: &self.settings,
            fingerprint: &self.fingerprint,
            source,
            operation,
        };
        self.preparing.fetch_add(1, Ordering::SeqCst);
        let done = preparation.run(&mut |bytes| sink.write(bytes));
        if self.preparing.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.worker.release();
        }
        let summary = done?;
        self.counters.prepared.add(1);
        let [before, after] = summary.jitter;
        self.host.log_fields(
            LogLevel::Info,
            LOG,
            &format!(
                "an avatar of {} frames, {} with a face; its boxes trembled by {before:.2} pixels, now by \
                 {after:.2}",
                summary.frames, summary.faces
            ),
            &json!({
                "frames": summary.frames,
                "faces": summary.faces,
                "jitter_before": before,
                "jitter_after": after,
            }),
        );
        Ok(())
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Avatar, Error> {
        Ok(Avatar::parse(blob, &self.fingerprint)?)
    }

    fn avatar_info(&self, avatar: &Avatar) -> AvatarInfo {
        let header = avatar.header();
        let ([width, height], [num, den]) = (header.canvas, header.fps);
        AvatarInfo {
            canvas: (width, height),
            fps: (num, den),
            frame_count: header.frames,
            max_rect: avatar.bounds(),
            slots: 0,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::AtOnce,
        }
    }

    fn frame_mask<'a>(&self, avatar: &'a Avatar, frame: u32) -> Result<FrameMask<'a>, Error> {
        match avatar.frame(frame) {
            Some(Some(face)) => Ok(FrameMask { rect: face.patch, alpha: Some(avatar.alpha(face)) }),
            Some(None) => Ok(FrameMask { rect: Default::default(), alpha: None }),
            None => Err(Error::not_found(format!("there is no avatar frame {frame}"))),
        }
    }

    fn open_session(&self, avatar: Arc<Avatar>, params: &SessionParams) -> Result<Session, Error> {
        Session::new(avatar, params, &self.settings)
    }

    fn push_audio(
        &self,
        session: &mut Session,
        first_sample: u64,
        pcm: &[f32],
        end: bool,
    ) -> Result<(), Error> {
        Ok(session.speech.push(first_sample, pcm, end)?)
    }

    fn reset(&self, session: &mut Session, _epoch: u32) -> Result<(), Error> {
        session.speech.reset();
        Ok(())
    }

    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        let means = Means { worker: &self.worker, settings: &self.settings, counters: &self.counters };
        // A panic of an earlier batch left nothing half done that the next one reads.
        let mut inference = self.inference.lock().unwrap_or_else(PoisonError::into_inner);
        inference.run(batch, &means);
        Ok(())
    }

    fn health(&self) -> Health {
        match self.worker.broken() {
            None => Health { state: HealthState::Ok, message: String::new() },
            Some(why) => Health { state: HealthState::Broken, message: why.to_owned() },
        }
    }

    fn stats(&self) -> Value {
        self.counters.to_json()
    }
}
