//! A machine's constants for one model: what the cost [`form`](super::form) needs, from a measured profile or from a
//! data sheet. The dispatches counted here are those of the engine's forward pass (`tests/planner_engine.rs`).

use serde::{Deserialize, Serialize};

use crate::base::{DType, KvType};
use crate::model::ModelSpec;
use crate::plan::PlanError;
use crate::plan::form::{Constants, Work};
use crate::plan::hardware::Hardware;
use crate::plan::profile::{AttentionReading, CACHED_BYTES, Heads, MatrixReading, Profile};
use crate::plan::weights::{Matrices, Matrix};

/// Tokens of a prompt that machines known by data sheets take at once, when nothing else is asked for.
pub const SPEC_CHUNK: usize = 2048;

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    /// Measured on an adapter.
    Measured(Box<Profile>),
    /// Known by its data sheet.
    Spec(Hardware),
}

/// One model in one quantization, as the machine sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Load<'a> {
    /// The model.
    pub spec: &'a ModelSpec,
    /// Its matrices.
    pub matrices: &'a Matrices,
    /// Element type of the KV cache.
    pub kv: KvType,
    /// Tokens of a prompt at once.
    pub chunk: usize,
}

impl Load<'_> {
    /// Shape of attention.
    pub fn heads(&self) -> Heads {
        Heads {
            heads: self.spec.n_heads,
            kv_heads: self.spec.n_kv_heads,
            head_dim: self.spec.head_dim,
            kv: self.kv,
        }
    }

    /// Do the weights stay in caches?
    pub fn is_cached(&self) -> bool {
        self.matrices.active_bytes() <= CACHED_BYTES
    }

    /// Bytes of K and V that a token at `position` reads, by layers with and without a window.
    pub fn kv_read(&self, position: usize) -> f64 {
        let per_layer = self.heads().position_bytes();
        (0..self.spec.n_layers).map(|i| per_layer * self.seen(i, position) as f64).sum()
    }

    /// Positions that a token at `position` sees in layer `i`, itself among them.
    fn seen(&self, i: usize, position: usize) -> usize {
        (position + 1).min(self.spec.window_of(i).unwrap_or(usize::MAX))
    }

    /// Positions seen, summed over the layers.
    fn seen_in_all(&self, position: usize) -> f64 {
        (0..self.spec.n_layers).map(|i| self.seen(i, position) as f64).sum()
    }

    /// Additions and multiplications of attention for a token that sees `positions` summed over the layers.
    fn attention_ops(&self, positions: f64) -> f64 {
        4.0 * (self.spec.n_heads * self.spec.head_dim) as f64 * positions
    }
}

/// Seconds that matrices take: what is paid per dispatch, and what is paid per row and byte.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    dispatches: f64,
    fixed_s: f64,
    variable_s: f64,
}

impl Cost {
    /// So many dispatches.
    fn add(&mut self, dispatches: f64, fixed_s: f64) {
        self.dispatches += dispatches;
        self.fixed_s += dispatches * fixed_s;
    }

    /// A matrix, so many times.
    fn add_matrix(&mut self, times: f64, profile: &Profile, matrix: &Matrix, price: Price) {
        self.add(times * parts(profile, matrix), price.fixed_s);
        let bytes = matrix.bytes().unwrap_or(0) as f64;
        self.variable_s += times * (bytes * price.byte_s + matrix.rows as f64 * price.row_s);
    }
}

/// What a matrix kernel costs, in seconds: per dispatch, row and byte.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Price {
    fixed_s: f64,
    row_s: f64,
    byte_s: f64,
}

impl Price {
    fn of(m: &MatrixReading) -> Price {
        Price { fixed_s: m.fixed_s, row_s: m.row_s, byte_s: 1.0 / m.bytes_s.value }
    }

    /// As many passes over the weights.
    fn times(self, passes: f64) -> Price {
        Price { row_s: passes * self.row_s, byte_s: passes * self.byte_s, ..self }
    }

    /// Between two, `share` of the way.
    fn towards(self, other: Price, share: f64) -> Price {
        let mix = |a: f64, b: f64| a + share * (b - a);
        Price {
            fixed_s: mix(self.fixed_s, other.fixed_s),
            row_s: mix(self.row_s, other.row_s),
            byte_s: mix(self.byte_s, other.byte_s),
        }
    }
}

impl Machine {
    /// For people.
    pub fn name(&self) -> String {
        match self {
            Machine::Measured(profile) => profile.adapter.id(),
            Machine::Spec(hardware) if hardware.count > 1 => {
                format!("{} × {}", hardware.count, hardware.name)
            }
            Machine::Spec(hardware) => hardware.name.clone(),
        }
    }

