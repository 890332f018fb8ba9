//! Why a plugin was not loaded, in one line with its path.

use crate::abi;

/// A plugin that was not loaded: which one, and why.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {refusal}")]
pub struct LoadError {
    /// The path, or the name of the linked backend.
    pub origin: String,
    /// Why.
    pub refusal: Refusal,
}

/// Why a plugin was refused. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// The file is something else.
    #[error("not a shared library: {0}")]
    NotALibrary(String),
    /// The file is for another machine.
    #[error("built for {found}, this server runs on {expected}")]
    Architecture {
        /// Of the file.
        found: String,
        /// Of this process.
        expected: String,
    },
    /// The dynamic linker refused; the text is its whole chain of reasons.
    #[error("cannot be loaded: {0}")]
    Linker(String),
    /// A library, but no plugin.
    #[error(
        "not a Lipcast plugin: neither the Rust root module nor the symbol {} is there",
        abi::ENTRY_SYMBOL
    )]
    NoEntry,
    /// The Rust door is there but of another make.
    #[error("its Rust root module is refused: {0}")]
    Root(String),
    /// The entry's answer is not a descriptor.
    #[error("its descriptor is malformed: {0}")]
    Descriptor(String),
    /// Another major version.
    #[error(
        "built against contract {found_major}.{found_minor}, this server speaks {}.{}",
        abi::API_MAJOR,
        abi::API_MINOR
    )]
    Version {
        /// The plugin's major version.
        found_major: u32,
        /// The plugin's minor version.
        found_minor: u32,
    },
    /// The tables are not those of the version it names.
    #[error(
        "built against a modified {}.{minor} header: fingerprint {found:#018x}, expected {expected:#018x}",
        abi::API_MAJOR
    )]
    Fingerprint {
        /// The plugin's minor version.
        minor: u32,
        /// The plugin's.
        found: u64,
        /// Of the published tables.
        expected: u64,
    },
    /// The plugin does not want to run here.
    #[error("declined: {0}")]
    Declined(String),
    /// A library that has to be opened before the plugin.
    #[error("{}: {reason}", library.display())]
    Preload {
        /// Which.
        library: std::path::PathBuf,
        /// Why it was not opened.
        reason: String,
    },
}

/// An error with all its sources, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    one_line(&text)
}

/// Text without line breaks and runs of blanks, at most 400 characters.
pub(super) fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match joined.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &joined[..end]),
        None => joined,
    }
}
