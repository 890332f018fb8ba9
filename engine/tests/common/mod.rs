//! A stage without files: an avatar in memory, and the probe backend in this process.

use std::sync::Arc;

use lipcast_codecs::I420;
use lipcast_engine::avatar::Job;
use lipcast_engine::backend::{AvatarSource, Instance, LocalInstance};
use lipcast_engine::session::{Canvas, Stage};
use lipcast_engine::time::FrameRate;
use lipcast_plugins_api::author::{Error, plugin_table};
use lipcast_plugins_api::loader::Plugin;
use lipcast_probe::ProbeBackend;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
const FRAMES: usize = 40;

/// Grey frames in ping-pong; chroma U carries the frame's index, out of the probe's way.
struct GreyCanvas(Vec<I420>);

impl Canvas for GreyCanvas {
    fn size(&self) -> (usize, usize) {
        (WIDTH, HEIGHT)
    }

    fn fps(&self) -> FrameRate {
        FrameRate::FPS_25
    }

    fn playback_index(&self, counter: u64) -> usize {
        let place = (counter % (2 * FRAMES as u64 - 2)) as usize;
        place.min(2 * FRAMES - 2 - place)
    }

    fn frame_count(&self) -> usize {
        FRAMES
    }

    fn read(&self, index: usize, picture: &mut I420) -> std::io::Result<()> {
        picture.copy_from(self.0[index].as_view());
        Ok(())
    }
}

struct GreySource(Vec<u8>);

impl AvatarSource for GreySource {
    fn size(&self) -> (u32, u32) {
        (WIDTH as u32, HEIGHT as u32)
    }

    fn fps(&self) -> (u32, u32) {
        (25, 1)
    }

    fn frame_count(&self) -> u32 {
        FRAMES as u32
    }

    fn frame(&mut self, _index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        rgb.clone_from(&self.0);
        Ok(())
    }

    fn landmarks(&self, _index: u32) -> Option<[[f32; 2]; 68]> {
        None
    }

    fn face_box(&self, _index: u32) -> Option<[f32; 4]> {
        None
    }
}

/// The probe over the grey avatar; `mode` is `barcode` or `flash`.
pub(crate) fn stage(mode: &str) -> Stage {
    let plugin = Plugin::linked(plugin_table::<ProbeBackend>()).unwrap();
    let instance = LocalInstance::create("probe", &plugin, &serde_json::json!({ "mode": mode })).unwrap();
    let mut blob = Vec::new();
    instance.prepare_avatar(&mut GreySource(vec![128; WIDTH * HEIGHT * 3]), &mut blob, &Job::new()).unwrap();
    let avatar = instance.load_avatar(&blob).unwrap();
    let frames = (0..FRAMES).map(|index| {
        let mut frame = I420::black(WIDTH, HEIGHT).unwrap();
        frame.planes_mut().1.fill(index as u8);
        frame
    });
    Stage { canvas: Arc::new(GreyCanvas(frames.collect())), instance, avatar }
}
