//! The settings: `config.toml` in, checked values out, or every problem with its place and a suggestion.
//!
//! The file at the root of the repository is built into the program, so that it runs without one.
//! Whatever is here has been checked: an address that may be bound, files that go together, known backends.

mod backends;
mod http;
mod media;
mod webrtc;

pub(crate) mod reader;
pub(crate) mod report;
pub(crate) mod values;

use std::path::{Path, PathBuf};

pub use self::backends::{BackendConfig, BackendSource, EngineConfig, Isolation};
pub use self::http::{Secret, ServerConfig, TlsFiles};
pub use self::media::{MediaConfig, RootConfig, SessionConfig};
pub use self::report::{ConfigError, Problem};
pub use self::webrtc::{CodecName, WebrtcConfig};

use self::reader::Reader;
use self::report::Complaint;
use self::values::{one_of, text};

/// The shipped `config.toml`: every key at its default.
pub const SHIPPED: &str = include_str!("../../../config.toml");

/// All settings, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Listening, tokens, limits.
    pub server: ServerConfig,
    /// Folders and limits of files.
    pub media: MediaConfig,
    /// How sessions run.
    pub session: SessionConfig,
    /// Which backends serve, in which order.
    pub engine: EngineConfig,
    /// Addresses, codecs, rates.
    pub webrtc: WebrtcConfig,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A level, or a filter of `target=level` parts.
    pub level: String,
    /// Text or JSON lines.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where relative paths in the settings start.
#[derive(Debug, Clone)]
pub struct Bases {
    /// For ordinary paths: the folder of the configuration file.
    pub config: PathBuf,
    /// For plugin folders: the folder of the program.
    pub program: PathBuf,
}

impl Bases {
    /// Bases for a configuration file at `path`, or for none (the current folder).
    pub fn of(path: Option<&Path>) -> Self {
        let folder = path.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
        let program = std::env::current_exe().ok();
        Self {
            config: folder.unwrap_or(Path::new(".")).to_owned(),
            program: program.as_deref().and_then(Path::parent).unwrap_or(Path::new(".")).to_owned(),
        }
    }
}

impl Config {
    /// The settings of the file at `path`; without one, of `./config.toml`; without that, the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let path = path.or_else(|| Some(Path::new("config.toml")).filter(|path| path.exists()));
        let Some(path) = path else {
            return Self::parse("(built-in config.toml)", SHIPPED, &Bases::of(None));
        };
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&name, &text, &Bases::of(Some(path))),
            Err(error) => {
                let help = "without --config, ./config.toml is read if it is there, else the defaults hold";
                Err(ConfigError::unreadable(name, error.to_string(), Some(help.to_owned())))
            }
        }
    }

    /// The settings in `text`; `file` names it in problems.
    pub fn parse(file: &str, text: &str, bases: &Bases) -> Result<Self, ConfigError> {
        let reader = Reader::new(file, text)?;
        let config = Self::read(&reader, bases);
        reader.finish(config)
    }

    fn read(reader: &Reader<'_>, bases: &Bases) -> Self {
        let root = reader.root();
        let config = Self {
            server: ServerConfig::read(root.section("server"), &bases.config),
            media: MediaConfig::read(root.section("media"), &bases.config),
            session: SessionConfig::read(root.section("session")),
            engine: EngineConfig::read(&root, bases),
            webrtc: WebrtcConfig::read(root.section("webrtc")),
            log: LogConfig::read(root.section("log")),
        };
        root.finish();
        config.server.check_exposure(reader);
        config
    }
}

impl LogConfig {
    fn read(section: reader::Section<'_, '_>) -> Self {
        const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
        let log = Self {
            level: section.read("level", "info".to_owned(), |item| {
                let level = text(item)?;
                match tracing_subscriber::EnvFilter::builder().parse(&level) {
                    Ok(_) => Ok(level),
                    Err(error) => Err(Complaint::new(format!("\"{level}\": {error}"))
                        .help("for example \"info\" or \"info,lipcast_engine=debug\"")),
                }
            }),
            format: section.read("format", LogFormat::Text, one_of(FORMATS)),
        };
        section.finish();
        log
    }
}

#[cfg(test)]
mod tests;
