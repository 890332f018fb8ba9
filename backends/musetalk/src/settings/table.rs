//! A table of settings, read key by key: what is there is checked, what is not there stays at its default,
//! and what nobody asked for is refused.

use std::fmt::{Display, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use lipcast_plugins_api::author::Error;
use serde_json::{Map, Value};

/// Characters of a wrong value that are repeated to its author.
const SHOWN: usize = 40;

/// What is left of a table, and what has been asked for.
pub struct Table {
    /// Before each key: empty, or like `compat.`.
    prefix: &'static str,
    entries: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Table {
    /// Reads the whole of `value` by `read`; null is an empty table. `prefix` stands before each key in what is said of
    /// it, like `compat.`.
    ///
    /// # Errors
    /// `INVALID_ARG` that names the key and what it takes; also for a key that `read` did not ask for.
    pub(super) fn read<T>(
        prefix: &'static str,
        value: Value,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut table = Self::new(prefix, value)?;
        let settings = read(&mut table)?;
        table.finish()?;
        Ok(settings)
    }

    /// Begins to read `value`; null is an empty table.
    fn new(prefix: &'static str, value: Value) -> Result<Self, Error> {
        let entries = match value {
            Value::Object(entries) => entries,
            Value::Null => Map::new(),
            other => {
                let name =
                    if prefix.is_empty() { "a backend's settings" } else { prefix.trim_end_matches('.') };
                return Err(Error::invalid_arg(format!(
                    "{name}: a table is expected, not {}",
                    shown(&other)
                )));
            }
        };
        Ok(Self { prefix, entries, known: Vec::new() })
    }

    /// The value of `key` as `read` understands it; `expected` says what that is.
    ///
    /// # Errors
    /// `INVALID_ARG` with the key and `expected`, when `read` does not understand it.
    pub fn take<T>(
        &mut self,
        key: &'static str,
        expected: impl Display,
        default: T,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, Error> {
        self.known.push(key);
        let Some(value) = self.entries.remove(key) else { return Ok(default) };
        read(&value).ok_or_else(|| {
            let prefix = self.prefix;
            Error::invalid_arg(format!("{prefix}{key}: {expected} is expected, not {}", shown(&value)))
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// As [`Table::take`].
    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, Error> {
        self.take(key, "true or false", default, Value::as_bool)
    }

    /// A whole number within `range`.
    ///
    /// # Errors
    /// As [`Table::take`].
    pub fn whole<T>(&mut self, key: &'static str, range: RangeInclusive<T>, default: T) -> Result<T, Error>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.take(key, expected, default, |value| whole(value, &range))
    }

    /// One of `words`.
    ///
    /// # Errors
    /// As [`Table::take`].
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)], default: T) -> Result<T, Error> {
        let mut expected = String::from("one of ");
        for (i, (word, _)) in words.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(expected, "{comma}\"{word}\"").expect("a String takes all");
        }
        self.take(key, expected, default, |value| {
            let found = value.as_str()?;
            words.iter().find(|(word, _)| *word == found).map(|(_, meant)| *meant)
        })
    }

    /// The path of a file or folder, not looked at; it may be empty.
    ///
    /// # Errors
    /// As [`Table::take`].
    pub fn path(&mut self, key: &'static str, default: PathBuf) -> Result<PathBuf, Error> {
        self.take(key, "a path", default, |value| {
            value.as_str().filter(|path| !path.contains('\0')).map(PathBuf::from)
        })
    }

    /// A table within this one.
    pub fn table(&mut self, key: &'static str) -> Value {
        self.known.push(key);
        self.entries.remove(key).unwrap_or_default()
    }

    /// Ends: everything must have been asked for.
    fn finish(self) -> Result<(), Error> {
        let Some(key) = self.entries.keys().next() else { return Ok(()) };
        let prefix = self.prefix;
        let likeness = |known: &&str| strsim::jaro_winkler(key, known);
        let meant = self
            .known
            .iter()
            .copied()
            .filter(|known| likeness(known) > 0.8)
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let key = cut(&key.escape_debug().to_string());
        Err(Error::invalid_arg(match meant {
            Some(meant) => format!("there is no setting `{prefix}{key}`; did you mean `{prefix}{meant}`?"),
            None => format!("there is no setting `{prefix}{key}`"),
        }))
    }
}

/// `value` as a whole number within `range`.
pub(super) fn whole<T: TryFrom<i64> + PartialOrd>(value: &Value, range: &RangeInclusive<T>) -> Option<T> {
    T::try_from(value.as_i64()?).ok().filter(|number| range.contains(number))
}

fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
