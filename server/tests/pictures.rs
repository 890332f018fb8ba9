//! What a viewer sees, by the pixels of a browser's canvas: where the face moves and when, and which colours arrive.

mod whole;

use lipcast_engine::audio::builtin;
use lipcast_server::bench::rig::Client;
use serde_json::Value;
use whole::clips::{self, Portrait};

/// Frames per second of the built-in avatar and of all clips here.
const FPS: usize = 25;

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn rectangle([left, top, right, bottom]: [f32; 4]) -> String {
    format!("{left:.0},{top:.0},{:.0},{:.0}", right - left, bottom - top)
}

/// A second and a half of silence, three and a half of speech, and a second and a half of silence.
const SILENCE: f64 = 1.5;
const SPEECH: f64 = 3.5;

fn silence_speech_silence(folder: &std::path::Path) -> Vec<u8> {
    let (clip, target) = (folder.join(builtin::FILE_NAME), folder.join("spoken.wav"));
    std::fs::write(&clip, builtin::CLIP).unwrap();
    let filters = format!("atrim=0.2:{},adelay={}:all=1,apad=pad_dur={SILENCE}", 0.2 + SPEECH, SILENCE * 1e3);
    clips::ffmpeg_of(&clip, &format!("-af {filters}"), &target, b"");
    std::fs::read(target).unwrap()
}

/// The avatar is one still picture, so that whatever moves was moved by the backend: idle frames alone cannot pass, and
/// neither can a head that sways by itself.
#[test]
fn the_mouth_and_nothing_else_moves_and_only_while_something_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let portrait = Portrait::new();
    let still = folder.path().join("still.png");
    clips::ffmpeg(&format!("{} -frames:v 1", portrait.input()), &still, &portrait.rgb);
    let (still, spoken) = (std::fs::read(still).unwrap(), silence_speech_silence(folder.path()));
    let rig = whole::serve(whole::DEMO, &[("still.png", &still), ("spoken.wav", &spoken)]);
    whole::prepare(&rig, "still", "still.png");

    let ([left, top, right, bottom], jaw) = (portrait.around(48..68), portrait.around(0..17));
    let (across, down) = ((right - left) * 0.2, (bottom - top) * 0.5);
    let mouth = rectangle([left - across, top - down, right + across, bottom + down]);
    // From the nostrils down, and as wide as the face.
    let nose = portrait.around(31..36);
    let lower_face = rectangle([jaw[0], nose[1], jaw[2], jaw[3] + down]);
    let report = whole::watch(
        Client::Browser,
        &rig,
        &[
            "--seconds",
            "9",
            "--measure",
            "moving",
            "--mouth",
            &mouth,
            "--face",
            &lower_face,
            "--start",
            "avatar_id=still&audio_path=spoken.wav",
        ],
    );
    let (inside, outside) = (numbers(&report["moved"]["mouth"]), numbers(&report["moved"]["outside"]));
    let frame = |seconds: f64| (seconds * FPS as f64) as usize;
    let (begin, end) = (frame(SILENCE), frame(SILENCE + SPEECH));
    assert!(inside.len() > frame(2.0 * SILENCE + SPEECH) + FPS, "speech and the idle after it: {report}");
    let said = &inside[begin..end];
    let moving = said.iter().filter(|moved| **moved > 4.0).count();
    assert!(moving > said.len() / 2, "the mouth moves in {moving} of {} frames: {said:?}", said.len());
    // The mouth may take a moment to open and to close; what is left is how differently two still pictures are coded.
    for rest in [&inside[..begin - FPS / 4], &inside[end + FPS..]] {
        assert!(largest(rest) < 2.5, "the mouth rests in silence: {rest:?}");
    }
    assert!(largest(&outside) < 3.0, "the rest of the picture is still: {outside:?}");
}

/// Flat patches, two rows of eight; the truth is sRGB, whatever the file's matrix and range.
const CHART: [[u8; 3]; 16] = [
    [255, 255, 255],
    [0, 0, 0],
    [128, 128, 128],
    [64, 64, 64],
    [235, 64, 52],
    [40, 180, 60],
    [30, 60, 200],
    [250, 240, 20],
    [255, 219, 172],
    [141, 85, 36],
    [198, 134, 66],
    [20, 220, 230],
    [200, 30, 190],
    [96, 128, 56],
    [180, 90, 120],
    [60, 100, 140],
];
const PATCH: usize = 64;

