//! From an avatar's frames to its blob.
//!
//! In: RGB24 frames and their landmarks. Out: the bytes of [`crate::avatar`]'s blob, in order, so that no more than one
//! frame is ever held.

use crate::avatar::{Frame, Header, Looks};
use crate::warp::{LipColours, MouthGeometry, Palette, Patch, STATIONS, find_corners, find_lip_edges};

/// Stored pictures together stay below this many bytes, at the cost of sharpness.
const MOST_BYTES: f64 = 64e6;
/// Stored patches are no wider and no higher than this.
const MOST_SIDE: f32 = 640.0;
/// Landmarks are taken at their word within this part of the width of the mouth.
const TRUSTED: f32 = 0.02;
/// A face that is lost for no more than this many frames is taken to have moved evenly meanwhile.
const BRIDGED: usize = 6;
/// A face that comes or goes is eased in and out over this many frames.
const EASE: usize = 8;

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
    bridge(&mut landmarks);
    settle_corners(source, &mut landmarks)?;
    let found = landmarks.iter().map(|l| l.as_ref().and_then(MouthGeometry::from_landmarks)).collect();
    let Some(mut mouths) = fill(found) else {
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
    steady(&mut mouths);

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
    for (index, points) in landmarks.iter_mut().enumerate() {
        let Some(points) = points else { continue };
        let trusted = TRUSTED * (points[54][0] - points[48][0]).hypot(points[54][1] - points[48][1]);
        for (side, (corner, inner)) in [(48, 60), (54, 64)].into_iter().enumerate() {
            for axis in 0..2 {
                let near = index.saturating_sub(3)..(index + 4).min(corners.len());
                let mut seen: Vec<f32> = corners[near].iter().flatten().map(|c| c[side][axis]).collect();
                if seen.is_empty() {
                    continue;
                }
                // The mean of the middle: a single frame that went astray has no say.
                seen.sort_by(f32::total_cmp);
                let cut = seen.len() / 4;
                let kept = &seen[cut..seen.len() - cut];
                let moved = kept.iter().sum::<f32>() / kept.len() as f32 - points[corner][axis];
                let moved = moved.signum() * (moved.abs() - trusted).max(0.0);
                points[corner][axis] += moved;
                points[inner][axis] += 0.7 * moved;
            }
        }
    }
    Ok(())
}

/// Fills short gaps between faces with what lies between them.
fn bridge(landmarks: &mut [Option<[[f32; 2]; 68]>]) {
    let mut last: Option<usize> = None;
    for i in 0..landmarks.len() {
        let Some(after) = landmarks[i] else { continue };
        if let Some(from) = last.replace(i)
            && i - from <= BRIDGED + 1
            && let Some(before) = landmarks[from]
        {
            for (step, missing) in (from + 1..i).enumerate() {
                let t = (step + 1) as f32 / (i - from) as f32;
                landmarks[missing] = Some(std::array::from_fn(|k| {
                    std::array::from_fn(|c| before[k][c] + (after[k][c] - before[k][c]) * t)
                }));
            }
        }
    }
}

