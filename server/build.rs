//! Lists the files of `static/`, so that they are built into the program.

use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../static");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    if folder.is_dir() {
        collect(&folder.canonicalize()?, "", &mut files)?;
    }
    files.sort();
    let entries: String =
        files.iter().map(|(name, path)| format!("    ({name:?}, include_bytes!({path:?})),\n")).collect();
    let list = format!("&[\n{entries}]");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("assets.rs"), list)?;
    Ok(())
}

/// Paths below `folder` as a URL has them, with the file of each. Hidden files stay out.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let url = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{url}/"), files)?;
        } else {
            files.push((url, entry.path().display().to_string()));
        }
    }
    Ok(())
}
