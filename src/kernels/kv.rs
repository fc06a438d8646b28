//! Element type and geometry of the KV cache: per layer K and V, each [kv_heads, context, head_dim]
//! with head_dim rounded up to a multiple of 4.

use serde::{Deserialize, Serialize};

use crate::gpu::Snippet;
use crate::kernels::weights::snippet;

/// Element type of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvType {
    /// 2 bytes; packed by hand, so that it needs no `shader-f16`.
    F16,
    /// 4 bytes.
    F32,
}

impl KvType {
    /// Both types.
    pub const ALL: [KvType; 2] = [KvType::F16, KvType::F32];

    /// The file that packs and unpacks.
    pub fn snippet(self) -> Snippet {
        match self {
            KvType::F16 => snippet!("shared/kv_f16.wgsl"),
            KvType::F32 => snippet!("shared/kv_f32.wgsl"),
        }
    }

    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            KvType::F16 => 2,
            KvType::F32 => 4,
        }
    }

    /// Bytes of one position of one head.
    pub fn row_bytes(self, head_dim: usize) -> usize {
        head_dim.next_multiple_of(4) * self.bytes()
    }

    /// `f16` or `f32`.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F16 => "f16",
            KvType::F32 => "f32",
        }
    }

    /// What storing `v` and reading it back gives.
    pub fn round(self, v: f32) -> f32 {
        match self {
            KvType::F16 => half::f16::from_f32(v.clamp(-65504.0, 65504.0)).to_f32(),
            KvType::F32 => v,
        }
    }

    /// How far storing `v` may move it: half an ulp.
    pub fn rounding(self, v: f64) -> f64 {
        match self {
            KvType::F16 => v.abs() * 2.0f64.powi(-11) + 2.0f64.powi(-25),
            KvType::F32 => 0.0,
        }
    }

    /// Encodes elements as the cache stores them.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            KvType::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
            KvType::F32 => bytemuck::cast_slice(values).to_vec(),
        }
    }

    /// The inverse of [`KvType::encode`].
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            KvType::F16 => {
                bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            KvType::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
        }
    }
}
