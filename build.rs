//! Tells which kernels these are: a hash of their texts, which is part of the key under which
//! findings about an adapter are kept (`AdapterFacts::cache_key`). Also which commit and which wgpu
//! this is, for reports of faults.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

fn main() {
    let mut hasher = DefaultHasher::new();
    for folder in ["shaders", "src/kernels"] {
        println!("cargo::rerun-if-changed={folder}");
        add(Path::new(folder), &mut hasher);
    }
    println!("cargo::rustc-env=ANYGPU_KERNELS={:08x}", hasher.finish() >> 32);
    println!("cargo::rustc-env=ANYGPU_COMMIT={}", commit().unwrap_or_default());
    println!("cargo::rustc-env=ANYGPU_WGPU={}", locked("wgpu").unwrap_or_default());
}

/// The commit that is built, with `+` where files differ from it; `None` outside of a checkout.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // A package may lie within somebody else's checkout.
    let top = git(&["rev-parse", "--show-prefix"])?;
    let hash = git(&["rev-parse", "--short=10", "HEAD"]).filter(|_| top.is_empty())?;
    for file in [git(&["rev-parse", "--git-path", "HEAD"])?, git(&["rev-parse", "--git-path", "logs/HEAD"])?]
    {
        println!("cargo::rerun-if-changed={file}");
    }
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "src", "shaders", "Cargo.toml"])?;
    Some(if changed.is_empty() { hash } else { format!("{hash}+") })
}

/// The version of a dependency in Cargo.lock.
fn locked(name: &str) -> Option<String> {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let text = std::fs::read_to_string("Cargo.lock").ok()?;
    let (_, after) = text.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(after.split('"').next()?.to_owned())
}

fn add(path: &Path, hasher: &mut DefaultHasher) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a readable folder");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
        paths.sort();
        paths.iter().for_each(|path| add(path, hasher));
    } else {
        path.hash(hasher);
        std::fs::read(path).expect("a readable file").hash(hasher);
    }
}
