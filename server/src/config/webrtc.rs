//! `[webrtc]`: addresses, codecs and rates of what viewers get.

use std::net::IpAddr;

use toml_edit::Item;

use super::reader::Section;
use super::report::Complaint;
use super::values::{integer, list, one_of, parsed};

/// Addresses, codecs, rates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebrtcConfig {
    /// Addresses that media is sent from; empty follows `server.bind`.
    pub addresses: Vec<IpAddr>,
    /// Public addresses behind one-to-one translation.
    pub nat_1to1: Vec<IpAddr>,
    /// In order of preference, each at most once, never empty.
    pub codecs: Vec<CodecName>,
    /// Bits per second of video.
    pub video_bitrate: u32,
    /// Bits per second of sound.
    pub audio_bitrate: u32,
    /// Viewers of one session.
    pub max_viewers: usize,
}

/// A video codec that viewers can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecName {
    /// H.264, constrained baseline.
    H264,
    /// VP8.
    Vp8,
}

impl WebrtcConfig {
    pub(super) fn read(section: Section<'_, '_>) -> Self {
        let webrtc = Self {
            addresses: section.read("addresses", Vec::new(), list(parsed("an address", "192.0.2.7"))),
            nat_1to1: section.read("nat_1to1", Vec::new(), list(parsed("an address", "203.0.113.7"))),
            codecs: section.read("codecs", vec![CodecName::H264, CodecName::Vp8], codecs),
            video_bitrate: section.read("video_bitrate", 1_500_000, integer(100_000..=20_000_000)),
            audio_bitrate: section.read("audio_bitrate", 48_000, integer(12_000..=128_000)),
            max_viewers: section.read("max_viewers", 16, integer(1..=1_000)),
        };
        section.finish();
        webrtc
    }
}

fn codecs(item: &Item) -> Result<Vec<CodecName>, Complaint> {
    const NAMES: &[(&str, CodecName)] = &[("h264", CodecName::H264), ("vp8", CodecName::Vp8)];
    let codecs = list(one_of(NAMES))(item)?;
    if codecs.is_empty() {
        return Err(Complaint::new("at least one codec is needed").help("[\"h264\", \"vp8\"]"));
    }
    if codecs.len() > 1 && codecs[0] == codecs[1] || codecs.len() > NAMES.len() {
        return Err(Complaint::new("a codec is named twice"));
    }
    Ok(codecs)
}
