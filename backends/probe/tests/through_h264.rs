//! The barcode survives the server's own encoder at a rate far below what a face is sent with.

use lipcast_codecs::{H264Decoder, I420, I420Ref, VideoCodec, VideoConfig, video_encoder};
use lipcast_probe::barcode::{self, Barcode};

/// A textured background that pans, so that the encoder has work everywhere; the barcode on top.
fn picture(width: usize, height: usize, frame: usize) -> Vec<u8> {
    let texture = |x: usize, y: usize| {
        let hash =
            ((x / 4) as u32).wrapping_mul(2_654_435_761) ^ ((y / 4) as u32).wrapping_mul(2_246_822_519);
        60 + (hash.wrapping_mul(3_266_489_917) >> 25) as u8
    };
    let mut data = vec![128; width * height * 3 / 2];
    for y in 0..height {
        for x in 0..width {
            data[y * width + x] = texture(x + 3 * frame, y + frame);
        }
    }
    let rect = barcode::place(width as u32, height as u32).unwrap();
    let mut patch = vec![0; rect.area() as usize];
    Barcode::new(frame as u64 * 9_973, frame as u32).draw(rect, &mut patch);
    for (y, row) in patch.chunks(rect.width as usize).enumerate() {
        let start = (y + rect.y as usize) * width + rect.x as usize;
        data[start..start + row.len()].copy_from_slice(row);
    }
    data
}

#[test]
fn every_barcode_is_read_after_h264_at_a_low_rate() {
    for (width, height, bitrate) in [(704, 1216, 250_000), (320, 240, 80_000), (128, 96, 60_000)] {
        let config = VideoConfig { width, height, fps: (25, 1), bitrate };
        let mut encoder = video_encoder(VideoCodec::H264, &config).unwrap();
        let mut decoder = H264Decoder::new().unwrap();
        let mut read = Vec::new();
        let mut bytes = 0;
        for frame in 0..50 {
            let data = picture(width, height, frame);
            let unit = encoder.encode(I420Ref::packed(width, height, &data), false).unwrap();
            bytes += unit.data.len();
            let decoded: I420 = decoder.decode(&unit.data).unwrap().expect("a picture for each unit");
            let luma = &decoded.data()[..width * height];
            read.push(barcode::read(luma, width, height, width));
        }
        let written: Vec<_> = (0..50).map(|frame| Some(Barcode::new(frame * 9_973, frame as u32))).collect();
        assert_eq!(read, written, "{width}x{height}");
        let rate = bytes * 8 / 2;
        assert!(rate < 3 * bitrate as usize, "{rate} b/s: the encoder was not held to a low rate");
    }
}
