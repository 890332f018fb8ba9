//! What a backend hands out, and what it is handed of an avatar's source, looked at before it is used: the same for
//! every door it comes through.

use super::source::Source;
use crate::abi;
use crate::types::{
    Alpha, AvatarInfo, Capabilities, Code, Descriptor, Error, FrameMask, IdleBy, PixelFormat, Rect,
};

/// The largest canvas side, pixels.
const CANVAS_LIMIT: u32 = 8192;

/// Most avatar frames: almost three hours at 25 a second. A damaged blob may claim billions, and a mask is read of each.
const FRAME_LIMIT: u32 = 1 << 18;

/// A checked result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameResult {
    /// Where the picture goes: even-aligned, inside `max_rect`; empty: the avatar's frame shows as it is.
    pub rect: Rect,
    /// How its bytes are laid out.
    pub format: PixelFormat,
    /// How it is blended.
    pub alpha: Alpha,
    /// It is the picture of this session's previous result; `rect`, `format`, `alpha` and the slot say
    /// nothing.
    pub unchanged: bool,
    /// The face is at rest: the host may go on with the avatar's own frames.
    pub at_rest: bool,
    /// The avatar frame really used.
    pub avatar_frame_used: u32,
}

/// A result as the backend wrote it: numbers of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawResult {
    /// Where the picture goes.
    pub rect: Rect,
    /// `LIPCAST_FORMAT_*`.
    pub format: u32,
    /// `LIPCAST_ALPHA_*`.
    pub alpha: u32,
    /// `LIPCAST_RESULT_*`.
    pub flags: u32,
    /// Which avatar frame it lies on.
    pub avatar_frame_used: u32,
}

impl RawResult {
    /// The result, if it keeps the contract: for frame `frame` of an avatar that is `info`, in a slot of `slot_len`
    /// bytes. `mask_rect` gives where the static mask of an avatar frame lies.
    ///
    /// # Errors
    /// `BAD_OUTPUT` and what is wrong with it.
    pub fn check(
        &self,
        frame: u64,
        info: &AvatarInfo,
        slot_len: u64,
        mask_rect: impl FnOnce(u32) -> Result<Rect, Error>,
    ) -> Result<FrameResult, Error> {
        let bad = |what: String| Error::new(Code::BadOutput, format!("frame {frame}: {what}"));
        let used = self.avatar_frame_used;
        // A backend without avatar frames has one number to give: 0.
        if used >= info.frame_count.max(1) {
            return Err(bad(format!("avatar frame {used} used, of {}", info.frame_count)));
        }
        let at_rest = self.flags & abi::RESULT_AT_REST != 0;
        if self.flags & abi::RESULT_UNCHANGED != 0 {
            return Ok(FrameResult {
                rect: Rect::default(),
                format: PixelFormat::Rgb24,
                alpha: Alpha::Opaque,
                unchanged: true,
                at_rest,
                avatar_frame_used: used,
            });
        }
        let rect = self.rect;
        let format = PixelFormat::from_abi(self.format);
        let format = format.ok_or_else(|| bad(format!("unknown format {}", self.format)))?;
        let alpha = Alpha::from_abi(self.alpha);
        let alpha = alpha.ok_or_else(|| bad(format!("unknown alpha {}", self.alpha)))?;
        even_and_inside("a rect", rect, "max_rect", info.max_rect)?;
        if format.bytes(&rect) > slot_len {
            return Err(bad(format!("{rect:?} as {format:?} is larger than its slot")));
        }
        if alpha == Alpha::Inline && !format.has_alpha() {
            return Err(bad(format!("inline alpha in {format:?}")));
        }
        if alpha == Alpha::Static && !rect.is_empty() && mask_rect(used)? != rect {
            return Err(bad(format!("{rect:?} is not that of the static mask of avatar frame {used}")));
        }
        Ok(FrameResult { rect, format, alpha, unchanged: false, at_rest, avatar_frame_used: used })
    }
}

