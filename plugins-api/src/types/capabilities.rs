//! What a plugin says about itself before anything is loaded.

use serde::{Deserialize, Serialize};

/// A plugin's name tag; reading it needs no files and no device.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// Unique, in reverse-DNS form: `org.example.wav2lip`. Letters, digits, `.`, `-`, `_`.
    pub id: String,
    /// For people.
    pub name: String,
    /// Of the plugin.
    pub version: String,
    /// Who made it.
    pub vendor: String,
    /// SPDX expression.
    pub license: String,
    /// Where it lives; may be empty.
    pub url: String,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// What a backend can do; crosses the contract as JSON, so it grows without a new version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Where it can run, best first.
    pub devices: Devices,
    /// Arithmetic it offers, best first: `fp32`, `fp16`, `int8`.
    pub precision: Vec<String>,
    /// Audio after the end of a frame that it needs, milliseconds; at most [`Self::LOOKAHEAD_LIMIT_MS`].
    pub lookahead_ms: u32,
    /// Audio before a frame that it remembers, milliseconds; failover replays as much.
    pub lookbehind_ms: u32,
    /// Whether frames may be asked for in any order.
    pub order: FrameOrder,
    /// Frames it computes at once of one session; 1: each alone.
    pub chunk_frames: u32,
    /// Requests one `infer_batch` takes at most.
    pub max_batch: u32,
    /// What it wants of an avatar.
    pub prepare: Prepare,
    /// Version of its avatar blobs; another one means: prepare again.
    pub blob_version: u32,
    /// `prepare_avatar` may run beside the other control calls.
    pub prepare_concurrent: bool,
    /// Same audio, same frames, bit for bit.
    pub deterministic: bool,
}

impl Capabilities {
    /// The longest look-ahead a host takes, milliseconds: every live answer comes later by it.
    pub const LOOKAHEAD_LIMIT_MS: u32 = 2_000;
}

/// Device names like `cpu`, `cuda`.
pub type Devices = Vec<String>;

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            devices: vec!["cpu".into()],
            precision: vec!["fp32".into()],
            lookahead_ms: 0,
            lookbehind_ms: 0,
            order: FrameOrder::Any,
            chunk_frames: 1,
            max_batch: 1,
            prepare: Prepare::default(),
            blob_version: 1,
            prepare_concurrent: false,
            deterministic: false,
        }
    }
}

/// Whether frames may be asked for in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FrameOrder {
    /// A frame depends on its audio only; some may be left out.
    Any,
    /// Every frame exactly once, in order.
    Sequential,
}

/// What `prepare_avatar` wants to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Prepare {
    /// Source frames.
    pub frames: bool,
    /// 68 landmarks a frame.
    pub landmarks: bool,
    /// A face box a frame.
    pub face_box: bool,
    /// Names of assets it cannot do without, like trained weights.
    pub assets: Vec<String>,
}
