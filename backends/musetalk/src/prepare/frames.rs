//! The source's frames, one at a time, as pictures of packed rows.

use lipcast_plugins_api::author::{AvatarSource, Error};

use crate::image::View;

/// Holds the frame that was read last.
pub(super) struct Frames<'a> {
    source: &'a AvatarSource<'a>,
    pixels: Vec<u8>,
    held: Option<u32>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(source: &'a AvatarSource<'a>) -> Self {
        Self { source, pixels: Vec::new(), held: None }
    }

    /// Reads frame `index`, unless it is held already.
    ///
    /// # Errors
    /// What the host said, and `INVALID_ARG` for a frame of another size than the avatar's.
    pub(super) fn read(&mut self, index: u32) -> Result<(), Error> {
        if self.held == Some(index) {
            return Ok(());
        }
        self.held = None;
        let (width, height) = self.source.size();
        let pixels = &mut self.pixels;
        self.source.with_frame(index, |frame| {
            let size = (frame.width, frame.height);
            if size != (width, height) {
                return Err(Error::invalid_arg(format!(
                    "frame {index} is {}x{} where the avatar is {width}x{height}",
                    size.0, size.1
                )));
            }
            pixels.clear();
            (0..height).for_each(|row| pixels.extend_from_slice(frame.row(row)));
            Ok(())
        })??;
        self.held = Some(index);
        Ok(())
    }

    /// The frame that was read last. Panics when none was: a bug of the caller.
    pub(super) fn view(&self) -> View<'_, 3> {
        let (width, height) = self.source.size();
        View::new(&self.pixels, width as usize, height as usize)
    }
}
