//! The steps between the matrices: norms, rotation, activation, the choice of a token.

use std::collections::BTreeMap;

use super::clock::Clock;
use crate::base::DType;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::attention::Geometry;
use crate::kernels::glu::{self, Act};
use crate::kernels::kv::KvType;
use crate::kernels::rms_norm::{self, RmsNorm};
use crate::kernels::rope_kv::{self, RopeKv};
use crate::kernels::variants::Variants;
use crate::kernels::weights::{Part, Store};
use crate::kernels::{argmax, check, embed, random, top_k};
use crate::plan::profile::SmallReading;
use crate::quant::PlaneLayout;

/// Tokens of the larger run.
const TOKENS: usize = 8;
/// Floats per row in the small and in the large run.
const WIDTHS: [usize; 2] = [256, 1024];
/// Logits in the small and in the large run.
const VOCABS: [usize; 2] = [4096, 65536];
/// As the engine reads them back.
const TOP_K: u32 = 64;
/// Width of a head.
const HEAD_DIM: usize = 64;

pub(super) fn measure(gpu: &Gpu, clock: &Clock<'_>) -> Result<BTreeMap<String, SmallReading>, GpuError> {
    let space = Space::new(gpu)?;
    let mut all = BTreeMap::new();
    for name in ["norm", "rope", "glu", "embed", "argmax", "top_k"] {
        let (few, few_items, state_few) = space.step(gpu, name, 0)?;
        let (many, many_items, state_many) = space.step(gpu, name, 1)?;
        let few = clock.slope(&[few], state_few)?;
        let many = clock.slope(&[many], state_many)?;
        let item_s = ((many.seconds - few.seconds) / (many_items - few_items)).max(0.0);
        let fixed_s = (few.seconds - few_items * item_s).max(0.0);
        let spread = few.spread.max(many.spread);
        all.insert(name.to_owned(), SmallReading { fixed_s, item_s, spread });
    }
    Ok(all)
}

/// Buffers large enough for every step here.
struct Space {
    x: Slice,
    y: Slice,
    cache: [Slice; 2],
    embedding: Part,
    tokens: Slice,
    states: [Slice; 2],
}

impl Space {
    fn new(gpu: &Gpu) -> Result<Space, GpuError> {
        let bad = |cause: String| GpuError::Internal { adapter: gpu.facts().id(), cause };
        let layout = PlaneLayout::new(DType::Q8_0, WIDTHS[1]).map_err(|e| bad(e.to_string()))?;
        let embedding = Part::allocate(gpu, "probe embedding", Store::of(gpu), 0, 256, layout)?;
        random::fill_part(gpu, &embedding, 3)?;
        let words = VOCABS[1].max(4 * TOKENS * WIDTHS[1]);
        let cache = || gpu.buffer("probe cache", (TOKENS * WIDTHS[1]) as u64 * 4);
        Ok(Space {
            x: check::floats(gpu, &check::uniform(5, words))?,
            y: gpu.buffer("probe output", words as u64 * 4)?,
            cache: [cache()?, cache()?],
            embedding,
            tokens: gpu.upload("probe tokens", bytemuck::cast_slice(&[7u32; TOKENS]))?,
            states: [check::state(gpu, state(0))?, check::state(gpu, state(1))?],
        })
    }

    /// (step, items, state) of the small (0) or large (1) run.
    fn step(&self, gpu: &Gpu, name: &str, size: usize) -> Result<(Step, f64, State), GpuError> {
        let (tokens, width, vocab) = ([1, TOKENS][size], WIDTHS[size], VOCABS[size]);
        let reduce = Variants::of(gpu).reduce;
        let state_slice = &self.states[size];
        let items = tokens * width;
        let (step, items) = match name {
            "norm" => {
                let norm = RmsNorm {
                    x: &self.x,
                    weight: &self.x,
                    y: &self.y,
                    state: state_slice,
                    cols: width,
                    eps: 1e-5,
                    of_logits: false,
                };
                (rms_norm::step(gpu, "probe", reduce, norm)?, items)
            }
            "rope" => {
                let kv_heads = width / HEAD_DIM / 4;
                let geometry = Geometry {
                    heads: 2 * kv_heads,
                    kv_heads,
                    head_dim: HEAD_DIM,
                    context: TOKENS,
                    window: 0,
                    kv: KvType::F16,
                };
                let variant = rope_kv::Variant {
                    geometry,
                    rotary: HEAD_DIM,
                    interleaved: false,
                    qk_norm: false,
                    reduce,
                };
                let rope = RopeKv {
                    qkv: &self.x,
                    norms: &gpu.empty(),
                    rope: &self.x,
                    q: &self.y,
                    k_cache: &self.cache[0],
                    v_cache: &self.cache[1],
                    state: state_slice,
                    x_stride: width,
                    q_stride: width / 2,
                    eps: 1e-5,
                };
                (rope_kv::step(gpu, "probe", variant, rope)?, items)
            }
            "glu" => {
                let (inter, both) = (width as u32, 2 * width as u32);
                let params = glu::Params { inter, x_stride: both, y_stride: inter };
                (glu::step(gpu, "probe", Act::Silu, [&self.x, &self.y], params)?, items)
            }
            "embed" => {
                (embed::step(gpu, "probe", &self.embedding, &self.tokens, &self.y)?, tokens * WIDTHS[1])
            }
            "argmax" => {
                let params = argmax::Params { cols: vocab as u32, stride: vocab as u32 };
                (argmax::step(gpu, 1, &self.x, &self.y, params)?, vocab)
            }
            _ => {
                let params = top_k::Params { cols: vocab as u32, k: TOP_K };
                (top_k::step(gpu, &self.x, &self.y, params)?, vocab)
            }
        };
        Ok((step, items as f64, state(size)))
    }
}

fn state(size: usize) -> State {
    State { n_tokens: [1, TOKENS as u32][size], ..State::default() }
}
