//! Face boxes and masks that come with the source, from an avatar that MuseTalk had prepared.

use lipcast_plugins_api::author::{AvatarSource, Error};

use crate::face::boxes::PixelBox;
use crate::import::{BOXES_ASSET, MASKS_ASSET, Masks};
use crate::mask::Mask;

/// How far from the picture's corner a mask may be.
const FAR: std::ops::RangeInclusive<i32> = -(1 << 20)..=1 << 20;

/// What came with a source.
#[derive(Debug, Default)]
pub(super) struct Given<'a> {
    /// For each frame, margin included; `None`: nothing is known, and faces are looked for.
    pub(super) boxes: Option<Vec<Option<PixelBox>>>,
    masks: Option<Masks<'a>>,
}

impl<'a> Given<'a> {
    /// Reads the assets of `source`. Masks count only where there are boxes, which they belong to.
    ///
    /// # Errors
    /// `INVALID_ARG` when an asset is not what its name promises, or not for as many frames as the source
    /// has.
    pub(super) fn read(source: &AvatarSource<'a>) -> Result<Self, Error> {
        let assets = source.assets();
        let has = |name: &str| assets.iter().any(|asset| asset == name);
        if !has(BOXES_ASSET) {
            return Ok(Self::default());
        }
        let expected = source.frame_count() as usize;
        let boxes = parse(source.asset(BOXES_ASSET)?)?;
        if boxes.len() != expected {
            let found = boxes.len();
            return Err(Error::invalid_arg(format!("{BOXES_ASSET} has {found} boxes for {expected} frames")));
        }
        let mut given = Self { boxes: Some(boxes), masks: None };
        if has(MASKS_ASSET) {
            let refused = |what: String| Error::invalid_arg(format!("{MASKS_ASSET}: {what}"));
            let masks = Masks::parse(source.asset(MASKS_ASSET)?).map_err(refused)?;
            if masks.len() != expected {
                return Err(refused(format!("{} masks for {expected} frames", masks.len())));
            }
            given.masks = Some(masks);
        }
        Ok(given)
    }

    /// The mask of frame `index`, if there is one.
    pub(super) fn mask(&self, index: u32) -> Option<Mask> {
        let mask = self.masks.as_ref()?.of(index as usize)?;
        let near = mask.square.iter().all(|at| FAR.contains(at));
        near.then(|| Mask { square: mask.square, alpha: mask.alpha.to_vec() })
    }
}

fn parse(json: &[u8]) -> Result<Vec<Option<PixelBox>>, Error> {
    let boxes: Vec<Option<[f64; 4]>> = serde_json::from_slice(json)
        .map_err(|error| Error::invalid_arg(format!("{BOXES_ASSET}: {error}")))?;
    // Numbers beyond i32 become the nearest, which no canvas has room for.
    Ok(boxes.into_iter().map(|sides| sides.map(|sides| sides.map(|side| side as i32))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_and_frames_without_are_read() {
        let boxes = parse(b"[[10, 20, 110, 140], null, [1.0, 2.9, 3e9, -4.9]]").unwrap();
        assert_eq!(boxes, [Some([10, 20, 110, 140]), None, Some([1, 2, i32::MAX, -4])]);
        for wrong in ["", "{}", "[[1,2,3]]", "[[1,2,3,4,5]]", "[[1,2,3,\"4\"]]"] {
            let error = parse(wrong.as_bytes()).unwrap_err();
            assert!(error.message.starts_with("musetalk-boxes.json: "), "{}", error.message);
        }
    }
}
