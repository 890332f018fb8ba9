//! Image folders and single images.

use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use lipcast_engine::media::{MediaError, VideoLimits, VideoReader};

use crate::support::Files;

fn plain(path: &Path, size: (u32, u32), colour: [u8; 3]) {
    RgbImage::from_pixel(size.0, size.1, Rgb(colour)).save(path).unwrap();
}

fn frames(path: &Path) -> Result<Vec<Vec<u8>>, MediaError> {
    let mut reader = VideoReader::open(path, &VideoLimits::default())?;
    let (mut all, mut frame) = (Vec::new(), Vec::new());
    while reader.next_frame(&mut frame)? {
        all.push(frame.clone());
    }
    Ok(all)
}

#[test]
fn a_folder_plays_in_natural_order_and_ignores_what_is_no_image() {
    let files = Files::new();
    for (name, level) in [("f10.png", 30), ("f2.png", 20), ("f1.bmp", 10)] {
        plain(&files.path(name), (33, 20), [level; 3]);
    }
    files.write("notes.txt", b"not an image");
    files.write(".hidden.png", b"not an image either");
    let all = frames(&files.path("")).unwrap();
    assert_eq!(all.iter().map(|frame| frame[0]).collect::<Vec<_>>(), [10, 20, 30]);
    assert!(all.iter().all(|frame| frame.len() == 32 * 20 * 3), "cropped to even");
}

#[test]
fn single_images_of_each_format_are_one_frame() {
    let files = Files::new();
    for name in ["a.png", "a.jpg", "a.webp", "a.bmp"] {
        plain(&files.path(name), (40, 30), [200, 100, 50]);
        // The name does not decide: the bytes do.
        let path = files.path(&format!("{name}.upload"));
        std::fs::rename(files.path(name), &path).unwrap();
        let all = frames(&path).unwrap();
        assert_eq!((all.len(), all[0].len()), (1, 40 * 30 * 3), "{name}");
        let close = all[0][..3].iter().zip([200_u8, 100, 50]).all(|(a, b)| a.abs_diff(b) <= 3);
        assert!(close, "{name}: {:?}", &all[0][..3]);
    }
}

#[test]
fn transparency_is_laid_on_white() {
    let files = Files::new();
    let path = files.path("a.png");
    RgbaImage::from_pixel(16, 16, Rgba([0, 0, 0, 0])).save(&path).unwrap();
    assert_eq!(frames(&path).unwrap()[0][..3], [255, 255, 255]);
}

#[test]
fn exif_orientation_is_honoured() {
    let files = Files::new();
    let mut image = RgbImage::from_pixel(64, 32, Rgb([250, 0, 0]));
    for x in 32..64 {
        for y in 0..32 {
            image.put_pixel(x, y, Rgb([0, 0, 250]));
        }
    }
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let path = files.write("phone.jpg", &with_orientation(&jpeg.into_inner(), 6));
    let mut reader = VideoReader::open(&path, &VideoLimits::default()).unwrap();
    assert_eq!((reader.info().width, reader.info().height), (32, 64), "a quarter turn");
    let mut frame = Vec::new();
    assert!(reader.next_frame(&mut frame).unwrap());
    // Turned clockwise, the left (red) half comes to the top.
    assert!(frame[0] > 200 && frame[2] < 60, "{:?}", &frame[..3]);
    let last = frame.len() - 3;
    assert!(frame[last] < 60 && frame[last + 2] > 200, "{:?}", &frame[last..]);
}

/// Puts an EXIF segment with one entry after the first marker.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() + 2) as u16;
    let mut out = jpeg[..2].to_vec();
    out.extend([0xff, 0xe1]);
    out.extend(length.to_be_bytes());
    out.extend(exif);
    out.extend(&jpeg[2..]);
    out
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    let files = Files::new();
    let message = frames(&files.path("")).unwrap_err().to_string();
    assert!(message.contains("holds no images"), "{message}");
    plain(&files.path("1.png"), (32, 32), [1; 3]);
    plain(&files.path("2.png"), (32, 48), [2; 3]);
    let message = frames(&files.path("")).unwrap_err().to_string();
    assert!(message.starts_with("2.png is 32x48 pixels, but the images before it are 32x32"), "{message}");
    let tiny = files.path("tiny.png");
    plain(&tiny, (1, 1), [1; 3]);
    let message = frames(&tiny).unwrap_err().to_string();
    assert!(message.contains("tiny.png is 1x1 pixels"), "{message}");
}

#[test]
fn damaged_images_are_errors() {
    let files = Files::new();
    let whole = files.path("whole.png");
    plain(&whole, (64, 64), [1, 2, 3]);
    let bytes = std::fs::read(&whole).unwrap();
    for cut in [8, 20, 40, bytes.len() - 20] {
        let path = files.write("cut.png", &bytes[..cut]);
        let message = frames(&path).unwrap_err().to_string();
        assert!(message.contains("cut.png is not a video or image"), "{cut}: {message}");
    }
    // A header that claims 60000 x 60000 pixels.
    let mut bomb = bytes.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    assert!(frames(&files.write("bomb.png", &bomb)).is_err());
}
