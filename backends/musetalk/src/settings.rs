//! The settings of a backend of this family: its table of `config.toml`, raw, then checked.

use std::path::PathBuf;

use lipcast_plugins_api::author::Error;
use serde::Deserialize;
use serde_json::Value;

/// Every setting at its default; `config.toml` and `docs/musetalk.md` explain each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the networks come from and what they run on.
    #[serde(flatten)]
    pub runtime: RuntimeSettings,
    /// What is drawn over: `jaw`, `neck` or `raw`.
    pub mask: MaskMode,
    /// Pixels of the source that the face box reaches further down than the chin.
    pub extra_margin: u32,
    /// Rows and columns of the parsing's 512 that count as cheek, left and right of the middle.
    pub cheeks: [u32; 2],
    /// Face boxes are smoothed over time, so that the mouth does not tremble on a still head.
    pub smooth: bool,
    /// Seconds of speech before a frame that the streaming encoder hears, 0.5 to 28.
    pub context: f32,
    /// The reference's ways, one by one.
    pub compat: Compat,
}

/// Where the networks come from and what they run on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct RuntimeSettings {
    /// The bundle's folder.
    pub bundle: PathBuf,
    /// `cpu`, `cuda`, `cuda:1`, or `auto`: a GPU when it can be had, and the log says which.
    pub device: String,
    /// `fp32`, `fp16`, or `auto`: fp16 on a GPU when the bundle has it.
    pub precision: String,
    /// Threads of the runtime on the CPU; 0: one for each core.
    pub threads: usize,
    /// Batch sizes that are run, rising; a batch is filled up to the next. Empty: `[1]` on a CPU, `[1, 4, 8, 16]` on a GPU.
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
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
            context: 2.0,
            compat: Compat::default(),
        }
    }
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            bundle: PathBuf::new(),
            device: "auto".to_owned(),
            precision: "auto".to_owned(),
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
    /// Reads a backend's table.
    ///
    /// # Errors
    /// `INVALID_ARG` that names the key and what it takes.
    pub fn read(config: Value) -> Result<Self, Error> {
        serde_json::from_value(config).map_err(|error| Error::invalid_arg(error.to_string()))
    }
}
