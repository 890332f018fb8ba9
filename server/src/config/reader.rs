//! Reads a TOML document key by key: each call names a key, its default and a conversion.
//!
//! In goes the text; out come typed values and, at the end, every problem at once.
//! A key nobody asked for is unknown, so the set of keys cannot differ from what the code reads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use toml_edit::{Document, Item, TableLike};

use super::report::{Complaint, ConfigError, Problem, closest, place};

/// A document being read, and what was found wrong with it so far.
pub(crate) struct Reader<'a> {
    file: String,
    text: &'a str,
    document: Document<&'a str>,
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    problems: Vec<(usize, Problem)>,
    /// Where each key's value stands, by dotted key.
    spans: BTreeMap<String, Range<usize>>,
    /// Every dotted key that was asked for, whether the file has it or not.
    asked: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Parses `text`; a syntax error ends the reading.
    pub(crate) fn new(file: &str, text: &'a str) -> Result<Self, ConfigError> {
        match Document::parse(text) {
            Ok(document) => {
                Ok(Self { file: file.to_owned(), text, document, found: RefCell::new(Found::default()) })
            }
            Err(error) => {
                let (line, column) = place(text, error.span().map_or(0, |span| span.start));
                let mut message = error.message().trim().replace('\n', ", ");
                if message == "duplicate key"
                    && let Some(key) = error.span().and_then(|span| text.get(span))
                {
                    message += &format!(" `{}`", key.trim());
                }
                let problem = Problem { line, column, key: String::new(), message, help: None };
                Err(ConfigError { file: file.to_owned(), problems: vec![problem] })
            }
        }
    }

    /// The document's own table.
    pub(crate) fn root(&self) -> Section<'_, 'a> {
        let table: &dyn TableLike = self.document.as_table();
        Section { reader: self, path: String::new(), table: Some(table), known: RefCell::default() }
    }

    /// Reports a problem that concerns the value of `key`, or several keys together.
    pub(crate) fn complain(&self, key: &str, complaint: Complaint) {
        let span = complaint.span.clone().or_else(|| self.nearest_span(key));
        let (line, column) = place(self.text, span.as_ref().map_or(0, |span| span.start));
        let problem =
            Problem { line, column, key: key.to_owned(), message: complaint.message, help: complaint.help };
        self.found.borrow_mut().problems.push((span.map_or(0, |span| span.start), problem));
    }

    /// Where `key` stands, or the innermost table around it that the file has.
    fn nearest_span(&self, key: &str) -> Option<Range<usize>> {
        let spans = &self.found.borrow().spans;
        let ends = key.match_indices('.').map(|(at, _)| at).chain([key.len()]);
        ends.filter_map(|end| spans.get(&key[..end]).cloned()).next_back()
    }

    /// Every dotted key that was asked for.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> Vec<String> {
        self.found.borrow().asked.clone()
    }

    /// Whether the file itself gives `key`.
    #[cfg(test)]
    pub(crate) fn has(&self, key: &str) -> bool {
        self.found.borrow().spans.contains_key(key)
    }

    /// `value` when nothing was wrong, otherwise all problems in the order of the file.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        let mut problems = self.found.into_inner().problems;
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by_key(|(offset, _)| *offset);
        Err(ConfigError { file: self.file, problems: problems.into_iter().map(|(_, p)| p).collect() })
    }
}

/// One table of the document; absent tables read as all defaults.
pub(crate) struct Section<'r, 'a> {
    reader: &'r Reader<'a>,
    path: String,
    table: Option<&'r dyn TableLike>,
    known: RefCell<Vec<String>>,
}

impl<'r, 'a> Section<'r, 'a> {
    /// The value of `key` through `convert`, or `default` when the key is absent or wrong.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        default: T,
        convert: impl FnOnce(&Item) -> Result<T, Complaint>,
    ) -> T {
        let dotted = self.ask(key);
        let Some(item) = self.item(key) else { return default };
        self.place(&dotted, item);
        convert(item).unwrap_or_else(|complaint| {
            self.reader.complain(&dotted, complaint.at(item.span()));
            default
        })
    }

    /// The table under `key`; a value that is no table is a problem.
    pub(crate) fn section(&self, key: &str) -> Section<'r, 'a> {
        let dotted = self.ask(key);
        let table = self.item(key).and_then(|item| {
            self.place(&dotted, item);
            let table = item.as_table_like();
            if table.is_none() {
                let message = format!("expected a table, found {}", item.type_name());
                self.reader.complain(&dotted, Complaint::new(message).help(format!("write [{dotted}]")));
            }
            table
        });
        Section { reader: self.reader, path: dotted, table, known: RefCell::default() }
    }

    /// Names of all keys the file gives here, for tables whose keys the user chooses.
    pub(crate) fn names(&self) -> Vec<String> {
        self.table.map(|table| table.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
    }

    /// Reports a problem about `key` of this table.
    pub(crate) fn complain(&self, key: &str, complaint: Complaint) {
        self.reader.complain(&self.dotted(key), complaint);
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        let Some(table) = self.table else { return };
        let known = self.known.borrow();
        for (name, _) in table.iter() {
            if known.iter().any(|key| key == name) {
                continue;
            }
            let span = table.get_key_value(name).and_then(|(key, _)| key.span());
            let mut complaint = Complaint::new("unknown key").at(span);
            complaint = match closest(name, known.iter().map(String::as_str)) {
                Some(meant) => complaint.help(format!("did you mean `{meant}`?")),
                None => complaint.help(format!("known here: {}", known.join(", "))),
            };
            self.reader.complain(&self.dotted(name), complaint);
        }
    }

    fn item(&self, key: &str) -> Option<&'r Item> {
        self.table.and_then(|table| table.get(key)).filter(|item| !item.is_none())
    }

    fn ask(&self, key: &str) -> String {
        let dotted = self.dotted(key);
        self.known.borrow_mut().push(key.to_owned());
        self.reader.found.borrow_mut().asked.push(dotted.clone());
        dotted
    }

    fn place(&self, dotted: &str, item: &Item) {
        let key_span = || {
            let table = self.table?;
            table.get_key_value(dotted.rsplit('.').next()?).and_then(|(key, _)| key.span())
        };
        if let Some(span) = item.span().or_else(key_span) {
            self.reader.found.borrow_mut().spans.insert(dotted.to_owned(), span);
        }
    }

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
