//! From an avatar's frames to its blob.
//!
//! In: RGB24 frames and their landmarks. Out: the bytes of [`crate::avatar`]'s blob, in order, so that no more than one
//! frame is ever held.

mod steady;

use crate::avatar::{Frame, Header, Looks};
use crate::planes::{rgb_to_planes, shrink};
use crate::warp::{LipColours, MouthGeometry, Palette, Patch, find_corners, find_lip_edges};

/// Stored pictures together stay below this many bytes, at the cost of sharpness.
const MOST_BYTES: f64 = 64e6;
/// Stored patches are no wider and no higher than this.
const MOST_SIDE: f32 = 640.0;

/// What a blob is prepared from.
pub(crate) trait Source {
    type Error;
    /// Canvas columns and rows.
    fn size(&self) -> [u32; 2];
    /// Frames per second, numerator and denominator.
    fn fps(&self) -> [u32; 2];
    fn frame_count(&self) -> u32;
    /// 68 landmarks in pixels, where there is a face.
    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]>;
    /// Copies rectangle `[x, y, width, height]` of a frame into `rgb`, packed.
    fn crop(&self, index: u32, rect: [u32; 4], rgb: &mut Vec<u8>) -> Result<(), Self::Error>;
    /// Called before each piece of work with how many of all pieces are done; an error ends the preparation.
    fn step(&self, done: u32, all: u32) -> Result<(), Self::Error>;
    /// Appends to the blob.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Writes the blob of `source`; `Ok(false)`, with nothing written, if no frame shows a face to work on.
pub(crate) fn prepare<S: Source>(source: &mut S) -> Result<bool, S::Error> {
    let count = source.frame_count();
    let mut landmarks: Vec<_> = (0..count).map(|i| source.landmarks(i)).collect();
    steady::bridge(&mut landmarks);
    settle_corners(source, &mut landmarks)?;
    let found = landmarks.iter().map(|l| l.as_ref().and_then(MouthGeometry::from_landmarks)).collect();
    let Some(mut mouths) = steady::fill(found) else {
        return Ok(false);
    };
    let Some((header, corners)) = lay_out(source, &mouths) else {
        return Ok(false);
    };
    let mut hash = blake3::Hasher::new();
    let mut write = |source: &mut S, bytes: &[u8]| {
        hash.update(bytes);
        source.write(bytes)
    };

    write(source, &header.to_bytes())?;
    let [width, height] = header.covered();
    let [columns, rows] = header.patch.map(|side| side as usize);
    let (mut full, mut patch, mut planes) = (Vec::new(), Vec::new(), Vec::new());
    let mut colours = Vec::new();
    for (index, (mouth, corner)) in (0..count).zip(mouths.iter_mut().zip(&corners)) {
        source.step(count + index, 2 * count)?;
        source.crop(index, [corner[0], corner[1], width, height], &mut full)?;
        shrink(&full, columns, rows, header.scale as usize, &mut patch);
        let by = 1.0 / header.scale as f32;
        *mouth = mouth.clone().relative_to(corner.map(|c| c as f32)).scaled(by);
        if let Some(pixels) = Patch::new(&patch, columns, rows)
            && mouth.strength > 0.0
        {
            colours.push(find_lip_edges(pixels, mouth));
        }
        rgb_to_planes(&patch, columns, rows, &mut planes);
        write(source, &planes)?;
    }
    steady::lip_edges(&mut mouths);

    let mut gaps: Vec<f32> = mouths.iter().filter(|m| m.strength > 0.0).map(MouthGeometry::gap).collect();
    gaps.sort_by(f32::total_cmp);
    let rest_gap = gaps[gaps.len() / 4];
    let looks = Looks { rest_gap, palette: Palette::from_colours(&typical(&colours)) };
    write(source, &looks.to_bytes())?;
    for (mouth, corner) in mouths.into_iter().zip(corners) {
        write(source, &Frame { corner, mouth }.to_bytes())?;
    }
    let checksum = hash.finalize();
    source.write(checksum.as_bytes())?;
    Ok(true)
}

