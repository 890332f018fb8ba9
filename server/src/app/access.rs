//! Who may do what: bearer tokens for everything, short-lived ones for a single session.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use crate::config::{Secret, ServerConfig};

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// May do everything.
    Operator,
    /// May watch and drive this one session.
    Session(String),
}

/// Checks tokens, and hands out those for one session.
#[derive(Debug)]
pub struct Access {
    /// Hashes, so that a comparison takes as long whatever the length of what came.
    operators: Vec<blake3::Hash>,
    sessions: Mutex<HashMap<blake3::Hash, Grant>>,
    ttl: Duration,
}

#[derive(Debug)]
struct Grant {
    session: String,
    until: Instant,
}

/// A token that is good for one session.
#[derive(Debug)]
pub(crate) struct SessionToken {
    pub(crate) token: Secret,
    pub(crate) lives: Duration,
}

/// The most session tokens at a time; a token is 100 bytes, so this is 10 MB.
const MOST_GRANTS: usize = 100_000;

impl Caller {
    /// Whether this caller may touch `session`.
    pub fn may_use(&self, session: &str) -> bool {
        match self {
            Self::Operator => true,
            Self::Session(own) => own == session,
        }
    }
}

impl Access {
    /// The tokens of `config`.
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            operators: config.tokens.iter().map(|token| blake3::hash(token.reveal().as_bytes())).collect(),
            sessions: Mutex::default(),
            ttl: config.session_token_ttl,
        }
    }

    /// Who sends these headers; `None` when no valid token is among them. Without configured tokens everybody
    /// is the operator.
    pub fn caller(&self, headers: &HeaderMap, now: Instant) -> Option<Caller> {
        if self.operators.is_empty() {
            return Some(Caller::Operator);
        }
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let hash = blake3::hash(token.trim().as_bytes());
        let equal = self.operators.iter().fold(subtle::Choice::from(0), |found, operator| {
            found | operator.as_bytes().ct_eq(hash.as_bytes())
        });
        if bool::from(equal) {
            return Some(Caller::Operator);
        }
        // Looked up by its hash, of which timing tells nothing useful.
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = sessions.get(&hash).filter(|grant| now < grant.until)?;
        Some(Caller::Session(grant.session.clone()))
    }

    /// A new token for `session`; `None` when there are too many.
    pub(crate) fn grant(&self, session: &str, now: Instant) -> Option<SessionToken> {
        let token: String = rand::random::<[u8; 24]>().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, grant| now < grant.until);
        if sessions.len() >= MOST_GRANTS {
            return None;
        }
        let grant = Grant { session: session.to_owned(), until: now + self.ttl };
        sessions.insert(blake3::hash(token.as_bytes()), grant);
        Some(SessionToken { token: Secret::new(token), lives: self.ttl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Bases, Config};

    fn access() -> Access {
        let text = "[server]\ntokens = [\"first-operator-token\", \"second-operator-token\"]";
        Access::new(&Config::parse("t", text, &Bases::of(None)).unwrap().server)
    }

    fn bearer(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn only_the_right_token_opens() {
        let (access, now) = (access(), Instant::now());
        for value in ["Bearer first-operator-token", "bearer second-operator-token"] {
            assert_eq!(access.caller(&bearer(value), now), Some(Caller::Operator), "{value}");
        }
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer first-operator-toke",
            "Bearer first-operator-tokenx",
            "Basic first-operator-token",
            "first-operator-token",
        ] {
            assert_eq!(access.caller(&bearer(value), now), None, "{value}");
        }
        assert_eq!(access.caller(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_session_token_is_for_one_session_and_ends() {
        let (access, now) = (access(), Instant::now());
        let granted = access.grant("anna", now).unwrap();
        let headers = bearer(&format!("Bearer {}", granted.token.reveal()));
        let caller = access.caller(&headers, now).unwrap();
        assert!(caller.may_use("anna") && !caller.may_use("otto"));
        assert_eq!(access.caller(&headers, now + granted.lives), None);
    }
}
