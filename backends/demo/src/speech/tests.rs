use super::*;
use network::Output;

const FRAME: u64 = 640;
const GOLDEN: &[u8] = include_bytes!("../../assets/visemes.golden.bin");

/// What the training script wrote for its test signal.
struct Golden {
    pcm: Vec<f32>,
    features: Vec<[f32; 40]>,
    outputs: Vec<[f32; 5]>,
}

fn golden() -> Golden {
    let word = |at: usize| u32::from_le_bytes(GOLDEN[at..at + 4].try_into().unwrap());
    let float = |at: usize| f32::from_bits(word(at));
    let samples = word(0) as usize;
    let pcm = GOLDEN[4..4 + 2 * samples]
        .chunks_exact(2)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0)
        .collect();
    let at = 4 + 2 * samples;
    let frames = word(at) as usize;
    let (x, y) = (at + 4, at + 4 + frames * 160);
    Golden {
        pcm,
        features: (0..frames).map(|i| std::array::from_fn(|b| float(x + 4 * (40 * i + b)))).collect(),
        outputs: (0..frames).map(|i| std::array::from_fn(|k| float(y + 4 * (5 * i + k)))).collect(),
    }
}

/// A voice-like signal: a buzz that glides, with syllables four times a second, under a low noise.
fn babble(seconds: f32, gain: f32) -> Vec<f32> {
    let mut phase = 0.0f32;
    let mut noise = 1u32;
    (0..(seconds * 16_000.0) as usize)
        .map(|n| {
            let t = n as f32 / 16_000.0;
            phase = (phase + (120.0 + 30.0 * (1.7 * t).sin()) / 16_000.0).fract();
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = (noise >> 8) as f32 / (1 << 23) as f32 - 1.0;
            let voice: f32 = (1..30)
                .map(|k| {
                    let k = k as f32;
                    (std::f32::consts::TAU * k * phase).sin() / (1.0 + (k - 6.0).abs())
                })
                .sum();
            let syllable = (std::f32::consts::TAU * 4.0 * t).sin().max(0.0);
            gain * (0.12 * voice * syllable + 0.0005 * hiss)
        })
        .collect()
}

fn shapes(pcm: &[f32], block: usize) -> Vec<MouthShape> {
    let mut mouth = SpeechToMouth::new();
    for part in pcm.chunks(block) {
        mouth.push(part);
    }
    mouth.finish();
    (0..pcm.len() as u64 / FRAME).map(|k| mouth.shape(k * FRAME, (k + 1) * FRAME)).collect()
}

#[test]
fn features_and_outputs_are_those_of_the_training_script() {
    let golden = golden();
    let mut loudness = Loudness::new();
    let mut network = Network::new();
    let mut features = Vec::new();
    let mut outputs: Vec<Output> = Vec::new();
    MelStream::new().push(&golden.pcm, |frame| {
        let (_, ceiling) = loudness.push(frame);
        let input = network::features(frame, ceiling);
        outputs.extend(network.push(&input));
        features.push(input);
    });
    assert_eq!(features.len(), golden.features.len());
    let worst = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    for (ours, theirs) in features.iter().zip(&golden.features) {
        assert!(worst(ours, theirs) < 2e-3);
    }
    assert_eq!(outputs.len(), golden.outputs.len() - AHEAD);
    for (o, theirs) in outputs.iter().zip(&golden.outputs) {
        assert!(worst(&[o.opening, o.width, o.teeth, o.closed, o.speech], theirs) < 2e-3);
    }
}

#[test]
fn blocks_and_the_order_of_questions_do_not_matter() {
    let pcm = babble(2.0, 1.0);
    let whole = shapes(&pcm, pcm.len());
    assert!(whole.iter().any(|shape| shape.opening > 0.05));
    for block in [1, 160, 997] {
        assert_eq!(shapes(&pcm, block), whole);
    }
    let mut mouth = SpeechToMouth::new();
    mouth.push(&pcm);
    mouth.finish();
    for k in (0..whole.len()).rev() {
        let at = k as u64 * FRAME;
        assert_eq!(mouth.shape(at, at + FRAME), whole[k]);
    }
}

