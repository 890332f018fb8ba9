//! A picture that fills the canvas, as cheap to paint as one can be whose every byte is written.

/// Bytes that go by before the value changes: a run that a processor fills at full width.
const RUN: usize = 4096;

/// Writes every byte of `picture`; the value tells the video frame and the place.
pub fn paint(frame: u64, picture: &mut [u8]) {
    for (run, bytes) in picture.chunks_mut(RUN).enumerate() {
        bytes.fill(value(frame, run * RUN));
    }
}

/// What [`paint`] writes at byte `at` of frame `frame`.
pub fn value(frame: u64, at: usize) -> u8 {
    (frame as usize).wrapping_add(at / RUN) as u8
}
