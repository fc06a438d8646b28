//! Models described without their weights: a GGUF file cut off behind its header, a `config.json` alone.

use std::path::{Path, PathBuf};

use anygpu::base::DType;
use anygpu::formats::gguf::GgufWriter;
use anygpu::formats::{Archive, Extent, Header};
use anygpu::model::shapes::ShapeRef;
use anygpu::model::{Described, ModelSpec, shapes};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families").join(name)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn describe(header: &Header) -> Described {
    Described::from_header(header).unwrap_or_else(|error| panic!("{}: {error}", header.name))
}

/// A temporary folder with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    folder
}

/// A two-layer model with a quantized matrix type, written here.
fn small_gguf() -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "llama");
    for (key, value) in [
        ("block_count", 2u32),
        ("context_length", 128),
        ("embedding_length", 64),
        ("feed_forward_length", 96),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
    ] {
        writer.set(&format!("llama.{key}"), value);
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    let mut tensors =
        vec![("token_embd.weight".to_owned(), vec![40, 64]), ("output_norm.weight".into(), vec![64])];
    for layer in 0..2 {
        for (role, shape) in [
            ("attn_norm", vec![64]),
            ("attn_q", vec![64, 64]),
            ("attn_k", vec![32, 64]),
            ("attn_v", vec![32, 64]),
            ("attn_output", vec![64, 64]),
            ("ffn_norm", vec![64]),
            ("ffn_gate", vec![96, 64]),
            ("ffn_up", vec![96, 64]),
            ("ffn_down", vec![64, 96]),
        ] {
            tensors.push((format!("blk.{layer}.{role}.weight"), shape));
        }
    }
    let dtype = |shape: &[usize]| if shape.len() == 2 { DType::Q8_0 } else { DType::F32 };
    for (name, shape) in &tensors {
        writer.tensor(name, dtype(shape), shape).expect("a sound tensor");
    }
    let mut body = writer.begin(Vec::new()).expect("a sound header");
    for (_, shape) in &tensors {
        let (cols, outer) = shape.split_last().expect("dimensions");
        let bytes = dtype(shape).row_bytes(*cols).expect("whole blocks") * outer.iter().product::<usize>();
        body.write(&vec![1; bytes]).expect("written");
    }
    body.finish().expect("complete")
}

#[test]
fn a_gguf_file_cut_anywhere() {
    let whole = small_gguf();
    let archive = Archive::from_memory([("model.gguf", whole.clone())]).expect("sound");
    let spec = ModelSpec::from_archive(&archive).expect("a model");
    let data_start = archive.tensors.values().map(|tensor| tensor.range.start).min().expect("tensors");
    let padding = 32; // of the table to the data: nothing is read there
    let expected = describe(&Header::from_memory([("model.gguf", whole.clone())]).expect("sound"));
    assert_eq!(expected.spec, spec);
    assert_eq!(expected.stored["blk.1.ffn_up.weight"], DType::Q8_0);
    assert_eq!(expected.stored["output_norm.weight"], DType::F32);
    assert_eq!(expected.stored.len(), 2 + 2 * 9);
    let mut refused = 0;
    for len in (0..data_start + 2).chain([data_start + 1000, whole.len() - 1, whole.len()]) {
        let files = || [("model.gguf", whole[..len].to_vec())];
        match Header::from_memory(files()) {
            Ok(header) => {
                assert!(len >= data_start - padding, "accepted at {len} of {data_start}");
                assert_eq!(describe(&header), expected, "cut at {len}");
                let complete = len == whole.len();
                assert_eq!(header.extent, if complete { Extent::Complete } else { Extent::Table }, "{len}");
                assert_eq!(Archive::from_memory(files()).is_ok(), complete, "{len}");
            }
            Err(error) => {
                refused += 1;
                assert!(len < data_start, "cut at {len}: {error}");
                let message = error.to_string();
                let clear = ["truncated download", "download it again", "expected"];
                assert!(message.contains("model.gguf: "), "{len}: {message}");
                assert!(clear.iter().any(|part| message.contains(part)), "{len}: {message}");
            }
        }
    }
    assert!(refused >= data_start - padding, "{refused}");
}

