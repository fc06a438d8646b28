//! Shared by the integration tests: where the test data of developers stands.

use std::path::{Path, PathBuf};

/// The folder with shared test data: `ANYGPU_SHARED`, or `../shared` (`../../shared` from a worktree).
/// `None`, with a line on stderr, when there is none at all, as on a user's machine; a test that
/// gets a folder must fail when something is missing in it.
pub(crate) fn shared() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("ANYGPU_SHARED") {
        return Some(PathBuf::from(folder));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        ["../shared", "../../shared"].map(|folder| root.join(folder)).into_iter().find(|f| f.is_dir());
    if found.is_none() {
        eprintln!("skipped: no shared test data (set ANYGPU_SHARED)");
    }
    found
}
