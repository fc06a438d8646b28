//! How fast attention reads the KV cache, for one sequence and for several, and in prompts.

use super::SAMPLES;
use super::clock::{Clock, Windows};
use crate::gpu::graph::{Split, State};
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::attention::{Attention, Geometry};
use crate::kernels::fill::{Mask, Pattern};
use crate::kernels::variants::{MOST_SPLITS, Variants};
use crate::kernels::{attend_decode, attend_merge, attend_prefill, check, random, rope_kv};
use crate::plan::profile::{AttentionReading, Heads};

/// Positions of the longer and the shorter cache.
const LONG: usize = 1024;
const SHORT: usize = 256;
/// Sequences read together.
const MANY: usize = 8;
/// K and V to rotate through.
const ROTATE_BYTES: u64 = 96 << 20;
/// Tokens of a prompt's chunk.
const TOKENS: usize = 64;

/// `n` sequences whose last position is the last of so many.
pub(super) fn each(n: usize, positions: usize) -> State {
    State {
        n_tokens: n as u32,
        sequence: State::EACH,
        positions: [positions as u32 - 1; State::MAX_SEQUENCES],
        ..State::default()
    }
}

/// Buffers for attention of one shape, with caches of several layers.
pub(super) struct Space {
    geometry: Geometry,
    pub(super) caches: Vec<[Slice; 2]>,
    qkv: Slice,
    rope: Slice,
    out: Slice,
    partial_at: usize,
}

impl Space {
    pub(super) fn new(gpu: &Gpu, geometry: Geometry, layers: usize) -> Result<Space, GpuError> {
        let mask = Mask::of_cache(geometry.kv);
        let cache = |seed: usize| -> Result<Slice, GpuError> {
            let slice = gpu.buffer("probe cache", MANY as u64 * geometry.cache_bytes())?;
            random::fill_words(gpu, &slice, &Pattern::plain(mask), seed as u32)?;
            Ok(slice)
        };
        let Geometry { heads, head_dim, context, .. } = geometry;
        let partial_at = TOKENS * heads * head_dim;
        let partial = MANY * MOST_SPLITS as usize * heads * attend_merge::partial_floats(head_dim);
        Ok(Space {
            geometry,
            caches: (0..layers)
                .map(|i| Ok([cache(2 * i)?, cache(2 * i + 1)?]))
                .collect::<Result<_, GpuError>>()?,
            qkv: check::floats(gpu, &check::uniform(41, TOKENS * x_stride(geometry)))?,
            rope: check::floats(gpu, &check::uniform(43, context * head_dim))?,
            out: gpu.buffer("probe output", (partial_at + partial) as u64 * 4)?,
            partial_at,
        })
    }

    /// A chunk of a prompt in one layer.
    fn prompt(&self, gpu: &Gpu, layer: usize, state: &Slice) -> Result<Step, GpuError> {
        let [k_cache, v_cache] = &self.caches[layer];
        let stride = self.geometry.heads * self.geometry.head_dim;
        let attention = Attention {
            q: &self.qkv,
            k_cache,
            v_cache,
            out: &self.out,
            state,
            q_stride: stride,
            out_stride: stride,
        };
        attend_prefill::step(gpu, "probe", self.geometry, attention)
    }

    /// Decoding in one layer.
    pub(super) fn decode(
        &self,
        gpu: &Gpu,
        layer: usize,
        split: Split,
        state: &Slice,
    ) -> Result<Vec<Step>, GpuError> {
        let [k_cache, v_cache] = &self.caches[layer];
        let Variants { reduce, attention_subgroup: subgroup, .. } = Variants::of(gpu);
        let geometry = self.geometry;
        let rotary = geometry.head_dim / 2 * 2;
        let rope = rope_kv::Variant { geometry, rotary, interleaved: false, qk_norm: false, reduce };
        let decode = attend_decode::Decode {
            qkv: &self.qkv,
            tables: rope_kv::Tables { slice: &self.rope, norms_at: 0, rope_at: 0 },
            k_cache,
            v_cache,
            out: &self.out,
            state,
            x_stride: x_stride(geometry),
            out_stride: geometry.heads * geometry.head_dim,
            partial_at: self.partial_at,
            eps: 1e-5,
        };
        attend_decode::steps(gpu, "probe", attend_decode::Variant { rope, subgroup }, split, decode)
    }
}

/// Floats of q, k and v of a token.
fn x_stride(geometry: Geometry) -> usize {
    (geometry.heads + 2 * geometry.kv_heads) * geometry.head_dim
}

