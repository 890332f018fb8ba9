//! Speech files in the media folders, by the paths that clients may send.

use std::fs;
use std::path::Path;

/// Extensions of what can be said.
const SPEECH: &[&str] = &["wav", "mp3", "m4a", "aac", "flac", "ogg", "oga", "opus", "webm"];

/// How deep folders are looked into, and how many files are listed at most.
const DEEPEST: usize = 5;
const MOST: usize = 500;

/// Adds the speech files below `folder` to `found`, each as `prefix` and its path. Links and hidden files stay out.
pub(super) fn speech_below(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    walk(folder, prefix, DEEPEST, found);
}

fn walk(folder: &Path, prefix: &str, deeper: usize, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
        if found.len() >= MOST {
            return;
        }
        if name.starts_with('.') {
            continue;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() && deeper > 0 {
            walk(&entry.path(), &format!("{path}/"), deeper - 1, found);
        } else if kind.is_file() && is_speech(&name) {
            found.push(path);
        }
    }
}

fn is_speech(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    SPEECH.iter().any(|speech| speech.eq_ignore_ascii_case(extension))
}