#[test]
fn a_folder_its_config_and_a_cut_gguf_agree() {
    for name in ["llama3", "qwen2", "qwen2-yarn", "qwen3", "llama-bias", "mistral-window"] {
        let path = fixture(name);
        let (config, weights) = (read(&path.join("config.json")), read(&path.join("model.safetensors")));
        let whole = folder(&[("config.json", &config), ("model.safetensors", &weights)]);
        let archive = Archive::open(whole.path()).expect("sound");
        let spec = ModelSpec::from_archive(&archive).expect("a model");
        let header = Header::open(whole.path()).expect("sound");
        assert_eq!((describe(&header).spec, header.extent), (spec.clone(), Extent::Complete), "{name}");
        assert_eq!(header.tensors, archive.tensors, "{name}");

        let alone = folder(&[("config.json", &config)]);
        let index = br#"{"weight_map":{"x":"model-00001-of-00002.safetensors"}}"#;
        let no_shards = folder(&[("config.json", &config), ("model.safetensors.index.json", index)]);
        for path in [alone.path().into(), alone.path().join("config.json"), no_shards.path().into()] {
            let header = Header::open(&path).expect("a configuration");
            assert_eq!((header.extent, header.tensors.len()), (Extent::Config, 0), "{name}");
            let described = describe(&header);
            assert_eq!(described.spec, spec, "{name} {}", path.display());
            assert_eq!(described.stored.len(), spec.expected_tensors().len(), "{name}");
            assert!(Archive::open(&path).is_err(), "{name}: there are no weights to open");
        }

        let gguf = read(&path.join("model.gguf"));
        let cut = folder(&[("part.gguf", &gguf[..gguf.len() - 7])]);
        let header = Header::open(&cut.path().join("part.gguf")).expect("a header");
        let (cut, uncut) = (describe(&header), Archive::open(&path.join("model.gguf")).expect("sound"));
        assert_eq!(cut.spec, ModelSpec::from_archive(&uncut).expect("a model"), "{name}");
        assert_eq!((cut.spec.n_params(), header.extent), (spec.n_params(), Extent::Table), "{name}");
    }
}

#[test]
fn the_stored_type_of_a_config_alone() {
    let stored = |key: &str, value: &str| {
        let config = format!(
            r#"{{"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_attention_heads": 4{}}}"#,
            if key.is_empty() { String::new() } else { format!(r#", "{key}": {value}"#) }
        );
        let header = Header::from_memory([("config.json", config.into_bytes())]).expect("JSON");
        Described::from_header(&header).map(|described| described.stored["model.norm.weight"])
    };
    for (key, value, expected) in [
        ("torch_dtype", r#""float16""#, DType::F16),
        ("dtype", r#""float32""#, DType::F32),
        ("torch_dtype", r#""bfloat16""#, DType::BF16),
        ("dtype", "null", DType::BF16),
        ("", "", DType::BF16),
    ] {
        assert_eq!(stored(key, value), Ok(expected), "{key} {value}");
    }
    for (value, found) in [(r#""float8_e4m3fn""#, "float8_e4m3fn"), ("7", "7")] {
        let message = stored("torch_dtype", value).expect_err("unknown").to_string();
        assert!(message.contains("torch_dtype") && message.contains(found), "{message}");
    }
}

#[test]
fn shapes_are_described_like_their_config() {
    for name in ["Llama-3.1-8B", "Qwen3-0.6B", "Mistral-7B"] {
        let config = shapes::config(name).expect("known").to_string().into_bytes();
        let from_file = describe(&Header::from_memory([("config.json", config)]).expect("JSON"));
        let shape = ShapeRef::parse(&format!("shape:{name}:q4_0")).expect("a shape").expect("known");
        let from_name = Described::from_shape(&shape).expect("a model");
        assert_eq!((&from_name.spec, &from_name.stored), (&from_file.spec, &from_file.stored), "{name}");
        assert_eq!(from_name.name, name);
        assert!(from_name.stored.values().all(|dtype| *dtype == DType::BF16));
    }
}

#[test]
fn what_describes_nothing_is_refused() {
    let other = folder(&[("notes.json", b"[1, 2"), ("list.json", b"[1]"), ("text.txt", b"hello")]);
    let open = |name: &str| Header::open(&other.path().join(name));
    for (name, parts) in [
        ("notes.json", ["notes.json", "not valid JSON"]),
        ("text.txt", ["text.txt", "no model here"]),
        ("missing", ["missing", "no such file or folder"]),
        (".", ["no model here", "list.json"]),
    ] {
        let message = open(name).map(|_| ()).expect_err(name).to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "{name}: {message}"));
    }
    let list = Described::from_header(&open("list.json").expect("JSON")).expect_err("no model").to_string();
    assert!(list.contains("architectures is missing"), "{list}");
    let pointer = folder(&[("config.json", b"version https://git-lfs.github.com/spec/v1\n")]);
    let message = Header::open(pointer.path()).map(|_| ()).expect_err("a pointer").to_string();
    assert!(message.contains("git lfs pull"), "{message}");
}
