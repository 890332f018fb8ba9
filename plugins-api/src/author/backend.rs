//! The trait a backend implements.

use std::sync::Arc;

use serde_json::Value;

use super::{AvatarSource, Batch, BlobSink, Host, Operation};
use crate::types::{AvatarInfo, Descriptor, Error, FrameMask, Health, HealthState, SessionParams};

/// A lip-sync method.
///
/// An implementation of this trait is one backend instance: one loaded set of weights. Control calls
/// (`create` to `load_avatar`) and session calls may come from different threads at the same time, and `avatar_info`,
/// `frame_mask`, `health` and `stats` from any thread, so the instance is `Sync`; calls of one session never overlap, and `infer_batch` is called from one fixed
/// thread for the whole life of the instance. `health` and `stats` must not wait for a running batch.
pub trait Backend: Send + Sync + Sized + 'static {
    /// A person, prepared and loaded; shared by sessions.
    type Avatar: Send + Sync + 'static;

    /// The state of one performance.
    type Session: Send + 'static;

    /// The name tag. Instant: no files, no device, no threads.
    fn descriptor() -> Descriptor;

    /// Loads weights and warms up with one batch. May take minutes: report progress, and look at
    /// `operation.is_cancelled()` every 100 ms. `config` is the backend's table of `config.toml` as JSON.
    fn create(host: Host, config: Value, operation: &Operation<'_>) -> Result<Self, Error>;

    /// Effective device, precision, batch sizes and memory, as a JSON object.
    fn describe(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }

    /// Turns an avatar's source into a blob, written to `sink`. The same source and version give the same
    /// bytes.
    fn prepare_avatar(
        &self,
        source: &AvatarSource<'_>,
        params: &Value,
        sink: &mut BlobSink<'_>,
        operation: &Operation<'_>,
    ) -> Result<(), Error>;

    /// Loads a blob. The bytes are untrusted: any of them may have been changed, and the answer is then
    /// [`Error::blob_incompatible`], never a panic.
    fn load_avatar(&self, blob: &[u8]) -> Result<Self::Avatar, Error>;

    /// Canvas, rate, and how large results get.
    fn avatar_info(&self, avatar: &Self::Avatar) -> AvatarInfo;

    /// Where the patch of avatar frame `frame` lies and how it is blended. Only asked below
    /// `frame_count`; it never changes.
    fn frame_mask<'a>(&self, avatar: &'a Self::Avatar, frame: u32) -> Result<FrameMask<'a>, Error>;

    /// Begins a performance; cheap.
    fn open_session(&self, avatar: Arc<Self::Avatar>, params: &SessionParams)
    -> Result<Self::Session, Error>;

    /// Appends 16 kHz mono PCM, nominal range -1 to 1, whose first sample is number `first_sample` of the
    /// session. With `end`, audio past these samples reads as zero; `pcm` may then be empty.
    /// A push beyond the end of the last one begins a new run of speech; the gap reads as zero.
    fn push_audio(
        &self,
        session: &mut Self::Session,
        first_sample: u64,
        pcm: &[f32],
        end: bool,
    ) -> Result<(), Error>;

    /// Barge-in: drops audio and motion. Later requests carry `epoch`.
    fn reset(&self, session: &mut Self::Session, epoch: u32) -> Result<(), Error>;

    /// Draws the batch. Each request gets its own result; an `Err` for one does not touch its neighbours.
    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error>;

    /// How it feels; answers within a millisecond.
    fn health(&self) -> Health {
        Health { state: HealthState::Ok, message: String::new() }
    }

    /// Counters and memory, as a JSON object; answers within a millisecond.
    fn stats(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }

    /// Draft: a JSON message to a session, for emotion and gesture.
    fn control(&self, session: &mut Self::Session, message: &Value) -> Result<(), Error> {
        let _ = (session, message);
        Err(Error::unsupported("this backend takes no control messages"))
    }
}
