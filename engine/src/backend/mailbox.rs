//! Letters to a keeper's thread, and the bell that wakes it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard};

use lipcast_wire::doorbell::Doorbell;

use crate::sync::lock;

/// A queue that can be waited for together with descriptors.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    // Bounded by those who write: sessions have a limit of unanswered requests, and an incarnation says one thing at
    // a time.
    letters: Mutex<Letters<T>>,
    bell: Doorbell,
}

#[derive(Debug)]
struct Letters<T> {
    waiting: VecDeque<T>,
    /// Nobody reads any more.
    closed: bool,
}

impl<T> Mailbox<T> {
    /// An empty one.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let letters = Mutex::new(Letters { waiting: VecDeque::new(), closed: false });
        Ok(Self { letters, bell: Doorbell::new()? })
    }

    /// Puts a letter in; gives it back when nobody reads any more.
    pub(super) fn put(&self, letter: T) -> Result<(), T> {
        let mut letters = self.lock();
        if letters.closed {
            return Err(letter);
        }
        // Whoever put the one before has rung already, and the reader takes all. Rung under the lock: a bell that rings
        // after its letter was taken would wake a reader for ever, who clears it only when there are letters.
        if letters.waiting.is_empty() {
            self.bell.ring();
        }
        letters.waiting.push_back(letter);
        Ok(())
    }

    /// Takes everything that is there.
    pub(super) fn take(&self) -> VecDeque<T> {
        let mut letters = self.lock();
        if letters.waiting.is_empty() {
            return VecDeque::new();
        }
        self.bell.clear();
        std::mem::take(&mut letters.waiting)
    }

    /// Nobody reads from now on; gives what came in before.
    pub(super) fn close(&self) -> VecDeque<T> {
        let mut letters = self.lock();
        letters.closed = true;
        std::mem::take(&mut letters.waiting)
    }

    fn lock(&self) -> MutexGuard<'_, Letters<T>> {
        lock(&self.letters)
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
