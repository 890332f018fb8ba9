//! Pictures that go round: a composed picture returns to its session when the last reader drops it.

use std::sync::Arc;

use lipcast_codecs::{I420, SizeError};

/// Reuses pictures of one size, so that a frame allocates nothing once the pipeline is full.
#[derive(Debug)]
pub struct PicturePool {
    width: usize,
    height: usize,
    pictures: Vec<Arc<I420>>,
}

impl PicturePool {
    /// Pictures kept: one being composed, two on their way to the encoder, one held, one spare.
    const KEPT: usize = 5;

    /// A pool of pictures of one size.
    ///
    /// # Errors
    /// When the size cannot be held as I420.
    pub fn new(width: usize, height: usize) -> Result<Self, SizeError> {
        I420::black(width, height)?;
        Ok(Self { width, height, pictures: Vec::new() })
    }

    /// A black picture of the pool's size, not of the pool.
    pub fn black(&self) -> Arc<I420> {
        Arc::new(I420::black(self.width, self.height).expect("checked by `new`"))
    }

    /// A picture as `draw` makes it, all of it: what it finds in there is some older picture.
    ///
    /// # Errors
    /// Those of `draw`.
    pub fn compose<E>(&mut self, draw: impl FnOnce(&mut I420) -> Result<(), E>) -> Result<Arc<I420>, E> {
        let free = self.pictures.iter_mut().position(|picture| Arc::get_mut(picture).is_some());
        let mut picture = match free {
            Some(index) => self.pictures.swap_remove(index),
            None => self.black(),
        };
        let target = Arc::get_mut(&mut picture).expect("nobody else holds a free picture");
        let drawn = draw(target);
        if self.pictures.len() < Self::KEPT {
            self.pictures.push(picture.clone());
        }
        drawn.map(|()| picture)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_dropped_picture_is_used_again_and_a_held_one_is_not() {
        let mut pool = PicturePool::new(4, 4).unwrap();
        let mut draw = |luma: u8| {
            pool.compose(|picture| {
                picture.data_mut()[0] = luma;
                Ok::<(), Infallible>(())
            })
            .unwrap()
        };
        let held = draw(40);
        let place = Arc::as_ptr(&draw(41));
        let again = draw(42);
        assert_eq!(Arc::as_ptr(&again), place);
        assert_eq!((held.data()[0], again.data()[0]), (40, 42));
    }
}
