//! What goes over the control socket: one JSON object a packet.
//!
//! The child speaks first ([`FromChild::Hello`] or [`FromChild::Refused`]). The parent calls, the child answers by
//! number, and asks in between for what it needs. Everything else are notices, which nobody answers.

use lipcast_plugins_api::loader::checks;
use lipcast_plugins_api::types::{
    AvatarInfo, Capabilities, Code, Descriptor, Error, Health, HealthState, IdleBy, LogLevel, MetricKind,
    Rect, RestPolicy,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a child says first, once it has opened its plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`](crate::layout::VERSION) of the protocol that it speaks.
    pub protocol: u32,
    /// As in the descriptor of a plugin.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Of the backend.
    #[serde(default)]
    pub version: String,
    /// Who made it.
    #[serde(default)]
    pub vendor: String,
    /// SPDX expression.
    #[serde(default)]
    pub license: String,
    /// Where it lives.
    #[serde(default)]
    pub url: String,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What was opened: a path and the contract's version, for people.
    #[serde(default)]
    pub origin: String,
}

impl Hello {
    /// The greeting of a child that opened a plugin.
    pub fn of(descriptor: &Descriptor, origin: String) -> Self {
        let Descriptor { id, name, version, vendor, license, url, capabilities } = descriptor.clone();
        Self {
            protocol: crate::layout::VERSION,
            id,
            name,
            version,
            vendor,
            license,
            url,
            capabilities,
            origin,
        }
    }

    /// The descriptor in it, if it can be.
    ///
    /// # Errors
    /// In a sentence what is wrong with it.
    pub fn descriptor(&self) -> Result<Descriptor, String> {
        if self.protocol != crate::layout::VERSION {
            let (found, own) = (self.protocol, crate::layout::VERSION);
            return Err(format!("it speaks version {found} of the protocol, this server version {own}"));
        }
        let Self { id, name, version, vendor, license, url, capabilities, .. } = self.clone();
        let descriptor = Descriptor { id, name, version, vendor, license, url, capabilities };
        checks::descriptor(&descriptor)?;
        Ok(descriptor)
    }
}

/// A packet of the child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FromChild {
    /// The plugin is open.
    Hello {
        /// Who it is.
        hello: Box<Hello>,
    },
    /// The plugin could not be opened.
    Refused {
        /// Why, in a line.
        refused: String,
    },
    /// A call succeeded.
    Done {
        /// Number of the call.
        reply: u64,
        /// What it gave.
        ok: Value,
    },
    /// A call failed.
    Failed {
        /// Number of the call.
        reply: u64,
        /// Why.
        error: ErrorMessage,
    },
    /// Something is needed for a call that runs.
    Ask {
        /// Number of the call.
        ask: u64,
        /// Number of the question.
        number: u64,
        /// What.
        #[serde(flatten)]
        want: Want,
    },
    /// How far a call is.
    Progress {
        /// Number of the call.
        progress: u64,
        /// 0 to 1000.
        permille: u32,
        /// What it does now.
        #[serde(default)]
        stage: String,
    },
    /// A line of log.
    Log {
        /// Its level.
        log: Level,
        /// The part that speaks.
        #[serde(default)]
        target: String,
        /// The line.
        message: String,
        /// An object.
        #[serde(default)]
        fields: Value,
        /// Lines before this one for which there was no room.
        #[serde(default, skip_serializing_if = "is_zero")]
        missed: u64,
    },
    /// A measurement.
    Metric {
        /// Its name.
        metric: String,
        /// "counter", "gauge" or "histogram".
        kind: Kind,
        /// The number.
        value: f64,
        /// An object.
        #[serde(default)]
        labels: Value,
    },
}

/// What `prepare_avatar` may need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "snake_case")]
pub enum Want {
    /// The pixels of a source frame, into the transfer memory.
    Frame {
        /// Which.
        index: u32,
    },
    /// The landmarks of a source frame.
    Landmarks {
        /// Which.
        index: u32,
    },
    /// The face box of a source frame.
    FaceBox {
        /// Which.
        index: u32,
    },
    /// A file beside the frames.
    Asset {
        /// Which.
        name: String,
    },
    /// To append the first bytes of the transfer memory to the blob.
    Blob {
        /// How many.
        len: u64,
    },
}

/// A packet of the parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FromParent {
    /// A call.
    Call {
        /// Counts the parent's calls.
        number: u64,
        /// Which, with its arguments.
        #[serde(flatten)]
        call: Call,
    },
    /// What was asked for.
    Answer {
        /// Number of the question.
        answer: u64,
        /// What there is.
        #[serde(flatten)]
        outcome: AnswerOutcome,
    },
    /// A call shall end early.
    Cancel {
        /// Number of the call.
        cancel: u64,
    },
}

/// A question's answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerOutcome {
    /// An object.
    Ok(Value),
    /// Why not.
    Error(ErrorMessage),
}

/// A call with its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// Loads weights. Gives {}.
    Create {
        /// The backend's table of `config.toml`.
        config: Value,
    },
    /// Effective device, precision, batch sizes, memory. Gives an object.
    Describe {},
    /// Makes a blob; the transfer memory comes beside it. Gives {}.
    PrepareAvatar {
        /// What it is made from.
        source: SourceMessage,
        /// The avatar's parameters.
        params: Value,
        /// Bytes of the transfer memory.
        transfer_len: u64,
    },
    /// Loads a blob, which comes beside it as a file. Gives a [`LoadedMessage`], with the masks beside it.
    LoadAvatar {
        /// A name that the parent chose.
        avatar: u64,
        /// Bytes of the blob.
        len: u64,
    },
    /// Hands over the memory for an avatar's pictures, which comes beside it. Gives {}.
    AttachSlots {
        /// Which avatar.
        avatar: u64,
        /// Slots.
        count: u32,
        /// Bytes of a slot that may be written.
        len: u64,
        /// Bytes from one slot to the next, a multiple of 64.
        stride: u64,
    },
    /// Gives {}.
    UnloadAvatar {
        /// Which.
        avatar: u64,
    },
    /// Gives a [`HealthMessage`]; answered while other calls run.
    Health {},
    /// Gives an object; answered while other calls run.
    Stats {},
    /// Ends the backend and its process. Gives {}.
    End {},
}

impl Call {
    /// The name of the call, as it stands on the wire and in messages for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Describe {} => "describe",
            Self::PrepareAvatar { .. } => "prepare_avatar",
            Self::LoadAvatar { .. } => "load_avatar",
            Self::AttachSlots { .. } => "attach_slots",
            Self::UnloadAvatar { .. } => "unload_avatar",
            Self::Health {} => "health",
            Self::Stats {} => "stats",
            Self::End {} => "end",
        }
    }
}

/// What an avatar is prepared from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceMessage {
    /// Source frames; may be 0.
    pub frame_count: u32,
    /// Of every frame, pixels.
    pub width: u32,
    /// Of every frame, pixels.
    pub height: u32,
    /// Frames per second as a fraction.
    pub fps: (u32, u32),
    /// Names of files beside the frames.
    #[serde(default)]
    pub assets: Vec<String>,
}

/// What `load_avatar` gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedMessage {
    /// What the avatar is.
    pub info: AvatarMessage,
}

/// An avatar's info.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvatarMessage {
    /// Width and height of the canvas, pixels.
    pub canvas: (u32, u32),
    /// Frames per second as a fraction.
    pub fps: (u32, u32),
    /// Avatar frames; 0: the backend draws without.
    pub frame_count: u32,
    /// x, y, width, height of what every result lies in.
    pub max_rect: [u32; 4],
    /// Results that the backend likes to have in flight; 0: the host chooses.
    #[serde(default)]
    pub slots: u32,
    /// "HOST" or "BACKEND".
    pub idle: IdleMessage,
    /// "ASK" or "AT_ONCE".
    pub rest: RestMessage,
}

/// Who draws idle frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "as in the contract")]
pub enum IdleMessage {
    Host,
    Backend,
}

/// How speech comes to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "as in the contract")]
pub enum RestMessage {
    Ask,
    AtOnce,
}

impl From<&AvatarInfo> for AvatarMessage {
    fn from(info: &AvatarInfo) -> Self {
        let Rect { x, y, width, height } = info.max_rect;
        Self {
            canvas: info.canvas,
            fps: info.fps,
            frame_count: info.frame_count,
            max_rect: [x, y, width, height],
            slots: info.slots,
            idle: if info.idle == IdleBy::Host { IdleMessage::Host } else { IdleMessage::Backend },
            rest: if info.rest_policy == RestPolicy::Ask { RestMessage::Ask } else { RestMessage::AtOnce },
        }
    }
}

impl From<&AvatarMessage> for AvatarInfo {
    fn from(message: &AvatarMessage) -> Self {
        let [x, y, width, height] = message.max_rect;
        Self {
            canvas: message.canvas,
            fps: message.fps,
            frame_count: message.frame_count,
            max_rect: Rect::new(x, y, width, height),
            slots: message.slots,
            idle: if message.idle == IdleMessage::Host { IdleBy::Host } else { IdleBy::Backend },
            rest_policy: if message.rest == RestMessage::Ask { RestPolicy::Ask } else { RestPolicy::AtOnce },
        }
    }
}

/// How an instance feels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthMessage {
    /// "OK", "DEGRADED" or "BROKEN".
    pub state: String,
    /// A line for the operator.
    #[serde(default)]
    pub message: String,
}

impl From<Health> for HealthMessage {
    fn from(health: Health) -> Self {
        let state = match health.state {
            HealthState::Ok => "OK",
            HealthState::Degraded => "DEGRADED",
            HealthState::Broken => "BROKEN",
        };
        Self { state: state.to_owned(), message: health.message }
    }
}

impl From<HealthMessage> for Health {
    fn from(message: HealthMessage) -> Self {
        let state = match message.state.as_str() {
            "OK" => HealthState::Ok,
            "DEGRADED" => HealthState::Degraded,
            _ => HealthState::Broken,
        };
        Self { state, message: message.message }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// The header's name of the status without its prefix; one that is not known counts as INTERNAL.
    pub code: String,
    /// A line for people.
    #[serde(default)]
    pub message: String,
    /// The same call may succeed later.
    #[serde(default)]
    pub retryable: bool,
}

impl From<&Error> for ErrorMessage {
    fn from(error: &Error) -> Self {
        let (code, message) = (error.code.name().to_owned(), error.message.clone());
        Self { code, message, retryable: error.retryable }
    }
}

impl From<ErrorMessage> for Error {
    fn from(message: ErrorMessage) -> Self {
        let code = Code::from_name(&message.code).unwrap_or(Code::Internal);
        let text = message.message.replace(char::is_control, " ");
        Self { code, retryable: message.retryable, message: text }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A log level's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "as in the contract")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

/// A metric kind's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "as in the contract")]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl From<MetricKind> for Kind {
    fn from(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => Self::Counter,
            MetricKind::Gauge => Self::Gauge,
            MetricKind::Histogram => Self::Histogram,
        }
    }
}

impl From<Kind> for MetricKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter,
            Kind::Gauge => Self::Gauge,
            Kind::Histogram => Self::Histogram,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parent(message: &FromParent) -> Value {
        serde_json::to_value(message).unwrap()
    }

    #[test]
    fn messages_read_as_the_reference_says() {
        let call = FromParent::Call { number: 3, call: Call::LoadAvatar { avatar: 9, len: 70 } };
        assert_eq!(parent(&call), json!({"call": "load_avatar", "number": 3, "avatar": 9, "len": 70}));
        let answer = FromParent::Answer { answer: 4, outcome: AnswerOutcome::Ok(json!({"len": 12})) };
        assert_eq!(parent(&answer), json!({"answer": 4, "ok": {"len": 12}}));
        for message in [call, answer, FromParent::Cancel { cancel: 3 }] {
            assert_eq!(serde_json::from_value::<FromParent>(parent(&message)).unwrap(), message);
        }
        let read = |value| serde_json::from_value::<FromChild>(value).unwrap();
        let ask = json!({"ask": 3, "number": 1, "want": "face_box", "index": 5});
        assert_eq!(read(ask), FromChild::Ask { ask: 3, number: 1, want: Want::FaceBox { index: 5 } });
        let failed = json!({"reply": 3, "error": {"code": "NOT_FOUND"}});
        let FromChild::Failed { error, .. } = read(failed) else { panic!() };
        assert_eq!(Error::from(error).code, Code::NotFound);
        let hello =
            json!({"hello": {"protocol": 1, "id": "org.example.x", "capabilities": {"max_batch": 4}}});
        let FromChild::Hello { hello } = read(hello) else { panic!() };
        assert_eq!(hello.descriptor().unwrap().capabilities.max_batch, 4);
    }

    proptest! {
        /// Whatever comes over the socket, text or not: it is read or refused. What is close to a message is built of
        /// real ones, cut and changed.
        #[test]
        fn any_bytes_are_a_message_or_none(
            bytes in collection::vec(any::<u8>(), 0..300),
            which in 0..6_usize,
            cut in any::<prop::sample::Index>(),
            changes in collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let _ = serde_json::from_slice::<FromChild>(&bytes);
            let _ = serde_json::from_slice::<FromParent>(&bytes);
            let real = [
                json!({"hello": {"protocol": 1, "id": "org.example.x", "capabilities": {"max_batch": 4}}}),
                json!({"reply": 3, "error": {"code": "NOT_FOUND", "message": "none", "retryable": true}}),
                json!({"ask": 3, "number": 1, "want": "face_box", "index": 5}),
                json!({"log": "info", "target": "x", "message": "y", "fields": {"a": [1, 2]}, "missed": 3}),
                json!({"progress": 7, "permille": 500, "stage": "mouths"}),
                json!({"call": "load_avatar", "number": 3, "avatar": 9, "len": 70}),
            ];
            let mut text = real[which].to_string().into_bytes();
            for (place, byte) in &changes {
                let place = place.index(text.len());
                text[place] = *byte;
            }
            text.truncate(cut.index(text.len() + 1));
            if let Ok(FromChild::Hello { hello }) = serde_json::from_slice(&text) {
                let _ = hello.descriptor();
            }
            let _ = serde_json::from_slice::<FromParent>(&text);
        }
    }

    #[test]
    fn a_greeting_that_cannot_be_is_refused() {
        let hello = |protocol, id: &str, max_batch| Hello {
            protocol,
            id: id.to_owned(),
            capabilities: Capabilities { max_batch, ..Capabilities::default() },
            ..serde_json::from_value(json!({"protocol": 1, "id": "x"})).unwrap()
        };
        assert!(hello(1, "org.example.x", 1).descriptor().is_ok());
        for (protocol, id, max_batch) in [(2, "x", 1), (1, "a/b", 1), (1, "", 1), (1, "x", 0)] {
            assert!(hello(protocol, id, max_batch).descriptor().is_err());
        }
    }
}
