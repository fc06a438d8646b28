//! Files and folders that are no models: what they are, and what to give instead.

use super::hf::{ADAPTER, CONFIG, INDEX, SINGLE};
use super::open::join_some;

const WHAT_TO_GIVE: &str = "give a .gguf file or a folder with config.json and model.safetensors";
const CONVERT: &str = "these are weights in PyTorch's format: convert them to safetensors, or \
                       download the model in safetensors or GGUF";
const DOWNLOAD: &str = "download the model in safetensors or GGUF";
const MERGE: &str = "this is an adapter (LoRA): merge it into its base model first";

/// (ends of names, what such a file is)
const OTHER_FORMATS: [(&[&str], &str); 9] = [
    (&[".onnx", ".onnx_data", ".ort"], "an ONNX model"),
    (&[".llamafile"], "a llamafile, a program with a model inside"),
    (&[".task", ".litertlm", ".tflite"], "a model for MediaPipe or LiteRT"),
    (&[".ggml", ".ggjt"], "a ggml file from before GGUF (2023)"),
    (&[".mlmodel", ".mlpackage", ".mlmodelc"], "a Core ML model"),
    (&[".h5", ".keras", ".msgpack"], "weights for TensorFlow, Keras or Flax"),
    (&[".npz", ".npy"], "arrays of NumPy"),
    (&[".engine", ".plan"], "an engine of TensorRT"),
    (&[".zip", ".tar", ".gz", ".tgz", ".xz", ".zst", ".7z", ".rar"], "an archive of files"),
];

/// (first bytes, what such a file is)
const MAGICS: [(&[u8], &str); 10] = [
    // ggml, ggmf, ggjt and ggla, stored as u32
    (b"lmgg", "a ggml file from before GGUF (2023)"),
    (b"fmgg", "a ggml file from before GGUF (2023)"),
    (b"tjgg", "a ggml file from before GGUF (2023)"),
    (b"algg", "a ggml file from before GGUF (2023)"),
    (b"PK\x03\x04", "an archive of files (zip)"),
    (b"\x1f\x8b", "an archive of files (gzip)"),
    (b"\x28\xb5\x2f\xfd", "an archive of files (zstd)"),
    (b"MZqFpD", "a llamafile, a program with a model inside"),
    (b"\x7fELF", "a program"),
    (b"<!DOCTYPE html", "a web page, not the file behind its link"),
];

fn ends_with(name: &str, suffix: &str) -> bool {
    name.len() >= suffix.len() && name.to_ascii_lowercase().ends_with(suffix)
}

fn is_pytorch(name: &str) -> bool {
    [".bin", ".pt", ".pth", ".ckpt", ".pkl"].iter().any(|suffix| ends_with(name, suffix))
}

fn other_format(name: &str) -> Option<&'static str> {
    let named = |row: &&(&[&str], &str)| row.0.iter().any(|suffix| ends_with(name, suffix));
    OTHER_FORMATS.iter().find(named).map(|row| row.1)
}

fn next_of(what: &str) -> String {
    let unpack = what.starts_with("an archive of files");
    if unpack { format!("unpack it and {WHAT_TO_GIVE}") } else { DOWNLOAD.into() }
}

/// Why a folder with the files `names` and these folders is not a model: (what was found, what to do).
pub(super) fn explain_folder(names: &[String], folders: &[String]) -> (String, String) {
    let matching = |test: &dyn Fn(&str) -> bool| {
        let found: Vec<&str> = names.iter().map(String::as_str).filter(|name| test(name)).collect();
        join_some(&found)
    };
    if let Some(found) = matching(&|n| n == ADAPTER) {
        return (found, MERGE.into());
    }
    if let Some(found) = matching(&|n| n.ends_with(".safetensors")) {
        return (format!("several weight files ({found}) and no {INDEX}"), format!("download {INDEX} too"));
    }
    if let Some(found) = matching(&|n| is_pytorch(n) || n.ends_with("pytorch_model.bin.index.json")) {
        return (found, CONVERT.into());
    }
    if let Some(what) = names.iter().find_map(|name| other_format(name)) {
        let found = matching(&|n| other_format(n) == Some(what)).unwrap_or_default();
        return (format!("{found} ({what})"), next_of(what));
    }
    if names.iter().any(|name| name == CONFIG) {
        return (
            format!("{CONFIG} without weights"),
            format!("download {SINGLE} (or its shards and index) too"),
        );
    }
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    if let (true, Some(folders)) = (names.is_empty(), join_some(&folders)) {
        return (format!("only folders: {folders}"), "give the one that holds the model's files".into());
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    (join_some(&all).unwrap_or_else(|| "no files".into()), WHAT_TO_GIVE.into())
}

/// Why a file is not a model: (what was found, what to do).
pub(super) fn explain_file(name: &str, bytes: &[u8]) -> (String, String) {
    let magic = MAGICS.iter().find(|(start, _)| bytes.starts_with(start)).map(|row| row.1);
    let old = magic.filter(|what| what.starts_with("a ggml"));
    if is_pytorch(name) && old.is_none() {
        return ("a PyTorch file".into(), CONVERT.into());
    }
    if let Some(what) = old.or_else(|| other_format(name)).or(magic) {
        let next = if old.is_some() { "download the model as GGUF".into() } else { next_of(what) };
        return (what.into(), next);
    }
    if name == CONFIG {
        return (format!("only the file {CONFIG}"), "give the folder it is in".into());
    }
    let start = &bytes[..bytes.len().min(8)];
    (format!("a file that starts with \"{}\"", start.escape_ascii()), WHAT_TO_GIVE.into())
}

/// The error's parts for a file with an adapter's weights.
pub(super) fn explain_adapter() -> (String, String) {
    ("an adapter's weights".into(), MERGE.into())
}
