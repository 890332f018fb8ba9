//! All it needs to know of an avatar, and the blob of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lipcast_plugins_api::author::{AvatarSource, BlobSink, Error, Rect};
use lipcast_probe::barcode;

use crate::fault::{Call, Faults};
use crate::settings::Lies;

const MAGIC: &[u8; 8] = b"LCCHAOS1";

/// Canvas, rate and place of the barcode.
pub struct Avatar {
    pub(crate) size: (u32, u32),
    pub(crate) fps: (u32, u32),
    pub(crate) frame_count: u32,
    pub(crate) patch: Rect,
    faults: Arc<Faults>,
}

impl Avatar {
    /// Writes the blob: magic, five numbers of 32 bits, and a salt of 64 that is zero unless `lies` say otherwise.
    pub(crate) fn prepare(
        source: &AvatarSource<'_>,
        lies: Lies,
        sink: &mut BlobSink<'_>,
    ) -> Result<(), Error> {
        let ((width, height), (num, den)) = (source.size(), source.fps());
        if barcode::place(width, height).is_none() {
            return Err(Error::invalid_arg(format!(
                "a canvas of {width}x{height} is too small for a barcode"
            )));
        }
        sink.write(MAGIC)?;
        for number in [width, height, num, den, source.frame_count()] {
            sink.write(&number.to_le_bytes())?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        sink.write(&(if lies.random_blob { now } else { 0 }).to_le_bytes())
    }

    pub(crate) fn load(blob: &[u8], faults: Arc<Faults>) -> Result<Self, Error> {
        let numbers: Option<&[u8; 28]> = blob.strip_prefix(MAGIC).and_then(|rest| rest.try_into().ok());
        let numbers = numbers.ok_or_else(|| Error::blob_incompatible("not a chaos backend's blob"))?;
        let number = |i: usize| u32::from_le_bytes(std::array::from_fn(|byte| numbers[4 * i + byte]));
        let (size, fps, frame_count) = ((number(0), number(1)), (number(2), number(3)), number(4));
        let even = size.0 % 2 == 0 && size.1 % 2 == 0 && size.0 <= 8192 && size.1 <= 8192;
        match barcode::place(size.0, size.1) {
            Some(patch) if even && fps.0 > 0 && fps.1 > 0 && frame_count > 0 => {
                Ok(Self { size, fps, frame_count, patch, faults })
            }
            _ => Err(Error::blob_incompatible("a chaos backend's blob with impossible numbers")),
        }
    }
}

impl Drop for Avatar {
    fn drop(&mut self) {
        self.faults.quietly(Call::UnloadAvatar);
    }
}
