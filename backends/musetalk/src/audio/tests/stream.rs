//! Live sessions.

use super::*;
use lipcast_plugins_api::author::SessionMode;

const RATES: [(u32, u32); 10] = [
    (12, 1),
    (15, 1),
    (20, 1),
    (24_000, 1_001),
    (24, 1),
    (25, 1),
    (30_000, 1_001),
    (30, 1),
    (49, 1),
    (50, 1),
];
const PAL: (u32, u32) = (25, 1);

type Encoder = fn(&[f32], usize) -> Result<Vec<f32>, Infallible>;

fn live(hearing: &Hearing) -> Speech {
    Speech::new(SessionMode::Live, hearing).unwrap()
}

fn tokens_of(speech: &mut Speech, frame: u64, encode: &mut Encoder) -> Vec<f32> {
    let mut tokens = vec![f32::NAN; TOKEN_VALUES];
    speech.hear(frame, encode, &mut tokens).unwrap();
    tokens
}

/// Tokens of the first `frames` frames of a run that begins at frame `from`; each push is as long as `cut`
/// says, or as the next frame needs.
fn perform(
    speech: &mut Speech,
    pcm: &[f32],
    from: u64,
    frames: u64,
    cut: Option<usize>,
    mut encode: Encoder,
) -> Vec<Vec<f32>> {
    let start = first_sample(from, PAL);
    let mut pushed = 0;
    (from..from + frames)
        .map(|frame| {
            let wanted = (needed(frame, PAL) - start).min(pcm.len());
            while pushed < wanted || (pushed == 0 && frame == from) {
                let next = (pushed + cut.unwrap_or(wanted - pushed)).min(pcm.len());
                speech.push((start + pushed) as u64, &pcm[pushed..next], next == pcm.len()).unwrap();
                pushed = next;
            }
            tokens_of(speech, frame, &mut encode)
        })
        .collect()
}

/// The tokens of the same frames heard as a whole.
fn whole(pcm: &[f32], fps: (u32, u32), frames: u64, mut encode: Encoder) -> Vec<Vec<f32>> {
    let mut file = Speech::new(SessionMode::Whole, &hearing(fps)).unwrap();
    file.push(0, pcm, true).unwrap();
    (0..frames).map(|frame| tokens_of(&mut file, frame, &mut encode)).collect()
}

#[test]
fn with_an_encoder_that_sees_no_further_than_its_convolutions_a_stream_equals_the_whole_file() {
    let pcm = speech(50_000);
    for fps in [(2, 1), (12, 1), (25, 1), (30_000, 1_001), (50, 1)] {
        let frames = Windows::new(fps).unwrap().frames(50_000) + 8;
        let expected = whole(&pcm, fps, frames, local);
        assert!(expected[frames as usize - 1].iter().all(|&value| value == 0.0), "behind the end");
        for context in [0.5, 2.0, 28.0] {
            let mut stream = live(&Hearing { context, ..hearing(fps) });
            stream.push(0, &pcm, true).unwrap();
            for (frame, expected) in expected.iter().enumerate() {
                let found = tokens_of(&mut stream, frame as u64, &mut (local as Encoder));
                assert!(&found == expected, "frame {frame} at {fps:?} with {context} s");
            }
        }
    }
}

#[test]
fn no_frame_needs_more_than_the_lookahead() {
    let mut most = 0;
    for fps in RATES {
        for from in [0, 1, 2, 7, 1_234] {
            let mut stream = live(&hearing(fps));
            let start = first_sample(from, fps);
            stream.push(start as u64, &[0.1], false).unwrap();
            for frame in from..from + 600 {
                let Err(AudioError::NotYet { needed: samples, there, .. }) = stream.needs(frame) else {
                    panic!("frame {frame} at {fps:?} needs audio");
                };
                let ahead = (start as u64 + samples) as i64 - first_sample(frame + 1, fps) as i64;
                assert!(
                    there == 1 && ahead <= 16 * i64::from(LOOKAHEAD_MS),
                    "frame {frame} at {fps:?}: {ahead}"
                );
                most = most.max(ahead);
            }
        }
    }
    // 132.5 ms, and what is lost where a frame starts between two samples.
    assert!((2_120..=2_122).contains(&most), "{most}");
}

