//! `ffmpeg` and `ffprobe` as child processes that cannot do harm.
//!
//! Each runs at low priority, with limits on processor time, memory, open files and files it may write, and
//! is killed when it makes its reader wait too long, or when its owner lets go of it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit, setpriority_process};

use crate::sync::lock;

/// Demuxers that an upload may use. What is left out could open other files or addresses (playlists,
/// concatenations, image patterns).
const DEMUXERS: &str = "mov,matroska,avi,mpegts,mpeg,flv,ogg,gif,asf,mp3,aac,wav,flac,aiff,amr,caf,h264,hevc,\
                        mpegvideo,m4v,ivf,apng,w64,au,ac3,eac3,wv,tta,dv,mxf,obu,av1";
/// Last lines of the child's complaints that are kept.
const KEPT_LINES: usize = 3;
const LONGEST_LINE: u64 = 2_000;
/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(100);

/// Why a child process gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The program is not installed.
    #[error("{program} is not installed; it comes with the package `ffmpeg` (apt-get install ffmpeg)")]
    NotInstalled {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
    },
    /// It gave nothing for too long.
    #[error("{program} was stopped: it gave nothing for {seconds} s")]
    Stalled {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
        /// The limit that was reached.
        seconds: u64,
    },
    /// It reached its limit of processor time.
    #[error("{program} was stopped after {seconds} s of processor time")]
    TooMuchWork {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
        /// The limit that was reached.
        seconds: u64,
    },
    /// It ended with an error.
    #[error("{program} failed: {detail}")]
    Failed {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
        /// Its last words, or its exit status.
        detail: String,
    },
    /// It could not be started or spoken to.
    #[error("{program}: {source}")]
    Io {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// What a child may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildLimits {
    /// Longest wait for bytes, while its owner waits.
    pub(crate) stall: Duration,
    /// Processor seconds in all.
    pub(crate) processor: u64,
    /// Bytes of address space.
    pub(crate) memory: u64,
    /// Bytes a file it writes may have; 0 for readers.
    pub(crate) file_size: u64,
}

