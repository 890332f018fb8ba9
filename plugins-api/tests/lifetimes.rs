//! What was made is ended exactly once, and in the contract's order, whatever the host drops first.
#![cfg(feature = "loader")]

mod common;

use std::sync::{Arc, Mutex};

use common::{Listener, params};
use lipcast_plugins_api::author::*;
use lipcast_plugins_api::loader::{NoProgress, Plugin};
use lipcast_plugins_api::serde_json::Value;

static ENDED: Mutex<Vec<&str>> = Mutex::new(Vec::new());

struct Ends(&'static str);

impl Drop for Ends {
    fn drop(&mut self) {
        ENDED.lock().unwrap().push(self.0);
    }
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
        Ok(Self { _end: Ends("instance") })
    }

    fn prepare_avatar(
        &self,
        _: &AvatarSource<'_>,
        _: &Value,
        _: &mut BlobSink<'_>,
        _: &Operation<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn load_avatar(&self, _blob: &[u8]) -> Result<Ends, Error> {
        Ok(Ends("avatar"))
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
        Ok((Ends("session"), avatar))
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
    let plugin = Plugin::linked(plugin_table::<Mortal>()).unwrap();
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    let avatar = instance.load_avatar(b"").unwrap();
    let inferer = instance.inferer().unwrap();
    let session = inferer.open_session(&avatar, &params()).unwrap();
    drop((instance, avatar, inferer));
    assert_eq!(*ENDED.lock().unwrap(), [""; 0]);
    drop(session);
    assert_eq!(*ENDED.lock().unwrap(), ["session", "avatar", "instance"]);
}
