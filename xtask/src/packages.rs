//! What the system has to provide, and how it is installed where apt is there.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::steps::run;

/// One thing the system must provide.
struct Need {
    /// How it is noticed.
    found: Found,
    /// Debian's package.
    package: &'static str,
    /// Why it is needed; told when it cannot be installed.
    reason: &'static str,
}

enum Found {
    Program(&'static str),
    File(&'static str),
    Library(&'static str),
    PythonModule(&'static str),
}

const BUILD: &[Need] = &[
    Need { found: Found::Program("c++"), package: "build-essential", reason: "compiles the codecs" },
    Need { found: Found::Program("cmake"), package: "cmake", reason: "builds Opus" },
    Need { found: Found::Program("nasm"), package: "nasm", reason: "halves the cost of H.264" },
    Need { found: Found::Program("pkg-config"), package: "pkg-config", reason: "finds libvpx" },
    Need { found: Found::Library("vpx"), package: "libvpx-dev", reason: "VP8" },
];

const RUN: &[Need] = &[
    Need { found: Found::Program("ffmpeg"), package: "ffmpeg", reason: "reads avatar videos, writes mp4" },
    Need {
        found: Found::File("/usr/share/dlib/shape_predictor_68_face_landmarks.dat"),
        package: "libdlib-data",
        reason: "finds the 68 landmarks of a face",
    },
];

const TEST: &[Need] = &[
    Need {
        found: Found::Program("chromium"),
        package: "chromium",
        reason: "the viewer of the end-to-end tests",
    },
    Need { found: Found::Program("flite"), package: "flite", reason: "speech with known phone times" },
    Need { found: Found::Program("node"), package: "nodejs", reason: "drives the browser" },
    Need { found: Found::Program("npm"), package: "npm", reason: "installs the browser's driver" },
    Need {
        found: Found::PythonModule("ensurepip"),
        package: "python3-venv",
        reason: "the independent WebRTC client",
    },
];

const DOWNLOAD: &[Need] = &[Need {
    found: Found::PythonModule("ensurepip"),
    package: "python3-venv",
    reason: "downloads the libraries that run neural networks",
}];

/// What building and running need.
pub(crate) fn install_to_run() -> Result<()> {
    install(&[BUILD, RUN])
}

/// What the whole check needs.
pub(crate) fn install_to_test() -> Result<()> {
    install(&[BUILD, RUN, TEST])
}

/// What downloading from the Python package index needs.
pub(crate) fn install_to_download() -> Result<()> {
    install(&[DOWNLOAD])
}

fn install(lists: &[&[Need]]) -> Result<()> {
    let missing: Vec<&Need> = lists.iter().copied().flatten().filter(|need| !is_there(&need.found)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    for need in &missing {
        println!("   missing: {} ({})", need.package, need.reason);
    }
    let by_hand = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !is_there(&Found::Program("apt-get")) {
        bail!("this system has no apt-get; install what these Debian packages hold: {}", packages.join(", "));
    }
    let Some(prefix) = privilege() else {
        bail!("no right to install packages here; as root, run: apt-get update && {by_hand}");
    };
    run(apt(prefix).arg("update").arg("-qq"))?;
    run(apt(prefix).args(["install", "-y", "-qq", "--no-install-recommends"]).args(&packages))?;
    if let Some(need) = missing.iter().find(|need| !is_there(&need.found)) {
        bail!("{} was installed but what it should bring is still not found", need.package);
    }
    Ok(())
}

/// The words before `apt-get`, or `None` where nothing may be installed.
fn privilege() -> Option<&'static [&'static str]> {
    let quiet = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).output().ok()
    };
    let user = quiet("id", &["-u"])?;
    if user.stdout.trim_ascii() == b"0" {
        return Some(&[]);
    }
    quiet("sudo", &["-n", "true"]).filter(|output| output.status.success()).map(|_| &["sudo", "-n"] as &[_])
}

fn apt(prefix: &[&str]) -> Command {
    let mut words = prefix.iter().copied().chain(["apt-get"]);
    let mut command = Command::new(words.next().expect("at least apt-get"));
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn succeeds(program: &str, arguments: [&str; 2]) -> bool {
    let status = Command::new(program).args(arguments).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn is_there(found: &Found) -> bool {
    match found {
        Found::File(path) => Path::new(path).exists(),
        Found::Library(name) => succeeds("pkg-config", ["--exists", name]),
        Found::PythonModule(name) => succeeds("python3", ["-c", &format!("import {name}")]),
        Found::Program(name) => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
        }
    }
}
