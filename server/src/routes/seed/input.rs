//! Query parameters and JSON bodies, with FastAPI's answer to what is missing or malformed.

use axum::Extension;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use lipcast_engine::avatar::AvatarId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::SeedError;
use crate::app::{Caller, StudioError};

/// One complaint about one field, in FastAPI's words.
#[derive(Debug, Serialize)]
pub(in crate::routes) struct FieldError {
    loc: Vec<Value>,
    msg: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl FieldError {
    fn new(place: &str, name: &str, kind: &'static str, msg: impl Into<String>) -> Self {
        Self { loc: vec![json!(place), json!(name)], msg: msg.into(), kind }
    }

    fn missing(place: &str, name: &str) -> Self {
        Self::new(place, name, "missing", "Field required")
    }
}

/// The query of a request. Complaints gather until [`Params::finish`], so that all are told at once.
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    wrong: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = SeedError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SeedError> {
        match Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => Ok(Self { pairs, wrong: Vec::new() }),
            Err(error) => Err(SeedError::bad(error.body_text())),
        }
    }
}

impl Params {
    /// A parameter that must be there.
    pub(super) fn required(&mut self, name: &str) -> String {
        let value = self.optional(name);
        if value.is_none() {
            self.wrong.push(FieldError::missing("query", name));
        }
        value.unwrap_or_default()
    }

    /// A parameter that may be there; of several the last counts.
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// A whole number of at least one, if it is there.
    pub(super) fn optional_count(&mut self, name: &str) {
        let Some(text) = self.optional(name) else { return };
        if let Err((kind, msg)) = check_count(text.trim().parse().ok()) {
            self.wrong.push(FieldError::new("query", name, kind, msg));
        }
    }

    /// Refuses the request when anything was wrong.
    pub(super) fn finish(self) -> Result<(), SeedError> {
        if self.wrong.is_empty() { Ok(()) } else { Err(SeedError::Fields(self.wrong)) }
    }
}

/// A JSON object. Complaints gather until [`Body::finish`].
pub(super) struct Body {
    fields: Map<String, Value>,
    wrong: Vec<FieldError>,
}

impl Body {
    /// Reads `bytes`, whatever content type they came with.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, SeedError> {
        let refuse =
            |loc: Vec<Value>, kind, msg: String| Err(SeedError::Fields(vec![FieldError { loc, msg, kind }]));
        if bytes.is_empty() {
            return refuse(vec![json!("body")], "missing", "Field required".to_owned());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self { fields, wrong: Vec::new() }),
            Ok(_) => {
                let msg = "Input should be a valid dictionary or object to extract fields from";
                refuse(vec![json!("body")], "model_attributes_type", msg.to_owned())
            }
            Err(error) => {
                let place = format!("line {} column {}", error.line(), error.column());
                let msg = format!("JSON decode error at {place}");
                refuse(vec![json!("body"), json!(offset(bytes, &error))], "json_invalid", msg)
            }
        }
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, name: &str) -> String {
        match self.fields.remove(name) {
            Some(Value::String(text)) => return text,
            None => self.wrong.push(FieldError::missing("body", name)),
            Some(_) => {
                let msg = "Input should be a valid string";
                self.wrong.push(FieldError::new("body", name, "string_type", msg));
            }
        }
        String::new()
    }

    /// A whole number of at least one, if it is there and not null.
    pub(super) fn optional_count(&mut self, name: &str) {
        let value = match self.fields.remove(name) {
            None | Some(Value::Null) => return,
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_i64(),
        };
        if let Err((kind, msg)) = check_count(value) {
            self.wrong.push(FieldError::new("body", name, kind, msg));
        }
    }

    /// Refuses the request when anything was wrong.
    pub(super) fn finish(self) -> Result<(), SeedError> {
        if self.wrong.is_empty() { Ok(()) } else { Err(SeedError::Fields(self.wrong)) }
    }
}

/// The session that the path names, when the caller may use it.
pub(super) struct SessionPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = SeedError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SeedError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|error| SeedError::bad(error.body_text()))?;
        let caller = Extension::<Caller>::from_request_parts(parts, state).await;
        let caller = caller.map_err(|error| SeedError::Studio(StudioError::internal(error)))?;
        session_name(&name, &caller)?;
        Ok(Self(name))
    }
}

/// A session's name: 1 to 128 characters, none of them a control character.
pub(super) fn session_name(name: &str, Extension(caller): &Extension<Caller>) -> Result<(), SeedError> {
    if name.is_empty() || name.chars().count() > 128 || name.chars().any(char::is_control) {
        return Err(SeedError::bad("session_id must be 1 to 128 characters, without control characters"));
    }
    if !caller.may_use(name) {
        let detail = "this token is good for its own session only".to_owned();
        return Err(SeedError::Status(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

/// An avatar's name.
pub(super) fn avatar_name(name: &str) -> Result<AvatarId, SeedError> {
    AvatarId::parse(name).map_err(|error| SeedError::bad(error.to_string()))
}

fn check_count(value: Option<i64>) -> Result<(), (&'static str, &'static str)> {
    match value {
        None => Err(("int_parsing", "Input should be a valid integer, unable to parse string as an integer")),
        Some(value) if value < 1 => Err(("greater_than_equal", "Input should be greater than or equal to 1")),
        Some(_) => Ok(()),
    }
}

/// Where in the body reading stopped, bytes; what FastAPI puts into `loc`.
fn offset(bytes: &[u8], error: &serde_json::Error) -> usize {
    let line_start = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    line_start + error.column()
}
