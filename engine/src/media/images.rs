//! Single images and folders of images, decoded here by `image`.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::MediaError;
use super::child::file_name;
use super::video::{VideoLimits, flatten};

const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "bmp"];

/// The images of a folder in natural order ("2.png" before "10.png"), hidden files left out.
pub(super) fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, MediaError> {
    let io = |source| MediaError::Io { name: file_name(folder), source };
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let known = extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()));
        if known && !file_name(&path).starts_with('.') && path.is_file() {
            images.push(path);
        }
    }
    images.sort_by(|a, b| natural(&file_name(a), &file_name(b)));
    Ok(images)
}

/// Whether a file's first bytes are those of an image that we decode here.
pub(super) fn is_image(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut reader = BufReader::new(file);
    let Ok(head) = reader.fill_buf() else { return false };
    let format = image::guess_format(head);
    matches!(format, Ok(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP | ImageFormat::Bmp))
}

/// Size after EXIF rotation, from the header alone.
pub(super) fn size(path: &Path) -> Result<(usize, usize), MediaError> {
    let (decoder, orientation) = open(path)?;
    let (width, height) = decoder.dimensions();
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let (width, height) = (width as usize, height as usize);
    Ok(if turned { (height, width) } else { (width, height) })
}

/// Decodes to RGB24, upright, with transparency flattened; the caller has checked the size.
pub(super) fn decode(path: &Path, limits: &VideoLimits) -> Result<(usize, usize, Vec<u8>), MediaError> {
    let broken = |detail: image::ImageError| MediaError::NotMedia {
        name: file_name(path),
        detail: format!("the image is damaged or cut off ({detail})"),
    };
    let (mut decoder, orientation) = open(path)?;
    let mut bounds = image::Limits::default();
    bounds.max_image_width = Some(limits.max_side as u32);
    bounds.max_image_height = Some(limits.max_side as u32);
    // The widest pixel has four f32, and a decoder may hold the image twice.
    bounds.max_alloc = Some((limits.max_side * limits.max_side * 32) as u64);
    decoder.set_limits(bounds).map_err(broken)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let rgb = if image.color().has_alpha() {
        let mut rgb = Vec::new();
        flatten(image.into_rgba8().as_raw(), &mut rgb);
        rgb
    } else {
        image.into_rgb8().into_raw()
    };
    Ok((width, height, rgb))
}

/// Compares names with their runs of digits taken as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (head_a, rest_a) = piece(left);
        let (head_b, rest_b) = piece(right);
        if head_a.is_empty() || head_b.is_empty() {
            // Equal as numbers ("01" and "1"): the bytes decide, so that the order is total.
            return head_a.len().cmp(&head_b.len()).then_with(|| a.cmp(b));
        }
        let digits = |text: &str| text.as_bytes()[0].is_ascii_digit();
        let order = if digits(head_a) && digits(head_b) {
            let (x, y) = (head_a.trim_start_matches('0'), head_b.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            head_a.cmp(head_b)
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (rest_a, rest_b);
    }
}

/// Splits off the first run of digits, or of anything else.
fn piece(text: &str) -> (&str, &str) {
    let Some(first) = text.chars().next() else { return ("", "") };
    let digits = first.is_ascii_digit();
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

fn open(path: &Path) -> Result<(impl ImageDecoder, Orientation), MediaError> {
    let name = || file_name(path);
    let io = |source| MediaError::Io { name: name(), source };
    let mut file = File::open(path).map_err(io)?;
    if file.seek(SeekFrom::End(0)).map_err(io)? == 0 {
        return Err(MediaError::Empty { name: name() });
    }
    file.rewind().map_err(io)?;
    let broken = |detail: String| MediaError::NotMedia { name: name(), detail };
    let reader = ImageReader::new(BufReader::new(file)).with_guessed_format().map_err(io)?;
    let mut decoder = reader.into_decoder().map_err(|error| broken(error.to_string()))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["f10.png", "f9.png", "f2b.png", "f2a.png", "a.png", "f02.png", "f.png"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a.png", "f02.png", "f2a.png", "f2b.png", "f9.png", "f10.png", "f.png"]);
    }
}
