//! Rows and frames, against the reference's own function run on row numbers.

use super::*;

/// What the reference makes of a clip: rows, frames, and the rows of one of its frames, -1 for zeros.
type Clip = ((u32, u32), u64, (u64, u64), u64, [i64; 10]);

const NTSC: (u32, u32) = (30_000, 1_001);

const REFERENCE: &[Clip] = &[
    ((12, 1), 32_000, (100, 24), 0, [-1; 10]),
    ((12, 1), 32_000, (100, 24), 23, [85, 86, 87, 88, 89, 90, 91, 92, 93, 94]),
    ((12, 1), 5_000, (15, 3), 2, [-1, -1, 0, 1, 2, 3, 4, 5, 6, 7]),
    ((13, 1), 32_000, (100, 26), 0, [-1, -1, -1, -1, -1, -1, -1, -1, 0, 1]),
    ((13, 1), 1_280, (4, 1), 0, [-1, -1, -1, -1, 0, 1, 2, 3, -1, -1]),
    ((20, 1), 32_000, (100, 40), 0, [-1, -1, -1, -1, -1, -1, 0, 1, 2, 3]),
    ((20, 1), 32_000, (100, 40), 39, [91, 92, 93, 94, 95, 96, 97, 98, 99, -1]),
    ((24, 1), 18_560, (57, 27), 26, [48, 49, 50, 51, 52, 53, 54, 55, 56, -1]),
    ((24, 1), 18_561, (58, 27), 26, [48, 49, 50, 51, 52, 53, 54, 55, 56, 57]),
    ((24_000, 1_001), 1_280, (4, 1), 0, [-1, -1, -1, -1, 0, 1, 2, 3, -1, -1]),
    ((25, 1), 32_000, (100, 50), 0, [-1, -1, -1, -1, 0, 1, 2, 3, 4, 5]),
    ((25, 1), 32_000, (100, 50), 49, [94, 95, 96, 97, 98, 99, -1, -1, -1, -1]),
    ((25, 1), 9_280, (28, 14), 13, [22, 23, 24, 25, 26, 27, -1, -1, -1, -1]),
    ((25, 1), 18_560, (57, 28), 27, [50, 51, 52, 53, 54, 55, 56, -1, -1, -1]),
    ((25, 1), 18_561, (58, 29), 28, [52, 53, 54, 55, 56, 57, -1, -1, -1, -1]),
    ((25, 1), 496_000, (1_550, 775), 387, [770, 771, 772, 773, 774, 775, 776, 777, 778, 779]),
    (NTSC, 32_000, (100, 58), 57, [94, 95, 96, 97, 98, 99, -1, -1, -1, -1]),
    (NTSC, 496_000, (1_550, 899), 449, [770, 771, 772, 773, 774, 775, 776, 777, 778, 779]),
    ((30, 1), 18_559, (57, 34), 33, [51, 52, 53, 54, 55, 56, -1, -1, -1, -1]),
    ((30, 1), 496_000, (1_550, 930), 465, [771, 772, 773, 774, 775, 776, 777, 778, 779, 780]),
    ((49, 1), 9_280, (28, 28), 27, [23, 24, 25, 26, 27, -1, -1, -1, -1, -1]),
    ((49, 1), 496_000, (1_550, 1_519), 759, [770, 771, 772, 773, 774, 775, 776, 777, 778, 779]),
];

#[test]
fn the_references_windows_are_the_references() {
    for &(fps, samples, (rows, frames), frame, expected) in REFERENCE {
        let windows = Windows::reference(fps).unwrap();
        let what = format!("{samples} samples at {fps:?}");
        assert_eq!((windows.rows(samples), windows.frames(samples)), (rows, frames), "{what}");
        let first = windows.first_row_of(frame, rows);
        let found: Vec<i64> =
            (first..first + 10).map(|row| if (0..rows as i64).contains(&row) { row } else { -1 }).collect();
        assert_eq!(found, expected, "frame {frame} of {what}");
        assert_eq!(windows.check(samples), Ok(()), "{what}");
    }
}

#[test]
fn where_the_reference_ends_its_process_there_is_an_error() {
    for (fps, samples, frame) in [(25, 960, 0), (30, 959, 0), (17, 960, 0), (49, 960, 0)] {
        let error = Windows::reference((fps, 1)).unwrap().check(samples).unwrap_err();
        assert_eq!(error, AudioError::RunsOut { samples, frame }, "{samples} samples at {fps}");
    }
    for (fps, samples) in [(12, 959), (13, 960), (25, 0)] {
        assert_eq!(Windows::reference((fps, 1)).unwrap().check(samples), Ok(()), "no frame, no window");
    }
    assert_eq!(Windows::reference((50, 1)).unwrap_err(), AudioError::TooFast(50));
    assert_eq!(Windows::reference((60_000, 1_001)).unwrap_err(), AudioError::TooFast(59));
    for fps in [(0, 1), (1, 0), (9, 10)] {
        assert_eq!(Windows::new(fps).unwrap_err(), AudioError::FrameRate(fps.0, fps.1));
    }
}

#[test]
fn a_window_lies_80_ms_before_to_120_ms_behind_the_start_of_its_frame_at_every_rate() {
    for fps in [(12, 1), (20, 1), (24_000, 1_001), (25, 1), NTSC, (49, 1), (50, 1), (60, 1), (7, 2)] {
        let windows = Windows::new(fps).unwrap();
        assert_eq!(windows.first_row(0), -4);
        for frame in [1, 2, 3, 24, 100, 12_345, 1_000_000] {
            // Start of the frame in units of 1 / num seconds.
            let (start, num) = (i128::from(frame) * i128::from(fps.1), i128::from(fps.0));
            let own = i128::from(windows.first_row(frame) + 4);
            assert!(own * num <= start * 50 && start * 50 < (own + 1) * num, "frame {frame} at {fps:?}");
        }
    }
}

#[test]
fn lengths_are_counted_exactly_where_the_reference_rounds() {
    let (ours, theirs) = (Windows::new((25, 1)).unwrap(), Windows::reference((25, 1)).unwrap());
    assert_eq!((ours.rows(9_280), theirs.rows(9_280)), (29, 28));
    assert_eq!((ours.frames(18_560), theirs.frames(18_560)), (29, 28));
    for k in [1, 7, 29, 58, 1_500] {
        assert_eq!([320 * k - 1, 320 * k, 320 * k + 1].map(|l| ours.rows(l)), [k - 1, k, k]);
        assert_eq!([640 * k - 1, 640 * k, 640 * k + 1].map(|l| ours.frames(l)), [k - 1, k, k]);
    }
    let ntsc = Windows::new(NTSC).unwrap();
    // 30 frames at 29.97 a second are 16,016 samples.
    assert_eq!([16_015, 16_016, 16_017].map(|l| ntsc.frames(l)), [29, 30, 30]);
}
