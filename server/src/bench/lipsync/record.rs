//! From a stage and speech to measurements: every output picture against the avatar's own.

use lipcast_codecs::I420;
use lipcast_engine::audio::SpeechDecoder;
use lipcast_engine::avatar::Avatar;
use lipcast_engine::media::i420_to_rgb;
use lipcast_engine::session::offline::{self, RenderError};
use lipcast_engine::session::{Stage, Unit};

use super::{Canvas, MouthMeasure, measure};

/// What was rendered and measured.
#[derive(Debug)]
pub struct Recorded {
    /// One measurement a frame.
    pub mouth: Vec<MouthMeasure>,
    /// What is heard with them, 48 kHz mono.
    pub pcm: Vec<f32>,
    /// Frames per second.
    pub fps: f64,
}

/// A frame that cannot be measured.
#[derive(Debug, thiserror::Error)]
#[error("frame {frame}: the avatar has no mouth there that could be measured")]
pub struct NoMouth {
    /// Which one.
    pub frame: u64,
}

/// Renders `speech` and measures every picture; `each` is called once a frame, for progress.
///
/// # Errors
/// When rendering fails, or a frame shows no mouth.
pub fn record(
    stage: Stage,
    avatar: &Avatar,
    speech: &mut SpeechDecoder,
    mut each: impl FnMut(),
) -> Result<Recorded, RenderError<NoMouth>> {
    let (width, height) = avatar.size();
    let (mut shown, mut rest) = (Vec::new(), Vec::new());
    // An avatar's sides are even.
    let mut own = I420::black(width, height).expect("the size of an avatar");
    let mut recorded = Recorded { mouth: Vec::new(), pcm: Vec::new(), fps: avatar.fps().as_f64() };
    offline::render(stage, avatar.fps(), speech, |unit: Unit| {
        i420_to_rgb(unit.picture.as_view(), &mut shown);
        avatar.read_frame(unit.avatar_frame, &mut own).map_err(|_| NoMouth { frame: unit.frame })?;
        i420_to_rgb(own.as_view(), &mut rest);
        let canvas = |rgb| Canvas { width, height, rgb };
        let face = avatar.face(unit.avatar_frame).ok_or(NoMouth { frame: unit.frame })?;
        let mouth =
            measure(canvas(&shown), canvas(&rest), &face.landmarks).ok_or(NoMouth { frame: unit.frame })?;
        recorded.mouth.push(mouth);
        recorded.pcm.extend(unit.pcm_48k);
        each();
        Ok(())
    })?;
    Ok(recorded)
}
