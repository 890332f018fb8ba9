//! Encoding and fan-out without any network: who gets which frame.

mod support;

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use lipcast_codecs::{H264Decoder, VideoCodec};
use lipcast_server::live::{EncodedFrame, Medium, Subscription};
use support::{FPS, TestUnit, stream};

const H264: Option<VideoCodec> = Some(VideoCodec::H264);

/// Performs frames `frames` and gives what the subscription got of them.
async fn perform(
    units: &SyncSender<TestUnit>,
    frames: std::ops::Range<u64>,
    viewer: &mut Subscription,
) -> Vec<EncodedFrame> {
    let mut got = Vec::new();
    for frame in frames {
        tokio::task::block_in_place(|| units.send(TestUnit::new(frame)).unwrap());
        while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(15), viewer.next()).await {
            got.push((*frame).clone());
        }
    }
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(500), viewer.next()).await {
        got.push((*frame).clone());
    }
    got
}

fn video(frames: &[EncodedFrame]) -> Vec<(i64, bool)> {
    let of_video = |frame: &EncodedFrame| match frame.medium {
        Medium::Video { key, .. } => Some((frame.timestamp, key)),
        Medium::Audio => None,
    };
    frames.iter().filter_map(of_video).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unit_arrives_once_with_its_place_on_the_clock() {
    let (stream, units, came) = stream();
    assert!(came.try_recv().is_err());
    let mut viewer = stream.subscribe(H264).unwrap();
    came.recv().unwrap();
    let got = perform(&units, 0..25, &mut viewer).await;
    let expected: Vec<(i64, bool)> = (0..25).map(|k| (k * 3_600, k == 0)).collect();
    assert_eq!(video(&got), expected);
    let audio: Vec<i64> = got.iter().filter(|f| f.medium == Medium::Audio).map(|f| f.timestamp).collect();
    assert_eq!(audio, (0..50).map(|n| n * 960 - 312).collect::<Vec<i64>>());

    let mut decoder = H264Decoder::new().unwrap();
    for frame in got.iter().filter(|frame| frame.medium != Medium::Audio) {
        let picture = decoder.decode(&frame.data).unwrap().expect("a picture from every access unit");
        assert_eq!((picture.width(), picture.height()), (128, 96));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_begins_with_a_key_frame_and_joins_share_one() {
    let (stream, units, _came) = stream();
    let mut first = stream.subscribe(H264).unwrap();
    perform(&units, 0..20, &mut first).await;
    let (mut second, mut third) = (stream.subscribe(H264).unwrap(), stream.subscribe(H264).unwrap());
    let seen_by_first = video(&perform(&units, 20..40, &mut first).await);
    assert_eq!(seen_by_first.iter().filter(|(_, key)| *key).count(), 1);
    for viewer in [&mut second, &mut third] {
        let joined = video(&perform(&units, 0..0, viewer).await);
        assert_eq!(joined[0], (20 * 3_600, true));
        assert_eq!(joined.len(), 20);
    }
    assert_eq!(*stream.viewers().borrow(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_falls_behind_goes_on_with_a_key_frame() {
    let (stream, units, _came) = stream();
    let mut viewer = stream.subscribe(H264).unwrap();
    // More than the backlog holds, while the viewer takes nothing.
    for frame in 0..60 {
        tokio::task::block_in_place(|| units.send(TestUnit::new(frame)).unwrap());
    }
    let got = video(&perform(&units, 60..90, &mut viewer).await);
    let (first, key) = got[0];
    assert!(key && first > 0, "the first frame after the gap is {first}, key: {key}");
    assert!(got.windows(2).all(|pair| pair[1].0 - pair[0].0 == 3_600), "and from then on none is missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoder_exists_only_while_somebody_wants_its_codec() {
    let (stream, units, _came) = stream();
    let mut listener = stream.subscribe(None).unwrap();
    assert!(video(&perform(&units, 0..10, &mut listener).await).is_empty());
    let mut h264 = stream.subscribe(H264).unwrap();
    assert_eq!(video(&perform(&units, 10..20, &mut h264).await)[0], (36_000, true));
    let mut vp8 = stream.subscribe(Some(VideoCodec::Vp8)).unwrap();
    let got = perform(&units, 20..30, &mut vp8).await;
    assert_eq!(video(&got)[0], (72_000, true));
    assert!(got.iter().all(|f| !matches!(f.medium, Medium::Video { codec: VideoCodec::H264, .. })));
    assert_eq!(FPS.first_sample(20, 90_000), 72_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_units_is_the_end_of_the_stream() {
    let (stream, units, _came) = stream();
    let mut viewer = stream.subscribe(H264).unwrap();
    drop(units);
    assert!(viewer.next().await.is_none());
    assert!(stream.has_ended() && stream.subscribe(H264).is_none());
}
