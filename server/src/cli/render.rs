//! `lipcast render`: an avatar and speech in, an mp4 out, through the same pipeline as live and without its clock.
//!
//! The same input gives the same file.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lipcast_codecs::VideoConfig;
use lipcast_engine::avatar::AvatarId;
use lipcast_engine::media::{AudioTrackCodec, Mp4Writer};
use lipcast_engine::session::offline;

use super::opening::{Opening, choose, keep_only};
use super::{CliError, failed, load, progress};

/// Bits per second and pixel area of a picture that is meant to be kept: more than live video gets.
const BITS_PER_PIXEL: f64 = 0.3;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Whom to show; without it, the built-in avatar.
    #[arg(long)]
    avatar: Option<AvatarId>,
    /// What is said: wav, mp3, m4a, flac, ogg, opus; without it, the built-in clip.
    #[arg(long, value_name = "FILE")]
    audio: Option<PathBuf>,
    /// The file to write.
    #[arg(long, short, value_name = "FILE", default_value = "out.mp4")]
    output: PathBuf,
    /// The backend that moves the lips; without it, the first in order of preference that is ready.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// How the sound is kept.
    #[arg(long, value_enum, default_value = "aac")]
    audio_codec: AudioCodec,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AudioCodec {
    /// Plays everywhere.
    Aac,
    /// Better at the same size; some players refuse it in an mp4.
    Opus,
}

pub(super) fn run(settings: Option<&Path>, arguments: Arguments) -> Result<(), CliError> {
    let mut config = load(settings)?;
    if let Some(speech) = &arguments.audio
        && is_same(speech, &arguments.output)
    {
        let name = arguments.output.display();
        return Err(CliError::Failed(format!("--output {name} is the speech itself; name another file")));
    }
    if let Some(name) = &arguments.backend {
        keep_only(&mut config.engine.backends, name)?;
    }
    let Opening { stages, avatar, mut speech } =
        Opening::of(&config, arguments.avatar.as_ref(), arguments.audio.as_deref())?;
    let stage = choose(&stages, &avatar, arguments.backend.as_deref())?;

    let (fps, (width, height)) = (avatar.fps(), avatar.size());
    let bitrate = (width as f64 * height as f64 * fps.as_f64() * BITS_PER_PIXEL) as u32;
    let video = VideoConfig { width, height, fps: (fps.num(), fps.den()), bitrate };
    let codec = match arguments.audio_codec {
        AudioCodec::Aac => AudioTrackCodec::Aac,
        AudioCodec::Opus => AudioTrackCodec::Opus,
    };
    let backend = stage.instance.name().to_owned();
    let mut writer = Mp4Writer::create(&arguments.output, video, codec).map_err(failed)?;
    let seconds = speech.info().seconds;
    let bar = progress::bar(seconds.map_or(0, |seconds| (seconds * fps.as_f64()).ceil() as u64));
    bar.set_message("rendering");
    let (mut sound, mut written) = (Vec::new(), 0);
    let samples = offline::render(stage, fps, &mut speech, |unit| {
        bar.inc(1);
        sound.extend_from_slice(&unit.pcm_48k);
        // Everything but a second, so that what lies beyond the end of the speech can still be cut off.
        let settled = sound.len().saturating_sub(48_000);
        writer.write_video(unit.picture.as_view())?;
        writer.write_audio(&sound[..settled])?;
        sound.drain(..settled);
        written += settled as u64;
        Ok::<_, lipcast_engine::media::MediaError>(())
    })
    .map_err(failed)?;
    bar.finish_and_clear();
    sound.truncate(samples.saturating_sub(written) as usize);
    writer.write_audio(&sound).map_err(failed)?;
    let summary = writer.finish().map_err(failed)?;
    println!(
        "{}: {} on {backend}, {} frames, {:.2} s, {:.1} MB",
        arguments.output.display(),
        avatar.id(),
        summary.frames,
        summary.seconds,
        summary.bytes as f64 / 1e6
    );
    Ok(())
}

/// Whether both names are of one file.
fn is_same(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((place(a), place(b)), (Ok(a), Ok(b)) if a == b)
}
