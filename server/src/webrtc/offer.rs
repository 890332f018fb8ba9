//! Reads from an SDP offer what the answer depends on, before the library sees it.
//!
//! Deliberately line by line and tolerant of what it does not know: the library parses the whole.

use lipcast_codecs::VideoCodec;

use super::OfferError;

/// Longest offer that is read, bytes. A browser's has 5 to 10 thousand.
const LONGEST: usize = 64 * 1024;

/// What the offering side wants to receive and how it names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    /// Video, when some is asked for.
    pub(super) video: Option<OfferedVideo>,
    /// Opus, when audio is asked for.
    pub(super) audio: Option<OfferedCodec>,
}

/// A video codec chosen from the offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfferedVideo {
    pub(super) codec: VideoCodec,
    pub(super) offered: OfferedCodec,
    /// Payload type of its retransmissions (RFC 4588).
    pub(super) rtx: Option<u8>,
}

/// A codec as the offer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfferedCodec {
    pub(super) payload_type: u8,
    /// The parameters of its `a=fmtp` line; empty without one.
    pub(super) fmtp: String,
}

impl Offer {
    /// Reads `sdp` and chooses the first of `preferred` that it contains.
    pub(super) fn read(sdp: &str, preferred: &[VideoCodec]) -> Result<Self, OfferError> {
        if sdp.len() > LONGEST {
            return Err(OfferError::TooLarge { bytes: sdp.len(), limit: LONGEST });
        }
        if !sdp.starts_with("v=0") {
            return Err(OfferError::Malformed("it does not begin with v=0".into()));
        }
        let (session, media) = sections(sdp);
        if media.is_empty() {
            return Err(OfferError::NothingAsked);
        }
        for (name, attribute) in [("a=ice-ufrag:", "a=ice-ufrag"), ("a=ice-pwd:", "a=ice-pwd")]
            .into_iter()
            .chain([("a=fingerprint:", "a=fingerprint"), ("a=setup:", "a=setup")])
        {
            let everywhere = session.iter().chain(media.iter().flat_map(|section| &section.lines));
            if !everywhere.into_iter().any(|line| line.starts_with(name)) {
                return Err(OfferError::Incomplete { attribute });
            }
        }
        let asked = |kind: &str| media.iter().find(|section| section.kind == kind && section.receives());
        let (video, audio) = (asked("video"), asked("audio"));
        if video.is_none() && audio.is_none() {
            return Err(OfferError::NothingAsked);
        }
        Ok(Self {
            video: video.map(|section| section.choose_video(preferred)).transpose()?,
            audio: audio.map(Section::choose_opus).transpose()?,
        })
    }
}

/// One `m=` line and what follows it.
struct Section<'a> {
    kind: &'a str,
    port: &'a str,
    lines: Vec<&'a str>,
}

/// The lines before the first `m=` line, and the media sections.
fn sections(sdp: &str) -> (Vec<&str>, Vec<Section<'_>>) {
    let (mut session, mut media) = (Vec::new(), Vec::<Section<'_>>::new());
    for line in sdp.lines().map(str::trim_end) {
        if let Some(description) = line.strip_prefix("m=") {
            let mut words = description.split(' ');
            let (kind, port) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            media.push(Section { kind, port, lines: Vec::new() });
        } else if let Some(section) = media.last_mut() {
            section.lines.push(line);
        } else {
            session.push(line);
        }
    }
    (session, media)
}

impl<'a> Section<'a> {
    /// Neither switched off nor meant for sending only.
    fn receives(&self) -> bool {
        self.port != "0" && !self.lines.iter().any(|line| ["a=sendonly", "a=inactive"].contains(line))
    }

    fn choose_video(&self, preferred: &[VideoCodec]) -> Result<OfferedVideo, OfferError> {
        for &codec in preferred {
            let usable = |(name, offered): &(&str, OfferedCodec)| match codec {
                VideoCodec::H264 => {
                    name.eq_ignore_ascii_case("H264/90000") && h264_rank(&offered.fmtp).is_some()
                }
                VideoCodec::Vp8 => name.eq_ignore_ascii_case("VP8/90000"),
            };
            // Constrained baseline is what is sent, so it wins over the profiles that merely contain it.
            let best =
                self.codecs().into_iter().filter(usable).min_by_key(|(_, offered)| h264_rank(&offered.fmtp));
            if let Some((_, offered)) = best {
                let rtx = self.rtx_for(offered.payload_type);
                return Ok(OfferedVideo { codec, offered, rtx });
            }
        }
        let supported: Vec<String> = preferred.iter().map(|codec| format!("{codec:?}")).collect();
        Err(OfferError::NoCommonVideoCodec {
            offered: self.names(),
            supported: format!("{} (H.264: baseline, packetization-mode=1)", supported.join(", ")),
        })
    }

    fn choose_opus(&self) -> Result<OfferedCodec, OfferError> {
        let opus = self.codecs().into_iter().find(|(name, _)| name.eq_ignore_ascii_case("opus/48000/2"));
        opus.map(|(_, codec)| codec).ok_or_else(|| OfferError::NoCommonAudioCodec { offered: self.names() })
    }

    /// Name (`H264/90000`) and parameters of every codec, in the offer's order.
    fn codecs(&self) -> Vec<(&'a str, OfferedCodec)> {
        let maps = self.lines.iter().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
        maps.filter_map(|(payload_type, name)| {
            let payload_type = payload_type.parse().ok().filter(|payload_type| *payload_type < 128)?;
            Some((name.trim(), OfferedCodec { payload_type, fmtp: self.fmtp(payload_type).to_owned() }))
        })
        .collect()
    }

    fn fmtp(&self, payload_type: u8) -> &'a str {
        let mut lines = self.lines.iter().filter_map(|line| line.strip_prefix("a=fmtp:")?.split_once(' '));
        lines
            .find(|(number, _)| number.parse() == Ok(payload_type))
            .map_or("", |(_, parameters)| parameters.trim())
    }

    fn rtx_for(&self, payload_type: u8) -> Option<u8> {
        let apt = payload_type.to_string();
        let is_rtx = |(name, codec): &(&str, OfferedCodec)| {
            name.eq_ignore_ascii_case("rtx/90000") && parameter(&codec.fmtp, "apt") == Some(&apt)
        };
        self.codecs().into_iter().find(is_rtx).map(|(_, codec)| codec.payload_type)
    }

    fn names(&self) -> Vec<String> {
        self.codecs().into_iter().map(|(name, _)| name.to_owned()).collect()
    }
}

