//! The steps between the matrices: norms, rotation, activation, the choice of a token.

use std::collections::BTreeMap;

use super::SAMPLES;
use super::clock::{Clock, Windows};
use crate::base::DType;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::attention::Geometry;
use crate::kernels::glu::{self, Act};
use crate::kernels::kv::KvType;
use crate::kernels::rms_norm::{self, NormWeights, RmsNorm};
use crate::kernels::rope_kv::{self, RopeKv};
use crate::kernels::variants::Variants;
use crate::kernels::weights::{Part, Store};
use crate::kernels::{argmax, check, embed, random, top_k};
use crate::plan::profile::SmallReading;
use crate::quant::PlaneLayout;

/// The steps.
const NAMES: [&str; 6] = ["norm", "rope", "glu", "embed", "argmax", "top_k"];
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

/// All of them, measured in rounds.
#[derive(Default)]
pub(super) struct Subject {
    /// Of the small and of the large run.
    windows: [[Windows; 2]; NAMES.len()],
}

impl Subject {
    /// One round of samples.
    pub(super) fn sample(&mut self, gpu: &Gpu, clock: &Clock<'_>) -> Result<(), GpuError> {
        let space = Space::new(gpu)?;
        for (name, sizes) in NAMES.into_iter().zip(&mut self.windows) {
            for (size, windows) in sizes.iter_mut().enumerate() {
                let step = space.step(gpu, name, size)?;
                clock.sample(&[&[&step]], state(size), SAMPLES, windows)?;
            }
        }
        Ok(())
    }

    /// What was measured, by name.
    pub(super) fn readings(&self, clock: &Clock<'_>) -> BTreeMap<String, SmallReading> {
        let reading = |name: &str, sizes: &[Windows; 2]| {
            let [few, many] = sizes.each_ref().map(|windows| clock.estimate(windows));
            let [few_items, many_items] = [0, 1].map(|size| items(name, size));
            let item_s = ((many.seconds - few.seconds) / (many_items - few_items)).max(0.0);
            let fixed_s = (few.seconds - few_items * item_s).max(0.0);
            SmallReading { fixed_s, item_s, spread: few.spread.max(many.spread) }
        };
        let all = NAMES.into_iter().zip(&self.windows);
        all.map(|(name, sizes)| (name.to_owned(), reading(name, sizes))).collect()
    }
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

    /// The small (0) or large (1) run.
    fn step(&self, gpu: &Gpu, name: &str, size: usize) -> Result<Step, GpuError> {
        let (width, vocab) = (WIDTHS[size], VOCABS[size]);
        let reduce = Variants::of(gpu).reduce;
        let state_slice = &self.states[size];
        match name {
            "norm" => {
                let norm = RmsNorm {
                    x: &self.x,
                    weight: &NormWeights { slice: self.x.clone(), unit: 1.0 },
                    y: &self.y,
                    state: state_slice,
                    cols: width,
                    eps: 1e-5,
                    of_logits: false,
                };
                rms_norm::step(gpu, "probe", reduce, norm)
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
                    tables: rope_kv::Tables { slice: &self.x, norms_at: 0, rope_at: 0 },
                    q: &self.y,
                    k_cache: &self.cache[0],
                    v_cache: &self.cache[1],
                    state: state_slice,
                    x_stride: width,
                    q_stride: width / 2,
                    eps: 1e-5,
                };
                rope_kv::step(gpu, "probe", variant, rope)
            }
            "glu" => {
                let (inter, both) = (width as u32, 2 * width as u32);
                let params = glu::Params { inter, x_stride: both, y_stride: inter };
                glu::step(gpu, "probe", Act::Silu, [&self.x, &self.y], params)
            }
            "embed" => embed::step(gpu, "probe", &self.embedding, &self.tokens, &self.y),
            "argmax" => {
                let params = argmax::Params { cols: vocab as u32, stride: vocab as u32 };
                argmax::step(gpu, 1, &self.x, &self.y, params)
            }
            _ => {
                let params = top_k::Params { cols: vocab as u32, k: TOP_K };
                top_k::step(gpu, &self.x, &self.y, params)
            }
        }
    }
}

/// Numbers written in the small (0) or large (1) run; where one is chosen, numbers read.
fn items(name: &str, size: usize) -> f64 {
    let tokens = state(size).n_tokens as usize;
    let items = match name {
        "argmax" | "top_k" => VOCABS[size],
        "embed" => tokens * WIDTHS[1],
        _ => tokens * WIDTHS[size],
    };
    items as f64
}

fn state(size: usize) -> State {
    State { n_tokens: [1, TOKENS as u32][size], ..State::default() }
}
