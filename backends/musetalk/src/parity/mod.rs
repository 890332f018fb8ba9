//! Check-points against golden tensors.
//!
//! In: a bundle with `golden/`, and a runtime. Out: a line for each check-point, its worst difference beside
//! its tolerance, and a last line with the worst of all. Ids like G18 are those of `tools/musetalk/README.md`.
//!
//! ```text
//! golden/<model>.safetensors     in.<port>, out.<port>: each network by itself, its batch together and one by one
//! golden/pipeline.safetensors    mel, latents → audio, latent, frames: the speaking half, step from step
//! golden/generator.safetensors   in.latents, in.audio → out.frames: UNet, decoder and rounding
//! golden/reference.safetensors   every step of the reference, re-enacted with its own libraries
//! ```
//!
//! A network's golden may hold parts of its outputs, and name its input by a formula (`golden.rs`). Where a
//! golden has no network, or a network no golden, a line says so; a bundle without any golden fails. A value
//! that is not finite is never equal to anything.

mod command;
mod compare;
mod generate;
mod golden;
mod judge;
mod made;
mod network;
mod pipeline;
mod reference;
mod sheet;

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use command::main;

use golden::Golden;
use sheet::{Sheet, Unit};

use crate::bundle::{Bundle, BundleError, Model};
use crate::networks::{Network, NetworkError, Networks};
use crate::settings::{Decoder, RuntimeSettings};

/// Share of pixels, or of labels, that may differ.
const FEW: f64 = 1e-3;
/// Mean square that half precision may be off by, over the standard deviation; the maker of bundles allows as
/// much.
const HALF: f64 = 2e-2;

/// The check-point that was nearest to its tolerance, or furthest beyond it.
#[derive(Debug, Clone, PartialEq)]
pub struct Worst {
    /// Its name; empty when there was none.
    pub point: String,
    /// Its difference over its tolerance: above 1 it failed; infinite where there was nothing to measure.
    pub of_tolerance: f64,
    /// How many check-points there were.
    pub points: usize,
    /// How many failed.
    pub failed: usize,
}

impl Worst {
    /// Whether something was compared, and all of it was within its tolerance.
    pub fn passed(&self) -> bool {
        self.points > 0 && self.failed == 0
    }
}

/// Why check-points could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ParityError {
    /// The bundle is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The networks cannot be opened.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A golden is not what it should be.
    #[error("{}: {what}", file.display())]
    Golden {
        /// The file.
        file: PathBuf,
        /// What was expected and what was found.
        what: String,
    },
    /// The lines could not be written.
    #[error("a line cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// Opens the bundle in `folder` by `N` as `settings` say, whose own `bundle` is not looked at, and compares
/// every golden that is there. Lines go to `out`.
///
/// # Errors
/// When bundle, runtime or a golden cannot be read. A check-point that fails is no error: [`Worst::passed`]
/// tells.
pub fn run<N: Networks>(
    folder: &Path,
    settings: &RuntimeSettings,
    out: &mut dyn Write,
) -> Result<Worst, ParityError> {
    let bundle = Bundle::open(folder, N::FORMAT)?.with_decoder(settings.decoder)?;
    if settings.verify {
        bundle.verify::<BundleError>(&|_, _| Ok(()))?;
    }
    let said = RefCell::new(Vec::new());
    let mut networks = N::open(&bundle, settings, &|line| said.borrow_mut().push(line.to_owned()))?;
    for line in said.take() {
        writeln!(out, "{line}")?;
    }
    let device = networks.device();
    writeln!(
        out,
        "{}: {}, {}, {}, batches {:?}, {}",
        bundle.folder().display(),
        bundle.manifest().describe(),
        device.runtime,
        device.name,
        device.buckets,
        device.precision
    )?;

    let mut sheet = Sheet::new(out)?;
    for network in Network::ALL {
        let model = Model::of(network, settings.decoder);
        let name = model.name();
        match (networks.has(network), bundle.golden(name)?) {
            (true, Some(path)) => {
                network::compare(&mut networks, network, name, &Golden::read(path)?, &mut sheet)?;
            }
            (true, None) => sheet.note(format_args!("{name}: the bundle has no golden of it"))?,
            (false, Some(_)) => {
                sheet.note(format_args!(
                    "{name}: not compared, the bundle does not have it as {}",
                    N::FORMAT
                ))?;
            }
            (false, None) => {}
        }
    }
    let own_decoder = settings.decoder == Decoder::SdVae;
    if let Some(path) = bundle.golden("pipeline")? {
        pipeline::compare(&mut networks, &Golden::read(path)?, own_decoder, &mut sheet)?;
    }
    if let Some(path) = bundle.golden(Model::Generator.name())?.filter(|_| own_decoder) {
        generate::golden(&mut networks, &Golden::read(path)?, &mut sheet)?;
    }
    if let Some(path) = bundle.golden("reference")? {
        reference::compare(&mut networks, &Golden::read(path)?, &mut sheet, own_decoder)?;
    }
    Ok(sheet.finish()?)
}

/// What networks compute in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Fp32,
    Fp16,
}

impl Precision {
    fn of(networks: &impl Networks) -> Self {
        if networks.device().precision == "fp16" { Self::Fp16 } else { Self::Fp32 }
    }

    /// How far floats are from golden ones, in which unit, and what passes where it is `fp32` in fp32.
    /// Pictures are compared by their range of 1: the deviation of what was clamped says nothing of it.
    ///
    /// In half precision single values may be far off where a small difference of large ones decides, so
    /// there it is the mean square that counts.
    fn of_floats(self, found: &[f32], golden: &[f32], fp32: f64, picture: bool) -> (f64, Unit, f64) {
        match self {
            Self::Fp32 if picture => (compare::largest(found, golden), Unit::Absolute, fp32),
            Self::Fp32 => {
                (compare::largest(found, golden) / compare::deviation(golden), Unit::Deviation, fp32)
            }
            Self::Fp16 => {
                (compare::mean_square(found, golden) / compare::deviation(golden), Unit::MeanSquare, HALF)
            }
        }
    }

    /// The same of pictures of bytes. In half precision single pixels may be far off; half a level is what
    /// MuseTalk's own runs in it differ by on the mean.
    fn of_pixels(self, found: &[u8], golden: &[u8]) -> (f64, Unit, f64) {
        match self {
            Self::Fp32 => (compare::over_one_level(found, golden), Unit::OverOneLevel, FEW),
            Self::Fp16 => (compare::mean_level(found, golden), Unit::MeanLevel, 0.5),
        }
    }
}
