//! An avatar's source as `prepare_avatar` sees it.

use std::cell::Cell;

use crate::abi;
use crate::types::{Code, Error, RgbFrame};

use super::host::text;

/// What an avatar is prepared from: source frames with faces, and named assets.
pub struct AvatarSource<'a> {
    table: &'a abi::AvatarSource,
    looking: Cell<bool>,
}

impl<'a> AvatarSource<'a> {
    /// # Safety
    /// `table` is the one of the running `prepare_avatar`, with all functions valid.
    pub(super) unsafe fn new(table: &'a abi::AvatarSource) -> Self {
        Self { table, looking: Cell::new(false) }
    }

    /// Source frames; may be 0.
    pub fn frame_count(&self) -> u32 {
        self.table.frame_count
    }

    /// Columns and rows of every frame: the canvas.
    pub fn size(&self) -> (u32, u32) {
        (self.table.width, self.table.height)
    }

    /// Frames per second as a fraction.
    pub fn fps(&self) -> (u32, u32) {
        (self.table.fps_num, self.table.fps_den)
    }

    /// Hands frame `index` to `look`. The frame lives only that long: the next one takes its
    /// place, so a call from within `look` is refused with `NOT_READY`.
    pub fn with_frame<R>(&self, index: u32, look: impl FnOnce(RgbFrame<'_>) -> R) -> Result<R, Error> {
        if self.looking.get() {
            return Err(Error::new(Code::NotReady, "only one source frame can be looked at a time"));
        }
        let mut out = abi::RgbFrame {
            struct_size: size_of::<abi::RgbFrame>() as u32,
            width: 0,
            height: 0,
            stride: 0,
            data: std::ptr::null(),
            data_len: 0,
        };
        let mut status = super::adapter::empty_status();
        // SAFETY: the table is that of the running call; both out arguments are valid for it.
        let code = unsafe { (self.table.get_frame)(self.table.ctx, index, &mut out, &mut status) };
        super::adapter::check(code, &status)?;
        let needed =
            u64::from(out.stride) * u64::from(out.height.saturating_sub(1)) + u64::from(out.width) * 3;
        if out.data.is_null() || out.stride < out.width.saturating_mul(3) || out.data_len < needed {
            return Err(Error::internal(format!("the host gave a malformed frame {index}")));
        }
        // SAFETY: the host promises `data_len` bytes, valid until the next `get_frame`, which `looking`
        // rules out while the slice lives.
        let data = unsafe { std::slice::from_raw_parts(out.data, out.data_len as usize) };
        self.looking.set(true);
        let seen = look(RgbFrame { width: out.width, height: out.height, stride: out.stride, data });
        self.looking.set(false);
        Ok(seen)
    }

    /// The 68 landmarks of frame `index`, pixels, iBUG order; `None`: no face there.
    pub fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        let mut flat = [0.0; 136];
        // SAFETY: the table is that of the running call; `flat` has the room the contract names.
        let code = unsafe { (self.table.get_landmarks)(self.table.ctx, index, &mut flat) };
        (code == abi::OK).then(|| std::array::from_fn(|i| [flat[2 * i], flat[2 * i + 1]]))
    }

    /// The face box of frame `index`: x0, y0, x1, y1 in pixels; `None`: no face there.
    pub fn face_box(&self, index: u32) -> Option<[f32; 4]> {
        let mut out = [0.0; 4];
        // SAFETY: the table is that of the running call; `out` has the room the contract names.
        let code = unsafe { (self.table.get_face_box)(self.table.ctx, index, &mut out) };
        (code == abi::OK).then_some(out)
    }

    /// Names of the assets beside the frames.
    pub fn assets(&self) -> Vec<String> {
        (0..self.table.asset_count)
            .filter_map(|index| {
                let mut name = abi::Str { ptr: std::ptr::null(), len: 0 };
                // SAFETY: the table is that of the running call; the name lives as long.
                let code = unsafe { (self.table.asset_name)(self.table.ctx, index, &mut name) };
                // SAFETY: the host promises UTF-8 bytes that live as long as the call.
                (code == abi::OK).then(|| unsafe { super::adapter::read_str(name) }.into_owned())
            })
            .collect()
    }

    /// The bytes of asset `name`, as long as `prepare_avatar` runs.
    pub fn asset(&self, name: &str) -> Result<&'a [u8], Error> {
        let mut out = abi::Bytes { ptr: std::ptr::null(), len: 0 };
        let mut status = super::adapter::empty_status();
        // SAFETY: the table is that of the running call; the texts outlive it.
        let code = unsafe { (self.table.open_asset)(self.table.ctx, text(name), &mut out, &mut status) };
        super::adapter::check(code, &status)?;
        if out.len == 0 {
            return Ok(&[]);
        }
        if out.ptr.is_null() {
            return Err(Error::new(Code::Internal, format!("the host gave no bytes for asset `{name}`")));
        }
        // SAFETY: the host promises `len` bytes until `prepare_avatar` returns.
        Ok(unsafe { std::slice::from_raw_parts(out.ptr, out.len as usize) })
    }
}
