//! Starting a child: with nothing of the parent's but what the protocol gives it, and ending with the parent.
#![allow(
    unsafe_code,
    reason = "moves descriptors between fork and exec, where only system calls are allowed"
)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};

use crate::control::Control;
use crate::layout::{CONTROL_FD, DONE_FD};
use crate::ring::Submissions;

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildCommand {
    /// The program: a path, or a name that is looked up in PATH.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its working folder; none: the parent's.
    pub folder: Option<PathBuf>,
    /// Whether a crash leaves a core file.
    pub core_dumps: bool,
}

/// Variables of the parent that a child gets: what programs need to find their libraries, devices and caches.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "VIRTUAL_ENV",
];

/// Beginnings of names of more such variables.
const INHERITED_FAMILIES: &[&str] = &[
    "CUDA_", "NVIDIA_", "OMP_", "MKL_", "ORT_", "TORCH_", "PYTHON", "LIPCAST_", "ASAN_", "UBSAN_", "TSAN_",
    "LSAN_",
];

/// A started child. Dropping it kills it, and everything that it started and that stayed with it.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    pidfd: OwnedFd,
    ended: Option<ExitStatus>,
}

/// What a parent has of a child that it just started.
#[derive(Debug)]
pub struct Ends {
    /// The process.
    pub child: Child,
    /// The parent's end of the socket.
    pub control: Control,
    /// The parent's end of the ring.
    pub ring: Submissions,
    /// What the child prints, both streams.
    pub output: std::fs::File,
}

impl Child {
    /// Starts `command`. The child is ended by the kernel when the *thread* that calls this ends, so call it from one
    /// that lives as long as the child shall.
    ///
    /// # Errors
    /// When the program is not there or cannot be executed, or the system has no process or descriptor left.
    pub fn start(command: &ChildCommand) -> io::Result<Ends> {
        let (control, theirs) = Control::pair()?;
        let ring = Submissions::create().map_err(|error| io::Error::other(error.to_string()))?;
        let [memory, work, done] = ring.descriptors();
        let moved = move_up([theirs.as_fd(), memory, work, done])?;
        let (output, print) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut program = Command::new(&command.program);
        program
            .args(&command.arguments)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| is_inherited(&name.to_string_lossy())))
            .env("LIPCAST_PROTOCOL", crate::layout::VERSION.to_string())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(print.try_clone()?)
            .stderr(print);
        if let Some(folder) = &command.folder {
            program.current_dir(folder);
        }
        let (core_dumps, parent) = (command.core_dumps, rustix::process::getpid());
        let numbers = moved.each_ref().map(AsRawFd::as_raw_fd);
        // SAFETY: the closure makes system calls only: no memory is allocated, no lock taken.
        unsafe {
            program.pre_exec(move || prepare(numbers, core_dumps, parent));
        }
        // The standard library talks to its fork through a pipe, which must not get one of the numbers that the child's
        // descriptors are moved to.
        let _taken = occupy()?;
        let process = program.spawn()?;
        let pid = Pid::from_child(&process);
        // The kernel prefers it to the server when memory runs out. Without /proc it does not.
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", process.id()), "500");
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let mut process = process;
                let _ = process.kill();
                let _ = process.wait();
                return Err(error.into());
            }
        };
        let child = Self { process, pidfd, ended: None };
        Ok(Ends { child, control, ring, output: output.into() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Readable once it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How it ended, if it has, in words.
    pub fn ended(&mut self) -> Option<String> {
        if self.ended.is_none() && self.is_over() {
            // What it started and left behind goes with it, and with that the last ends of its socket. It is not
            // reaped yet, so the number of its group is still its own.
            let _ = rustix::process::kill_process_group(Pid::from_child(&self.process), Signal::KILL);
            self.ended = self.process.try_wait().ok().flatten();
        }
        self.ended.map(in_words)
    }

    fn is_over(&self) -> bool {
        let mut end = [rustix::event::PollFd::new(&self.pidfd, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut end, Some(&now)), Ok(1))
    }

    /// Whether a signal ended it that a fault of its own raises: none that come from others, such as the system's when
    /// memory runs out.
    pub fn crashed(&self) -> bool {
        let others = [Signal::HUP, Signal::INT, Signal::KILL, Signal::TERM];
        let signal = self.ended.and_then(|status| status.signal());
        signal.is_some_and(|number| others.iter().all(|signal| signal.as_raw() != number))
    }

    /// Ends it at once, with everything in its process group.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            // One that ended meanwhile is not yet reaped, so that its number is still its own.
            let _ = rustix::process::kill_process_group(Pid::from_child(&self.process), Signal::KILL);
            let _ = self.process.kill();
        }
    }

    /// Waits for its end, and tells it in words. What it started and left behind ends too.
    pub fn wait(&mut self) -> String {
        loop {
            if let Some(how) = self.ended() {
                return how;
            }
            let mut end = [rustix::event::PollFd::new(&self.pidfd, rustix::event::PollFlags::IN)];
            if rustix::event::poll(&mut end, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
                return "ended".to_owned();
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}

/// How a process ended: "killed by SIGSEGV (signal 11)", "exited with 3".
pub fn in_words(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => format!("killed by {} (signal {number})", signal_name(number)),
        (None, Some(code)) => format!("exited with {code}"),
        (None, None) => status.to_string(),
    }
}

/// The name of a signal, like "SIGSEGV".
pub fn signal_name(number: i32) -> String {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::SYS, "SIGSYS"),
    ];
    let known = names.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

fn is_inherited(name: &str) -> bool {
    INHERITED.contains(&name) || INHERITED_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Copies with numbers above those that they get in the child: moved one by one to their places, none may land on
/// another that is still to be moved.
fn move_up(fds: [BorrowedFd<'_>; 4]) -> io::Result<[OwnedFd; 4]> {
    let [a, b, c, d] = fds.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, DONE_FD + 1));
    Ok([a?, b?, c?, d?])
}

/// Between fork and exec.
fn prepare(numbers: [i32; 4], core_dumps: bool, parent: Pid) -> io::Result<()> {
    for (place, number) in (CONTROL_FD..=DONE_FD).zip(numbers) {
        // SAFETY: open in the parent until the spawn is over, and so here.
        let source = unsafe { BorrowedFd::borrow_raw(number) };
        // SAFETY: nobody in this process, which is about to become another program, owns that number. It stays open.
        let mut target = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(place) });
        rustix::io::dup2(source, &mut target)?;
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before the line above.
    if rustix::process::getppid() != Some(parent) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    if !core_dumps {
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(Resource::Core, none)?;
    }
    Ok(())
}

/// Takes the free ones among the numbers that a child's descriptors are moved to.
fn occupy() -> io::Result<Vec<OwnedFd>> {
    let nothing = std::fs::File::open("/dev/null")?;
    let mut taken = Vec::new();
    loop {
        let next = rustix::io::fcntl_dupfd_cloexec(&nothing, CONTROL_FD)?;
        if next.as_raw_fd() > DONE_FD {
            return Ok(taken);
        }
        taken.push(next);
    }
}
