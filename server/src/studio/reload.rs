//! Backends replaced at run time, by a request or because their settings changed.

use lipcast_engine::backend::ReloadError;

use super::{EngineStudio, Inner, lock};
use crate::app::{LastReload, StudioError};
use crate::config::{BackendConfig, EngineConfig};

impl EngineStudio {
    /// Reads the settings again and replaces every backend whose own have changed; the rest of the file counts from
    /// the next start.
    pub async fn reload_changed(&self) {
        let studio = self.clone();
        let work = move || match studio.engine_now() {
            Err(error) => {
                tracing::error!(%error, "the settings stay as they are");
                let names: Vec<String> =
                    lock(&studio.inner.engine).backends.iter().map(|backend| backend.name.clone()).collect();
                names.iter().for_each(|name| studio.note_reload(name, Some(&error)));
            }
            Ok(engine) => {
                let before = lock(&studio.inner.engine).clone();
                let mut changed: Vec<&BackendConfig> = engine.backends.iter().collect();
                changed.retain(|backend| !before.backends.contains(backend));
                tracing::info!(changed = changed.len(), "settings read again");
                for backend in changed {
                    if let Err(error) = studio.replace(&engine, &backend.name) {
                        tracing::error!(backend = backend.name, %error, "not replaced");
                    }
                }
                let mut kept = lock(&studio.inner.engine);
                (kept.standby, kept.return_after) = (engine.standby, engine.return_after);
            }
        };
        if let Err(panic) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%panic, "reading the settings again");
        }
    }

    /// `[engine]` and `[backend.*]` as the file has them now.
    pub(super) fn engine_now(&self) -> Result<EngineConfig, StudioError> {
        match &self.inner.reread {
            Some(reread) => reread().map(|config| config.engine).map_err(StudioError::Conflict),
            None => Ok(lock(&self.inner.engine).clone()),
        }
    }

    /// What [`backends`](crate::app::Studio::backends) tells of the last reload.
    fn note_reload(&self, name: &str, failure: Option<&StudioError>) {
        let reason = failure.map(ToString::to_string);
        lock(&self.inner.reloads).insert(name.to_owned(), LastReload { ok: reason.is_none(), reason });
    }

    /// Replaces the backend `name` by a new one with the settings in `engine`; sessions move to it. Blocks.
    pub(super) fn replace(&self, engine: &EngineConfig, name: &str) -> Result<(), StudioError> {
        let outcome = self.exchange(engine, name);
        if !matches!(outcome, Err(StudioError::Unknown(_))) {
            self.note_reload(name, outcome.as_ref().err());
        }
        outcome
    }

    fn exchange(&self, engine: &EngineConfig, name: &str) -> Result<(), StudioError> {
        let Inner { stages, sessions, .. } = &*self.inner;
        let backend = engine.backends.iter().find(|backend| backend.name == name);
        let backend = backend.ok_or_else(|| {
            StudioError::Unknown(format!("there is no backend \"{name}\" among engine.backends"))
        })?;
        stages.reload(engine, backend).map_err(|error| match error {
            ReloadError::Unknown(_) => StudioError::Unknown(error.to_string()),
            _ => StudioError::Conflict(format!("{error}; what served before serves on")),
        })?;
        let mut kept = lock(&self.inner.engine);
        if let Some(known) = kept.backends.iter_mut().find(|known| known.name == name) {
            known.clone_from(backend);
        }
        drop(kept);
        sessions.all().iter().for_each(|(_, performance)| performance.live.recast());
        Ok(())
    }
}
