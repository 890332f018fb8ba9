//! `[engine]` and `[backend.NAME]`: which backends serve, in which order, and how each is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lipcast_engine::session::Standby;
use serde_json::Value as Json;
use toml_edit::{Item, TableLike, Value};

use super::Bases;
use super::reader::Section;
use super::report::{Complaint, closest};
use super::values::{boolean, duration, integer, list, one_of, size, text, wrong_type};

/// Which backends serve, in which order.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineConfig {
    /// In order of preference; only the ones named in `engine.backends`.
    pub backends: Vec<BackendConfig>,
    /// Where libraries are looked for, in order.
    pub plugin_dirs: Vec<PathBuf>,
    /// When a session is opened in the backend that would take over.
    pub standby: Standby,
    /// How long a preferred backend has to be ready and not late before a session goes back to it.
    pub return_after: Duration,
    /// The program that opens a library in a process of its own.
    pub host: PathBuf,
}

/// How one backend is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendConfig {
    /// Its name in this file.
    pub name: String,
    /// What is started; [`crate::plugins::find`] tells where it lies.
    pub source: BackendSource,
    /// Libraries that are opened before the plugin's own, in order; absolute. Empty: those of its `plugin.toml`.
    pub preload: Vec<PathBuf>,
    /// The folder of the configuration file, absolute: where the process of a library starts.
    pub folder: PathBuf,
    /// Where it runs.
    pub isolation: Isolation,
    /// Whether the server ends when it does not come up.
    pub required: bool,
    /// How long it may take to come up before nobody waits for it any more; it still joins when it is ready.
    pub init_timeout: Duration,
    /// A call that is out for less than this never costs the backend's process its life.
    pub hard_deadline: Duration,
    /// Resident bytes at which the process is replaced; 0: no limit.
    pub memory_limit: u64,
    /// The longest wait before one that was lost is started again.
    pub max_backoff: Duration,
    /// Deaths within a minute after which it is given up for five.
    pub max_deaths: u32,
    /// Whether a crash of the process leaves a core file.
    pub core_dumps: bool,
    /// Handed to the backend as it is.
    pub config: Json,
}

/// What a backend is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendSource {
    /// A shared library: a file name in a plugin folder, or an absolute path. Also the name of a plugin folder.
    Library(PathBuf),
    /// A program of its own that speaks the protocol of `docs/exec-protocol.md`.
    Exec {
        /// Program and arguments; never empty.
        command: Vec<String>,
        /// Where it is started: the folder of the configuration file.
        folder: PathBuf,
    },
    /// A folder with a `plugin.toml` in one of the plugin folders, which tells the rest.
    Folder(String),
}

/// Where a library runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// In a process of its own.
    Process,
    /// Inside the server.
    InProcess,
}

