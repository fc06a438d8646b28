//! How fast attention reads the KV cache, for one sequence and for several, and in prompts.

use super::clock::Clock;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice};
use crate::kernels::attention::{Attention, Geometry};
use crate::kernels::fill::{Mask, Pattern};
use crate::kernels::kv::KvType;
use crate::kernels::variants::Variants;
use crate::kernels::{attend_decode, attend_prefill, check, random};
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

pub(super) fn measure(gpu: &Gpu, clock: &Clock<'_>, heads: Heads) -> Result<Seconds, GpuError> {
    let kv = if heads.kv_bytes == 4 { KvType::F32 } else { KvType::F16 };
    let geometry = Geometry {
        heads: heads.heads,
        kv_heads: heads.kv_heads,
        head_dim: heads.head_dim,
        context: LONG,
        window: 0,
        kv,
    };
    let mask = if kv == KvType::F16 { Mask::F16 } else { Mask::F32 };
    // As many caches as a model has layers, within reason: one alone would stay in the adapter's caches.
    let layers = (ROTATE_BYTES / (2 * MANY as u64 * geometry.cache_bytes()).max(1)).clamp(1, 16) as u32;
    let cache = |seed: u32| -> Result<Slice, GpuError> {
        let slice = gpu.buffer("probe cache", MANY as u64 * geometry.cache_bytes())?;
        random::fill_words(gpu, &slice, &Pattern::plain(mask), seed)?;
        Ok(slice)
    };
    let stride = heads.heads * heads.head_dim;
    let caches =
        (0..layers).map(|i| Ok([cache(2 * i)?, cache(2 * i + 1)?])).collect::<Result<Vec<_>, GpuError>>()?;
    let q = check::floats(gpu, &check::uniform(41, TOKENS * stride))?;
    let out = gpu.buffer("probe output", (TOKENS * stride) as u64 * 4)?;
    let mut spread = 0.0f64;
    let mut seconds = |state: State, prompt: bool| -> Result<f64, GpuError> {
        let state_slice = check::state(gpu, state)?;
        let step = |[k_cache, v_cache]: &[Slice; 2]| {
            let attention = Attention {
                q: &q,
                k_cache,
                v_cache,
                out: &out,
                state: &state_slice,
                q_stride: stride,
                out_stride: stride,
            };
            match prompt {
                true => attend_prefill::step(gpu, "probe", geometry, attention),
                false => attend_decode::step(gpu, "probe", geometry, Variants::of(gpu).reduce, attention),
            }
        };
        // A chunk of a prompt reads every position many times: there one cache will do.
        let used = if prompt { &caches[..1] } else { &caches[..] };
        let steps = used.iter().map(step).collect::<Result<Vec<_>, GpuError>>()?;
        let measured = clock.slope(&steps, state)?;
        spread = spread.max(measured.spread);
        Ok(measured.seconds / steps.len() as f64)
    };
    let each = |n: usize, positions: usize| State {
        n_tokens: n as u32,
        sequence: State::EACH,
        positions: [positions as u32 - 1; State::MAX_SEQUENCES],
        ..State::default()
    };
    let run = |pos: usize| State { pos: pos as u32, n_tokens: TOKENS as u32, ..State::default() };
    let all = [
        seconds(each(1, SHORT), false)?,
        seconds(each(1, LONG), false)?,
        seconds(each(MANY, SHORT), false)?,
        seconds(each(MANY, LONG), false)?,
        seconds(run(0), true)?,
        seconds(run(LONG - TOKENS), true)?,
    ];
    Ok(Seconds { all, spread })
}

/// Seconds of one dispatch: decoding one sequence at SHORT and LONG, MANY sequences at both; the first and the last
/// chunk of a prompt of LONG tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds {
    all: [f64; 6],
    spread: f64,
}

impl Default for Seconds {
    fn default() -> Seconds {
        Seconds { all: [f64::INFINITY; 6], spread: 0.0 }
    }
}

impl Seconds {
    /// Keeps the faster of each.
    pub(super) fn take_faster(&mut self, other: Seconds) {
        self.all.iter_mut().zip(other.all).for_each(|(mine, theirs)| *mine = mine.min(theirs));
        self.spread = self.spread.max(other.spread);
    }

    /// The terms that these seconds are made of.
    pub(super) fn reading(&self, heads: Heads) -> AttentionReading {
        let [one_short, one_long, many_short, many_long, first, last] = self.all;
        // Slopes over positions: α + κ for one sequence, α + MANY·κ for many.
        let (span, more) = ((LONG - SHORT) as f64, (MANY - 1) as f64);
        let one = ((one_long - one_short) / span).max(1e-12);
        let many = ((many_long - many_short) / span).max(one * 0.1);
        let per_sequence = ((many - one) / more).clamp(many / (2 * MANY) as f64, many / MANY as f64);
        let sequence_s = ((many_short - one_short) / more - SHORT as f64 * per_sequence).max(0.0);
        let pairs = |pos: usize| TOKENS as f64 * (pos as f64 + TOKENS as f64 / 2.0);
        let pair_s = ((last - first) / (pairs(LONG - TOKENS) - pairs(0))).max(1e-15);
        AttentionReading {
            heads,
            fixed_s: (one_short - sequence_s - SHORT as f64 * one).max(0.0),
            sequence_s,
            position_s: (one - per_sequence).max(0.0),
            kv_bytes_s: heads.position_bytes() / per_sequence,
            prompt_fixed_s: (first - pairs(0) * pair_s).max(0.0),
            prompt_pair_s: pair_s,
            spread: self.spread,
        }
    }
}
