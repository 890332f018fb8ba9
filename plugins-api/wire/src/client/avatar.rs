//! An avatar that is loaded in a child, with the memory that its pictures come in.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use lipcast_plugins_api::loader::checks::{self, FrameResult, RawResult};
use lipcast_plugins_api::types::{AvatarInfo, Code, Error, FrameMask, Rect};

use super::calls::{CallError, Calls, memory_file, read};
use super::picture::{Picture, Places};
use crate::layout::mask;
use crate::memory::SharedMemory;
use crate::message::{Call, LoadedMessage};
use crate::op::{Drawn, Request};

/// A loaded avatar. Dropping it unloads it.
#[derive(Debug)]
pub struct RemoteAvatar {
    calls: Arc<Calls>,
    id: u64,
    info: AvatarInfo,
    masks: Option<SharedMemory>,
    slots: SharedMemory,
    pub(super) places: Places,
    slot_len: usize,
    stride: usize,
}

/// What stands behind each slot.
const CANARY: u8 = 0xC5;

/// A slot begins at a page, so that two never share one.
const PAGE: usize = 4096;

impl RemoteAvatar {
    pub(super) fn load(
        calls: &Arc<Calls>,
        blob: &[u8],
        slots: u32,
        patience: Option<Duration>,
    ) -> Result<Self, CallError> {
        let id = calls.fresh_number();
        let file = memory_file(blob)?;
        let call = Call::LoadAvatar { avatar: id, len: blob.len() as u64 };
        let (value, descriptors) = calls.short(call, &[file.as_fd()], patience)?;
        // From here on the child has it, so it is unloaded again when something is wrong with it.
        let mut guard = Unload { calls, id, armed: true };
        let message: LoadedMessage = read(value, "load_avatar")?;
        let info = checks::avatar_info((&message.info).into())?;
        let masks = open_masks(&info, descriptors)?;
        let (slot_len, stride) = {
            let len = checks::slot_len(&info).max(64);
            (len, (len + 64).next_multiple_of(PAGE))
        };
        let places = Places::new(slots.max(1), stride);
        let count = places.count();
        let memory = SharedMemory::create("lipcast-slots", stride * count as usize)
            .map_err(|error| Error::new(Code::OomHost, error.to_string()))?;
        let call = Call::AttachSlots { avatar: id, count, len: slot_len as u64, stride: stride as u64 };
        calls.short(call, &[memory.file()], patience)?;
        guard.armed = false;
        let calls = calls.clone();
        let avatar = Self { calls, id, info, masks, slots: memory, places, slot_len, stride };
        (0..count).for_each(|slot| avatar.arm(slot));
        for frame in 0..info.frame_count {
            avatar.mask(frame)?;
        }
        Ok(avatar)
    }

    /// The name that requests carry.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Canvas, rate, and how large results get; checked.
    pub fn info(&self) -> &AvatarInfo {
        &self.info
    }

    /// Places for pictures.
    pub fn slot_count(&self) -> u32 {
        (self.slots.len() / self.stride) as u32
    }

    /// Bytes of a slot that may be written.
    pub fn slot_len(&self) -> usize {
        self.slot_len
    }

