//! A backend that misbehaves on command: what crosses the contract is a status, and what breaks it is caught.
#![cfg(feature = "loader")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{GreyFrames, Listener, session};
use lipcast_plugins_api::abi;
use lipcast_plugins_api::author::*;
use lipcast_plugins_api::loader::{self, NoProgress, Plugin, Progress, Slot};
use lipcast_plugins_api::serde_json::{Value, json};

/// What to do wrong, by the number of the video frame.
const PANIC: u64 = 1;
const NO_ANSWER: u64 = 2;
const FAIL: u64 = 3;
const OUTSIDE: u64 = 4;
const ODD: u64 = 5;
const TOO_LARGE: u64 = 6;
const WRONG_STATIC: u64 = 7;
const WRONG_FRAME_USED: u64 = 8;
const INLINE_WITHOUT_ALPHA: u64 = 9;
const NOTHING: u64 = 10;
const OTHER_FRAME_AT_REST: u64 = 11;
const LEFT_OUT: u64 = 12;

struct Mischief;

const MASK: Rect = Rect::new(8, 8, 16, 16);

impl Backend for Mischief {
    type Avatar = Vec<u8>;
    type Session = Vec<Value>;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "lipcast.test.mischief".into(),
            name: "Mischief".into(),
            version: "1".into(),
            vendor: String::new(),
            license: "MIT".into(),
            url: String::new(),
            capabilities: Capabilities { max_batch: 4, ..Capabilities::default() },
        }
    }

    fn create(_host: Host, config: Value, _operation: &Operation<'_>) -> Result<Self, Error> {
        assert!(config["panic"].is_null(), "told to");
        Ok(Self)
    }

    fn prepare_avatar(
        &self,
        source: &AvatarSource<'_>,
        _params: &Value,
        sink: &mut BlobSink<'_>,
        operation: &Operation<'_>,
    ) -> Result<(), Error> {
        assert_eq!(source.assets(), ["weights.bin"]);
        assert_eq!(source.asset("other").unwrap_err().code, Code::NotFound);
        assert_eq!(source.with_frame(9, |_| ()).unwrap_err().code, Code::NotFound);
        sink.write(source.asset("weights.bin")?)?;
        for frame in 0..source.frame_count() {
            operation.progress(frame, "frames");
            operation.check()?;
            let nested = source.with_frame(frame, |picture| {
                assert_eq!((picture.row(47)[191], picture.data.len()), (frame as u8, 64 * 48 * 3));
                source.with_frame(frame, |_| ()).map_err(|error| error.code)
            })?;
            assert_eq!(nested, Err(Code::NotReady), "the first frame is still being looked at");
            sink.write(&[frame as u8, u8::from(source.landmarks(frame).is_some())])?;
        }
        Ok(())
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Self::Avatar, Error> {
        Ok(blob.to_vec())
    }

    fn avatar_info(&self, avatar: &Self::Avatar) -> AvatarInfo {
        let odd = u32::from(avatar == b"odd canvas");
        AvatarInfo {
            canvas: (64 + odd, 48),
            fps: (25, 1),
            frame_count: 3,
            max_rect: Rect::new(0, 0, 32, 32),
            slots: 0,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::Ask,
        }
    }

    fn frame_mask<'a>(&self, avatar: &'a Self::Avatar, frame: u32) -> Result<FrameMask<'a>, Error> {
        match frame {
            0 => Ok(FrameMask { rect: MASK, alpha: None }),
            1 => Ok(FrameMask { rect: MASK, alpha: Some(&avatar[..3]) }),
            _ => panic!("no mask for you"),
        }
    }

    fn open_session(
        &self,
        _avatar: Arc<Self::Avatar>,
        _params: &SessionParams,
    ) -> Result<Self::Session, Error> {
        Ok(Vec::new())
    }

    fn push_audio(&self, _: &mut Self::Session, _: u64, pcm: &[f32], _: bool) -> Result<(), Error> {
        match pcm.len() {
            13 => panic!("unlucky number\nindeed {}", "x".repeat(400)),
            0..1000 => Ok(()),
            _ => Err(Error::new(Code::WouldBlock, "the queue holds 1000 samples").retryable()),
        }
    }

    fn reset(&self, _session: &mut Self::Session, _epoch: u32) -> Result<(), Error> {
        Ok(())
    }

    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        batch.for_each(|request| {
            let output = &mut request.output;
            match request.frame {
                PANIC => panic!("in the middle of a batch"),
                NO_ANSWER => {}
                FAIL => return Err(Error::new(Code::OomDevice, "no room for this one")),
                OUTSIDE => {
                    _ = output.picture(Rect::new(20, 20, 16, 16), PixelFormat::Rgb24, Alpha::Opaque)?
                }
                ODD => _ = output.picture(Rect::new(1, 0, 16, 16), PixelFormat::Rgb24, Alpha::Opaque)?,
                TOO_LARGE => {
                    _ = output.picture(Rect::new(0, 0, 640, 640), PixelFormat::Rgb24, Alpha::Opaque)?
                }
                WRONG_STATIC => {
                    _ = output.picture(Rect::new(0, 0, 4, 4), PixelFormat::Rgb24, Alpha::Static)?
                }
                WRONG_FRAME_USED => {
                    output.nothing();
                    output.used(3);
                }
                INLINE_WITHOUT_ALPHA => _ = output.picture(MASK, PixelFormat::I420, Alpha::Inline)?,
                NOTHING => output.nothing(),
                LEFT_OUT => output.left_out(),
                OTHER_FRAME_AT_REST => {
                    output.picture(MASK, PixelFormat::I420A, Alpha::Inline)?.fill(7);
                    output.used(2);
                    output.at_rest();
                }
                _ => output.picture(MASK, PixelFormat::Rgb24, Alpha::Static)?.fill(1),
            }
            Ok(())
        });
        Ok(())
    }

    fn stats(&self) -> Value {
        json!({"long": "x".repeat(10_000)})
    }

    fn control(&self, session: &mut Self::Session, message: &Value) -> Result<(), Error> {
        session.push(message.clone());
        if session.len() < 2 { Ok(()) } else { Err(Error::unsupported("one message is enough")) }
    }
}

