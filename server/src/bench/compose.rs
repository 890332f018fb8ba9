//! What composing alone costs: copying an avatar's frame and blending a patch over it, as every speaking frame does.

use lipcast_codecs::{I420, SizeError};
use lipcast_engine::backend::{Alpha, FrameMask, Patch, PixelFormat, Rect};
use lipcast_engine::compose::{ComposeError, Composer, PicturePool};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Frames of each measurement.
const FRAMES: u32 = 2_000;

/// Why it could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum ComposeBenchError {
    /// The canvas.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The patch does not fit it.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

/// Milliseconds of processor time a frame of `width` × `height` takes with a `side` × `side` patch in `format` and a
/// soft mask.
///
/// # Errors
/// When the sizes do not fit each other.
pub fn per_frame_ms(
    (width, height): (usize, usize),
    side: u32,
    format: PixelFormat,
) -> Result<f64, ComposeBenchError> {
    let rect = Rect::new((width as u32 - side) / 4 * 2, (height as u32 - side) / 4 * 2, side, side);
    // A frame of a clip is not in the processor's caches: eight of them take turns.
    let canvas = (0..8).map(|_| I420::black(width, height)).collect::<Result<Vec<_>, _>>()?;
    let pixels: Vec<u8> = (0..format.bytes(&rect)).map(|at| at as u8).collect();
    let patch = Patch { rect, format, alpha: Alpha::Static, pixels: pixels.into() };
    let alpha: Vec<u8> = (0..rect.area()).map(|at| (at % 256) as u8).collect();
    let mask = FrameMask { rect, alpha: Some(&alpha) };
    let mut pool = PicturePool::new(width, height)?;
    let mut composer = Composer::default();
    let mut compose = |number: u32| {
        let source = canvas[number as usize % canvas.len()].as_view();
        let compose = |picture: &mut I420| {
            picture.copy_from(source);
            composer.lay(picture, &patch, Some(&mask), 255)
        };
        pool.compose(compose).map(drop)
    };
    (0..100).try_for_each(&mut compose)?;
    let begun = thread_ms();
    (0..FRAMES).try_for_each(&mut compose)?;
    Ok((thread_ms() - begun) / f64::from(FRAMES))
}

/// Processor time of this thread, milliseconds.
pub(super) fn thread_ms() -> f64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    tv_sec as f64 * 1e3 + tv_nsec as f64 / 1e6
}
