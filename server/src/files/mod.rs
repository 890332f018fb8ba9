//! Files that clients name or send: paths resolved below configured folders, and uploads written there.

mod listing;
mod roots;
mod upload;

pub use self::roots::{MediaRoots, OpenedMedia, PathError};
pub use self::upload::{Upload, UploadError, UploadKind, Uploads};
