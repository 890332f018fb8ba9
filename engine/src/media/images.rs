//! Single images and folders of images, decoded here by `image`.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use super::MediaError;
use super::child::file_name;
use super::video::{VideoLimits, flatten};

const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "bmp"];

/// The images of a folder in natural order ("2.png" before "10.png"), hidden files left out.
pub(super) fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, MediaError> {
    let io = |source| MediaError::Io { name: file_name(folder), source };
    let images = Images::open(folder).map_err(io)?;
    Ok(images.names.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect())
}

/// A folder whose images can be opened without leaving it: links in it may lead to its own files and nowhere else.
pub(crate) struct Images {
    folder: File,
    /// File names in natural order, hidden ones left out.
    pub(crate) names: Vec<String>,
}

impl Images {
    /// Reads the folder's list. A name that is not UTF-8 is none of an image that we know.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        Self::of(folder, |name| {
            let extension = Path::new(name).extension().and_then(OsStr::to_str).unwrap_or("");
            EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
        })
    }

    /// The files of any kind whose names `wanted` takes.
    pub(crate) fn of(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Self> {
        let folder = File::open(folder)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if wanted(name) && !name.starts_with('.') {
                names.push(name.to_owned());
            }
        }
        names.sort_by(|a, b| natural(a, b));
        Ok(Self { folder, names })
    }

    /// Opens one of them; `None` for what is no file.
    ///
    /// # Errors
    /// Also when a link leads out of the folder.
    pub(crate) fn file(&self, name: &str) -> io::Result<Option<File>> {
        // Without NONBLOCK a FIFO would wait here for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = loop {
            match openat2(&self.folder, name, flags, Mode::empty(), resolve) {
                // The kernel could not rule out that a rename meanwhile led outside.
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(Errno::XDEV | Errno::LOOP) => {
                    return Err(io::Error::other("a link that leads out of its folder"));
                }
                other => break other?,
            }
        };
        let regular = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile;
        Ok(regular.then(|| file.into()))
    }
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

/// Width and height in pixels.
pub(super) fn size_of(image: &DynamicImage) -> (usize, usize) {
    (image.width() as usize, image.height() as usize)
}

/// Decodes and turns upright; the caller has checked the size.
pub(super) fn decode(path: &Path, limits: &VideoLimits) -> Result<DynamicImage, MediaError> {
    let broken = |detail: image::ImageError| MediaError::NotMedia {
        name: file_name(path),
        detail: format!("the image is damaged or cut off ({detail})"),
    };
    let (mut decoder, orientation) = open(path)?;
    let mut bounds = image::Limits::default();
    bounds.max_image_width = Some(limits.max_side as u32);
    bounds.max_image_height = Some(limits.max_side as u32);
    // The widest pixel has four f32.
    bounds.max_alloc = Some((limits.max_side * limits.max_side * 16) as u64);
    decoder.set_limits(bounds).map_err(broken)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Puts an image into `rgb`: RGB24, transparency flattened, cropped by a pixel or scaled down to `width` x `height`.
pub(super) fn fit(image: DynamicImage, (width, height): (usize, usize), rgb: &mut Vec<u8>) {
    let even = (image.width() as usize & !1, image.height() as usize & !1);
    let image = if even == (width, height) {
        image.crop_imm(0, 0, width as u32, height as u32)
    } else {
        image.resize_exact(width as u32, height as u32, FilterType::CatmullRom)
    };
    if image.color().has_alpha() {
        flatten(image.into_rgba8().as_raw(), rgb);
    } else {
        *rgb = image.into_rgb8().into_raw();
    }
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
