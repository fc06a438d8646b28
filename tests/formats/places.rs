//! Where a model's files may be: caches, companions beside a model, shards and their index.

use std::path::Path;

use anygpu::formats::gguf::GgufWriter;
use anygpu::formats::{Archive, Metadata};

use super::raw::{Gguf, safetensors};

fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn one(name: &str) -> Vec<u8> {
    safetensors(&format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#), 4)
}

/// A GGUF file without tensors.
fn of_kind(key: &str, value: &str) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.set(key, value);
    let body = writer.begin(Vec::new()).unwrap();
    body.finish().unwrap()
}

fn snapshot(model: &Path, hash: &str, tensor: &str) {
    write(&model.join("snapshots").join(hash).join("config.json"), "{}");
    write(&model.join("snapshots").join(hash).join("model.safetensors"), one(tensor));
}

#[test]
fn a_cache_leads_to_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("models--acme--story");
    let message = |path: &Path| Archive::open(path).expect_err("refused").to_string();
    std::fs::create_dir_all(model.join("snapshots")).unwrap();
    assert!(message(&model).contains("without a snapshot"), "{}", message(&model));
    snapshot(&model, "aaa", "old");
    assert!(Archive::open(&model).unwrap().contains("old"), "the only one");
    snapshot(&model, "bbb", "new");
    assert!(message(&model).contains("several snapshots: aaa, bbb"), "{}", message(&model));
    write(&model.join("refs/main"), "../..\n");
    assert!(message(&model).contains("several snapshots"), "a reference that leads elsewhere");
    write(&model.join("refs/main"), "bbb\n");
    assert!(Archive::open(&model).unwrap().contains("new"));
    assert!(Archive::open(dir.path()).unwrap().contains("new"), "the cache's only model");
    snapshot(&dir.path().join("models--acme--other"), "ccc", "x");
    let several = message(dir.path());
    assert!(several.contains("several models: models--acme--other, models--acme--story"), "{several}");
}

#[test]
fn companions_beside_a_model_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    write(&path("M.GGUF"), Gguf::sound().encode());
    assert_eq!(Archive::open(dir.path()).unwrap().tensors.len(), 3, "a name in upper case");
    write(&path("mmproj-model.gguf"), of_kind("general.architecture", "clip"));
    write(&path("lora.gguf"), of_kind("general.type", "adapter"));
    assert_eq!(Archive::open(dir.path()).unwrap().tensors.len(), 3);
    write(&path("second.gguf"), Gguf::sound().encode());
    let message = Archive::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("several GGUF models: M.GGUF, second.gguf;"), "{message}");
}

#[test]
fn a_shard_opens_through_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    write(&path("config.json"), "{}");
    let index = r#"{"weight_map":{"x":"./m-00001-of-00002.safetensors","y":"w/b.safetensors"}}"#;
    write(&path("model.safetensors.index.json"), index);
    write(&path("m-00001-of-00002.safetensors"), one("x"));
    write(&path("w/b.safetensors"), one("y"));
    for name in ["m-00001-of-00002.safetensors", "model.safetensors.index.json", ""] {
        let archive = Archive::open(&path(name)).unwrap();
        assert!(archive.contains("x") && archive.contains("y"), "{name}");
    }
    for place in ["../b.safetensors", "w/../../b.safetensors", "/b.safetensors", "w\\\\b.safetensors"] {
        let index = format!(r#"{{"weight_map":{{"x":"{place}"}}}}"#);
        write(&path("model.safetensors.index.json"), index);
        let message = Archive::open(dir.path()).expect_err(place).to_string();
        assert!(message.contains("in the same folder, found"), "{place}: {message}");
    }
}

#[test]
fn f64_is_read_as_f32() {
    let header = r#"{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},
        "b":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}}"#;
    let mut file = safetensors(header, 20);
    let data = file.len() - 20;
    file[data..data + 8].copy_from_slice(&1.5f64.to_le_bytes());
    file[data + 8..data + 16].copy_from_slice(&(-0.1f64).to_le_bytes());
    let files = [("config.json", b"{}".to_vec()), ("model.safetensors", file)];
    let archive = Archive::from_memory(files).unwrap();
    let bytes = archive.bytes(archive.tensor("a").unwrap());
    assert_eq!(bytes, [1.5f32.to_le_bytes(), (-0.1f32).to_le_bytes()].concat());
    assert_eq!(archive.bytes(archive.tensor("b").unwrap()), [16, 17, 18, 19]);
}

#[test]
fn keys_need_not_be_text() {
    let mut writer = GgufWriter::new();
    writer.set("general.x??", "value");
    let mut file = writer.begin(Vec::new()).unwrap().finish().unwrap();
    let at = file.windows(2).position(|pair| pair == b"??").unwrap();
    file[at..at + 2].copy_from_slice(&[0xff, 0xfe]);
    let archive = Archive::from_memory([("model.gguf", file)]).unwrap();
    let Metadata::Gguf(metadata) = archive.metadata else { panic!("GGUF") };
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["general.x\\xff\\xfe"]);
}