fn instance() -> loader::Instance {
    // Panics are expected here; the default hook would print each.
    std::panic::set_hook(Box::new(|_| {}));
    let plugin = Plugin::linked(plugin_table::<Mischief>()).unwrap();
    plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap()
}

fn draw(frames: &[u64]) -> Vec<Result<loader::FrameResult, Error>> {
    let instance = instance();
    let avatar = instance.load_avatar(b"blob").unwrap();
    let mut inferer = instance.inferer().unwrap();
    let session = session(&inferer, &avatar);
    let mut slots: Vec<_> = frames.iter().map(|_| Slot::new(avatar.slot_len())).collect();
    let mut batch: Vec<_> = frames
        .iter()
        .zip(&mut slots)
        .map(|(frame, slot)| loader::FrameRequest::new(&session, *frame, 0, slot))
        .collect();
    inferer.infer_batch(&mut batch);
    batch.into_iter().map(|request| request.result).collect()
}

#[test]
fn a_panic_becomes_a_status_and_the_host_lives_on() {
    let plugin = Plugin::linked(plugin_table::<Mischief>()).unwrap();
    let instance = instance();
    let avatar = instance.load_avatar(b"blob").unwrap();
    let inferer = instance.inferer().unwrap();
    let mut session = session(&inferer, &avatar);

    let created = plugin.create(Arc::new(Listener::default()), &json!({"panic": 1}), &NoProgress);
    let pushed = session.push_audio(0, &[0.0; 13], false).unwrap_err();
    let masked = avatar.frame_mask(2).unwrap_err();
    let drawn = draw(&[50, PANIC]).pop().unwrap().unwrap_err();
    for (error, start) in [
        (created.err().unwrap(), "backend panicked: told to"),
        (pushed.clone(), "backend panicked: unlucky number indeed xxx"),
        (masked, "backend panicked: no mask for you"),
        (drawn, "backend panicked: in the middle of a batch"),
    ] {
        assert_eq!(error.code, Code::BackendPanic);
        assert!(error.message.starts_with(start), "{error}");
    }
    assert_eq!(pushed.message.len(), 239, "cut to the room there is");
    session.push_audio(0, &[0.0; 14], false).unwrap();
}

