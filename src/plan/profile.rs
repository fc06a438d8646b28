//! [`Profile`]: what was measured of an adapter, as one plain value that can be kept, printed, or carried to
//! another machine. Made by `anygpu probe`; this file knows what the numbers mean, not how they came about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{AdapterFacts, DType, KvType};

/// Version of the format: profiles of another version are measured anew.
pub const VERSION: u32 = 4;

/// A bandwidth that drifted by more than this part meanwhile was measured on a busy machine.
const POOR_DRIFT: f64 = 0.3;

/// Weights of at most so many bytes stay in the caches of most adapters from one token to the next.
pub const CACHED_BYTES: u64 = 16 << 20;

/// A measured number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Undisturbed: of the fastest samples.
    pub value: f64,
    /// Half the distance between the fastest sample and the fourth, relative.
    pub spread: f64,
}

/// Everything measured of one adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// [`VERSION`]
    pub version: u32,
    /// Version of anygpu that measured.
    pub anygpu: String,
    /// The adapter as it was opened.
    pub adapter: AdapterFacts,
    /// When and how.
    pub conditions: Conditions,
    /// Undisturbed seconds of one pass over the reference that readings were taken between.
    pub reference_s: f64,
    /// Reading memory over working sets of rising size.
    pub read: Vec<SizedReading>,
    /// Bytes per second read from a working set well past the caches: the speed of light.
    pub read_bytes_s: Reading,
    /// Bytes per second copied from buffer to buffer, counted once.
    pub copy_bytes_s: Option<Reading>,
    /// Bytes per second from host to device.
    pub upload_bytes_s: Option<Reading>,
    /// Bytes per second from device to host.
    pub download_bytes_s: Option<Reading>,
    /// Operations per second without memory traffic: f32, f16 (where there is), int8 (`dot4I8Packed`).
    pub arithmetic_ops_s: BTreeMap<String, Reading>,
    /// Seconds per dispatch that waits for the one before it.
    pub dispatch_s: Reading,
    /// Seconds to record one dispatch on the host, which the adapter does not overlap within a step.
    pub record_s: f64,
    /// Seconds of a submit with its readback, beyond the work in it.
    pub submit_s: Reading,
    /// Matrix kernels by type and columns.
    pub matrices: Vec<MatrixReading>,
    /// Attention kernels by shape of heads.
    pub attention: Vec<AttentionReading>,
    /// Small steps by name: `norm`, `rope`, `glu`, `argmax`, `top_k`, `embed`.
    pub small: BTreeMap<String, SmallReading>,
    /// What could be allocated.
    pub memory: Option<MemoryReading>,
}

/// Circumstances of a measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Seconds since 1970 when it began.
    pub unix_time: u64,
    /// How long it took.
    pub seconds: f64,
    /// `mains` or `battery`, where the operating system tells.
    pub power: Option<String>,
    /// Last ÷ first reading of the bandwidth, minus 1: far from 0 means that the machine was busy or throttled.
    pub drift: f64,
    /// A short measurement for one model, not a whole profile.
    pub short: bool,
    /// A run was faster than these readings allow.
    #[serde(default)]
    pub contradicted: bool,
}

/// A rate over a working set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizedReading {
    /// Bytes of the working set.
    pub bytes: u64,
    /// Bytes per second.
    pub bytes_s: Reading,
    /// The access pattern that was fastest.
    pub pattern: String,
}

/// A matrix kernel: seconds = `fixed_s` + rows · `row_s` + bytes of weights ÷ `bytes_s`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatrixReading {
    /// For prompts instead of decoding.
    pub prompt: bool,
    /// Type of the weights.
    pub dtype: DType,
    /// Of a model of at most [`CACHED_BYTES`], whose weights stay in caches.
    #[serde(default)] // so that a profile of an older format is told by its version
    pub cached: bool,
    /// Columns at once: sequences of a batch, or tokens of a prompt.
    pub columns: u32,
    /// Columns that the kernel takes together: fewer cost as much.
    #[serde(default)]
    pub together: u32,
    /// Seconds per dispatch.
    pub fixed_s: f64,
    /// Seconds per row, however short.
    #[serde(default)]
    pub row_s: f64,
    /// Bytes of weights per second, beside what dispatches and rows cost.
    pub bytes_s: Reading,
    /// Bytes of weights per second, all in all, of the matrix that was measured.
    #[serde(default)]
    pub achieved_bytes_s: Reading,
}

/// Shape of attention, as far as its speed depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Element type of the cache.
    #[serde(default)] // so that a profile of an older format is told by its version
    pub kv: KvType,
}

impl Heads {
    /// Bytes of K and V of one position in one layer.
    pub fn position_bytes(&self) -> f64 {
        (2 * self.kv_heads * self.kv.row_bytes(self.head_dim)) as f64
    }
}