    /// Where the patch of avatar frame `frame` lies and how it is blended; checked.
    ///
    /// # Errors
    /// `NOT_FOUND` beyond the frames; `BAD_OUTPUT` when the child wrote something that cannot be.
    pub fn mask(&self, frame: u32) -> Result<FrameMask<'_>, Error> {
        let missing = || Error::not_found(format!("avatar frame {frame} of {}", self.info.frame_count));
        let bytes = self.masks.as_ref().map(SharedMemory::constant_bytes).ok_or_else(missing)?;
        let start = frame as usize * mask::LEN;
        if frame >= self.info.frame_count {
            return Err(missing());
        }
        let entry = bytes.get(start..start + mask::LEN).ok_or_else(missing)?;
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| entry[at + byte]));
        let offset = u64::from_le_bytes(std::array::from_fn(|byte| entry[16 + byte]));
        let rect = Rect::new(number(0), number(4), number(8), number(12));
        let alpha = match usize::try_from(offset) {
            Ok(0) => None,
            Ok(offset) => {
                let end = offset.checked_add(rect.area() as usize);
                let alpha = end.and_then(|end| bytes.get(offset..end));
                Some(alpha.ok_or_else(|| {
                    Error::new(Code::BadOutput, format!("the mask of frame {frame} lies outside its memory"))
                })?)
            }
            Err(_) => return Err(missing()),
        };
        checks::frame_mask(frame, &self.info, FrameMask { rect, alpha })
    }

    /// What came of `request`, checked; also whether the child wrote behind its slot, which says that its memory is
    /// not to be trusted any more.
    pub fn check(&self, request: &Request, drawn: &Drawn) -> (Result<FrameResult, Error>, bool) {
        let [x, y, width, height] = drawn.rect;
        let raw = RawResult {
            rect: Rect::new(x, y, width, height),
            format: drawn.format,
            alpha: drawn.alpha,
            flags: drawn.flags,
            avatar_frame_used: drawn.avatar_frame_used,
        };
        let mask_rect = |frame| Ok(self.mask(frame)?.rect);
        let intact = self.is_intact(request.slot);
        (raw.check(request.frame, &self.info, self.slot_len as u64, mask_rect), intact)
    }

    /// Whether nothing was written behind a slot; repairs the canary when something was.
    pub fn is_intact(&self, slot: u32) -> bool {
        if slot >= self.slot_count() {
            return true;
        }
        let start = slot as usize * self.stride + self.slot_len;
        let intact = self.slots.is_filled(start, self.stride - self.slot_len, CANARY);
        if !intact {
            self.arm(slot);
        }
        intact
    }

    /// A free slot, which the caller has until it gives it [back](Self::give_back) or [makes a picture of
    /// it](Self::take_picture). A batch of as many requests as were said to [`Calls::load_avatar`] finds enough of
    /// them, if it is the only one. For callers that do not number them themselves.
    pub fn take_slot(&self) -> Option<u32> {
        self.places.take()
    }

    /// Gives a slot back that was [taken](Self::take_slot).
    pub fn give_back(&self, slot: u32) {
        self.places.give_back(slot);
    }

    /// The picture of a checked result, in the slot that was [taken](Self::take_slot) for it: it stays there until it is
    /// dropped, unless too many do; then it is copied out.
    ///
    /// # Panics
    /// When the slot is none of the avatar's.
    pub fn take_picture(self: &Arc<Self>, slot: u32, result: &FrameResult) -> Picture {
        let len = self.picture_len(result);
        if self.places.lend() {
            return Picture::lent(self.clone(), slot, len);
        }
        let copy = Picture::copied(self.picture(slot, result));
        self.give_back(slot);
        copy
    }

    /// Copies the picture of a checked result out of its slot.
    ///
    /// # Panics
    /// When the slot is none of the avatar's: the caller chose it.
    pub fn picture(&self, slot: u32, result: &FrameResult) -> Vec<u8> {
        self.slots.copy(slot as usize * self.stride, self.picture_len(result))
    }

    fn picture_len(&self, result: &FrameResult) -> usize {
        (result.format.bytes(&result.rect) as usize).min(self.slot_len)
    }

    /// The memory of the slots, and where slot `slot` begins in it.
    pub(super) fn slot(&self, slot: u32) -> (&SharedMemory, usize) {
        (&self.slots, slot as usize * self.stride)
    }

    /// Fills a slot, to see afterwards what was written.
    ///
    /// # Panics
    /// When the slot is none of the avatar's.
    pub fn fill(&self, slot: u32, value: u8) {
        self.slots.write(slot as usize * self.stride, &vec![value; self.slot_len]);
    }

    fn arm(&self, slot: u32) {
        let start = slot as usize * self.stride + self.slot_len;
        self.slots.write(start, &vec![CANARY; self.stride - self.slot_len]);
    }
}

impl Drop for RemoteAvatar {
    fn drop(&mut self) {
        // A child that is gone has nothing to unload.
        self.calls.post(Call::UnloadAvatar { avatar: self.id });
    }
}

struct Unload<'a> {
    calls: &'a Calls,
    id: u64,
    armed: bool,
}

impl Drop for Unload<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.calls.post(Call::UnloadAvatar { avatar: self.id });
        }
    }
}

fn open_masks(info: &AvatarInfo, descriptors: Vec<OwnedFd>) -> Result<Option<SharedMemory>, Error> {
    if info.frame_count == 0 {
        return Ok(None);
    }
    let bad = |text: String| Error::new(Code::BadOutput, format!("the avatar's masks: {text}"));
    let file = descriptors.into_iter().next().ok_or_else(|| bad("none came".to_owned()))?;
    let len = SharedMemory::len_of(file.as_fd()).map_err(|error| bad(error.to_string()))?;
    let least = u64::from(info.frame_count) * mask::LEN as u64;
    if len < least || len > isize::MAX as u64 {
        return Err(bad(format!("{len} bytes for {} frames", info.frame_count)));
    }
    SharedMemory::open_constant(file, len as usize).map(Some).map_err(|error| bad(error.to_string()))
}
