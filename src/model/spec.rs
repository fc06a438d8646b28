//! [`ModelSpec`]: everything the engine must know of a model before it touches a weight.

use serde::{Deserialize, Serialize};

/// A decoder-only transformer of the Llama kind: RMSNorm, rotary positions, grouped-query attention,
/// gated MLP. Families differ in flags and tensor names only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Architecture as the file names it, e.g. `LlamaForCausalLM` or `qwen3`.
    pub architecture: String,
    /// Transformer layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head (not always `hidden / n_heads`).
    pub head_dim: usize,
    /// Width of the gated MLP.
    pub intermediate: usize,
    /// Rows of the embedding and output matrices.
    pub vocab: usize,
    /// Positions the model was trained for.
    pub max_context: usize,
    /// ε of every RMSNorm.
    pub rms_eps: f32,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Activation of the gate.
    pub activation: Activation,
    /// Position `i` attends to `(i - window, i]` only, in layers listed by `sliding_layers`.
    pub sliding_window: Option<usize>,
    /// Per layer: does `sliding_window` apply? Empty when there is no window.
    pub sliding_layers: Vec<bool>,
    /// Where every weight is.
    pub tensors: TensorNames,
}

/// Gate activation of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Activation {
    /// x · sigmoid(x)
    Silu,
    /// tanh approximation of GELU (Hendrycks & Gimpel 2016)
    GeluTanh,
    /// exact GELU, x · Φ(x)
    GeluErf,
}

/// Rotary position embedding as a table recipe: the angle of pair `i` at position `p` is
/// `p · inv_freq[i]`, cos and sin are multiplied by `scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// Which elements form a pair.
    pub style: RopeStyle,
    /// `[rotary_dim / 2]` inverse frequencies, scaling (linear, llama3, yarn) already applied.
    /// When [`TensorNames::rope_factors`] names a tensor, each is divided by its element.
    pub inv_freq: Vec<f64>,
    /// Factor on cos and sin (YaRN's attention factor; 1 otherwise).
    pub scale: f64,
}

/// Pairing of elements in rotary embedding, rotary_dim = 2·len(inv_freq).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RopeStyle {
    /// (i, i + rotary_dim/2): Hugging Face checkpoints, GGUF `qwen*`.
    Half,
    /// (2i, 2i + 1): GGUF `llama`, whose Q and K rows are permuted for it.
    Interleaved,
}

/// Names of the tensors that play each role, as written in the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TensorNames {
    /// `[vocab, hidden]` token embedding.
    pub embedding: String,
    /// `[vocab, hidden]` output matrix; equals `embedding` when tied.
    pub output: String,
    /// `[hidden]` final norm.
    pub output_norm: String,
    /// `[rotary_dim / 2]` divisors of the rotary frequencies (GGUF `rope_freqs.weight`).
    pub rope_factors: Option<String>,
    /// One entry per layer.
    pub layers: Vec<LayerTensors>,
}

/// Tensor names of one layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerTensors {
    /// `[hidden]` norm before attention.
    pub attn_norm: String,
    /// `[n_heads·head_dim, hidden]` query projection.
    pub q: String,
    /// `[n_kv_heads·head_dim, hidden]` key projection.
    pub k: String,
    /// `[n_kv_heads·head_dim, hidden]` value projection.
    pub v: String,
    /// `[hidden, n_heads·head_dim]` attention output projection.
    pub o: String,
    /// Bias vectors of q, k, v (Qwen2), each optional.
    pub q_bias: Option<String>,
    /// See `q_bias`.
    pub k_bias: Option<String>,
    /// See `q_bias`.
    pub v_bias: Option<String>,
    /// Bias `[hidden]` of the output projection (rare).
    pub o_bias: Option<String>,
    /// `[head_dim]` RMSNorm on each query head before RoPE (Qwen3).
    pub q_norm: Option<String>,
    /// `[head_dim]` RMSNorm on each key head before RoPE (Qwen3).
    pub k_norm: Option<String>,
    /// `[hidden]` norm before the MLP.
    pub mlp_norm: String,
    /// `[intermediate, hidden]` gate projection.
    pub gate: String,
    /// `[intermediate, hidden]` up projection.
    pub up: String,
    /// `[hidden, intermediate]` down projection.
    pub down: String,
    /// Bias vectors of gate, up, down (`mlp_bias` of Llama), each optional.
    pub gate_bias: Option<String>,
    /// See `gate_bias`.
    pub up_bias: Option<String>,
    /// See `gate_bias`.
    pub down_bias: Option<String>,
}
