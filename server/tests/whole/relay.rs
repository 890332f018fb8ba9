//! A link that loses packets: a UDP relay between a viewer and the server's port, which a client asks for over HTTP.
//!
//! `GET /PORT` opens a relay to the server's `PORT` and answers with its own. Media and their reports are lost by a
//! seeded pattern, in both directions; the handshakes pass, as their slow retries would be all that is measured.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The relay; ends when dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    link: Arc<Link>,
}

struct Link {
    /// Packets of a thousand that are lost.
    loss_permille: u64,
    passed: AtomicU64,
    lost: AtomicU64,
    over: AtomicBool,
    viewer: Mutex<Option<SocketAddr>>,
}

impl Relay {
    pub(crate) fn start(loss_permille: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let link = Arc::new(Link {
            loss_permille,
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            over: AtomicBool::new(false),
            viewer: Mutex::new(None),
        });
        let opened = Arc::clone(&link);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if opened.over.load(Ordering::Relaxed) {
                    return;
                }
                answer(client.unwrap(), &opened);
            }
        });
        Self { address, link }
    }

    /// Where clients ask.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Media packets that passed, and that were lost.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.link.passed.load(Ordering::Relaxed), self.link.lost.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.link.over.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(mut client: TcpStream, link: &Arc<Link>) {
    let mut request = String::new();
    BufReader::new(&client).read_line(&mut request).unwrap();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let server: u16 =
        path.trim_start_matches('/').parse().unwrap_or_else(|_| panic!("no port in {request:?}"));
    let port = open(link, server).to_string();
    write!(client, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{port}", port.len())
        .unwrap();
}

/// Opens a relay to a port of the server, and gives the port that viewers send to.
fn open(link: &Arc<Link>, server: u16) -> u16 {
    let socket = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (front, back) = (Arc::new(socket()), Arc::new(socket()));
    back.connect((Ipv4Addr::LOCALHOST, server)).unwrap();
    let port = front.local_addr().unwrap().port();
    let (here, there, up) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(link));
    std::thread::spawn(move || {
        up.carry(&here, 0x5eed, |packet, from| {
            *up.viewer.lock().unwrap() = Some(from);
            there.send(packet)
        });
    });
    let down = Arc::clone(link);
    std::thread::spawn(move || {
        down.carry(&back, 0xfeed, |packet, _| match *down.viewer.lock().unwrap() {
            Some(viewer) => front.send_to(packet, viewer),
            None => Ok(0),
        });
    });
    port
}

impl Link {
    fn carry(
        &self,
        from: &UdpSocket,
        mut seed: u64,
        mut send: impl FnMut(&[u8], SocketAddr) -> std::io::Result<usize>,
    ) {
        from.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut packet = [0; 2_048];
        while !self.over.load(Ordering::Relaxed) {
            let Ok((length, sender)) = from.recv_from(&mut packet) else { continue };
            // RTP and RTCP begin with version 2 (RFC 7983).
            if (128..192).contains(&packet[0]) {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                if seed % 1_000 < self.loss_permille {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                self.passed.fetch_add(1, Ordering::Relaxed);
            }
            // An end that is gone ends the watching, not the relay.
            let _ = send(&packet[..length], sender);
        }
    }
}
