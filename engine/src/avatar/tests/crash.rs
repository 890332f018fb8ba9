//! The power is cut between any two steps to the disk: afterwards there is the old state or the new one.

use std::io;
use std::sync::Mutex;

use super::super::disk::{Disk, Step};
use super::*;

/// The steps taken so far, and how many the power lasts for.
#[derive(Clone)]
struct Power {
    steps: Arc<Mutex<Vec<Step>>>,
    lasts: usize,
}

impl Power {
    fn lasting(steps: usize) -> Self {
        Self { steps: Arc::default(), lasts: steps }
    }

    fn disk(&self) -> Disk {
        let power = self.clone();
        Disk::watched(move |step| {
            let mut steps = power.steps.lock().unwrap();
            if steps.len() >= power.lasts {
                return Err(io::Error::other("the power is out"));
            }
            steps.push(step.clone());
            Ok(())
        })
    }

    fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }

    /// What was written but never flushed is lost: the worst that a file system may do.
    fn lose_unflushed(&self) {
        let steps = self.steps();
        for (at, step) in steps.iter().enumerate() {
            let Step::Create(path) = step else { continue };
            if !steps[at..].contains(&Step::SyncFile(path.clone())) && path.exists() {
                fs::write(path, b"").unwrap();
            }
        }
    }
}

