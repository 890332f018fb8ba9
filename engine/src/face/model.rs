//! Where landmarks come from: a replaceable model, today dlib's 68-point predictor.
//!
//! The file that Debian ships was trained on the iBUG 300-W set, whose licence is said to exclude commercial use;
//! ask Imperial College London before a commercial deployment, or put another model behind [`LandmarkModel`].

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::ensemble::Ensemble;
use super::{FaceBox, FaceError, Landmarks, RgbView, dlib_file};

/// Places the 68 iBUG landmarks of one face.
pub trait LandmarkModel {
    /// Landmarks of the face that `face_box` encloses, in pixels of `image`.
    fn landmarks(&self, image: RgbView<'_>, face_box: FaceBox) -> Landmarks;

    /// The mean face in the unit square of the box that the model wants: it defines the model's box convention.
    fn mean_shape(&self) -> Landmarks;
}

/// Where Debian's package `libdlib-data` puts the model.
pub const DEFAULT_MODEL: &str = "/usr/share/dlib/shape_predictor_68_face_landmarks.dat";

/// dlib's 68-point shape predictor: 100 MB on disk, 65 MB in memory; dropped when preparing ends.
pub struct DlibModel {
    ensemble: Ensemble,
    mean: Landmarks,
}

impl DlibModel {
    /// Reads a model: less than a second of processor time.
    ///
    /// # Errors
    /// [`FaceError`], which names the Debian package when there is no file.
    pub fn load(path: &Path) -> Result<Self, FaceError> {
        let path = PathBuf::from(path);
        let ensemble = match File::open(&path).and_then(dlib_file::read) {
            Ok(ensemble) => ensemble,
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::NotFound => FaceError::ModelMissing { path },
                    io::ErrorKind::InvalidData => FaceError::ModelInvalid { path, reason: error.to_string() },
                    io::ErrorKind::UnexpectedEof => {
                        FaceError::ModelInvalid { path, reason: "the file ends too early".to_owned() }
                    }
                    _ => FaceError::ModelUnreadable { path, source: error },
                });
            }
        };
        let mean = ensemble.mean_points();
        Ok(Self { ensemble, mean })
    }
}

impl LandmarkModel for DlibModel {
    fn landmarks(&self, image: RgbView<'_>, face_box: FaceBox) -> Landmarks {
        self.ensemble.predict(image, face_box)
    }

    fn mean_shape(&self) -> Landmarks {
        self.mean
    }
}
