//! The settings of a backend of this family: its table of `config.toml`, raw, then checked.
//!
//! The table is flat but for `compat` and `options`. A key that is wrong is named with what it takes; so is
//! one that does not exist.

mod choice;
mod table;

use std::path::PathBuf;

use lipcast_plugins_api::author::Error;
use serde::Deserialize;
use serde_json::Value;

use crate::networks::NetworkError;

pub use choice::{DeviceChoice, NoChoice, PrecisionChoice};
pub use table::Table;
use table::whole;

/// The largest batch that is asked for, and so the largest size that is of use.
pub const LARGEST_BATCH: usize = 16;

/// Every setting at its default; `config.toml` and `docs/musetalk.md` explain each.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where the networks come from and what they run on.
    pub runtime: RuntimeSettings,
    /// What is drawn over: `jaw`, `neck` or `raw`.
    pub mask: MaskMode,
    /// Pixels of the source that the face box reaches further down than the chin.
    pub extra_margin: u32,
    /// Columns of the parsing's 512, left and right of the middle, from which on the face is made narrower.
    pub cheeks: [u32; 2],
    /// Face boxes are smoothed over time, so that the mouth does not tremble on a still head.
    pub smooth: bool,
    /// The landmark network's points are read between its bins, so that a head on a large picture moves by less than
    /// several pixels at once.
    pub refine: bool,
    /// Seconds of speech before a frame that the streaming encoder hears, 0.5 to 28.
    pub context: f32,
    /// The reference's ways, one by one.
    pub compat: Compat,
}

/// Where the networks come from and what they run on.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeSettings {
    /// The bundle's folder.
    pub bundle: PathBuf,
    /// Which device.
    pub device: DeviceChoice,
    /// Of UNet and decoder.
    pub precision: PrecisionChoice,
    /// Threads of the runtime on the CPU; 0: one for each core.
    pub threads: usize,
    /// Batch sizes that are run, rising from 1 or more; a batch is filled up to the next. Empty: those of
    /// [`RuntimeSettings::batches_on`].
    pub batches: Vec<usize>,
    /// `sd-vae` or `taesd`.
    pub decoder: Decoder,
    /// The runtime's own library, or the folder that holds it; empty: beside the plugin.
    pub library: PathBuf,
    /// The bundle's files are compared with their hashes before they are opened; seconds for the full size.
    pub verify: bool,
    /// Options of the runtime alone.
    pub options: Value,
}

/// Which network makes pictures of latents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoder {
    /// The decoder that MuseTalk was trained with.
    #[default]
    SdVae,
    /// The tiny one: a quarter of the arithmetic, a little less sharp.
    Taesd,
}

/// What is drawn over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MaskMode {
    /// Lower face with a shaped jaw; the reference's default for version 1.5.
    #[default]
    Jaw,
    /// Lower face and neck.
    Neck,
    /// Skin and mouth as they were parsed; version 1.
    Raw,
}

/// The reference's ways where ours differ by default; `true` is the reference's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Compat {
    /// The posterior is sampled, with this seed; `None`: its mode.
    pub sample: Option<u64>,
    /// Windows begin where the reference's begin at frame rates other than 25.
    pub reference_window: bool,
    /// The last frame of a clip is not drawn.
    pub drop_last_frame: bool,
    /// A frame without a face has no latent, and later frames take the latents of others.
    pub shift_latents: bool,
    /// Boxes may leave the picture.
    pub unclamped_box: bool,
    /// The mask's edge is blurred by 0.05 of the square, as the reference's offline script does, not 0.1.
    pub offline_blur: bool,
    /// The audio tokens go without their position code.
    pub no_positions: bool,
    /// Each window is scaled by its own loudest mel value.
    pub window_maximum: bool,
    /// Landmarks are taken from one pass, without the mirrored one.
    pub no_flip: bool,
    /// Pixels that the nose bridge is moved down by before the box is taken; version 1 alone.
    pub bbox_shift: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            runtime: RuntimeSettings::default(),
            mask: MaskMode::default(),
            extra_margin: 10,
            cheeks: [90, 90],
            smooth: true,
            refine: false,
            context: 2.0,
            compat: Compat::default(),
        }
    }
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            bundle: PathBuf::new(),
            device: DeviceChoice::default(),
            precision: PrecisionChoice::default(),
            threads: 0,
            batches: Vec::new(),
            decoder: Decoder::default(),
            library: PathBuf::new(),
            verify: true,
            options: Value::Null,
        }
    }
}

