//! Videos: formats, rotation, rates, colours, limits, and files that are no videos.

use std::path::Path;

use lipcast_engine::media::{ColorMatrix, ColorRange, MediaError, VideoInfo, VideoLimits, VideoReader};

use crate::support::{Files, ffmpeg};

fn read(path: &Path) -> Result<(VideoInfo, Vec<Vec<u8>>), MediaError> {
    let mut reader = VideoReader::open(path, &VideoLimits::default())?;
    let (mut frames, mut frame) = (Vec::new(), Vec::new());
    while reader.next_frame(&mut frame)? {
        frames.push(frame.clone());
    }
    Ok((reader.info().clone(), frames))
}

fn pixel(info: &VideoInfo, frame: &[u8], x: usize, y: usize) -> [u8; 3] {
    let at = (y * info.width + x) * 3;
    [frame[at], frame[at + 1], frame[at + 2]]
}

fn near(a: [u8; 3], b: [u8; 3], tolerance: u8) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= tolerance)
}

#[test]
fn the_usual_formats_give_every_frame_at_the_right_size() {
    let files = Files::new();
    let source = "-f lavfi -i testsrc2=s=160x120:r=25:d=1";
    for (name, codec, encode) in [
        ("a.mp4", "h264", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"),
        ("b.mp4", "hevc", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p"),
        ("c.webm", "vp8", "-c:v libvpx -deadline realtime -cpu-used 8"),
        ("d.webm", "vp9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ("e.mov", "mpeg4", "-c:v mpeg4 -q:v 3"),
        ("f.mkv", "h264", "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv422p"),
    ] {
        let path = files.ffmpeg(name, &format!("{source} {encode}"));
        let (info, frames) = read(&path).unwrap();
        assert_eq!((info.width, info.height, info.codec.as_str()), (160, 120, codec), "{name}");
        assert_eq!((info.fps.num(), info.fps.den()), (25, 1), "{name}");
        assert_eq!(frames.len(), 25, "{name}");
        assert_eq!(info.frame_count, Some(25), "{name}");
        assert!(frames.iter().all(|frame| frame.len() == 160 * 120 * 3), "{name}");
        assert_ne!(frames[0], frames[24], "{name}: the pattern moves");
    }
}

#[test]
fn a_slide_show_is_played_at_a_rate_at_which_lips_can_speak() {
    let files = Files::new();
    let source = "-f lavfi -i testsrc2=s=160x120:r=1:d=2";
    let path =
        files.ffmpeg("slides.mp4", &format!("{source} -c:v libx264 -preset ultrafast -pix_fmt yuv420p"));
    let (info, frames) = read(&path).unwrap();
    assert_eq!((info.fps.num(), info.fps.den(), frames.len()), (25, 1, 50));
}

#[test]
fn rotation_in_the_container_is_honoured() {
    let files = Files::new();
    // Left half red, right half blue, 160 wide.
    let upright = files.ffmpeg(
        "upright.mp4",
        "-f lavfi -i color=red:s=80x96:r=25:d=0.2 -f lavfi -i color=blue:s=80x96:r=25:d=0.2 \
         -filter_complex hstack -c:v libx264 -qp 1 -pix_fmt yuv420p",
    );
    // What phones write for a quarter turn clockwise: (x, y) goes to (-y, x).
    let mut bytes = std::fs::read(&upright).unwrap();
    let header = bytes.windows(4).position(|window| window == b"tkhd").unwrap();
    for (index, entry) in [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30_i32].into_iter().enumerate() {
        bytes[header + 44 + index * 4..][..4].copy_from_slice(&i32::to_be_bytes(entry));
    }
    let turned = files.write("turned.mov", &bytes);
    let (info, frames) = read(&turned).unwrap();
    assert_eq!((info.width, info.height), (96, 160));
    let (top, bottom) = (pixel(&info, &frames[0], 48, 20), pixel(&info, &frames[0], 48, 140));
    assert!(near(top, [254, 0, 0], 6) && near(bottom, [0, 0, 254], 6), "{top:?} over {bottom:?}");
}

#[test]
fn a_variable_rate_becomes_constant_and_keeps_its_duration() {
    let files = Files::new();
    // Frames at irregular times within two seconds of 30 fps.
    let path = files.path("vfr.mp4");
    let filter = "select='not(eq(mod(n,7),3))'";
    ffmpeg(
        [
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=64x64:r=30:d=2",
            "-vf",
            filter,
            "-vsync",
            "vfr",
            "-c:v",
            "libx264",
            "-pix_fmt",
            "yuv420p",
        ],
        &path,
    );
    let (info, frames) = read(&path).unwrap();
    let seconds = frames.len() as f64 / info.fps.as_f64();
    assert!((seconds - 2.0).abs() < 0.08, "{seconds} s at {:?}", info.fps);
}

#[test]
fn broadcast_rates_stay_exact_and_fast_ones_are_thinned_out() {
    let files = Files::new();
    let encode = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    let ntsc = files.ffmpeg("ntsc.mp4", &format!("-f lavfi -i testsrc2=s=64x64:r=30000/1001:d=1 {encode}"));
    let (info, frames) = read(&ntsc).unwrap();
    assert_eq!((info.fps.num(), info.fps.den(), frames.len()), (30_000, 1001, 30));
    let fast = files.ffmpeg("fast.mp4", &format!("-f lavfi -i testsrc2=s=64x64:r=120:d=1 {encode}"));
    let (info, frames) = read(&fast).unwrap();
    assert_eq!((info.fps.num(), info.fps.den(), frames.len()), (60, 1, 60));
}

#[test]
fn odd_sizes_are_cropped_to_even_and_wide_pixels_become_square() {
    let files = Files::new();
    let odd =
        files.ffmpeg("odd.mp4", "-f lavfi -i testsrc2=s=101x67:r=25:d=0.2 -c:v libx264 -pix_fmt yuv444p");
    let (info, frames) = read(&odd).unwrap();
    assert_eq!((info.width, info.height, frames.len()), (100, 66, 5));
    let wide = files.ffmpeg(
        "wide.mp4",
        "-f lavfi -i testsrc2=s=96x64:r=25:d=0.2 -vf setsar=4/3 -c:v libx264 -pix_fmt yuv420p",
    );
    let (info, frames) = read(&wide).unwrap();
    assert_eq!((info.width, info.height), (128, 64));
    assert_eq!(frames[0].len(), 128 * 64 * 3);
}

/// Twelve flat patches; the truth is RGB, whatever the file's matrix and range.
const CHART: [[u8; 3]; 12] = [
    [255, 255, 255],
    [0, 0, 0],
    [128, 128, 128],
    [235, 64, 52],
    [40, 180, 60],
    [30, 60, 200],
    [255, 219, 172],
    [141, 85, 36],
    [198, 134, 66],
    [250, 240, 20],
    [20, 220, 230],
    [200, 30, 190],
];
const PATCH: usize = 32;

#[test]
fn a_colour_chart_comes_out_right_for_each_matrix_and_range() {
    let files = Files::new();
    let (columns, rows) = (4, 3);
    let (width, height) = (columns * PATCH, rows * PATCH);
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            rgb.extend(CHART[(y / PATCH) * columns + x / PATCH]);
        }
    }
    let raw = files.write("chart.rgb", &rgb);
    let size = format!("{width}x{height}");
    for (space, matrix) in [("bt709", ColorMatrix::Bt709), ("smpte170m", ColorMatrix::Bt601)] {
        for (level, range) in [("tv", ColorRange::Limited), ("pc", ColorRange::Full)] {
            let target = files.path(&format!("{space}-{level}.mp4"));
            let filter = format!(
                "scale=in_range=pc:out_color_matrix={space}:out_range={level}:flags=accurate_rnd+full_chroma_int,\
                 format=yuv444p"
            );
            ffmpeg(
                [
                    "-f",
                    "rawvideo",
                    "-pix_fmt",
                    "rgb24",
                    "-s",
                    &size,
                    "-i",
                    raw.to_str().unwrap(),
                    "-vf",
                    &filter,
                    "-c:v",
                    "libx264",
                    "-qp",
                    "2",
                    "-colorspace",
                    space,
                    "-color_range",
                    level,
                ],
                &target,
            );
            let (info, frames) = read(&target).unwrap();
            assert_eq!((info.color_matrix, info.color_range), (matrix, range));
            for (index, truth) in CHART.into_iter().enumerate() {
                let (x, y) = (index % columns * PATCH + PATCH / 2, index / columns * PATCH + PATCH / 2);
                let got = pixel(&info, &frames[0], x, y);
                assert!(near(got, truth, 3), "{space} {level}: patch {index} is {got:?}, not {truth:?}");
            }
        }
    }
}

#[test]
fn untagged_video_is_guessed_by_its_height_as_browsers_do() {
    let files = Files::new();
    for (size, expected) in [("640x480", ColorMatrix::Bt601), ("1280x720", ColorMatrix::Bt709)] {
        let arguments = format!("-f lavfi -i testsrc2=s={size}:r=5:d=0.2 -c:v mpeg4 -q:v 5");
        let path = files.ffmpeg(&format!("{size}.mp4"), &arguments);
        let reader = VideoReader::open(&path, &VideoLimits::default()).unwrap();
        assert_eq!(reader.info().color_matrix, expected, "{size}");
        assert_eq!(reader.info().color_range, ColorRange::Limited, "{size}");
    }
}

#[test]
fn transparency_is_laid_on_white() {
    let files = Files::new();
    let path = files.ffmpeg(
        "alpha.mov",
        "-f lavfi -i color=red@0.5:s=32x32:r=5:d=0.4,format=rgba -c:v qtrle -pix_fmt argb",
    );
    let (info, frames) = read(&path).unwrap();
    let got = pixel(&info, &frames[0], 16, 16);
    assert!(near(got, [255, 128, 128], 3), "{got:?}");
}

#[test]
fn files_that_are_no_videos_are_refused_by_name() {
    let files = Files::new();
    let text = files.write("notes.txt", "a shopping list ".repeat(50).as_bytes());
    let audio = files.ffmpeg("speech.wav", "-f lavfi -i sine=d=0.2");
    for (path, expected) in [
        (files.path("nowhere.mp4"), "nowhere.mp4: no such file"),
        (files.write("empty.mp4", b""), "empty.mp4 is empty"),
        (text, "notes.txt is not a video"),
        (audio, "speech.wav has no video: it holds audio (pcm_s16le)"),
    ] {
        let message = VideoReader::open(&path, &VideoLimits::default()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains(path.parent().unwrap().to_str().unwrap()), "no folder in: {message}");
    }
}

#[test]
fn a_truncated_file_gives_the_frames_it_has_or_an_error() {
    let files = Files::new();
    let encode = "-f lavfi -i testsrc2=s=160x120:r=25:d=2 -c:v libx264 -pix_fmt yuv420p";
    let tail = std::fs::read(files.ffmpeg("tail.mp4", encode)).unwrap();
    let cut = files.write("cut.mp4", &tail[..tail.len() / 2]);
    let message = VideoReader::open(&cut, &VideoLimits::default()).unwrap_err().to_string();
    assert!(message.contains("cut.mp4 is not a video") && message.contains("moov"), "{message}");
    let front = std::fs::read(files.ffmpeg("front.mp4", &format!("{encode} -movflags +faststart"))).unwrap();
    let cut = files.write("half.mp4", &front[..front.len() / 2]);
    let (info, frames) = read(&cut).unwrap();
    assert!((1..40).contains(&frames.len()), "{} frames", frames.len());
    assert_eq!(info.declared_frames, Some(50));
}

/// Rates that change, edit lists and containers that count nothing must not make a whole file look cut.
#[test]
fn a_whole_file_gives_as_many_frames_as_it_declares() {
    let files = Files::new();
    let encode = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    let made = |name, rate: u32, filter: &str| {
        let source = format!("-f lavfi -i testsrc2=s=160x120:r={rate}:d=2");
        files.ffmpeg(name, &format!("{source} -vf {filter} -vsync vfr {encode}"))
    };
    let plain = made("plain.mp4", 25, "null");
    let trimmed = format!("-ss 0.5 -i {} -t 1 -c copy", plain.display());
    for (path, expected) in [
        (made("fast.mp4", 120, "null"), 120),
        (made("slides.mp4", 2, "null"), 50),
        (made("varying.mp4", 30, "select=lt(n\\,20)+not(mod(n\\,3))"), 33),
        (files.ffmpeg("trimmed.mp4", &trimmed), 27),
        (files.ffmpeg("motion.avi", &format!("-i {} -c:v mpeg4", plain.display())), 50),
        (plain, 50),
    ] {
        let name = path.display();
        let (info, frames) = read(&path).unwrap();
        let declared = info.declared_frames.unwrap_or_else(|| panic!("{name} declares nothing"));
        assert!(declared.abs_diff(frames.len() as u64) <= 1, "{name}: {} of {declared}", frames.len());
        assert!(frames.len().abs_diff(expected) <= 1, "{name}: {}", frames.len());
    }
    let matroska = made("counts-nothing.mkv", 25, "null");
    assert_eq!(read(&matroska).unwrap().0.declared_frames, None);
}

#[test]
fn sizes_and_lengths_beyond_the_limits_are_refused_before_decoding() {
    let files = Files::new();
    let dot = files
        .ffmpeg("dot.mkv", "-f lavfi -i testsrc2=s=64x64:d=0.2 -vf scale=1:1 -c:v ffv1 -pix_fmt yuv444p");
    let message = VideoReader::open(&dot, &VideoLimits::default()).unwrap_err().to_string();
    assert!(message.contains("dot.mkv is 1x1 pixels; each side must be 16 to 8192"), "{message}");
    let large = files.ffmpeg("large.mp4", "-f lavfi -i color=red:s=1440x2560:r=25:d=0.04 -c:v mjpeg -q:v 20");
    let limits = VideoLimits { max_side: 2048, ..VideoLimits::default() };
    let message = VideoReader::open(&large, &limits).unwrap_err().to_string();
    assert!(message.contains("large.mp4 is 1440x2560 pixels"), "{message}");
    let mut reader = VideoReader::open(&large, &VideoLimits::default()).unwrap();
    let (info, mut frame) = (reader.info().clone(), Vec::new());
    assert_eq!(((info.width, info.height), info.source_size), ((1080, 1920), (1440, 2560)));
    assert!(reader.next_frame(&mut frame).unwrap());
    assert_eq!(frame.len(), 1080 * 1920 * 3, "scaled down, the other way up too");
    let long =
        files.ffmpeg("long.mp4", "-f lavfi -i color=red:s=32x32:r=25:d=4 -c:v libx264 -pix_fmt yuv420p");
    let limits = VideoLimits { max_frames: 50, ..VideoLimits::default() };
    let message = VideoReader::open(&long, &limits).unwrap_err().to_string();
    assert!(message.contains("long.mp4 is too long: 100 frames or more, at most 50 frames"), "{message}");
}

#[test]
fn a_playlist_cannot_reach_other_files() {
    let files = Files::new();
    let secret =
        files.ffmpeg("secret.mp4", "-f lavfi -i testsrc2=s=64x64:r=25:d=0.2 -c:v libx264 -pix_fmt yuv420p");
    let list = format!("ffconcat version 1.0\nfile '{}'\n", secret.display());
    let playlist = files.write("list.mp4", list.as_bytes());
    assert!(matches!(
        VideoReader::open(&playlist, &VideoLimits::default()),
        Err(MediaError::NotMedia { .. })
    ));
    let hls = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n";
    let playlist = files.write("list.m3u8", hls.as_bytes());
    assert!(matches!(
        VideoReader::open(&playlist, &VideoLimits::default()),
        Err(MediaError::NotMedia { .. })
    ));
}

#[test]
fn letting_go_of_a_reader_ends_its_child() {
    let files = Files::new();
    let path = files.ffmpeg("a.mp4", "-f lavfi -i testsrc2=s=320x240:r=25:d=8 -c:v libx264 -pix_fmt yuv420p");
    let mut reader = VideoReader::open(&path, &VideoLimits::default()).unwrap();
    let mut frame = Vec::new();
    assert!(reader.next_frame(&mut frame).unwrap());
    drop(reader);
    // The drop has waited for the child: no process may still have the file in its arguments.
    let needle = path.to_str().unwrap().as_bytes();
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.windows(needle.len()).any(|window| window == needle)
    });
    assert_eq!(left.count(), 0);
}