impl EngineConfig {
    pub(super) fn read(root: &Section<'_, '_>, bases: &Bases) -> Self {
        let section = root.section("engine");
        let order = section.read("backends", vec!["demo".to_owned()], list(text));
        let folders: Vec<_> = ["plugins", ".", "../lib/lipcast"].map(PathBuf::from).into();
        let plugin_dirs = section
            .read("plugin_dirs", folders, list(|item| text(item).map(PathBuf::from)))
            .iter()
            .map(|folder| bases.program.join(folder))
            .collect();

        const STANDBY: &[(&str, Standby)] =
            &[("warm", Standby::Warm), ("cold", Standby::Cold), ("none", Standby::None)];
        let standby = section.read("standby", Standby::Warm, one_of(STANDBY));
        let seconds = Duration::from_secs;
        let return_after = section.read("return_after", seconds(10), duration(seconds(1)..=seconds(3_600)));
        let host = section.read("host", PathBuf::from("backend-host"), |item| text(item).map(PathBuf::from));
        let host = find_host(&host, bases);

        let tables = root.section("backend");
        let mut names = tables.names();
        if !names.iter().any(|name| name == "demo") {
            names.push("demo".to_owned());
        }
        let all: Vec<_> = names.iter().map(|name| read_backend(tables.section(name), name, bases)).collect();
        tables.finish();

        let mut backends: Vec<BackendConfig> = Vec::new();
        for name in &order {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if name.is_empty() || !name.chars().all(is_plain) {
                let complaint = Complaint::new(format!("{name:?} is no name of a backend"));
                section.complain("backends", complaint.help("letters, digits, `_`, `.` and `-`".to_owned()));
                continue;
            }
            if backends.iter().any(|backend| backend.name == *name) {
                section.complain("backends", Complaint::new(format!("\"{name}\" is named twice")));
                continue;
            }
            match all.iter().find(|backend| backend.name == *name) {
                Some(backend) => backends.push(backend.clone()),
                None => {
                    let complaint = Complaint::new(format!("there is no [backend.{name}]"));
                    let meant = closest(name, names.iter().map(String::as_str));
                    let help = match meant {
                        Some(meant) => format!("did you mean \"{meant}\"?"),
                        None => format!("add [backend.{name}] with its `library` or `plugin`"),
                    };
                    section.complain("backends", complaint.help(help));
                }
            }
        }
        section.finish();
        Self { backends, plugin_dirs, standby, return_after, host }
    }
}

const ISOLATIONS: &[(&str, Isolation)] =
    &[("process", Isolation::Process), ("in-process", Isolation::InProcess)];

fn read_backend(section: Section<'_, '_>, name: &str, bases: &Bases) -> BackendConfig {
    let seconds = Duration::from_secs;
    let backend = BackendConfig {
        name: name.to_owned(),
        source: read_source(&section, name, bases),
        preload: section.read("preload", Vec::new(), |item| {
            let libraries = list(text)(item)?;
            Ok(libraries.iter().map(|library| beside_the_file(library, bases)).collect())
        }),
        folder: absolute(&bases.config),
        isolation: section.read("isolation", Isolation::Process, one_of(ISOLATIONS)),
        required: section.read("required", false, boolean),
        init_timeout: section.read("init_timeout", seconds(120), duration(seconds(1)..=seconds(3_600))),
        hard_deadline: section.read("hard_deadline", seconds(2), duration(seconds(1)..=seconds(600))),
        memory_limit: section.read("memory_limit", 0, size(0..=1 << 46)),
        max_backoff: section.read(
            "max_backoff",
            seconds(30),
            duration(Duration::from_millis(100)..=seconds(3_600)),
        ),
        max_deaths: section.read("max_deaths", 5, integer(1..=1_000)),
        core_dumps: section.read("core_dumps", false, boolean),
        config: section.read("config", Json::Object(serde_json::Map::new()), |item| {
            let table = item.as_table_like().ok_or_else(|| wrong_type("a table", item.type_name()))?;
            table_to_json(table)
        }),
    };
    if matches!(backend.source, BackendSource::Exec { .. }) && !backend.preload.is_empty() {
        section.complain("preload", Complaint::new("`preload` is for kind \"library\""));
    }
    section.finish();
    backend
}

/// A bare name is looked for where it is installed or built; where it is nowhere, starting it tells so.
fn find_host(host: &Path, bases: &Bases) -> PathBuf {
    let places = ["", "../lib/lipcast", ".."].map(|place| bases.program.join(place).join(host));
    places.iter().find(|place| place.is_file()).unwrap_or(&places[0]).clone()
}