#[test]
fn what_lies_beyond_the_lookahead_changes_nothing() {
    let pcm = speech(40_000);
    let poison: Vec<f32> = hiss(16_000).into_iter().map(|sample| 20.0 * sample).collect();
    for fps in RATES {
        for frame in [0, 1, 6, 7, 20] {
            let until = needed(frame, fps);
            let [expected, found] = [0, poison.len()].map(|beyond| {
                let mut stream = live(&hearing(fps));
                stream.push(0, &pcm[..until], false).unwrap();
                stream.push(until as u64, &poison[..beyond], beyond > 0).unwrap();
                tokens_of(&mut stream, frame, &mut (global as Encoder))
            });
            assert!(found == expected, "frame {frame} at {fps:?}");
        }
    }
}

#[test]
fn the_cut_into_pushes_does_not_matter_nor_how_early_the_end_is_known() {
    let pcm = speech(30_000);
    let frames = 55;
    let expected = perform(&mut live(&hearing(PAL)), &pcm, 0, frames, None, global);
    for cut in [97, 160, 1_000, 16_000, 30_000] {
        let found = perform(&mut live(&hearing(PAL)), &pcm, 0, frames, Some(cut), global);
        assert!(found == expected, "pushes of {cut} samples");
    }
}

#[test]
fn any_order_gives_the_same_tokens_and_each_pair_costs_one_call() {
    let pcm = speech(30_000);
    let expected = perform(&mut live(&hearing(PAL)), &pcm, 0, 40, None, global);
    let mut stream = live(&hearing(PAL));
    stream.push(0, &pcm, false).unwrap();
    let mut calls = 0;
    let mut counted = |mel: &[f32], columns: usize| {
        calls += 1;
        global(mel, columns)
    };
    let mut tokens = vec![0.0; TOKEN_VALUES];
    // Every frame twice, and two left out.
    for frame in (0..40).filter(|frame| !(10..12).contains(frame)).flat_map(|frame| [frame, frame]) {
        stream.hear(frame, &mut counted, &mut tokens).unwrap();
        assert!(tokens == expected[frame as usize], "frame {frame}");
    }
    // And back, up to a second.
    for frame in (15..40).rev() {
        stream.hear(frame, &mut counted, &mut tokens).unwrap();
        assert!(tokens == expected[frame as usize], "frame {frame} on the way back");
    }
    assert_eq!(calls, 19 + 12, "the last pair was still known");
}

#[test]
fn a_batch_may_be_asked_for_before_any_of_it_is_encoded() {
    let pcm = speech(30_000);
    let expected = perform(&mut live(&hearing(PAL)), &pcm, 0, 16, None, global);
    let mut stream = live(&hearing(PAL));
    stream.push(0, &pcm, false).unwrap();
    let mut windows: Vec<(WindowId, usize, Vec<f32>)> = Vec::new();
    for frame in 0..16 {
        let window = stream.needs(frame).unwrap().unwrap();
        if windows.iter().all(|known| known.0 != window.id) {
            windows.push((window.id, window.columns, window.mel.to_vec()));
        }
    }
    assert_eq!(windows.len(), 8);
    for (id, columns, mel) in windows.iter().rev() {
        stream.supply(*id, &global(mel, *columns).unwrap()).unwrap();
    }
    let mut tokens = vec![0.0; TOKEN_VALUES];
    for (frame, expected) in expected.iter().enumerate() {
        assert!(stream.needs(frame as u64).unwrap().is_none());
        stream.tokens(frame as u64, &mut tokens).unwrap();
        assert!(&tokens == expected, "frame {frame}");
    }
    // What was encoded for a run that is gone is of no use, and does no harm.
    stream.reset();
    stream.supply(windows[0].0, &[]).unwrap();
    stream.push(0, &pcm[..4_000], false).unwrap();
    assert_eq!(stream.tokens(0, &mut tokens).unwrap_err(), AudioError::NotEncoded(0));
}

