//! Tells which kernels these are: a hash of their texts, which is part of the key under which findings about an adapter are
//! kept (`AdapterFacts::cache_key`).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() {
    let mut hasher = DefaultHasher::new();
    for folder in ["shaders", "src/kernels"] {
        println!("cargo::rerun-if-changed={folder}");
        add(Path::new(folder), &mut hasher);
    }
    println!("cargo::rustc-env=ANYGPU_KERNELS={:08x}", hasher.finish() >> 32);
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
