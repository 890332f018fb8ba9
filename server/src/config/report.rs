//! What is wrong with a configuration file: every problem with file, line, column and a suggestion.

use std::fmt;
use std::ops::Range;

/// One problem, placed in the file it was found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key it is about, dotted (`server.bind`); empty for a syntax error.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, when that is known.
    pub help: Option<String>,
}

/// All problems of one file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as the user named it.
    pub file: String,
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// A single problem at the start of `file`, for a file that could not even be read.
    pub(crate) fn unreadable(file: String, message: String, help: Option<String>) -> Self {
        Self { file, problems: vec![Problem { line: 1, column: 1, key: String::new(), message, help }] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}:{}: ", self.file, problem.line, problem.column)?;
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            write!(f, "{}", problem.message)?;
            if let Some(help) = &problem.help {
                write!(f, "\n    help: {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A problem found while converting one value; the reader adds key and place.
#[derive(Debug, Clone)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Byte range of the part that is wrong, when it is narrower than the whole value.
    pub(crate) span: Option<Range<usize>>,
}

impl Complaint {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, span: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn at(mut self, span: Option<Range<usize>>) -> Self {
        self.span = self.span.or(span);
        self
    }
}

/// Line and column (both from 1, column in characters) of a byte offset.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The name among `known` that `wrong` was probably meant to be.
pub(crate) fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        assert_eq!(place("é = 1\nö x", 0), (1, 1));
        assert_eq!(place("é = 1\nö x", 3), (1, 3));
        assert_eq!(place("é = 1\nö x", 10), (2, 3));
        assert_eq!(place("", 99), (1, 1));
    }

    #[test]
    fn suggestions_need_some_likeness() {
        assert_eq!(closest("binnd", ["bind", "open"]), Some("bind"));
        assert_eq!(closest("zzz", ["bind", "open"]), None);
    }
}
