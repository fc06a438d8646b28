//! [`ModelSpec`] + weights + buffers → graphs: the only place that knows the order of operations.
//!
//! One token costs per layer five dispatches: norm and qkv, attention with rotation and KV write (one more where a long
//! context is split), output projection (adds to the residual stream), norm and gate and up and activation, down (adds). Matrices in several parts cost one dispatch per
//! part, and then the activation one of its own. Chunks of prompts take norms, rotation and activations apart: nine.

use crate::base::Activations;
use crate::engine::EngineError;
use crate::engine::first_use::Need;
use crate::engine::steps::{self, Checks, Steps};
use crate::engine::tables::Tables;
use crate::engine::weights::{Layer, Weights};
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Graph, Slice};
use crate::kernels::argmax::Best;
use crate::kernels::attention::{Attention, Geometry};
use crate::kernels::glu::{self, Act};
use crate::kernels::kv::KvType;
use crate::kernels::linear::Linear;
use crate::kernels::matvec::{Fused, Norm};
use crate::kernels::rms_norm::{self, NormWeights, RmsNorm};
use crate::kernels::rope_kv::{self, RopeKv};
use crate::kernels::variants::{self, Variants};
use crate::kernels::weights::{BLOCK, Part};
use crate::kernels::{
    argmax, attend_decode, attend_merge, attend_prefill, embed, matvec, matvec_checks, sample, top_k,
};
use crate::model::ModelSpec;
use crate::model::spec::{Activation, RopeStyle};
use crate::plan::memory;

/// Most candidates that the GPU hands to the sampler.
pub const TOP_K: usize = sample::MOST;

/// Sizes of a session's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Positions in the KV cache.
    pub context: usize,
    /// Most tokens per run.
    pub chunk: usize,
    /// Most tokens whose logits are computed at once.
    pub logits: usize,
    /// Element type of the KV cache.
    pub kv: KvType,
    /// How the matrices of decoding steps read activations.
    pub activations: Activations,
    /// Sequences, each with a cache of its own; at most [`State::MAX_SEQUENCES`].
    pub sequences: usize,
}

/// Every buffer of a session beside the weights. Activations are f32, rows padded to a multiple of 32
/// where a matrix reads them.
pub struct Buffers {
    /// [`crate::gpu::graph::State`]
    pub state: Slice,
    /// `[context]` of [`crate::kernels::argmax::Best`]: what steps that are submitted ahead chose.
    pub choices: Slice,
    /// `[chunk]` u32
    pub tokens: Slice,
    /// Residual stream, [chunk, hidden]
    pub hidden: Slice,
    /// [chunk, hidden]
    pub normed: Slice,
    /// [chunk, (heads + 2·kv_heads)·head_dim]
    pub qkv: Slice,
    /// [chunk, heads·head_dim]
    pub q: Slice,
    /// [chunk, heads·head_dim], and behind it [sequences, splits, heads, head_dim + 2]: attention's parts over a long
    /// context
    pub attended: Slice,
    /// [chunk, 2·intermediate]
    pub gate_up: Slice,
    /// [chunk, intermediate]
    pub activated: Slice,
    /// [logits, hidden]
    pub normed_logits: Slice,
    /// [logits, vocab]
    pub logits: Slice,
    /// `[sequences]` [`argmax::Best`]
    pub best: Slice,
    /// See [`top_k::read`]
    pub top: Slice,
    /// Per layer K and V.
    pub cache: Vec<[Slice; 2]>,
    /// Norms of q and k, and angles.
    pub tables: Tables,
}

/// Byte sizes of the buffers, for allocation and for the memory sum.
pub struct BufferBytes {
    /// K and V of all layers.
    pub kv: u64,
    /// Everything else.
    pub activations: u64,
}

/// The attention geometry of layer `i`.
pub fn geometry(spec: &ModelSpec, sizes: Sizes, i: usize) -> Geometry {
    Geometry {
        heads: spec.n_heads,
        kv_heads: spec.n_kv_heads,
        head_dim: spec.head_dim,
        context: sizes.context,
        window: spec.window_of(i).unwrap_or(0),
        kv: sizes.kv,
    }
}

