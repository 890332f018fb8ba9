//! What commands begin with that perform without a server: the backends, an avatar, and what it says.

use std::path::Path;
use std::sync::Arc;

use lipcast_engine::audio::SpeechDecoder;
use lipcast_engine::avatar::{Avatar, AvatarId, Job};
use lipcast_engine::session::Stage;

use super::{CliError, failed};
use crate::app::BackendState;
use crate::config::{BackendConfig, Config};
use crate::studio::{LAST_RESORT, Stages, speech_limits};

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

/// Leaves the backend `name` alone in `backends`, so that no other is loaded.
pub(super) fn keep_only(backends: &mut Vec<BackendConfig>, name: &str) -> Result<(), CliError> {
    if name != LAST_RESORT && backends.iter().all(|backend| backend.name != name) {
        let known = backends.iter().map(|backend| backend.name.as_str()).chain([LAST_RESORT]);
        let known = known.collect::<Vec<_>>().join(", ");
        return Err(CliError::Setup(format!(
            "--backend: there is no backend {name}\n    help: there are {known}"
        )));
    }
    backends.retain(|backend| backend.name == name);
    Ok(())
}

/// The first backend that can show `avatar`, or the one that was asked for; else every reason why not.
pub(super) fn choose(stages: &Stages, avatar: &Arc<Avatar>, wanted: Option<&str>) -> Result<Stage, CliError> {
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    let mut reasons: Vec<String> = Vec::new();
    for report in stages.backends().iter().filter(|report| is_wanted(&report.name)) {
        if report.state != BackendState::Ready {
            reasons.push(format!("{}: {}", report.name, report.detail));
            continue;
        }
        match stages.stage_on(avatar, &report.name, &Job::new()) {
            Ok((stage, _)) => return Ok(stage),
            Err(refusal) => reasons.push(refusal.to_string()),
        }
    }
    Err(CliError::Unavailable(format!("avatar {} cannot be shown: {}", avatar.id(), reasons.join("; "))))
}
