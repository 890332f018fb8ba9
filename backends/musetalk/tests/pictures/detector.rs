//! The face detector: the network's input, and boxes of its output.
//!
//! Expected values: the reference's own functions on torch 2.11 and numpy 2.4.

use lipcast_musetalk::face::detector::{Face, MapError, faces, input};
use lipcast_musetalk::networks::Tensor;

use crate::support::{SEED, Words, float_crc, picture};

/// Rows and columns of the maps of a picture of 96×64.
const SIZES: [[usize; 2]; 6] = [[16, 24], [8, 12], [4, 6], [4, 5], [2, 3], [1, 2]];

fn map(name: &str, channels: usize, [rows, columns]: [usize; 2], factor: f32) -> Tensor {
    let values = Words::new(name, SEED).floats().map(|value| value * factor);
    Tensor::new([1, channels, rows, columns], values.take(channels * rows * columns).collect())
}

fn maps() -> Vec<Tensor> {
    let level = |(level, size)| {
        [map(&format!("class{level}"), 2, size, 3.0), map(&format!("box{level}"), 4, size, 2.0)]
    };
    SIZES.into_iter().enumerate().flat_map(level).collect()
}

/// Maps that find nothing but, at one cell of a level, a face with this difference of logits and no shift.
fn cells(found: &[(usize, usize, f32)]) -> Vec<Tensor> {
    let mut maps: Vec<Tensor> = SIZES
        .iter()
        .flat_map(|[rows, columns]| {
            let area = rows * columns;
            let class = [vec![0.0; area], vec![-9.0; area]].concat();
            [
                Tensor::new([1, 2, *rows, *columns], class),
                Tensor::new([1, 4, *rows, *columns], vec![0.0; 4 * area]),
            ]
        })
        .collect();
    for (level, cell, logit) in found {
        let area = SIZES[*level][0] * SIZES[*level][1];
        maps[2 * level].data[area + cell] = *logit;
    }
    maps
}

#[test]
fn the_input_equals_the_reference() {
    let mut values = vec![0.0; 3 * 96 * 64];
    input(picture::<3>("IMG", 96, 64).view(), &mut values);
    assert_eq!(float_crc(&values), 0xc85e_2528);
}

/// G24 to G25. Exponentials differ in their last bit, so boxes are equal to a thousandth of a pixel.
#[test]
fn faces_equal_the_reference() {
    let faces = faces(&maps()).unwrap();
    assert_eq!(faces.len(), 71);
    let expected = [
        [37.456_306, 54.214_41, 48.302_414, 67.874_725, 0.996_798_6],
        [65.866_05, 42.188_835, 92.148_796, 81.457_14, 0.996_652_2],
        [10.708_088, -14.396_21, 35.355_65, 29.255_55, 0.996_308_2],
        [18.794_292, 53.232_86, 38.455_128, 66.991_5, 0.996_170_34],
    ];
    for (face, expected) in faces.iter().zip(expected) {
        let found = [face.bounds.as_slice(), &[face.score]].concat();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{face:?} {expected:?}");
    }
    let sum = |value: fn(&Face) -> f32| faces.iter().map(|face| f64::from(value(face))).sum::<f64>();
    let sums = [
        sum(|f| f.bounds[0]),
        sum(|f| f.bounds[1]),
        sum(|f| f.bounds[2]),
        sum(|f| f.bounds[3]),
        sum(|f| f.score),
    ];
    let expected = [2_501.082_93, 1_394.981_38, 4_518.443_89, 3_544.805_04, 63.586_33];
    assert!(sums.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.01), "{sums:?}");
    assert_eq!(faces[0].to_box(), [37, 54, 48, 67]);
    assert_eq!(faces[2].to_box(), [10, 0, 35, 29], "nothing below zero");
}

#[test]
fn a_cell_without_a_shift_stands_for_four_strides_around_it() {
    // Column 7, row 3 of level 1, stride 8.
    let found = faces(&cells(&[(1, 3 * 12 + 7, 5.0)])).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].bounds, [44.0, 12.0, 76.0, 44.0]);
    assert!((found[0].score - 1.0 / (1.0 + (-5.0_f32).exp())).abs() < 1e-6);
}

#[test]
fn the_surest_of_faces_at_one_place_remains() {
    // Neighbours of level 1 share three quarters of their sides; the third is apart, the fourth not sure enough.
    let found = faces(&cells(&[(1, 14, 2.0), (1, 15, 3.0), (1, 80, 1.0), (1, 50, -0.1)])).unwrap();
    let lefts: Vec<f32> = found.iter().map(|face| face.bounds[0]).collect();
    assert_eq!(lefts, [12.0, 52.0], "cells 15 and 80");
}

#[test]
fn of_equally_sure_faces_the_last_cell_is_first() {
    let found = faces(&cells(&[(0, 0, 2.0), (1, 80, 2.0), (1, 40, 2.0)])).unwrap();
    let lefts: Vec<f32> = found.iter().map(|face| face.bounds[0]).collect();
    assert_eq!(lefts, [52.0, 20.0, -6.0], "cells 80 and 40 of level 1, then level 0");
}

#[test]
fn nothing_sure_is_no_face() {
    assert_eq!(faces(&cells(&[])), Ok(Vec::new()));
    // NaN, as of a network that overflowed, is not sure either.
    assert_eq!(faces(&cells(&[(2, 5, f32::NAN)])), Ok(Vec::new()));
}

#[test]
fn maps_of_another_shape_are_refused_by_number() {
    let refused = |index, shape: &[usize], channels| Err(MapError { index, shape: shape.to_vec(), channels });
    assert_eq!(faces(&maps()[..7]), refused(7, &[], 4));
    let mut batch = maps();
    batch[2] = Tensor::new([2, 2, 4, 12], batch[2].data.clone());
    assert_eq!(faces(&batch), refused(2, &[2, 2, 4, 12], 2));
    let mut turned = maps();
    turned[5] = Tensor::new([1, 4, 6, 4], turned[5].data.clone());
    assert_eq!(faces(&turned), refused(5, &[1, 4, 6, 4], 4));
}