    /// Bytes per second read at best: the denominator of the speed of light.
    pub fn read_bytes_s(&self) -> f64 {
        match self {
            Machine::Measured(profile) => profile.read_bytes_s.value,
            Machine::Spec(hardware) => hardware.bandwidth_bytes_s,
        }
    }

    /// Bytes per second at which `bytes` are read again and again at best: as [`Machine::read_bytes_s`], or
    /// faster where caches were found to hold as much.
    pub fn read_bytes_s_of(&self, bytes: f64) -> f64 {
        let Machine::Measured(profile) = self else { return self.read_bytes_s() };
        let held = profile.read.iter().filter(|sized| sized.bytes as f64 >= bytes);
        held.map(|sized| sized.bytes_s.value).fold(self.read_bytes_s(), f64::max)
    }

    /// Operations per second at best: f16 where it is faster than f32.
    pub fn ops_s(&self) -> f64 {
        match self {
            Machine::Measured(profile) => {
                let rates = ["f32", "f16"].into_iter().filter_map(|name| profile.arithmetic_ops_s.get(name));
                rates.map(|rate| rate.value).fold(f64::NAN, f64::max)
            }
            Machine::Spec(hardware) => hardware.ops_s,
        }
    }

    /// Counts and constants of one decode step of `batch` sequences at `position`.
    pub fn decode(
        &self,
        load: &Load<'_>,
        batch: usize,
        position: usize,
    ) -> Result<(Work, Constants), PlanError> {
        let seen = load.seen_in_all(position);
        let mut work = Work {
            weight_bytes: load.matrices.active_bytes() as f64,
            ops: batch as f64 * (load.matrices.ops() as f64 + load.attention_ops(seen)),
            positions: seen,
            kv_bytes: batch as f64 * load.kv_read(position),
            dispatches: 0.0,
            small_s: 0.0,
        };
        let profile = match self {
            Machine::Spec(hardware) => {
                work.dispatches = decode_dispatches(load);
                return Ok((work, hardware.constants()));
            }
            Machine::Measured(profile) => profile,
        };
        let mut cost = Cost::default();
        for matrix in load.matrices.active() {
            cost.add_matrix(1.0, profile, matrix, matvec(profile, load, matrix.dtype, batch as u32)?);
        }
        let gates = gates_apart(profile, load);
        let attention = attention(profile, load.heads())?;
        let layers = load.spec.n_layers as f64;
        cost.add(layers, attention.fixed_s);
        let matrices_s = cost.variable_s;
        work.small_s =
            small_steps(profile, &body_steps(load.spec, batch, [0.0, 0.0, gates]), 1.0, &mut cost)?;
        work.small_s += small_steps(profile, &head_steps(load.spec, batch), 1.0, &mut cost)?;
        work.small_s += layers * batch as f64 * attention.sequence_s;
        work.dispatches = cost.dispatches;
        Ok((work, constants(profile, &work, cost, matrices_s, &attention)))
    }

