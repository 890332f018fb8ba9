//! Landmarks: the network's input, and points of its output.
//!
//! Expected values: the steps of mmpose 1.1.0 re-enacted with numpy 2.4 and torch 2.11, on pictures of OpenCV 4.9.0.

use lipcast_musetalk::face::pose::{
    BINS_X, BINS_Y, FACE_POINTS, INPUT, POINTS, Point, decode, face, input, merge_mirrored, mirror, truncate,
};

use crate::support::{SEED, Words, crc, float_crc, picture};

fn floats(name: &str, count: usize) -> Vec<f32> {
    Words::new(name, SEED).floats().take(count).collect()
}

/// SimCC vectors of both passes merged.
fn merged() -> (Vec<f32>, Vec<f32>) {
    let [mut x, mirrored_x] = ["simcc_x", "simcc_x mirrored"].map(|name| floats(name, POINTS * BINS_X));
    let [mut y, mirrored_y] = ["simcc_y", "simcc_y mirrored"].map(|name| floats(name, POINTS * BINS_Y));
    merge_mirrored(&mut x, &mut y, &mirrored_x, &mirrored_y);
    (x, y)
}

/// G21, every bit.
#[test]
fn inputs_equal_the_reference() {
    for (width, height, expected, expected_mirrored) in
        [(1280, 720, 0x9bf9_30bf, 0xb73a_0ddf), (720, 1280, 0x1faa_91a2, 0x3bd8_d698)]
    {
        let frame = picture::<3>("IMG", width, height);
        let (mut values, mut mirrored) = (vec![0.0; INPUT], vec![0.0; INPUT]);
        input(frame.view(), &mut values);
        mirror(&values, &mut mirrored);
        assert_eq!(float_crc(&values), expected, "{width}x{height}");
        assert_eq!(float_crc(&mirrored), expected_mirrored, "{width}x{height}, mirrored");
    }
}

/// G22 after the networks, every bit.
#[test]
fn merged_vectors_equal_the_reference() {
    let (x, y) = merged();
    assert_eq!([float_crc(&x), float_crc(&y)], [0xf7de_428e, 0x46a4_9e4a]);
}

/// G23: places as f64, scores as f32 and the face's whole pixels, every bit. One point was not found.
#[test]
fn points_equal_the_reference() {
    let (mut x, y) = merged();
    x[40 * BINS_X..41 * BINS_X].iter_mut().for_each(|value| *value = -value.abs());
    for (size, places, pixels) in [
        ([1280, 720], 0xff7b_6fe4, 0xa186_9af3),
        ([720, 1280], 0xdc37_9d87, 0x5d2e_eff8),
        ([1920, 1080], 0x8898_3df5, 0xbe15_03c8),
        ([641, 479], 0x3d65_4703, 0x538b_4c76),
    ] {
        let points = decode(&x, &y, size, false);
        let bytes: Vec<u8> = points.iter().flat_map(|p| p.at).flat_map(f64::to_le_bytes).collect();
        assert_eq!(crc(&bytes), places, "{size:?}");
        assert_eq!(float_crc(&points.map(|point| point.score)), 0x360f_0445);
        assert!(points[40].score <= 0.0);
        let face = truncate(&face(&points));
        let bytes: Vec<u8> = face.iter().flatten().flat_map(|at| at.to_le_bytes()).collect();
        assert_eq!(crc(&bytes), pixels, "{size:?}");
    }
}

/// Vectors with a hill for each point: at `centre(point)`, in bins.
fn hills(centre: impl Fn(usize) -> [f32; 2]) -> (Vec<f32>, Vec<f32>) {
    let hill = |axis: usize, bins: usize| {
        let value = move |at: f32, bin: usize| (-(bin as f32 - at).powi(2) / 72.0).exp();
        (0..POINTS)
            .flat_map(|point| {
                let at = centre(point)[axis];
                (0..bins).map(move |bin| value(at, bin))
            })
            .collect()
    };
    (hill(0, BINS_X), hill(1, BINS_Y))
}

