//! What a model takes on a machine, by parts, and whether that fits: in all, and buffer by buffer.

use serde::{Deserialize, Serialize};

use crate::base::KvType;
use crate::model::ModelSpec;
use crate::plan::weights::{Matrices, Matrix};

/// Staging and driver overhead that is always reserved.
pub const HEADROOM_BYTES: u64 = 128 << 20;
/// Most logits computed at once, in bytes.
const LOGITS_BYTES: usize = 16 << 20;
/// Rows of activations are padded to this many floats.
const BLOCK: usize = 32;
/// Bytes of what the sampler reads back: 64 candidates of 8 bytes, and 16 bytes.
pub const TOP_BYTES: u64 = 8 * (2 + 64);

/// Parts of attention over a long context that are joined at the end.
pub const MOST_SPLITS: usize = 16;

/// Sizes of the buffers of running sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Positions per sequence.
    pub context: usize,
    /// Tokens of a prompt at once.
    pub chunk: usize,
    /// Sequences.
    pub sequences: usize,
    /// Element type of the KV cache.
    pub kv: KvType,
}

/// Bytes by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Weights in their planes.
    pub weights: u64,
    /// KV caches of all sequences.
    pub kv: u64,
    /// Activations and tables.
    pub activations: u64,
    /// Staging and driver overhead.
    pub headroom: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.kv + self.activations + self.headroom
    }
}

/// How much a machine has to give, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Bytes; `None`: nobody knows.
    pub bytes: Option<u64>,
    /// For people.
    pub source: String,
    /// Largest buffer that can be bound whole, bytes; `None`: no limit known.
    pub binding_bytes: Option<u64>,
}

/// Why something does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfit {
    /// The part that is too large, or the largest part of a sum that is: `weights`, `KV cache`, `K cache of one layer` …
    pub part: String,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes that are needed where `available` are: of the sum, or of a part that is bound whole.
    pub needed: u64,
    /// Bytes that there are: the whole budget, or the most that can be bound.
    pub available: u64,
}

impl Misfit {
    /// Is it one buffer that is too large to be bound, whatever memory there is?
    pub fn is_of_binding(&self) -> bool {
        self.bytes == self.needed
    }
}

/// Rows of logits computed at once.
pub fn logits_rows(vocab: usize, chunk: usize) -> usize {
    (LOGITS_BYTES / (vocab * 4)).clamp(1, chunk)
}

/// (name, bytes) of every activation buffer. `logits`: rows of logits computed at once.
pub fn activations(
    spec: &ModelSpec,
    chunk: usize,
    logits: usize,
    sequences: usize,
) -> [(&'static str, u64); 11] {
    let floats = |rows: usize, cols: usize| rows as u64 * cols.next_multiple_of(BLOCK) as u64 * 4;
    let heads = spec.n_heads * spec.head_dim;
    // Per head the sum so far, its largest score and its denominator.
    let partial = (sequences * MOST_SPLITS * spec.n_heads * (spec.head_dim + 2)) as u64 * 4;
    [
        ("residual stream", floats(chunk, spec.hidden)),
        ("normed", floats(chunk, spec.hidden)),
        ("qkv", floats(chunk, heads + 2 * spec.n_kv_heads * spec.head_dim)),
        ("queries", floats(chunk, heads)),
        ("attended", floats(chunk, heads) + partial),
        ("gate and up", floats(chunk, 2 * spec.intermediate)),
        ("activated", floats(chunk, spec.intermediate)),
        ("normed for logits", floats(logits, spec.hidden)),
        ("logits", floats(logits, spec.vocab)),
        ("best", 16 * sequences as u64),
        ("top", TOP_BYTES),
    ]
}

/// Bytes of what is kept per position beside the cache: its angles, and the choice there.
pub fn position_bytes(spec: &ModelSpec, context: usize) -> u64 {
    context as u64 * (spec.rotary_dim() as u64 + 4) * 4
}

/// Bytes of K and V of one position in all layers, as the cache stores them.
pub fn kv_bytes_per_token(spec: &ModelSpec, kv: KvType) -> u64 {
    (2 * spec.n_layers * spec.n_kv_heads * kv.row_bytes(spec.head_dim)) as u64
}

/// Bytes of K (or V) of one layer, of all sequences.
pub fn cache_bytes(spec: &ModelSpec, sizes: Sizes) -> u64 {
    (sizes.sequences * spec.n_kv_heads * sizes.context) as u64 * sizes.kv.row_bytes(spec.head_dim) as u64
}

/// The sum for a model with these matrices.
pub fn needs(spec: &ModelSpec, matrices: &Matrices, sizes: Sizes) -> Memory {
    let chunk = sizes.chunk.max(sizes.sequences);
    let logits = logits_rows(spec.vocab, chunk).max(sizes.sequences);
    let buffers = activations(spec, chunk, logits, sizes.sequences);
    Memory {
        weights: matrices.bytes(),
        kv: 2 * spec.n_layers as u64 * cache_bytes(spec, sizes),
        activations: buffers.iter().map(|(_, bytes)| bytes).sum::<u64>()
            + position_bytes(spec, sizes.context),
        headroom: HEADROOM_BYTES,
    }
}

/// Does it fit? First the buffers that cannot be split, then the sum; the largest part is named.
pub fn misfit(
    spec: &ModelSpec,
    matrices: &Matrices,
    sizes: Sizes,
    memory: &Memory,
    budget: &Budget,
) -> Option<Misfit> {
    if let Some(limit) = budget.binding_bytes {
        let chunk = sizes.chunk.max(sizes.sequences);
        let logits = logits_rows(spec.vocab, chunk).max(sizes.sequences);
        let row = |m: &Matrix| m.bytes().unwrap_or(0) / m.rows.max(1) as u64;
        let widest_row = matrices.active().map(row).max().unwrap_or(0);
        let activations = activations(spec, chunk, logits, sizes.sequences);
        let whole = [("K cache of one layer", cache_bytes(spec, sizes)), ("one row of a matrix", widest_row)];
        for (part, bytes) in whole.into_iter().chain(activations) {
            if bytes > limit {
                return Some(Misfit { part: part.to_owned(), bytes, needed: bytes, available: limit });
            }
        }
    }
    let available = budget.bytes?;
    if memory.total() <= available {
        return None;
    }
    let parts = [("weights", memory.weights), ("KV cache", memory.kv), ("activations", memory.activations)];
    let (part, bytes) = parts.into_iter().max_by_key(|(_, bytes)| *bytes).expect("three parts");
    Some(Misfit { part: part.to_owned(), bytes, needed: memory.total(), available })
}
