//! Face boxes that come with the source, from an avatar that was prepared elsewhere.

use lipcast_plugins_api::author::{AvatarSource, Error};

use crate::face::boxes::PixelBox;

/// The asset that holds them: a JSON list with `[x1, y1, x2, y2]` in pixels, or `null`, for each frame.
pub(super) const BOXES: &str = "musetalk/boxes.json";

/// The boxes that come with `source`, if any do; as many as it has frames.
///
/// # Errors
/// `INVALID_ARG` when the asset is not what its name promises.
pub(super) fn boxes(source: &AvatarSource<'_>) -> Result<Option<Vec<Option<PixelBox>>>, Error> {
    if !source.assets().iter().any(|name| name == BOXES) {
        return Ok(None);
    }
    let boxes = parse(source.asset(BOXES)?)?;
    let (found, expected) = (boxes.len(), source.frame_count());
    if found != expected as usize {
        return Err(Error::invalid_arg(format!("{BOXES} has {found} boxes for {expected} frames")));
    }
    Ok(Some(boxes))
}

fn parse(json: &[u8]) -> Result<Vec<Option<PixelBox>>, Error> {
    let boxes: Vec<Option<[f64; 4]>> =
        serde_json::from_slice(json).map_err(|error| Error::invalid_arg(format!("{BOXES}: {error}")))?;
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
            assert!(error.message.starts_with("musetalk/boxes.json: "), "{}", error.message);
        }
    }
}