/// Moves the landmarks of the corners of each mouth to where its pixels show them, steadily over time.
fn settle_corners<S: Source>(source: &S, landmarks: &mut [Option<[[f32; 2]; 68]>]) -> Result<(), S::Error> {
    let [width, height] = source.size();
    let mut rgb = Vec::new();
    let mut corners = Vec::with_capacity(landmarks.len());
    let count = landmarks.len() as u32;
    for (index, points) in (0..count).zip(landmarks.iter()) {
        source.step(index, 2 * count)?;
        let mouth = points.as_ref().and_then(MouthGeometry::from_landmarks);
        let Some(mouth) = mouth else {
            corners.push(None);
            continue;
        };
        let reach = 0.9 * mouth.width();
        let within = |c: f32, most: u32| (c.max(0.0) as u32).min(most);
        let [x, y] = mouth.origin;
        let (x0, y0) = (within(x - reach, width), within(y - reach, height));
        let size = [within(x + reach, width) - x0, within(y + reach, height) - y0];
        source.crop(index, [x0, y0, size[0], size[1]], &mut rgb)?;
        let shift = [x0 as f32, y0 as f32];
        corners.push(Patch::new(&rgb, size[0] as usize, size[1] as usize).map(|patch| {
            find_corners(patch, &mouth.relative_to(shift)).map(|[x, y]| [x + shift[0], y + shift[1]])
        }));
    }
    steady::move_corners(landmarks, &corners);
    Ok(())
}

/// One size for all patches, and where each lies. `None` if the canvas is too small for any.
fn lay_out<S: Source>(source: &S, mouths: &[MouthGeometry]) -> Option<(Header, Vec<[u32; 2]>)> {
    let canvas = source.size();
    let extents: Vec<[f32; 4]> = mouths.iter().map(MouthGeometry::extent).collect();
    let largest = |axis: usize| {
        let moving = extents.iter().zip(mouths).filter(|(_, m)| m.strength > 0.0);
        moving.map(|(e, _)| e[axis + 2] - e[axis]).fold(0.0, f32::max).min(canvas[axis] as f32)
    };
    let size = [largest(0), largest(1)];
    let bytes = f64::from(size[0] * size[1]) * 1.5 * mouths.len() as f64;
    let scale =
        (bytes / MOST_BYTES).sqrt().ceil().max(f64::from(size[0].max(size[1]) / MOST_SIDE).ceil()).max(1.0)
            as u32;
    let patch: [u32; 2] = std::array::from_fn(|axis| {
        let most = canvas[axis] / scale / 2 * 2;
        ((size[axis] / scale as f32 / 2.0).ceil() as u32 * 2).min(most)
    });
    if patch[0] < 16 || patch[1] < 16 {
        return None;
    }
    let header = Header { canvas, fps: source.fps(), frames: mouths.len() as u32, patch, scale };
    let covered = header.covered();
    let corners = extents.iter().map(|e| {
        std::array::from_fn(|axis| {
            let centred = 0.5 * (e[axis] + e[axis + 2]) - 0.5 * covered[axis] as f32;
            let most = (canvas[axis] - covered[axis]) / 2 * 2;
            ((centred.max(0.0) / 2.0).round() as u32 * 2).min(most)
        })
    });
    Some((header, corners.collect()))
}

