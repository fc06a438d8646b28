//! The cache directory: files that save work next time. Losing them costs time, nothing else.

use std::io;
use std::path::{Path, PathBuf};

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
    write_into(&dir, name, bytes)
}

/// Removes the file `name`, if there is one.
pub fn remove(name: &str) -> io::Result<()> {
    match dir().map(|dir| std::fs::remove_file(dir.join(name))) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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
