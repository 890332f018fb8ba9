//! What was made is ended exactly once, and in the contract's order, whatever the host drops first.
#![cfg(feature = "loader")]

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::{GreyFrames, Listener, params};
use lipcast_plugins_api::author::*;
use lipcast_plugins_api::loader::{NoProgress, Plugin};
use lipcast_plugins_api::serde_json::Value;

/// Says its name when it ends.
struct Ends(&'static str, Sender<&'static str>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

/// Tests of this file run one after the other: what they listen to is the same.
static LISTENER: Mutex<()> = Mutex::new(());
static ENDED: Mutex<Option<Sender<&str>>> = Mutex::new(None);
/// While it is there, `prepare_avatar` says that it began, and ends when told to.
static GATE: OnceLock<(Sender<()>, Mutex<Receiver<()>>)> = OnceLock::new();

fn ends(name: &'static str) -> Ends {
    Ends(name, ENDED.lock().unwrap().clone().expect("a test listens"))
}

fn listen() -> Receiver<&'static str> {
    let (sender, ended) = channel();
    *ENDED.lock().unwrap() = Some(sender);
    ended
}

fn next(ended: &Receiver<&'static str>) -> &'static str {
    ended.recv_timeout(Duration::from_secs(60)).expect("something ends")
}

struct Mortal {
    _end: Ends,
}

impl Backend for Mortal {
    type Avatar = Ends;
    type Session = (Ends, Arc<Ends>);

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "lipcast.test.mortal".into(),
            name: String::new(),
            version: String::new(),
            vendor: String::new(),
            license: String::new(),
            url: String::new(),
            capabilities: Capabilities::default(),
        }
    }

    fn create(_host: Host, _config: Value, _operation: &Operation<'_>) -> Result<Self, Error> {
        Ok(Self { _end: ends("instance") })
    }

    fn prepare_avatar(
        &self,
        _: &AvatarSource<'_>,
        _: &Value,
        _: &mut BlobSink<'_>,
        _: &Operation<'_>,
    ) -> Result<(), Error> {
        if let Some((begun, go_on)) = GATE.get() {
            begun.send(()).unwrap();
            go_on.lock().unwrap().recv().unwrap();
        }
        Ok(())
    }

    fn load_avatar(&self, _blob: &[u8]) -> Result<Ends, Error> {
        Ok(ends("avatar"))
    }

    fn avatar_info(&self, _avatar: &Ends) -> AvatarInfo {
        AvatarInfo {
            canvas: (64, 48),
            fps: (25, 1),
            frame_count: 0,
            max_rect: Rect::new(0, 0, 64, 48),
            slots: 0,
            idle: IdleBy::Backend,
            rest_policy: RestPolicy::Ask,
        }
    }

    fn frame_mask<'a>(&self, _avatar: &'a Ends, _frame: u32) -> Result<FrameMask<'a>, Error> {
        Err(Error::not_found("no frames"))
    }

    fn open_session(&self, avatar: Arc<Ends>, _params: &SessionParams) -> Result<Self::Session, Error> {
        Ok((ends("session"), avatar))
    }

    fn push_audio(&self, _: &mut Self::Session, _: u64, _: &[f32], _: bool) -> Result<(), Error> {
        Ok(())
    }

    fn reset(&self, _session: &mut Self::Session, _epoch: u32) -> Result<(), Error> {
        Ok(())
    }

    fn infer_batch(&self, _batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn a_session_keeps_its_avatar_and_both_keep_the_instance() {
    let _alone = LISTENER.lock().unwrap();
    let ended = listen();
    let plugin = Plugin::linked(plugin_table::<Mortal>()).unwrap();
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    let avatar = instance.load_avatar(b"").unwrap();
    let inferer = instance.inferer().unwrap();
    let session = inferer.open_session(&avatar, &params()).unwrap();
    drop((instance, avatar, inferer));
    assert!(ended.try_recv().is_err());
    drop(session);
    assert_eq!([(); 3].map(|()| next(&ended)), ["session", "avatar", "instance"]);
}

#[test]
fn dropping_the_last_of_an_avatar_waits_for_no_control_call() {
    let _alone = LISTENER.lock().unwrap();
    let ended = listen();
    let plugin = Plugin::linked(plugin_table::<Mortal>()).unwrap();
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    let (avatar, other) = (instance.load_avatar(b"").unwrap(), instance.load_avatar(b"").unwrap());
    let inferer = instance.inferer().unwrap();
    let session = inferer.open_session(&avatar, &params()).unwrap();
    drop(avatar);

    let ((begun, has_begun), (go_on, may_go_on)) = (channel(), channel());
    assert!(GATE.set((begun, Mutex::new(may_go_on))).is_ok());
    let preparing = {
        let instance = instance.clone();
        std::thread::spawn(move || {
            let source = &mut GreyFrames { count: 1 };
            instance.prepare_avatar(source, &Value::Null, &mut Vec::new(), &NoProgress)
        })
    };
    has_begun.recv().unwrap();
    // Both the inference thread, which is this one, and another go on while the instance prepares.
    drop(session);
    std::thread::spawn(move || drop(other)).join().unwrap();
    assert_eq!(next(&ended), "session");
    assert!(ended.try_recv().is_err(), "no control call runs beside another");
    go_on.send(()).unwrap();
    preparing.join().unwrap().unwrap();
    assert_eq!([(); 2].map(|()| next(&ended)), ["avatar", "avatar"]);
    drop((instance, inferer));
    assert_eq!(next(&ended), "instance");
}
