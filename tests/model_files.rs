//! `ModelSpec::from_archive` on real and fixture files, Hugging Face and GGUF.

mod common;

use std::path::{Path, PathBuf};

use anygpu::formats::Archive;
use anygpu::model::spec::{Activation, RopeStyle};
use anygpu::model::{ModelError, ModelSpec};
use serde_json::Value;

fn load(path: &Path) -> ModelSpec {
    let archive = Archive::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    ModelSpec::from_archive(&archive).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a model's two files must agree in: all but names, pairing and how scaling is stored. `scaled` is
/// false for `llama3` scaling, which GGUF keeps in a tensor.
fn comparable(mut spec: ModelSpec, scaled: bool) -> (ModelSpec, u64, usize) {
    let (n_params, tied) = (spec.n_params(), usize::from(spec.is_tied()));
    spec.tensors = Default::default();
    spec.architecture.clear();
    spec.rope.style = RopeStyle::Half;
    if !scaled {
        spec.rope.inv_freq.clear();
    }
    (spec, n_params, tied)
}

/// Row: (folder, dims [layers, hidden, heads, kv heads, head width, MLP, vocabulary, context], parameters).
#[test]
fn shared_models() {
    let Some(shared) = common::shared() else { return };
    let check = |name: &str, dims: [usize; 8], n_params: u64| {
        let folder = shared.join("data/models").join(name);
        let hf = load(&folder.join("hf"));
        let found =
            [hf.n_layers, hf.hidden, hf.n_heads, hf.n_kv_heads, hf.head_dim, hf.intermediate, hf.vocab];
        assert_eq!((&found[..], hf.max_context, hf.n_params()), (&dims[..7], dims[7], n_params), "{name}");
        assert!(hf.is_tied() && hf.rope.style == RopeStyle::Half);
        let files: Vec<PathBuf> =
            folder.join("gguf").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 2, "{name}: {files:?}");
        for file in files {
            let gguf = load(&file);
            assert_eq!(gguf.rope.style, RopeStyle::Interleaved);
            assert_eq!(comparable(gguf, true), comparable(hf.clone(), true), "{}", file.display());
        }
        hf.tensors
    };
    check("stories260K", [5, 64, 8, 4, 8, 172, 512, 512], 260_032);
    check("BabyLlama-tok105", [5, 128, 8, 4, 16, 352, 105, 256], 936_448);
    let names = check("TinyStories-656K", [2, 128, 8, 4, 16, 384, 2048, 512], 656_000);
    assert_eq!([names.embedding, names.output], ["lm_head.weight", "lm_head.weight"]);
}

fn families() -> (PathBuf, Vec<Value>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families");
    let text = std::fs::read_to_string(folder.join("families.json")).unwrap();
    (folder, serde_json::from_str(&text).unwrap())
}

#[test]
fn family_fixtures() {
    let (folder, rows) = families();
    assert_eq!(rows.len(), 11);
    for row in rows {
        let name = row["name"].as_str().unwrap();
        let hf = load(&folder.join(row["hf_dir"].as_str().unwrap()));
        assert_eq!((hf.n_layers, hf.hidden, hf.vocab), (2, 32, 96), "{name}");
        check_feature(name, &hf);
        let Some(file) = row["gguf"].as_str() else { continue };
        let gguf = load(&folder.join(file));
        let scaled = name != "llama3";
        assert_eq!(gguf.tensors.rope_factors.is_some(), !scaled, "{name}");
        assert_eq!(
            gguf.tensors.layers.iter().map(optional).collect::<Vec<_>>(),
            hf.tensors.layers.iter().map(optional).collect::<Vec<_>>()
        );
        assert_eq!(comparable(gguf, scaled), comparable(hf, scaled), "{name}");
    }
}

/// GGUF keeps `llama3` scaling as divisors in a tensor: they give the frequencies of config.json.
#[test]
fn rope_factors_are_the_scaling() {
    let folder = families().0.join("llama3");
    let scaled = load(&folder).rope.inv_freq;
    let archive = Archive::open(&folder.join("model.gguf")).unwrap();
    let plain = ModelSpec::from_archive(&archive).unwrap().rope.inv_freq;
    let factors = archive.bytes(archive.tensor("rope_freqs.weight").unwrap()).chunks(4);
    let factors: Vec<f32> = factors.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!((factors.len(), factors[0], factors[7]), (8, 1.0, 8.0));
    assert!(factors.iter().any(|&f| f > 1.0 && f < 8.0), "a blended one: {factors:?}");
    for ((plain, scaled), factor) in plain.iter().zip(scaled).zip(factors) {
        assert!(
            (plain / f64::from(factor) / scaled - 1.0).abs() <= 1e-6,
            "{plain} / {factor} is not {scaled}"
        );
    }
}