#[test]
fn errors_keep_their_code_and_whether_to_try_again() {
    let instance = instance();
    let avatar = instance.load_avatar(b"blob").unwrap();
    let inferer = instance.inferer().unwrap();
    let mut session = session(&inferer, &avatar);
    let full = session.push_audio(0, &[0.0; 1000], false).unwrap_err();
    assert_eq!(full, Error::new(Code::WouldBlock, "the queue holds 1000 samples").retryable());
    assert_eq!(instance.inferer().err().unwrap().code, Code::NotReady, "one thread only");
}

#[test]
fn a_bad_result_fails_alone() {
    let results = draw(&[50, FAIL, NO_ANSWER, OUTSIDE]);
    assert_eq!(results[0].as_ref().unwrap().rect, MASK);
    assert_eq!(results[1], Err(Error::new(Code::OomDevice, "no room for this one")));
    assert_eq!(results[2].as_ref().unwrap_err().code, Code::Internal);
    assert_eq!(results[3].as_ref().unwrap_err().code, Code::BadOutput);
    for frame in [ODD, TOO_LARGE, WRONG_STATIC, WRONG_FRAME_USED, INLINE_WITHOUT_ALPHA] {
        let results = draw(&[frame, 50]);
        assert_eq!(results[0].as_ref().unwrap_err().code, Code::BadOutput, "case {frame}");
        assert!(results[1].is_ok(), "case {frame}");
    }
    assert!(draw(&[50; 5]).iter().all(|result| result.as_ref().unwrap_err().code == Code::InvalidArg));
}

#[test]
fn an_empty_patch_and_another_avatar_frame_are_fine() {
    let results = draw(&[NOTHING, OTHER_FRAME_AT_REST, LEFT_OUT]);
    assert_eq!(results[2].as_ref().unwrap_err().code, Code::Deadline);
    assert!(results[0].as_ref().unwrap().rect.is_empty());
    let other = results[1].as_ref().unwrap();
    assert_eq!((other.avatar_frame_used, other.at_rest, other.alpha), (2, true, Alpha::Inline));
}

#[test]
fn masks_and_canvases_are_checked() {
    let instance = instance();
    let avatar = instance.load_avatar(b"blob").unwrap();
    assert_eq!(avatar.frame_mask(0).unwrap(), FrameMask { rect: MASK, alpha: None });
    assert!(avatar.frame_mask(1).unwrap_err().message.contains("has 3 bytes"));
    let odd = instance.load_avatar(b"odd canvas").err().unwrap();
    assert_eq!(
        (odd.code, odd.message.as_str()),
        (Code::BadOutput, "the backend gave a canvas of 65x48 pixels")
    );
}

#[test]
fn a_source_with_assets_reaches_the_blob_and_a_cancel_stops_it() {
    struct StopAt(u32, AtomicU32);
    impl Progress for StopAt {
        fn is_cancelled(&self) -> bool {
            self.1.load(Ordering::SeqCst) >= self.0
        }
        fn progress(&self, permille: u32, _stage: &str) {
            self.1.store(permille, Ordering::SeqCst);
        }
    }
    let instance = instance();
    let mut blob = Vec::new();
    let prepare = |stop, blob: &mut Vec<u8>| {
        let stop = StopAt(stop, AtomicU32::new(0));
        instance.prepare_avatar(&mut GreyFrames { count: 3 }, &Value::Null, blob, &stop)
    };
    prepare(1000, &mut blob).unwrap();
    assert_eq!(blob, *b"trained\0\x01\x01\x01\x02\0");
    assert_eq!(prepare(2, &mut Vec::new()).unwrap_err().code, Code::Cancelled);

    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = instance
        .prepare_avatar(&mut GreyFrames { count: 1 }, &Value::Null, &mut Full, &NoProgress)
        .unwrap_err();
    assert_eq!(error.message, "the avatar's blob could not be stored: disk full");
}

#[test]
fn long_texts_and_the_draft_extension_come_through() {
    let instance = instance();
    assert_eq!(instance.stats().unwrap().unwrap()["long"].as_str().unwrap().len(), 10_000);
    assert!(instance.has_extension(abi::EXTENSION_CONTROL) && !instance.has_extension("other/1"));
    let avatar = instance.load_avatar(b"blob").unwrap();
    let inferer = instance.inferer().unwrap();
    let mut session = session(&inferer, &avatar);
    session.control(&json!({"emotion": "joy"})).unwrap();
    assert_eq!(session.control(&json!({})).unwrap_err().code, Code::Unsupported);
}