/// Whether a descriptor can be: a name that files and settings can carry, and limits that can be met.
///
/// # Errors
/// In a sentence what is wrong with it.
pub fn descriptor(descriptor: &Descriptor) -> Result<(), String> {
    let Descriptor { id, capabilities, .. } = descriptor;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if id.is_empty() || id.len() > 64 || id.starts_with('.') || !id.chars().all(plain) {
        return Err(format!("its id `{id}` is not of the form org.example.name"));
    }
    if capabilities.max_batch == 0 || capabilities.chunk_frames == 0 {
        return Err("max_batch and chunk_frames must be at least 1".to_owned());
    }
    let (found, limit) = (capabilities.lookahead_ms, Capabilities::LOOKAHEAD_LIMIT_MS);
    if found > limit {
        return Err(format!("a look-ahead of {found} ms: {limit} ms is the limit"));
    }
    Ok(())
}

/// Fills `rgb` with frame `index` of a source, if there is such a frame and the source gives all of it.
///
/// # Errors
/// `NOT_FOUND` beyond the frames, `INTERNAL` for another length than the source's size says, and the source's own.
pub fn source_frame(source: &mut dyn Source, index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
    if index >= source.frame_count() {
        return Err(Error::not_found(format!("source frame {index} of {}", source.frame_count())));
    }
    source.frame(index, rgb)?;
    let (width, height) = source.size();
    if rgb.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err(Error::internal(format!("source frame {index} has {} bytes", rgb.len())));
    }
    Ok(())
}

/// What a backend says of an avatar, if it can be.
///
/// # Errors
/// `BAD_OUTPUT` and what is wrong with it.
pub fn avatar_info(info: AvatarInfo) -> Result<AvatarInfo, Error> {
    let canvas = Rect::new(0, 0, info.canvas.0, info.canvas.1);
    if canvas.is_empty() || !canvas.is_even() || canvas.width.max(canvas.height) > CANVAS_LIMIT {
        return Err(bad(format!("a canvas of {}x{} pixels", canvas.width, canvas.height)));
    }
    even_and_inside("a max_rect", info.max_rect, "the canvas", canvas)?;
    if info.fps.0 == 0 || info.fps.1 == 0 {
        return Err(bad(format!("a frame rate of {}/{}", info.fps.0, info.fps.1)));
    }
    if info.frame_count > FRAME_LIMIT {
        return Err(bad(format!("{} avatar frames: {FRAME_LIMIT} are the most", info.frame_count)));
    }
    if info.frame_count == 0 && info.idle == IdleBy::Host {
        return Err(bad("no avatar frames, yet the host is to show them while idle".into()));
    }
    Ok(info)
}

/// A rect as people write one: x,y and its size.
fn shown(rect: Rect) -> String {
    format!("({},{} {}x{})", rect.x, rect.y, rect.width, rect.height)
}

fn even_and_inside(what: &str, rect: Rect, around: &str, outer: Rect) -> Result<(), Error> {
    let sides = [("x", rect.x), ("y", rect.y), ("width", rect.width), ("height", rect.height)];
    if let Some((side, length)) = sides.into_iter().find(|(_, length)| length % 2 != 0) {
        return Err(bad(format!("{what} {} whose {side} {length} is odd", shown(rect))));
    }
    if !outer.contains(&rect) {
        return Err(bad(format!("{what} {} that is not inside {around} {}", shown(rect), shown(outer))));
    }
    Ok(())
}

/// The mask of avatar frame `frame`, if it keeps the contract.
///
/// # Errors
/// `BAD_OUTPUT` and what is wrong with it.
pub fn frame_mask<'a>(frame: u32, info: &AvatarInfo, mask: FrameMask<'a>) -> Result<FrameMask<'a>, Error> {
    let rect = mask.rect;
    even_and_inside(&format!("for frame {frame} a mask"), rect, "max_rect", info.max_rect)?;
    let Some(alpha) = mask.alpha.filter(|_| !rect.is_empty()) else {
        return Ok(FrameMask { rect, alpha: None });
    };
    if alpha.len() as u64 != rect.area() {
        return Err(bad(format!("mask of frame {frame} has {} bytes for {rect:?}", alpha.len())));
    }
    Ok(FrameMask { rect, alpha: Some(alpha) })
}

/// Bytes that a slot of an avatar needs: the largest format over `max_rect`.
pub fn slot_len(info: &AvatarInfo) -> usize {
    PixelFormat::Rgba.bytes(&info.max_rect) as usize
}

fn bad(what: String) -> Error {
    Error::new(Code::BadOutput, format!("the backend gave {what}"))
}