impl Default for ChildLimits {
    fn default() -> Self {
        Self { stall: Duration::from_secs(20), processor: 900, memory: 4 << 30, file_size: 0 }
    }
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Child {
    program: &'static str,
    limits: ChildLimits,
    shared: Arc<Shared>,
    stdout: Option<ChildStdout>,
    watchdog: Option<JoinHandle<()>>,
    complaints: Option<JoinHandle<VecDeque<String>>>,
    /// Full path and bare name of the file: messages carry only the name.
    hidden: (String, String),
}

#[derive(Debug)]
struct Shared {
    process: Mutex<std::process::Child>,
    watch: Mutex<Watch>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Watch {
    waiting_since: Option<Instant>,
    stalled: bool,
    finished: bool,
}

impl Child {
    /// Starts `program` with `arguments`. `file` is the media file it works on, for its messages.
    pub(crate) fn start(
        program: &'static str,
        arguments: &[OsString],
        file: &Path,
        limits: ChildLimits,
    ) -> Result<Self, ChildError> {
        let mut process = Command::new(program)
            .args(arguments)
            .env("AV_LOG_FORCE_NOCOLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => ChildError::NotInstalled { program },
                _ => ChildError::Io { program, source },
            })?;
        restrain(&process, &limits);
        let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
        let shared = Arc::new(Shared {
            process: Mutex::new(process),
            watch: Mutex::new(Watch::default()),
            changed: Condvar::new(),
        });
        let watchdog = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.guard(limits.stall)
        });
        let complaints = stderr.map(|stderr| std::thread::spawn(move || last_lines(stderr)));
        // As `input_argument` gives it to the child.
        let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let hidden = (path.to_string_lossy().into_owned(), file_name(file));
        Ok(Self { program, limits, shared, stdout, watchdog: Some(watchdog), complaints, hidden })
    }

    /// Fills `buffer` from the child's output; fewer bytes mean that the output has ended.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ChildError> {
        let Some(stdout) = &mut self.stdout else { return Ok(0) };
        self.shared.wait_begins();
        let result = read_full(stdout, buffer);
        self.shared.wait_ends();
        let length = result.map_err(|source| ChildError::Io { program: self.program, source })?;
        if length < buffer.len() && self.shared.watch().stalled {
            return Err(self.stalled());
        }
        Ok(length)
    }

    /// Reads all of the output, at most `most` bytes of it.
    pub(crate) fn read_all(&mut self, most: usize) -> Result<Vec<u8>, ChildError> {
        let mut all = vec![0; most];
        let length = self.read(&mut all)?;
        all.truncate(length);
        Ok(all)
    }

    /// Waits for the child's own end; call it once its output has ended.
    pub(crate) fn finish(mut self) -> Result<(), ChildError> {
        self.shared.wait_begins();
        // Whatever it still writes is drained, so that it cannot block on a full pipe.
        if let Some(stdout) = &mut self.stdout {
            drop(io::copy(stdout, &mut io::sink()));
        }
        let status = loop {
            let ended = lock(&self.shared.process).try_wait();
            match ended {
                Ok(Some(status)) => break status,
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                Err(source) => return Err(ChildError::Io { program: self.program, source }),
            }
        };
        if self.shared.watch().stalled {
            return Err(self.stalled());
        }
        let words = self.last_words();
        self.judge(status, words)
    }

    fn judge(&self, status: ExitStatus, words: String) -> Result<(), ChildError> {
        if status.success() {
            return Ok(());
        }
        // The soft limit sends SIGXCPU, the hard one SIGKILL.
        if matches!(status.signal(), Some(24 | 9)) {
            return Err(ChildError::TooMuchWork { program: self.program, seconds: self.limits.processor });
        }
        let detail = if words.is_empty() { status.to_string() } else { words };
        Err(ChildError::Failed { program: self.program, detail })
    }

    fn stalled(&self) -> ChildError {
        ChildError::Stalled { program: self.program, seconds: self.limits.stall.as_secs() }
    }

    fn last_words(&mut self) -> String {
        let lines = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let (path, name) = &self.hidden;
        let readable = lines.iter().map(|line| {
            // "[mov,mp4 @ 0x55d0c8] moov atom not found": the address helps nobody.
            let text = match line.split_once("] ") {
                Some((tag, text)) if tag.contains(" @ 0x") => text,
                _ => line,
            };
            text.replace(&format!("file:{path}"), name).replace(path, name)
        });
        readable.collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.shared.kill();
        drop(lock(&self.shared.process).wait());
        {
            let mut watch = self.shared.watch();
            watch.finished = true;
            self.shared.changed.notify_all();
        }
        if let Some(thread) = self.watchdog.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        lock(&self.watch)
    }

    fn wait_begins(&self) {
        self.watch().waiting_since = Some(Instant::now());
    }

    fn wait_ends(&self) {
        self.watch().waiting_since = None;
    }

    /// Killing a child that has already been waited for does nothing, so its number cannot hit another.
    fn kill(&self) {
        drop(lock(&self.process).kill());
    }

    /// The watchdog's thread.
    fn guard(&self, stall: Duration) {
        let mut watch = self.watch();
        while !watch.finished {
            watch = self.changed.wait_timeout(watch, TICK).unwrap_or_else(PoisonError::into_inner).0;
            if watch.waiting_since.is_some_and(|since| since.elapsed() > stall) && !watch.stalled {
                watch.stalled = true;
                drop(watch);
                self.kill();
                watch = self.watch();
            }
        }
    }
}

/// The arguments that every reading `ffmpeg` or `ffprobe` gets before its input.
pub(crate) fn reader_arguments() -> Vec<OsString> {
    [
        "-nostdin",
        "-hide_banner",
        "-loglevel",
        "error",
        "-protocol_whitelist",
        "file,pipe",
        "-format_whitelist",
    ]
    .iter()
    .map(OsString::from)
    .chain([OsString::from(DEMUXERS)])
    .collect()
}

