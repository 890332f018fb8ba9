//! From speech to the tokens of a frame: G10 to G16.

use super::super::compare::{largest, unequal};
use super::super::sheet::Unit;
use super::super::{FEW, ParityError};
use super::Show;
use crate::audio::{
    MelWindow, PositionCode, ROW_VALUES, SEGMENT_COLUMNS, TOKEN_VALUES, WholeFile, Windows, filter_bank,
};
use crate::networks::{FEATURES, MELS, Network, Networks, Tensor};

/// The frames whose tokens are kept; the first two are drawn, the last hears past the end.
const HEARD: [u64; 3] = [0, 26, 29];
/// Every so-manieth token of a frame is kept.
const TOKENS: usize = 7;
/// Every so-manieth row of the features is kept, as many as there are.
const ROWS: usize = 6;

/// The tokens of the two frames that are drawn, `[2, 50, 384]`, where there is an encoder.
pub(super) fn compare<N: Networks>(show: &mut Show<'_, '_, N>) -> Result<Option<Tensor>, ParityError> {
    bank(show)?;
    windows(show)?;
    let code = kept_tokens(PositionCode::new().table());
    let golden = show.golden.floats("G16.positions")?;
    show.point("G16.positions", &golden.shape, largest(&code, &golden.data), Unit::Absolute, 1e-6)?;

    let (_, levels) = show.golden.whole("G10.waveform")?;
    let pcm = levels.iter().map(|&level| level as f32 / 32768.0).collect();
    let file = Windows::reference((25, 1)).and_then(|windows| WholeFile::new(windows, pcm));
    let mut file = match file {
        Ok(file) => file,
        Err(error) => return show.broken("G12.mel", error.to_string()),
    };
    let Some(MelWindow { id, columns, mel }) = file.needs(0) else {
        return show.broken("G12.mel", "nothing is to be encoded".to_owned());
    };
    let mel = Tensor::new([1, MELS, columns], mel.to_vec());
    self::mel(show, &mel)?;

    let Some(features) = show.run("G13.features", Network::WhisperEncoder, &[mel])? else { return Ok(None) };
    let rule = show.rule(Network::WhisperEncoder);
    let golden = show.golden.floats("G13.features")?;
    let rows = features[0].data.chunks_exact(ROW_VALUES).step_by(ROWS).take(golden.shape[0]);
    let rows = Tensor::new(golden.shape.clone(), rows.flatten().copied().collect());
    show.values("G13.features", rule, &rows)?;

    let mut tokens = vec![0.0; HEARD.len() * TOKEN_VALUES];
    let mut heard = file.supply(id, &features[0].data);
    for (frame, tokens) in HEARD.into_iter().zip(tokens.chunks_exact_mut(TOKEN_VALUES)) {
        heard = heard.and_then(|()| file.tokens(frame, tokens));
    }
    if let Err(error) = heard {
        return show.broken("G15.chunks", error.to_string());
    }
    let kept: Vec<f32> = tokens.chunks_exact(TOKEN_VALUES).flat_map(kept_tokens).collect();
    let kept = Tensor::new([HEARD.len(), kept.len() / HEARD.len() / FEATURES, FEATURES], kept);
    show.values("G15.chunks", rule.at("G15"), &kept)?;
    tokens.truncate(2 * TOKEN_VALUES);
    Ok(Some(Tensor::new([2, TOKEN_VALUES / FEATURES, FEATURES], tokens)))
}

/// The filter bank: which cells have a weight, and which.
fn bank<N: Networks>(show: &mut Show<'_, '_, N>) -> Result<(), ParityError> {
    let bank = filter_bank();
    let cells = || (0..bank.len()).filter(|&at| bank[at] != 0.0);
    let places: Vec<i32> = cells().flat_map(|at| [(at / MELS) as i32, (at % MELS) as i32]).collect();
    show.whole("G11.cells", &places, 0.0)?;
    let golden = show.golden.doubles("G11.values")?;
    let same = cells().count() == golden.len();
    let worst = cells().zip(&golden).map(|(at, golden)| (bank[at] - golden).abs()).fold(0.0, f64::max);
    let worst = if same { worst } else { f64::NAN };
    show.point("G11.values", &[golden.len()], worst, Unit::Absolute, 1e-12)
}

