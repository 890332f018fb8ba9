//! An avatar's source as the host offers it to `prepare_avatar`.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::checks;
use crate::abi;
use crate::author::{fill_status, read_str, text};
use crate::types::{Code, Error};

/// What an avatar is prepared from. Called from the thread that calls `prepare_avatar`, never twice at once.
pub trait Source {
    /// Source frames; may be 0.
    fn frame_count(&self) -> u32;
    /// Columns and rows of every frame: the canvas; even.
    fn size(&self) -> (u32, u32);
    /// Frames per second as a fraction.
    fn fps(&self) -> (u32, u32);
    /// Fills `rgb` with frame `index`: 3·width·height bytes, RGB24, full-range sRGB, rows packed from the
    /// top. `rgb` may come with bytes of an earlier frame.
    fn frame(&mut self, index: u32, rgb: &mut Vec<u8>) -> Result<(), Error>;
    /// 68 points in pixels, iBUG order; `None`: no face there.
    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]>;
    /// x0, y0, x1, y1 in pixels; `None`: no face there.
    fn face_box(&self, index: u32) -> Option<[f32; 4]>;
    /// Names of the assets beside the frames.
    fn assets(&self) -> Vec<String> {
        Vec::new()
    }
    /// The bytes of an asset.
    fn asset(&self, name: &str) -> Option<Arc<[u8]>> {
        let _ = name;
        None
    }
}

/// A source with the memory that a plugin may look at until its call ends.
pub(super) struct SourceHandle<'a> {
    source: &'a mut dyn Source,
    rgb: Vec<u8>,
    names: Vec<String>,
    opened: Vec<Arc<[u8]>>,
}

impl<'a> SourceHandle<'a> {
    pub(super) fn new(source: &'a mut dyn Source) -> Self {
        let names = source.assets();
        Self { source, rgb: Vec::new(), names, opened: Vec::new() }
    }

    /// The table over this source; it is good until the handle moves.
    pub(super) fn table(&mut self) -> abi::AvatarSource {
        let (width, height) = self.source.size();
        let (fps_num, fps_den) = self.source.fps();
        abi::AvatarSource {
            struct_size: size_of::<abi::AvatarSource>() as u32,
            frame_count: self.source.frame_count(),
            width,
            height,
            fps_num,
            fps_den,
            asset_count: self.names.len() as u32,
            reserved: 0,
            ctx: std::ptr::from_mut(self).cast(),
            get_frame,
            get_landmarks,
            get_face_box,
            asset_name,
            open_asset,
        }
    }
}

// In the functions below: `ctx` is the source handle of the running call; out arguments are valid;
// one call runs at a time. No panic of the host's own code may cross into the plugin.

fn handle<'a>(ctx: *mut c_void) -> &'a mut SourceHandle<'a> {
    // SAFETY: see above.
    unsafe { &mut *ctx.cast::<SourceHandle<'a>>() }
}

fn answer(status: *mut abi::Status, call: impl FnOnce() -> Result<(), Error>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(Error::internal("the host panicked while reading the avatar's source")));
    let Err(error) = result else { return abi::OK };
    // SAFETY: see above; null where the call has no status.
    if let Some(status) = unsafe { status.as_mut() } {
        fill_status(status, &error);
    }
    error.code.to_abi()
}

unsafe extern "C" fn get_frame(
    ctx: *mut c_void,
    index: u32,
    out: *mut abi::RgbFrame,
    status: *mut abi::Status,
) -> i32 {
    answer(status, || {
        let SourceHandle { source, rgb, .. } = handle(ctx);
        checks::source_frame(&mut **source, index, rgb)?;
        let (width, height) = source.size();
        let value = abi::RgbFrame {
            struct_size: size_of::<abi::RgbFrame>() as u32,
            width,
            height,
            stride: width * 3,
            data: rgb.as_ptr(),
            data_len: rgb.len() as u64,
        };
        // SAFETY: see above.
        unsafe { *out = value };
        Ok(())
    })
}

unsafe extern "C" fn get_landmarks(ctx: *mut c_void, index: u32, out: *mut [f32; 136]) -> i32 {
    answer(std::ptr::null_mut(), || {
        let points = handle(ctx).source.landmarks(index).ok_or_else(no_face)?;
        let flat = std::array::from_fn(|i| points[i / 2][i % 2]);
        // SAFETY: see above.
        unsafe { *out = flat };
        Ok(())
    })
}

unsafe extern "C" fn get_face_box(ctx: *mut c_void, index: u32, out: *mut [f32; 4]) -> i32 {
    answer(std::ptr::null_mut(), || {
        let face_box = handle(ctx).source.face_box(index).ok_or_else(no_face)?;
        // SAFETY: see above.
        unsafe { *out = face_box };
        Ok(())
    })
}

unsafe extern "C" fn asset_name(ctx: *mut c_void, index: u32, out: *mut abi::Str) -> i32 {
    answer(std::ptr::null_mut(), || {
        let name = handle(ctx).names.get(index as usize).ok_or_else(|| Error::not_found("no such asset"))?;
        // SAFETY: see above.
        unsafe { *out = text(name) };
        Ok(())
    })
}

unsafe extern "C" fn open_asset(
    ctx: *mut c_void,
    name: abi::Str,
    out: *mut abi::Bytes,
    status: *mut abi::Status,
) -> i32 {
    answer(status, || {
        // SAFETY: the plugin's text, for the length of the call.
        let name = unsafe { read_str(name) };
        let SourceHandle { source, opened, .. } = handle(ctx);
        let bytes = source
            .asset(&name)
            .ok_or_else(|| Error::not_found(format!("the avatar has no asset `{name}`")))?;
        let value = abi::Bytes { ptr: bytes.as_ptr(), len: bytes.len() as u64 };
        opened.push(bytes);
        // SAFETY: see above.
        unsafe { *out = value };
        Ok(())
    })
}

fn no_face() -> Error {
    Error::new(Code::NotFound, "no face in this frame")
}
