//! Offers that come to nothing leave nothing open. Alone in its process, so that every socket is this test's own.

mod support;

use std::time::Duration;

use lipcast_server::webrtc::{WebrtcSettings, connect};

const CHROMIUM: &str = include_str!("data/offer_chromium.sdp");

/// Sockets that this process has open.
fn sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let is_socket = |path: std::path::PathBuf| path.to_string_lossy().starts_with("socket:");
    open.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(is_socket)).count()
}

/// Closing takes a moment; ten seconds at most.
async fn assert_sockets(count: usize) {
    for _ in 0..500 {
        if sockets() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} sockets are open where {count} were before", sockets());
}

#[tokio::test]
async fn refused_and_abandoned_offers_leave_no_socket_behind() {
    let (stream, units, _came) = support::stream();
    let settings = WebrtcSettings::for_http_address([127, 0, 0, 1].into());
    let before = sockets();
    // Looks whole from outside; the library finds the fault when it has its socket.
    let bad = CHROMIUM.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256-");
    for _ in 0..100 {
        assert!(connect(&bad, &stream, &settings).await.unwrap_err().is_clients_fault());
    }
    assert_sockets(before).await;

    // A client that goes away while it is being answered.
    for _ in 0..20 {
        tokio::select! {
            biased;
            _ = connect(CHROMIUM, &stream, &settings) => panic!("an answer takes more than one step"),
            () = std::future::ready(()) => {}
        }
    }
    assert_sockets(before).await;

    let mut viewer = connect(CHROMIUM, &stream, &settings).await.unwrap();
    assert!(sockets() > before);
    viewer.close();
    viewer.finished().await;
    assert_sockets(before).await;

    // One that never connects is gone with its session, long before its own time is over.
    let mut viewer = connect(CHROMIUM, &stream, &settings).await.unwrap();
    drop(units);
    viewer.finished().await;
    assert_sockets(before).await;
}
