//! Pictures that stay where the child drew them until whoever shows them is done.
//!
//! A picture is read once, when it is laid over an avatar's frame; copying it first would cost as much again, most of all
//! from the caches of the processor that drew it. So its slot is lent out instead, and the next request gets another.
//! Only so many are lent that a batch always finds the slots it needs: whoever keeps a picture for long keeps a copy.
//!
//! A child that writes to a slot which is not its turn spoils what is seen, and nothing else.
#![allow(unsafe_code, reason = "reads pixels that another process may write; any value of them is a colour")]

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::RemoteAvatar;

/// Bytes that the slots lent out of one avatar take at most, unless that were less than [`LEAST`] of them.
const LENT_BYTES: usize = 64 << 20;

/// Slots lent out at least: one that is shown and one that comes.
const LEAST: usize = 2;

/// Slots lent out at most: a session that renders 200 ms ahead keeps five.
const MOST: usize = 32;

/// Which slots are free.
#[derive(Debug)]
pub(super) struct Places {
    state: Mutex<State>,
    count: u32,
    /// Slots beyond those of a batch.
    spare: usize,
}

#[derive(Debug)]
struct State {
    /// The one that was used last is used next: it is in the caches.
    free: Vec<u32>,
    lent: usize,
}

impl Places {
    /// Places for a batch of `batch` requests, each `stride` bytes, and some to lend.
    pub(super) fn new(batch: u32, stride: usize) -> Self {
        let spare = (LENT_BYTES / stride).clamp(LEAST, MOST);
        let count = batch.saturating_add(spare as u32);
        let free = (0..count).rev().collect();
        Self { state: Mutex::new(State { free, lent: 0 }), count, spare }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn take(&self) -> Option<u32> {
        self.lock().free.pop()
    }

    pub(super) fn give_back(&self, slot: u32) {
        self.lock().free.push(slot);
    }

    /// Whether one that is taken may be lent out.
    pub(super) fn lend(&self) -> bool {
        let mut state = self.lock();
        let may = state.lent < self.spare;
        state.lent += usize::from(may);
        may
    }

    fn come_home(&self, slot: u32) {
        let mut state = self.lock();
        state.lent -= 1;
        state.free.push(slot);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a picture, in the child's memory or in memory of their own.
pub struct Picture(Store);

enum Store {
    Lent { avatar: Arc<RemoteAvatar>, slot: u32, len: usize },
    Copied(Vec<u8>),
}

impl Picture {
    pub(super) fn lent(avatar: Arc<RemoteAvatar>, slot: u32, len: usize) -> Self {
        Self(Store::Lent { avatar, slot, len })
    }

    pub(super) fn copied(bytes: Vec<u8>) -> Self {
        Self(Store::Copied(bytes))
    }

    /// Whether it lies in the child's memory still.
    pub fn is_lent(&self) -> bool {
        matches!(self.0, Store::Lent { .. })
    }
}

impl Deref for Picture {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Store::Copied(bytes) => bytes,
            Store::Lent { avatar, slot, len } => {
                let (memory, start) = avatar.slot(*slot);
                // SAFETY: these are pixels; whoever composes them turns them into other pixels, and nothing that has
                // to hold depends on their values. A child that keeps the protocol does not write to them meanwhile.
                unsafe { memory.shared_bytes(start, *len) }
            }
        }
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        if let Store::Lent { avatar, slot, .. } = &self.0 {
            avatar.places.come_home(*slot);
        }
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_lent() { "in its slot" } else { "copied" };
        write!(f, "Picture({} bytes, {place})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_finds_its_places_however_many_are_lent() {
        for (stride, spare) in [(4096, MOST), (1 << 22, 16), (1 << 30, LEAST)] {
            let places = Places::new(4, stride);
            assert_eq!(places.count() as usize, 4 + spare);
            let mut lent = Vec::new();
            for round in 0..100 {
                let batch: Vec<u32> = (0..4).map(|_| places.take().expect("a place for each")).collect();
                for slot in batch {
                    assert!(!lent.contains(&slot), "a place is given once");
                    if places.lend() { lent.push(slot) } else { places.give_back(slot) }
                }
                assert_eq!(lent.len(), spare.min(4 * (round + 1)));
            }
            lent.drain(..).for_each(|slot| places.come_home(slot));
            let all: std::collections::BTreeSet<u32> = std::iter::from_fn(|| places.take()).collect();
            assert_eq!(all.len() as u32, places.count(), "all of them are free again");
        }
    }
}
