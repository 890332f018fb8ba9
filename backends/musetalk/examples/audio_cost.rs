//! What the audio of a live session costs the CPU, the encoder left out.
//!
//! Plays ten minutes of noise at 25 frames a second, as a server does, and tells the time per video frame:
//! pushing (mel columns), asking for windows, taking features, cutting tokens. The encoder's place is taken
//! by a slice of zeros.
//!
//! ```text
//! cargo run --release -p lipcast-musetalk --example audio_cost
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use lipcast_musetalk::audio::{Hearing, LOOKAHEAD_MS, MelWindow, ROW_VALUES, SpeechStream, TOKEN_VALUES};
use lipcast_musetalk::settings::Settings;

/// Ten minutes.
const FRAMES: u64 = 15_000;
/// Samples of a frame.
const FRAME: usize = 640;

fn main() -> Result<(), Box<dyn Error>> {
    let mut noise = 1u32;
    let mut sample = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.3 * ((noise >> 8) as f32 / 8_388_608.0 - 1.0)
    };
    let pcm: Vec<f32> = (0..FRAME).map(|_| sample()).collect();
    let mut stream = SpeechStream::new(&Hearing::new((25, 1), &Settings::default()))?;
    let ahead = u64::from(LOOKAHEAD_MS).div_ceil(40);
    for frame in 0..ahead {
        stream.push(frame * FRAME as u64, &pcm, false)?;
    }
    let (features, mut tokens) = (vec![0.0; 1_500 * ROW_VALUES], vec![0.0; TOKEN_VALUES]);
    let mut spent = [Duration::ZERO; 4];
    for frame in 0..FRAMES {
        let mut clock = Instant::now();
        let mut lap = |step: usize| {
            spent[step] += clock.elapsed();
            clock = Instant::now();
        };
        stream.push((frame + ahead) * FRAME as u64, &pcm, false)?;
        lap(0);
        let window = stream.needs(frame)?.map(|MelWindow { id, columns, .. }| (id, columns));
        lap(1);
        if let Some((id, columns)) = window {
            stream.supply(id, &features[..columns / 2 * ROW_VALUES])?;
        }
        lap(2);
        stream.tokens(frame, &mut tokens)?;
        lap(3);
    }
    for (step, spent) in ["push", "needs", "supply", "tokens"].iter().zip(spent) {
        println!("{step:>6} {:6.2} µs per frame", spent.as_secs_f64() * 1e6 / FRAMES as f64);
    }
    let all: Duration = spent.iter().sum();
    println!(
        "   all {:6.2} µs per frame, {} KiB",
        all.as_secs_f64() * 1e6 / FRAMES as f64,
        stream.bytes() / 1024
    );
    Ok(())
}
