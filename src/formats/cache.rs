//! Hugging Face's cache of downloads: `hub/models--ORG--NAME/snapshots/HASH/` holds the files (links into
//! `blobs/`), `refs/main` the hash of the newest download.

use std::path::{Path, PathBuf};

use super::error::{FormatError, Result};
use super::open::join_some;
use super::source::Files;

/// How the cache names a model's folder.
const MODEL: &str = "models--";
const SNAPSHOTS: &str = "snapshots";

/// The snapshot that a folder of the cache stands for; any other path as it is.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    if path.join(SNAPSHOTS).is_dir() && !path.join(super::hf::CONFIG).exists() {
        return snapshot(path);
    }
    let folders = Files::Disk(path.into()).list_folders()?;
    let models: Vec<&str> =
        folders.iter().map(String::as_str).filter(|name| name.starts_with(MODEL)).collect();
    match models[..] {
        [] => Ok(path.into()),
        [model] => snapshot(&path.join(model)),
        _ => Err(FormatError::NoModel {
            path: path.display().to_string(),
            found: format!("several models: {}", join_some(&models).unwrap_or_default()),
            next: "give the folder of one of them".into(),
        }),
    }
}

/// The snapshot of the cache's folder `model` that `refs/main` names: the newest complete download.
pub fn main_snapshot(model: &Path) -> Option<PathBuf> {
    let main = std::fs::read_to_string(model.join("refs").join("main")).ok()?;
    let main = main.trim();
    // A reference is one name: it must not lead elsewhere.
    let is_hash = !main.is_empty() && main.bytes().all(|b| b.is_ascii_alphanumeric());
    let snapshot = model.join(SNAPSHOTS).join(main);
    (is_hash && snapshot.is_dir()).then_some(snapshot)
}

/// What `refs/main` names, or the only snapshot.
fn snapshot(model: &Path) -> Result<PathBuf> {
    let snapshots = model.join(SNAPSHOTS);
    if let Some(main) = main_snapshot(model) {
        return Ok(main);
    }
    let found = match snapshots.is_dir() {
        true => Files::Disk(snapshots.clone()).list_folders()?,
        false => Vec::new(),
    };
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    match names[..] {
        [only] => Ok(snapshots.join(only)),
        [] => Err(FormatError::NoModel {
            path: model.display().to_string(),
            found: "a download's cache without a snapshot".into(),
            next: "download the model again".into(),
        }),
        _ => Err(FormatError::NoModel {
            path: model.display().to_string(),
            found: format!("several snapshots: {}", join_some(&names).unwrap_or_default()),
            next: format!("give one of them, e.g. {SNAPSHOTS}/{}", names[0]),
        }),
    }
}
