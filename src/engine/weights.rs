//! A model's weights on the GPU.

use crate::engine::EngineError;
use crate::engine::loader::Loader;
use crate::gpu::Slice;
use crate::kernels::rms_norm::NormWeights;
use crate::kernels::weights::Part;
use crate::model::ModelSpec;

/// All weights. Matrices that are applied to the same input are stacked by rows.
pub struct Weights {
    /// [vocab, hidden]
    pub embedding: Vec<Part>,
    /// [vocab, hidden]; the embedding again when tied.
    pub output: Vec<Part>,
    /// `[hidden]`, padded with zeros to a multiple of 32
    pub output_norm: NormWeights,
    /// One per layer.
    pub layers: Vec<Layer>,
    /// [rotary / 2] divisors of the rotary frequencies, or empty.
    pub rope_factors: Vec<f32>,
}

/// One layer's weights.
pub struct Layer {
    /// `[hidden]`
    pub attn_norm: NormWeights,
    /// q, k and v stacked: [(heads + 2·kv_heads)·head_dim, hidden]
    pub qkv: Vec<Part>,
    /// Biases of q, k and v in one; zeros where one is missing.
    pub qkv_bias: Option<Slice>,
    /// Weights of the q and the k norm: [2, head_dim]
    pub qk_norms: Option<Vec<f32>>,
    /// [hidden, heads·head_dim]
    pub o: Vec<Part>,
    /// `[hidden]`
    pub o_bias: Option<Slice>,
    /// `[hidden]`
    pub mlp_norm: NormWeights,
    /// gate and up stacked: [2·intermediate, hidden]
    pub gate_up: Vec<Part>,
    /// Biases of gate and up in one.
    pub gate_up_bias: Option<Slice>,
    /// [hidden, intermediate]
    pub down: Vec<Part>,
    /// `[hidden]`
    pub down_bias: Option<Slice>,
}

impl Weights {
    /// Every part of every matrix.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let layers = self.layers.iter().flat_map(|l| [&l.qkv, &l.o, &l.gate_up, &l.down]);
        [&self.embedding, &self.output].into_iter().chain(layers).flatten()
    }

    /// Loads everything that `spec` names.
    pub fn load(loader: &mut Loader<'_>, spec: &ModelSpec) -> Result<Weights, EngineError> {
        let names = &spec.tensors;
        let layer_quant = loader.quant;
        loader.quant = layer_quant.map(crate::plan::weights::output_type);
        let embedding = loader.matrix("embedding", &[&names.embedding])?;
        let output = match spec.is_tied() {
            true => embedding.clone(),
            false => loader.matrix("output", &[&names.output])?,
        };
        loader.quant = layer_quant;
        let output_norm = loader.norm(&names.output_norm)?;
        let rope_factors = match &names.rope_factors {
            Some(name) => loader.values(name)?,
            None => Vec::new(),
        };
        let layers = (0..spec.n_layers).map(|i| Layer::load(loader, spec, i)).collect::<Result<_, _>>()?;
        Ok(Weights { embedding, output, output_norm, layers, rope_factors })
    }
}

impl Layer {
    fn load(loader: &mut Loader<'_>, spec: &ModelSpec, i: usize) -> Result<Layer, EngineError> {
        let names = &spec.tensors.layers[i];
        let (q_rows, kv_rows) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
        let biases = [(&names.q_bias, q_rows), (&names.k_bias, kv_rows), (&names.v_bias, kv_rows)];
        let gate_up = [(&names.gate_bias, spec.intermediate), (&names.up_bias, spec.intermediate)];
        let qk_norms = match (&names.q_norm, &names.k_norm) {
            (None, None) => None,
            (q, k) => {
                let mut both = Vec::new();
                for name in [q, k] {
                    match name {
                        Some(name) => both.extend(loader.values(name)?),
                        None => both.resize(both.len() + spec.head_dim, 1.0),
                    }
                }
                Some(both)
            }
        };
        Ok(Layer {
            attn_norm: loader.norm(&names.attn_norm)?,
            qkv: loader.matrix("qkv", &[&names.q, &names.k, &names.v])?,
            qkv_bias: stacked_bias(loader, &biases)?,
            qk_norms,
            o: loader.matrix("attention output", &[&names.o])?,
            o_bias: names.o_bias.as_deref().map(|name| loader.vector(name)).transpose()?,
            mlp_norm: loader.norm(&names.mlp_norm)?,
            gate_up: loader.matrix("gate and up", &[&names.gate, &names.up])?,
            gate_up_bias: stacked_bias(loader, &gate_up)?,
            down: loader.matrix("down", &[&names.down])?,
            down_bias: names.down_bias.as_deref().map(|name| loader.vector(name)).transpose()?,
        })
    }
}

/// Biases of stacked matrices as one vector, `None` when there is none at all.
fn stacked_bias(
    loader: &mut Loader<'_>,
    biases: &[(&Option<String>, usize)],
) -> Result<Option<Slice>, EngineError> {
    if biases.iter().all(|(name, _)| name.is_none()) {
        return Ok(None);
    }
    let mut all = Vec::new();
    for (name, rows) in biases {
        match name {
            Some(name) => all.extend(loader.values(name)?),
            None => all.resize(all.len() + rows, 0.0),
        }
    }
    Ok(Some(loader.gpu.upload("bias", bytemuck::cast_slice(&all))?))
}
