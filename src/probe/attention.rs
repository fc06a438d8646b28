//! How fast attention reads the KV cache, for one sequence and for several, and in prompts.

use super::SAMPLES;
use super::clock::{Clock, Windows};
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::attention::{Attention, Geometry};
use crate::kernels::fill::{Mask, Pattern};
use crate::kernels::variants::Variants;
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
        let geometry = self.geometry();
        let mask = Mask::of_cache(geometry.kv);
        let cache = |seed: usize| -> Result<Slice, GpuError> {
            let slice = gpu.buffer("probe cache", self.cache_bytes())?;
            random::fill_words(gpu, &slice, &Pattern::plain(mask), seed as u32)?;
            Ok(slice)
        };
        let caches = (0..self.layers())
            .map(|i| Ok([cache(2 * i)?, cache(2 * i + 1)?]))
            .collect::<Result<Vec<_>, GpuError>>()?;
        let stride = geometry.heads * geometry.head_dim;
        let x_stride = stride + 2 * geometry.kv_heads * geometry.head_dim;
        let qkv = check::floats(gpu, &check::uniform(41, TOKENS * x_stride))?;
        let rope = check::floats(gpu, &check::uniform(43, LONG * geometry.head_dim))?;
        let out = gpu.buffer("probe output", (TOKENS * stride) as u64 * 4)?;
        let variants = Variants::of(gpu);
        let parts = MANY * variants.split.splits as usize * geometry.heads;
        let partial =
            gpu.buffer("probe parts", (parts * attend_merge::partial_floats(geometry.head_dim)) as u64 * 4)?;
        let rotation = rope_kv::Variant {
            geometry,
            rotary: geometry.head_dim / 2 * 2,
            interleaved: false,
            qk_norm: false,
            reduce: variants.reduce,
        };
        let sample = |windows: &mut Windows, state: State, prompt: bool| -> Result<(), GpuError> {
            let state_slice = check::state(gpu, state)?;
            let steps = |[k_cache, v_cache]: &[Slice; 2]| {
                if prompt {
                    let attention = Attention {
                        q: &qkv,
                        k_cache,
                        v_cache,
                        out: &out,
                        state: &state_slice,
                        q_stride: stride,
                        out_stride: stride,
                    };
                    return Ok(vec![attend_prefill::step(gpu, "probe", geometry, attention)?]);
                }
                let variant = attend_decode::Variant { rope: rotation, broadcast: variants.broadcast };
                let decode = attend_decode::Decode {
                    qkv: &qkv,
                    norms: &gpu.empty(),
                    rope: &rope,
                    k_cache,
                    v_cache,
                    out: &out,
                    partial: &partial,
                    state: &state_slice,
                    x_stride,
                    out_stride: stride,
                    eps: 1e-5,
                };
                attend_decode::steps(gpu, "probe", variant, variants.split, decode)
            };
            // A chunk of a prompt reads every position many times: there one cache will do.
            let used = if prompt { &caches[..1] } else { &caches[..] };
            let steps: Vec<Vec<Step>> = used.iter().map(steps).collect::<Result<_, GpuError>>()?;
            let layers: Vec<Vec<&Step>> = steps.iter().map(|layer| layer.iter().collect()).collect();
            let units: Vec<&[&Step]> = layers.iter().map(|layer| &layer[..]).collect();
            clock.sample(&units, state, SAMPLES, windows)
        };
        let each = |n: usize, positions: usize| State {
            n_tokens: n as u32,
            sequence: State::EACH,
            positions: [positions as u32 - 1; State::MAX_SEQUENCES],
            ..State::default()
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
