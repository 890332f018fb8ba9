//! The built-in speech clip: what the built-in avatar says when nobody gave it anything else.

/// The clip as a file: Ogg Opus, mono, 48 kHz, about 12 s, about −19 LUFS, 0.2 s of silence at both ends.
///
/// A synthetic woman's voice says, in English: "Hello, and welcome! My name is Linh. A small program paints me,
/// and moves my lips to match this voice, frame by frame. Choose another face, or bring your own words,
/// and I will speak them, live." `tools/make_speech_clip.sh` makes the file and names the voice's licence.
pub const CLIP: &[u8] = include_bytes!("assets/welcome.ogg");

/// A file name that says what the clip holds.
pub const FILE_NAME: &str = "welcome.ogg";