#[test]
fn windows_have_one_length_once_there_is_enough_speech() {
    for (fps, context, full) in [((25, 1), 2.0, 200), ((30_000, 1_001), 2.0, 200), ((12, 1), 0.5, 50)] {
        let mut stream = live(&Hearing { context, ..hearing(fps) });
        stream.push(0, &hiss(128_000), false).unwrap();
        let mut lengths = Vec::new();
        for frame in (0..80).step_by(2) {
            let MelWindow { columns, mel, .. } = stream.needs(frame).unwrap().unwrap();
            assert!(columns % 2 == 0 && mel.len() == columns * MELS);
            lengths.push(columns);
        }
        assert!(lengths[0] < full && lengths.is_sorted());
        assert!(lengths[35..].iter().all(|&columns| columns == full), "{fps:?}: {lengths:?}");
    }
}

#[test]
fn after_a_reset_and_after_a_gap_speech_is_heard_like_a_first_one() {
    let (before, pcm) = (hiss(20_000), speech(20_000));
    let expected = perform(&mut live(&hearing(PAL)), &pcm, 0, 36, None, global);
    for (from, reset) in [(0, true), (13, true), (8, true), (40, false), (131, false)] {
        let mut speech = live(&hearing(PAL));
        perform(&mut speech, &before, 0, 8, None, global);
        if reset {
            speech.reset();
        }
        let found = perform(&mut speech, &pcm, from, 36, None, global);
        assert!(found == expected, "from frame {from}, reset: {reset}");
    }
}

#[test]
fn runs_that_touch_are_heard_apart_and_frames_belong_to_the_run_that_they_start_in() {
    let (one, other) = (speech(6_400), hiss(6_400));
    let alone = [&one, &other].map(|pcm| perform(&mut live(&hearing(PAL)), pcm, 0, 13, None, global));
    let mut speech = live(&hearing(PAL));
    speech.push(0, &one, true).unwrap();
    speech.push(6_400, &other, true).unwrap();
    let mut encode = global as Encoder;
    for frame in 0..23 {
        let found = tokens_of(&mut speech, frame, &mut encode);
        let (run, of_run) = if frame < 10 { (0, frame) } else { (1, frame - 10) };
        assert!(found == alone[run][of_run as usize], "frame {frame}");
    }
    // A run whose start is in the middle of a frame has its first frame behind it; a push of nothing begins
    // no run.
    speech.push(100_000, &[], true).unwrap();
    speech.push(640 * 200 + 1, &other, true).unwrap();
    assert!(!speech.hears(200) && speech.hears(201));
    assert!(tokens_of(&mut speech, 200, &mut encode).iter().all(|&value| value == 0.0));
    assert!(tokens_of(&mut speech, 201, &mut encode) == alone[1][0]);
}

#[test]
fn the_mouth_hears_nothing_before_a_run_nor_long_behind_its_end_nor_in_a_run_of_nothing() {
    let mut speech = live(&hearing(PAL));
    let mut encode = global as Encoder;
    assert!(!speech.hears(3));
    assert!(tokens_of(&mut speech, 3, &mut encode).iter().all(|&value| value == 0.0));
    // 319 samples are no row.
    for (samples, frames) in [(319, 0), (320, 3), (6_399, 12), (6_400, 12)] {
        speech.reset();
        speech.push(6_400, &hiss(samples), true).unwrap();
        let heard: Vec<u64> = (0..40).filter(|&frame| speech.hears(frame)).collect();
        assert_eq!(heard, (10..10 + frames).collect::<Vec<_>>(), "{samples} samples");
        for frame in 0..40 {
            let tokens = tokens_of(&mut speech, frame, &mut encode);
            assert_eq!(
                tokens.iter().any(|&value| value != 0.0),
                speech.hears(frame),
                "{samples}: frame {frame}"
            );
        }
    }
}