/// Attention of one shape, measured in rounds.
pub(super) struct Subject {
    heads: Heads,
    /// Decoding one sequence at SHORT and LONG, MANY sequences at both; the first and the last chunk of a prompt of LONG
    /// tokens.
    windows: [Windows; 6],
}

impl Subject {
    pub(super) fn new(heads: Heads) -> Subject {
        Subject { heads, windows: Default::default() }
    }

    fn geometry(&self) -> Geometry {
        let Heads { heads, kv_heads, head_dim, kv } = self.heads;
        Geometry { heads, kv_heads, head_dim, context: LONG, window: 0, kv }
    }

    /// Bytes of K, as of V.
    fn cache_bytes(&self) -> u64 {
        MANY as u64 * self.geometry().cache_bytes()
    }

    /// As many caches as a model has layers, within reason: one alone would stay in the adapter's caches.
    fn layers(&self) -> usize {
        (ROTATE_BYTES / (2 * self.cache_bytes()).max(1)).clamp(1, 16) as usize
    }

    /// One round of samples.
    pub(super) fn sample(&mut self, gpu: &Gpu, clock: &Clock<'_>) -> Result<(), GpuError> {
        let space = Space::new(gpu, self.geometry(), self.layers())?;
        let split = Variants::of(gpu).split(self.heads.kv_heads);
        let sample = |windows: &mut Windows, state: State, prompt: bool| -> Result<(), GpuError> {
            let state_slice = check::state(gpu, state)?;
            // A chunk of a prompt reads every position many times: there one cache will do.
            let layers = if prompt { 0..1 } else { 0..space.caches.len() };
            let steps = |layer| match prompt {
                true => Ok(vec![space.prompt(gpu, layer, &state_slice)?]),
                false => space.decode(gpu, layer, split, &state_slice),
            };
            let steps: Vec<Vec<Step>> = layers.map(steps).collect::<Result<_, GpuError>>()?;
            let layers: Vec<Vec<&Step>> = steps.iter().map(|layer| layer.iter().collect()).collect();
            let units: Vec<&[&Step]> = layers.iter().map(|layer| &layer[..]).collect();
            clock.sample(&units, state, SAMPLES, windows)
        };
        let run = |pos: usize| State { pos: pos as u32, n_tokens: TOKENS as u32, ..State::default() };
        let [one_short, one_long, many_short, many_long, first, last] = &mut self.windows;
        sample(one_short, each(1, SHORT), false)?;
        sample(one_long, each(1, LONG), false)?;
        sample(many_short, each(MANY, SHORT), false)?;
        sample(many_long, each(MANY, LONG), false)?;
        sample(first, run(0), true)?;
        sample(last, run(LONG - TOKENS), true)
    }

    /// Was the machine calm for long enough?
    pub(super) fn settled(&self, clock: &Clock<'_>) -> bool {
        self.windows.iter().all(|windows| clock.settled(windows))
    }

    /// The terms that these seconds are made of.
    pub(super) fn reading(&self, clock: &Clock<'_>) -> AttentionReading {
        let measured = self.windows.each_ref().map(|windows| clock.estimate(windows));
        let [one_short, one_long, many_short, many_long, first, last] = measured.map(|m| m.seconds);
        // Slopes over positions: α + κ for one sequence, α + MANY·κ for many.
        let (span, more) = ((LONG - SHORT) as f64, (MANY - 1) as f64);
        let one = ((one_long - one_short) / span).max(1e-12);
        let many = ((many_long - many_short) / span).max(one * 0.1);
        let per_sequence = ((many - one) / more).clamp(many / (2 * MANY) as f64, many / MANY as f64);
        let sequence_s = ((many_short - one_short) / more - SHORT as f64 * per_sequence).max(0.0);
        let pairs = |pos: usize| TOKENS as f64 * (pos as f64 + TOKENS as f64 / 2.0);
        let pair_s = ((last - first) / (pairs(LONG - TOKENS) - pairs(0))).max(1e-15);
        AttentionReading {
            heads: self.heads,
            fixed_s: (one_short - sequence_s - SHORT as f64 * one).max(0.0),
            sequence_s,
            position_s: (one - per_sequence).max(0.0),
            kv_bytes_s: self.heads.position_bytes() / per_sequence,
            prompt_fixed_s: (first - pairs(0) * pair_s).max(0.0),
            prompt_pair_s: pair_s,
            spread: measured.iter().map(|m| m.spread).fold(0.0, f64::max),
        }
    }
}
