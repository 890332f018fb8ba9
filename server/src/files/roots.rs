//! Resolves a path that a client sent to an opened file or folder below one of the configured roots.
//!
//! The kernel does the confinement (`openat2` with `RESOLVE_BENEATH`), not a look at the text:
//! `..`, absolute paths and symbolic links that lead outside fail in the walk itself, and a link swapped in
//! meanwhile changes nothing, because what is handed on is the opened file and not its name.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use tempfile::TempDir;

use super::listing::speech_below;
use crate::config::MediaConfig;

/// The longest path that is looked at, bytes.
const MAX_PATH: usize = 1_024;

/// The folders that client paths are resolved in.
#[derive(Debug)]
pub struct MediaRoots {
    roots: Vec<Root>,
}

#[derive(Debug)]
struct Root {
    folder: OwnedFd,
    prefix: Option<String>,
}

/// A file or folder below a root, opened for reading; it stays readable for as long as a clone lives.
#[derive(Debug, Clone)]
pub struct OpenedMedia {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Held open: the link leads to it through this process.
    _file: OwnedFd,
    /// A folder of our own with one link in it, which has the file's name; removed when dropped.
    _folder: TempDir,
    link: PathBuf,
    name: String,
    is_folder: bool,
}

/// Why a client's path was not opened. The texts are for the client and name no folder of this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Empty, too long, or with characters that no file name has.
    #[error("{0}")]
    Malformed(String),
    /// It leads out of the roots.
    #[error("\"{0}\" leads outside of the media folders; give a path relative to one of them")]
    Outside(String),
    /// Nothing is there.
    #[error("\"{0}\" was not found in the media folders")]
    NotFound(String),
    /// Something is there that cannot be read as a file or folder.
    #[error("\"{0}\" is not a readable file or folder")]
    Unreadable(String),
}

impl OpenedMedia {
    /// A path to open it by, from this process and from its children, as long as a clone of this lives.
    /// It ends in the file's own name.
    pub fn path(&self) -> &Path {
        &self.inner.link
    }

    /// `message` with the file called what the client called it.
    pub fn in_words_of_client(&self, message: &str) -> String {
        message.replace(&self.inner.link.display().to_string(), &self.inner.name)
    }

    /// The last part of what the client called it, for messages and records.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Whether it is a folder (of images).
    pub fn is_folder(&self) -> bool {
        self.inner.is_folder
    }
}

impl MediaRoots {
    /// Opens `media/` of the data folder (made when missing) and the configured roots.
    pub fn open(config: &MediaConfig) -> std::io::Result<Self> {
        let own = config.media_dir();
        fs::create_dir_all(&own)?;
        let configured = config.roots.iter().map(|root| (root.path.clone(), root.prefix.clone()));
        let roots = std::iter::once((own, None)).chain(configured).map(|(path, prefix)| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = open(&path, flags, Mode::empty()).map_err(|error| {
                std::io::Error::new(
                    std::io::Error::from(error).kind(),
                    format!("media folder {}: {error}", path.display()),
                )
            })?;
            Ok(Root { folder, prefix })
        });
        Ok(Self { roots: roots.collect::<std::io::Result<_>>()? })
    }

    /// Opens what `client_path` names below the first root that has it.
    /// Roots whose prefix the path starts with are asked with the rest of it, roots without prefix with all of it.
    /// The text is taken as it is: no percent-decoding, no `~`, no variables.
    pub fn resolve(&self, client_path: &str) -> Result<OpenedMedia, PathError> {
        let shown = || shorten(client_path);
        check_text(client_path)?;
        let mut worst = PathError::NotFound(shown());
        for root in &self.roots {
            let Some(relative) = root.relative(client_path) else { continue };
            match open_beneath(&root.folder, relative) {
                Ok((file, is_folder)) => {
                    return OpenedMedia::new(file, is_folder, client_path).map_err(|error| {
                        tracing::error!(%error, "no link for an opened file: is the temporary folder full?");
                        PathError::Unreadable(shown())
                    });
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(Errno::XDEV | Errno::LOOP) => worst = PathError::Outside(shown()),
                Err(Errno::NAMETOOLONG) => return Err(too_long()),
                Err(_) => worst = PathError::Unreadable(shown()),
            }
        }
        Err(worst)
    }

    /// Speech files of all roots, each by a path that [`MediaRoots::resolve`] takes; at most 500. Blocks.
    pub fn list_speech(&self) -> Vec<String> {
        let mut found = Vec::new();
        for root in &self.roots {
            let folder = PathBuf::from(format!("/proc/self/fd/{}", root.folder.as_raw_fd()));
            let prefix = root.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
            speech_below(&folder, &prefix, &mut found);
        }
        found.dedup();
        found
    }
}

