//! From an answer to a picture: the avatar's frames, patches laid over them, and what is shown when there is neither.

use std::io;
use std::sync::Arc;

use lipcast_codecs::SizeError;

use super::{Canvas, Picture, Timeline};
use crate::backend::{LoadedAvatar, Patch};
use crate::compose::{Composer, PicturePool};

/// A patch as a backend drew it, and what its static mask is found by.
pub(super) struct Drawn {
    pub(super) patch: Patch,
    /// The avatar frame whose mask belongs to it.
    pub(super) mask_of: u32,
    /// The avatar in the backend that drew it.
    pub(super) avatar: Arc<dyn LoadedAvatar>,
}

/// What a reply comes to, once it is known which patch "the same as before" is.
pub(super) struct Answer {
    /// `None`: the avatar's own frame.
    pub(super) drawn: Option<Arc<Drawn>>,
    /// The avatar frame under it; `None` from a backend that knows no frames: the one that was planned.
    pub(super) over: Option<u32>,
}

/// Makes a session's pictures.
pub(super) struct Painter {
    canvas: Arc<dyn Canvas>,
    composer: Composer,
    pool: PicturePool,
    /// What the frame before looked like.
    last: Option<Picture>,
    /// After a barge-in: what was drawn last, and for how many frames more it fades.
    fading: Option<(Arc<Drawn>, u64)>,
    /// The avatar's frames could not be read the last time; said once.
    unreadable: bool,
}

impl Painter {
    pub(super) fn new(canvas: Arc<dyn Canvas>) -> Result<Self, SizeError> {
        let (width, height) = canvas.size();
        Ok(Self {
            pool: PicturePool::new(width, height)?,
            canvas,
            composer: Composer::default(),
            last: None,
            fading: None,
            unreadable: false,
        })
    }

    pub(super) fn canvas(&self) -> &dyn Canvas {
        &*self.canvas
    }

    /// What is shown is what the next held frame looks like.
    pub(super) fn show(&mut self, picture: &Picture) {
        self.last = Some(picture.clone());
    }

    /// The last picture once more; the avatar's own frame when nothing was shown yet.
    pub(super) fn held(&mut self, index: usize) -> Picture {
        match &self.last {
            Some(last) => last.clone(),
            None => self.own(index),
        }
    }

    /// What was drawn last fades out of the idle frames that come.
    pub(super) fn fade(&mut self, drawn: Option<Arc<Drawn>>) {
        if let Some(drawn) = drawn {
            self.fading = Some((drawn, Timeline::BLEND_FRAMES));
        }
    }

    /// The avatar's own frame, into which an interrupted patch fades over the frames of a blend.
    pub(super) fn idle(&mut self, index: usize) -> Picture {
        let Some((drawn, left)) = self.fading.take() else { return self.own(index) };
        let opacity = (left * 255 / (Timeline::BLEND_FRAMES + 1)) as u8;
        let picture = self.lay(&drawn, index, opacity);
        self.fading = (left > 1).then(|| (drawn, left - 1));
        picture.unwrap_or_else(|_| self.own(index))
    }

    /// What an answer looks like over avatar frame `index` or the one that it names; the reason when it cannot be
    /// shown.
    pub(super) fn draw(&mut self, answer: &Answer, index: usize, opacity: u8) -> Result<Picture, String> {
        self.fading = None;
        let frames = self.canvas.frame_count();
        let over = answer.over.map_or(index, |over| over as usize);
        if over >= frames {
            return Err(format!("avatar frame {over} was used, of {frames}"));
        }
        match &answer.drawn {
            None => Ok(self.own(over)),
            Some(drawn) => self.lay(drawn, over, opacity),
        }
    }

    /// The avatar's own frame; where it cannot be read, the last picture.
    pub(super) fn own(&mut self, index: usize) -> Picture {
        let canvas = &self.canvas;
        match self.pool.compose(|picture| canvas.read(index, picture)) {
            Ok(picture) => {
                self.unreadable = false;
                Picture(picture)
            }
            Err(error) => self.without_canvas(index, &error),
        }
    }

    /// Audio goes on whatever becomes of the pictures.
    fn without_canvas(&mut self, index: usize, error: &io::Error) -> Picture {
        if !std::mem::replace(&mut self.unreadable, true) {
            tracing::error!(index, %error, "the avatar's frames cannot be read; the last picture stays");
        }
        match &self.last {
            Some(last) => last.clone(),
            // Nothing was shown yet.
            None => Picture(self.pool.black()),
        }
    }

    fn lay(&mut self, drawn: &Drawn, over: usize, opacity: u8) -> Result<Picture, String> {
        let mask = drawn.avatar.mask(drawn.mask_of);
        let (canvas, composer) = (&self.canvas, &mut self.composer);
        let composed = self.pool.compose(|picture| {
            canvas.read(over, picture).map_err(|error| format!("the avatar's frame {over}: {error}"))?;
            let laid = composer.lay(picture, &drawn.patch, mask.as_ref(), opacity);
            laid.map_err(|error| error.to_string())
        });
        composed.map(Picture)
    }
}
