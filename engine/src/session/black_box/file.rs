//! A recording as a file that people can read: JSON lines, a head, one line an event, and a last line that seals it.
//!
//! Files come from other machines and from editors: a damaged or foreign one is refused with the line and a reason.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

use super::event::{Entry, Event, LineMark, Recording, Subject};
use crate::time::FrameRate;

/// Version of the file that this build writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes of a line: twelve seconds of audio in one push, forty times what a session pushes at once.
const LONGEST_LINE: u64 = 1 << 20;
/// Bytes of a file: sixteen times what a black box holds, which base64 makes a third longer.
const LARGEST_FILE: u64 = 512 << 20;
/// Frames and samples beyond this are those of no session: it would have lasted for centuries.
const COUNT_LIMIT: u64 = 1 << 48;

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What is in it.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Serialize, Deserialize)]
struct Head {
    lipcast_black_box: u32,
    #[serde(flatten)]
    subject: Subject,
    lines: Vec<LineMark>,
}

#[derive(Serialize, Deserialize)]
struct Seal {
    /// Events in the file.
    end: u64,
    /// Of all bytes before this line.
    blake3: String,
}

/// How a seal begins, and no event does.
const SEAL: &[u8] = b"{\"end\":";

impl Recording {
    /// Its file, in pieces of some kilobytes.
    pub fn into_chunks(self) -> Chunks {
        let head = Head { lipcast_black_box: FORMAT_VERSION, subject: self.subject, lines: self.lines };
        let (hasher, entries) = (blake3::Hasher::new(), self.entries.into_iter());
        Chunks { head: Some(head), entries, written: 0, hasher, sealed: false }
    }

    /// Reads a file of this program.
    ///
    /// # Errors
    /// With the line and a reason when it is damaged, cut short, too large, or no recording at all.
    pub fn read(from: impl BufRead) -> Result<Self, ReadError> {
        let mut lines = Lines { from: from.take(LARGEST_FILE + 1), number: 0, hasher: blake3::Hasher::new() };
        let Some(first) = lines.next()? else { return Err(lines.refuse("the file is empty")) };
        let head = lines.head(&first)?;
        let mut recording = Self { subject: head.subject, lines: head.lines, entries: Vec::new() };
        let mut before = lines.hasher.finalize();
        while let Some(line) = lines.next()? {
            if line.starts_with(SEAL) {
                lines.check_seal(&line, recording.entries.len() as u64, before)?;
                return match lines.next()? {
                    None => Ok(recording),
                    Some(_) => Err(lines.refuse("something follows the last line of the recording")),
                };
            }
            let entry: Entry =
                serde_json::from_slice(&line).map_err(|error| lines.refuse(in_words(&error)))?;
            let checked = check(&entry, recording.entries.last(), &recording.lines);
            checked.map_err(|reason| lines.refuse(reason))?;
            recording.entries.push(entry);
            before = lines.hasher.finalize();
        }
        lines.number += 1;
        Err(lines.refuse("the last line is missing: the file was cut short"))
    }
}

/// A recording's file on its way out.
pub struct Chunks {
    head: Option<Head>,
    entries: std::vec::IntoIter<Entry>,
    written: u64,
    hasher: blake3::Hasher,
    sealed: bool,
}

impl Iterator for Chunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        const ENOUGH: usize = 64 << 10;
        if self.sealed {
            return None;
        }
        let mut chunk = Vec::with_capacity(ENOUGH + (8 << 10));
        if let Some(head) = self.head.take() {
            line(&mut chunk, &head);
        }
        while chunk.len() < ENOUGH
            && let Some(entry) = self.entries.next()
        {
            line(&mut chunk, &entry);
            self.written += 1;
        }
        self.hasher.update(&chunk);
        if self.entries.len() == 0 {
            self.sealed = true;
            let blake3 = self.hasher.finalize().to_hex().to_string();
            line(&mut chunk, &Seal { end: self.written, blake3 });
        }
        Some(chunk)
    }
}

