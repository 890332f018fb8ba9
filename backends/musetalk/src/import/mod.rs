//! MuseTalk's own prepared avatars, `results/*/avatars/<id>`, as sources for ours.
//!
//! In: such a folder. Out: a folder of images with two assets beside them: the face boxes and the masks that MuseTalk
//! had found, so that nothing has to be found again. Its latents stay behind: they hold a random sample of the encoder's
//! posterior, and encoding the frames again gives the mode.
//!
//! MuseTalk stores every frame twice, the second half being the first one backwards; the first half is taken.

mod masks;

mod pickle;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use masks::{MaskFile, Masks};

use crate::file;

/// Name of the asset with the face boxes: JSON, for each frame `[x1, y1, x2, y2]` or `null`.
pub const BOXES_ASSET: &str = "musetalk-boxes.json";
/// Name of the asset with the masks; [`Masks`] reads it.
pub const MASKS_ASSET: &str = "musetalk-masks.bin";

/// Most bytes that are read of a file. The boxes of an hour of video have some tens of megabytes.
const LARGEST: u64 = 256 << 20;

/// A prepared avatar of MuseTalk.
#[derive(Debug, Clone, PartialEq)]
pub struct MuseTalkAvatar {
    /// Its name: the folder's.
    pub id: String,
    /// `v15` or `v1`, as MuseTalk wrote it; empty in old folders, which do not say.
    pub version: String,
    /// Images in order, the first half alone.
    pub frames: Vec<PathBuf>,
    /// Face box of each, margin included; `None` where MuseTalk had found no face.
    pub boxes: Vec<Option<[i32; 4]>>,
    /// Mask of each and where its square lies; empty when the folder has none.
    pub masks: Vec<(PathBuf, [i32; 4])>,
}

/// Why a folder cannot be taken over; one line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what MuseTalk writes.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl MuseTalkAvatar {
    /// Reads `folder`. Pickles are read as data: nothing in them is called.
    ///
    /// # Errors
    /// Names the file that is missing, damaged, or does not fit the others.
    pub fn read(folder: &Path) -> Result<Self, ImportError> {
        let info_file = folder.join("avator_info.json");
        let info = read(&info_file)?;
        let info: serde_json::Value =
            serde_json::from_slice(&info).map_err(|error| content(&info_file, error.to_string()))?;
        let text = |key: &str| info[key].as_str().unwrap_or_default().to_owned();

        let frames = images(&folder.join("full_imgs"))?;
        let boxes_file = folder.join("coords.pkl");
        let boxes = pickle::boxes(&read(&boxes_file)?).map_err(|reason| content(&boxes_file, reason))?;
        if frames.is_empty() || boxes.len() != frames.len() || !frames.len().is_multiple_of(2) {
            let reason = format!("{} boxes for {} images in full_imgs", boxes.len(), frames.len());
            return Err(content(&boxes_file, reason));
        }
        if boxes.iter().ne(boxes.iter().rev()) {
            return Err(content(&boxes_file, "its second half is not the first one backwards".to_owned()));
        }
        let half = frames.len() / 2;
        let masks = masks_of(folder, frames.len())?;
        Ok(Self {
            id: name_of(folder),
            version: text("version"),
            frames: frames[..half].to_vec(),
            boxes: boxes[..half]
                .iter()
                .map(|rect| (rect[2] > rect[0] && rect[3] > rect[1]).then_some(*rect))
                .collect(),
            masks: masks.into_iter().take(half).collect(),
        })
    }

    /// Lays out `target`, an empty folder, as a source: images, and `assets` with boxes and masks. Images are linked
    /// where the file system allows that, and copied otherwise.
    ///
    /// # Errors
    /// When a file cannot be read or written, or a mask has another size than its square.
    pub fn write_source(&self, target: &Path) -> Result<(), ImportError> {
        let assets = target.join("assets");
        fs::create_dir(&assets).map_err(io_error(&assets))?;
        for frame in &self.frames {
            let to = target.join(frame.file_name().unwrap_or_default());
            if fs::hard_link(frame, &to).is_err() {
                fs::copy(frame, &to).map_err(io_error(frame))?;
            }
        }
        let boxes = assets.join(BOXES_ASSET);
        // Plain numbers: infallible.
        fs::write(&boxes, serde_json::to_vec(&self.boxes).expect("boxes are plain data"))
            .map_err(io_error(&boxes))?;
        if !self.masks.is_empty() {
            masks::write(&self.masks, &assets.join(MASKS_ASSET))?;
        }
        Ok(())
    }
}

fn masks_of(folder: &Path, frames: usize) -> Result<Vec<(PathBuf, [i32; 4])>, ImportError> {
    let (pictures, squares_file) = (folder.join("mask"), folder.join("mask_coords.pkl"));
    if !squares_file.exists() {
        return Ok(Vec::new());
    }
    let squares = pickle::boxes(&read(&squares_file)?).map_err(|reason| content(&squares_file, reason))?;
    let pictures = images(&pictures)?;
    if squares.len() != frames || pictures.len() != frames {
        let reason = format!("{} squares and {} masks for {frames} images", squares.len(), pictures.len());
        return Err(content(&squares_file, reason));
    }
    Ok(pictures.into_iter().zip(squares).collect())
}

/// The PNG files of a folder in the order of their names, which are numbers of eight digits.
fn images(folder: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let entries = fs::read_dir(folder).map_err(io_error(folder))?;
    let mut all: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")));
    all.sort();
    // They are copied and decoded later, where a pipe among them would be waited for without end.
    all.iter().try_for_each(|path| file::expect(path).map_err(io_error(path)))?;
    Ok(all)
}

fn name_of(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let file = file::open(path).map_err(io_error(path))?;
    let size = file.metadata().map_err(io_error(path))?.len();
    if size > LARGEST {
        let reason = format!("{size} bytes; at most {LARGEST} are read, and MuseTalk writes far fewer");
        return Err(content(path, reason));
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    file.take(LARGEST).read_to_end(&mut bytes).map_err(io_error(path))?;
    Ok(bytes)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ImportError {
    let path = path.to_owned();
    move |source| ImportError::Io { path, source }
}

fn content(path: &Path, reason: String) -> ImportError {
    ImportError::Content { path: path.to_owned(), reason }
}
