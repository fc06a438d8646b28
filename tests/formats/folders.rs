//! Folders and single files that are, or are not, models: shards, missing files, other formats.

use anygpu::formats::{Archive, Metadata};

use super::raw::{Gguf, SOUND_DATA_LEN, SOUND_HEADER, safetensors};
use super::refuse;

fn one(name: &str) -> Vec<u8> {
    safetensors(&format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#), 4)
}

const INDEX: &str =
    r#"{"metadata":{"total_size":8},"weight_map":{"x":"model-1.safetensors","y":"model-2.safetensors"}}"#;

fn sharded() -> Vec<(String, Vec<u8>)> {
    vec![
        ("config.json".into(), br#"{"model_type":"llama"}"#.to_vec()),
        ("model.safetensors.index.json".into(), INDEX.into()),
        ("model-1.safetensors".into(), one("x")),
        ("model-2.safetensors".into(), one("y")),
    ]
}

fn set(files: &mut Vec<(String, Vec<u8>)>, name: &str, content: impl Into<Vec<u8>>) {
    files.retain(|file| file.0 != name);
    files.push((name.into(), content.into()));
}

fn without(files: &mut Vec<(String, Vec<u8>)>, name: &str) {
    files.retain(|file| file.0 != name);
}

#[test]
fn shards_open_through_their_index() {
    let archive = Archive::from_memory(sharded()).unwrap();
    assert_eq!(archive.files().collect::<Vec<_>>(), ["model-1.safetensors", "model-2.safetensors"]);
    assert_eq!(archive.tensor("y").unwrap().file, 1);
    // A name in the index that no shard holds is the business of whoever needs it.
    let mut files = sharded();
    set(&mut files, "model-2.safetensors", one("z"));
    let message = Archive::from_memory(files).unwrap().tensor("y").unwrap_err().to_string();
    assert!(message.contains("tensor 'y' is missing"), "{message}");
    // A tensor that both shards hold is taken from where the index says.
    let mut files = sharded();
    let both = r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    set(&mut files, "model-1.safetensors", safetensors(both, 8));
    assert_eq!(Archive::from_memory(files).unwrap().tensor("y").unwrap().file, 1);
}

#[test]
fn damage_is_named() {
    type Damage = fn(&mut Vec<(String, Vec<u8>)>);
    let rows: &[(&str, Damage, &str)] = &[
        (
            "shard missing",
            |f| without(f, "model-2.safetensors"),
            "model.safetensors.index.json: refers to 'model-2.safetensors', which is not in the same folder",
        ),
        (
            "index: other folder",
            |f| set(f, "model.safetensors.index.json", INDEX.replace("model-2", "../model-2")),
            "weight_map…in the same folder, found '../model-2.safetensors'",
        ),
        (
            "index: other file",
            |f| set(f, "model.safetensors.index.json", INDEX.replace("model-2.safetensors", "config.json")),
            "found 'config.json'",
        ),
        (
            "index: not JSON",
            |f| set(f, "model.safetensors.index.json", "{"),
            "index.json: not valid index of safetensors shards: EOF",
        ),
        (
            "index: no weight_map",
            |f| set(f, "model.safetensors.index.json", "{}"),
            "missing field `weight_map`",
        ),
        (
            "shard damaged",
            |f| set(f, "model-2.safetensors", "123"),
            "model-2.safetensors: header length at byte 0 needs 8 bytes",
        ),
        (
            "no index",
            |f| without(f, "model.safetensors.index.json"),
            "several weight files (model-1.safetensors, model-2.safetensors)…download model.safetensors.index.json",
        ),
        ("no config", |f| without(f, "config.json"), "model.safetensors.index.json: refers to 'config.json'"),
        (
            "config not JSON",
            |f| set(f, "config.json", "{\"a\": nan}"),
            "config.json: not valid JSON: expected ident at line 1 column",
        ),
        (
            "tokenizer_config not JSON",
            |f| set(f, "tokenizer_config.json", ""),
            "tokenizer_config.json: not valid JSON",
        ),
        (
            "template not text",
            |f| set(f, "chat_template.jinja", [b'a', 0xff]),
            "chat_template.jinja: text at byte 1: expected UTF-8",
        ),
        (
            "Git LFS pointer",
            |f| {
                set(
                    f,
                    "model-1.safetensors",
                    "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
                )
            },
            "model-1.safetensors: content…a Git LFS pointer…`git lfs pull`",
        ),
    ];
    for (case, damage, expected) in rows {
        let mut files = sharded();
        damage(&mut files);
        refuse(case, files, expected);
    }
}

#[test]
fn folders_that_are_no_models_say_what_they_hold() {
    let gguf = || Gguf::sound().encode();
    let file = |name: &str, content: Vec<u8>| (name.to_string(), content);
    let rows = vec![
        ("empty", vec![], "no model here: no files; give a .gguf file or a folder"),
        (
            "config only",
            vec![file("config.json", b"{}".into())],
            "config.json without weights; download model.safetensors",
        ),
        (
            "PyTorch",
            vec![file("config.json", b"{}".into()), file("pytorch_model.bin", vec![])],
            "pytorch_model.bin; these are weights in PyTorch's format: convert them to safetensors",
        ),
        (
            "adapter",
            vec![file("adapter_model.safetensors", one("x"))],
            "adapter_model.safetensors; this is an adapter (LoRA)",
        ),
        (
            "two GGUF",
            vec![file("a.gguf", gguf()), file("b.gguf", gguf())],
            "several GGUF models: a.gguf, b.gguf; give the path of one",
        ),
        ("other", vec![file("readme.txt", vec![])], "no model here: readme.txt; give a .gguf file"),
    ];
    for (case, files, expected) in rows {
        refuse(case, files, expected);
    }
}

/// Files and folders on disk: the same readers, plus what only a file system can do wrong.
#[test]
fn paths_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("alone.safetensors"), safetensors(SOUND_HEADER, SOUND_DATA_LEN)).unwrap();
    std::fs::write(path("empty.gguf"), b"").unwrap();
    std::fs::write(path("old.bin"), b"tjgg1234").unwrap();
    std::fs::write(path("model.pth"), b"PK\x03\x04").unwrap();
    std::fs::write(path("noise"), b"noise").unwrap();
    for name in ["adapter_model.safetensors", "m-00001-of-00002.safetensors"] {
        std::fs::write(path(name), one("x")).unwrap();
    }
    for name in ["a.onnx", "a.llamafile", "a.task", "A.GGML", "a.PT", "a.zip"] {
        std::fs::write(path(name), b"????").unwrap();
    }
    std::fs::write(path("unnamed"), b"PK\x03\x04").unwrap();
    std::fs::write(path("pointer.safetensors"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    std::fs::create_dir_all(path("outer/hf")).unwrap();
    let rows = [
        ("absent", "no such file or folder; give a .gguf file"),
        ("alone.safetensors", "refers to 'config.json'"),
        ("pointer.safetensors", "a Git LFS pointer"),
        ("adapter_model.safetensors", "this is an adapter (LoRA)"),
        ("m-00001-of-00002.safetensors", "part 1 of 2, and no index of them"),
        ("a.onnx", "an ONNX model; download the model in safetensors or GGUF"),
        ("a.llamafile", "a llamafile"),
        ("a.task", "MediaPipe"),
        ("A.GGML", "a ggml file"),
        ("a.PT", "a PyTorch file"),
        ("a.zip", "an archive of files; unpack it"),
        ("unnamed", "an archive of files (zip); unpack it"),
        ("empty.gguf", "magic number at byte 0 needs 4 bytes but the file ends at byte 0"),
        ("old.bin", "a ggml file from before GGUF"),
        ("model.pth", "a PyTorch file; these are weights in PyTorch's format"),
        ("noise", "a file that starts with \"noise\""),
        ("folder", "no files"),
        ("outer", "only folders: hf; give the one that holds the model's files"),
    ];
    for (name, expected) in rows {
        let message = Archive::open(&path(name)).expect_err(name).to_string();
        assert!(message.contains(expected) && message.contains(name), "{name}: {message}");
    }
    // With its config beside it, a lone safetensors file is a model; so is GGUF under any name.
    std::fs::write(path("config.json"), br#"{"model_type":"llama"}"#).unwrap();
    let archive = Archive::open(&path("alone.safetensors")).unwrap();
    let Metadata::HuggingFace(hf) = &archive.metadata else { panic!("a Hugging Face folder") };
    assert_eq!(hf.config["model_type"], "llama");
    assert_eq!(archive.bytes(archive.tensor("b").unwrap()), [24, 25, 26, 27, 28, 29, 30, 31]);
    std::fs::write(path("renamed"), Gguf::sound().encode()).unwrap();
    assert_eq!(Archive::open(&path("renamed")).unwrap().tensors.len(), 3);
}

#[test]
fn chat_templates_are_found_in_both_places() {
    let mut files = sharded();
    set(&mut files, "chat_template.json", r#"{"chat_template": "from json"}"#);
    let template = |files: &Vec<(String, Vec<u8>)>| {
        let archive = Archive::from_memory(files.clone()).unwrap();
        let Metadata::HuggingFace(hf) = archive.metadata else { panic!("a Hugging Face folder") };
        hf.chat_template
    };
    assert_eq!(template(&sharded()), None);
    assert_eq!(template(&files).as_deref(), Some("from json"));
    set(&mut files, "chat_template.jinja", "from jinja");
    assert_eq!(template(&files).as_deref(), Some("from jinja"));
}

#[test]
fn missing_tensors_and_wrong_shapes_are_named() {
    let archive = Archive::from_memory(sharded()).unwrap();
    assert_eq!(
        archive.tensor("model.norm.weight").unwrap_err().to_string(),
        "(in memory): tensor 'model.norm.weight' is missing (the model has 2 tensors, e.g. 'x')"
    );
    assert_eq!(
        archive.tensor_of_shape("x", &[4, 2]).unwrap_err().to_string(),
        "(in memory): tensor 'x': expected shape [4, 2], found [1]"
    );
    assert!(archive.tensor_of_shape("x", &[1]).is_ok());
}
