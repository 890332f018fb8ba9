//! The avatars that are loaded: the plugin's, and the shared memory that their pictures go to.
#![allow(unsafe_code, reason = "lends places in shared memory to the plugin")]

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lipcast_plugins_api::loader::{Avatar, Slot};
use lipcast_plugins_api::types::{Code, Error, FrameMask};
use lipcast_wire::layout::mask;
use lipcast_wire::memory::SharedMemory;

/// All of them, by the names that the parent gave.
#[derive(Default)]
pub(crate) struct Avatars(Mutex<HashMap<u64, Entry>>);

#[derive(Clone)]
struct Entry {
    avatar: Avatar,
    slots: Option<Arc<Slots>>,
}

/// Places for pictures.
pub(crate) struct Slots {
    memory: SharedMemory,
    count: u32,
    len: usize,
    stride: usize,
}

impl Avatars {
    pub(crate) fn insert(&self, id: u64, avatar: Avatar) {
        self.lock().insert(id, Entry { avatar, slots: None });
    }

    pub(crate) fn remove(&self, id: u64) {
        let removed = self.lock().remove(&id);
        // Unloading may take a while: not under the lock.
        drop(removed);
    }

    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    pub(crate) fn attach(&self, id: u64, slots: Slots) -> Result<(), Error> {
        let mut entries = self.lock();
        let entry = entries.get_mut(&id).ok_or_else(|| unknown(id))?;
        entry.slots = Some(Arc::new(slots));
        Ok(())
    }

    pub(crate) fn find(&self, id: u64) -> Result<(Avatar, Arc<Slots>), Error> {
        let entry = self.lock().get(&id).cloned().ok_or_else(|| unknown(id))?;
        let slots = entry.slots.ok_or_else(|| Error::new(Code::NotReady, "the avatar has no slots yet"))?;
        Ok((entry.avatar, slots))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        // Nothing here panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    /// Takes the parent's memory.
    pub(crate) fn open(file: OwnedFd, count: u32, len: u64, stride: u64) -> Result<Self, Error> {
        let bytes =
            u64::from(count).checked_mul(stride).filter(|_| stride >= len && stride.is_multiple_of(64));
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
        let bytes =
            bytes.ok_or_else(|| Error::invalid_arg(format!("{count} slots of {len} in {stride} bytes")))?;
        let memory =
            SharedMemory::open(file, bytes).map_err(|error| Error::invalid_arg(error.to_string()))?;
        Ok(Self { memory, count, len: len as usize, stride: stride as usize })
    }

    /// Place `index`. The parent gives each place to one request at a time.
    pub(crate) fn slot(&self, index: u32) -> Result<Slot, Error> {
        if index >= self.count {
            return Err(Error::invalid_arg(format!("slot {index} of {}", self.count)));
        }
        let start = self.memory.as_mut_ptr().wrapping_add(index as usize * self.stride);
        // SAFETY: inside the mapping, as `open` and the line above checked; the mapping lives as long as the session
        // that keeps these slots, in whose batch the slot is used; only this thread uses it.
        Ok(unsafe { Slot::lent(start, self.len) })
    }
}

/// All masks of an avatar as memory that never changes. Frames with the same alpha share it.
pub(crate) fn masks(avatar: &Avatar) -> Result<Option<SharedMemory>, Error> {
    let count = avatar.info().frame_count;
    if count == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; count as usize * mask::LEN];
    let mut last: Option<(&[u8], u64)> = None;
    for frame in 0..count {
        let FrameMask { rect, alpha } = avatar.frame_mask(frame)?;
        let offset = match (alpha, last) {
            (None, _) => 0,
            (Some(alpha), Some((known, offset))) if known == alpha => offset,
            (Some(alpha), _) => {
                let offset = bytes.len() as u64;
                bytes.extend_from_slice(alpha);
                last = Some((alpha, offset));
                offset
            }
        };
        let entry = &mut bytes[frame as usize * mask::LEN..][..mask::LEN];
        for (index, number) in [rect.x, rect.y, rect.width, rect.height].into_iter().enumerate() {
            entry[4 * index..4 * index + 4].copy_from_slice(&number.to_le_bytes());
        }
        entry[16..24].copy_from_slice(&offset.to_le_bytes());
    }
    let memory = SharedMemory::constant("lipcast-masks", &bytes);
    memory.map(Some).map_err(|error| Error::new(Code::OomHost, error.to_string()))
}

fn unknown(id: u64) -> Error {
    Error::invalid_arg(format!("there is no avatar {id}"))
}
