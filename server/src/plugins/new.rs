//! `lipcast plugin new`: a project from one of the templates of `plugins-api/templates`, which are in the program.
//!
//! In: a name, a language and a folder. Out: the files, with the template's name replaced. The templates are real
//! projects, tested where they lie.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a project is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// A crate with the safe trait.
    Rust,
    /// A source file, the header, a Makefile and a CMakeLists.txt; C++ takes it too.
    C,
    /// A program of its own over the exec protocol; no packages needed.
    Python,
}

/// What to write, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    name: String,
    language: Language,
    folder: PathBuf,
    /// The folder of the crate `lipcast-plugins-api`; Rust only.
    api: Option<PathBuf>,
}

/// Why no project was made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name.
    #[error("\"{name}\" cannot be the name of a plugin: {reason}")]
    Name {
        /// As it was given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something is there.
    #[error("{} is there already; nothing was written", .0.display())]
    Exists(PathBuf),
    /// A crate in Rust needs Lipcast's own.
    #[error("{reason}\n    help: --api PATH names the folder plugins-api of Lipcast's sources")]
    Api {
        /// What was looked for and not found.
        reason: String,
    },
    /// The disk.
    #[error("{}: {error}", .path.display())]
    Io {
        /// What was written.
        path: PathBuf,
        /// Why it was not.
        error: io::Error,
    },
}

/// The name that the templates carry.
const PLACEHOLDER: &str = "talker";

/// Names that a crate, its library or a module of Python cannot have.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "backend",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "demo",
];

impl Project {
    /// A project `name` in `language`, in a new folder `dir`/`name`. `api` is the crate `lipcast-plugins-api`; without
    /// it the checkout is searched for that this program or the current folder lies in.
    ///
    /// # Errors
    /// When the name is none, the folder is there, or a crate in Rust would find no `lipcast-plugins-api`.
    pub fn new(name: &str, language: Language, dir: &Path, api: Option<&Path>) -> Result<Self, NewError> {
        if let Some(reason) = wrong_with(name) {
            return Err(NewError::Name { name: name.to_owned(), reason });
        }
        let dir = std::path::absolute(dir).map_err(|error| NewError::Io { path: dir.to_owned(), error })?;
        let folder = dir.join(name);
        if folder.symlink_metadata().is_ok() {
            return Err(NewError::Exists(folder));
        }
        let api = (language == Language::Rust).then(|| find_api(api)).transpose()?;
        Ok(Self { name: name.to_owned(), language, folder, api })
    }

    /// The project's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes every file; into a folder beside it first, so that there is a whole project or none.
    ///
    /// # Errors
    /// When the disk fails, or somebody else made the folder meanwhile.
    pub fn write(&self) -> Result<(), NewError> {
        let parent = self.folder.parent().unwrap_or(Path::new("/"));
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| NewError::Io { path, error }
        };
        fs::create_dir_all(parent).map_err(io(parent))?;
        let aside = tempfile::Builder::new()
            .prefix(&format!(".{}.", self.name))
            .tempdir_in(parent)
            .map_err(io(parent))?;
        for (path, text) in self.files()? {
            let path = aside.path().join(path);
            let folder = path.parent().unwrap_or(parent);
            fs::create_dir_all(folder).map_err(io(folder))?;
            fs::File::create_new(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(io(&path))?;
        }
        // Refuses to replace anything but an empty folder.
        fs::rename(aside.path(), &self.folder).map_err(io(&self.folder))?;
        // A temporary folder is its owner's alone; a project is like any other folder.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&self.folder, mode).map_err(io(&self.folder))
    }