/// An attention kernel in one layer. Decoding B sequences at position N: `fixed_s` + B · `sequence_s` + N · `position_s` + B · N · bytes of
/// a position ÷ `kv_bytes_s`. A chunk of n tokens of a prompt, seeing N positions on average: `prompt_fixed_s` +
/// n · N · `prompt_pair_s`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionReading {
    /// Shape.
    pub heads: Heads,
    /// Seconds per dispatch of decoding.
    pub fixed_s: f64,
    /// Seconds per sequence, whatever its length.
    pub sequence_s: f64,
    /// Seconds per position, whatever the batch.
    pub position_s: f64,
    /// Bytes of K and V per second.
    pub kv_bytes_s: f64,
    /// Seconds per dispatch of a prompt.
    pub prompt_fixed_s: f64,
    /// Seconds per pair of token and position.
    pub prompt_pair_s: f64,
    /// Largest spread among the readings behind these numbers.
    pub spread: f64,
}

/// A small step: `fixed_s` + items · `item_s`, an item being a number written (for `argmax`, `top_k`: read).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmallReading {
    /// Seconds per dispatch.
    pub fixed_s: f64,
    /// Seconds per item.
    pub item_s: f64,
    /// Larger spread of the two readings behind these numbers.
    pub spread: f64,
}

/// How much memory an adapter gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryReading {
    /// Bytes that were allocated at once.
    pub allocated_bytes: u64,
    /// Bytes that the API claims, where it does.
    pub claimed_bytes: Option<u64>,
    /// Why no more was tried or given.
    pub stopped_by: String,
}

impl Conditions {
    /// Was the machine too busy for readings that predict anything?
    pub fn is_poor(&self) -> bool {
        self.contradicted || self.drift.is_nan() || self.drift.abs() > POOR_DRIFT
    }
}

impl Profile {
    /// Reading of a matrix kernel at exactly these columns.
    pub fn matrix(&self, cached: bool, prompt: bool, dtype: DType, columns: u32) -> Option<&MatrixReading> {
        let wanted = (cached, prompt, dtype, columns);
        self.matrices.iter().find(|m| (m.cached, m.prompt, m.dtype, m.columns) == wanted)
    }

    /// Reading of attention for exactly this shape.
    pub fn attention(&self, heads: Heads) -> Option<&AttentionReading> {
        self.attention.iter().find(|a| a.heads == heads)
    }

    /// Is every number one that a measurement can give? `Err`: the name of the first that is not.
    pub fn check(&self) -> Result<(), &'static str> {
        let rate = |v: f64| v > 0.0 && v.is_finite();
        let time = |v: f64| v >= 0.0 && v.is_finite();
        let sizes = self.read.iter().all(|r| rate(r.bytes_s.value));
        let matrices = self.matrices.iter();
        let attention = self.attention.iter();
        let rows = [
            ("read_bytes_s", rate(self.read_bytes_s.value)),
            ("read", sizes),
            ("reference_s", rate(self.reference_s)),
            ("dispatch_s", time(self.dispatch_s.value) && time(self.record_s)),
            ("submit_s", time(self.submit_s.value)),
            ("arithmetic_ops_s", self.arithmetic_ops_s.values().all(|r| rate(r.value))),
            (
                "matrices",
                matrices.clone().all(|m| {
                    let times = time(m.fixed_s) && time(m.row_s);
                    rate(m.bytes_s.value) && times && m.columns > 0 && m.together > 0
                }),
            ),
            (
                "attention",
                attention.clone().all(|a| {
                    let times = [a.fixed_s, a.sequence_s, a.position_s, a.prompt_fixed_s, a.prompt_pair_s];
                    rate(a.kv_bytes_s)
                        && times.into_iter().all(time)
                        && a.heads.kv_heads > 0
                        && a.heads.head_dim > 0
                }),
            ),
            ("small", self.small.values().all(|s| time(s.fixed_s) && time(s.item_s))),
        ];
        rows.into_iter().find(|(_, good)| !good).map_or(Ok(()), |(name, _)| Err(name))
    }

    /// Takes over what `older`, measured on the same adapter, has beside: matrices of small models, other caches.
    pub fn complete(&mut self, older: &Profile) {
        let matrices = older.matrices.iter();
        let lacking: Vec<_> = matrices
            .filter(|m| self.matrix(m.cached, m.prompt, m.dtype, m.columns).is_none())
            .cloned()
            .collect();
        self.matrices.extend(lacking);
        let lacking: Vec<_> =
            older.attention.iter().filter(|a| self.attention(a.heads).is_none()).copied().collect();
        self.attention.extend(lacking);
    }

    /// Takes over what `other`, measured on the same adapter, has and this one lacks; newer readings win.
    pub fn absorb(&mut self, newer: Profile) {
        self.matrices.retain(|m| newer.matrix(m.cached, m.prompt, m.dtype, m.columns).is_none());
        self.matrices.extend(newer.matrices);
        self.attention.retain(|a| newer.attention.iter().all(|b| a.heads != b.heads));
        self.attention.extend(newer.attention);
        self.small.extend(newer.small);
    }
}
