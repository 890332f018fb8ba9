//! The settings: read as they are written, then checked.

use std::path::PathBuf;
use std::time::Duration;

use lipcast_plugins_api::author::{Code, Error};
use lipcast_plugins_api::serde_json::{self, Value};
use serde::Deserialize;

use crate::error::setting;
use crate::fault::{self, Act, Call, Fault, Scribble, Stream, Wrong};
use crate::trigger::{State, Trigger};

/// Settings that can be trusted.
pub(crate) struct Settings {
    pub(crate) id: u32,
    pub(crate) lies: Lies,
    pub(crate) faults: Vec<Fault>,
}

/// What is not true of what the contract promises.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lies {
    pub(crate) cross_talk: bool,
    pub(crate) neighbours: bool,
    pub(crate) peeks: bool,
    pub(crate) nondeterministic: bool,
    pub(crate) ignores_reset: bool,
    pub(crate) random_blob: bool,
    pub(crate) never_at_rest: bool,
}

impl Settings {
    /// Reads the backend's table; null is the empty one.
    pub(crate) fn read(config: Value) -> Result<Self, Error> {
        let config = if config.is_null() { Value::Object(serde_json::Map::new()) } else { config };
        let raw: Raw = serde_json::from_value(config).map_err(setting)?;
        if raw.id > 15 {
            return Err(setting(format!("`id` is 0 to 15, not {}", raw.id)));
        }
        let faults = raw.faults.into_iter().map(RawFault::check).collect::<Result<_, _>>()?;
        Ok(Self { id: raw.id, lies: Lies::of(&raw.lies), faults })
    }
}

