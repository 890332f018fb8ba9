//! How values stand in a file: times in milliseconds, PCM as base64, hashes in hex, words for kinds.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::backend::RequestFlags;

/// A time, to the microsecond.
pub(super) mod milliseconds {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        (time.as_micros() as f64 / 1e3).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        duration(f64::deserialize(from)?)
    }
}

/// The same where there may be none.
pub(super) mod maybe_milliseconds {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_micros() as f64 / 1e3).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(from)?.map(duration).transpose()
    }
}

fn duration<E: Error>(ms: f64) -> Result<Duration, E> {
    // A year of it; beyond that nothing is a session.
    if !(0.0..3.2e10).contains(&ms) {
        return Err(E::custom(format!("{ms} is no number of milliseconds since a session began")));
    }
    Ok(Duration::from_micros((ms * 1e3).round() as u64))
}

/// Samples, bit for bit.
pub(super) mod pcm {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(pcm: &[f32], to: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        STANDARD.encode(bytes).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[f32]>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let bytes = STANDARD
            .decode(&*text)
            .map_err(|error| D::Error::custom(format!("pcm is no base64: {error}")))?;
        let (samples, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(D::Error::custom(format!(
                "pcm has {} bytes, no whole number of samples",
                bytes.len()
            )));
        }
        Ok(samples.iter().map(|sample| f32::from_le_bytes(*sample)).collect())
    }
}

/// A BLAKE3 hash in hex.
pub(super) mod hash {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(hash: &blake3::Hash, to: S) -> Result<S::Ok, S::Error> {
        hash.to_hex().as_str().serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<blake3::Hash, D::Error> {
        let text = String::deserialize(from)?;
        blake3::Hash::from_hex(&text).map_err(|_| D::Error::custom(format!("\"{text}\" is no BLAKE3 hash")))
    }
}

/// `[x, y, width, height]`.
pub(super) mod rect {
    use super::*;
    use crate::backend::Rect;

    pub(in super::super) fn serialize<S: Serializer>(rect: &Rect, to: S) -> Result<S::Ok, S::Error> {
        [rect.x, rect.y, rect.width, rect.height].serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Rect, D::Error> {
        let [x, y, width, height] = Deserialize::deserialize(from)?;
        Ok(Rect { x, y, width, height })
    }
}

/// A word for each of some values.
macro_rules! words {
    ($module:ident, $kind:ty, $what:literal, [$($word:literal => $value:path),+ $(,)?]) => {
        pub(super) mod $module {
            use super::*;

            pub(in super::super) fn serialize<S: Serializer>(value: &$kind, to: S) -> Result<S::Ok, S::Error> {
                match value { $($value => $word),+ }.serialize(to)
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$kind, D::Error> {
                match &*String::deserialize(from)? {
                    $($word => Ok($value),)+
                    other => Err(D::Error::custom(format!(concat!("\"{}\" is no ", $what), other))),
                }
            }
        }
    };
}

words!(format, crate::backend::PixelFormat, "pixel format", [
    "rgb24" => crate::backend::PixelFormat::Rgb24,
    "rgba" => crate::backend::PixelFormat::Rgba,
    "i420" => crate::backend::PixelFormat::I420,
    "i420a" => crate::backend::PixelFormat::I420A,
]);

words!(alpha, crate::backend::Alpha, "kind of transparency", [
    "static" => crate::backend::Alpha::Static,
    "inline" => crate::backend::Alpha::Inline,
    "opaque" => crate::backend::Alpha::Opaque,
]);

words!(unit_kind, crate::session::UnitKind, "kind of picture", [
    "idle" => crate::session::UnitKind::Idle,
    "speech" => crate::session::UnitKind::Speech,
    "held" => crate::session::UnitKind::Held,
]);

/// [`RequestFlags`], field by field; those that are not set are left out.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RequestFlags")]
pub(super) struct Flags {
    #[serde(default, skip_serializing_if = "is_not")]
    first: bool,
    #[serde(default, skip_serializing_if = "is_not")]
    last: bool,
    #[serde(default, skip_serializing_if = "is_not")]
    discard_ok: bool,
    #[serde(default, skip_serializing_if = "is_not")]
    alone: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_not(flag: &bool) -> bool {
    !flag
}
