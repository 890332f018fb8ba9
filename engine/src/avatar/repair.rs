//! Mending a damaged avatar from the copy of its own source.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::manifest::{BLOBS, FACES, FRAMES, MANIFEST, Manifest, RECIPE, SOURCE};
use super::prepare::{Draft, Recipe};
use super::source::hash_stored;
use super::{Avatar, AvatarError, AvatarId, AvatarStore, Job, PrepareSource, SourceKind, Stage};

impl AvatarStore {
    /// Rebuilds a damaged avatar as it was prepared; what was damaged is kept beside its replacement as `.bad`.
    /// Blobs stay valid, since the frames come out the same. An avatar that is whole is returned as it is.
    ///
    /// # Errors
    /// [`AvatarError::Damaged`] when the source or its recipe are damaged too, so that the avatar has to be prepared
    /// from outside again; otherwise as [`AvatarStore::prepare`].
    pub fn repair(&self, id: &AvatarId, job: &Job) -> Result<Arc<Avatar>, AvatarError> {
        let claim = self.reserve(id)?;
        let folder = self.folder(id);
        if !folder.is_dir() {
            return Err(AvatarError::Unknown(id.clone()));
        }
        let repair = || {
            let bad = match Avatar::load(&folder, id, self.disk.clone()).and_then(|avatar| avatar.verify()) {
                Ok(()) => return self.avatar(id),
                Err(AvatarError::Damaged { file, .. }) => file,
                Err(error) => return Err(error),
            };
            let recipe = read_recipe(&folder, id)?;
            let source = match recipe.stored.kind {
                SourceKind::Builtin => PrepareSource::Builtin,
                SourceKind::File | SourceKind::Folder => PrepareSource::File(recipe.stored.path(&folder)),
            };
            let (mut draft, _) = self.draft(&claim, &source, &recipe.options, job)?;
            self.carry_blobs(&folder, &mut draft)?;
            self.publish(&claim, draft, |former| self.keep_bad(former, &folder, &bad))?;
            self.avatar(id)
        };
        let result = repair();
        job.set(Stage::Done, if result.is_ok() { 1000 } else { job.progress().permille });
        result
    }

    /// Links the former blobs into the draft, if the frames and faces that they were made from came out the same.
    fn carry_blobs(&self, former: &Path, draft: &mut Draft<'_>) -> Result<(), AvatarError> {
        let text = fs::read(former.join(MANIFEST)).ok();
        let Some(old) = text.and_then(|text| Manifest::from_sealed_json(&text).ok()) else { return Ok(()) };
        let Some(new) = &mut draft.manifest else { return Ok(()) };
        if [FRAMES, FACES].iter().any(|name| old.files.get(*name) != new.files.get(*name))
            || old.blobs.is_empty()
        {
            return Ok(());
        }
        let target = draft.folder.join(BLOBS);
        self.disk.create_dir(&target)?;
        for (name, entries) in old.blobs {
            let from = former.join(BLOBS).join(&name);
            if from.is_file() {
                fs::hard_link(&from, target.join(&name)).map_err(AvatarError::io("link", &from))?;
                new.blobs.insert(name, entries);
            }
        }
        self.disk.sync_dir(&target)
    }

    /// Moves what was damaged over to the new folder, for whoever wants to know why.
    fn keep_bad(&self, former: &Path, folder: &Path, bad: &str) -> Result<(), AvatarError> {
        let from = former.join(bad);
        let name = bad.replace('/', "-");
        if from.is_file() {
            self.disk.rename(&from, &folder.join(format!("{name}.bad")))?;
        } else if from.with_added_extension("bad").is_file() {
            self.disk.rename(&from.with_added_extension("bad"), &folder.join(format!("{name}.bad")))?;
        }
        Ok(())
    }
}

/// The recipe, once it is clear that the source is still what it was.
fn read_recipe(folder: &Path, id: &AvatarId) -> Result<Recipe, AvatarError> {
    let file = format!("{SOURCE}/{RECIPE}");
    let damaged = |file: &str, reason: String| {
        let reason = format!("{reason}; the avatar has to be prepared again");
        AvatarError::Damaged { id: id.clone(), file: file.to_owned(), reason }
    };
    let text = fs::read(folder.join(&file)).map_err(|error| damaged(&file, error.to_string()))?;
    let recipe = Recipe::from_json(&text).map_err(|reason| damaged(&file, reason))?;
    match hash_stored(&recipe.stored, folder) {
        Ok(hash) if hash == recipe.stored.blake3 => Ok(recipe),
        Ok(_) => Err(damaged(SOURCE, "its content was altered".to_owned())),
        Err(error) => Err(damaged(SOURCE, error.to_string())),
    }
}