    /// Counts and constants of the prompt of one sequence: `tokens` tokens from position `start` on, in chunks, and the
    /// choice of the first token of the answer.
    pub fn prompt(
        &self,
        load: &Load<'_>,
        start: usize,
        tokens: usize,
    ) -> Result<(Work, Constants), PlanError> {
        let tokens = tokens.max(1);
        // What a token sees grows evenly, up to a window: the mean of three places is close enough.
        let ends = [start, start + tokens / 2, start + tokens - 1].map(|at| load.seen_in_all(at));
        let pairs = tokens as f64 * (ends[0] + 2.0 * ends[1] + ends[2]) / 4.0;
        let chunk = load.chunk.max(1);
        let ops = tokens as f64 * load.matrices.ops() as f64 + load.attention_ops(pairs);
        let bytes = load.matrices.active_bytes() as f64;
        let mut work =
            Work { weight_bytes: bytes, ops, positions: 0.0, kv_bytes: 0.0, dispatches: 0.0, small_s: 0.0 };
        let profile = match self {
            Machine::Spec(hardware) => {
                let chunks = tokens.div_ceil(chunk) as f64;
                work.weight_bytes *= chunks;
                work.dispatches = chunks * prompt_dispatches(load);
                return Ok((work, hardware.constants()));
            }
            Machine::Measured(profile) => profile,
        };
        let attention = attention(profile, load.heads())?;
        let mut cost = Cost::default();
        let mut chunks = 0.0;
        let mut left = tokens;
        while left > 0 {
            let n = left.min(chunk);
            // Whole chunks all cost the same.
            let times = if n == chunk { (left / chunk) as f64 } else { 1.0 };
            for matrix in &load.matrices.layers {
                let price = match n {
                    1 => matvec(profile, load, matrix.dtype, 1)?,
                    _ => matmul(profile, load, matrix.dtype, n as u32)?,
                };
                cost.add_matrix(times, profile, matrix, price);
            }
            let fixed_s = if n == 1 { attention.fixed_s } else { attention.prompt_fixed_s };
            cost.add(times * load.spec.n_layers as f64, fixed_s);
            let layers = load.spec.n_layers as f64;
            // One token goes the way of decoding.
            let counts =
                if n == 1 { [0.0, 0.0, gates_apart(profile, load)] } else { [2.0 * layers, layers, layers] };
            let steps = body_steps(load.spec, n, counts);
            work.small_s += small_steps(profile, &steps, times, &mut cost)?;
            chunks += times;
            left -= if n == chunk { left / chunk * chunk } else { n };
        }
        work.small_s += small_steps(profile, &head_steps(load.spec, 1), 1.0, &mut cost)?;
        let output = &load.matrices.output;
        cost.add_matrix(1.0, profile, output, matvec(profile, load, output.dtype, 1)?);
        work.weight_bytes =
            chunks * (bytes - output.bytes().unwrap_or(0) as f64) + output.bytes().unwrap_or(0) as f64;
        let matrices_s = cost.variable_s;
        // Attention of a prompt is priced per pair: it belongs to no rate of the form.
        work.small_s += pairs * attention.prompt_pair_s;
        work.dispatches = cost.dispatches;
        let mut constants = constants(profile, &work, cost, matrices_s, &attention);
        constants.fixed_s *= chunks;
        Ok((work, constants))
    }
}

/// Constants under which the form gives the measured seconds: bytes at the adapter's read rate, and whatever
/// arithmetic rate explains the rest of the matrices' time.
fn constants(
    profile: &Profile,
    work: &Work,
    cost: Cost,
    matrices_s: f64,
    attention: &AttentionReading,
) -> Constants {
    let at_read_rate = work.weight_bytes / profile.read_bytes_s.value;
    let (weight_bytes_s, ops_s) = match matrices_s > at_read_rate {
        true => (profile.read_bytes_s.value, work.ops / (matrices_s.powi(2) - at_read_rate.powi(2)).sqrt()),
        // Caches may make matrices faster than the memory behind them.
        false => (work.weight_bytes / matrices_s.max(1e-12), f64::INFINITY),
    };
    Constants {
        fixed_s: profile.submit_s.value,
        dispatch_s: cost.fixed_s / cost.dispatches.max(1.0) + profile.record_s,
        weight_bytes_s,
        ops_s,
        position_s: attention.position_s,
        kv_bytes_s: attention.kv_bytes_s,
    }
}

/// Dispatches of one decode step: embedding; per layer attention and the matrices; output, choice. Norms, rotation and
/// activations are done on the way, but for activations whose gate and up are apart. Over a long context attention is
/// split, and takes another one per layer to join, which its price per position contains.
pub fn decode_dispatches(load: &Load<'_>) -> f64 {
    let layers = load.spec.n_layers;
    let together = load.matrices.layers.iter().filter(|m| m.gated).count();
    (1 + layers + load.matrices.layers.len() + (layers - together) + 2) as f64
}

/// Dispatches of a chunk of a prompt and the logits after it: as [`decode_dispatches`], with all norms and activations.
pub fn prompt_dispatches(load: &Load<'_>) -> f64 {
    (1 + 5 * load.spec.n_layers + load.matrices.layers.len() + 2) as f64
}

/// Dispatches for a matrix: one per part that the adapter can bind.
fn parts(profile: &Profile, matrix: &Matrix) -> f64 {
    let limit = profile.adapter.max_binding_bytes.min(profile.adapter.max_buffer_bytes).max(1);
    matrix.bytes().unwrap_or(0).div_ceil(limit).max(1) as f64
}

