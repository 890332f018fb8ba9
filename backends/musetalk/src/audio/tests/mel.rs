//! Against values of Whisper's own feature extractor (transformers 5.23, torch 2.11), and of the code in the
//! reference.

use super::*;
use std::f64::consts::TAU;

/// What f32 arithmetic of the extractor and f64 of ours may differ by.
const CLOSE: f32 = 2e-5;

fn mel_of(pcm: &[f32]) -> Vec<f32> {
    let mut mel = vec![f32::NAN; MELS * SEGMENT_COLUMNS];
    LogMel::new().segment(pcm, &mut mel);
    mel
}

/// Mean, least and greatest value, and (band, column, value).
struct Golden<'a> {
    mean: f64,
    ends: [f32; 2],
    points: &'a [(usize, usize, f32)],
}

fn assert_is(mel: &[f32], golden: &Golden<'_>, what: &str) {
    let mean = mel.iter().map(|&v| f64::from(v)).sum::<f64>() / mel.len() as f64;
    assert!((mean - golden.mean).abs() < 5e-6, "{what}: mean {mean}");
    let ends = [mel.iter().copied().fold(f32::MAX, f32::min), mel.iter().copied().fold(f32::MIN, f32::max)];
    for (found, expected) in ends.iter().zip(golden.ends) {
        assert!((found - expected).abs() < CLOSE, "{what}: least and greatest {ends:?}");
    }
    for &(band, column, expected) in golden.points {
        let found = mel[band * SEGMENT_COLUMNS + column];
        assert!((found - expected).abs() < CLOSE, "{what}: band {band} of column {column} is {found}");
    }
}

#[test]
fn a_chirp_with_a_pause() {
    let chirp = |n: usize| {
        let t = n as f64 / 16_000.0;
        (0.5 * (TAU * (200.0 * t + 150.0 * t * t)).sin()) as f32
    };
    let pcm: Vec<f32> =
        (0..32_000).map(|n| if (16_000..20_000).contains(&n) { 0.0 } else { chirp(n) }).collect();
    let golden = Golden {
        mean: -0.540_366,
        ends: [-0.555_069, 1.444_931],
        points: &[
            (0, 0, 1.170_601),
            (5, 10, 1.415_837),
            (10, 50, 1.177_347),
            (20, 99, 0.232_797),
            (40, 110, -0.555_069),
            (8, 150, -0.214_141),
            (79, 199, -0.555_069),
        ],
    };
    assert_is(&mel_of(&pcm), &golden, "chirp");
}

#[test]
fn both_ends_of_a_full_segment_are_mirrored() {
    let golden = Golden {
        mean: 0.732_018_5,
        ends: [-0.188_441_8, 1.037_258_4],
        points: &[
            (0, 0, 0.334_025),
            (40, 0, 0.656_983),
            (79, 1, 0.792_006),
            (3, 2, 0.572_198),
            (3, 2_997, 0.560_869),
            (20, 2_998, 0.639_06),
            (60, 2_999, 0.699_663),
            (0, 2_999, 0.741_993),
        ],
    };
    assert_is(&mel_of(&hiss(SEGMENT)), &golden, "30 s");
}

#[test]
fn speech_shorter_than_what_is_mirrored() {
    let noise = hiss(300);
    let golden = Golden {
        mean: -1.499_037_4,
        ends: [-1.5, 0.207_293_3],
        points: &[(0, 0, 0.198_389), (40, 0, 0.205_987), (79, 1, -0.311_355), (3, 1, -0.311_628)],
    };
    assert_is(&mel_of(&noise[..1]), &golden, "1 sample");
    let golden = Golden {
        mean: -1.053_793_7,
        ends: [-1.055_205_6, 0.944_794_5],
        points: &[(0, 0, 0.398_117), (40, 0, 0.655_057), (79, 1, 0.597_977), (3, 2, -0.460_23)],
    };
    assert_is(&mel_of(&noise[..150]), &golden, "150 samples");
    let golden = Golden {
        mean: -1.053_047_9,
        ends: [-1.054_991_2, 0.945_008_8],
        points: &[(0, 0, 0.334_025), (79, 1, 0.792_228), (3, 1, 0.522_397), (20, 3, -0.386_555)],
    };
    assert_is(&mel_of(&noise), &golden, "300 samples");
}

