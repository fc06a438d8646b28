//! What the attention kernels have in common: geometry, reference; and bindings and checks of the one for prompts.

use crate::gpu::graph::{KvBytes, State};
use crate::gpu::{Access, Gpu, GpuError, Slice, Step};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::kv::KvType;

/// Shape of attention in a model, and of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Positions in the cache.
    pub context: usize,
    /// A token sees the last `window` positions, itself among them; 0: all.
    pub window: usize,
    /// Element type of the cache.
    pub kv: KvType,
}

impl Geometry {
    /// Query heads per KV head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The same with fewer heads, as many of them for each KV head.
    pub fn few_heads(self) -> Geometry {
        let kv_heads = self.kv_heads.min(2);
        Geometry { heads: self.group() * kv_heads, kv_heads, ..self }
    }

    /// 1/√head_dim (Vaswani et al. 2017, eq. 1).
    pub fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// What a token reads of K and V of one layer.
    pub fn kv_bytes(&self) -> KvBytes {
        let per_position = 2 * self.kv_heads as u64 * self.kv.row_bytes(self.head_dim) as u64;
        KvBytes { per_position, window: self.window as u32 }
    }

    /// Bytes of K (or V) of one layer.
    pub fn cache_bytes(&self) -> u64 {
        self.kv_heads as u64 * self.context as u64 * self.kv.row_bytes(self.head_dim) as u64
    }
}

/// The buffers of one attention step.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// [n_tokens, q_stride] f32: rotated queries, head after head.
    pub q: &'a Slice,
    /// [kv_heads, context, head_dim rounded up to 4], as [`kv`](crate::kernels::kv) says.
    pub k_cache: &'a Slice,
    /// As `k_cache`.
    pub v_cache: &'a Slice,
    /// [n_tokens, out_stride] f32.
    pub out: &'a Slice,
    /// [`State`].
    pub state: &'a Slice,
    /// Floats per row of q.
    pub q_stride: usize,
    /// Floats per row of out.
    pub out_stride: usize,
}

/// Bindings of the kernel for prompts.
pub const BINDINGS: &[(&str, Access)] = &[
    ("q", Access::Read),
    ("k_cache", Access::Read),
    ("v_cache", Access::Read),
    ("out", Access::Write),
    ("state", Access::Uniform),
];

impl<'a> Attention<'a> {
    /// The slices in the order of [`BINDINGS`].
    pub fn bindings(&self) -> [&'a Slice; 5] {
        [self.q, self.k_cache, self.v_cache, self.out, self.state]
    }
}

/// softmax(q · Kᵀ · scale) · V of one query head in f64, and per element the tolerance.
pub fn reference(q: &[f32], keys: &[&[f32]], values: &[&[f32]], scale: f32) -> Vec<Want> {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let scores: Vec<f64> = keys.iter().map(|k| dot(q, k) * f64::from(scale)).collect();
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    // An absolute error e of a score is a relative error e of its weight. Scores err by √d ulp of Σ|q k|,
    // exp by 3 + 2|x| ulp (WGSL §15.7.4).
    let reach = keys.iter().map(|k| {
        let magnitude: f64 = q.iter().zip(*k).map(|(a, b)| f64::from((a * b).abs())).sum();
        magnitude * f64::from(scale)
    });
    let ulp = f64::from(f32::EPSILON);
    let largest = reach.fold(0.0, f64::max);
    let relative =
        ulp * (16.0 + (2.0 * (q.len() as f64).sqrt() + 6.0) * largest + 2.0 * (keys.len() as f64).sqrt());
    (0..q.len())
        .map(|e| {
            let mut sums = [0.0f64; 2];
            for (w, v) in weights.iter().zip(values) {
                sums[0] += w / total * f64::from(v[e]);
                sums[1] += w / total * f64::from(v[e].abs());
            }
            Want::Near { value: sums[0], tolerance: relative * sums[1] + 1e-30 }
        })
        .collect()
}

/// Geometries worth testing: groups 1 to 9, odd head widths, every cache type.
pub fn geometries() -> Vec<Geometry> {
    let mut all = Vec::new();
    for kv in KvType::ALL {
        for (heads, kv_heads, head_dim) in
            [(8, 4, 8), (4, 4, 32), (9, 3, 64), (16, 2, 128), (2, 1, 80), (9, 1, 6), (2, 2, 256), (1, 1, 2)]
        {
            all.push(Geometry { heads, kv_heads, head_dim, context: 260, window: 0, kv });
        }
    }
    all
}

/// Which tokens a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// `n` tokens of sequence 1 of 2 from position `pos`.
    Run {
        /// Position of the first.
        pos: usize,
        /// How many.
        n: usize,
    },
    /// One token of each of as many sequences, at these positions.
    Each(&'static [usize]),
}

