//! Why an offer was not answered.

/// Why [`connect`](super::connect) gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// Longer than any honest offer.
    #[error("the SDP offer has {bytes} bytes; at most {limit} are read")]
    TooLarge {
        /// What came.
        bytes: usize,
        /// What is read.
        limit: usize,
    },
    /// Not SDP, or SDP that contradicts itself.
    #[error("the SDP offer cannot be read: {0}")]
    Malformed(String),
    /// Readable, but without something every WebRTC offer has.
    #[error("the SDP offer has no {attribute}: a WebRTC peer cannot be answered without it")]
    Incomplete {
        /// The line that is missing.
        attribute: &'static str,
    },
    /// Neither audio nor video that the offering side would receive.
    #[error("the SDP offer asks for neither video nor audio (no m= line with recvonly or sendrecv)")]
    NothingAsked,
    /// Video is asked for, in codecs that this server does not speak.
    #[error("no common video codec: the offer has {}, this server sends {supported}", list(offered))]
    NoCommonVideoCodec {
        /// Names as in the offer.
        offered: Vec<String>,
        /// What the configuration allows.
        supported: String,
    },
    /// Audio is asked for, but not as Opus.
    #[error("no common audio codec: the offer has {}, this server sends opus/48000/2", list(offered))]
    NoCommonAudioCodec {
        /// Names as in the offer.
        offered: Vec<String>,
    },
    /// The session ended before the answer.
    #[error("the session has ended")]
    SessionEnded,
    /// No socket, no key, or another trouble of this server's own.
    #[error("the peer connection could not be set up: {0}")]
    Failed(String),
}

impl OfferError {
    /// Whether the client has to change its offer: a 4xx rather than a 5xx.
    pub fn is_clients_fault(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::SessionEnded)
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