#[test]
fn a_pause_before_the_first_word_is_no_louder_than_in_the_whole_file() {
    // A second of a quiet room, then a voice.
    let mut pcm: Vec<f32> = hiss(16_000).into_iter().map(|sample| 1e-4 * sample).collect();
    pcm.extend(tone(0.25, 32_000));
    let mut expected = vec![0.0; MELS * SEGMENT_COLUMNS];
    LogMel::new().segment(&pcm, &mut expected);
    let apart = |window_maximum| {
        let mut stream = live(&Hearing { window_maximum, ..hearing(PAL) });
        stream.push(0, &pcm[..needed(15, PAL)], false).unwrap();
        let MelWindow { columns, mel, .. } = stream.needs(15).unwrap().unwrap();
        assert!(columns < 100, "all of it lies in the pause");
        let difference =
            |(at, value): (usize, &f32)| value - expected[at / columns * SEGMENT_COLUMNS + at % columns];
        // The last column but repeats the one before it.
        let all = mel.iter().enumerate().filter(|(at, _)| at % columns != columns - 1).map(difference);
        all.fold((0.0_f32, 0.0_f32), |(least, most), apart| (least.min(apart), most.max(apart)))
    };
    let ((least, most), (alone, _)) = (apart(false), apart(true));
    assert!((-0.1..=0.0).contains(&least) && most == 0.0, "{least} to {most} with the running maximum");
    assert!(alone < -0.4, "{alone} with the window's own");
}

#[test]
fn a_louder_voice_raises_the_maximum_for_what_follows_it_alone() {
    let mut pcm = vec![0.0; 64_000];
    pcm[32_000..32_800].copy_from_slice(&tone(0.9, 800));
    let floor = |frame: u64| {
        let mut stream = live(&hearing(PAL));
        stream.push(0, &pcm, false).unwrap();
        let MelWindow { mel, .. } = stream.needs(frame).unwrap().unwrap();
        mel.iter().copied().fold(f32::MAX, f32::min)
    };
    let ordinary = scale(-10.0, ORDINARY_VOICE);
    assert_eq!([floor(0), floor(40)], [ordinary; 2]);
    let raised = floor(60);
    assert!(raised > ordinary + 0.2 && floor(90) == raised, "{raised}");
}

#[test]
fn audio_that_waits_fills_a_bounded_queue_and_frames_make_room() {
    let mut stream = live(&hearing(PAL));
    let second = hiss(16_000);
    let mut at = 0;
    let push = |stream: &mut Speech, at: &mut u64| {
        let pushed = stream.push(*at, &second, false);
        *at += if pushed.is_ok() { 16_000 } else { 0 };
        pushed
    };
    while push(&mut stream, &mut at).is_ok() {}
    assert_eq!(at, 192_000, "12 s");
    let error = push(&mut stream, &mut at).unwrap_err();
    assert_eq!(error, AudioError::Full { waiting: 192_000, pushed: 16_000 });
    let told = lipcast_plugins_api::author::Error::from(error);
    assert!(told.code == lipcast_plugins_api::author::Code::WouldBlock && told.retryable);
    // A second later there is room for one more, whether the frames were drawn or left out.
    stream.needs(25).unwrap();
    push(&mut stream, &mut at).unwrap();
    push(&mut stream, &mut at).unwrap_err();
    stream.pass(50);
    push(&mut stream, &mut at).unwrap();
    // A new run has all the room.
    for _ in 0..12 {
        stream.push(at + 1_000_000, &second, false).unwrap();
        at += 16_000;
    }
}

