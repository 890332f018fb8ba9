//! A viewer's peer connection, seen from a second one on loopback.

mod support;

use std::time::Duration;

use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use support::client::{AUDIO, Client, RTX, VIDEO};
use support::performing;

/// Twice as fast as life: what is tested are counts and timestamps, never how long something took.
const PACE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_and_reports_are_those_of_the_one_clock() {
    let (stream, _performer) = performing(PACE);
    let client = Client::watch(&stream, 0).await;
    client.until(|wire| wire.timestamps(VIDEO).len() > 120 && wire.reports.len() >= 6).await;

    let wire = client.wire.lock().unwrap();
    let (video, audio) = (wire.timestamps(VIDEO), wire.timestamps(AUDIO));
    let steps = |all: &[u32]| all.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect::<Vec<_>>();
    assert!(steps(&video).iter().all(|step| *step == 3_600), "{:?}", steps(&video));
    assert!(steps(&audio).iter().all(|step| *step == 960), "{:?}", steps(&audio));

    // The session begins with its first viewer, so what comes first is frame 0, and audio that a decoder gives
    // out 312 samples late.
    let (video_zero, audio_zero) = (video[0], audio[0].wrapping_add(312));
    let ssrc = |payload_type| {
        wire.packets
            .iter()
            .find(|(header, _)| header.payload_type == payload_type)
            .map(|(header, _)| header.ssrc)
    };
    // NTP time of media instant 0, in seconds, as each report has it.
    let origins: Vec<f64> = wire
        .reports
        .iter()
        .map(|report| {
            let (zero, rate) = if Some(report.ssrc) == ssrc(VIDEO) {
                (video_zero, 90_000.0)
            } else {
                (audio_zero, 48_000.0)
            };
            // Without the whole seconds since 1900, which an f64 would not hold to the microsecond.
            let seconds = (report.ntp_time & 0xff_ffff_ffff) as f64 / 2_f64.powi(32);
            seconds - f64::from(report.rtp_time.wrapping_sub(zero)) / rate
        })
        .collect();
    assert!(
        [VIDEO, AUDIO].iter().all(|kind| wire.reports.iter().any(|report| Some(report.ssrc) == ssrc(*kind)))
    );
    assert!(origins.iter().all(|origin| (origin - origins[0]).abs() < 0.001), "{origins:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_packets_come_again_as_retransmissions() {
    let (stream, _performer) = performing(PACE);
    let client = Client::watch(&stream, 10).await;
    client.until(|wire| wire.dropped.len() >= 11).await;
    // Not the first: where it was the very first packet of all, nobody can know that it is missing.
    let lost = client.wire.lock().unwrap().dropped[1..11].to_vec();
    client
        .until(|wire| {
            let again = wire.packets.iter().filter(|(header, _)| header.payload_type == RTX);
            let numbers: Vec<u16> =
                again.map(|(_, payload)| u16::from_be_bytes([payload[0], payload[1]])).collect();
            lost.iter().all(|number| numbers.contains(number))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_loss_is_answered_by_a_key_frame() {
    let (stream, _performer) = performing(PACE);
    let mut client = Client::watch(&stream, 0).await;
    client.until(|wire| wire.timestamps(VIDEO).len() > 40).await;
    let before = client.wire.lock().unwrap().key_frames(VIDEO);
    assert_eq!(before, 1, "nobody asked for a second one");

    let media_ssrc =
        client.wire.lock().unwrap().packets.iter().find(|(h, _)| h.payload_type == VIDEO).unwrap().0.ssrc;
    let loss = PictureLossIndication { sender_ssrc: 1, media_ssrc };
    client.video().await.write_rtcp(vec![Box::new(loss)]).await.unwrap();
    client.until(|wire| wire.key_frames(VIDEO) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_is_counted_while_it_watches_and_leaves_with_the_session() {
    let (stream, performer) = performing(PACE);
    let mut client = Client::watch(&stream, 0).await;
    client.until(|wire| wire.payload_types().contains(&VIDEO)).await;
    assert_eq!(*stream.viewers().borrow(), 1);
    drop(performer);
    client.viewer.finished().await;
    assert_eq!(*stream.viewers().borrow(), 0);
    assert!(stream.has_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_leaves_frees_its_place_and_others_stay() {
    let (stream, _performer) = performing(PACE);
    let mut leaves = Client::watch(&stream, 0).await;
    let stays = Client::watch(&stream, 0).await;
    leaves.until(|wire| !wire.packets.is_empty()).await;
    stays.until(|wire| !wire.packets.is_empty()).await;
    leaves.viewer.close();
    leaves.viewer.finished().await;
    assert_eq!(*stream.viewers().borrow(), 1);
    let seen = stays.wire.lock().unwrap().timestamps(VIDEO).len();
    stays.until(|wire| wire.timestamps(VIDEO).len() > seen + 20).await;
}
