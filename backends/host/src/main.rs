//! `backend-host [--preload LIBRARY]… PATH`: opens one plugin and serves it to the process that started this one.
//!
//! In: control calls over a socket, session calls and batches over a ring. Out: what the plugin makes of them.
//! Threads: the main one makes all session calls and batches, one reads the socket and answers what is short, each
//! longer call has one of its own, and one beats the heart.
//!
//! Whatever the plugin does to this process, it does to nobody else.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use lipcast_plugins_api::loader::{Plugin, preload};
use lipcast_wire::child::Inherited;
use lipcast_wire::layout::BEAT_MS;
use lipcast_wire::message::{FromChild, Hello};

mod avatars;

mod control;

mod inspect;

mod perform;

mod prepare;

mod voice;

use self::voice::Voice;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (libraries, arguments) = preloaded(&arguments);
    if let Some((first, rest)) = arguments.split_first()
        && first == "--inspect"
    {
        let opened = preload(&libraries).map_err(|error| error.to_string());
        return inspected(opened.and_then(|()| inspect::run(rest)));
    }
    let [path] = arguments else {
        eprintln!("backend-host is started by lipcast, with the path of one plugin");
        return ExitCode::from(2);
    };
    let inherited = match Inherited::take() {
        Ok(inherited) => inherited,
        Err(error) => {
            eprintln!("backend-host is started by lipcast, which leaves it a socket and a ring: {error}");
            return ExitCode::from(2);
        }
    };
    let Inherited { control, work } = inherited;
    let voice = Voice::new(control);
    let plugin = match preload(&libraries).and_then(|()| Plugin::open(Path::new(path))) {
        Ok(plugin) => plugin,
        Err(error) => {
            voice.say(&FromChild::Refused { refused: error.to_string() });
            return ExitCode::FAILURE;
        }
    };
    let heart = work.heart();
    thread::spawn(move || {
        loop {
            heart.beat();
            thread::sleep(Duration::from_millis(BEAT_MS));
        }
    });
    let stopper = match work.stopper() {
        Ok(stopper) => stopper,
        Err(error) => {
            voice.say(&FromChild::Refused { refused: error.to_string() });
            return ExitCode::FAILURE;
        }
    };
    let (major, minor) = plugin.api_version();
    let origin = format!("contract {major}.{minor}, {}", plugin.origin());
    let hello = Hello::of(plugin.descriptor(), origin);
    let (desk, created) = control::serve(plugin, voice.clone(), stopper);
    voice.say(&FromChild::Hello { hello: Box::new(hello) });
    // Nothing comes when the parent goes before it wanted an instance.
    if let Ok(instance) = created.recv() {
        perform::serve(&instance, work, &desk);
        drop(instance);
    }
    desk.finish();
    ExitCode::SUCCESS
}

/// The libraries of each `--preload` at the beginning, and the arguments behind them.
fn preloaded(mut arguments: &[OsString]) -> (Vec<PathBuf>, &[OsString]) {
    let mut libraries = Vec::new();
    while let [flag, library, rest @ ..] = arguments
        && flag == "--preload"
    {
        libraries.push(PathBuf::from(library));
        arguments = rest;
    }
    (libraries, arguments)
}

/// Prints what an inspection found.
fn inspected(found: Result<serde_json::Value, String>) -> ExitCode {
    match found {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}
