//! Hugging Face `config.json` → [`ModelSpec`]. Missing keys take the defaults of the architecture's
//! configuration class in `transformers` (5.x; the 4.x defaults are the same).

use serde_json::Value;

use super::check::{self, limits};
use super::error::ModelError;
use super::hf_rope::{self, RopeParts};
use super::keys::Keys;
use super::quantized;
use super::spec::{Activation, LayerTensors, ModelSpec, TensorNames};

/// One supported architecture with the defaults of its configuration class.
struct Family {
    architecture: &'static str,
    model_type: &'static str,
    intermediate: usize,
    /// `None`: as many as query heads.
    n_kv_heads: Option<usize>,
    /// `None`: hidden / heads.
    head_dim: Option<usize>,
    vocab: usize,
    max_context: usize,
    window: Window,
    biases: Biases,
    qk_norm: bool,
}

/// Which layers see a window only.
#[derive(Clone, Copy, PartialEq)]
enum Window {
    Never,
    /// `sliding_window`, 4096 when the key is missing, null for none; in every layer.
    All,
    /// `sliding_window` when `use_sliding_window`; layers by `layer_types` or `max_window_layers`.
    Some,
}

/// Which projections have biases.
#[derive(Clone, Copy, PartialEq)]
enum Biases {
    None,
    /// Q, K and V always.
    Qkv,
    /// Q, K, V and O when `attention_bias`; the MLP when `mlp_bias`.
    Configured,
}

const LLAMA: Family = Family {
    architecture: "LlamaForCausalLM",
    model_type: "llama",
    intermediate: 11008,
    n_kv_heads: None,
    head_dim: None,
    vocab: 32000,
    max_context: 2048,
    window: Window::Never,
    biases: Biases::Configured,
    qk_norm: false,
};

const QWEN2: Family = Family {
    architecture: "Qwen2ForCausalLM",
    model_type: "qwen2",
    intermediate: 22016,
    n_kv_heads: Some(32),
    vocab: 151_936,
    max_context: 32768,
    window: Window::Some,
    biases: Biases::Qkv,
    ..LLAMA
};

const FAMILIES: [Family; 4] = [
    LLAMA,
    Family {
        architecture: "MistralForCausalLM",
        model_type: "mistral",
        intermediate: 14336,
        n_kv_heads: Some(8),
        max_context: 131_072,
        window: Window::All,
        biases: Biases::None,
        ..LLAMA
    },
    QWEN2,
    Family {
        architecture: "Qwen3ForCausalLM",
        model_type: "qwen3",
        head_dim: Some(128),
        biases: Biases::Configured,
        qk_norm: true,
        ..QWEN2
    },
];

/// Defaults shared by all four classes.
const DEFAULT_HIDDEN: usize = 4096;
const DEFAULT_LAYERS: usize = 32;
const DEFAULT_HEADS: usize = 32;
const DEFAULT_RMS_EPS: f64 = 1e-6;
const DEFAULT_WINDOW: usize = 4096;
const DEFAULT_MAX_WINDOW_LAYERS: usize = 28;

/// Names of the matrices outside the layers.
const EMBEDDING: &str = "model.embed_tokens.weight";
const OUTPUT: &str = "lm_head.weight";

