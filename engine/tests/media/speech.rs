//! Speech files: formats, rates, channels, exact lengths, alignment, and files that are no speech.

use std::f32::consts::TAU;

use lipcast_engine::audio::{SpeechDecoder, SpeechError, SpeechLimits, decode_all, wav};

use crate::support::{Files, tone};

const ANY: SpeechLimits = SpeechLimits { max_seconds: 7_200.0 };

/// Correlation with a sine of 300 Hz that starts at `shift` samples, in the middle of the signal.
fn likeness(pcm: &[f32], rate: f32, shift: f32) -> f32 {
    let middle = &pcm[pcm.len() / 4..pcm.len() * 3 / 4];
    let (mut both, mut own, mut reference) = (0.0, 0.0, 0.0);
    for (n, sample) in middle.iter().enumerate() {
        let sine = (TAU * 300.0 * ((n + pcm.len() / 4) as f32 - shift) / rate).sin();
        both += sample * sine;
        own += sample * sample;
        reference += sine * sine;
    }
    both / (own * reference).sqrt().max(1e-9)
}

#[test]
fn every_usual_format_is_read_at_the_right_length() {
    let files = Files::new();
    let source = "-f lavfi -i sine=f=300:r=44100:d=1.5";
    for (name, codec, encode) in [
        ("a.wav", "pcm_s16le", ""),
        ("b.wav", "pcm_f32le", "-c:a pcm_f32le"),
        ("c.mp3", "mp3", "-c:a libmp3lame -b:a 64k"),
        ("d.m4a", "aac", "-c:a aac -b:a 96k"),
        ("e.aac", "aac", "-c:a aac -b:a 96k"),
        ("f.flac", "flac", "-c:a flac"),
        ("g.ogg", "vorbis", "-c:a libvorbis"),
        ("h.opus", "opus", "-c:a libopus -b:a 32k"),
        ("i.ogg", "opus", "-af pan=stereo|c0=c0|c1=c0 -c:a libopus -b:a 32k"),
        ("j.webm", "opus", "-c:a libopus -b:a 32k"),
        ("k.mkv", "aac", "-c:a aac"),
        ("l.aiff", "pcm_s16be", ""),
    ] {
        let path = files.ffmpeg(name, &format!("{source} {encode}"));
        let decoder = SpeechDecoder::open(&path, &ANY).unwrap();
        assert_eq!(decoder.info().codec, codec, "{name}");
        let all = decode_all(&path, &ANY).unwrap();
        // Codecs with a delay that the file does not state come out a frame or two longer.
        let seconds = all.at_16k.len() as f64 / 16_000.0;
        assert!((seconds - 1.5).abs() < 0.08, "{name}: {seconds} s");
        assert!(all.at_48k.len().abs_diff(all.at_16k.len() * 3) <= 2, "{name}");
        let middle = &all.at_16k[4_000..20_000];
        let level = (middle.iter().map(|sample| sample * sample).sum::<f32>() / 16_000.0).sqrt();
        assert!(
            (level - 0.088).abs() < 0.01,
            "{name}: ffmpeg's sine peaks at 1/8, its mean square is {level}"
        );
    }
}

#[test]
fn gapless_formats_keep_their_instants() {
    let files = Files::new();
    let path = files.write("tone.wav", &wav::pcm_16(44_100, 1, &tone(44_100, 66_150)));
    let source = path.to_str().unwrap();
    for (name, encode) in [
        ("a.flac", "-c:a flac"),
        ("b.ogg", "-c:a libvorbis -q:a 6"),
        ("c.opus", "-c:a libopus -b:a 96k"),
        ("d.mp3", "-c:a libmp3lame -b:a 128k"),
        ("e.webm", "-c:a libopus -b:a 96k"),
    ] {
        let all = decode_all(&files.ffmpeg(name, &format!("-i {source} {encode}")), &ANY).unwrap();
        for (pcm, rate) in [(&all.at_16k, 16_000.0), (&all.at_48k, 48_000.0)] {
            let like = likeness(pcm, rate, 0.0);
            assert!(like > 0.99, "{name} at {rate} Hz: {like}");
        }
    }
}

