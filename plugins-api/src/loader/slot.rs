//! Host-owned memory for one result, with a canary behind it.

/// One cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; LINE]);

const LINE: usize = 64;
const CANARY: u8 = 0xC5;

/// Memory a backend writes one picture into: 64-byte aligned, with 64 to 127 canary bytes behind it.
///
/// Belongs to one request at a time; make a few per session and use them in turn.
pub struct Slot {
    memory: Memory,
    len: usize,
}

enum Memory {
    Own(Box<[Line]>),
    /// Of somebody else, who looks after what lies behind it.
    Lent(*mut u8),
}

// SAFETY: the memory of a slot is plain bytes; it is reached through `&mut Slot` only, wherever that is.
unsafe impl Send for Slot {}

impl Slot {
    /// `len` bytes; [`Avatar::slot_len`](super::Avatar::slot_len) says how many an avatar needs.
    pub fn new(len: usize) -> Self {
        let lines = vec![Line([0; LINE]); len.div_ceil(LINE) + 1].into();
        let mut slot = Self { memory: Memory::Own(lines), len };
        slot.arm();
        slot
    }

    /// `len` bytes at `start`, 64-byte aligned, that somebody else owns: memory shared with another process. Whoever
    /// lent it looks whether something was written behind it.
    ///
    /// # Safety
    /// The bytes are writable as long as the slot lives, and nobody in this process touches them meanwhile.
    pub unsafe fn lent(start: *mut u8, len: usize) -> Self {
        debug_assert!(start.addr().is_multiple_of(LINE), "a slot begins at a cache line");
        Self { memory: Memory::Lent(start), len }
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes every byte `value`, to see afterwards what the backend wrote.
    pub fn fill(&mut self, value: u8) {
        let len = self.len;
        self.all_mut()[..len].fill(value);
    }

    /// What the backend wrote.
    pub fn bytes(&self) -> &[u8] {
        &self.all()[..self.len]
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        match &mut self.memory {
            Memory::Own(lines) => lines.as_mut_ptr().cast(),
            Memory::Lent(start) => *start,
        }
    }

    /// Whether nothing was written behind the slot; repairs the canary when something was.
    pub(super) fn canary_intact(&mut self) -> bool {
        let intact = self.all()[self.len..].iter().all(|byte| *byte == CANARY);
        if !intact {
            self.arm();
        }
        intact
    }

    fn arm(&mut self) {
        let len = self.len;
        self.all_mut()[len..].fill(CANARY);
    }

    fn all(&self) -> &[u8] {
        match &self.memory {
            // SAFETY: lines are plain bytes without padding.
            Memory::Own(lines) => unsafe {
                std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE)
            },
            // SAFETY: promised to `lent`.
            Memory::Lent(start) => unsafe { std::slice::from_raw_parts(*start, self.len) },
        }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        let (start, len) = (self.as_mut_ptr(), self.all().len());
        // SAFETY: as in `all`.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_behind_the_slot_is_seen_once() {
        let mut slot = Slot::new(70);
        assert_eq!((slot.len(), slot.as_mut_ptr() as usize % 64), (70, 0));
        slot.fill(7);
        assert!(slot.bytes().iter().all(|byte| *byte == 7) && slot.canary_intact());
        slot.all_mut()[70] = 1;
        assert!(!slot.canary_intact());
        assert!(slot.canary_intact());
    }
}
