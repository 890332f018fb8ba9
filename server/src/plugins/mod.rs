//! Plugin folders: what lies in `engine.plugin_dirs`, and what has to be true before any of it runs.
//!
//! In: a backend of the settings. Out: the library or command to start, after the files that its `plugin.toml` names
//! were found and compared with their SHA-256. Nothing here opens a library or starts a program.
//!
//! ```text
//! plugins/
//!   talker/            plugin = "talker"
//!     plugin.toml      id, version, licence, kind, library or command, weights
//!     libtalker.so
//!     weights/…
//! ```

mod manifest;

mod files;

mod find;
pub use find::{Found, PluginError, Program, find, find_in};

mod list;
pub use list::{Listed, list};

pub use files::WeightState;
pub use manifest::{Manifest, ManifestProgram, Weight};

mod new;
pub use new::{Language, NewError, Project};

#[cfg(test)]
mod tests;