/// A hill of the deviation that the network was trained with, 6 bins, is found to a hundredth of a bin instead of a half.
#[test]
fn refined_points_stand_between_bins() {
    let centre = |point: usize| [100.137 + point as f32 * 1.37, 200.137 + point as f32 * 2.61];
    let (x, y) = hills(centre);
    // A frame as large as the network's view: with the margin, 1.25 of its pixels are a pixel there, two bins.
    let size = [288, 384];
    let (coarse, fine) = (decode(&x, &y, size, false), decode(&x, &y, size, true));
    let bins = |point: &Point| {
        [0, 1].map(|axis| {
            let half = size[axis] as f64 / 2.0;
            ((point.at[axis] - half) / 1.25 + half) * 2.0
        })
    };
    for (point, (coarse, fine)) in coarse.iter().zip(&fine).enumerate() {
        let expected = centre(point).map(f64::from);
        let off = |found: [f64; 2]| (0..2).map(|i| (found[i] - expected[i]).abs()).fold(0.0, f64::max);
        assert!(off(bins(fine)) < 0.01, "{point}: {:?} {expected:?}", bins(fine));
        assert!(bins(coarse).iter().zip(expected).all(|(bin, at)| (bin - at.round()).abs() < 1e-4));
    }
}

#[test]
fn refining_keeps_to_the_vector() {
    // Plateaus have no top, the ends have but one neighbour.
    let (mut x, y) = hills(|_| [0.0, 767.0]);
    x[BINS_X..2 * BINS_X].fill(0.5);
    let (coarse, fine) = (decode(&x, &y, [640, 480], false), decode(&x, &y, [640, 480], true));
    assert_eq!(coarse, fine);
}

/// A head that is its own mirror image: the second pass finds each point where the first finds its counterpart.
#[test]
fn the_mirrored_pass_of_a_mirrored_head_changes_nothing() {
    let bins = BINS_X as f32 - 1.0;
    // Left points of the face's pairs on one side, their counterparts on the other, at the same height.
    let pairs = [(0, 16), (7, 9), (17, 26), (21, 22), (31, 35), (36, 45), (39, 42), (40, 47), (41, 46)];
    let pairs = pairs.into_iter().chain([(48, 54), (50, 52), (55, 59), (60, 64), (61, 63), (65, 67)]);
    let pairs: Vec<(usize, usize)> =
        pairs.map(|(a, b)| (a + 23, b + 23)).chain([(91, 112), (17, 20), (1, 2)]).collect();
    let middle = [8, 27, 30, 33, 51, 57, 62, 66].map(|point| point + 23);
    let centre = |point: usize| {
        let height = |index: usize| 50.0 + 20.0 * index as f32;
        match pairs.iter().position(|(a, b)| *a == point || *b == point) {
            Some(pair) if pairs[pair].0 == point => [80.0 + 7.0 * pair as f32, height(pair)],
            Some(pair) => [bins - 80.0 - 7.0 * pair as f32, height(pair)],
            None => [bins / 2.0, 100.0],
        }
    };
    let (x, y) = hills(centre);
    let (mut merged_x, mut merged_y) = (x.clone(), y.clone());
    // What the network finds in the mirror: the same vectors, as the picture is its own mirror image.
    merge_mirrored(&mut merged_x, &mut merged_y, &x, &y);
    let points = pairs.iter().flat_map(|(a, b)| [*a, *b]).chain(middle);
    for point in points {
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        let (columns, rows) = (point * BINS_X..(point + 1) * BINS_X, point * BINS_Y..(point + 1) * BINS_Y);
        assert!(same(&merged_x[columns.clone()], &x[columns]), "x of {point}");
        assert!(same(&merged_y[rows.clone()], &y[rows]), "y of {point}");
    }
}

#[test]
fn whole_pixels_are_cut_off_towards_zero() {
    let points = [Point { at: [-0.9, 3.999], score: 1.0 }; FACE_POINTS];
    assert_eq!(truncate(&points)[0], [0, 3]);
}
