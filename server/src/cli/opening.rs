//! What commands begin with that perform without a server: the backends, an avatar, and what it says.

use std::path::Path;
use std::sync::Arc;

use lipcast_engine::audio::SpeechDecoder;
use lipcast_engine::avatar::{Avatar, AvatarId};

use super::{CliError, failed};
use crate::config::Config;
use crate::studio::{Stages, speech_limits};

/// Backends that have come up or failed, somebody to show, and speech at its beginning.
pub(super) struct Opening {
    pub(super) stages: Stages,
    pub(super) avatar: Arc<Avatar>,
    pub(super) speech: SpeechDecoder,
}

impl Opening {
    /// Opens all three; without an `avatar` the built-in one, without `audio` the built-in clip. Blocks.
    ///
    /// # Errors
    /// When one of them cannot be opened. Speech comes first: what is wrong with it is known soonest.
    pub(super) fn of(
        config: &Config,
        avatar: Option<&AvatarId>,
        audio: Option<&Path>,
    ) -> Result<Self, CliError> {
        let stages = Stages::open(config).map_err(|error| CliError::Setup(error.to_string()))?;
        let speech = match audio {
            Some(path) => SpeechDecoder::open(path, &speech_limits(config)).map_err(failed)?,
            None => stages.builtin_speech().map_err(failed)?,
        };
        let avatar = match avatar {
            Some(id) => stages.avatar(id).map_err(failed)?,
            None => stages.builtin_avatar().map_err(failed)?,
        };
        stages.settle_backends();
        Ok(Self { stages, avatar, speech })
    }
}
