//! Untrusted bytes: cut and flipped files may be refused or read, but never panic and never outgrow the limit.

use lipcast_engine::audio::{SpeechDecoder, SpeechLimits, wav};
use proptest::prelude::*;

use crate::support::{Files, tone};

/// Damage to one file: a cut (permille of its length) and up to six bytes replaced (place in permille, value).
fn damage() -> impl Strategy<Value = (u16, Vec<(u16, u8)>)> {
    (1..=1_000_u16, proptest::collection::vec((0..1_000_u16, any::<u8>()), 0..6))
}

fn apply(bytes: &[u8], (cut, flips): &(u16, Vec<(u16, u8)>)) -> Vec<u8> {
    let mut bytes = bytes[..bytes.len() * usize::from(*cut) / 1_000].to_vec();
    for (place, value) in flips {
        // Half of the damage goes where it hurts most: into the first 200 bytes.
        let span = if value % 2 == 0 { bytes.len().min(200) } else { bytes.len() };
        if let Some(byte) = bytes.get_mut(span * usize::from(*place) / 1_000) {
            *byte = *value;
        }
    }
    bytes
}

fn survive(bytes: Vec<u8>, name: &str) {
    let limits = SpeechLimits { max_seconds: 10.0 };
    let Ok(mut decoder) = SpeechDecoder::from_bytes(bytes, name, &limits) else { return };
    let mut samples = 0;
    while let Ok(Some(chunk)) = decoder.read() {
        samples += chunk.at_16k.len();
        assert!(chunk.at_48k.iter().all(|sample| sample.is_finite()));
    }
    assert!(samples <= 12 * 16_000, "{samples} samples in spite of the limit");
}

#[test]
fn damaged_speech_never_panics() {
    let files = Files::new();
    let source = "-f lavfi -i sine=f=300:r=24000:d=0.4";
    let mut seeds = vec![("a.wav", wav::pcm_16(24_000, 2, &tone(24_000, 9_600)))];
    for (name, encode) in [
        ("b.mp3", "-c:a libmp3lame -b:a 32k"),
        ("c.ogg", "-c:a libvorbis"),
        ("d.opus", "-c:a libopus -b:a 16k"),
        ("e.flac", "-c:a flac"),
        ("f.m4a", "-ar 44100 -c:a aac"),
        ("g.webm", "-c:a libopus -b:a 16k"),
    ] {
        seeds.push((name, std::fs::read(files.ffmpeg(name, &format!("{source} {encode}"))).unwrap()));
    }
    // A fixed seed: the same damage on every run.
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    runner
        .run(&damage(), |damage| {
            for (name, bytes) in &seeds {
                survive(apply(bytes, &damage), name);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn noise_under_any_name_never_panics() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for name in ["a.wav", "a.mp3", "a.ogg", "a.flac", "a.m4a", "a.webm", "a"] {
        for magic in
            [&b"RIFF"[..], b"OggS", b"fLaC", b"ID3\x04", b"\0\0\0\x20ftypM4A ", b"\x1a\x45\xdf\xa3", b""]
        {
            let mut bytes = magic.to_vec();
            bytes.extend(
                std::iter::repeat_with(|| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .take(3_000),
            );
            survive(bytes, name);
        }
    }
}