    /// What to do next, a command a line, from the folder that the caller is in.
    pub fn next_steps(&self) -> String {
        let library = format!("lib{}.so", self.underscored());
        let (build, check) = match self.language {
            Language::Rust => {
                ("cargo test --release && cargo build --release", format!("target/release/{library}"))
            }
            Language::C => ("make", library),
            Language::Python => ("python3 test_backend.py", ".".to_owned()),
        };
        format!(
            "cd {}\n{build}\nlipcast plugin check {check}\n\
             lipcast render --config config.toml --backend {} -o out.mp4\nlipcast serve --config config.toml",
            self.folder.display(),
            self.name,
        )
    }

    fn files(&self) -> Result<Vec<(String, String)>, NewError> {
        let mut files: Vec<(String, String)> = template(self.language)
            .iter()
            .map(|(path, text)| (self.renamed(path).replace("gitignore", ".gitignore"), self.renamed(text)))
            .collect();
        // The folder of the plugins is not known before now: `..` starts at the program, not at this file.
        let dir = self.folder.parent().unwrap_or(Path::new("/")).display().to_string();
        let config = self.renamed(CONFIG).replace("[\"..\", ", &format!("[{}, ", quoted(&dir)));
        files.push(("config.toml".to_owned(), config));
        if let Some(api) = &self.api {
            let path = format!("path = {}", quoted(&api.display().to_string()));
            for (_, text) in files.iter_mut().filter(|(name, _)| name == "Cargo.toml") {
                *text = text.replace("path = \"../..\"", &path);
            }
            // The same versions as the server: nothing is downloaded that is not there already.
            let lock = api.parent().map(|checkout| checkout.join("Cargo.lock"));
            if let Some(Ok(text)) = lock.map(fs::read_to_string) {
                files.push(("Cargo.lock".to_owned(), text));
            }
        }
        Ok(files)
    }

    /// The template's text or file name under this project's name.
    fn renamed(&self, text: &str) -> String {
        let camel: String = self.name.split(['-', '_']).map(capital).collect();
        let library = format!("lib{PLACEHOLDER}.so");
        let rename = |line: &str| {
            line.replace(&library, &format!("lib{}.so", self.underscored()))
                // What Rust calls a crate of that name.
                .replace(&format!("use {PLACEHOLDER}::"), &format!("use {}::", self.underscored()))
                .replace(PLACEHOLDER, &self.name)
                .replace(&capital(PLACEHOLDER), &camel)
        };
        text.split('\n').map(|line| aligned(line, rename(line))).collect::<Vec<_>>().join("\n")
    }

