//! The cache directory: files that save work next time. Losing them costs time, nothing else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where it is: `ANYGPU_CACHE`, else `anygpu` in the user's cache directory. `None`: the system has none.
pub fn dir() -> Option<PathBuf> {
    match std::env::var_os("ANYGPU_CACHE") {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(dirs::cache_dir()?.join("anygpu")),
    }
}

/// The value kept in the file `name`; `None` when there is none, or none of this kind.
pub fn read_json<T: DeserializeOwned>(name: &str) -> Option<T> {
    json_from(&dir()?, name)
}

/// The bytes kept in the file `name`.
pub fn read(name: &str) -> Option<Vec<u8>> {
    std::fs::read(dir()?.join(name)).ok()
}

/// Keeps `value` in the file `name`. Whoever reads meanwhile sees the old file or the new one, whole.
pub fn write_json<T: Serialize>(name: &str, value: &T) -> io::Result<()> {
    write(name, &serde_json::to_vec_pretty(value)?)
}

/// As [`write_json`], for bytes.
pub fn write(name: &str, bytes: &[u8]) -> io::Result<()> {
    let dir = dir().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cache directory"))?;
    let written = write_into(&dir, name, bytes);
    if let Err(error) = &written {
        let _ = FAILURE.set((dir, error.to_string()));
    }
    written
}

static FAILURE: OnceLock<(PathBuf, String)> = OnceLock::new();

/// The directory and the error of the first write that failed in this process.
pub fn first_failure() -> Option<(PathBuf, String)> {
    FAILURE.get().cloned()
}

/// Removes the file `name`, if there is one.
pub fn remove(name: &str) -> io::Result<()> {
    match dir().map(|dir| std::fs::remove_file(dir.join(name))) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What files are kept, by how their names begin: (beginning, what it is).
const KINDS: [(&str, &str); 7] = [
    ("verified-", "verdicts on adapters"),
    ("profile-", "measurements of adapters"),
    ("history-", "speeds of earlier runs"),
    ("tuned-", "tuned kernel variants"),
    ("pipelines-", "compiled pipelines"),
    ("quality-", "costs of quantizing"),
    ("history.txt", "lines typed in chats"),
];

/// Files of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What they are.
    pub what: &'static str,
    /// How many.
    pub files: usize,
    /// Their sizes together.
    pub bytes: u64,
}

/// What the cache holds, by kind; other files in the directory do not count.
pub fn kept() -> Vec<Kept> {
    dir().map_or(Vec::new(), |dir| kept_in(&dir))
}

/// Removes what the cache holds, and nothing else that may lie in the directory. Returns what was
/// there.
pub fn clear() -> io::Result<Vec<Kept>> {
    let Some(dir) = dir() else { return Ok(Vec::new()) };
    clear_in(&dir)
}

fn kept_in(dir: &Path) -> Vec<Kept> {
    let files = files_in(dir);
    let kinds = KINDS.iter().map(|(_, what)| {
        let of_kind = files.iter().filter(|file| file.0 == *what);
        let (files, bytes) = of_kind.fold((0, 0), |sum, file| (sum.0 + 1, sum.1 + file.2));
        Kept { what, files, bytes }
    });
    kinds.filter(|kept| kept.files > 0).collect()
}

fn clear_in(dir: &Path) -> io::Result<Vec<Kept>> {
    let kept = kept_in(dir);
    for (_, path, _) in files_in(dir) {
        std::fs::remove_file(path)?;
    }
    Ok(kept)
}

/// (kind, path, bytes)
fn files_in(dir: &Path) -> Vec<(&'static str, PathBuf, u64)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_str()?;
        let (_, what) = KINDS.iter().find(|(begins, _)| name.starts_with(begins))?;
        let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((*what, entry.path(), metadata.len()))
    };
    entries.filter_map(file).collect()
}

fn json_from<T: DeserializeOwned>(dir: &Path, name: &str) -> Option<T> {
    let bytes = std::fs::read(dir.join(name)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write_into(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    // Two processes that write the same file do not share the temporary one.
    let temporary = dir.join(format!("{name}.{}.tmp", std::process::id()));
    let written =
        std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, dir.join(name)));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_is_counted_and_removed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let dir = folder.path();
        let names =
            ["verified-a.json", "verified-b.json", "history-a.json", "history.txt", "letter.txt", "a-tuned-"];
        for name in names {
            std::fs::write(dir.join(name), "four").expect("written");
        }
        std::fs::create_dir(dir.join("profile-folder")).expect("created");
        let kept = |what, files| Kept { what, files, bytes: 4 * files as u64 };
        let want = [
            kept("verdicts on adapters", 2),
            kept("speeds of earlier runs", 1),
            kept("lines typed in chats", 1),
        ];
        assert_eq!(kept_in(dir), want);
        assert_eq!(clear_in(dir).expect("cleared"), want);
        assert_eq!(kept_in(dir), []);
        let mut left: Vec<_> = std::fs::read_dir(dir).expect("there").filter_map(Result::ok).collect();
        left.sort_by_key(std::fs::DirEntry::file_name);
        let left: Vec<_> = left.iter().map(std::fs::DirEntry::file_name).collect();
        assert_eq!(left, ["a-tuned-", "letter.txt", "profile-folder"]);
        assert_eq!(kept_in(&dir.join("nowhere")), []);
    }

    #[test]
    fn values_come_back_and_leave_nothing_else() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let dir = folder.path().join("deeper/cache");
        assert_eq!(json_from::<Vec<u32>>(&dir, "a.json"), None);
        write_into(&dir, "a.json", b"[1, 2]").expect("written");
        write_into(&dir, "a.json", b"[3]").expect("written again");
        assert_eq!(json_from(&dir, "a.json"), Some(vec![3]));
        assert_eq!(json_from::<String>(&dir, "a.json"), None, "another kind of value");
        assert_eq!(std::fs::read_dir(&dir).expect("there").count(), 1);
        std::fs::create_dir(dir.join("b.json")).expect("a folder in the way");
        assert!(write_into(&dir, "b.json", b"1").is_err());
        assert_eq!(std::fs::read_dir(&dir).expect("there").count(), 2);
    }
}
