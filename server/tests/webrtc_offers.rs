//! Offers of all kinds: what is answered, and that nothing else does harm.

mod support;

use lipcast_codecs::VideoCodec;
use lipcast_server::webrtc::{OfferError, Viewer, WebrtcSettings, connect};

const CHROMIUM: &str = include_str!("data/offer_chromium.sdp");

async fn answer(offer: &str) -> Result<Viewer, OfferError> {
    let (stream, _units, _came) = support::stream();
    let settings = WebrtcSettings::for_http_address([127, 0, 0, 1].into());
    connect(offer, &stream, &settings).await
}

/// The media section of `kind` in an SDP text.
fn section(sdp: &str, kind: &str) -> String {
    let start = sdp.find(&format!("m={kind} ")).unwrap_or_else(|| panic!("no m={kind} in {sdp}"));
    let end = sdp[start + 2..].find("m=").map_or(sdp.len(), |end| start + 2 + end);
    sdp[start..end].to_owned()
}

#[tokio::test]
async fn a_browsers_offer_without_candidates_is_answered_with_all_of_ours() {
    assert!(!CHROMIUM.contains("a=candidate"));
    let viewer = answer(CHROMIUM).await.unwrap();
    assert_eq!((viewer.video, viewer.audio), (Some(VideoCodec::H264), true));
    let (video, audio) = (section(&viewer.answer, "video"), section(&viewer.answer, "audio"));
    assert!(video.contains("H264/90000") && !video.contains("VP8/90000"), "{video}");
    assert!(video.contains("rtx/90000") && video.contains("nack pli"), "{video}");
    assert!(audio.contains("opus/48000/2") && audio.contains("useinbandfec=1"), "{audio}");
    assert!(video.contains("a=sendonly") && audio.contains("a=sendonly"), "{}", viewer.answer);
    assert!(
        viewer.answer.contains("a=candidate:") && viewer.answer.contains("127.0.0.1"),
        "{}",
        viewer.answer
    );
    assert!(!viewer.answer.contains("playout-delay"));
}

#[tokio::test]
async fn the_offer_decides_the_codec() {
    let without_h264 = CHROMIUM.replace("H264/90000", "H265/90000");
    let viewer = answer(&without_h264).await.unwrap();
    assert_eq!(viewer.video, Some(VideoCodec::Vp8));
    assert!(section(&viewer.answer, "video").contains("VP8/90000"));

    let neither = without_h264.replace("VP8/90000", "VP9/90000");
    let error = answer(&neither).await.unwrap_err();
    assert!(error.is_clients_fault() && error.to_string().contains("no common video codec"), "{error}");
    let error = answer(&CHROMIUM.replace("opus/48000/2", "speex/16000")).await.unwrap_err();
    assert!(error.to_string().contains("no common audio codec"), "{error}");
}

#[tokio::test]
async fn one_medium_alone_and_both_directions_are_fine() {
    let both_ways = answer(&CHROMIUM.replace("a=recvonly", "a=sendrecv")).await.unwrap();
    assert!(both_ways.audio && both_ways.video.is_some());

    let video_only = answer(&CHROMIUM.replace("m=audio 9 ", "m=audio 0 ")).await.unwrap();
    assert!(!video_only.audio && video_only.video.is_some());

    let audio = section(CHROMIUM, "audio");
    let head = CHROMIUM.split("m=").next().unwrap();
    let mid = audio.lines().find_map(|line| line.strip_prefix("a=mid:")).unwrap();
    let audio_only =
        format!("{}{audio}", head.replace("a=group:BUNDLE 0 1", &format!("a=group:BUNDLE {mid}")));
    let audio_only = answer(&audio_only).await.unwrap();
    assert!(audio_only.audio && audio_only.video.is_none());
    assert!(!audio_only.answer.contains("m=video"));
}

#[tokio::test]
async fn what_a_peer_must_say_is_asked_for_by_name() {
    for attribute in ["a=setup", "a=fingerprint", "a=ice-ufrag", "a=ice-pwd"] {
        let error = answer(&CHROMIUM.replace(&format!("{attribute}:"), "a=x:")).await.unwrap_err();
        assert!(error.is_clients_fault() && error.to_string().contains(attribute), "{error}");
    }
    for hollow in ["", "v=0", "v=0\r\n", "hello", "{\"sdp\":\"v=0\"}"] {
        assert!(answer(hollow).await.unwrap_err().is_clients_fault(), "{hollow:?}");
    }
    let long = format!("{CHROMIUM}{}", "a=x:0\r\n".repeat(20_000));
    assert!(matches!(answer(&long).await.unwrap_err(), OfferError::TooLarge { .. }));
}

/// A small generator, so that the same offers are tried each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_offers_are_errors_or_answers_and_the_server_lives() {
    let (stream, _units, _came) = support::stream();
    let settings = WebrtcSettings::for_http_address([127, 0, 0, 1].into());
    let lines: Vec<&str> = CHROMIUM.split_inclusive("\r\n").collect();
    let mut random = Random(0x5eed);
    let mut offers: Vec<String> =
        (0..CHROMIUM.len()).step_by(97).map(|length| CHROMIUM[..length].to_owned()).collect();
    for _ in 0..80 {
        let mut bytes = CHROMIUM.as_bytes().to_vec();
        for _ in 0..=random.below(6) {
            let (at, value) = (random.below(bytes.len()), random.below(128) as u8);
            bytes[at] = value;
        }
        offers.push(String::from_utf8(bytes).unwrap());
        let mut shuffled = lines.clone();
        for _ in 0..=random.below(4) {
            let (from, to) = (random.below(shuffled.len()), random.below(shuffled.len()));
            match random.below(3) {
                0 => drop(shuffled.remove(from)),
                1 => shuffled.insert(to, lines[random.below(lines.len())]),
                _ => shuffled.swap(from, to),
            }
        }
        offers.push(shuffled.concat());
    }
    let mut refused = 0;
    for offer in &offers {
        match connect(offer, &stream, &settings).await {
            Ok(viewer) => viewer.close(),
            Err(error) => {
                refused += 1;
                assert!(error.is_clients_fault(), "{error} for {offer}");
            }
        }
    }
    assert!(refused > 40, "{refused} of {} were refused", offers.len());
    // And an honest one is still answered.
    connect(CHROMIUM, &stream, &settings).await.unwrap();
}