/// The median colours of all frames; of the teeth, the mean by how much of them was seen.
fn typical(seen: &[LipColours]) -> LipColours {
    let median = |of: fn(&LipColours) -> [f32; 3]| -> [f32; 3] {
        std::array::from_fn(|c| {
            let mut values: Vec<f32> = seen.iter().map(|colours| of(colours)[c]).collect();
            values.sort_by(f32::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(128.0)
        })
    };
    let amount: f32 = seen.iter().map(|c| c.teeth.1).sum();
    let teeth = std::array::from_fn(|c| {
        seen.iter().map(|s| s.teeth.0[c] * s.teeth.1).sum::<f32>() / amount.max(f32::MIN_POSITIVE)
    });
    let most = seen.iter().map(|c| c.teeth.1).fold(0.0, f32::max);
    LipColours { lip: median(|c| c.lip), skin: median(|c| c.skin), teeth: (teeth, most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source of frames of one colour ramp, with a face as large as wanted.
    struct Large {
        side: u32,
        blob: Vec<u8>,
    }

    impl Source for Large {
        type Error = std::convert::Infallible;
        fn size(&self) -> [u32; 2] {
            [self.side, self.side]
        }
        fn fps(&self) -> [u32; 2] {
            [30, 1]
        }
        fn frame_count(&self) -> u32 {
            3
        }
        fn landmarks(&self, _index: u32) -> Option<[[f32; 2]; 68]> {
            let unit = self.side as f32 / 100.0;
            let at = |x: f32, y: f32| [x * unit, y * unit];
            Some(std::array::from_fn(|i| match i {
                0..17 => {
                    let angle = std::f32::consts::PI * (1.0 - i as f32 / 16.0);
                    at(50.0 + 30.0 * angle.cos(), 40.0 + 45.0 * angle.sin())
                }
                17..36 => at(50.0 + (i % 5) as f32, if i < 27 { 30.0 } else { 52.0 }),
                36..42 => at(38.0 + (i % 3) as f32, 40.0),
                42..48 => at(60.0 + (i % 3) as f32, 40.0),
                48..55 => at(38.0 + 4.0 * (i - 48) as f32, if i == 48 || i == 54 { 65.0 } else { 62.0 }),
                55..60 => at(58.0 - 4.0 * (i - 55) as f32, 69.0),
                60..65 => at(40.0 + 5.0 * (i - 60) as f32, 65.0),
                _ => at(55.0 - 5.0 * (i - 65) as f32, 65.0),
            }))
        }
        fn crop(&self, _index: u32, [x, y, w, h]: [u32; 4], rgb: &mut Vec<u8>) -> Result<(), Self::Error> {
            rgb.clear();
            for row in y..y + h {
                rgb.extend((x..x + w).flat_map(|column| [(column / 8) as u8, (row / 8) as u8, 90]));
            }
            Ok(())
        }
        fn step(&self, _done: u32, _all: u32) -> Result<(), Self::Error> {
            Ok(())
        }
        fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
            self.blob.extend(bytes);
            Ok(())
        }
    }

    #[test]
    fn a_large_face_is_kept_smaller_than_it_is() {
        let mut source = Large { side: 2_000, blob: Vec::new() };
        let Ok(done) = prepare(&mut source);
        assert!(done);
        let avatar = crate::Avatar::parse(&source.blob).unwrap();
        let header = avatar.header();
        assert!(
            header.scale > 1 && header.patch.iter().all(|side| *side as f32 <= MOST_SIDE + 1.0),
            "{header:?}"
        );
        let frame = avatar.frame(0).unwrap();
        let rect = avatar.rect(frame);
        assert!(rect.is_even() && rect.x + rect.width <= 2_000 && rect.y + rect.height <= 2_000);
        // The corner of the mouth lies where the landmarks said.
        let [x, _] = frame.mouth.to_pixels([-0.5, 0.0]);
        let on_canvas = (x + 0.5) * header.scale as f32 - 0.5 + rect.x as f32;
        assert!((on_canvas - 760.0).abs() < 20.0, "{on_canvas}");
        // And the picture is that of the source, smaller.
        let mut rgb = Vec::new();
        avatar.picture(0, &mut rgb);
        let expected = (rect.x + rect.width / 2) / 8;
        let [columns, rows] = header.patch.map(|side| side as usize);
        let middle = rgb[(rows / 2 * columns + columns / 2) * 3];
        assert!(u32::from(middle).abs_diff(expected) <= 3, "{middle} for {expected}");
    }
}
