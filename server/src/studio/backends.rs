//! From the settings of a backend to what the engine starts, and from the engine's report to what clients are told.

use std::path::Path;
use std::sync::Arc;

use lipcast_engine::backend::supervisor::Policy;
use lipcast_engine::backend::{self, BackendSpec, Candidate, Capacity, ChildCommand, Program, ReportedState};

use crate::app::{BackendReport, BackendState, Mode};
use crate::config::{BackendConfig, EngineConfig, Isolation};
use crate::plugins;

/// The id that the demo backend's descriptor carries, by which it is told from models.
const DEMO_ID: &str = "lipcast.demo";

/// What the engine starts for `backend`.
pub(crate) fn spec(engine: &EngineConfig, backend: &BackendConfig) -> BackendSpec {
    let (engine, settings) = (engine.clone(), backend.clone());
    let policy = Policy {
        init_timeout: backend.init_timeout,
        hard_floor: backend.hard_deadline,
        memory_limit: (backend.memory_limit > 0).then_some(backend.memory_limit),
        backoff_cap: backend.max_backoff,
        circuit_deaths: backend.max_deaths,
        ..Policy::default()
    };
    BackendSpec {
        name: backend.name.clone(),
        find: Arc::new(move || candidate(&engine, &settings)),
        config: backend.config.clone(),
        init_timeout: backend.init_timeout,
        policy,
        required: backend.required,
    }
}

fn candidate(engine: &EngineConfig, backend: &BackendConfig) -> Result<Candidate, String> {
    let found =
        plugins::find(engine, &backend.source, &backend.preload).map_err(|error| error.to_string())?;
    let expected_id = found.manifest.as_ref().map(|manifest| manifest.id.clone());
    let child = |program: &Path, arguments: Vec<std::ffi::OsString>, folder: Option<&Path>| ChildCommand {
        program: program.to_owned(),
        arguments,
        folder: folder.map(Path::to_owned),
        core_dumps: backend.core_dumps,
    };
    let program = match found.program {
        plugins::Program::Library { file, preload } if backend.isolation == Isolation::InProcess => {
            Program::InProcess { library: file, preload }
        }
        plugins::Program::Library { file, preload } => {
            let before = preload.into_iter().flat_map(|library| ["--preload".into(), library.into()]);
            let arguments = before.chain([file.clone().into()]).collect();
            // Paths in its settings are those of the file that they stand in.
            let command = child(&engine.host, arguments, Some(&backend.folder));
            Program::Process { command, library: Some(file) }
        }
        plugins::Program::Exec { command, folder } => {
            let mut words = command.into_iter();
            let program = words.next().unwrap_or_default();
            // A bare name is looked up in PATH; anything else starts at the folder.
            let program = if program.contains('/') { folder.join(program) } else { program.into() };
            let command = child(&program, words.map(Into::into).collect(), Some(&folder));
            Program::Process { command, library: None }
        }
    };
    Ok(Candidate { program, expected_id })
}

/// What a backend's settings are known again by: BLAKE3 of what is started and what it is handed.
pub(crate) fn settings_mark(backend: &BackendConfig) -> String {
    let text = format!("{:?} {:?} {}", backend.source, backend.preload, backend.config);
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// A backend as clients are told.
pub(super) fn report(report: backend::BackendReport) -> BackendReport {
    let state = match report.state {
        ReportedState::Opening => BackendState::Opening,
        ReportedState::Late => BackendState::Late,
        ReportedState::Ready => BackendState::Ready,
        ReportedState::Restarting => BackendState::Restarting,
        ReportedState::Quarantined => BackendState::Quarantined,
        ReportedState::Failed => BackendState::Failed,
    };
    BackendReport {
        name: report.name,
        state,
        mode: report.id.as_deref().map(mode_of),
        detail: report.detail,
        required: report.required,
        restarts: report.restarts,
        process: report.process,
        capacity_fps: report.capacity.map(whole),
        load_fps: 0,
        last_reload: None,
    }
}

/// Whole frames per second that can be counted on.
pub(super) fn whole(capacity: Capacity) -> u32 {
    capacity.frames_per_second as u32
}

/// What kind of backend has the descriptor id `id`.
pub(super) fn mode_of(id: &str) -> Mode {
    if id == DEMO_ID { Mode::Demo } else { Mode::Model }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Bases, Config};

    #[test]
    fn a_library_starts_in_the_folder_of_the_settings_after_those_that_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libneeded.so"), "").unwrap();
        let library = folder.path().join("plugins/libx.so");
        let text = "[engine]\nbackends = [\"a\", \"b\"]\n\
                    [backend.a]\nlibrary = \"./plugins/libx.so\"\npreload = [\"libneeded.so\"]\n\
                    [backend.b]\nlibrary = \"./plugins/libx.so\"\npreload = [\"libneeded.so\"]\n\
                    isolation = \"in-process\"";
        let bases = Bases { config: folder.path().to_owned(), program: "/".into() };
        let engine = Config::parse("c.toml", text, &bases).unwrap().engine;
        let program = |backend: usize| candidate(&engine, &engine.backends[backend]).unwrap().program;
        let needed = folder.path().join("libneeded.so");

        let Program::Process { command, library: Some(file) } = program(0) else { panic!("a process") };
        assert_eq!(command.arguments, ["--preload".as_ref(), needed.as_os_str(), library.as_os_str()]);
        assert_eq!((command.folder.as_deref(), file), (Some(folder.path()), library.clone()));
        let Program::InProcess { library: file, preload } = program(1) else { panic!("in this process") };
        assert_eq!((file, preload), (library, vec![needed.clone()]));

        std::fs::remove_file(&needed).unwrap();
        let error = candidate(&engine, &engine.backends[0]).err().unwrap();
        assert_eq!(error, format!("preload: {}: no such file", needed.display()));
    }
}
