//! Is a [`ModelSpec`] consistent, and does the file hold what it names?

use std::collections::{BTreeMap, HashSet};

use super::error::ModelError;
use super::spec::ModelSpec;
use crate::formats::archive::TensorInfo;

/// Largest dimensions accepted. They are far above any published model (16k wide, 126 layers) and keep
/// every product of two dimensions within 64 bits and every list here small.
pub mod limits {
    /// Transformer layers.
    pub const LAYERS: usize = 10_000;
    /// Residual width and MLP width.
    pub const WIDTH: usize = 1 << 20;
    /// Query heads.
    pub const HEADS: usize = 1 << 12;
    /// Elements per head.
    pub const HEAD_DIM: usize = 1 << 12;
    /// Vocabulary.
    pub const VOCAB: usize = 1 << 24;
    /// Positions.
    pub const CONTEXT: usize = 1 << 30;
    /// Rotary scaling factor.
    pub const ROPE_FACTOR: f64 = 1e4;
}

/// Every tensor `spec` names is in `tensors` with the shape its dimensions ask for; a vector may be stored
/// as a matrix of one row.
pub fn tensors(spec: &ModelSpec, tensors: &BTreeMap<String, TensorInfo>) -> Result<(), ModelError> {
    for (name, expected) in spec.expected_tensors() {
        let Some(info) = tensors.get(name) else {
            return Err(ModelError::MissingTensor { tensor: name.to_owned() });
        };
        let one_row = expected.len() == 1 && info.shape.len() == 2 && info.shape[0] == 1;
        if info.shape[usize::from(one_row)..] != expected {
            let (tensor, found) = (name.to_owned(), info.shape.clone());
            return Err(ModelError::Shape { tensor, expected, found });
        }
    }
    Ok(())
}

/// Constants that older converters stored, which are computed here, and what training leaves beside a model.
const HARMLESS: [&str; 7] = [
    "attn_rot_embd",
    "rope_freqs",
    "rotary_emb.inv_freq",
    "rotary_emb.cos_cached",
    "rotary_emb.sin_cached",
    "v_head.",
    "self_attn.masked_bias",
];

/// Parts of names whose tensors change a model's numbers wherever they stand.
const TELLING: [&str; 6] = [".bias", "norm.weight", "scale", "sinks", "lora_", "position_emb"];

/// None of the stored `names` would be left out though it changes results: GGUF files hold nothing but the
/// model, so none may be unused; safetensors may hold other heads beside it, not more in its layers.
pub fn unused<'a>(
    spec: &ModelSpec,
    mut names: impl Iterator<Item = &'a String>,
    is_gguf: bool,
) -> Result<(), ModelError> {
    let used: HashSet<&str> = spec.expected_tensors().into_iter().map(|(name, _)| name).collect();
    let changes_results = |name: &str| {
        let telling = || TELLING.iter().any(|part| name.contains(part));
        let in_layer = || name.starts_with("model.layers.");
        !HARMLESS.iter().any(|part| name.contains(part)) && (is_gguf || in_layer() || telling())
    };
    match names.find(|name| !used.contains(name.as_str()) && changes_results(name)) {
        Some(name) => {
            Err(ModelError::UnusedTensor { tensor: name.clone(), architecture: spec.architecture.clone() })
        }
        None => Ok(()),
    }
}

/// Query heads share key/value heads evenly. `key` names the number of key/value heads.
pub(crate) fn heads(n_heads: usize, n_kv_heads: usize, key: String) -> Result<(), ModelError> {
    match n_heads % n_kv_heads {
        0 => Ok(()),
        _ => Err(ModelError::bad(key, format!("a divisor of the {n_heads} query heads"), n_kv_heads)),
    }
}

/// Rotation works on pairs within a head. `key` names the rotated width.
pub(crate) fn rotary(rotary_dim: usize, head_dim: usize, key: String) -> Result<(), ModelError> {
    let fits = rotary_dim > 0
        && rotary_dim <= head_dim
        && rotary_dim.is_multiple_of(2)
        && head_dim.is_multiple_of(2);
    match fits {
        true => Ok(()),
        false => {
            let expected = format!("an even rotated width of at most the (even) head width {head_dim}");
            Err(ModelError::bad(key, expected, rotary_dim))
        }
    }
}

/// Head width when the file does not state it. `key` names the number of heads.
pub(crate) fn head_dim(hidden: usize, n_heads: usize, key: String) -> Result<usize, ModelError> {
    match hidden % n_heads {
        0 => Ok(hidden / n_heads),
        _ => Err(ModelError::bad(
            key,
            format!("a divisor of the width {hidden}, as no head width is given"),
            n_heads,
        )),
    }
}
