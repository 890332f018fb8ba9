//! A file of which only so much is read in search of its headers.
//!
//! A gigabyte of zeros that begins like a WAV file is walked eight bytes at a time by any honest reader; who names such
//! a file must not keep a thread busy with it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::io::MediaSource;

/// Bytes read before the first sample: room for cover pictures and for the index of hours of speech.
const HEADERS: u64 = 64 << 20;

/// A file under a ration.
pub(super) struct RationedFile {
    file: File,
    ration: Ration,
}

/// What may still be read; clones share it.
#[derive(Clone)]
pub(super) struct Ration(Arc<AtomicU64>);

impl Ration {
    /// The headers were found: the rest is under no ration.
    pub(super) fn lift(&self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }

    /// Whether the headers were not found within it.
    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl RationedFile {
    /// Puts `file` under a ration.
    pub(super) fn new(file: File) -> (Self, Ration) {
        let ration = Ration(Arc::new(AtomicU64::new(HEADERS)));
        (Self { file, ration: ration.clone() }, ration)
    }
}

impl Read for RationedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.ration.0.load(Ordering::Relaxed);
        if left == u64::MAX {
            return self.file.read(buffer);
        }
        if left == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..most])?;
        self.ration.0.store(left - count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for RationedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl MediaSource for RationedFile {
    fn is_seekable(&self) -> bool {
        self.file.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.file.byte_len()
    }
}
