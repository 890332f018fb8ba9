//! Damaged folders: found, set aside, rebuilt; never a panic.

use super::*;

#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Truncate,
    Zero,
    Empty,
    Delete,
}

const KINDS: [Damage; 5] = [Damage::Flip, Damage::Truncate, Damage::Zero, Damage::Empty, Damage::Delete];

fn damage(path: &Path, kind: Damage) {
    let mut data = fs::read(path).unwrap();
    let middle = data.len() / 2;
    match kind {
        Damage::Flip => data[middle] ^= 0x15,
        Damage::Truncate => data.truncate(middle),
        Damage::Zero => data[middle..].fill(0),
        Damage::Empty => data.clear(),
        Damage::Delete => return fs::remove_file(path).unwrap(),
    }
    // As a new file: a loaded avatar keeps its mapping of the old one.
    fs::remove_file(path).unwrap();
    fs::write(path, data).unwrap();
}

#[test]
fn every_damaged_file_is_found_set_aside_and_rebuilt() {
    let folder = scratch();
    let root = folder.path().join("avatars");
    let source = PrepareSource::File(pictures(folder.path(), 3, 0));
    let before = {
        let store = quick_store(&root);
        let avatar = store.prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
        avatar.write_blob("demo", 3, b"kept").unwrap();
        pixels(&avatar)
    };
    for file in ["manifest.json", "frames.i420", "faces.bin", "poster.jpg"] {
        for kind in KINDS {
            let case = format!("{file}, {kind:?}");
            damage(&root.join("a").join(file), kind);
            let store = quick_store(&root);
            let found = store.verify(&id("a")).expect_err(&case);
            assert!(
                matches!(&found, AvatarError::Damaged { file: found, .. } if found == file),
                "{case}: {found}"
            );
            let refused = store.avatar(&id("a")).expect_err(&case);
            assert!(refused.to_string().contains("damaged"), "{case}: {refused}");
            assert!(matches!(store.list().unwrap()[&id("a")], Summary::Damaged(_)));

            let avatar =
                store.repair(&id("a"), &Job::new()).unwrap_or_else(|error| panic!("{case}: {error}"));
            avatar.verify().unwrap();
            assert!(pixels(&avatar) == before, "{case}: the same frames");
            let bad = root.join("a").join(format!("{file}.bad"));
            assert!(bad.exists(), "{case}: set aside, now or before");
            if file == "manifest.json" {
                // The manifest alone knew the blobs; the backend makes them again.
                avatar.write_blob("demo", 3, b"kept").unwrap();
            }
            assert_eq!(&*avatar.blob("demo", 3).unwrap().expect(&case), b"kept");
            assert!(
                Arc::ptr_eq(&avatar, &store.repair(&id("a"), &Job::new()).unwrap()),
                "nothing left to do"
            );
        }
    }
    assert_eq!(names(&root), ["a"]);
}

#[test]
fn a_damaged_blob_is_set_aside_and_made_again() {
    let folder = scratch();
    let store = quick_store(&folder.path().join("avatars"));
    let source = PrepareSource::File(pictures(folder.path(), 1, 0));
    let avatar = store.prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
    let path = store.root().join("a/blobs/demo-1.bin");
    for kind in KINDS {
        avatar.write_blob("demo", 1, b"0123456789").unwrap();
        damage(&path, kind);
        assert!(avatar.blob("demo", 1).unwrap().is_none(), "{kind:?}");
        assert!(!path.exists());
    }
    assert!(path.with_added_extension("bad").exists());
    avatar.write_blob("demo", 1, b"again").unwrap();
    assert_eq!(&*avatar.blob("demo", 1).unwrap().unwrap(), b"again");
}

#[test]
fn without_its_source_a_damaged_avatar_says_what_to_do() {
    let folder = scratch();
    let store = quick_store(&folder.path().join("avatars"));
    let source = PrepareSource::File(pictures(folder.path(), 2, 0));
    store.prepare(&id("a"), source.clone(), &by_hand(), &Job::new()).unwrap();
    damage(&store.root().join("a/source/images/1.bmp"), Damage::Flip);
    damage(&store.root().join("a/frames.i420"), Damage::Truncate);
    let store = quick_store(store.root());
    let error = store.repair(&id("a"), &Job::new()).unwrap_err().to_string();
    assert!(error.contains("source") && error.contains("prepared again"), "{error}");
    store.prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
    store.verify(&id("a")).unwrap();
}

#[test]
fn folders_full_of_nonsense_are_listed_as_damaged() {
    let folder = scratch();
    let root = folder.path().join("avatars");
    let source = PrepareSource::File(pictures(folder.path(), 2, 0));
    quick_store(&root).prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
    let text = fs::read(root.join("a/manifest.json")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("file"), b"no folder").unwrap();
    // 200 mutants of the manifest, seeded.
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..200 {
        let mut mutant = text.clone();
        match random(3) {
            0 => mutant.truncate(random(text.len())),
            1 => mutant[random(text.len())] = random(256) as u8,
            _ => {
                let at = random(text.len() - 8);
                mutant.splice(at..at + random(8), *b"999999999");
            }
        }
        fs::write(root.join("a/manifest.json"), &mutant).unwrap();
        let store = quick_store(&root);
        let list = store.list().unwrap();
        assert!(matches!(list[&id("empty")], Summary::Damaged(_)));
        if let Summary::Ready(avatar) = &list[&id("a")] {
            assert_eq!(avatar.frame_count(), 2, "only what means the same is taken");
            avatar.verify().unwrap();
        }
    }
}

#[test]
fn a_running_store_finds_damage_and_never_blames_a_replaced_avatar() {
    let folder = scratch();
    let store = quick_store(&folder.path().join("avatars"));
    let source = |tint| PrepareSource::File(pictures(folder.path(), 2, tint));
    let old = store.prepare(&id("a"), source(0), &by_hand(), &Job::new()).unwrap();
    store.prepare(&id("a"), source(5), &by_hand(), &Job::new()).unwrap();
    assert!(matches!(old.verify(), Err(AvatarError::Replaced(_))));
    store.verify(&id("a")).unwrap();
    for file in ["frames.i420", "manifest.json"] {
        damage(&store.root().join("a").join(file), Damage::Flip);
        assert!(store.verify(&id("a")).unwrap_err().to_string().contains(file));
        assert!(store.avatar(&id("a")).is_err());
        store.repair(&id("a"), &Job::new()).unwrap();
    }
}
