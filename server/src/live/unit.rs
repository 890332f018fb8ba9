//! What the live stage asks of one unit of a session.

use lipcast_codecs::I420Ref;

/// One video frame and exactly the audio that belongs to it.
pub trait LiveUnit: Send {
    /// Index of the frame on the session's clock; rises by one from unit to unit.
    fn frame(&self) -> u64;
    /// The picture: the stream's size, BT.601 limited range.
    fn picture(&self) -> I420Ref<'_>;
    /// Mono PCM at 48 kHz, -1 to 1: the samples from `fps.first_sample(frame)` up to those of the next frame.
    fn pcm_48k(&self) -> &[f32];
}
