//! A/V sync at the receiver: the probe flashes the frame in which it hears a click, and a client sets flash against
//! click. The whole path is in it: host, compose, encode, network, and in the browser its player.

use std::path::Path;

use lipcast_engine::audio::wav;
use serde_json::Value;

use super::rig::{Client, Rig, RigError};

/// Clicks per measurement are one a second; players need some seconds to settle, so counting begins here.
pub const FROM_SECOND: u32 = 15;

/// What one client measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Sync {
    /// Pairs of a flash and a click from [`FROM_SECOND`] on.
    pub pairs: usize,
    /// Mean of sound after picture, milliseconds; negative: the sound comes first.
    pub mean_ms: f64,
    /// Largest absolute value, milliseconds.
    pub worst_ms: f64,
}

/// Measures for `seconds` (more than [`FROM_SECOND`]), with the flash `late_frames` too late on purpose.
///
/// # Errors
/// When the server or the client does not run, or no pair was found.
pub fn measure(
    program: &Path,
    root: &Path,
    client: Client,
    seconds: u32,
    late_frames: u32,
) -> Result<Sync, RigError> {
    let settings = format!(
        "[engine]\nbackends = [\"probe\"]\n[backend.probe]\nlibrary = \"liblipcast_probe.so\"\nrequired = true\n\
         [backend.probe.config]\nmode = \"flash\"\nlate_frames = {late_frames}\n"
    );
    let rig = Rig::start(program, &settings, &[("clicks.wav", &clicks(seconds + 5))])?;
    wait_ready(&rig)?;
    let seconds = seconds.to_string();
    let start = "audio_path=clicks.wav";
    let report =
        client.watch(root, &rig, &["--seconds", &seconds, "--start", start, "--measure", "flash"])?;
    Sync::read(&report).ok_or_else(|| RigError::Measure {
        client: "the client",
        message: format!("no pair of flash and click after second {FROM_SECOND}: {report}"),
    })
}

impl Sync {
    fn read(report: &Value) -> Option<Self> {
        let pairs = report["sync"]["pairs"].as_array()?;
        let late: Vec<f64> = pairs
            .iter()
            .filter(|pair| pair[0].as_f64().is_some_and(|second| second >= f64::from(FROM_SECOND)))
            .filter_map(|pair| pair[1].as_f64())
            .collect();
        if late.is_empty() {
            return None;
        }
        let worst_ms = late.iter().fold(0.0, |worst: f64, late| worst.max(late.abs()));
        Some(Self { pairs: late.len(), mean_ms: late.iter().sum::<f64>() / late.len() as f64, worst_ms })
    }
}

/// A 16 kHz mono wav with a click of 2 ms at every full second, which is the start of a frame at 25 fps.
pub fn clicks(seconds: u32) -> Vec<u8> {
    const RATE: u32 = 16_000;
    let samples = (0..seconds * RATE).map(|index| {
        let place = index % RATE;
        // Second 0 stays quiet: the first frames are on their way while the viewer connects.
        let loud = index >= RATE && place < 32;
        if loud { if place % 8 < 4 { 28_000i16 } else { -28_000 } } else { 0 }
    });
    wav::pcm_16(RATE, 1, &samples.collect::<Vec<_>>())
}

/// Waits until the required backend serves; the server ends by itself when it cannot.
fn wait_ready(rig: &Rig) -> Result<(), RigError> {
    for _ in 0..100 {
        if rig.log().contains("ready backend=\"probe\"") {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(RigError::Server(format!("the probe did not become ready: {}", rig.log())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settled_pairs_count() {
        let report = serde_json::json!({"sync": {"pairs": [[3, 200.0], [15, 10.0], [20, -30.0]]}});
        let sync = Sync::read(&report).unwrap();
        assert_eq!((sync.pairs, sync.mean_ms, sync.worst_ms), (2, -10.0, 30.0));
        assert_eq!(Sync::read(&serde_json::json!({"sync": {"pairs": [[3, 1.0]]}})), None);
    }

    #[test]
    fn clicks_begin_with_full_seconds() {
        let wav = clicks(3);
        let sample = |index: usize| i16::from_le_bytes([wav[44 + index * 2], wav[45 + index * 2]]);
        assert_eq!((sample(0), sample(15_999), sample(16_000), sample(16_032)), (0, 0, 28_000, 0));
        assert_eq!(wav.len(), 44 + 3 * 32_000);
    }
}