impl Root {
    /// The part of `path` below this root; `None` when the root's prefix does not fit.
    fn relative<'p>(&self, path: &'p str) -> Option<&'p str> {
        match &self.prefix {
            None => Some(path),
            Some(prefix) => path.strip_prefix(prefix.as_str())?.strip_prefix('/'),
        }
    }
}

impl OpenedMedia {
    fn new(file: OwnedFd, is_folder: bool, client_path: &str) -> std::io::Result<Self> {
        let name = Path::new(client_path).file_name().unwrap_or(OsStr::new("media"));
        let folder = tempfile::Builder::new().prefix("lipcast-").tempdir()?;
        let link = folder.path().join(name);
        // Children have descriptors of their own, so it is named through this process and not "self".
        symlink(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()), &link)?;
        let name = name.to_string_lossy().into_owned();
        Ok(Self { inner: Arc::new(Inner { _file: file, _folder: folder, link, name, is_folder }) })
    }
}

fn check_text(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Malformed("the path is empty".to_owned()));
    }
    if path.len() > MAX_PATH {
        return Err(too_long());
    }
    if path.chars().any(char::is_control) {
        return Err(PathError::Malformed("the path has control characters in it".to_owned()));
    }
    Ok(())
}

fn too_long() -> PathError {
    PathError::Malformed(format!("the path is too long; {MAX_PATH} bytes is the most"))
}

