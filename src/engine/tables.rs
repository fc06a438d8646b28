//! What heads are normed and rotated by, in one buffer: few bindings per dispatch. Angles are computed in f64: shader sines
//! lose accuracy with large angles.

use crate::engine::EngineError;
use crate::engine::weights::Weights;
use crate::gpu::{Gpu, Slice};
use crate::kernels::rope_kv;
use crate::model::ModelSpec;

/// Positions computed and uploaded at a time.
const PIECE: usize = 4096;

/// The norms of q and k of every layer, and the angles of a session's positions.
pub struct Tables {
    slice: Slice,
    /// Pairs of floats that a layer's two norms take; 0: there are none.
    norm_pairs: usize,
    /// Pairs before the angles.
    rope_at: usize,
}

impl Tables {
    /// Uploads [layers, 2, head_dim] weights of norms, where the model has them, and [context, rotary / 2] pairs (cos, sin) ·
    /// scale of pos · inv_freq / factor (Su et al. 2021); `weights` give norms and factors.
    pub fn upload(
        gpu: &Gpu,
        spec: &ModelSpec,
        weights: &Weights,
        context: usize,
    ) -> Result<Tables, EngineError> {
        let qk_norm = weights.layers.iter().any(|layer| layer.qk_norms.is_some());
        let norm_pairs = if qk_norm { spec.head_dim } else { 0 };
        let mut norms = Vec::new();
        for (i, layer) in weights.layers.iter().enumerate() {
            norms.extend(layer.qk_norms.iter().flatten());
            norms.resize((i + 1) * 2 * norm_pairs, 1.0);
        }
        let bytes = (norms.len() + context * spec.rotary_dim()) as u64 * 4;
        let slice = gpu.buffer("norms and angles of heads", bytes)?;
        gpu.write(&slice, 0, bytemuck::cast_slice(&norms));
        let factors = &weights.rope_factors;
        let freqs: Vec<f64> = (spec.rope.inv_freq.iter().enumerate())
            .map(|(i, f)| f / factors.get(i).map_or(1.0, |d| f64::from(*d)))
            .collect();
        let (begin, row_bytes) = (norms.len() as u64 * 4, freqs.len() as u64 * 8);
        for first in (0..context).step_by(PIECE) {
            let end = context.min(first + PIECE);
            let table: Vec<f32> = (first..end)
                .flat_map(|pos| freqs.iter().map(move |f| pos as f64 * f))
                .flat_map(|angle| {
                    [(angle.cos() * spec.rope.scale) as f32, (angle.sin() * spec.rope.scale) as f32]
                })
                .collect();
            gpu.write(&slice, begin + first as u64 * row_bytes, bytemuck::cast_slice(&table));
            gpu.flush()?;
        }
        Ok(Tables { slice, norm_pairs, rope_at: norms.len() / 2 })
    }

    /// As the kernels of layer `i` want it.
    pub fn of_layer(&self, i: usize) -> rope_kv::Tables<'_> {
        rope_kv::Tables { slice: &self.slice, norms_at: i * self.norm_pairs, rope_at: self.rope_at }
    }
}