fn mel<N: Networks>(show: &mut Show<'_, '_, N>, mel: &Tensor) -> Result<(), ParityError> {
    let golden = show.golden.floats("G12.mel")?;
    let heard = *golden.shape.last().unwrap_or(&0);
    let rows = || mel.data.chunks_exact(SEGMENT_COLUMNS);
    if mel.shape != [1, MELS, SEGMENT_COLUMNS] || heard > SEGMENT_COLUMNS {
        return show.broken::<()>("G12.mel", format!("a mel of {:?}", mel.shape)).map(drop);
    }
    let found: Vec<f32> = rows().flat_map(|row| &row[..heard]).copied().collect();
    // The reference's own transform is of single precision: in a quiet band beside loud ones a few of its
    // values are further off, from ours as from any exact one.
    let differs = |(found, golden): (&f32, &f32)| (found - golden).abs() > 2e-5;
    let few = found.iter().zip(&golden.data).filter(|pair| differs(*pair)).count() as f64;
    let share = few / found.len().max(1) as f64;
    show.point("G12.mel, beyond 2e-5", &golden.shape, share, Unit::Unequal, FEW)?;
    show.point("G12.mel", &golden.shape, largest(&found, &golden.data), Unit::Absolute, 1e-4)?;
    let [rest] = show.golden.floats("G12.rest")?.data[..] else {
        return Err(show.golden.unusable("G12.rest is not one value".to_owned()));
    };
    let silence: Vec<f32> = rows().flat_map(|row| &row[heard..]).copied().collect();
    let worst = largest(&silence, &vec![rest; silence.len()]);
    show.point("G12.rest", &[MELS, SEGMENT_COLUMNS - heard], worst, Unit::Absolute, 2e-5)
}

/// Which rows a frame hears, and how many rows and frames there are, at the reference's rates and lengths.
fn windows<N: Networks>(show: &mut Show<'_, '_, N>) -> Result<(), ParityError> {
    let (_, levels) = show.golden.whole("G10.waveform")?;
    let samples = levels.len() as u64;
    for (name, fps) in [
        ("12", (12, 1)),
        ("20", (20, 1)),
        ("24", (24, 1)),
        ("25", (25, 1)),
        ("29.97", (2997, 100)),
        ("30", (30, 1)),
    ] {
        let key = format!("G14.rows.{name}");
        match Windows::reference(fps) {
            Ok(windows) => {
                let rows = windows.rows(samples);
                let first = |frame| windows.first_row_of(frame, rows) as i32;
                let found: Vec<i32> = (0..windows.frames(samples)).map(first).collect();
                show.whole(&key, &found, 0.0)?;
            }
            Err(error) => drop(show.broken::<()>(&key, error.to_string())?),
        }
    }
    let (shape, golden) = show.golden.whole("G14.counts")?;
    let mut found = Vec::new();
    for &[samples, fps, ..] in golden.as_chunks::<4>().0 {
        let windows = Windows::reference((fps.unsigned_abs(), 100));
        let counts = windows.map_or([-1; 2], |windows| {
            let samples = samples.unsigned_abs().into();
            [windows.rows(samples) as i32, windows.frames(samples) as i32]
        });
        found.extend([samples, fps, counts[0], counts[1]]);
    }
    show.point("G14.counts", &shape, unequal(&found, &golden), Unit::Unequal, 0.0)
}

/// The tokens of one frame that are kept.
fn kept_tokens(tokens: &[f32]) -> Vec<f32> {
    tokens.chunks_exact(FEATURES).step_by(TOKENS).flatten().copied().collect()
}
