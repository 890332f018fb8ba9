//! Written mp4 files: exact length, the right pictures and sound, the same bytes twice, nothing left behind.

use std::path::Path;
use std::process::Command;

use lipcast_codecs::{I420, VideoConfig};
use lipcast_engine::audio::{SpeechLimits, decode_all};
use lipcast_engine::media::{
    AudioTrackCodec, ColorMatrix, ColorRange, MediaError, Mp4Summary, Mp4Writer, VideoLimits, VideoReader,
    rgb_to_i420,
};
use lipcast_engine::time::FrameRate;

use crate::support::Files;

const SIZE: usize = 64;

/// Writes a flat colour that brightens frame by frame, with a tone.
fn write(
    path: &Path,
    fps: (u32, u32),
    samples: usize,
    codec: AudioTrackCodec,
) -> Result<Mp4Summary, MediaError> {
    let config = VideoConfig { width: SIZE, height: SIZE, fps, bitrate: 500_000 };
    let rate = FrameRate::new(fps.0, fps.1).unwrap();
    let mut writer = Mp4Writer::create(path, config, codec)?;
    let mut picture = I420::black(SIZE, SIZE).unwrap();
    for frame in 0..rate.frames_covering(samples as u64, 48_000) {
        let rgb = [colour(frame), 60, 200].repeat(SIZE * SIZE);
        rgb_to_i420(&rgb, SIZE, SIZE, &mut picture);
        writer.write_video(picture.as_view())?;
    }
    let pcm: Vec<f32> =
        (0..samples).map(|n| 0.5 * (n as f32 * 300.0 * std::f32::consts::TAU / 48_000.0).sin()).collect();
    for piece in pcm.chunks(1_920) {
        writer.write_audio(piece)?;
    }
    writer.finish()
}

fn colour(frame: u64) -> u8 {
    40 + (frame % 50) as u8 * 4
}

fn probe(path: &Path, stream: &str, field: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", stream, "-show_entries", &format!("stream={field}")])
        .args(["-of", "default=nw=1:nk=1"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn both_tracks_have_the_length_of_the_speech() {
    let files = Files::new();
    for (fps, samples) in [((25, 1), 48_000), ((25, 1), 71_003), ((30_000, 1001), 50_001), ((25, 1), 700)] {
        for (name, codec) in [("a.mp4", AudioTrackCodec::Aac), ("o.mp4", AudioTrackCodec::Opus)] {
            let path = files.path(name);
            let summary = write(&path, fps, samples, codec).unwrap();
            let seconds = samples as f64 / 48_000.0;
            assert_eq!(summary.samples, samples as u64);
            assert!((summary.seconds - seconds).abs() < 1e-9);
            for stream in ["v:0", "a:0"] {
                let found: f64 = probe(&path, stream, "duration").parse().unwrap();
                assert!(
                    (found - seconds).abs() < 0.001,
                    "{name} {fps:?} {samples} {stream}: {found}, not {seconds}"
                );
            }
            assert_eq!(probe(&path, "v:0", "nb_frames"), summary.frames.to_string());
            // One picture alone has no rate but its own length.
            if summary.frames == 1 {
                continue;
            }
            assert_eq!(probe(&path, "v:0", "r_frame_rate"), format!("{}/{}", fps.0, fps.1));
        }
    }
}

#[test]
fn pictures_and_sound_come_back_right() {
    let files = Files::new();
    let path = files.path("talk.mp4");
    write(&path, (25, 1), 48_000, AudioTrackCodec::Aac).unwrap();
    let mut reader = VideoReader::open(&path, &VideoLimits::default()).unwrap();
    // The stream states its colours; nothing is guessed from the size.
    assert_eq!(
        (reader.info().color_matrix, reader.info().color_range),
        (ColorMatrix::Bt601, ColorRange::Limited)
    );
    assert_eq!(probe(&path, "v:0", "color_space"), "smpte170m");
    let (mut frame, mut count) = (Vec::new(), 0);
    while reader.next_frame(&mut frame).unwrap() {
        let middle = &frame[(SIZE / 2 * SIZE + SIZE / 2) * 3..][..3];
        let close = middle.iter().zip([colour(count), 60, 200]).all(|(a, b)| a.abs_diff(b) <= 6);
        assert!(close, "frame {count}: {middle:?}");
        count += 1;
    }
    assert_eq!(count, 25);
    let speech = decode_all(&path, &SpeechLimits::default()).unwrap();
    let level = (speech.at_48k.iter().map(|sample| sample * sample).sum::<f32>() / 48_000.0).sqrt();
    assert!((level - 0.354).abs() < 0.02, "{level}");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let files = Files::new();
    let bytes = |name: &str, codec| {
        let path = files.path(name);
        write(&path, (25, 1), 30_000, codec).unwrap();
        std::fs::read(path).unwrap()
    };
    for codec in [AudioTrackCodec::Aac, AudioTrackCodec::Opus] {
        assert!(bytes("a.mp4", codec) == bytes("b.mp4", codec), "{codec:?}");
    }
}

#[test]
fn nothing_is_left_behind_and_an_old_file_stays_until_the_new_one_is_whole() {
    let files = Files::new();
    let path = files.write("old.mp4", b"the old file");
    let config = VideoConfig { width: SIZE, height: SIZE, fps: (25, 1), bitrate: 500_000 };
    let mut writer = Mp4Writer::create(&path, config, AudioTrackCodec::Aac).unwrap();
    writer.write_audio(&[0.0; 48_000]).unwrap();
    let message = writer.finish().unwrap_err().to_string();
    assert!(message.contains("0 pictures for 48000 samples: 25 are needed"), "{message}");
    drop(Mp4Writer::create(&path, config, AudioTrackCodec::Aac).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), b"the old file");
    write(&path, (25, 1), 4_800, AudioTrackCodec::Aac).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), b"the old file");
    let names: Vec<_> =
        std::fs::read_dir(files.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["old.mp4"]);
}

#[test]
fn what_cannot_be_written_is_said_at_once() {
    let files = Files::new();
    let config = VideoConfig { width: SIZE, height: SIZE, fps: (25, 1), bitrate: 500_000 };
    let nowhere = files.path("no/such/folder/out.mp4");
    assert!(matches!(Mp4Writer::create(&nowhere, config, AudioTrackCodec::Aac), Err(MediaError::Io { .. })));
    let odd = VideoConfig { width: 63, ..config };
    let error = Mp4Writer::create(&files.path("a.mp4"), odd, AudioTrackCodec::Aac).err().unwrap();
    assert!(error.to_string().contains("63x64"), "{error}");
}