/// (name, bytes) of every activation buffer, in the order of [`Buffers`] from `hidden` to `top`.
fn activation_bytes(spec: &ModelSpec, sizes: Sizes) -> [(&'static str, u64); 11] {
    memory::activations(spec, sizes.chunk, sizes.logits, sizes.sequences)
}

/// What a session of these sizes takes.
pub fn buffer_bytes(spec: &ModelSpec, sizes: Sizes) -> BufferBytes {
    let kv = (0..spec.n_layers).map(|i| 2 * cache_bytes(spec, sizes, i)).sum();
    let activations = activation_bytes(spec, sizes).iter().map(|(_, bytes)| bytes).sum::<u64>()
        + memory::position_bytes(spec, sizes.context);
    BufferBytes { kv, activations }
}

/// Bytes of K (or V) of layer `i`, of all sequences.
fn cache_bytes(spec: &ModelSpec, sizes: Sizes, i: usize) -> u64 {
    sizes.sequences as u64 * geometry(spec, sizes, i).cache_bytes()
}

/// Refuses a context whose cache the adapter cannot bind, before anything is loaded.
pub fn check_cache(gpu: &Gpu, spec: &ModelSpec, sizes: Sizes) -> Result<(), GpuError> {
    let (bytes, limit) = (cache_bytes(spec, sizes, 0), gpu.max_bound_bytes());
    if bytes <= limit {
        return Ok(());
    }
    let fits = limit / (bytes / sizes.context as u64).max(1);
    let (adapter, what) = (gpu.facts().id(), "the K cache of one layer".to_owned());
    let hint = format!(
        "; a context of at most {fits} fits (--ctx {fits}; --kv f16 takes half of f32, q8_0 about a quarter)"
    );
    Err(GpuError::TooLarge { adapter, what, bytes, limit, hint })
}

impl Buffers {
    /// Allocates everything. `tables` are those for this context.
    pub fn allocate(gpu: &Gpu, spec: &ModelSpec, sizes: Sizes, tables: Tables) -> Result<Buffers, GpuError> {
        let mut slices = Vec::new();
        for (name, bytes) in activation_bytes(spec, sizes) {
            slices.push(gpu.buffer(name, bytes)?);
        }
        let mut slices = slices.into_iter();
        let mut next = || slices.next().expect("one slice per entry of activation_bytes");
        let cache = (0..spec.n_layers)
            .map(|i| {
                let bytes = cache_bytes(spec, sizes, i);
                Ok([gpu.buffer("K cache", bytes)?, gpu.buffer("V cache", bytes)?])
            })
            .collect::<Result<Vec<_>, GpuError>>()?;
        Ok(Buffers {
            state: gpu.upload("state", bytemuck::bytes_of(&State::default()))?,
            choices: gpu.buffer("choices", (sizes.context * Best::BYTES) as u64)?,
            tokens: gpu.buffer("tokens", sizes.chunk as u64 * 4)?,
            hidden: next(),
            normed: next(),
            qkv: next(),
            q: next(),
            attended: next(),
            gate_up: next(),
            activated: next(),
            normed_logits: next(),
            logits: next(),
            best: next(),
            top: next(),
            cache,
            tables,
        })
    }
}

/// The graphs of a session.
pub struct Graphs {
    /// One token through all layers, logits, the greedy choice.
    pub decode: Graph,
    /// A chunk of tokens through all layers.
    pub prefill: Graph,
    /// Logits of one of the chunk's tokens (the last that `state` wants), and its greedy choice.
    pub head: Graph,
    /// As `head`, for many tokens.
    pub head_many: Graph,
    /// One token of each of several sequences through all layers, their logits and greedy choices; `None` for
    /// one sequence.
    pub batch: Option<Graph>,
    /// The [`TOP_K`] largest logits of the first row; `None` when the vocabulary is smaller.
    pub top: Option<Graph>,
    /// What each kernel of them has to pass, by its label.
    pub checks: Checks,
}

const _: () = assert!(variants::MOST_SPLITS as usize <= memory::MOST_SPLITS, "partial sums have room");

/// How many tokens a graph is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    One,
    /// One token of each sequence.
    Each,
    Many,
    /// Only the last of many: its logits.
    Last,
}

/// A matrix of the model between its input and its output.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    label: &'a str,
    parts: &'a [Part],
    bias: Option<&'a Slice>,
    x: &'a Slice,
    /// Weights of the norm of x, and where kernels that do not norm by themselves find the result.
    norm: Option<(&'a NormWeights, &'a Slice)>,
    /// A buffer and its columns.
    y: (&'a Slice, usize),
    accumulate: bool,
    of_logits: bool,
}

/// Builds graphs for one model on one device.
struct Builder<'a> {
    gpu: &'a Gpu,
    spec: &'a ModelSpec,
    weights: &'a Weights,
    buffers: &'a Buffers,
    sizes: Sizes,
    variants: Variants,
    steps: Steps,
}

