//! The real files of the shared test data: all open, and a model says the same as Hugging Face folder and as
//! GGUF. Skipped, with a line on stderr, only where there is no shared folder at all.

use std::path::{Path, PathBuf};

use anygpu::base::DType;
use anygpu::formats::{Archive, Metadata};

use super::common::shared;

const MODELS: [&str; 3] = ["BabyLlama-tok105", "TinyStories-656K", "stories260K"];

fn open(path: &Path) -> Archive {
    Archive::open(path).unwrap_or_else(|e| panic!("{e}"))
}

/// Hugging Face name → (GGUF name, number of heads by which Q and K rows are permuted, if they are).
fn gguf_name(name: &str, heads: (usize, usize)) -> (String, Option<usize>) {
    let fixed = match name {
        "model.embed_tokens.weight" => Some("token_embd.weight"),
        "model.norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(fixed) = fixed {
        return (fixed.into(), None);
    }
    let rest = name.strip_prefix("model.layers.").expect("a layer's tensor");
    let (layer, role) = rest.split_once('.').expect("layer number, role");
    let (role, permuted) = match role {
        "input_layernorm.weight" => ("attn_norm", None),
        "post_attention_layernorm.weight" => ("ffn_norm", None),
        "mlp.down_proj.weight" => ("ffn_down", None),
        "mlp.gate_proj.weight" => ("ffn_gate", None),
        "mlp.up_proj.weight" => ("ffn_up", None),
        "self_attn.q_proj.weight" => ("attn_q", Some(heads.0)),
        "self_attn.k_proj.weight" => ("attn_k", Some(heads.1)),
        "self_attn.v_proj.weight" => ("attn_v", None),
        "self_attn.o_proj.weight" => ("attn_output", None),
        other => panic!("unknown role {other}"),
    };
    (format!("blk.{layer}.{role}.weight"), permuted)
}

/// Row `r` of a head stands at row `2r` (first half) or `2(r - half) + 1` in GGUF files of Llama models,
/// whose rotary embedding pairs neighbours instead of halves.
fn interleave(bytes: &[u8], rows: usize, n_heads: usize) -> Vec<u8> {
    let (row_bytes, head_dim) = (bytes.len() / rows, rows / n_heads);
    let mut out = vec![0; bytes.len()];
    for row in 0..rows {
        let (head, r) = (row / head_dim, row % head_dim);
        let to = if r < head_dim / 2 { 2 * r } else { 2 * (r - head_dim / 2) + 1 };
        let to = (head * head_dim + to) * row_bytes;
        out[to..to + row_bytes].copy_from_slice(&bytes[row * row_bytes..][..row_bytes]);
    }
    out
}

#[test]
fn models_are_equal_in_both_formats() {
    let Some(shared) = shared() else { return };
    for model in MODELS {
        let folder = shared.join("data/models").join(model);
        let hf = open(&folder.join("hf"));
        let gguf = open(&folder.join(format!("gguf/{model}-f32.gguf")));
        let Metadata::HuggingFace(metadata) = &hf.metadata else { panic!("{model}: Hugging Face metadata") };
        assert!(metadata.tokenizer_json.is_some() && metadata.tokenizer_config.is_some(), "{model}");
        let config = |key: &str| metadata.config[key].as_u64().expect(key) as usize;
        let heads = (config("num_attention_heads"), config("num_key_value_heads"));
        let Metadata::Gguf(meta) = &gguf.metadata else { panic!("{model}: GGUF metadata") };
        assert_eq!(meta.require::<usize>("llama.embedding_length").unwrap(), config("hidden_size"));
        assert_eq!(meta.require::<Vec<&str>>("tokenizer.ggml.tokens").unwrap().len(), config("vocab_size"));

        for (name, tensor) in &hf.tensors {
            let (other, permuted) = gguf_name(name, heads);
            // A tied model stores one matrix, under either role's name.
            let other = [other.as_str(), "token_embd.weight"].into_iter().find(|n| gguf.contains(n));
            let other = gguf.tensor_of_shape(other.expect("token_embd"), &tensor.shape).unwrap();
            assert_eq!((tensor.dtype, other.dtype), (DType::F32, DType::F32), "{model} {name}");
            let expected = match permuted {
                Some(n_heads) => interleave(hf.bytes(tensor), tensor.shape[0], n_heads),
                None => hf.bytes(tensor).to_vec(),
            };
            assert!(gguf.bytes(other) == expected, "{model}: {name} differs between the formats");
        }
        assert_eq!(hf.tensors.len(), gguf.tensors.len(), "{model}: number of tensors");
    }
}

fn files_with_suffix(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let paths = entries.map(|entry| entry.expect("listed").path());
    paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect()
}

#[test]
fn every_gguf_file_opens() {
    let Some(shared) = shared() else { return };
    let mut n_files = 0;
    for model in MODELS {
        for path in files_with_suffix(&shared.join("data/models").join(model).join("gguf"), ".gguf") {
            let archive = open(&path);
            assert!(archive.unsupported.is_empty(), "{}", path.display());
            let shapes = open(&shared.join("data/models").join(model).join("hf")).tensors.len();
            assert_eq!(archive.tensors.len(), shapes, "{}", path.display());
            super::round_trip::read_everything(&archive);
            n_files += 1;
        }
    }
    for path in files_with_suffix(&shared.join("data/tokenizers"), ".gguf") {
        let archive = open(&path);
        assert!(archive.tensors.is_empty(), "{}: vocabulary only", path.display());
        let Metadata::Gguf(meta) = &archive.metadata else { panic!("GGUF metadata") };
        let tokens = meta.require::<Vec<&str>>("tokenizer.ggml.tokens").unwrap_or_else(|e| panic!("{e}"));
        assert!(tokens.len() > 30_000, "{}: {} tokens", path.display(), tokens.len());
        super::round_trip::read_everything(&archive);
        n_files += 1;
    }
    assert!(n_files >= 16, "only {n_files} GGUF files in the shared data");
}

#[test]
fn quantization_vectors_open() {
    let Some(shared) = shared() else { return };
    // No model around it: handed over as the weights of a folder.
    let bytes = std::fs::read(shared.join("data/quant/quant_vectors.safetensors")).expect("shared data");
    let archive = Archive::from_memory(super::raw::folder(bytes)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(archive.tensor("source.f32").unwrap().shape, [8, 256]);
}