#[test]
fn any_rate_and_number_of_channels_gives_exact_totals_at_the_same_instants() {
    let files = Files::new();
    for (rate, channels) in [(8_000, 1), (22_050, 2), (44_100, 6), (48_000, 8), (96_000, 1), (192_000, 2)] {
        let frames = rate as usize + 77;
        let mono = tone(rate, frames);
        let samples: Vec<i16> = mono.iter().flat_map(|sample| vec![*sample; channels as usize]).collect();
        let path = files.write("a.wav", &wav::pcm_16(rate, channels, &samples));
        let all = decode_all(&path, &ANY).unwrap();
        let total = |to: f64| (frames as f64 * to / f64::from(rate)).round() as usize;
        assert_eq!(
            (all.at_16k.len(), all.at_48k.len()),
            (total(16_000.0), total(48_000.0)),
            "{rate} {channels}"
        );
        assert!(likeness(&all.at_16k, 16_000.0, 0.0) > 0.999, "{rate} {channels}");
        assert!(likeness(&all.at_48k, 48_000.0, 0.0) > 0.999, "{rate} {channels}");
        assert!(likeness(&all.at_48k, 48_000.0, 12.0) < 0.95, "the measure sees a quarter of a millisecond");
    }
}

#[test]
fn channels_are_averaged_and_odd_samples_become_harmless() {
    let files = Files::new();
    let mut samples = Vec::new();
    for n in 0..16_000 {
        samples.extend(match n {
            100 => [f32::NAN, f32::INFINITY],
            200 => [1e30, 1e30],
            _ => [0.5, -0.25],
        });
    }
    let path = files.write("odd.wav", &wav::float_32(16_000, 2, &samples));
    let all = decode_all(&path, &ANY).unwrap();
    assert_eq!(all.at_16k.len(), 16_000);
    assert!(all.at_16k.iter().chain(&all.at_48k).all(|sample| sample.is_finite() && sample.abs() < 1.5));
    assert_eq!((all.at_16k[100], all.at_16k[200], all.at_16k[300]), (0.0, 1.0, 0.125));
}

#[test]
fn chunks_are_short_and_aligned_and_never_pile_up() {
    let files = Files::new();
    let path = files.write("long.wav", &wav::pcm_16(22_050, 1, &tone(22_050, 22_050 * 30 + 5)));
    let mut decoder = SpeechDecoder::open(&path, &ANY).unwrap();
    let mut lengths = Vec::new();
    while let Some(chunk) = decoder.read().unwrap() {
        lengths.push((chunk.at_16k.len(), chunk.at_48k.len()));
    }
    let (last, before) = lengths.split_last().unwrap();
    assert!(before.iter().all(|(a, b)| (1_600..=16_000).contains(a) && *b == a * 3), "{before:?}");
    assert!(last.0 <= 16_000 && last.1.abs_diff(last.0 * 3) <= 2, "{last:?}");
    assert!(decoder.read().unwrap().is_none(), "the end stays the end");
}

#[test]
fn an_hour_is_streamed_and_the_limit_is_kept() {
    let files = Files::new();
    let hour =
        files.ffmpeg("hour.mp3", "-f lavfi -i anullsrc=r=16000:cl=mono:d=3600 -c:a libmp3lame -b:a 8k");
    let mut decoder = SpeechDecoder::open(&hour, &SpeechLimits::default()).unwrap();
    let mut samples = 0;
    while let Some(chunk) = decoder.read().unwrap() {
        samples += chunk.at_16k.len();
    }
    assert!(samples.abs_diff(3_600 * 16_000) < 2_000, "{samples}");
    let limits = SpeechLimits { max_seconds: 60.0 };
    let message = decode_all(&hour, &limits).unwrap_err().to_string();
    assert!(message.starts_with("hour.mp3 is too long") && message.contains("at most 60 s"), "{message}");
}

#[test]
fn half_band_aac_goes_through_ffmpeg() {
    let files = Files::new();
    // AAC at 22 kHz could be the lower half of HE-AAC, so it is not read in this process.
    let path = files.ffmpeg("low.m4a", "-f lavfi -i sine=f=300:r=22050:d=1 -c:a aac");
    let decoder = SpeechDecoder::open(&path, &ANY).unwrap();
    assert_eq!((decoder.info().codec.as_str(), decoder.info().sample_rate), ("aac", 22_050));
    let surround = files.ffmpeg("six.m4a", "-f lavfi -i sine=f=300:r=48000:d=1 -ac 6 -c:a aac");
    assert_eq!(SpeechDecoder::open(&surround, &ANY).unwrap().info().channels, 6);
    for path in [path, surround] {
        let all = decode_all(&path, &ANY).unwrap();
        assert!(all.at_16k.len().abs_diff(16_000) < 1_600, "{}", all.at_16k.len());
    }
}