/// A client's text as a message may repeat it: 80 characters at most.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn open_beneath(folder: &OwnedFd, relative: &str) -> Result<(OwnedFd, bool), Errno> {
    // Without NONBLOCK a FIFO would wait here for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = loop {
        match openat2(folder, relative, flags, Mode::empty(), resolve) {
            // The kernel could not rule out that a rename meanwhile led outside.
            Err(Errno::AGAIN | Errno::INTR) => continue,
            other => break other?,
        }
    };
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok((file, false)),
        FileType::Directory => Ok((file, true)),
        _ => Err(Errno::ACCESS),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;
    use rustix::fs::CWD;

    use crate::config::RootConfig;

    struct World {
        _folder: tempfile::TempDir,
        roots: MediaRoots,
    }

    /// data/media/{a.wav, sub/b.wav, links…}, extra/c.wav, talk/data/video/y.mp4 (prefix ../MuseTalk), secret.txt
    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for sub in ["data/media/sub", "extra", "talk/data/video", "data/media/frames"] {
            fs::create_dir_all(at(sub)).unwrap();
        }
        let files = [
            ("data/media/a.wav", "own"),
            ("data/media/sub/b.wav", "sub"),
            ("data/media/häuser 100%.wav", "umlaut"),
            ("data/media/%2e%2e", "percent"),
            ("extra/a.wav", "shadowed"),
            ("extra/c.wav", "extra"),
            ("talk/data/video/y.mp4", "prefixed"),
            ("secret.txt", "secret"),
            ("data/secret.txt", "secret"),
        ];
        for (path, text) in files {
            fs::write(at(path), text).unwrap();
        }
        let links = [
            ("/etc/passwd", "passwd"),
            ("/etc", "etc"),
            ("../../secret.txt", "up"),
            ("../../data/media/a.wav", "out-and-in"),
            ("/proc/self/root/etc/passwd", "magic"),
            ("loop", "loop"),
            ("sub/b.wav", "inside"),
        ];
        for (target, link) in links {
            symlink(target, at("data/media").join(link)).unwrap();
        }
        let extra = RootConfig { path: at("extra"), prefix: None };
        let talk = RootConfig { path: at("talk"), prefix: Some("../MuseTalk".to_owned()) };
        let text = format!("[media]\ndata_dir = \"{}\"", at("data").display());
        let mut config =
            crate::config::Config::parse("t", &text, &crate::config::Bases::of(None)).unwrap().media;
        config.roots = vec![extra, talk];
        World { roots: MediaRoots::open(&config).unwrap(), _folder: folder }
    }

    fn read(world: &World, path: &str) -> String {
        let opened = world.roots.resolve(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        fs::read_to_string(opened.path()).unwrap()
    }

    #[test]
    fn paths_below_a_root_open() {
        let world = world();
        for (path, content) in [
            ("a.wav", "own"),
            ("./a.wav", "own"),
            ("sub/../a.wav", "own"),
            ("sub//b.wav", "sub"),
            ("inside", "sub"),
            ("c.wav", "extra"),
            ("häuser 100%.wav", "umlaut"),
            ("%2e%2e", "percent"),
            ("../MuseTalk/data/video/y.mp4", "prefixed"),
            ("../MuseTalk/data/../data/video/y.mp4", "prefixed"),
        ] {
            assert_eq!(read(&world, path), content, "{path}");
        }
        assert!(world.roots.resolve("frames").unwrap().is_folder());
        assert_eq!(world.roots.resolve("../MuseTalk/data/video/y.mp4").unwrap().name(), "y.mp4");
    }

    #[test]
    fn no_spelling_leads_outside() {
        let world = world();
        let long = "a/".repeat(600);
        let deep = "../".repeat(200) + "etc/passwd";
        let long_name = "x".repeat(300);
        let payloads = [
            "",
            "/",
            "//",
            ".//..//..",
            "..",
            "../",
            "../..",
            "../../",
            "/etc/passwd",
            "//etc/passwd",
            "///etc/passwd",
            "/./etc/passwd",
            "../secret.txt",
            "../../secret.txt",
            "sub/../../secret.txt",
            "sub/../../../secret.txt",
            "./../secret.txt",
            "sub/./.././../secret.txt",
            "sub//..//..//secret.txt",
            "....//....//etc/passwd",
            "..../etc/passwd",
            ".../secret.txt",
            "..\\secret.txt",
            "..\\..\\etc\\passwd",
            "\\etc\\passwd",
            "C:\\Windows\\win.ini",
            "C:/Windows/win.ini",
            "file:///etc/passwd",
            "file:/etc/passwd",
            "http://127.0.0.1/",
            "concat:/etc/passwd|a.wav",
            "pipe:0",
            "data:text/plain,x",
            "subfile,,start,0,end,9,,:/etc/passwd",
            "%2e%2e/secret.txt",
            "%2e%2e%2fsecret.txt",
            "..%2fsecret.txt",
            "%252e%252e%252fsecret.txt",
            "%c0%ae%c0%ae/secret.txt",
            "%2fetc%2fpasswd",
            "..%00/secret.txt",
            "a.wav\0",
            "\0",
            "\0/etc/passwd",
            "a.wav\0.mp4",
            "../secret.txt\0.wav",
            "a.wav\n",
            "a\rb",
            "\u{7f}",
            "．．/secret.txt",
            "‥/secret.txt",
            "..\u{2215}secret.txt",
            "..\u{ff0f}secret.txt",
            "\u{202e}vaw.a",
            "~/.ssh/id_rsa",
            "~root/.bashrc",
            "$HOME/.bashrc",
            "passwd",
            "etc/passwd",
            "etc",
            "up",
            "out-and-in",
            "magic",
            "loop",
            "loop/x",
            "/proc/self/environ",
            "/dev/zero",
            "/dev/stdin",
            "passwd/",
            "a.wav/",
            "a.wav/..",
            "a.wav/../../secret.txt",
            "../MuseTalk",
            "../MuseTalk/../secret.txt",
            "../MuseTalk/../../etc/passwd",
            "../MuseTalkX/a.wav",
            "../MuseTalk//etc/passwd",
            "../MuseTalk/data/../../secret.txt",
            "../extra/c.wav",
            "-i",
            "|ls",
            "*.wav",
            &long,
            &deep,
            &long_name,
        ];
        assert!(payloads.len() >= 60);
        for payload in payloads {
            match world.roots.resolve(payload) {
                Err(error) => {
                    let text = error.to_string();
                    assert!(!text.contains(world._folder.path().to_str().unwrap()), "{payload:?}: {text}");
                    assert!(text.len() < 500, "{payload:?}: {text}");
                }
                Ok(opened) => panic!("{payload:?} opened {:?}", fs::read_link(opened.path())),
            }
        }
    }

    #[test]
    fn a_file_that_is_replaced_afterwards_does_not_change_what_was_opened() {
        let world = world();
        let opened = world.roots.resolve("a.wav").unwrap();
        let file = world._folder.path().join("data/media/a.wav");
        fs::remove_file(&file).unwrap();
        symlink("/etc/passwd", &file).unwrap();
        assert_eq!(fs::read_to_string(opened.path()).unwrap(), "own");
    }

    #[test]
    fn children_open_it_by_the_same_path() {
        let world = world();
        let opened = world.roots.resolve("sub/b.wav").unwrap();
        let mut child = Command::new("cat").arg(opened.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        assert_eq!(text, "sub");
        assert_eq!(opened.path().file_name().unwrap(), "b.wav");
        let link = opened.path().to_owned();
        drop(opened);
        assert!(!link.parent().unwrap().exists(), "nothing stays behind");
    }

    #[test]
    fn what_is_listed_can_be_resolved() {
        let world = world();
        let listed = world.roots.list_speech();
        assert!(
            listed.contains(&"sub/b.wav".to_owned()) && listed.contains(&"c.wav".to_owned()),
            "{listed:?}"
        );
        for path in &listed {
            world.roots.resolve(path).unwrap();
        }
    }

    #[test]
    fn a_fifo_is_refused_without_waiting() {
        let world = world();
        let media = world._folder.path().join("data/media");
        rustix::fs::mknodat(CWD, media.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(world.roots.resolve("pipe").unwrap_err(), PathError::Unreadable("pipe".to_owned()));
    }
}
