//! Whole files: segments, order of tokens, sessions.

use super::*;
use lipcast_plugins_api::author::SessionMode;

/// An encoder that numbers its values, and counts its calls.
fn numbered(calls: &mut u32) -> impl FnMut(&[f32], usize) -> Result<Vec<f32>, Infallible> {
    |_, columns| {
        let count = columns / 2 * ROW_VALUES;
        let before = *calls as usize * count;
        *calls += 1;
        Ok((before..before + count).map(|value| value as f32).collect())
    }
}

#[test]
fn tokens_are_ordered_by_row_then_state_and_windows_go_across_segments() {
    let pcm = vec![0.1; 31 * 16_000];
    let mut calls = 0;
    let mut file = WholeFile::new(Windows::new((25, 1)).unwrap(), pcm).unwrap();
    let rows = file.features(numbered(&mut calls)).unwrap();
    assert_eq!((rows.len(), calls), (1_550 * ROW_VALUES, 2));

    // Features numbered by the encoder's call: segment 0 is the first, segment 1 the second.
    let mut calls = 0;
    let mut encode = numbered(&mut calls);
    let mut tokens = vec![f32::NAN; TOKEN_VALUES];
    for frame in [0, 1, 400, 748, 749, 750, 751, 774, 777] {
        while let Some(MelWindow { id, columns, mel }) = file.needs(frame) {
            assert_eq!((columns, mel.len()), (3_000, 240_000));
            let features = encode(mel, columns).unwrap();
            file.supply(id, &features).unwrap();
        }
        file.tokens(frame, &mut tokens).unwrap();
        for (token, values) in tokens.chunks(FEATURES).enumerate() {
            let (row, state) = (2 * frame as i64 - 4 + (token / 5) as i64, token % 5);
            let expected: Vec<f32> = match usize::try_from(row).ok().filter(|&row| row < 1_550) {
                Some(row) => rows[row * ROW_VALUES + state * FEATURES..][..FEATURES].to_vec(),
                None => vec![0.0; FEATURES],
            };
            assert_eq!(values, expected, "token {token} of frame {frame}");
        }
    }
    drop(encode);
    assert_eq!(calls, 2, "each segment is encoded once");
    assert!(file.hears(776) && !file.hears(777), "the last row is 1549");
}

#[test]
fn a_short_file_has_the_tokens_of_the_references_padding() {
    // 13 frames a second: the reference pads by 8 rows, but a clip of 4 by 4.
    let file = |windows: Windows| {
        let mut file = WholeFile::new(windows, hiss(1_280)).unwrap();
        let rows = file.features(local).unwrap();
        let window = file.needs(0).map(|window| (window.id, window.mel.to_vec())).unwrap();
        file.supply(window.0, &local(&window.1, 3_000).unwrap()).unwrap();
        let mut tokens = vec![f32::NAN; TOKEN_VALUES];
        file.tokens(0, &mut tokens).unwrap();
        (rows, tokens)
    };
    let (rows, tokens) = file(Windows::reference((13, 1)).unwrap());
    assert_eq!(rows.len(), 4 * ROW_VALUES);
    assert_eq!(tokens[4 * ROW_VALUES..8 * ROW_VALUES], rows);
    assert!(tokens[..4 * ROW_VALUES].iter().chain(&tokens[8 * ROW_VALUES..]).all(|&value| value == 0.0));
    assert_eq!(
        file(Windows::new((13, 1)).unwrap()),
        (rows, tokens),
        "the default window begins 4 rows before, too"
    );
    let error = WholeFile::new(Windows::reference((25, 1)).unwrap(), hiss(960)).unwrap_err();
    assert_eq!(error, AudioError::RunsOut { samples: 960, frame: 0 });
}

#[test]
fn features_of_another_size_are_refused() {
    let mut file = WholeFile::new(Windows::new((25, 1)).unwrap(), hiss(1_600)).unwrap();
    let id = file.needs(0).unwrap().id;
    let error = file.supply(id, &[0.0; ROW_VALUES]).unwrap_err();
    assert_eq!(error, AudioError::Features { got: 1_920, expected: 2_880_000, rows: 1_500 });
    assert_eq!(file.tokens(0, &mut vec![0.0; TOKEN_VALUES]).unwrap_err(), AudioError::NotEncoded(0));
}

#[test]
fn a_session_of_whole_runs_hears_each_as_a_file() {
    let fps = (25, 1);
    let pcm = [speech(20_000), hiss(9_000)];
    let mut expected = Vec::new();
    for pcm in &pcm {
        let mut file = WholeFile::new(Windows::new(fps).unwrap(), pcm.clone()).unwrap();
        expected.push(file.features(local).unwrap());
    }
    let mut session = Speech::new(SessionMode::Whole, &hearing(fps)).unwrap();
    let mut tokens = vec![0.0; TOKEN_VALUES];
    let starts = [10, 60];
    for (pcm, start) in pcm.iter().zip(starts) {
        let mut at = first_sample(start, fps);
        for piece in pcm.chunks(1_000) {
            session.push(at as u64, piece, false).unwrap();
            at += piece.len();
        }
        let error = session.hear(start, &mut local, &mut tokens).unwrap_err();
        assert!(matches!(error, HearError::Audio(AudioError::NotYet { .. })), "{error}");
        session.push(at as u64, &[], true).unwrap();
    }
    for ((expected, start), frames) in expected.iter().zip(starts).zip([32, 14]) {
        session.hear(start + 5, &mut local, &mut tokens).unwrap();
        assert_eq!(tokens, expected[6 * ROW_VALUES..16 * ROW_VALUES]);
        assert!(session.hears(start + frames));
        assert!(!session.hears(start + frames + 3));
    }
    assert!(!session.hears(9));
    session.reset();
    assert!(!session.hears(12));
    session.hear(12, &mut local, &mut tokens).unwrap();
    assert!(tokens.iter().all(|&value| value == 0.0));
}
