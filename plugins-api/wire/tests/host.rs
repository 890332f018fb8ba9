//! A real plugin in a real `backend-host`, through the whole protocol.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lipcast_plugins_api::loader::{NoProgress, Source};
use lipcast_plugins_api::types::{Error, LogLevel, MetricKind};
use lipcast_wire::client::{CallError, Events, Host, StartError};
use lipcast_wire::op::{Op, Request};
use lipcast_wire::spawn::{Child, ChildCommand, Ends};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Events for Heard {
    fn log(&self, _: LogLevel, _: &str, message: &str, _: &Value) {
        self.0.lock().unwrap().push(message.to_owned());
    }
    fn output(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn dropped(&self, _: u64) {}
    fn metric(&self, _: &str, _: MetricKind, _: f64, _: &Value) {}
    fn closed(&self, reason: &str) {
        self.0.lock().unwrap().push(format!("closed: {reason}"));
    }
}

/// Two grey frames of 256 by 192.
struct Grey;

impl Source for Grey {
    fn frame_count(&self) -> u32 {
        2
    }
    fn size(&self) -> (u32, u32) {
        (256, 192)
    }
    fn fps(&self) -> (u32, u32) {
        (25, 1)
    }
    fn frame(&mut self, _: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        rgb.clear();
        rgb.resize(256 * 192 * 3, 128);
        Ok(())
    }
    fn landmarks(&self, _: u32) -> Option<[[f32; 2]; 68]> {
        None
    }
    fn face_box(&self, _: u32) -> Option<[f32; 4]> {
        None
    }
}

fn release() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

fn start(library: &Path) -> Result<Host, StartError> {
    let command = ChildCommand {
        program: release().join("backend-host"),
        arguments: vec![library.into()],
        folder: None,
        core_dumps: false,
    };
    Host::start(&command, Arc::new(Heard::default()), PATIENCE)
}

fn request(session: u64, frame: u64, slot: u32) -> Request {
    Request { session, seq: frame, frame, deadline_ns: 0, epoch: 0, avatar_frame: 1, flags: 1, slot }
}

#[test]
fn a_plugin_in_a_process_of_its_own_draws_as_asked() {
    let mut host = start(&release().join("liblipcast_probe.so")).unwrap().into_blocking();
    assert_eq!(host.descriptor().id, "lipcast.probe");
    let calls = host.calls().clone();
    calls.create(&json!({}), &NoProgress, Some(PATIENCE)).unwrap();
    assert_eq!(calls.health(PATIENCE).unwrap(), lipcast_plugins_api::types::Health::ok());
    let mut blob = Vec::new();
    calls.prepare_avatar(&mut Grey, &Value::Null, &mut blob, &NoProgress).unwrap();
    assert!(blob.starts_with(b"LCPROBE1"));
    let avatar = calls.load_avatar(&blob, 4, Some(PATIENCE)).unwrap();
    assert_eq!((avatar.info().canvas, avatar.info().frame_count), ((256, 192), 2));
    let rect = avatar.mask(1).unwrap().rect;
    assert!(avatar.mask(2).is_err());

    let open = |session| Op::Open {
        session,
        avatar: avatar.id(),
        whole: false,
        fps: (25, 1),
        params: "null".to_owned(),
    };
    host.run(&open(1), PATIENCE).unwrap();
    host.run(&open(2), PATIENCE).unwrap();
    assert!(matches!(host.run(&open(2), PATIENCE), Err(CallError::Failed(_))), "it is open");
    let push = Op::Push { session: 1, first_sample: 0, pcm: vec![0.1; 1280], end: true };
    host.run(&push, PATIENCE).unwrap();
    let requests = [request(1, 0, 0), request(9, 0, 1), request(2, 7, 3)];
    let drawn = host.infer(&requests, PATIENCE).unwrap();
    assert!(drawn[1].is_err(), "there is no session 9, and its neighbours do not mind");
    for (index, frame) in [(0, 0), (2, 7)] {
        let (checked, intact) = avatar.check(&requests[index], drawn[index].as_ref().unwrap());
        let checked = checked.unwrap();
        assert!(intact && checked.rect == rect);
        let pixels = avatar.picture(requests[index].slot, &checked);
        assert_eq!(pixels.len(), (rect.area() * 3 / 2) as usize);
        let other = avatar.picture(1, &checked);
        assert_ne!(pixels, other, "frame {frame} was drawn into its own slot");
    }
    host.run(&Op::Close { session: 1 }, PATIENCE).unwrap();
    drop(avatar);
    calls.end();
    let _ = calls.health(PATIENCE);
    assert_eq!(host.child().wait(), "exited with 0");
}

/// A picture that is shown late must not be the one that was drawn after it.
#[test]
fn a_picture_stays_as_it_was_drawn_until_it_is_dropped() {
    let mut host = start(&release().join("liblipcast_probe.so")).unwrap().into_blocking();
    let calls = host.calls().clone();
    calls.create(&json!({"mode": "canvas"}), &NoProgress, Some(PATIENCE)).unwrap();
    let mut blob = Vec::new();
    calls.prepare_avatar(&mut Grey, &Value::Null, &mut blob, &NoProgress).unwrap();
    let avatar = Arc::new(calls.load_avatar(&blob, 2, Some(PATIENCE)).unwrap());
    let params = "null".to_owned();
    let open = Op::Open { session: 1, avatar: avatar.id(), whole: false, fps: (25, 1), params };
    host.run(&open, PATIENCE).unwrap();
    let mut draw = |frame| {
        let slot = avatar.take_slot().expect("a place for each request of a batch");
        let request = request(1, frame, slot);
        let drawn = host.infer(&[request], PATIENCE).unwrap().remove(0).unwrap();
        let (checked, intact) = avatar.check(&request, &drawn);
        assert!(intact);
        avatar.take_picture(slot, &checked.unwrap())
    };
    let pictures: Vec<_> = (0..80)
        .map(|frame| {
            let picture = draw(frame);
            let seen = picture.to_vec();
            assert_eq!((seen.len(), u64::from(seen[0])), (256 * 192 * 3, frame));
            (picture, seen)
        })
        .collect();
    assert!(pictures.iter().all(|(picture, seen)| **picture == **seen));
    let lent = |pictures: &[(lipcast_wire::client::Picture, Vec<u8>)]| {
        pictures.iter().filter(|(picture, _)| picture.is_lent()).count()
    };
    // The first ones are lent; when there are as many as may be, the next ones are copied.
    let count = lent(&pictures);
    assert!(count >= 2 && lent(&pictures[..count]) == count, "{count}");
    assert_eq!(count + 2, avatar.slot_count() as usize);
    drop(pictures);
    assert!(draw(80).is_lent(), "all places have come back");
}

#[test]
fn what_cannot_be_opened_is_refused_with_the_reason() {
    let folder = std::env::temp_dir();
    let text = folder.join(format!("lipcast-no-library-{}.so", std::process::id()));
    std::fs::write(&text, "no library").unwrap();
    let refused = start(&text).unwrap_err();
    std::fs::remove_file(&text).unwrap();
    assert!(
        matches!(&refused, StartError::Refused(reason) if reason.contains("not a shared library")),
        "{refused}"
    );
    let nothing = ChildCommand {
        program: folder.join("there-is-no-such-program"),
        arguments: Vec::new(),
        folder: None,
        core_dumps: false,
    };
    let failed = Host::start(&nothing, Arc::new(Heard::default()), PATIENCE).unwrap_err();
    assert!(matches!(failed, StartError::Spawn { .. }), "{failed}");
}

#[test]
fn a_program_that_is_no_host_is_found_out() {
    let shell_for = |script: &str, patience: Duration| {
        let command = ChildCommand {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            folder: None,
            core_dumps: false,
        };
        Host::start(&command, Arc::new(Heard::default()), patience).unwrap_err()
    };
    let shell = |script: &str| shell_for(script, PATIENCE);
    assert_eq!(shell("exit 3"), StartError::Died("exited with 3".to_owned()));
    assert_eq!(shell("kill -SEGV $$"), StartError::Died("killed by SIGSEGV (signal 11)".to_owned()));
    let short = Duration::from_millis(500);
    assert_eq!(shell_for("sleep 60", short), StartError::Silent(short));
    let nonsense = shell("printf nonsense >&3; sleep 60");
    assert!(matches!(&nonsense, StartError::Died(how) if how.contains("no message")), "{nonsense}");
}

#[test]
fn what_a_child_started_ends_with_it_however_its_end_is_learnt() {
    let command = ChildCommand {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), "sleep 600 & echo $!; exec >&- 2>&-".into()],
        folder: None,
        core_dumps: false,
    };
    let Ends { mut child, mut output, .. } = Child::start(&command).unwrap();
    let mut started = String::new();
    let mut byte = [0];
    while output.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        started.push(byte[0].into());
    }
    assert_eq!(child.wait(), "exited with 0");
    // Nobody in the test is its parent, so it goes when init has taken note of it; a zombie runs no more.
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    let gone = (0..2_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        !runs()
    });
    assert!(gone, "process {started} runs on");
}