/// Gives frames without a face the mouth of a neighbour, and eases all movement out towards them. `None`: no face at all.
fn fill(found: Vec<Option<MouthGeometry>>) -> Option<Vec<MouthGeometry>> {
    let strengths: Vec<f32> = found.iter().map(|m| m.as_ref().map_or(0.0, |m| m.strength)).collect();
    if strengths.iter().all(|s| *s <= 0.0) {
        return None;
    }
    // The least of the neighbourhood, then its mean: never more than a frame allows, and no jumps.
    let around = |i: usize, far: usize| i.saturating_sub(far)..(i + far + 1).min(strengths.len());
    let least: Vec<f32> = (0..strengths.len())
        .map(|i| strengths[around(i, EASE)].iter().copied().fold(1.0, f32::min))
        .collect();
    let eased = |i: usize| {
        let near = &least[around(i, EASE)];
        (near.iter().sum::<f32>() / near.len() as f32).min(strengths[i])
    };
    let mut last = found.iter().flatten().next().cloned()?;
    let mouths = found.into_iter().enumerate().map(|(i, mouth)| {
        let mut mouth = mouth.unwrap_or_else(|| last.clone());
        last = mouth.clone();
        mouth.strength = eased(i);
        mouth
    });
    Some(mouths.collect())
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

/// Steadies the inner edges of the lips over time: the median of three frames, then a short mean.
fn steady(mouths: &mut [MouthGeometry]) {
    let edges: Vec<[[f32; STATIONS]; 2]> = mouths.iter().map(|m| [m.upper_inner, m.lower_inner]).collect();
    let near = |i: usize, by: isize| &edges[i.saturating_add_signed(by).min(edges.len() - 1)];
    let middle: Vec<[[f32; STATIONS]; 2]> = (0..edges.len())
        .map(|i| {
            std::array::from_fn(|lip| {
                std::array::from_fn(|s| {
                    let mut three = [near(i, -1)[lip][s], edges[i][lip][s], near(i, 1)[lip][s]];
                    three.sort_by(f32::total_cmp);
                    three[1]
                })
            })
        })
        .collect();
    for (i, mouth) in mouths.iter_mut().enumerate() {
        let (before, here, after) =
            (&middle[i.saturating_sub(1)], &middle[i], &middle[(i + 1).min(middle.len() - 1)]);
        let mean = |lip: usize, s: usize| 0.25 * before[lip][s] + 0.5 * here[lip][s] + 0.25 * after[lip][s];
        for s in 0..STATIONS {
            mouth.upper_inner[s] = mean(0, s);
            mouth.lower_inner[s] = mean(1, s).max(mouth.upper_inner[s]);
        }
    }
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

/// Means over squares of `scale` pixels.
fn shrink(full: &[u8], columns: usize, rows: usize, scale: usize, out: &mut Vec<u8>) {
    out.clear();
    if scale == 1 {
        out.extend_from_slice(full);
        return;
    }
    let stride = columns * scale * 3;
    let area = (scale * scale) as u32;
    for y in 0..rows {
        for x in 0..columns {
            for c in 0..3 {
                let first = y * scale * stride + x * scale * 3 + c;
                let sum: u32 = (0..scale)
                    .flat_map(|dy| (0..scale).map(move |dx| first + dy * stride + dx * 3))
                    .map(|at| u32::from(full[at]))
                    .sum();
                out.push(((sum + area / 2) / area) as u8);
            }
        }
    }
}

/// RGB24 to full-range BT.601 Y, then Cb and Cr as means over 2×2 pixels. Sides are even.
fn rgb_to_planes(rgb: &[u8], width: usize, height: usize, planes: &mut Vec<u8>) {
    planes.clear();
    planes.extend(rgb.chunks_exact(3).map(|p| {
        ((19_595 * u32::from(p[0]) + 38_470 * u32::from(p[1]) + 7_471 * u32::from(p[2]) + 32_768) >> 16) as u8
    }));
    let weights = [[-11_058, -21_710, 32_768], [32_768, -27_439, -5_329]];
    for [r, g, b] in weights {
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                let at = |dx: usize, dy: usize, c: usize| i32::from(rgb[((y + dy) * width + x + dx) * 3 + c]);
                let sum = |c: usize| at(0, 0, c) + at(1, 0, c) + at(0, 1, c) + at(1, 1, c);
                let value = ((r * sum(0) + g * sum(1) + b * sum(2) + (1 << 17)) >> 18) + 128;
                planes.push(value.clamp(0, 255) as u8);
            }
        }
    }
}

/// The way back; `planes` must hold a picture of that size.
pub(crate) fn planes_to_rgb(planes: &[u8], width: usize, height: usize, rgb: &mut Vec<u8>) {
    rgb.resize(width * height * 3, 0);
    let (luma, chroma) = planes.split_at(width * height);
    let (blue, red) = chroma.split_at(chroma.len() / 2);
    let rows = rgb.chunks_exact_mut(width * 3).zip(luma.chunks_exact(width)).enumerate();
    for (y, (out, luma)) in rows {
        let at = y / 2 * (width / 2);
        let chroma = blue[at..at + width / 2].iter().zip(&red[at..at + width / 2]);
        for ((out, luma), (cb, cr)) in out.chunks_exact_mut(6).zip(luma.chunks_exact(2)).zip(chroma) {
            let (cb, cr) = (i32::from(*cb) - 128, i32::from(*cr) - 128);
            let add = [91_881 * cr, -22_554 * cb - 46_802 * cr, 116_130 * cb].map(|a| (a + 32_768) >> 16);
            for (pixel, y) in out.chunks_exact_mut(3).zip(luma) {
                for (value, add) in pixel.iter_mut().zip(add) {
                    *value = (i32::from(*y) + add).clamp(0, 255) as u8;
                }
            }
        }
    }
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

    #[test]
    fn planes_keep_colours() {
        let (width, height) = (16, 8);
        let rgb: Vec<u8> =
            (0..width * height).flat_map(|i| [(i % width * 12) as u8, (i / width * 20) as u8, 200]).collect();
        let (mut planes, mut back) = (Vec::new(), Vec::new());
        rgb_to_planes(&rgb, width, height, &mut planes);
        planes_to_rgb(&planes, width, height, &mut back);
        assert_eq!(planes.len(), width * height * 3 / 2);
        // Colour is shared by four pixels, brightness by none.
        let luma = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        for (a, b) in rgb.chunks(3).zip(back.chunks(3)) {
            assert!((luma(a) - luma(b)).abs() < 1.6 && a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 20));
        }
    }
}