impl Settings {
    /// Reads a backend's table; null is an empty one, and everything that is not in it stays at its default.
    ///
    /// # Errors
    /// `INVALID_ARG` that names the key and what it takes.
    pub fn read(config: Value) -> Result<Self, Error> {
        let default = Self::default();
        Table::read("", config, |table| {
            Ok(Self {
                runtime: RuntimeSettings::take(table)?,
                mask: table.word(
                    "mask",
                    &[("jaw", MaskMode::Jaw), ("neck", MaskMode::Neck), ("raw", MaskMode::Raw)],
                    default.mask,
                )?,
                extra_margin: table.whole("extra_margin", 0..=512, default.extra_margin)?,
                cheeks: table.take("cheeks", "two whole numbers from 0 to 256", default.cheeks, |value| {
                    let [left, right] = value.as_array()?.as_slice() else { return None };
                    Some([whole(left, &(0..=256))?, whole(right, &(0..=256))?])
                })?,
                smooth: table.flag("smooth", default.smooth)?,
                refine: table.flag("refine", default.refine)?,
                context: table.take("context", "a number from 0.5 to 28", default.context, |value| {
                    let seconds = value.as_f64().filter(|seconds| (0.5..=28.0).contains(seconds))?;
                    Some(seconds as f32)
                })?,
                compat: Compat::read(table.table("compat"))?,
            })
        })
    }
}

/// Reads the options of a runtime alone, [`RuntimeSettings::options`], by `read`; null is an empty table.
///
/// # Errors
/// [`NetworkError::Unsupported`] that names the key and what it takes; also for a key that `read` did not ask for.
pub fn options<T>(
    table: &Value,
    read: impl FnOnce(&mut Table) -> Result<T, Error>,
) -> Result<T, NetworkError> {
    Table::read("options.", table.clone(), read).map_err(|error| NetworkError::Unsupported(error.message))
}

impl RuntimeSettings {
    /// The batch sizes that are run: those that are set, or the usual ones of a GPU or a CPU.
    pub fn batches_on(&self, gpu: bool) -> Vec<usize> {
        match (self.batches.is_empty(), gpu) {
            (false, _) => self.batches.clone(),
            (true, true) => vec![1, 4, 8, 16],
            (true, false) => vec![1],
        }
    }

    fn take(table: &mut Table) -> Result<Self, Error> {
        let default = Self::default();
        Ok(Self {
            bundle: table.path("bundle", default.bundle)?,
            device: table
                .take("device", DeviceChoice::WORDS, default.device, |value| value.as_str()?.parse().ok())?,
            precision: table.word("precision", &PrecisionChoice::ALL, default.precision)?,
            threads: table.whole("threads", 0..=1024, default.threads)?,
            batches: table.take(
                "batches",
                format_args!("a list of rising whole numbers from 1 to {LARGEST_BATCH}"),
                default.batches,
                batches,
            )?,
            decoder: table.word(
                "decoder",
                &[("sd-vae", Decoder::SdVae), ("taesd", Decoder::Taesd)],
                default.decoder,
            )?,
            library: table.path("library", default.library)?,
            verify: table.flag("verify", default.verify)?,
            options: table.take("options", "a table", default.options, |value| {
                (value.is_object() || value.is_null()).then(|| value.clone())
            })?,
        })
    }
}

impl Compat {
    fn read(config: Value) -> Result<Self, Error> {
        Table::read("compat.", config, |table| {
            Ok(Self {
                sample: table
                    .take("sample", "a whole number from 0 on", None, |value| value.as_u64().map(Some))?,
                reference_window: table.flag("reference_window", false)?,
                drop_last_frame: table.flag("drop_last_frame", false)?,
                shift_latents: table.flag("shift_latents", false)?,
                unclamped_box: table.flag("unclamped_box", false)?,
                offline_blur: table.flag("offline_blur", false)?,
                no_positions: table.flag("no_positions", false)?,
                window_maximum: table.flag("window_maximum", false)?,
                no_flip: table.flag("no_flip", false)?,
                bbox_shift: table.whole("bbox_shift", -512..=512, 0)?,
            })
        })
    }
}

fn batches(value: &Value) -> Option<Vec<usize>> {
    let sizes: Option<Vec<usize>> =
        value.as_array()?.iter().map(|size| whole(size, &(1..=LARGEST_BATCH))).collect();
    sizes.filter(|sizes| sizes.is_sorted_by(|a, b| a < b))
}