impl std::fmt::Display for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Tokens::Run { pos, n: 1 } => write!(f, "1 token at {pos}"),
            Tokens::Run { pos, n } => write!(f, "{n} tokens from {pos}"),
            Tokens::Each(positions) => {
                write!(f, "{} sequences", positions.len())?;
                for (i, pos) in positions.iter().enumerate() {
                    write!(f, "{} {pos}", if i == 0 { " at" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

/// `, window 70, values × 4` of a check's name: what is not as usual.
pub(super) fn unusual(window: usize, size: f32) -> String {
    let window = if window > 0 { format!(", window {window}") } else { String::new() };
    let size = if size == 1.0 { String::new() } else { format!(", values × {size}") };
    window + &size
}

impl Tokens {
    /// How many.
    pub fn count(self) -> usize {
        match self {
            Tokens::Run { n, .. } => n,
            Tokens::Each(positions) => positions.len(),
        }
    }

    /// Sequences in the cache.
    pub fn sequences(self) -> usize {
        match self {
            Tokens::Run { .. } => 2,
            Tokens::Each(positions) => positions.len(),
        }
    }

    /// (sequence, position) of a token.
    pub fn place(self, token: usize) -> (usize, usize) {
        match self {
            Tokens::Run { pos, .. } => (1, pos + token),
            Tokens::Each(positions) => (token, positions[token]),
        }
    }

    /// Positions of `sequence` that a cache may be read at: below this.
    fn filled(self, sequence: usize) -> usize {
        (0..self.count())
            .map(|t| self.place(t))
            .filter(|(s, _)| *s == sequence)
            .map(|(_, p)| p + 1)
            .max()
            .unwrap_or(0)
    }

    /// The state of a run with these tokens.
    pub fn state(self) -> State {
        let n_tokens = self.count() as u32;
        match self {
            Tokens::Run { pos, .. } => State { pos: pos as u32, n_tokens, sequence: 1, ..State::default() },
            Tokens::Each(at) => {
                let mut state = State { n_tokens, sequence: State::EACH, ..State::default() };
                state.positions.iter_mut().zip(at).for_each(|(to, pos)| *to = *pos as u32);
                state
            }
        }
    }
}

/// A check of `step` over caches filled with seeded numbers.
pub fn check(
    kernel: &'static str,
    class: String,
    geometry: Geometry,
    tokens: Tokens,
    size: f32,
    step: impl Fn(&Gpu, Attention<'_>) -> Result<Step, GpuError> + Send + Sync + 'static,
) -> Check {
    let Geometry { heads, kv_heads, head_dim, window, kv, .. } = geometry;
    let unusual = unusual(window, size);
    let label = format!("heads {heads}/{kv_heads} of {head_dim}, {} cache, {tokens}{unusual}", kv.name());
    let n = tokens.count();
    Check::new(kernel, class, label, move |gpu| {
        let (q_stride, out_stride) = (heads * head_dim + 3, heads * head_dim + 7);
        let row = head_dim.next_multiple_of(4);
        let scaled = |seed, n| check::uniform(seed, n).into_iter().map(move |v| v * size);
        let q: Vec<f32> = scaled(41, n * q_stride).collect();
        let cache = |seed| -> Vec<f32> {
            let mut cache: Vec<f32> =
                scaled(seed, tokens.sequences() * kv_heads * geometry.context * row).collect();
            for position in cache.chunks_exact_mut(row) {
                position[head_dim..].fill(0.0);
                position.copy_from_slice(&kv.round(position));
            }
            // Positions that no token may see hold NaN: looking at them shows.
            for (i, head) in cache.chunks_exact_mut(geometry.context * row).enumerate() {
                head[tokens.filled(i / kv_heads) * row..].fill(f32::NAN);
            }
            cache
        };
        let (k, v) = (cache(43), cache(47));
        let q_slice = check::floats(gpu, &q)?;
        let k_cache = gpu.upload("check k", &kv.encode(&k, row, geometry.context))?;
        let v_cache = gpu.upload("check v", &kv.encode(&v, row, geometry.context))?;
        let out = check::marked(gpu, n * out_stride)?;
        let state = tokens.state();
        let state_slice = check::state(gpu, state)?;
        let attention = Attention {
            q: &q_slice,
            k_cache: &k_cache,
            v_cache: &v_cache,
            out: &out,
            state: &state_slice,
            q_stride,
            out_stride,
        };
        let got = check::finish(gpu, step(gpu, attention)?, state, &out)?;
        let mut want = vec![Want::Untouched; n * out_stride];
        for token in 0..n {
            for head in 0..heads {
                let kv_head = head / geometry.group();
                let (sequence, last) = tokens.place(token);
                let first = if window > 0 { (last + 1).saturating_sub(window) } else { 0 };
                let at = |cache: &'_ [f32], p: usize| {
                    let from = ((sequence * kv_heads + kv_head) * geometry.context + p) * row;
                    cache[from..from + head_dim].to_vec()
                };
                let keys: Vec<Vec<f32>> = (first..=last).map(|p| at(&k, p)).collect();
                let values: Vec<Vec<f32>> = (first..=last).map(|p| at(&v, p)).collect();
                let keys: Vec<&[f32]> = keys.iter().map(Vec::as_slice).collect();
                let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
                let query = &q[token * q_stride + head * head_dim..][..head_dim];
                let result = reference(query, &keys, &values, geometry.scale());
                want[token * out_stride + head * head_dim..][..head_dim].copy_from_slice(&result);
            }
        }
        Ok((got, want))
    })
}
