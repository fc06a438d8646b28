//! Element types of the KV cache.

use serde::{Deserialize, Serialize};

/// Element type of the KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvType {
    /// 2 bytes; packed by hand, so that it needs no `shader-f16`.
    #[default]
    F16,
    /// 4 bytes.
    F32,
    /// A signed byte; 32 of a head share a scale in f16.
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl KvType {
    /// All types.
    pub const ALL: [KvType; 3] = [KvType::F16, KvType::F32, KvType::Q8_0];

    /// Bytes of one position of one head of K (or V), padding included.
    pub fn row_bytes(self, head_dim: usize) -> usize {
        let quads = head_dim.div_ceil(4);
        match self {
            KvType::F16 => 8 * quads,
            KvType::F32 => 16 * quads,
            KvType::Q8_0 => 4 * quads + 4 * KvType::scale_words(head_dim),
        }
    }

    /// Words of scales per position of a head in [`KvType::Q8_0`]: two scales are a word.
    pub fn scale_words(head_dim: usize) -> usize {
        head_dim.div_ceil(32).div_ceil(2)
    }

    /// `f16`, `f32` or `q8_0`.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F16 => "f16",
            KvType::F32 => "f32",
            KvType::Q8_0 => "q8_0",
        }
    }

    /// The type of this name.
    pub fn from_name(name: &str) -> Option<KvType> {
        KvType::ALL.into_iter().find(|kv| kv.name() == name)
    }
}
