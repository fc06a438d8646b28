//! GGUF metadata → [`ModelSpec`]. Keys and tensor names as in ggml's GGUF specification and its
//! converters (`docs/gguf.md` of the ggml repository).

use serde_json::Value;

use super::check::{self, limits};
use super::error::ModelError;
use super::keys::Keys;
use super::rope::{self, Scaling};
use super::spec::{Activation, LayerTensors, ModelSpec, Rope, RopeStyle, TensorNames};

/// Supported values of `general.architecture`: (name, pairing, QK norm). Mistral, SmolLM2 and TinyLlama
/// files say `llama`.
const FAMILIES: [(&str, RopeStyle, bool); 3] = [
    ("llama", RopeStyle::Interleaved, false),
    ("qwen2", RopeStyle::Half, false),
    ("qwen3", RopeStyle::Half, true),
];

const ARCHITECTURE: &str = "general.architecture";
const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";
const ROPE_FACTORS: &str = "rope_freqs.weight";
const DEFAULT_THETA: f64 = 10000.0;

/// The model that the metadata describe. `get` returns the value of a key, numbers as JSON numbers and
/// arrays as JSON arrays; `shape` the row-major shape of a stored tensor. The result's tensors are not
/// checked yet: see [`check::tensors`].
pub fn parse(
    get: &dyn Fn(&str) -> Option<Value>,
    shape: &dyn Fn(&str) -> Option<Vec<usize>>,
) -> Result<ModelSpec, ModelError> {
    let general = Keys::new("", Box::new(get));
    let Some(architecture) = general.text(ARCHITECTURE)? else {
        return Err(general.bad(ARCHITECTURE, "a name"));
    };
    let known = FAMILIES.iter().find(|row| row.0 == architecture);
    let &(_, style, qk_norm) = known.ok_or_else(|| ModelError::unknown(&architecture))?;
    let prefix = format!("{architecture}.");
    let keys = Keys::new(&prefix, Box::new(|key| get(&format!("{architecture}.{key}"))));
    refuse_variants(&keys, &architecture, shape)?;

    let n_layers = keys.size("block_count", None, limits::LAYERS)?;
    let hidden = keys.size("embedding_length", None, limits::WIDTH)?;
    let n_heads = keys.uniform_size("attention.head_count", None, limits::HEADS)?;
    let n_kv_heads = keys.uniform_size("attention.head_count_kv", Some(n_heads), limits::HEADS)?;
    check::heads(n_heads, n_kv_heads, keys.name("attention.head_count_kv"))?;
    let head_dim = head_dim(&keys, hidden, n_heads)?;
    let trained = keys.size("context_length", None, limits::CONTEXT)?;
    let (rope, max_context) = rope(&keys, style, head_dim, trained)?;
    let sliding_layers = sliding_layers(&keys, n_layers)?;
    let sliding_window = match sliding_layers.is_empty() {
        true => None,
        false => Some(keys.size("attention.sliding_window", None, limits::CONTEXT)?),
    };
    let eps_key = "attention.layer_norm_rms_epsilon";
    let eps = keys.number(eps_key, "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))?;
    Ok(ModelSpec {
        n_layers,
        hidden,
        n_heads,
        n_kv_heads,
        head_dim,
        intermediate: keys.uniform_size("feed_forward_length", None, limits::WIDTH)?,
        vocab: vocab(hidden, shape)?,
        max_context,
        rms_eps: eps.ok_or_else(|| keys.bad(eps_key, "a number from 0 to 1"))? as f32,
        rope,
        activation: Activation::Silu,
        sliding_window,
        sliding_layers,
        tensors: tensor_names(n_layers, qk_norm, &|name| shape(name).is_some()),
        architecture: architecture.clone(),
    })
}

/// Files that carry a supported name but compute something else.
fn refuse_variants(
    keys: &Keys,
    architecture: &str,
    shape: &dyn Fn(&str) -> Option<Vec<usize>>,
) -> Result<(), ModelError> {
    let experts = keys.value("expert_count").and_then(|n| n.as_u64()).unwrap_or(0);
    if experts > 0 {
        return Err(ModelError::unknown(format!(
            "{architecture} with {experts} experts (mixture of experts)"
        )));
    }
    if !keys.flag("attention.causal", true)? {
        return Err(keys.bad("attention.causal", "true"));
    }
    match shape("rope_factors_long.weight") {
        Some(_) => Err(ModelError::bad("tensor rope_factors_long.weight", "no LongRoPE scaling", "present")),
        None => Ok(()),
    }
}

fn head_dim(keys: &Keys, hidden: usize, n_heads: usize) -> Result<usize, ModelError> {
    let key = "attention.key_length";
    let head_dim = match keys.value(key) {
        Some(_) => keys.size(key, None, limits::HEAD_DIM)?,
        None => check::head_dim(hidden, n_heads, keys.name("attention.head_count"))?,
    };
    let value_dim = keys.size("attention.value_length", Some(head_dim), limits::HEAD_DIM)?;
    match value_dim == head_dim {
        true => Ok(head_dim),
        false => Err(keys.bad("attention.value_length", format!("the width of key heads, {head_dim}"))),
    }
}

/// Rows of the embedding: token lists may be shorter (padding) and `vocab_size` is often absent.
fn vocab(hidden: usize, shape: &dyn Fn(&str) -> Option<Vec<usize>>) -> Result<usize, ModelError> {
    let found = shape(EMBEDDING).ok_or_else(|| ModelError::MissingTensor { tensor: EMBEDDING.to_owned() })?;
    match found[..] {
        [rows, _] if (1..=limits::VOCAB).contains(&rows) => Ok(rows),
        _ => {
            let expected = format!("[1 to {} rows, {hidden}]", limits::VOCAB);
            Err(ModelError::bad(format!("shape of tensor {EMBEDDING}"), expected, format!("{found:?}")))
        }
    }
}

/// Per layer, is there a window? Empty when no layer has one. `sliding_window_pattern` is a flag per
/// layer, or a period n of which the last layer sees everything; without it all layers have the window.
fn sliding_layers(keys: &Keys, n_layers: usize) -> Result<Vec<bool>, ModelError> {
    let window = keys.value("attention.sliding_window");
    if window.is_none_or(|window| window.as_u64() == Some(0)) {
        return Ok(Vec::new());
    }
    let key = "attention.sliding_window_pattern";
    let layers = match keys.value(key) {
        None => vec![true; n_layers],
        Some(Value::Array(flags)) => {
            let flags = flags.iter().map(Value::as_bool).collect::<Option<Vec<bool>>>();
            let flags = flags.filter(|flags| flags.len() == n_layers);
            flags.ok_or_else(|| keys.bad(key, format!("true or false for each of {n_layers} layers")))?
        }
        Some(_) => {
            let period = keys.size(key, None, limits::LAYERS)?;
            (0..n_layers).map(|layer_ix| layer_ix % period < period - 1).collect()
        }
    };
    Ok(if layers.contains(&true) { layers } else { Vec::new() })
}

/// Rotary parameters and the positions they reach.
fn rope(keys: &Keys, style: RopeStyle, head_dim: usize, trained: usize) -> Result<(Rope, usize), ModelError> {
    let theta = keys.number("rope.freq_base", "a number above 1", |x| x > 1.0)?.unwrap_or(DEFAULT_THETA);
    let rotary_dim = keys.size("rope.dimension_count", Some(head_dim), limits::HEAD_DIM)?;
    check::rotary(rotary_dim, head_dim, keys.name("rope.dimension_count"))?;
    let (scaling, scale, reach) = scaling(keys, trained)?;
    Ok((rope::build(style, theta, rotary_dim, scaling, scale), reach))
}

/// Scaling, factor on cos and sin, positions within reach. Files written before `rope.scaling.*` existed
/// have `rope.scale_linear`; a factor without a type is linear; 0 means none.
fn scaling(keys: &Keys, trained: usize) -> Result<(Scaling, f64, usize), ModelError> {
    let factor =
        |key| keys.number(key, "a number from 0 to 10000", |x| (0.0..=limits::ROPE_FACTOR).contains(&x));
    let legacy = factor("rope.scale_linear")?;
    let factor = factor("rope.scaling.factor")?.or(legacy).filter(|&x| x > 0.0);
    let kind = keys.text("rope.scaling.type")?;
    match (kind.as_deref(), factor) {
        (Some("none"), _) | (None | Some("linear"), None) => Ok((Scaling::None, 1.0, trained)),
        (None | Some("linear"), Some(factor)) => {
            Ok((Scaling::Linear { factor }, 1.0, rope::reach(trained, factor, trained)))
        }
        (Some("yarn"), Some(factor)) => {
            let original =
                keys.size("rope.scaling.original_context_length", Some(trained), limits::CONTEXT)?;
            let (fast, slow) = ("rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow");
            let scaling = Scaling::Yarn {
                factor,
                original: original as f64,
                beta_fast: keys.positive(fast)?.unwrap_or(32.0),
                beta_slow: keys.positive(slow)?.unwrap_or(1.0),
                truncate: true,
            };
            // attn_factor multiplies the paper's factor (unlike Hugging Face's, which replaces it).
            let extra = keys.positive("rope.scaling.attn_factor")?.unwrap_or(1.0);
            let reach = rope::reach(original, factor, trained);
            Ok((scaling, extra * rope::yarn_mscale(factor, 1.0), reach))
        }
        (Some("yarn"), None) => Err(keys.bad("rope.scaling.factor", "a number above 0")),
        (Some(_), _) => Err(keys.bad("rope.scaling.type", "none, linear or yarn")),
    }
}

fn tensor_names(n_layers: usize, qk_norm: bool, has_tensor: &dyn Fn(&str) -> bool) -> TensorNames {
    TensorNames {
        embedding: EMBEDDING.to_owned(),
        output: if has_tensor(OUTPUT) { OUTPUT } else { EMBEDDING }.to_owned(),
        output_norm: "output_norm.weight".to_owned(),
        rope_factors: has_tensor(ROPE_FACTORS).then(|| ROPE_FACTORS.to_owned()),
        layers: (0..n_layers).map(|layer_ix| layer_names(layer_ix, qk_norm, has_tensor)).collect(),
    }
}

/// Biases are used where stored: no key tells of them.
fn layer_names(layer_ix: usize, qk_norm: bool, has_tensor: &dyn Fn(&str) -> bool) -> LayerTensors {
    let weight = |role: &str| format!("blk.{layer_ix}.{role}.weight");
    let bias = |role: &str| Some(format!("blk.{layer_ix}.{role}.bias")).filter(|name| has_tensor(name));
    LayerTensors {
        attn_norm: weight("attn_norm"),
        q: weight("attn_q"),
        k: weight("attn_k"),
        v: weight("attn_v"),
        o: weight("attn_output"),
        q_bias: bias("attn_q"),
        k_bias: bias("attn_k"),
        v_bias: bias("attn_v"),
        o_bias: bias("attn_output"),
        q_norm: qk_norm.then(|| weight("attn_q_norm")),
        k_norm: qk_norm.then(|| weight("attn_k_norm")),
        mlp_norm: weight("ffn_norm"),
        gate: weight("ffn_gate"),
        up: weight("ffn_up"),
        down: weight("ffn_down"),
        gate_bias: bias("ffn_gate"),
        up_bias: bias("ffn_up"),
        down_bias: bias("ffn_down"),
    }
}