#[test]
fn a_shape_is_settled_once_the_lookahead_is_there() {
    let pcm = babble(2.0, 1.0);
    let whole = shapes(&pcm, pcm.len());
    let lookahead = u64::from(SpeechToMouth::LOOKAHEAD_MS) * 16;
    let mut mouth = SpeechToMouth::new();
    let mut pushed = 0;
    for k in 0..whole.len() as u64 - 3 {
        let needed = ((k + 1) * FRAME + lookahead) as usize;
        mouth.push(&pcm[pushed..needed]);
        pushed = needed;
        assert_eq!(mouth.shape(k * FRAME, (k + 1) * FRAME), whole[k as usize], "frame {k}");
    }
}

#[test]
fn the_mouth_rests_in_silence_hum_and_hiss_and_after_the_end() {
    let hum = |level: f32| -> Vec<f32> {
        let tone = |n: usize| level * (std::f32::consts::TAU * 50.0 * n as f32 / 16_000.0).sin();
        (0..48_000).map(|n| tone(n) + 0.3 * tone(3 * n)).collect()
    };
    for pcm in [vec![0.0; 48_000], hum(0.002), hum(0.02), hum(0.06), babble(3.0, 0.002)] {
        for (k, shape) in shapes(&pcm, 640).iter().enumerate() {
            assert!(shape.opening < 0.02 && shape.width.abs() < 0.1, "frame {k}: {shape:?}");
        }
    }
    let mut mouth = SpeechToMouth::new();
    mouth.push(&babble(1.0, 1.0));
    mouth.finish();
    let after = mouth.shape(32_000, 32_640);
    assert!(after.opening < 0.02 && after.closed < 0.02 && after.presence == 0.0, "{after:?}");
}

#[test]
fn the_tone_of_a_room_is_not_raised_to_speech_however_long_nobody_speaks() {
    let mut noise = 1u32;
    let mut hiss = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 8) as f32 / 8_388_608.0 - 1.0
    };
    for level in [0.0005, 0.003, 0.02] {
        let pcm: Vec<f32> = (0..160_000).map(|_| level * hiss()).collect();
        for (k, shape) in shapes(&pcm, 640).iter().enumerate() {
            assert!(shape.opening < 0.02 && shape.presence == 0.0, "{level}, frame {k}: {shape:?}");
        }
    }
}

#[test]
fn a_quiet_voice_opens_as_far_as_a_loud_one() {
    let mean = |gain: f32| {
        let all = shapes(&babble(8.0, gain), 640);
        let settled = &all[100..];
        settled.iter().map(|shape| shape.opening).sum::<f32>() / settled.len() as f32
    };
    let (loud, quiet) = (mean(1.0), mean(0.1));
    assert!((quiet / loud - 1.0).abs() < 0.2, "{loud} {quiet}");
}

#[test]
fn a_reset_forgets_everything() {
    let pcm = babble(1.0, 1.0);
    let fresh = shapes(&pcm, 640);
    let mut mouth = SpeechToMouth::new();
    mouth.push(&babble(3.0, 0.05));
    mouth.finish();
    mouth.shape(48_000, 48_640);
    mouth.reset();
    mouth.push(&pcm);
    mouth.finish();
    let again: Vec<_> = (0..fresh.len() as u64).map(|k| mouth.shape(k * FRAME, (k + 1) * FRAME)).collect();
    assert_eq!(again, fresh);
}

#[test]
fn questions_before_any_audio_or_far_in_the_past_find_the_mouth_at_rest() {
    let mut mouth = SpeechToMouth::new();
    assert_eq!(mouth.shape(0, FRAME), MouthShape::default());
    mouth.push(&babble(12.0, 1.0));
    assert_eq!(mouth.shape(0, FRAME), MouthShape::default());
}