impl Graphs {
    /// Lists the steps. Which of their kernels are compiled, and when, is for [`Gpu::compile`].
    pub fn build(
        gpu: &Gpu,
        spec: &ModelSpec,
        weights: &Weights,
        buffers: &Buffers,
        sizes: Sizes,
    ) -> Result<Graphs, EngineError> {
        let variants = Variants::of(gpu);
        let steps = Steps::default();
        let mut builder = Builder { gpu, spec, weights, buffers, sizes, variants, steps };
        builder.body(Mode::One)?;
        builder.head(Mode::One)?;
        let decode = builder.take();
        builder.body(Mode::Many)?;
        let prefill = builder.take();
        builder.head(Mode::Last)?;
        let head = builder.take();
        builder.head(Mode::Many)?;
        let head_many = builder.take();
        let batch = if sizes.sequences > 1 {
            builder.body(Mode::Each)?;
            builder.head(Mode::Each)?;
            Some(builder.take())
        } else {
            None
        };
        let top = if spec.vocab >= TOP_K {
            let params = top_k::Params { cols: spec.vocab as u32, k: TOP_K as u32 };
            let step = top_k::step(gpu, &buffers.logits, &buffers.top, params)?;
            builder.steps.push(step, top_k::checks_of);
            Some(builder.take())
        } else {
            None
        };
        Ok(Graphs { decode, prefill, head, head_many, batch, top, checks: builder.steps.checks })
    }

    /// What the kernels of these graphs have to pass, each once.
    pub fn needs(&self, graphs: &[&Graph]) -> Vec<Need<'_>> {
        steps::needs(&self.checks, graphs)
    }

    /// The graph for the logits of `n` tokens.
    pub fn head_for(&self, n: u32) -> &Graph {
        if n > 1 { &self.head_many } else { &self.head }
    }
}