fn line(chunk: &mut Vec<u8>, value: &impl Serialize) {
    // Plain texts and numbers, and a buffer that grows: there is nothing that could fail.
    serde_json::to_writer(&mut *chunk, value).expect("it can be written as JSON");
    chunk.push(b'\n');
}

struct Lines<R> {
    from: io::Take<R>,
    number: u64,
    hasher: blake3::Hasher,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end; `None` at the end of the file.
    fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let mut line = Vec::new();
        (&mut self.from).take(LONGEST_LINE + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if self.from.limit() == 0 {
            return Err(self.refuse(format!("the file has more than {} MiB", LARGEST_FILE >> 20)));
        }
        if line.len() as u64 > LONGEST_LINE {
            return Err(self.refuse(format!("it has more than {} KiB", LONGEST_LINE >> 10)));
        }
        self.hasher.update(&line);
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn refuse(&self, reason: impl Into<String>) -> ReadError {
        ReadError::Line { line: self.number.max(1), reason: reason.into() }
    }

    fn head(&self, line: &[u8]) -> Result<Head, ReadError> {
        #[derive(Deserialize)]
        struct Versioned {
            lipcast_black_box: Option<u32>,
        }
        let foreign = || self.refuse("this is no file of `lipcast session dump`");
        let versioned: Versioned = serde_json::from_slice(line).map_err(|_| foreign())?;
        match versioned.lipcast_black_box {
            Some(FORMAT_VERSION) => {}
            Some(other) => {
                let text = format!("format {other}, and this version reads format {FORMAT_VERSION}");
                return Err(self.refuse(text));
            }
            None => return Err(foreign()),
        }
        let head: Head = serde_json::from_slice(line).map_err(|error| self.refuse(in_words(&error)))?;
        let fps = head.subject.fps;
        if FrameRate::new(fps.num(), fps.den()) != Some(fps) {
            return Err(self.refuse(format!("{}/{} is no frame rate in lowest terms", fps.num(), fps.den())));
        }
        if !head.lines.is_sorted_by(|one, next| one.line < next.line) {
            return Err(self.refuse("its lines are not in order"));
        }
        if head.lines.iter().any(|line| line.backend.lookbehind.max(line.backend.lookahead) > COUNT_LIMIT) {
            return Err(self.refuse("a look-ahead or look-behind of centuries"));
        }
        Ok(head)
    }

    fn check_seal(&self, line: &[u8], events: u64, before: blake3::Hash) -> Result<(), ReadError> {
        let seal: Seal = serde_json::from_slice(line).map_err(|error| self.refuse(in_words(&error)))?;
        if seal.end != events {
            return Err(
                self.refuse(format!("{events} events are here of the {} that were written", seal.end))
            );
        }
        if seal.blake3 != before.to_hex().as_str() {
            return Err(self.refuse("the lines before it are not what was written: its BLAKE3 differs"));
        }
        Ok(())
    }
}

/// Without serde's own place in the line, which says little in a line of kilobytes.
fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    format!("it is no event of a recording: {text}")
}

fn check(entry: &Entry, before: Option<&Entry>, lines: &[LineMark]) -> Result<(), String> {
    if before.is_some_and(|before| before.at > entry.at) {
        return Err("it is earlier than the line before it".to_owned());
    }
    if let Some(line) = entry.event.line()
        && !lines.iter().any(|known| known.line == line)
    {
        return Err(format!("the head knows no line {line}"));
    }
    let count = match &entry.event {
        Event::Audio { first_sample, .. } => (*first_sample).max(entry.frame),
        Event::Request { asked, .. } => asked.seq.max(entry.frame),
        _ => entry.frame,
    };
    if count > COUNT_LIMIT {
        return Err(format!("{count} frames or samples would last for centuries"));
    }
    Ok(())
}
