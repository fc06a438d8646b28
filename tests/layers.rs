//! Data flows one way through the crate: who may import whom, read from the sources. The compiler does not
//! enforce this within one package.

use std::fs;
use std::path::{Path, PathBuf};

/// Layer and the layers it may name. `lib.rs` only declares modules; a new layer is entered here.
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("base", &[]),
    ("formats", &["base"]),
    ("quant", &["base"]),
    ("tokenizer", &["base", "formats"]),
    ("model", &["base", "formats"]),
    ("plan", &["base", "quant", "model"]),
    ("convert", &["base", "formats", "quant", "tokenizer", "model", "plan"]),
    ("gpu", &["base"]),
    ("kernels", &["base", "quant", "gpu"]),
    ("probe", &["base", "quant", "plan", "gpu", "kernels"]),
    ("engine", &["base", "formats", "quant", "tokenizer", "model", "plan", "gpu", "kernels"]),
    ("bench", &["base", "quant", "model", "plan", "gpu", "kernels", "engine", "probe"]),
    (
        "cli",
        &[
            "bench",
            "base",
            "convert",
            "formats",
            "quant",
            "tokenizer",
            "model",
            "plan",
            "gpu",
            "kernels",
            "engine",
            "probe",
        ],
    ),
    ("main", &["cli"]),
];

/// Words that stand only in the layers named beside them.
const ONLY_IN: [(&str, &[&str]); 7] = [
    ("wgpu::", &["gpu"]),
    ("std::thread", &["gpu", "kernels", "engine", "cli"]),
    ("rayon::", &["convert", "gpu", "kernels", "engine", "cli"]),
    ("std::time", &["gpu", "kernels", "probe", "engine", "bench", "cli"]),
    ("process::exit", &["main"]),
    ("unsafe {", &["formats", "gpu"]),
    ("println!", &["cli", "main"]),
];

/// The text without `//` comments (so without documentation, which may link anywhere).
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// Names right after `root::`, also those in the braces of `use root::{a::b, c}`.
fn named(code: &str, root: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
    let mut names = Vec::new();
    for (at, _) in code.match_indices(&format!("{root}::")) {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = &code[at + root.len() + 2..];
        if !rest.starts_with('{') {
            names.push(word(rest));
            continue;
        }
        let mut depth = 0;
        for (i, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 1 && matches!(c, '{' | ',') {
                names.push(word(&rest[i + 1..]));
            }
            if depth == 0 {
                break;
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What is wrong with a source text of that layer.
fn complaints(layer: &str, text: &str) -> Vec<String> {
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == layer) else {
        return vec![format!("`{layer}` is not in the table of layers")];
    };
    let code = code(text);
    let root = if layer == "main" { "anygpu" } else { "crate" };
    let mut found = Vec::new();
    for name in named(&code, root) {
        if name != layer && !allowed.contains(&name.as_str()) {
            found.push(format!("{layer} must not import {name}"));
        }
    }
    // Unit tests, at the end of a file, may print and measure.
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or("");
    for (word, layers) in ONLY_IN {
        // `eprintln!` and `my_wgpu::` are other words.
        let own = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if !layers.contains(&layer) && code.match_indices(word).any(|(at, _)| own(at)) {
            found.push(format!("{layer} must not mention {word}"));
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn imports_go_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut checked = 0;
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).expect("found below src");
        let first = inside.components().next().expect("a file name").as_os_str().to_string_lossy();
        let layer = first.trim_end_matches(".rs");
        if layer == "lib" {
            continue;
        }
        checked += 1;
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        found.extend(complaints(layer, &text).into_iter().map(|c| format!("{}: {c}", inside.display())));
    }
    assert!(checked > 10, "only {checked} files found in {}", src.display());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn wrong_directions_are_seen() {
    let rows: [(&str, &str, &[&str]); 16] = [
        ("model", "use crate::gpu::Gpu;", &["model must not import gpu"]),
        ("model", "use crate::{base::DType, engine};", &["model must not import engine"]),
        ("gpu", "use crate::{\n    base::{A, B},\n    kernels::ALL,\n};", &["gpu must not import kernels"]),
        ("quant", "fn f() { crate::formats::x() }", &["quant must not import formats"]),
        ("main", "use anygpu::engine::Session;", &["main must not import engine"]),
        ("engine", "let x: wgpu::Buffer;", &["engine must not mention wgpu::"]),
        ("formats", "let t = std::time::Instant::now();", &["formats must not mention std::time"]),
        ("engine", "println!(\"hi\")", &["engine must not mention println!"]),
        ("engine", "eprintln!(\"hi\")", &[]),
        ("engine", "unsafe { f() }", &["engine must not mention unsafe {"]),
        ("engine", "fn f() {}\n#[cfg(test)]\nmod tests { println!(\"hi\") }", &[]),
        ("extra", "", &["`extra` is not in the table of layers"]),
        ("kernels", "use crate::gpu::Step;\nuse crate::quant;", &[]),
        ("kernels", "/// See [`crate::engine::Session`].\nfn f() {} // crate::cli", &[]),
        ("gpu", "use crate::gpu::{compose::Shader, Gpu};\nuse wgpu::Buffer;", &[]),
        ("main", "fn main() { anygpu::cli::main() }", &[]),
    ];
    for (layer, text, want) in rows {
        assert_eq!(complaints(layer, text), want, "{layer}: {text}");
    }
}