impl Builder<'_> {
    fn take(&mut self) -> Graph {
        self.steps.take()
    }

    /// Embedding and all layers.
    fn body(&mut self, mode: Mode) -> Result<(), EngineError> {
        for part in &self.weights.embedding {
            let (tokens, hidden) = (&self.buffers.tokens, &self.buffers.hidden);
            let step = embed::step(self.gpu, "embedding", part, tokens, hidden)?;
            self.steps.push(step, || embed::checks_of(part.dtype, part.store()));
        }
        for (i, layer) in self.weights.layers.iter().enumerate() {
            self.attention(mode, i, layer)?;
            self.mlp(mode, i, layer)?;
        }
        Ok(())
    }

    fn attention(&mut self, mode: Mode, i: usize, layer: &Layer) -> Result<(), EngineError> {
        let (spec, buffers) = (self.spec, self.buffers);
        let heads = spec.n_heads * spec.head_dim;
        let qkv_cols = heads + 2 * spec.n_kv_heads * spec.head_dim;
        let qkv = Matrix {
            label: &format!("layer {i} qkv"),
            parts: &layer.qkv,
            bias: layer.qkv_bias.as_ref(),
            x: &buffers.hidden,
            norm: Some((&layer.attn_norm, &buffers.normed)),
            y: (&buffers.qkv, qkv_cols),
            accumulate: false,
            of_logits: false,
        };
        self.linear(mode, qkv)?;
        let rope = rope_kv::Variant {
            geometry: geometry(spec, self.sizes, i),
            rotary: spec.rotary_dim(),
            interleaved: spec.rope.style == RopeStyle::Interleaved,
            qk_norm: layer.qk_norms.is_some(),
            reduce: self.variants.reduce,
        };
        match mode {
            Mode::One | Mode::Each => self.attend_one(i, rope)?,
            Mode::Many | Mode::Last => self.attend_many(i, rope)?,
        }
        let output = Matrix {
            label: &format!("layer {i} output"),
            parts: &layer.o,
            bias: layer.o_bias.as_ref(),
            x: &buffers.attended,
            norm: None,
            y: (&buffers.hidden, spec.hidden),
            accumulate: true,
            of_logits: false,
        };
        self.linear(mode, output)
    }

    /// One token (of every sequence): rotation, KV write and attention in one.
    fn attend_one(&mut self, i: usize, rope: rope_kv::Variant) -> Result<(), EngineError> {
        let (spec, buffers) = (self.spec, self.buffers);
        let (subgroup, split) = (self.variants.attention_subgroup, self.variants.split(spec.n_kv_heads));
        let [k_cache, v_cache] = &buffers.cache[i];
        let heads = spec.n_heads * spec.head_dim;
        let decode = attend_decode::Decode {
            qkv: &buffers.qkv,
            tables: buffers.tables.of_layer(i),
            k_cache,
            v_cache,
            out: &buffers.attended,
            state: &buffers.state,
            x_stride: (heads + 2 * spec.n_kv_heads * spec.head_dim).next_multiple_of(BLOCK),
            out_stride: heads.next_multiple_of(BLOCK),
            partial_at: self.sizes.chunk * heads.next_multiple_of(BLOCK),
            eps: spec.rms_eps,
        };
        let variant = attend_decode::Variant { rope, subgroup };
        let label = format!("layer {i} attention");
        let mut steps = attend_decode::steps(self.gpu, &label, variant, split, decode)?.into_iter();
        steps.next().into_iter().for_each(|step| {
            self.steps.push(step, || attend_decode::checks_of(variant, split.splits));
        });
        steps.for_each(|step| self.steps.push(step, || attend_merge::checks_of(spec.head_dim)));
        Ok(())
    }

    /// A chunk: rotation and KV write first, then attention.
    fn attend_many(&mut self, i: usize, rope: rope_kv::Variant) -> Result<(), EngineError> {
        let (spec, buffers) = (self.spec, self.buffers);
        let [k_cache, v_cache] = &buffers.cache[i];
        let heads = spec.n_heads * spec.head_dim;
        let q_stride = heads.next_multiple_of(BLOCK);
        let rotation = RopeKv {
            qkv: &buffers.qkv,
            tables: buffers.tables.of_layer(i),
            q: &buffers.q,
            k_cache,
            v_cache,
            state: &buffers.state,
            x_stride: (heads + 2 * spec.n_kv_heads * spec.head_dim).next_multiple_of(BLOCK),
            q_stride,
            eps: spec.rms_eps,
        };
        let step = rope_kv::step(self.gpu, &format!("layer {i} rope"), rope, rotation)?;
        self.steps.push(step, || rope_kv::checks_of(rope));
        let attention = Attention {
            q: &buffers.q,
            k_cache,
            v_cache,
            out: &buffers.attended,
            state: &buffers.state,
            q_stride,
            out_stride: q_stride,
        };
        let label = format!("layer {i} attention");
        let step = attend_prefill::step(self.gpu, &label, rope.geometry, attention)?;
        self.steps.push(step, || attend_prefill::checks_of(rope.geometry));
        Ok(())
    }

    fn mlp(&mut self, mode: Mode, i: usize, layer: &Layer) -> Result<(), EngineError> {
        let (spec, buffers) = (self.spec, self.buffers);
        let act = match spec.activation {
            Activation::Silu => Act::Silu,
            Activation::GeluTanh => Act::GeluTanh,
            Activation::GeluErf => Act::GeluErf,
        };
        let gate_up = Matrix {
            label: &format!("layer {i} gate and up"),
            parts: &layer.gate_up,
            bias: layer.gate_up_bias.as_ref(),
            x: &buffers.hidden,
            norm: Some((&layer.mlp_norm, &buffers.normed)),
            y: (&buffers.gate_up, 2 * spec.intermediate),
            accumulate: false,
            of_logits: false,
        };
        // Gate and up of one output in one part: then the activation is done on the way.
        if let (true, [part]) = (mode != Mode::Many, &layer.gate_up[..]) {
            let y = (&buffers.activated, spec.intermediate);
            self.matvec(mode, part, &Matrix { y, ..gate_up }, Some(act))?;
        } else {
            self.linear(mode, gate_up)?;
            let params = glu::Params {
                inter: spec.intermediate as u32,
                x_stride: (2 * spec.intermediate).next_multiple_of(BLOCK) as u32,
                y_stride: spec.intermediate.next_multiple_of(BLOCK) as u32,
            };
            let label = format!("layer {i} activation");
            let step = glu::step(self.gpu, &label, act, [&buffers.gate_up, &buffers.activated], params)?;
            self.steps.push(step, || glu::checks_of(act));
        }
        let down = Matrix {
            label: &format!("layer {i} down"),
            parts: &layer.down,
            bias: layer.down_bias.as_ref(),
            x: &buffers.activated,
            norm: None,
            y: (&buffers.hidden, spec.hidden),
            accumulate: true,
            of_logits: false,
        };
        self.linear(mode, down)
    }

    /// Final norm and logits of the tokens that `state` says, and the greedy choice of the first.
    fn head(&mut self, mode: Mode) -> Result<(), EngineError> {
        let (spec, buffers, weights) = (self.spec, self.buffers, self.weights);
        let logits = Matrix {
            label: "logits",
            parts: &weights.output,
            bias: None,
            x: &buffers.hidden,
            norm: Some((&weights.output_norm, &buffers.normed_logits)),
            y: (&buffers.logits, spec.vocab),
            accumulate: false,
            of_logits: true,
        };
        self.linear(mode, logits)?;
        let stride = spec.vocab.next_multiple_of(BLOCK) as u32;
        let params = argmax::Params { cols: spec.vocab as u32, stride };
        let rows = if mode == Mode::Each { self.sizes.sequences as u32 } else { 1 };
        let step = argmax::step(self.gpu, rows, &buffers.logits, &buffers.best, params)?;
        self.steps.push(step, || argmax::checks_of(self.gpu.facts()));
        Ok(())
    }

    /// One dispatch per part, and one for the norm where the kernel for many tokens does not norm by itself.
    fn linear(&mut self, mode: Mode, matrix: Matrix<'_>) -> Result<(), EngineError> {
        if mode != Mode::Many {
            return matrix.parts.iter().try_for_each(|part| self.matvec(mode, part, &matrix, None));
        }
        let mut x = matrix.x;
        if let Some((weight, normed)) = matrix.norm {
            let (state, cols, eps) = (&self.buffers.state, self.spec.hidden, self.spec.rms_eps);
            let norm = RmsNorm { x, weight, y: normed, state, cols, eps, of_logits: matrix.of_logits };
            let label = format!("{} norm", matrix.label);
            let reduce = self.variants.reduce;
            self.steps.push(rms_norm::step(self.gpu, &label, reduce, norm)?, || rms_norm::checks_of(reduce));
            x = normed;
        }
        for part in matrix.parts {
            let bias = self.bias_of(&matrix, part)?;
            let linear = Linear { x, ..Self::linear_of(self.buffers, &matrix, part, bias.as_ref()) };
            let many = self.variants.many(part.dtype, part.store());
            let step = many.step(self.gpu, matrix.label, linear)?;
            self.steps.push(step, || many.checks_of(self.gpu, linear));
        }
        Ok(())
    }

    /// One part of a matrix times one or few columns, normed on the way.
    fn matvec(
        &mut self,
        mode: Mode,
        part: &Part,
        matrix: &Matrix<'_>,
        glu: Option<Act>,
    ) -> Result<(), EngineError> {
        let columns = if mode == Mode::Each { self.sizes.sequences as u32 } else { 1 };
        let wanted = self.sizes.activations;
        let (variant, activations) = self.variants.matvec_with(wanted, part.dtype, part.store(), columns);
        let (cols, eps) = (self.spec.hidden, self.spec.rms_eps);
        let norm = matrix.norm.map(|(weight, _)| Norm { weight, cols, eps });
        let fused = Fused { norm, glu, activations, few: mode == Mode::Each };
        let bias = self.bias_of(matrix, part)?;
        let linear = Self::linear_of(self.buffers, matrix, part, bias.as_ref());
        // How much of x is in use tells the kernel what it may do with it.
        let row_bytes = part.cols.next_multiple_of(BLOCK) as u64 * 4;
        let x = match mode {
            Mode::Last | Mode::Many => linear.x.clone(),
            Mode::One | Mode::Each => linear.x.first(u64::from(columns) * row_bytes),
        };
        let linear = Linear { x: &x, ..linear };
        let step = matvec::fused_step(self.gpu, matrix.label, variant, linear, fused)?;
        let kind = matvec::kind(self.gpu, variant, linear, fused);
        self.steps.push(step, || matvec_checks::checks_of(part.dtype, variant, kind));
        Ok(())
    }

    fn linear_of<'m>(
        buffers: &'m Buffers,
        matrix: &Matrix<'m>,
        part: &'m Part,
        bias: Option<&'m Slice>,
    ) -> Linear<'m> {
        Linear {
            part,
            x: matrix.x,
            y: matrix.y.0,
            y_stride: matrix.y.1.next_multiple_of(BLOCK),
            y_first: part.first_row,
            bias,
            accumulate: matrix.accumulate,
            of_logits: matrix.of_logits,
            state: &buffers.state,
        }
    }

    /// The part's share of the stack's bias, in a buffer of its own where it is not the first: offsets of bindings are
    /// coarse.
    fn bias_of(&self, matrix: &Matrix<'_>, part: &Part) -> Result<Option<Slice>, EngineError> {
        let Some(bias) = matrix.bias else { return Ok(None) };
        if part.first_row == 0 {
            return Ok(Some(bias.clone()));
        }
        let slice = self.gpu.buffer("bias", part.rows as u64 * 4)?;
        let to = Slice { bytes: part.rows as u64 * 4, ..slice.clone() };
        self.gpu.copy(bias, part.first_row as u64 * 4, &to)?;
        Ok(Some(slice))
    }
}