impl Lies {
    fn of(all: &[Lie]) -> Self {
        let has = |lie| all.contains(&lie);
        Self {
            cross_talk: has(Lie::CrossTalk),
            neighbours: has(Lie::Neighbours),
            peeks: has(Lie::Peeks),
            nondeterministic: has(Lie::Nondeterministic),
            ignores_reset: has(Lie::IgnoresReset),
            random_blob: has(Lie::RandomBlob),
            never_at_rest: has(Lie::NeverAtRest),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    id: u32,
    lies: Vec<Lie>,
    faults: Vec<RawFault>,
}

impl Default for Raw {
    fn default() -> Self {
        Self { id: 1, lies: Vec::new(), faults: Vec::new() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Lie {
    CrossTalk,
    Neighbours,
    Peeks,
    Nondeterministic,
    IgnoresReset,
    RandomBlob,
    NeverAtRest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Fail,
    Hang,
    Crash,
    Abort,
    Exit,
    Panic,
    Leak,
    Log,
    Print,
    Fork,
    CloseFds,
    BadRing,
    BadTalk,
    StopSelf,
    Nan,
    Garbage,
    Black,
    Flat,
    ShortWrite,
    NoResult,
    Overrun,
    OutsideRect,
    OddRect,
    UnknownFormat,
    WrongFrame,
    WildStatus,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFault {
    #[serde(rename = "in")]
    call: Call,
    #[serde(rename = "do")]
    act: Name,
    // When.
    at_call: Option<u64>,
    at_frame: Option<u64>,
    every: Option<u64>,
    chance: Option<f64>,
    seed: Option<u64>,
    on_audio: Option<f32>,
    times: Option<u64>,
    unless_file: Option<PathBuf>,
    if_file: Option<PathBuf>,
    note: Option<PathBuf>,
    // Of single acts.
    code: Option<String>,
    retryable: Option<bool>,
    message: Option<String>,
    whole: Option<bool>,
    ms: Option<u64>,
    status: Option<i32>,
    mb: Option<usize>,
    lines: Option<u64>,
    bytes: Option<usize>,
    to: Option<Stream>,
    what: Option<Scribble>,
}

impl RawFault {
    fn check(mut self) -> Result<Fault, Error> {
        let (call, name) = (self.call, self.act);
        let act = self.take_act()?;
        let picture = matches!(act, Act::Picture(_)) || name == Name::Nan;
        if picture && call != Call::InferBatch {
            return Err(setting(format!("{name:?} is a fault of `infer_batch`, not of {call:?}")));
        }
        if matches!(act, Act::Fail { .. }) && !call.has_status() {
            return Err(setting(format!("{call:?} has no status to fail with")));
        }
        if self.at_frame.is_some() && call != Call::InferBatch {
            return Err(setting(format!("`at_frame` is for `infer_batch`, not for {call:?}")));
        }
        if self.on_audio.is_some() && !matches!(call, Call::InferBatch | Call::PushAudio) {
            return Err(setting(format!("{call:?} comes without audio")));
        }
        if self.every == Some(0) || self.chance.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err(setting("`every` is at least 1, `chance` 0 to 1"));
        }
        if let Some(key) = self.left_over() {
            return Err(setting(format!("`{key}` says nothing to {name:?}")));
        }
        let trigger = Trigger {
            at_call: self.at_call,
            at_frame: self.at_frame,
            every: self.every,
            chance: self.chance,
            on_audio: self.on_audio,
            times: self.times,
            unless_file: self.unless_file,
            if_file: self.if_file,
            state: State::seeded(self.seed.unwrap_or(0)),
        };
        Ok(Fault { call, act, trigger, note: self.note })
    }

    /// The act, and its keys out of the way.
    fn take_act(&mut self) -> Result<Act, Error> {
        let ms = Duration::from_millis;
        Ok(match self.act {
            Name::Fail => {
                let message = self.message.take().unwrap_or_else(|| "chaos fails, as it was told".to_owned());
                let code = code(self.code.take().as_deref().unwrap_or("INTERNAL"))?;
                let retryable = self.retryable.take().unwrap_or(false);
                Act::Fail {
                    error: Error { code, retryable, message },
                    whole: self.whole.take().unwrap_or(false),
                }
            }
            Name::Hang => Act::Hang(self.ms.take().map(ms)),
            Name::Crash => Act::Crash,
            Name::Abort => Act::Abort,
            Name::Exit => Act::Exit(self.status.take().unwrap_or(0)),
            Name::Panic => Act::Panic,
            Name::Leak => Act::Leak { bytes: self.mb.take().unwrap_or(10) << 20 },
            Name::Log => {
                Act::Log { lines: self.lines.take().unwrap_or(1), bytes: self.bytes.take().unwrap_or(80) }
            }
            Name::Print => Act::Print {
                lines: self.lines.take().unwrap_or(1),
                bytes: self.bytes.take().unwrap_or(80),
                to: self.to.take().unwrap_or(Stream::Stderr),
            },
            Name::Fork => Act::Fork(ms(self.ms.take().unwrap_or(1000))),
            Name::CloseFds => Act::CloseFds,
            Name::BadRing => Act::BadRing(self.what.take().unwrap_or(Scribble::Counter)),
            Name::BadTalk => Act::BadTalk,
            Name::StopSelf => Act::StopSelf,
            Name::Nan => fault::nan(),
            Name::Garbage => Act::Picture(Wrong::Garbage),
            Name::Black => Act::Picture(Wrong::Black),
            Name::Flat => Act::Picture(Wrong::Flat),
            Name::ShortWrite => Act::Picture(Wrong::ShortWrite),
            Name::NoResult => Act::Picture(Wrong::NoResult),
            Name::Overrun => Act::Picture(Wrong::Overrun { bytes: self.bytes.take().unwrap_or(64) }),
            Name::OutsideRect => Act::Picture(Wrong::OutsideRect),
            Name::OddRect => Act::Picture(Wrong::OddRect),
            Name::UnknownFormat => Act::Picture(Wrong::UnknownFormat),
            Name::WrongFrame => Act::Picture(Wrong::Frame),
            Name::WildStatus => Act::Picture(Wrong::Status),
        })
    }

    /// A key of single acts that nobody took.
    fn left_over(&self) -> Option<&'static str> {
        let keys = [
            ("code", self.code.is_some()),
            ("retryable", self.retryable.is_some()),
            ("message", self.message.is_some()),
            ("whole", self.whole.is_some()),
            ("ms", self.ms.is_some()),
            ("status", self.status.is_some()),
            ("mb", self.mb.is_some()),
            ("lines", self.lines.is_some()),
            ("bytes", self.bytes.is_some()),
            ("to", self.to.is_some()),
            ("what", self.what.is_some()),
            ("seed", self.seed.is_some() && self.chance.is_none()),
        ];
        keys.into_iter().find(|(_, there)| *there).map(|(key, _)| key)
    }
}

fn code(name: &str) -> Result<Code, Error> {
    // The contract's codes are numbered from 1 without a gap; what lies behind reads as INTERNAL.
    (1..=16)
        .filter_map(Code::from_abi)
        .find(|code| code.name() == name)
        .ok_or_else(|| setting(format!("there is no status `{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lipcast_plugins_api::serde_json::json;

    #[test]
    fn wrong_settings_are_refused_with_a_reason() {
        for (config, reason) in [
            (json!({"colour": 1}), "unknown field `colour`"),
            (json!({"id": 16}), "`id` is 0 to 15, not 16"),
            (json!({"lies": ["white"]}), "unknown variant `white`"),
            (json!({"faults": [{"in": "infer_batch"}]}), "missing field `do`"),
            (json!({"faults": [{"in": "infer", "do": "crash"}]}), "unknown variant `infer`"),
            (json!({"faults": [{"in": "create", "do": "nan"}]}), "Nan is a fault of `infer_batch`"),
            (json!({"faults": [{"in": "destroy", "do": "fail"}]}), "Destroy has no status to fail with"),
            (json!({"faults": [{"in": "create", "do": "fail", "code": "NO"}]}), "there is no status `NO`"),
            (json!({"faults": [{"in": "create", "do": "crash", "ms": 1}]}), "`ms` says nothing to Crash"),
            (json!({"faults": [{"in": "reset", "do": "crash", "at_frame": 1}]}), "`at_frame` is for"),
            (json!({"faults": [{"in": "health", "do": "crash", "on_audio": 1}]}), "comes without audio"),
            (json!({"faults": [{"in": "reset", "do": "crash", "every": 0}]}), "`every` is at least 1"),
            (json!({"faults": [{"in": "reset", "do": "crash", "seed": 1}]}), "`seed` says nothing"),
        ] {
            let error = Settings::read(config.clone()).err().unwrap_or_else(|| panic!("{config} is taken"));
            assert!(error.code == Code::InvalidArg && error.message.contains(reason), "{config}: {error}");
        }
    }

    #[test]
    fn every_status_of_the_contract_has_its_name() {
        for number in 1..=16 {
            let expected = Code::from_abi(number).unwrap();
            assert_eq!(code(expected.name()).unwrap(), expected);
        }
        assert_eq!(Code::from_abi(17), Some(Code::Internal), "a new status wants a larger range");
    }
}
