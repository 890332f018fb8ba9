//! MuseTalk's prepared avatars, taken over: what comes along, and what is refused by name.
//!
//! `data/avatar` was written by Python 3.11 with numpy 2.4 and Pillow, as MuseTalk writes such a folder: three frames,
//! the second without a face, the third with a box and a mask that leave the picture.

use std::fs;
use std::path::{Path, PathBuf};

use lipcast_musetalk::import::{BOXES_ASSET, ImportError, MASKS_ASSET, Masks, MuseTalkAvatar};
use rustix::fs::{CWD, FileType, Mode, mknodat};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/avatar")
}

/// A copy to damage.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["", "full_imgs", "mask"] {
        fs::create_dir_all(folder.path().join(part)).unwrap();
        for entry in fs::read_dir(data().join(part)).unwrap().flatten() {
            if entry.path().is_file() {
                fs::copy(entry.path(), folder.path().join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    folder
}

fn refusal(folder: &Path) -> String {
    let error = MuseTalkAvatar::read(folder).expect_err("a refusal").to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn the_first_half_comes_along_with_its_boxes_and_masks() {
    let avatar = MuseTalkAvatar::read(&data()).unwrap();
    assert_eq!((avatar.id.as_str(), avatar.version.as_str()), ("avatar", "v15"));
    let names: Vec<_> = avatar.frames.iter().map(|frame| frame.file_name().unwrap()).collect();
    assert_eq!(names, ["00000000.png", "00000001.png", "00000002.png"]);
    assert_eq!(avatar.boxes, [Some([10, 12, 40, 52]), None, Some([11, -3, 44, 50])]);

    let target = tempfile::tempdir().unwrap();
    avatar.write_source(target.path()).unwrap();
    assert_eq!(fs::read(target.path().join("00000002.png")).unwrap(), fs::read(&avatar.frames[2]).unwrap());
    let boxes: Vec<Option<[i32; 4]>> =
        serde_json::from_slice(&fs::read(target.path().join("assets").join(BOXES_ASSET)).unwrap()).unwrap();
    assert_eq!(boxes, avatar.boxes);
    let masks = fs::read(target.path().join("assets").join(MASKS_ASSET)).unwrap();
    let masks = Masks::parse(&masks).unwrap();
    assert_eq!(masks.len(), 3);
    let last = masks.of(2).unwrap();
    assert_eq!((last.square, last.alpha), ([-3, 5, 17, 25], &[180; 400][..]));
}

#[test]
fn a_folder_without_masks_has_none() {
    let folder = copy();
    fs::remove_file(folder.path().join("mask_coords.pkl")).unwrap();
    let avatar = MuseTalkAvatar::read(folder.path()).unwrap();
    assert!(avatar.masks.is_empty());
    let target = tempfile::tempdir().unwrap();
    avatar.write_source(target.path()).unwrap();
    assert!(!target.path().join("assets").join(MASKS_ASSET).exists());
}

#[test]
fn what_does_not_fit_is_refused_with_the_files_name() {
    let folder = copy();
    fs::remove_file(folder.path().join("full_imgs/00000005.png")).unwrap();
    let error = refusal(folder.path());
    assert!(error.ends_with("coords.pkl: 6 boxes for 5 images in full_imgs"), "{error}");

    let folder = copy();
    fs::write(folder.path().join("coords.pkl"), b"no pickle at all").unwrap();
    assert!(refusal(folder.path()).contains("coords.pkl: "), "text for a pickle");
    fs::remove_file(folder.path().join("coords.pkl")).unwrap();
    assert!(refusal(folder.path()).contains("coords.pkl: No such file"));

    let folder = copy();
    let avatar = MuseTalkAvatar::read(folder.path()).unwrap();
    fs::copy(folder.path().join("mask/00000002.png"), folder.path().join("mask/00000000.png")).unwrap();
    let target = tempfile::tempdir().unwrap();
    let error = avatar.write_source(target.path()).unwrap_err().to_string();
    assert!(error.ends_with("00000000.png: 20x20 pixels for a square of 24"), "{error}");
}

/// A pipe is waited for without end.
#[test]
fn what_is_no_file_is_refused_without_waiting() {
    for name in ["avator_info.json", "coords.pkl", "mask_coords.pkl", "full_imgs/00000001.png"] {
        let folder = copy();
        let path = folder.path().join(name);
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(refusal(folder.path()).ends_with(&format!("{name}: not a file")), "{name}");
    }
}

#[test]
fn a_file_far_larger_than_any_list_of_boxes_is_not_read() {
    let folder = copy();
    let size = (256 << 20) + 1;
    // It takes no room on the disk.
    fs::File::create(folder.path().join("coords.pkl")).unwrap().set_len(size).unwrap();
    let error = refusal(folder.path());
    assert!(error.contains("coords.pkl: 268435457 bytes; at most 268435456 are read"), "{error}");
}

/// A pickle is a program; this one would have the system list a folder.
#[test]
fn a_pickle_that_calls_something_is_refused_by_what_it_names() {
    let folder = copy();
    fs::write(folder.path().join("coords.pkl"), b"\x80\x04cos\nsystem\n(X\x02\0\0\0lstR.").unwrap();
    assert!(refusal(folder.path()).ends_with("coords.pkl: it names os.system, which is not called here"));
}

/// Each byte of the pickle changed, and each length of it: an answer in words, or boxes.
#[test]
fn damaged_pickles_and_masks_are_never_more_than_an_error() {
    let folder = copy();
    let file = folder.path().join("coords.pkl");
    let whole = fs::read(&file).unwrap();
    let mut refused = 0;
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&file, &damaged).unwrap();
        refused +=
            usize::from(matches!(MuseTalkAvatar::read(folder.path()), Err(ImportError::Content { .. })));
        fs::write(&file, &whole[..at]).unwrap();
        assert!(MuseTalkAvatar::read(folder.path()).is_err(), "cut at {at}");
    }
    assert!(2 * refused > whole.len(), "{refused} of {} changes were noticed", whole.len());

    let target = tempfile::tempdir().unwrap();
    MuseTalkAvatar::read(&data()).unwrap().write_source(target.path()).unwrap();
    let masks = fs::read(target.path().join("assets").join(MASKS_ASSET)).unwrap();
    for length in 0..masks.len() {
        assert!(Masks::parse(&masks[..length]).is_err(), "cut at {length}");
    }
    assert!(Masks::parse(&[masks, vec![0]].concat()).is_err());
}
