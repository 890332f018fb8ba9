//! Frames with landmarks, as an avatar is prepared from.

use std::sync::Arc;

use lipcast_plugins_api::loader::Source;
use lipcast_plugins_api::types::Error;

use super::face::Face;

/// A short clip in memory: RGB24 frames of one size with the face in each.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Columns and rows; even.
    pub size: (u32, u32),
    /// Frames per second as a fraction.
    pub fps: (u32, u32),
    /// 3·width·height bytes each, rows packed from the top.
    pub frames: Vec<Arc<[u8]>>,
    /// 68 points in pixels, iBUG order, as many as there are frames; `None`: no face there.
    pub landmarks: Vec<Option<[[f32; 2]; 68]>>,
    /// x0, y0, x1, y1 in pixels, as many as there are frames.
    pub boxes: Vec<Option<[f32; 4]>>,
    /// Files beside the frames: name and content.
    pub assets: Vec<(String, Arc<[u8]>)>,
    /// Reading this frame fails, as a damaged video does.
    pub unreadable: Option<u32>,
}

impl Clip {
    /// `count` frames of a drawn face that sways and speaks, `size` pixels; 25 frames a second.
    pub fn drawn(size: (u32, u32), count: u32) -> Self {
        let faces: Vec<Face> = (0..count).map(|index| Face::of_frame(size, index)).collect();
        Self {
            size,
            fps: (25, 1),
            frames: faces.iter().map(|face| face.rgb().into()).collect(),
            landmarks: faces.iter().map(|face| Some(face.landmarks())).collect(),
            boxes: faces.iter().map(|face| Some(face.bounds())).collect(),
            assets: Vec::new(),
            unreadable: None,
        }
    }

    /// The same clip, whose frame `index` shows no face.
    #[must_use]
    pub(crate) fn without_face(mut self, index: usize) -> Self {
        self.landmarks[index] = None;
        self.boxes[index] = None;
        self
    }

    /// The same clip without any frame.
    #[must_use]
    pub(crate) fn without_frames(mut self) -> Self {
        (self.frames, self.landmarks, self.boxes) = Default::default();
        self
    }
}

impl Source for Clip {
    fn frame_count(&self) -> u32 {
        self.frames.len() as u32
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn fps(&self) -> (u32, u32) {
        self.fps
    }

    fn frame(&mut self, index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        let frame = self.frames.get(index as usize).filter(|_| self.unreadable != Some(index));
        let frame = frame.ok_or_else(|| Error::not_found(format!("source frame {index} cannot be read")))?;
        rgb.clear();
        rgb.extend_from_slice(frame);
        Ok(())
    }

    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        self.landmarks.get(index as usize).copied().flatten()
    }

    fn face_box(&self, index: u32) -> Option<[f32; 4]> {
        self.boxes.get(index as usize).copied().flatten()
    }

    fn assets(&self) -> Vec<String> {
        self.assets.iter().map(|(name, _)| name.clone()).collect()
    }

    fn asset(&self, name: &str) -> Option<Arc<[u8]>> {
        self.assets.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes.clone())
    }
}