    fn underscored(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// `renamed` with the comment at its end where it stood in `line`.
fn aligned(line: &str, renamed: String) -> String {
    const MARK: &str = "  # ";
    match (line.rfind(MARK), renamed.rsplit_once(MARK)) {
        (Some(column), Some((code, comment))) => format!("{:column$}{MARK}{comment}", code.trim_end()),
        _ => renamed,
    }
}

fn wrong_with(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        Some("lower-case letters, digits, '-' and '_', a letter first")
    } else if name.len() > 40 {
        Some("at most 40 characters")
    } else if name.ends_with(['-', '_']) || name.contains("--") || name.contains("__") {
        Some("'-' and '_' stand between letters or digits")
    } else if TAKEN.contains(&name) {
        Some("it means something else already")
    } else {
        None
    }
}

fn find_api(given: Option<&Path>) -> Result<PathBuf, NewError> {
    let is_api = |folder: &Path| {
        let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        text.contains("name = \"lipcast-plugins-api\"")
    };
    if let Some(path) = given {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let reason =
            || NewError::Api { reason: format!("{} is not the crate lipcast-plugins-api", path.display()) };
        return if is_api(&path) { Ok(path.clone()) } else { Err(reason()) };
    }
    // A program that was built in a checkout lies in its target folder.
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    let places = starts.iter().flatten().flat_map(|start| start.ancestors());
    let found = places.map(|place| place.join("plugins-api")).find(|folder| is_api(folder));
    let reason = "a backend in Rust is built against the crate lipcast-plugins-api, and neither this program nor the \
                  current folder lies in a checkout of Lipcast";
    found.ok_or_else(|| NewError::Api { reason: reason.to_owned() })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// As TOML text.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string().trim().to_owned()
}

macro_rules! files {
    ($folder:literal: $($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../plugins-api/templates/", $folder, "/", $path)))),*]
    };
}

const CONFIG: &str = include_str!("../../../plugins-api/templates/config.toml");

const HEADER: &str = include_str!("../../../plugins-api/include/lipcast_backend.h");

fn template(language: Language) -> Vec<(&'static str, &'static str)> {
    let files: &[(&str, &str)] = match language {
        Language::Rust => {
            files!("rust": "Cargo.toml", "README.md", "gitignore", "plugin.toml", "src/lib.rs", "src/mouth.rs", "tests/speaks.rs")
        }
        Language::C => {
            files!("c": "CMakeLists.txt", "Makefile", "README.md", "gitignore", "plugin.toml", "talker.c")
        }
        Language::Python => {
            files!("python": "README.md", "backend.py", "gitignore", "lipcast_backend.py", "plugin.toml", "test_backend.py")
        }
    };
    let header = (language == Language::C).then_some(("lipcast_backend.h", HEADER));
    files.iter().copied().chain(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins-api")
    }

    fn made(name: &str, language: Language) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::new(name, language, dir.path(), Some(&api())).unwrap();
        project.write().unwrap();
        let folder = project.folder().to_owned();
        (dir, folder)
    }

    #[test]
    fn every_language_gives_a_plugin_folder_under_its_own_name() {
        for language in [Language::Rust, Language::C, Language::Python] {
            let (_dir, folder) = made("my-mouth", language);
            let manifest = crate::plugins::Manifest::read(&folder).unwrap();
            assert_eq!(manifest.id, "org.example.my-mouth");
            let mut texts = String::new();
            for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                assert!(!entry.display().to_string().contains("talker"), "{}", entry.display());
                if entry.is_file() && !entry.ends_with("Cargo.lock") {
                    texts += &fs::read_to_string(&entry).unwrap();
                }
            }
            assert!(!texts.to_lowercase().contains("talker"), "{language:?}");
            let readme = fs::read_to_string(folder.join("README.md")).unwrap();
            let columns: Vec<_> = readme.lines().filter_map(|line| line.rfind("  # ")).collect();
            assert!(columns.windows(2).all(|pair| pair[0] == pair[1]), "{readme}");
            let config = crate::config::Config::load(Some(&folder.join("config.toml"))).unwrap();
            assert_eq!(config.engine.backends[0].name, "my-mouth");
            assert_eq!(config.engine.plugin_dirs[0], folder.parent().unwrap());
            let source = &config.engine.backends[0].source;
            assert!(crate::plugins::find(&config.engine, source, &[]).is_ok(), "its plugin folder is found");
        }
    }

    #[test]
    fn a_second_project_of_the_name_is_refused_and_the_first_stays() {
        let (dir, folder) = made("mine", Language::C);
        fs::write(folder.join("mine.c"), "my work").unwrap();
        let error = Project::new("mine", Language::Python, dir.path(), None).unwrap_err();
        assert!(matches!(&error, NewError::Exists(path) if *path == folder), "{error}");
        assert_eq!(fs::read_to_string(folder.join("mine.c")).unwrap(), "my work");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn names_that_would_not_build_are_refused() {
        for name in
            ["", "Talker", "1st", "a b", "../up", "a/b", "fn", "test", "demo", "trailing-", "a--b", "é"]
        {
            let error = Project::new(name, Language::C, Path::new("/nowhere"), None).unwrap_err();
            assert!(matches!(error, NewError::Name { .. }), "{name}: {error}");
        }
        let error =
            Project::new("fine", Language::Rust, Path::new("/nowhere"), Some(Path::new("/"))).unwrap_err();
        assert!(error.to_string().contains("/ is not the crate lipcast-plugins-api"), "{error}");
    }
}
