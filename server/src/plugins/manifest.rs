//! `plugin.toml`: text in, a checked manifest out, or every problem with its place.

use std::path::{Component, Path, PathBuf};

use toml_edit::{Item, TableLike};

use crate::config::reader::{Reader, Section};
use crate::config::report::{Complaint, ConfigError};
use crate::config::values::{list, one_of, text, wrong_type};

/// What a plugin folder says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// As in the plugin's descriptor: 1 to 64 letters, digits, '.', '-', '_'.
    pub id: String,
    /// Of the plugin.
    pub version: String,
    /// SPDX expression of the plugin itself; its weights may have another one.
    pub license: String,
    /// What is started.
    pub program: ManifestProgram,
    /// Files that must be there before it is.
    pub weights: Vec<Weight>,
}

/// What a plugin folder starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestProgram {
    /// A shared library in the folder.
    Library {
        /// Relative to the folder.
        file: PathBuf,
        /// Pinned SHA-256, 32 bytes.
        sha256: Option<[u8; 32]>,
        /// Libraries that are opened before it, in order. Relative ones start at the folder, and may lead out of it.
        preload: Vec<PathBuf>,
    },
    /// Program and arguments, started in the folder.
    Exec(Vec<String>),
}

/// A file that a plugin cannot do without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// Relative to the folder.
    pub file: PathBuf,
    /// Pinned SHA-256, 32 bytes.
    pub sha256: Option<[u8; 32]>,
    /// Where its authors publish it, for people; may be empty. Nothing is downloaded.
    pub source: String,
    /// SPDX expression, or words; may be empty.
    pub license: String,
}

/// The name of the file.
pub(super) const FILE_NAME: &str = "plugin.toml";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Library,
    Exec,
}

impl Manifest {
    /// Reads the `plugin.toml` of `folder`.
    ///
    /// # Errors
    /// When it cannot be read, or with every problem in it.
    pub fn read(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(FILE_NAME);
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError::unreadable(name.clone(), error.to_string(), None))?;
        Self::parse(&name, &text)
    }

    /// Reads `text`; `file` names it in problems.
    ///
    /// # Errors
    /// With every problem in it.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let reader = Reader::new(file, text)?;
        let manifest = read(reader.root());
        reader.finish(manifest)
    }
}

fn read(root: Section<'_, '_>) -> Manifest {
    const KINDS: &[(&str, Kind)] = &[("library", Kind::Library), ("exec", Kind::Exec)];
    let required = |key: &str, value: String, help: &str| {
        if value.is_empty() {
            root.complain(key, Complaint::new(format!("`{key}` is missing")).help(help));
        }
        value
    };
    let id = required("id", root.read("id", String::new(), id), "id = \"org.example.talker\"");
    let version = required("version", root.read("version", String::new(), text), "version = \"0.1.0\"");
    let license = root.read("license", String::new(), text);
    let license = required("license", license, "license = \"MIT\", an SPDX expression");
    let command = root.read("command", Vec::new(), list(text));
    let file = root.read("library", None, |item| inside(item).map(Some));
    let sha256 = root.read("sha256", None, |item| sha256(item).map(Some));
    let preload: Vec<_> =
        root.read("preload", Vec::new(), list(text)).into_iter().map(PathBuf::from).collect();
    let implied = if command.is_empty() { Kind::Library } else { Kind::Exec };
    let kind = root.read("kind", implied, one_of(KINDS));
    match kind {
        Kind::Library if file.is_none() => {
            required("library", String::new(), "library = \"libtalker.so\"");
        }
        Kind::Library if !command.is_empty() => {
            root.complain("kind", Complaint::new("`command` is for kind \"exec\""));
        }
        Kind::Exec if command.is_empty() => {
            required("command", String::new(), "command = [\"python3\", \"backend.py\"]");
        }
        Kind::Exec if file.is_some() || sha256.is_some() || !preload.is_empty() => root.complain(
            "kind",
            Complaint::new("`library`, `sha256` and `preload` are for kind \"library\"")
                .help("pin a script with an entry of [[weights]]"),
        ),
        _ => {}
    }
    let program = match kind {
        Kind::Library => ManifestProgram::Library { file: file.unwrap_or_default(), sha256, preload },
        Kind::Exec => ManifestProgram::Exec(command),
    };
    let weights = root.read("weights", Vec::new(), weights);
    root.finish();
    Manifest { id, version, license, program, weights }
}

fn weights(item: &Item) -> Result<Vec<Weight>, Complaint> {
    let tables = item.as_array_of_tables().ok_or_else(|| {
        wrong_type("tables", item.type_name()).help("write [[weights]] and, below it, file = \"…\"")
    })?;
    tables.iter().map(|table| weight(table)).collect()
}

