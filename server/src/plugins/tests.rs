//! Plugin folders: what is found, and what is refused before anything of it runs.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{BackendSource, Bases, Config, EngineConfig};

/// SHA-256 of "abc".
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn folder(dir: &Path, name: &str, manifest: &str) -> PathBuf {
    let folder = dir.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    fs::write(folder.join("libx.so"), "abc").unwrap();
    folder
}

fn manifest(id: &str, rest: &str) -> String {
    format!("id = \"{id}\"\nversion = \"1.0\"\nlicense = \"MIT\"\n{rest}\n")
}

fn engine(dirs: &[&Path]) -> EngineConfig {
    let bases = Bases { config: "/".into(), program: "/".into() };
    let engine = Config::parse("", "", &bases).unwrap().engine;
    EngineConfig { plugin_dirs: dirs.iter().map(|dir| dir.to_path_buf()).collect(), ..engine }
}

/// A library that needs no other before it.
fn alone(file: PathBuf) -> Program {
    Program::Library { file, preload: Vec::new() }
}

fn refusal(dir: &Path, name: &str) -> String {
    let error = find(&engine(&[dir]), &BackendSource::Folder(name.to_owned()), &[]).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn a_folder_is_found_by_plugin_and_by_library_and_its_files_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let pinned = manifest("org.x", &format!("library = \"libx.so\"\nsha256 = \"{ABC}\""));
    let weights = format!("{pinned}[[weights]]\nfile = \"libx.so\"\nsha256 = \"{ABC}\"\n");
    let talker = folder(dir.path(), "talker", &weights);
    for source in [BackendSource::Folder("talker".into()), BackendSource::Library("talker".into())] {
        let found = find(&engine(&[dir.path()]), &source, &[]).unwrap();
        assert_eq!(found.program, alone(talker.join("libx.so")));
        assert!(found.check_id("org.x").is_ok());
        let error = found.check_id("org.y").unwrap_err().to_string();
        assert_eq!(error, "plugin.toml says id org.x, the plugin itself says org.y");
    }
    fs::write(talker.join("libx.so"), "abd").unwrap();
    assert!(refusal(dir.path(), "talker").contains("libx.so: it is not the file that its sha256 pins"));
    fs::write(talker.join("plugin.toml"), pinned).unwrap();
    let error = refusal(dir.path(), "talker");
    assert!(
        error.ends_with("it is not the file that `sha256` in plugin.toml pins; it is not opened"),
        "{error}"
    );
}

#[test]
fn missing_weights_are_refused_with_where_they_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let weights =
        "command = [\"python3\", \"b.py\"]\n[[weights]]\nfile = \"w.bin\"\nsource = \"https://example.org\"";
    let talker = folder(dir.path(), "talker", &manifest("org.x", weights));
    let error = refusal(dir.path(), "talker");
    assert!(
        error.ends_with("w.bin: missing or unreadable; its authors publish it at https://example.org"),
        "{error}"
    );
    fs::write(talker.join("w.bin"), "").unwrap();
    let found = find(&engine(&[dir.path()]), &BackendSource::Folder("talker".into()), &[]).unwrap();
    let command = vec!["python3".to_owned(), "b.py".to_owned()];
    assert_eq!(found.program, Program::Exec { command, folder: talker });
}

#[test]
fn two_folders_with_one_id_are_both_refused_by_name() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = manifest("org.x", "library = \"libx.so\"");
    folder(first.path(), "a", &text);
    folder(second.path(), "b", &text);
    let engine = engine(&[first.path(), second.path()]);
    for name in ["a", "b"] {
        let error = find(&engine, &BackendSource::Folder(name.into()), &[]).unwrap_err().to_string();
        assert!(error.starts_with("plugin id org.x is in "), "{error}");
        assert!(error.contains("/a") && error.contains("/b"), "{error}");
    }
    assert!(list(&engine.plugin_dirs).iter().take(2).all(|listed| !listed.problems.is_empty()));
    // The same folder by two names is one plugin.
    let engine =
        self::engine(&[first.path(), &first.path().join("../").join(first.path().file_name().unwrap())]);
    assert!(find(&engine, &BackendSource::Folder("a".into()), &[]).is_ok());
    assert_eq!(list(&engine.plugin_dirs).len(), 1);
}

#[test]
fn what_is_not_there_is_named_with_where_it_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = refusal(dir.path(), "talker");
    assert!(error.starts_with("there is no plugin \"talker\": none of "), "{error}");
    assert!(error.ends_with(" has talker/plugin.toml"), "{error}");
    folder(dir.path(), "talker", "id = 3");
    assert!(refusal(dir.path(), "talker").contains("plugin.toml:1:6: id: expected text in quotes"));
    // A library that is not there is left to the loader, which says more.
    let found = find(&engine(&[dir.path()]), &BackendSource::Library("libno.so".into()), &[]).unwrap();
    assert_eq!(found.program, alone(dir.path().join("libno.so")));
}

#[test]
fn a_list_tells_what_lies_there_without_opening_it() {
    let dir = tempfile::tempdir().unwrap();
    let pinned = format!("library = \"libx.so\"\nsha256 = \"{ABC}\"\n[[weights]]\nfile = \"gone.bin\"");
    folder(dir.path(), "talker", &manifest("org.x", &pinned));
    fs::write(dir.path().join("libalone.so"), "no library at all").unwrap();
    let listed = list(&[dir.path().to_owned(), dir.path().join("nowhere")]);
    let names: Vec<_> = listed.iter().map(|listed| listed.name.as_str()).collect();
    assert_eq!(names, ["talker", "libalone.so"]);
    assert_eq!(listed[0].library, Some(WeightState::Pinned));
    assert_eq!(listed[0].weights[0].state, WeightState::Missing);
    assert_eq!(listed[0].problems, ["gone.bin: missing"]);
    assert_eq!((listed[0].id.as_deref(), listed[1].id.as_deref()), (Some("org.x"), None));
}

#[test]
fn what_is_opened_before_a_library_is_there_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = manifest("org.x", "library = \"libx.so\"\npreload = [\"../libneeded.so\"]");
    let talker = folder(dir.path(), "talker", &text);
    let needed = talker.join("../libneeded.so");
    let missing = format!("preload: {}: no such file", needed.display());
    assert_eq!(refusal(dir.path(), "talker"), missing);
    assert_eq!(find_in(&talker, &[]).unwrap_err().to_string(), missing);
    let problems = |listed: &[Listed]| listed[0].problems.clone();
    let dirs = [dir.path().to_owned()];
    assert_eq!(problems(&list(&dirs)), ["preload: ../libneeded.so: no such file"]);

    fs::write(&needed, "").unwrap();
    let program = |preload: &[PathBuf]| {
        let source = BackendSource::Folder("talker".into());
        find(&engine(&[dir.path()]), &source, preload).map(|found| found.program)
    };
    let file = talker.join("libx.so");
    let expected = Program::Library { file: file.clone(), preload: vec![needed.clone()] };
    assert_eq!(program(&[]).unwrap(), expected);
    assert_eq!(find_in(&talker, &[]).unwrap().program, expected);
    assert!(problems(&list(&dirs)).is_empty());

    // The settings of the server come before those of the folder.
    let other = dir.path().join("libother.so");
    let error = program(std::slice::from_ref(&other)).unwrap_err().to_string();
    assert_eq!(error, format!("preload: {}: no such file", other.display()));
    fs::write(&other, "").unwrap();
    assert_eq!(
        program(std::slice::from_ref(&other)).unwrap(),
        Program::Library { file, preload: vec![other] }
    );
}