/// The model that `config` describes. `has_tensor` says whether a tensor of that name is stored: it
/// decides what a tied pair is called, nothing else; [`check::tensors`] checks the rest.
pub fn parse(config: &Value, has_tensor: &dyn Fn(&str) -> bool) -> Result<ModelSpec, ModelError> {
    let keys = Keys::of_json("", config);
    let (family, architecture) = family(&keys)?;
    if let Some(found) = quantized::by_config(config) {
        return Err(ModelError::NotRunnable { found, next: quantized::NEXT });
    }
    let hidden = keys.size("hidden_size", Some(DEFAULT_HIDDEN), limits::WIDTH)?;
    let n_layers = keys.size("num_hidden_layers", Some(DEFAULT_LAYERS), limits::LAYERS)?;
    let n_heads = keys.size("num_attention_heads", Some(DEFAULT_HEADS), limits::HEADS)?;
    let default_kv = family.n_kv_heads.filter(|_| !keys.is_null("num_key_value_heads")).unwrap_or(n_heads);
    let n_kv_heads = keys.size("num_key_value_heads", Some(default_kv), limits::HEADS)?;
    check::heads(n_heads, n_kv_heads, keys.name("num_key_value_heads"))?;
    let head_dim = match keys.value("head_dim") {
        Some(_) => keys.size("head_dim", None, limits::HEAD_DIM)?,
        None => match family.head_dim {
            Some(width) => width,
            None => check::head_dim(hidden, n_heads, keys.name("num_attention_heads"))?,
        },
    };
    let trained = keys.size("max_position_embeddings", Some(family.max_context), limits::CONTEXT)?;
    let (rope, max_context) = hf_rope::rope(&keys, config, head_dim, trained)?;
    let sliding_layers = sliding_layers(&keys, family, n_layers)?;
    let sliding_window = match sliding_layers.is_empty() {
        true => None,
        false => Some(keys.size("sliding_window", Some(DEFAULT_WINDOW), limits::CONTEXT)?),
    };
    Ok(ModelSpec {
        architecture,
        n_layers,
        hidden,
        n_heads,
        n_kv_heads,
        head_dim,
        intermediate: keys.size("intermediate_size", Some(family.intermediate), limits::WIDTH)?,
        vocab: keys.size("vocab_size", Some(family.vocab), limits::VOCAB)?,
        max_context,
        rms_eps: keys
            .number("rms_norm_eps", "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))?
            .unwrap_or(DEFAULT_RMS_EPS) as f32,
        rope,
        activation: activation(&keys)?,
        sliding_window,
        sliding_layers,
        tensors: tensor_names(&keys, family, n_layers, has_tensor)?,
    })
}

/// The rotary parameters that `config` states, for a model of heads of this width.
pub(crate) fn rope_parts(config: &Value, head_dim: usize) -> Result<RopeParts, ModelError> {
    let keys = Keys::of_json("", config);
    let (family, _) = family(&keys)?;
    let trained = keys.size("max_position_embeddings", Some(family.max_context), limits::CONTEXT)?;
    hf_rope::parts(&keys, config, head_dim, trained)
}

/// By `architectures`; by `model_type`, as transformers chooses, where that is missing, empty or names a
/// class of the same model.
fn family(keys: &Keys) -> Result<(&'static Family, String), ModelError> {
    let class = match keys.value("architectures") {
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(Value::Array(list)) => match list.first() {
            None => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => return Err(keys.bad("architectures", "a list of names")),
        },
        Some(_) => return Err(keys.bad("architectures", "a list of names")),
    };
    let by_class = |name: &str| FAMILIES.iter().find(|family| family.architecture == name);
    if let Some(family) = class.as_deref().and_then(by_class) {
        return Ok((family, family.architecture.to_owned()));
    }
    let unknown = |name: &str| ModelError::unknown(name);
    let Some(model_type) = keys.text("model_type")? else {
        let missing = || keys.bad("architectures", "a list of names");
        return Err(class.as_deref().map_or_else(missing, unknown));
    };
    let family = FAMILIES.iter().find(|family| family.model_type == model_type);
    let class = class.as_deref();
    match family.filter(|family| class.is_none_or(|class| is_class_of(keys, class, family))) {
        Some(family) => Ok((family, family.architecture.to_owned())),
        None => Err(unknown(class.unwrap_or(&model_type))),
    }
}

/// Does a class of another name generate text as `family` does? Not with code of its own, experts or a head
/// for another task.
fn is_class_of(keys: &Keys, class: &str, family: &Family) -> bool {
    let class = class.to_ascii_lowercase();
    let named_alike =
        class.strip_suffix("forcausallm").or(class.strip_suffix("model")) == Some(family.model_type);
    let other_task = class.contains("for") && !class.contains("forcausallm");
    let other_family =
        FAMILIES.iter().any(|f| f.model_type != family.model_type && class.starts_with(f.model_type));
    let own_code = keys.value("auto_map").is_some();
    named_alike || !(other_task || other_family || own_code || class.contains("moe"))
}

fn activation(keys: &Keys) -> Result<Activation, ModelError> {
    match keys.text("hidden_act")?.as_deref() {
        None | Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu") => Ok(Activation::GeluErf),
        Some("gelu_pytorch_tanh" | "gelu_new" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some(_) => Err(keys.bad("hidden_act", "silu, gelu, gelu_new or gelu_pytorch_tanh")),
    }
}

/// Per layer, is there a window? Empty when no layer has one.
fn sliding_layers(keys: &Keys, family: &Family, n_layers: usize) -> Result<Vec<bool>, ModelError> {
    let enabled = match family.window {
        Window::Never => false,
        Window::All => !keys.is_null("sliding_window"),
        Window::Some => keys.flag("use_sliding_window", false)? && !keys.is_null("sliding_window"),
    };
    if !enabled {
        return Ok(Vec::new());
    }
    let layers: Vec<bool> = match (family.window, keys.value("layer_types")) {
        (Window::All, _) => vec![true; n_layers],
        (_, Some(types)) => layer_types(keys, &types, n_layers)?,
        (_, None) => {
            let full = match keys.value("max_window_layers").and_then(|n| n.as_u64()) {
                Some(0) => 0,
                _ => keys.size("max_window_layers", Some(DEFAULT_MAX_WINDOW_LAYERS), usize::MAX)?,
            };
            (0..n_layers).map(|layer_ix| layer_ix >= full).collect()
        }
    };
    Ok(if layers.contains(&true) { layers } else { Vec::new() })
}

fn layer_types(keys: &Keys, types: &Value, n_layers: usize) -> Result<Vec<bool>, ModelError> {
    let expected = || format!("full_attention or sliding_attention for each of {n_layers} layers");
    let list = types.as_array().filter(|list| list.len() == n_layers);
    let list = list.ok_or_else(|| keys.bad("layer_types", expected()))?;
    let kind = |value: &Value| match value.as_str() {
        Some("full_attention") => Some(false),
        Some("sliding_attention") => Some(true),
        _ => None,
    };
    list.iter().map(kind).collect::<Option<_>>().ok_or_else(|| keys.bad("layer_types", expected()))
}

fn tensor_names(
    keys: &Keys,
    family: &Family,
    n_layers: usize,
    has_tensor: &dyn Fn(&str) -> bool,
) -> Result<TensorNames, ModelError> {
    let configured = family.biases == Biases::Configured;
    let attention_bias = configured && keys.flag("attention_bias", false)?;
    let flags = LayerFlags {
        qkv_bias: attention_bias || family.biases == Biases::Qkv,
        o_bias: attention_bias,
        mlp_bias: configured && !family.qk_norm && keys.flag("mlp_bias", false)?,
        qk_norm: family.qk_norm,
    };
    // A class that ties by itself, or a file of one matrix. An inner model alone has no output matrix.
    let says_nothing = keys.value("tie_word_embeddings").is_none();
    let inner = keys.value("architectures").is_some_and(|list| is_inner_model(&list));
    let stored = has_tensor(OUTPUT);
    let tied = keys.flag("tie_word_embeddings", says_nothing && !inner && !stored)?;
    // Two matrices are stored only where they differ: they are kept apart, as transformers 5 does.
    let tied = tied && !(stored && has_tensor(EMBEDDING) && !describes_all(has_tensor));
    // Tied weights are stored once, under either name.
    let stored_as_output = tied && !has_tensor(EMBEDDING) && has_tensor(OUTPUT);
    let embedding = if stored_as_output { OUTPUT } else { EMBEDDING };
    Ok(TensorNames {
        embedding: embedding.to_owned(),
        output: if tied { embedding } else { OUTPUT }.to_owned(),
        output_norm: "model.norm.weight".to_owned(),
        rope_factors: None,
        layers: (0..n_layers).map(|layer_ix| layer_names(layer_ix, &flags)).collect(),
    })
}

/// Was the checkpoint saved from the model without its head?
fn is_inner_model(architectures: &Value) -> bool {
    let class = architectures.get(0).and_then(Value::as_str);
    class.is_some_and(|class| class.ends_with("Model"))
}

/// Is there no table of tensors, so that every name counts as stored?
fn describes_all(has_tensor: &dyn Fn(&str) -> bool) -> bool {
    has_tensor("")
}

/// Optional tensors of each layer.
struct LayerFlags {
    qkv_bias: bool,
    o_bias: bool,
    mlp_bias: bool,
    qk_norm: bool,
}

fn layer_names(layer_ix: usize, flags: &LayerFlags) -> LayerTensors {
    let name = |rest: &str| format!("model.layers.{layer_ix}.{rest}");
    let optional = |wanted: bool, rest: &str| wanted.then(|| name(rest));
    LayerTensors {
        attn_norm: name("input_layernorm.weight"),
        q: name("self_attn.q_proj.weight"),
        k: name("self_attn.k_proj.weight"),
        v: name("self_attn.v_proj.weight"),
        o: name("self_attn.o_proj.weight"),
        q_bias: optional(flags.qkv_bias, "self_attn.q_proj.bias"),
        k_bias: optional(flags.qkv_bias, "self_attn.k_proj.bias"),
        v_bias: optional(flags.qkv_bias, "self_attn.v_proj.bias"),
        o_bias: optional(flags.o_bias, "self_attn.o_proj.bias"),
        q_norm: optional(flags.qk_norm, "self_attn.q_norm.weight"),
        k_norm: optional(flags.qk_norm, "self_attn.k_norm.weight"),
        mlp_norm: name("post_attention_layernorm.weight"),
        gate: name("mlp.gate_proj.weight"),
        up: name("mlp.up_proj.weight"),
        down: name("mlp.down_proj.weight"),
        gate_bias: optional(flags.mlp_bias, "mlp.gate_proj.bias"),
        up_bias: optional(flags.mlp_bias, "mlp.up_proj.bias"),
        down_bias: optional(flags.mlp_bias, "mlp.down_proj.bias"),
    }
}
