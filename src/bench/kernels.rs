//! Single kernels of a model's steps: bytes, operations, time, and how that compares with what the adapter can do.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::{Batch, EngineError, Model};
use crate::gpu::Step;
use crate::kernels::attend_merge;
use crate::kernels::variants::Variants;
use crate::probe::Clock;

/// Weights of fewer bytes may stay in a large cache from pass to pass.
const CACHED_BYTES: u64 = 256 << 20;

/// One kind of step: all layers' together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// `qkv`, `attention` …
    pub step: String,
    /// Kernel and variant.
    pub kernel: String,
    /// Dispatches of this kind in a step of the model.
    pub dispatches: usize,
    /// Bytes that they must move.
    pub bytes: u64,
    /// Operations.
    pub ops: u64,
    /// Seconds of all of them.
    pub seconds: f64,
    /// Half the distance between the fastest samples, relative.
    pub spread: f64,
}

impl Row {
    /// Bytes per second.
    pub fn bytes_s(&self) -> f64 {
        self.bytes as f64 / self.seconds
    }

    /// Operations per second.
    pub fn ops_s(&self) -> f64 {
        self.ops as f64 / self.seconds
    }
}

/// Measures every kind of step of decoding `sequences` sequences at `position`, at the speed at which the profile's
/// reference took `reference_s`.
pub fn measure(
    model: &Model,
    sequences: usize,
    position: usize,
    reference_s: f64,
    progress: &mut dyn FnMut(&str) -> bool,
) -> Result<Vec<Row>, EngineError> {
    let mut batch = Batch::new(model, sequences)?;
    batch.pretend_position(position)?;
    // One real step fills the activations with sane numbers.
    batch.rewind(position);
    batch.step(&super::speed::made_up(sequences, model.spec().vocab))?;
    batch.rewind(position);
    let state = batch.state();
    let clock = Clock::with_nominal(model.gpu(), reference_s)?;
    let mut kinds: BTreeMap<(String, String), Vec<&Step>> = BTreeMap::new();
    let mut order = Vec::new();
    for step in batch.step_graph().steps.iter().filter(|step| step.groups(state).is_some()) {
        let key = (kind(&step.label), step.kernel.label.clone());
        if !kinds.contains_key(&key) {
            order.push(key.clone());
        }
        kinds.entry(key).or_default().push(step);
    }
    let mut rows = Vec::new();
    for key in order {
        if !progress(&key.0) {
            return Err(EngineError::Cancelled);
        }
        let steps = &kinds[&key];
        let measured = clock.slope_of(steps, state)?;
        let weights: u64 = steps.iter().map(|step| step.bytes).sum();
        let kv = steps.iter().map(|step| step.bytes_moved(state)).sum::<u64>() - weights;
        let seen = steps.iter().map(|step| state.positions_seen(step.kv.window)).sum();
        let (bytes, ops) = work(model, &key.0, sequences, steps.len(), weights, (kv, seen));
        rows.push(Row {
            step: key.0,
            kernel: key.1,
            dispatches: steps.len(),
            bytes,
            ops,
            seconds: measured.seconds,
            spread: measured.spread,
        });
    }
    Ok(rows)
}

/// `layer 3 qkv` → `qkv`
fn kind(label: &str) -> String {
    let words = label.split(' ').skip_while(|word| *word == "layer" || word.parse::<usize>().is_ok());
    words.collect::<Vec<_>>().join(" ")
}

/// (bytes, operations) of all steps of a kind. `weights`: bytes; `kv`: bytes of caches, and positions seen.
fn work(
    model: &Model,
    kind: &str,
    sequences: usize,
    dispatches: usize,
    weights: u64,
    (kv, seen): (u64, u64),
) -> (u64, u64) {
    let spec = model.spec();
    let n = sequences as u64;
    let floats = |width: usize| n * width as u64 * 4 * dispatches as u64;
    let heads = spec.n_heads * spec.head_dim;
    let qkv = heads + 2 * spec.n_kv_heads * spec.head_dim;
    let matrix = |rows: usize, cols: usize| {
        (weights + floats(cols) + floats(rows), 2 * n * (rows * cols * dispatches) as u64)
    };
    match kind {
        "qkv" => matrix(qkv, spec.hidden),
        "output" => matrix(spec.hidden, heads),
        "gate and up" => matrix(2 * spec.intermediate, spec.hidden),
        "down" => matrix(spec.hidden, spec.intermediate),
        "logits" => matrix(spec.vocab, spec.hidden),
        "attention" => (weights + kv + 2 * floats(heads), 4 * seen * heads as u64),
        "attention merge" => {
            let parts = Variants::of(model.gpu()).split(spec.n_kv_heads).splits as usize;
            let read = floats(parts * spec.n_heads * attend_merge::partial_floats(spec.head_dim));
            (read + floats(heads), 4 * n * (parts * heads * dispatches) as u64)
        }
        "activation" => (3 * floats(spec.intermediate), 8 * n * (spec.intermediate * dispatches) as u64),
        "argmax" => (floats(spec.vocab), n * spec.vocab as u64),
        "embedding" => (weights.min(floats(spec.hidden)) + floats(spec.hidden), 0),
        _ => (weights + 2 * floats(spec.hidden), 4 * n * (spec.hidden * dispatches) as u64),
    }
}

/// Would caches hold all weights of this model, so that rates above the memory's are no wonder?
pub fn fits_caches(model: &Model) -> bool {
    model.needs().weights < CACHED_BYTES
}