#[test]
fn memory_stays_the_same_however_long_a_run_is() {
    let mut stream = live(&hearing(PAL));
    let Speech::Live(inner) = &stream else { unreachable!("opened live") };
    assert!(inner.bytes() < 10_000);
    let pcm = speech(640);
    let mut encode = local as Encoder;
    let (mut tokens, mut settled) = (vec![0.0; TOKEN_VALUES], 0);
    for frame in 0..1_500 {
        if frame % 500 == 499 {
            // What is left of the run, and the next.
            stream.push(frame * 640, &pcm, true).unwrap();
        } else {
            stream.push(frame * 640, &pcm, false).unwrap();
        }
        if let Some(frame) = frame.checked_sub(4) {
            stream.hear(frame, &mut encode, &mut tokens).unwrap();
        }
        let Speech::Live(inner) = &stream else { unreachable!("opened live") };
        if frame == 1_100 {
            settled = inner.bytes();
        }
        assert!(frame <= 1_100 || inner.bytes() == settled, "frame {frame}");
    }
    assert!(settled < 1 << 20, "{settled} bytes");
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |hearing: Hearing| Speech::new(SessionMode::Live, &hearing).unwrap_err();
    let ntsc = Hearing { reference_window: true, ..hearing((30_000, 1_001)) };
    assert_eq!(refused(ntsc), AudioError::Drifts(30_000, 1_001));
    Speech::new(SessionMode::Whole, &ntsc).unwrap();
    assert_eq!(refused(Hearing { reference_window: true, ..hearing((50, 1)) }), AudioError::TooFast(50));
    for context in [0.4, 28.1, f32::NAN] {
        assert!(matches!(refused(Hearing { context, ..hearing(PAL) }), AudioError::Context(_)));
    }
    let mut stream = live(&hearing(PAL));
    stream.push(6_400, &hiss(64_000), false).unwrap();
    assert_eq!(stream.push(0, &[0.0], false).unwrap_err(), AudioError::GoesBack { first: 0, end: 70_400 });
    let error = stream.needs(108).map(|_| ()).unwrap_err();
    assert_eq!(error, AudioError::NotYet { frame: 108, there: 64_000, needed: 320 * 203 + 520 });
    stream.needs(100).unwrap();
    assert_eq!(stream.needs(20).map(|_| ()).unwrap_err(), AudioError::Passed(20));
    let id = stream.needs(100).unwrap().unwrap().id;
    let error = stream.supply(id, &[0.0; 7]).unwrap_err();
    assert_eq!(error, AudioError::Features { got: 7, expected: 100 * ROW_VALUES, rows: 100 });
}

#[test]
fn the_references_windows_come_live_too() {
    // At 12 frames a second they lie so far in the past that the first frame hears nothing.
    let fps = (12, 1);
    let pcm = speech(40_000);
    let hearing = Hearing { reference_window: true, ..hearing(fps) };
    let mut file = Speech::new(SessionMode::Whole, &hearing).unwrap();
    let mut stream = live(&hearing);
    file.push(0, &pcm, true).unwrap();
    stream.push(0, &pcm, true).unwrap();
    assert!(!stream.hears(0) && stream.hears(2));
    let mut encode = local as Encoder;
    for frame in 0..34 {
        assert!(
            tokens_of(&mut stream, frame, &mut encode) == tokens_of(&mut file, frame, &mut encode),
            "{frame}"
        );
    }
}

#[test]
fn the_distance_is_none_for_a_local_encoder_and_some_for_one_that_sees_all() {
    let pcm = speech(50_000);
    let near = distance(&pcm, &hearing(PAL), local).unwrap();
    assert_eq!(near.frames, 78);
    for state in near.states {
        assert_eq!((state.mean, state.worst, state.cosine, state.least_cosine), (0.0, 0.0, 1.0, 1.0));
    }
    // The mean that is added is that of the window: of the whole file mostly silence behind the speech.
    let far = distance(&pcm, &hearing(PAL), global).unwrap();
    for state in far.states {
        assert!(state.mean > 0.01 && state.worst > state.mean && state.least_cosine < state.cosine);
        assert!(state.worst_frame < 78 && state.cosine < 1.0);
    }
    let failing = distance(&pcm, &hearing(PAL), |_: &[f32], _| Err::<Vec<f32>, _>("no device"));
    assert_eq!(failing.unwrap_err(), HearError::Encoder("no device"));
}