/// `file:` and the absolute path, so that a name is never taken for an option or another protocol.
pub(crate) fn input_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    argument
}

/// The last part of a path, for messages.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.to_string_lossy().into_owned(), |name| name.to_string_lossy().into_owned())
}

/// A limit that cannot be set is left out: the watchdog and the limits on size still hold.
fn restrain(process: &std::process::Child, limits: &ChildLimits) {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return };
    let fixed = |amount: u64| Rlimit { current: Some(amount), maximum: Some(amount) };
    let cpu = Rlimit { current: Some(limits.processor), maximum: Some(limits.processor + 5) };
    let results = [
        prlimit(Some(pid), Resource::Cpu, cpu),
        prlimit(Some(pid), Resource::As, fixed(limits.memory)),
        prlimit(Some(pid), Resource::Fsize, fixed(limits.file_size)),
        prlimit(Some(pid), Resource::Nofile, fixed(64)),
        prlimit(Some(pid), Resource::Core, fixed(0)),
    ];
    if let Some(error) = results.into_iter().find_map(Result::err) {
        tracing::debug!(%error, "a limit of the media child could not be set");
    }
    if let Err(error) = setpriority_process(Some(pid), 10) {
        tracing::debug!(%error, "the media child keeps the usual priority");
    }
}

fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn last_lines(source: impl Read) -> VecDeque<String> {
    let mut reader = BufReader::new(source);
    let mut lines = VecDeque::new();
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return lines,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                if !text.is_empty() {
                    lines.push_back(text);
                }
                if lines.len() > KEPT_LINES {
                    lines.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limits: ChildLimits) -> Child {
        Child::start("sh", &["-c".into(), script.into()], Path::new("/secret/face.mp4"), limits).unwrap()
    }

    fn short() -> ChildLimits {
        ChildLimits { stall: Duration::from_millis(300), ..ChildLimits::default() }
    }

    #[test]
    fn a_missing_program_says_what_to_install() {
        let error = Child::start("no-such-ffmpeg", &[], Path::new("a"), ChildLimits::default()).unwrap_err();
        assert!(error.to_string().contains("apt-get install ffmpeg"), "{error}");
    }

    #[test]
    fn a_child_that_gives_nothing_is_stopped() {
        let mut child = shell("exec sleep 600", short());
        assert!(matches!(child.read(&mut [0]), Err(ChildError::Stalled { .. })));
        // Closing its output is no way out.
        let mut child = shell("exec >&-; exec sleep 600", short());
        assert_eq!(child.read(&mut [0]).unwrap(), 0);
        assert!(matches!(child.finish(), Err(ChildError::Stalled { .. })));
    }

    #[test]
    fn a_slow_owner_is_not_held_against_the_child() {
        let mut child = shell("printf ab; sleep 0.05; printf c", short());
        let mut bytes = [0; 2];
        child.read(&mut bytes).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(child.read_all(8).unwrap(), b"c");
        child.finish().unwrap();
    }

    #[test]
    fn processor_time_and_written_files_are_limited() {
        let limits = ChildLimits { processor: 1, ..ChildLimits::default() };
        let mut child = shell("while :; do :; done", limits);
        assert_eq!(child.read(&mut [0]).unwrap(), 0);
        assert!(matches!(child.finish(), Err(ChildError::TooMuchWork { seconds: 1, .. })));
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("written");
        let script = format!("sleep 0.3; exec head -c 100 /dev/zero > '{}'", target.display());
        assert!(shell(&script, ChildLimits::default()).finish().is_err());
        assert_eq!(std::fs::metadata(target).map_or(0, |data| data.len()), 0);
    }

    #[test]
    fn its_last_words_name_the_file_but_not_the_folder() {
        let script = "echo one >&2; echo two >&2; echo '[mov @ 0x5f] no moov' >&2; \
                      echo 'file:/secret/face.mp4: bad' >&2; exit 3";
        let error = shell(script, ChildLimits::default()).finish().unwrap_err();
        assert_eq!(error.to_string(), "sh failed: two; no moov; face.mp4: bad");
    }
}
