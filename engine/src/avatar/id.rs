//! Names of avatars: safe as a folder name, in a URL and in a log line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// 1 to 64 of `A–Z a–z 0–9 _ - .`, not beginning with a dot; so it can never leave the store's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AvatarId(String);

/// Why a text is no avatar id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?} is no avatar id: use 1 to 64 letters, digits, '_', '-' or '.', not beginning with '.'")]
pub struct InvalidAvatarId {
    shown: String,
}

impl AvatarId {
    /// Longest id, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Reads an id.
    ///
    /// # Errors
    /// When the text is empty, too long, begins with a dot, or holds anything but the allowed characters.
    pub fn parse(text: &str) -> Result<Self, InvalidAvatarId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let length_ok = (1..=Self::MAX_LEN).contains(&text.len());
        if !length_ok || text.starts_with('.') || !text.bytes().all(allowed) {
            return Err(InvalidAvatarId { shown: text.chars().take(80).collect() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AvatarId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AvatarId {
    type Err = InvalidAvatarId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for AvatarId {
    type Error = InvalidAvatarId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<AvatarId> for String {
    fn from(id: AvatarId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_leave_the_store() {
        for good in ["yongen", "a", "Anna-2_b.v1", "x..y", &"a".repeat(64)] {
            assert_eq!(AvatarId::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        let bad = [
            "", ".", "..", ".hidden", "../x", "a/b", "a\\b", "/etc", "a\0", "a b", "ä", "%2e%2e", "a\n",
            "C:", &long,
        ];
        for text in bad {
            assert!(AvatarId::parse(text).is_err(), "{text:?}");
        }
        assert!(serde_json::from_str::<AvatarId>("\"../x\"").is_err());
    }
}