#[test]
fn silence_is_exactly_minus_one_and_a_half() {
    for count in [0, 1_600, SEGMENT] {
        assert!(mel_of(&vec![0.0; count]).iter().all(|&value| value == -1.5), "{count} samples");
    }
}

#[test]
fn broken_samples_do_no_harm_to_what_is_far_from_them() {
    let mut pcm = hiss(16_000);
    let clean = mel_of(&pcm);
    for (n, odd) in [(8_000, f32::NAN), (8_001, f32::INFINITY), (8_002, f32::NEG_INFINITY), (8_003, 1e30)] {
        pcm[n] = odd;
    }
    let broken = mel_of(&pcm);
    assert!(broken.iter().all(|value| value.is_finite()));
    let column = |mel: &[f32], at: usize| mel[40 * SEGMENT_COLUMNS + at];
    assert_ne!(column(&broken, 50), column(&clean, 50));
    assert_eq!(column(&broken, 20), column(&clean, 20));
}

#[test]
fn the_filter_bank_is_that_of_the_library() {
    let bank = filter_bank();
    assert_eq!(bank.len(), 201 * MELS);
    assert_eq!(bank.iter().filter(|&&weight| weight != 0.0).count(), 391);
    // (bin, band, weight), from both sides of the bend at 1 kHz.
    for (bin, band, weight) in [
        (1, 0, 0.024862593984176087),
        (2, 1, 0.022871772096078023),
        (17, 17, 0.019862859646881146),
        (23, 24, 0.01893548755398142),
        (24, 24, 0.00592710643019463),
        (24, 25, 0.020874010059259842),
        (25, 25, 0.0040404255283634505),
        (43, 40, 0.014735565741439168),
        (132, 69, 0.004083137848054996),
        (186, 78, 0.003132763185362443),
        (199, 79, 0.00044875902758905584),
        (200, 79, 0.0),
    ] {
        let found: f64 = bank[bin * MELS + band];
        assert!((found - weight).abs() < 1e-12, "bin {bin} of band {band}: {found}");
    }
    let sum: f64 = bank.iter().sum();
    let weighed: f64 = bank.iter().enumerate().map(|(at, weight)| (at + 1) as f64 * weight).sum();
    assert!(
        (sum - 1.9990241029178577).abs() < 1e-12 && (weighed - 9670.7831243719).abs() < 1e-8,
        "{sum} {weighed}"
    );
}

#[test]
fn the_position_code_is_that_of_the_reference() {
    let code = PositionCode::new();
    assert_eq!(code.table().len(), TOKEN_VALUES);
    for (token, column, expected) in [
        (1, 0, 0.841_471),
        (1, 1, 0.540_302),
        (7, 2, 0.379_215),
        (49, 0, -0.953_753),
        (49, 2, 0.406_808),
        (48, 5, 0.931_073),
        (49, 383, 0.999_987),
        (30, 200, 0.245_098),
    ] {
        let found = code.table()[token * FEATURES + column];
        assert!((found - expected).abs() < 1e-6, "token {token}, column {column}: {found}");
    }
    let sum: f64 = code.table().iter().map(|&value| f64::from(value)).sum();
    assert!((sum - 7_580.561_304).abs() < 1e-4, "{sum}");

    let tokens = hiss(TOKEN_VALUES);
    let mut without = tokens.clone();
    code.remove(&mut without);
    for ((with, without), code) in tokens.iter().zip(&without).zip(code.table()) {
        assert!((without + code - with).abs() < 2e-7);
    }
}