/// `kind`, `library`, `command` and `plugin` together: exactly one of the last three says what is started.
fn read_source(section: &Section<'_, '_>, name: &str, bases: &Bases) -> BackendSource {
    const KINDS: &[(&str, Kind)] = &[("library", Kind::Library), ("exec", Kind::Exec)];
    let library = section.read("library", None, |item| library(item, bases).map(Some));
    let command = section.read("command", Vec::new(), list(text));
    let plugin = section.read("plugin", String::new(), plugin_name);
    let implied = if command.is_empty() { Kind::Library } else { Kind::Exec };
    let kind = section.read("kind", implied, one_of(KINDS));
    // demo needs no line about where it lies.
    let is_demo = name == "demo" && kind == Kind::Library && command.is_empty() && plugin.is_empty();
    let library = library.or_else(|| is_demo.then(|| PathBuf::from("liblipcast_demo.so")));

    let complain = |key: &str, message: &str, help: String| {
        section.complain(key, Complaint::new(message).help(help));
        BackendSource::Folder(name.to_owned())
    };
    match (kind, library, command.is_empty(), plugin.is_empty()) {
        (_, None, true, false) => BackendSource::Folder(plugin),
        (Kind::Library, Some(library), true, true) => BackendSource::Library(library),
        (Kind::Exec, None, false, true) => BackendSource::Exec { command, folder: absolute(&bases.config) },
        (_, Some(_), false, _) | (_, Some(_), _, false) | (_, _, false, false) => {
            complain("plugin", "`library`, `command` and `plugin` exclude each other", "keep one".to_owned())
        }
        (Kind::Exec, ..) => complain(
            "command",
            "kind \"exec\" needs `command`",
            "command = [\"python3\", \"backend.py\"]".to_owned(),
        ),
        (Kind::Library, _, false, _) => {
            complain("kind", "`command` is for kind \"exec\"", "kind = \"exec\"".to_owned())
        }
        (Kind::Library, None, ..) => complain(
            "library",
            "`library` is missing",
            format!("library = \"liblipcast_{name}.so\", or plugin = \"{name}\""),
        ),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Library,
    Exec,
}

/// The name of a folder below the plugin folders; nothing that leads out of them.
fn plugin_name(item: &Item) -> Result<String, Complaint> {
    let name = text(item)?;
    if name.contains('/') || name == "." || name == ".." {
        return Err(Complaint::new(format!(
            "\"{name}\" is not the name of a folder in `engine.plugin_dirs`"
        )));
    }
    Ok(name)
}

/// A file name stays as it is, to be looked up in the plugin folders; a path with folders starts at the file.
fn library(item: &Item, bases: &Bases) -> Result<PathBuf, Complaint> {
    let library = text(item)?;
    if library.is_empty() {
        return Err(Complaint::new("the name of a shared library is needed here"));
    }
    if !library.contains('/') {
        return Ok(PathBuf::from(library));
    }
    Ok(beside_the_file(&library, bases))
}

/// A path that starts at the folder of the configuration file.
fn beside_the_file(path: &str, bases: &Bases) -> PathBuf {
    absolute(&bases.config.join(path))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn table_to_json(table: &dyn TableLike) -> Result<Json, Complaint> {
    let pairs = table.iter().map(|(key, item)| Ok((key.to_owned(), item_to_json(item)?)));
    Ok(Json::Object(pairs.collect::<Result<_, Complaint>>()?))
}

fn item_to_json(item: &Item) -> Result<Json, Complaint> {
    match item {
        Item::Value(value) => value_to_json(value),
        Item::Table(table) => table_to_json(table),
        Item::ArrayOfTables(tables) => {
            Ok(Json::Array(tables.iter().map(|t| table_to_json(t)).collect::<Result<_, _>>()?))
        }
        Item::None => Ok(Json::Null),
    }
}

fn value_to_json(value: &Value) -> Result<Json, Complaint> {
    Ok(match value {
        Value::String(text) => Json::from(text.value().as_str()),
        Value::Integer(number) => Json::from(*number.value()),
        Value::Float(number) => serde_json::Number::from_f64(*number.value())
            .map(Json::Number)
            .ok_or_else(|| Complaint::new("inf and nan cannot be handed to a backend").at(value.span()))?,
        Value::Boolean(flag) => Json::from(*flag.value()),
        Value::Datetime(time) => Json::from(time.value().to_string()),
        Value::Array(array) => Json::Array(array.iter().map(value_to_json).collect::<Result<_, _>>()?),
        Value::InlineTable(table) => table_to_json(table)?,
    })
}
