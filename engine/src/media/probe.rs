//! What `ffprobe` tells of a file, before anything of it is decoded.

use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;

use super::child::{Child, ChildError, ChildLimits, input_argument, reader_arguments};

/// Longest answer that is read; a usual one has 3 KB.
const MOST_BYTES: usize = 4 << 20;

/// Streams and container of one file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Probe {
    pub(crate) streams: Vec<Stream>,
    pub(crate) format: Format,
}

/// One stream, in ffprobe's own words; absent fields are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stream {
    pub(crate) codec_type: String,
    pub(crate) codec_name: String,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pix_fmt: String,
    pub(crate) color_space: String,
    pub(crate) color_range: String,
    pub(crate) sample_aspect_ratio: String,
    pub(crate) r_frame_rate: String,
    pub(crate) avg_frame_rate: String,
    pub(crate) nb_frames: String,
    pub(crate) duration: String,
    pub(crate) sample_rate: String,
    pub(crate) channels: usize,
    pub(crate) side_data_list: Vec<SideData>,
    pub(crate) tags: Tags,
    pub(crate) disposition: Disposition,
}

/// The container.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Format {
    pub(crate) format_name: String,
    pub(crate) duration: String,
}

/// Where newer files keep their rotation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SideData {
    pub(crate) rotation: Option<f64>,
}

/// Where older files keep it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tags {
    pub(crate) rotate: Option<String>,
}

/// Cover art is a video stream too, but not one to watch.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Disposition {
    pub(crate) attached_pic: u8,
}

impl Probe {
    /// Asks `ffprobe` about `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, ChildError> {
        let mut arguments: Vec<OsString> =
            reader_arguments().into_iter().filter(|argument| argument != "-nostdin").collect();
        arguments.extend(["-of", "json", "-show_streams", "-show_format", "-i"].map(OsString::from));
        arguments.push(input_argument(path));
        let limits = ChildLimits { processor: 60, ..ChildLimits::default() };
        let mut child = Child::start("ffprobe", &arguments, path, limits)?;
        let answer = child.read_all(MOST_BYTES)?;
        child.finish()?;
        serde_json::from_slice(&answer).map_err(|error| ChildError::Failed {
            program: "ffprobe",
            detail: format!("its answer cannot be read ({error})"),
        })
    }

    /// The first video stream that is not cover art.
    pub(crate) fn video(&self) -> Option<(usize, &Stream)> {
        self.streams
            .iter()
            .enumerate()
            .find(|(_, stream)| stream.codec_type == "video" && stream.disposition.attached_pic == 0)
    }

    /// The first audio stream.
    pub(crate) fn audio(&self) -> Option<(usize, &Stream)> {
        self.streams.iter().enumerate().find(|(_, stream)| stream.codec_type == "audio")
    }

    /// The streams in words: "audio (aac), subtitle (mov_text)".
    pub(crate) fn describe(&self) -> String {
        if self.streams.is_empty() {
            return "no streams".to_owned();
        }
        let words =
            self.streams.iter().map(|stream| format!("{} ({})", stream.codec_type, stream.codec_name));
        words.collect::<Vec<_>>().join(", ")
    }
}

impl Stream {
    /// Quarter turns clockwise that a player makes before showing, 0 to 3; `None` for an angle in between.
    pub(crate) fn quarter_turns(&self) -> Option<u8> {
        let counter_clockwise = self.side_data_list.iter().find_map(|side| side.rotation);
        let tagged = self.tags.rotate.as_deref().and_then(|angle| angle.parse::<f64>().ok());
        let clockwise = counter_clockwise.map(|angle| -angle).or(tagged).unwrap_or(0.0).rem_euclid(360.0);
        let turns = (clockwise / 90.0).round();
        ((clockwise - turns * 90.0).abs() < 1.0).then_some(turns as u8 % 4)
    }
}

/// Reads "25/1"; `None` for "0/0" and the like.
pub(crate) fn ratio(text: &str, separator: char) -> Option<f64> {
    let (over, under) = text.split_once(separator)?;
    let value = over.parse::<f64>().ok()? / under.parse::<f64>().ok()?;
    (value.is_finite() && value > 0.0).then_some(value)
}
