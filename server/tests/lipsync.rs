//! The demo backend moves a mouth that fits what is said: measured from output pixels, as `lipcast bench lipsync` does.

use std::sync::Arc;

use lipcast_engine::audio::{SpeechDecoder, SpeechLimits};
use lipcast_engine::avatar::Avatar;
use lipcast_server::bench::lipsync::record::{Recorded, record};
use lipcast_server::bench::lipsync::{LipSync, Phone, Recording, phones};
use lipcast_server::config::Config;
use lipcast_server::studio::Stages;

/// The built-in avatar on the demo backend, in a folder of its own.
fn built_in() -> (tempfile::TempDir, Stages, Arc<Avatar>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, "[media]\ndata_dir = \"data\"\n").unwrap();
    let stages = Stages::open(&Config::load(Some(&path)).unwrap()).unwrap();
    stages.settle_backends();
    let avatar = stages.builtin_avatar().unwrap();
    (folder, stages, avatar)
}

fn recorded(stages: &Stages, avatar: &Arc<Avatar>, mut speech: SpeechDecoder) -> Recorded {
    let (stage, _) = stages.stages_for(avatar).next().unwrap();
    record(stage, avatar, &mut speech, || {}).unwrap()
}

fn figures(recorded: &Recorded, phones: Option<&[Phone]>) -> LipSync {
    let Recorded { mouth, pcm, fps } = recorded;
    LipSync::of(&Recording { fps: *fps, mouth, pcm, sample_rate: 48_000, phones })
}

#[test]
fn the_mouth_follows_the_built_in_clip() {
    let (_folder, stages, avatar) = built_in();
    let speech = stages.builtin_speech().unwrap();
    let found = figures(&recorded(&stages, &avatar, speech), None);
    assert!(found.controls.hold(), "{found:?}");
    assert!(found.envelope.correlation > 0.4, "{found:?}");
    assert!(found.envelope.lag_ms.abs() <= 40.0, "{found:?}");
}

#[test]
fn lips_close_for_p_b_m_and_spread_and_round_for_vowels() {
    let (folder, stages, avatar) = built_in();
    // The network of demo has never heard this voice.
    let text = "Peter bought a blue map, and Bobby may keep the money, you two move through the new room, please see me";
    let spoken = phones::speak(text, "rms", &folder.path().join("phones.wav")).unwrap();
    let speech = SpeechDecoder::open(&spoken.audio, &SpeechLimits::default()).unwrap();
    let found = figures(&recorded(&stages, &avatar, speech), Some(&spoken.phones));
    assert!(found.controls.hold(), "{found:?}");
    let closures = found.closures.unwrap();
    assert!(closures.hit >= 0.8 && closures.hit_in_vowels < 0.4, "{found:?}");
    assert!(found.width_auc.unwrap() >= 0.8, "{found:?}");
}

#[test]
fn room_tone_around_speech_leaves_the_mouth_at_rest() {
    let (folder, stages, avatar) = built_in();
    let audio = folder.path().join("speech.wav");
    phones::speak("My baby moved, and papa bought a big blue map", "rms", &audio).unwrap();
    let speech = std::fs::read(&audio).unwrap();
    // 16-bit samples after a header of 44 bytes; two and a half seconds of white noise at -52 dB before and behind.
    let (header, speech) = speech.split_at(44);
    let mut noise = 1u32;
    let mut room = |count: usize| -> Vec<u8> {
        let mut next = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (((noise >> 16) as f32 / 32_768.0 - 1.0) * 142.0) as i16
        };
        (0..count).flat_map(|_| next().to_le_bytes()).collect()
    };
    let samples = [room(40_000), speech.to_vec(), room(40_000)].concat();
    let mut file = header.to_vec();
    file[4..8].copy_from_slice(&(36 + samples.len() as u32).to_le_bytes());
    file[40..44].copy_from_slice(&(samples.len() as u32).to_le_bytes());
    file.extend(samples);
    std::fs::write(&audio, file).unwrap();

    let speech = SpeechDecoder::open(&audio, &SpeechLimits::default()).unwrap();
    let found = figures(&recorded(&stages, &avatar, speech), None);
    let silence = found.silence.unwrap();
    assert!(silence.frames > 90 && silence.movement < 0.02, "{found:?}");
}
