//! What an operator may choose about peer connections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lipcast_codecs::VideoCodec;

/// Settings of every peer connection of the server.
#[derive(Debug, Clone)]
pub struct WebrtcSettings {
    /// UDP addresses each peer connection binds, one socket each; port 0 takes a free one.
    /// An unspecified address (`0.0.0.0`, `::`) stands for every interface of its family but loopback.
    pub addresses: Vec<SocketAddr>,
    /// Addresses under which the server is reached from outside a one-to-one NAT; they replace the host's own
    /// in the answer. Empty without such a NAT.
    pub public_addresses: Vec<IpAddr>,
    /// Video codecs in order of preference; the first that an offer contains is used.
    pub video_codecs: Vec<VideoCodec>,
    /// How long an answer waits for the list of own addresses.
    pub gather_timeout: Duration,
    /// How long after the answer a viewer has to connect.
    pub connect_timeout: Duration,
    /// How long a viewer whose network fell silent may take to come back.
    pub disconnect_grace: Duration,
}

impl WebrtcSettings {
    /// Defaults for a server whose HTTP listener is bound to `http`: media use the same address, and on an
    /// unspecified one every interface, loopback included.
    pub fn for_http_address(http: IpAddr) -> Self {
        let mut addresses = vec![SocketAddr::new(http, 0)];
        if http.is_unspecified() {
            addresses.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        }
        Self {
            addresses,
            public_addresses: Vec::new(),
            video_codecs: vec![VideoCodec::H264, VideoCodec::Vp8],
            gather_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(15),
            disconnect_grace: Duration::from_secs(10),
        }
    }
}