/// Runs `work` with the power failing after each possible number of steps, and `check`s a store opened afterwards.
/// `check` is told whether the work had reported success.
fn with_every_cut(
    root: &Path,
    work: impl Fn(&AvatarStore) -> Result<(), AvatarError>,
    check: impl Fn(&AvatarStore, bool),
) -> Vec<Step> {
    for lasts in 0..500 {
        let copy = scratch();
        copy_folder(root, copy.path());
        let power = Power::lasting(lasts);
        let done = {
            let store = AvatarStore::open_on(copy.path().to_owned(), power.disk()).unwrap();
            work(&without_model(store)).is_ok()
        };
        power.lose_unflushed();
        let reopened = quick_store(copy.path());
        check(&reopened, done);
        let left = names(copy.path()).into_iter().filter(|name| name.starts_with('.')).collect::<Vec<_>>();
        assert_eq!(left, [""; 0], "something is left after {lasts} steps");
        if done {
            return power.steps();
        }
    }
    panic!("the work never succeeds");
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Before a folder or file gets its final name, all that is in it is flushed, and so are the folders that list it;
/// afterwards the folder that holds the name is.
fn assert_flushed_in_order(steps: &[Step]) {
    for (at, step) in steps.iter().enumerate() {
        let (moved, target) = match step {
            Step::Rename { from, to } => (from, to),
            Step::Exchange { one, other } => (one, other),
            _ => continue,
        };
        for (created_at, created) in steps[..at].iter().enumerate() {
            let (path, flush) = match created {
                Step::Create(path) => (path, Step::SyncFile(path.clone())),
                Step::CreateDir(path) => (path, Step::SyncDir(path.clone())),
                _ => continue,
            };
            if !path.starts_with(moved) || steps[created_at..at].contains(&Step::Remove(path.clone())) {
                continue;
            }
            assert!(steps[created_at..at].contains(&flush), "{path:?} is not flushed before {step:?}");
            if path != moved {
                let listed = Step::SyncDir(path.parent().unwrap().to_owned());
                assert!(steps[created_at..at].contains(&listed), "the folder of {path:?} is not flushed");
            }
        }
        let holder = Step::SyncDir(target.parent().unwrap().to_owned());
        assert!(steps[at..].contains(&holder), "{step:?} is not made to last");
    }
}

#[test]
fn a_first_preparation_is_whole_or_absent() {
    let folder = scratch();
    let source = PrepareSource::File(pictures(folder.path(), 2, 0));
    let root = folder.path().join("avatars");
    fs::create_dir(&root).unwrap();
    let steps = with_every_cut(
        &root,
        |store| store.prepare(&id("a"), source.clone(), &by_hand(), &Job::new()).map(drop),
        |store, done| match store.avatar(&id("a")) {
            Ok(avatar) => avatar.verify().unwrap(),
            Err(AvatarError::Unknown(_)) => assert!(!done, "success was reported"),
            Err(error) => panic!("{error}"),
        },
    );
    assert!(steps.len() > 15, "{steps:?}");
    assert_flushed_in_order(&steps);
}

#[test]
fn a_replaced_avatar_is_the_old_or_the_new_one() {
    let folder = scratch();
    let root = folder.path().join("avatars");
    let old = {
        let source = PrepareSource::File(pictures(folder.path(), 2, 0));
        let avatar = quick_store(&root).prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
        pixels(&avatar)
    };
    let source = PrepareSource::File(pictures(folder.path(), 3, 77));
    let steps = with_every_cut(
        &root,
        |store| store.prepare(&id("a"), source.clone(), &by_hand(), &Job::new()).map(drop),
        |store, done| {
            let avatar = store.avatar(&id("a")).unwrap();
            avatar.verify().unwrap();
            if done {
                assert_eq!(avatar.frame_count(), 3);
            } else if avatar.frame_count() == 2 {
                assert!(pixels(&avatar) == old);
            }
        },
    );
    assert_flushed_in_order(&steps);
}

#[test]
fn a_replaced_blob_is_the_old_or_the_new_one() {
    let folder = scratch();
    let root = folder.path().join("avatars");
    {
        let source = PrepareSource::File(pictures(folder.path(), 1, 0));
        let avatar = quick_store(&root).prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
        avatar.write_blob("demo", 1, b"the old one").unwrap();
    }
    let steps = with_every_cut(
        &root,
        |store| store.avatar(&id("a"))?.write_blob("demo", 1, b"new"),
        |store, done| {
            let avatar = store.avatar(&id("a")).unwrap();
            let blob = avatar.blob("demo", 1).unwrap().expect("one of the two");
            assert!(&*blob == b"new" || (!done && &*blob == b"the old one"), "{:?}", &*blob);
        },
    );
    assert_flushed_in_order(&steps);
}

#[test]
fn a_deleted_avatar_is_whole_or_gone() {
    let folder = scratch();
    let root = folder.path().join("avatars");
    let source = PrepareSource::File(pictures(folder.path(), 1, 0));
    quick_store(&root).prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
    with_every_cut(
        &root,
        |store| store.delete(&id("a")),
        |store, done| match store.avatar(&id("a")) {
            Ok(avatar) => {
                assert!(!done);
                avatar.verify().unwrap();
            }
            Err(error) => assert!(matches!(error, AvatarError::Unknown(_)), "{error}"),
        },
    );
}

#[test]
fn a_living_preparation_is_not_taken_for_stale() {
    let folder = scratch();
    let store = quick_store(&folder.path().join("avatars"));
    let (held, lock) = store.temp_folder(&id("busy")).unwrap();
    let stale = store.root().join(".tmp-gone-1");
    fs::create_dir(&stale).unwrap();
    fs::write(stale.join("frames.i420"), b"half").unwrap();
    quick_store(store.root());
    assert!(held.exists() && !stale.exists());
    drop(lock);
    quick_store(store.root());
    assert!(!held.exists());
}

#[test]
fn where_folders_cannot_be_swapped_the_old_one_comes_back() {
    let folder = scratch();
    let root = folder.path().join("avatars");
    let source = PrepareSource::File(pictures(folder.path(), 1, 0));
    quick_store(&root).prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
    fs::rename(root.join("a"), root.join(".old-a")).unwrap();
    quick_store(&root).avatar(&id("a")).unwrap().verify().unwrap();
}

#[test]
fn a_full_disk_fails_the_preparation_and_nothing_else() {
    let folder = scratch();
    let root = folder.path().join("avatars");
    let source = |tint| PrepareSource::File(pictures(folder.path(), 2, tint));
    let full = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let watched = full.clone();
    let disk = Disk::watched(move |step| {
        let flushing = matches!(step, Step::SyncFile(path) if path.ends_with("frames.i420"));
        let fails = flushing && watched.load(std::sync::atomic::Ordering::Relaxed);
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    });
    let store = without_model(AvatarStore::open_on(root.clone(), disk).unwrap());
    let before = pixels(&store.prepare(&id("a"), source(0), &by_hand(), &Job::new()).unwrap());
    full.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = store.prepare(&id("a"), source(9), &by_hand(), &Job::new()).unwrap_err();
    assert!(error.is_storage_full(), "{error}");
    assert!(pixels(&store.avatar(&id("a")).unwrap()) == before);
    assert_eq!(names(&root), ["a"], "its room is given back");
    full.store(false, std::sync::atomic::Ordering::Relaxed);
    store.prepare(&id("a"), source(9), &by_hand(), &Job::new()).unwrap();
}