/// How well a decoder of these parameters suits a constrained baseline stream in packetization mode 1;
/// lower is better, `None` does not suit at all.
fn h264_rank(fmtp: &str) -> Option<u8> {
    if parameter(fmtp, "packetization-mode") != Some("1") {
        return None;
    }
    // Without a profile RFC 6184 means baseline at level 1.
    let profile = parameter(fmtp, "profile-level-id").unwrap_or("42000a").to_ascii_lowercase();
    match profile.get(..4)? {
        "42e0" | "42c0" => Some(0),
        "4200" | "4240" => Some(1),
        _ => None,
    }
}

fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, v)| v.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHROMIUM: &str = include_str!("../../tests/data/offer_chromium.sdp");
    const BOTH: [VideoCodec; 2] = [VideoCodec::H264, VideoCodec::Vp8];

    #[test]
    fn the_first_preferred_codec_of_the_offer_is_chosen() {
        let offer = Offer::read(CHROMIUM, &BOTH).unwrap();
        let video = offer.video.unwrap();
        assert_eq!(video.codec, VideoCodec::H264);
        assert!(video.offered.fmtp.contains("packetization-mode=1") && video.offered.fmtp.contains("42e01f"));
        assert!(video.rtx.is_some());
        assert!(offer.audio.unwrap().fmtp.contains("useinbandfec=1"));

        let vp8 = Offer::read(CHROMIUM, &[VideoCodec::Vp8, VideoCodec::H264]).unwrap().video.unwrap();
        assert_eq!((vp8.codec, vp8.offered.payload_type, vp8.rtx), (VideoCodec::Vp8, 96, Some(97)));
    }

    #[test]
    fn without_baseline_h264_vp8_serves() {
        let high_only = CHROMIUM.replace("42e01f", "64001f").replace("42001f", "64001f");
        assert_eq!(Offer::read(&high_only, &BOTH).unwrap().video.unwrap().codec, VideoCodec::Vp8);
    }

    #[test]
    fn one_kind_alone_is_enough() {
        let muted = CHROMIUM.replace("m=audio 9 ", "m=audio 0 ");
        let offer = Offer::read(&muted, &BOTH).unwrap();
        assert!(offer.audio.is_none() && offer.video.is_some());
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        let error = |sdp: &str| Offer::read(sdp, &BOTH).unwrap_err().to_string();
        assert!(error("").contains("v=0"));
        assert!(error(&format!("v=0{}", " ".repeat(LONGEST))).contains("65539 bytes"));
        assert!(error(&CHROMIUM.replace("a=setup:", "a=x-setup:")).contains("no a=setup"));
        assert!(error(&CHROMIUM.replace("a=fingerprint:", "a=print:")).contains("no a=fingerprint"));
        assert!(error(&CHROMIUM.replace("opus/48000/2", "speex/8000")).contains("speex/8000"));
        assert!(error(&CHROMIUM.replace("a=recvonly", "a=sendonly")).contains("asks for neither"));
        let neither = CHROMIUM.replace("H264/90000", "H265/90000").replace("VP8/90000", "VP9/90000");
        assert!(error(&neither).contains("H265/90000"));
    }
}