/// Small steps by name: (times per run, items each).
type Small = [(&'static str, f64, usize)];

/// Those between the matrices, for `tokens` tokens: so many norms, rotations and activations.
fn body_steps(
    spec: &ModelSpec,
    tokens: usize,
    [norms, rotations, gates]: [f64; 3],
) -> [(&'static str, f64, usize); 4] {
    let qkv = (spec.n_heads + 2 * spec.n_kv_heads) * spec.head_dim;
    [
        ("embed", 1.0, tokens * spec.hidden),
        ("norm", norms, tokens * spec.hidden),
        ("rope", rotations, tokens * qkv),
        ("glu", gates, tokens * spec.intermediate),
    ]
}

/// Activations that decoding does in steps of their own: where gate and up are not one matrix in one part.
fn gates_apart(profile: &Profile, load: &Load<'_>) -> f64 {
    let together = load.matrices.layers.iter().filter(|m| m.gated && parts(profile, m) == 1.0);
    (load.spec.n_layers - together.count()) as f64
}

/// Those behind the output matrix, for `rows` rows of logits.
fn head_steps(spec: &ModelSpec, rows: usize) -> [(&'static str, f64, usize); 1] {
    [("argmax", 1.0, rows * spec.vocab)]
}

/// Seconds of the items of small steps of `runs` runs; their dispatches are added to `cost`.
fn small_steps(profile: &Profile, steps: &Small, runs: f64, cost: &mut Cost) -> Result<f64, PlanError> {
    let mut seconds = 0.0;
    for (name, times, items) in steps {
        let step = profile.small.get(*name).ok_or(PlanError::Unmeasured { what: (*name).to_owned() })?;
        cost.add(runs * times, step.fixed_s);
        seconds += runs * times * *items as f64 * step.item_s;
    }
    Ok(seconds)
}

/// Readings of a kernel: those of weights that stay in caches, or not, as the model's do; where there are none, the others.
fn readings<'p>(profile: &'p Profile, load: &Load<'_>, prompt: bool, dtype: DType) -> Vec<&'p MatrixReading> {
    let of = |cached| move |m: &&MatrixReading| (m.cached, m.prompt, m.dtype) == (cached, prompt, dtype);
    let exact: Vec<_> = profile.matrices.iter().filter(of(load.is_cached())).collect();
    if exact.is_empty() { profile.matrices.iter().filter(of(!load.is_cached())).collect() } else { exact }
}

/// The decode kernel at `columns`, between the measured ones.
fn matvec(profile: &Profile, load: &Load<'_>, dtype: DType, columns: u32) -> Result<Price, PlanError> {
    let mut known = readings(profile, load, false, dtype);
    known.sort_by_key(|m| m.columns);
    let Some(last) = known.last() else {
        return Err(PlanError::Unmeasured { what: format!("{dtype} matrices of {columns} columns") });
    };
    if columns >= last.columns {
        // Further columns take further passes over the weights.
        return Ok(Price::of(last).times(f64::from(columns) / f64::from(last.columns)));
    }
    let above = known.iter().position(|m| m.columns >= columns).unwrap_or(0);
    let high = known[above];
    if high.columns == columns || above == 0 {
        return Ok(Price::of(high));
    }
    let low = known[above - 1];
    let share = f64::from(columns - low.columns) / f64::from(high.columns - low.columns);
    Ok(Price::of(low).towards(Price::of(high), share))
}

/// The prompt kernel for `tokens`.
fn matmul(profile: &Profile, load: &Load<'_>, dtype: DType, tokens: u32) -> Result<Price, PlanError> {
    let known = readings(profile, load, true, dtype).into_iter();
    let Some(nearest) = known.min_by_key(|m| m.columns.abs_diff(tokens)) else {
        return Err(PlanError::Unmeasured { what: format!("{dtype} matrices for prompts") });
    };
    let tiles = |n: u32| f64::from(n.div_ceil(nearest.together));
    Ok(Price::of(nearest).times(tiles(tokens) / tiles(nearest.columns)))
}

/// The reading for this shape of attention, or the nearest one scaled by its bytes.
fn attention(profile: &Profile, heads: Heads) -> Result<AttentionReading, PlanError> {
    if let Some(exact) = profile.attention(heads) {
        return Ok(*exact);
    }
    let distance = |a: &&AttentionReading| {
        let group = |h: Heads| h.heads / h.kv_heads.max(1);
        let width = a.heads.head_dim.abs_diff(heads.head_dim);
        (a.heads.kv != heads.kv, width, group(a.heads).abs_diff(group(heads)))
    };
    let Some(nearest) = profile.attention.iter().min_by_key(distance) else {
        return Err(PlanError::Unmeasured { what: "attention".to_owned() });
    };
    let ratio = (heads.heads * heads.head_dim) as f64 / (nearest.heads.heads * nearest.heads.head_dim) as f64;
    let prompt_pair_s = nearest.prompt_pair_s * ratio;
    Ok(AttentionReading { heads, prompt_pair_s, ..*nearest })
}