/// What a source says of its colours, and what is true of them: ffmpeg's names of matrix and range.
struct Source {
    name: &'static str,
    matrix: &'static str,
    range: &'static str,
    /// The range it is tagged with; another than `range` is a lie.
    tagged: (&'static str, &'static str),
}

impl Source {
    const fn honest(name: &'static str, matrix: &'static str, range: &'static str) -> Self {
        Self { name, matrix, range, tagged: (matrix, range) }
    }

    /// The portrait with the chart below it, as a clip of a few frames.
    fn clip(&self, portrait: &Portrait, folder: &std::path::Path) -> Vec<u8> {
        let mut rgb = portrait.rgb.clone();
        for y in 0..2 * PATCH {
            let row = (0..portrait.width).flat_map(|x| CHART[y / PATCH * 8 + x / PATCH]);
            rgb.extend(row);
        }
        let target = folder.join(format!("{}.mp4", self.name));
        let Self { matrix, range, tagged, .. } = self;
        let arguments = format!(
            "-f rawvideo -pix_fmt rgb24 -s {}x{} -i pipe:0 -vf \
             loop=4:1,scale=in_range=pc:out_color_matrix={matrix}:out_range={range}:flags=accurate_rnd+full_chroma_int,\
             format=yuv420p -r {FPS} -c:v libx264 -preset ultrafast -qp 4 -colorspace {} -color_range {}",
            portrait.width,
            portrait.height + 2 * PATCH,
            tagged.0,
            tagged.1
        );
        clips::ffmpeg(&arguments, &target, &rgb);
        std::fs::read(target).unwrap()
    }
}

/// How far the worst channel of the worst patch is off in the browser, and by which patch.
fn error(report: &Value) -> (f64, String) {
    let patches = report["colours"].as_array().unwrap().iter().map(numbers);
    let errors = CHART.iter().zip(patches).map(|(truth, got)| {
        let off = got.iter().zip(truth).map(|(got, truth)| (got - f64::from(*truth)).abs());
        (largest(&off.collect::<Vec<_>>()), format!("{truth:?} came as {got:?}"))
    });
    errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// From a file of each matrix and range to the browser's canvas: read, converted, encoded, decoded, shown.
#[test]
fn colours_arrive_as_they_were_filmed() {
    let sources = [
        Source::honest("sd", "smpte170m", "tv"),
        Source::honest("sd-full", "smpte170m", "pc"),
        Source::honest("hd", "bt709", "tv"),
        Source::honest("hd-full", "bt709", "pc"),
        Source { name: "wrong", matrix: "bt709", range: "tv", tagged: ("smpte170m", "tv") },
    ];
    let (folder, portrait) = (tempfile::tempdir().unwrap(), Portrait::new());
    let clips: Vec<_> = sources
        .iter()
        .map(|source| (format!("{}.mp4", source.name), source.clip(&portrait, folder.path())))
        .collect();
    let files: Vec<_> = clips.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let rig = whole::serve(whole::DEMO, &files);
    let patches = (0..CHART.len()).map(|index| {
        let (x, y) = (index % 8 * PATCH + PATCH / 4, portrait.height + index / 8 * PATCH + PATCH / 4);
        format!("{x},{y},{0},{0}", PATCH / 2)
    });
    let patches = patches.collect::<Vec<_>>().join(";");
    let seen = |name: &str, codec: &str| {
        let (session, start) = (format!("{name}-{codec}"), format!("avatar_id={name}&audio_path="));
        let report = whole::watch(
            Client::Browser,
            &rig,
            &[
                "--seconds",
                "3",
                "--measure",
                "colours",
                "--patches",
                &patches,
                "--codec",
                codec,
                "--session",
                &session,
                "--start",
                &start,
            ],
        );
        let (error, patch) = error(&report);
        println!("{name} {codec}: {error:.1}, {patch}");
        (error, patch)
    };
    for Source { name, .. } in &sources {
        whole::prepare(&rig, name, &format!("{name}.mp4"));
        let (error, patch) = seen(name, "H264");
        assert_eq!(error < TOLERANCE, *name != "wrong", "{name} is off by {error}: {patch}");
    }
    let (error, patch) = seen("hd", "VP8");
    assert!(error < TOLERANCE, "VP8 is off by {error}: {patch}");
}

/// Levels of 255: two conversions, chroma at half the size, and two lossy encoders.
const TOLERANCE: f64 = 8.0;