#[test]
fn the_sound_of_a_video_will_do() {
    let files = Files::new();
    let path = files.ffmpeg(
        "talk.mp4",
        "-f lavfi -i testsrc2=s=64x64:r=25:d=1 -f lavfi -i sine=f=300:r=48000:d=1 -c:v libx264 -pix_fmt yuv420p -c:a aac",
    );
    assert!(decode_all(&path, &ANY).unwrap().at_16k.len().abs_diff(16_000) < 1_600);
}

#[test]
fn speech_in_memory_is_read_alike() {
    let bytes = wav::pcm_16(24_000, 1, &tone(24_000, 12_000));
    let mut decoder = SpeechDecoder::from_bytes(bytes, "clip.wav", &ANY).unwrap();
    let mut samples = 0;
    while let Some(chunk) = decoder.read().unwrap() {
        samples += chunk.at_48k.len();
    }
    assert_eq!(samples, 24_000);
}

#[test]
fn files_that_are_no_speech_are_refused_by_name() {
    let files = Files::new();
    let silent =
        files.ffmpeg("silent.mp4", "-f lavfi -i testsrc2=s=64x64:r=25:d=0.2 -c:v libx264 -pix_fmt yuv420p");
    let whole = wav::pcm_16(16_000, 1, &tone(16_000, 1_000));
    for (path, expected) in [
        (files.path("nowhere.wav"), "nowhere.wav: no such file"),
        (files.write("empty.wav", b""), "empty.wav is empty (0 bytes)"),
        (
            files.write("notes.txt", "a shopping list ".repeat(99).as_bytes()),
            "notes.txt is not an audio file",
        ),
        (files.write("head.wav", &whole[..30]), "head.wav begins like a WAV file, but is damaged or cut off"),
        (
            files.write("none.wav", &wav::pcm_16(16_000, 1, &[])),
            "none.wav is a whole wave file, but holds no sound",
        ),
        (silent, "silent.mp4 has no audio track: it holds video"),
        (files.write("slow.wav", &wav::pcm_16(100, 1, &[1; 500])), "slow.wav has 1 channels at 100 Hz"),
        (files.path(""), "is not an audio file that can be read: it is a folder"),
    ] {
        let message = decode_all(&path, &ANY).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        let folder = path.parent().unwrap().to_str().unwrap();
        assert!(folder == "/tmp" || !message.contains(folder), "no folder in: {message}");
    }
}

#[test]
fn a_file_without_sound_is_refused_when_it_is_opened() {
    let files = Files::new();
    let path = files.write("none.wav", &wav::pcm_16(16_000, 1, &[]));
    assert!(matches!(SpeechDecoder::open(&path, &ANY), Err(SpeechError::NoSamples { .. })));
}

#[test]
fn headers_are_not_searched_for_without_end() {
    let files = Files::new();
    let path = files.write("zeros.wav", b"RIFF\xff\xff\xff\xffWAVE");
    // A gigabyte that takes no room on the disk.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
    let message = SpeechDecoder::open(&path, &ANY).unwrap_err().to_string();
    assert!(message.contains("no sound was found in its first 64 MiB"), "{message}");
}

#[test]
fn a_file_that_breaks_off_gives_what_it_has() {
    let files = Files::new();
    let whole = wav::pcm_16(16_000, 1, &tone(16_000, 16_000));
    let all = decode_all(&files.write("half.wav", &whole[..whole.len() / 2]), &ANY).unwrap();
    assert!(all.at_16k.len().abs_diff(8_000) < 2_000, "{}", all.at_16k.len());
    let error = decode_all(&files.write("x.wav", &whole[..44]), &ANY).unwrap_err();
    assert!(matches!(error, SpeechError::NoSamples { .. } | SpeechError::Damaged { .. }), "{error}");
}