#[test]
fn undecodable_tensors_are_named() {
    let folder = families().0.join("llama3");
    let mut weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    for at in 0..header - 5 {
        if &weights[at..at + 5] == b"\"F32\"" {
            weights[at + 1] = b'I';
        }
    }
    let config = std::fs::read(folder.join("config.json")).unwrap();
    let archive = Archive::from_memory([("config.json", config), ("model.safetensors", weights)]).unwrap();
    let message = ModelSpec::from_archive(&archive).unwrap_err().to_string();
    assert!(
        message.contains("model.embed_tokens.weight is stored as I32") && message.contains("BF16"),
        "{message}"
    );
}

/// Which optional tensors a layer has.
fn optional(layer: &anygpu::model::spec::LayerTensors) -> [bool; 6] {
    [&layer.q_bias, &layer.v_bias, &layer.o_bias, &layer.down_bias, &layer.q_norm, &layer.k_norm]
        .map(|name| name.is_some())
}

/// What each fixture is there for.
fn check_feature(name: &str, spec: &ModelSpec) {
    let is_there = match name {
        "mistral-window" => spec.sliding_window == Some(20) && spec.sliding_layers == [true, true],
        "qwen2" => spec.is_tied() && spec.tensors.layers[0].q_bias.is_some() && spec.sliding_window.is_none(),
        "qwen2-window" => spec.sliding_window == Some(16) && spec.sliding_layers == [false, true],
        "qwen2-yarn" => spec.rope.scale > 1.1 && !spec.is_tied(),
        "qwen3" => spec.tensors.layers[0].k_norm.is_some() && spec.head_dim == 16,
        "llama3" => spec.rope.inv_freq[0] == 1.0 && spec.rope.inv_freq[7] < 1e-4,
        "llama-linear" => spec.rope.inv_freq[0] == 0.25,
        "llama-head-dim" => spec.is_tied() && spec.head_dim == 24 && spec.n_kv_heads == 1,
        "llama-bias" => optional(&spec.tensors.layers[1]) == [true, true, true, true, false, false],
        "llama-gelu" => spec.activation == Activation::GeluErf,
        "llama-gelu-tanh" => spec.activation == Activation::GeluTanh,
        other => panic!("no check for {other}"),
    };
    assert!(is_there, "{name}: {spec:?}");
}

/// A fixture folder in memory, with `config.json` changed by replacing `from` with `to`.
fn changed(name: &str, from: &str, to: &str) -> Result<ModelSpec, ModelError> {
    let folder = families().0.join(name);
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    assert!(config.contains(from), "{name} has no {from}");
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let files = [("config.json", config.replace(from, to).into_bytes()), ("model.safetensors", weights)];
    ModelSpec::from_archive(&Archive::from_memory(files).unwrap())
}

#[test]
fn files_that_contradict_their_config() {
    let check = |name: &str, from: &str, to: &str, parts: &[&str]| {
        let message = changed(name, from, to).expect_err("must be refused").to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
    };
    check(
        "llama3",
        "\"vocab_size\": 96",
        "\"vocab_size\": 97",
        &["embed_tokens.weight", "[96, 32]", "[97, 32]"],
    );
    check("llama3", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", &["model.layers.2.", "missing"]);
    check("llama3", "\"head_dim\": 16", "\"head_dim\": 8", &["q_proj.weight", "[64, 32]", "[32, 32]"]);
    check(
        "qwen2",
        "\"tie_word_embeddings\": true",
        "\"tie_word_embeddings\": false",
        &["lm_head.weight is missing"],
    );
    check("llama-bias", "\"mlp_bias\": true", "\"mlp_bias\": false", &["_proj.bias", "does not use"]);
    check("qwen3", "Qwen3ForCausalLM", "LlamaForCausalLM", &["_norm.weight", "does not use"]);
    check("qwen3", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", &["Qwen3MoeForCausalLM", "supported"]);
    assert!(changed("qwen3", "Qwen3ForCausalLM", "Qwen3ForCausalLM").is_ok());
}