fn weight(table: &dyn TableLike) -> Result<Weight, Complaint> {
    const KEYS: [&str; 4] = ["file", "sha256", "source", "license"];
    if let Some((key, item)) = table.iter().find(|(key, _)| !KEYS.contains(key)) {
        let known = KEYS.join(", ");
        return Err(Complaint::new(format!("unknown key `{key}`"))
            .at(item.span())
            .help(format!("known here: {known}")));
    }
    let file = table.get("file").ok_or_else(|| Complaint::new("an entry of `weights` lacks `file`"))?;
    let words =
        |key| table.get(key).map_or(Ok(String::new()), |item| text(item).map_err(|c| c.at(item.span())));
    let pinned = table.get("sha256").map(|item| sha256(item).map_err(|complaint| complaint.at(item.span())));
    Ok(Weight {
        file: inside(file).map_err(|complaint| complaint.at(file.span()))?,
        sha256: pinned.transpose()?,
        source: words("source")?,
        license: words("license")?,
    })
}

fn id(item: &Item) -> Result<String, Complaint> {
    let id = text(item)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if id.len() > 64 || id.starts_with('.') || !id.chars().all(plain) {
        let complaint = Complaint::new(format!("\"{}\" is not an id", id.escape_debug()));
        return Err(complaint.help("up to 64 letters, digits, '.', '-' and '_', as in org.example.talker"));
    }
    Ok(id)
}

/// A path that stays in the plugin's folder.
fn inside(item: &Item) -> Result<PathBuf, Complaint> {
    let path = PathBuf::from(text(item)?);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.as_os_str().is_empty() || !path.components().all(plain) {
        return Err(Complaint::new(format!(
            "\"{}\" is not a path inside the plugin's folder",
            path.display()
        )));
    }
    Ok(path)
}

fn sha256(item: &Item) -> Result<[u8; 32], Complaint> {
    let text = text(item)?;
    let mut bytes = [0; 32];
    let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 64).ok_or_else(|| {
        Complaint::new("not a SHA-256 of 64 hexadecimal digits").help("sha256sum FILE prints it")
    })?;
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (pair[0] * 16 + pair[1]) as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_manifest_is_read() {
        let text = "id = \"org.example.talker\"\nversion = \"1.2\"\nlicense = \"MIT\"\nlibrary = \"libtalker.so\"\n\
                    sha256 = \"00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff\"\n\
                    preload = [\"../runtime/libneeded.so\", \"/opt/libother.so\"]\n\
                    [[weights]]\nfile = \"weights/a.onnx\"\nsource = \"https://example.org/a.onnx\"\n";
        let manifest = Manifest::parse("plugin.toml", text).unwrap();
        let ManifestProgram::Library { file, sha256: Some(pin), preload } = &manifest.program else {
            panic!()
        };
        assert_eq!((file.as_path(), pin[0], pin[31]), (Path::new("libtalker.so"), 0, 255));
        assert_eq!(*preload, [Path::new("../runtime/libneeded.so"), Path::new("/opt/libother.so")]);
        assert_eq!(manifest.weights[0].file, Path::new("weights/a.onnx"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let good = "id = \"a\"\nversion = \"1\"\nlicense = \"MIT\"\n";
        for (text, message) in [
            ("", "`id` is missing"),
            (
                &format!("{good}library = \"../libx.so\""),
                "4:11: library: \"../libx.so\" is not a path inside",
            ),
            (&format!("{good}library = \"/libx.so\""), "4:11: library: \"/libx.so\" is not a path inside"),
            (&format!("{good}kind = \"exec\"\nlibrary = \"x.so\""), "`command` is missing"),
            (
                &format!("{good}command = [\"a\"]\nsha256 = \"{}\"", "a".repeat(64)),
                "are for kind \"library\"",
            ),
            (&format!("{good}command = [\"a\"]\npreload = [\"x.so\"]"), "are for kind \"library\""),
            (&format!("{good}library = \"x.so\"\nsha256 = \"é{}\"", "a".repeat(62)), "not a SHA-256"),
            (
                &format!("{good}library = \"x.so\"\n[[weights]]\nfil = \"x\""),
                "6:7: weights: unknown key `fil`",
            ),
            (&format!("{good}library = \"x.so\"\nlibary = 1"), "did you mean `library`?"),
            ("id = \"a b\"", "\"a b\" is not an id"),
        ] {
            let error = Manifest::parse("plugin.toml", text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}\n  want {message}\n  got  {error}");
        }
    }
}
