//! The table of rotary angles, computed in f64: shader sines lose accuracy with large angles.

use crate::engine::EngineError;
use crate::gpu::{Gpu, Slice};
use crate::model::ModelSpec;

/// Positions computed and uploaded at a time.
const PIECE: usize = 4096;

/// Uploads [context, rotary / 2] pairs (cos, sin) · scale of pos · inv_freq / factor (Su et al. 2021).
/// `factors`: [rotary / 2] divisors of the frequencies, or empty.
pub fn upload(gpu: &Gpu, spec: &ModelSpec, factors: &[f32], context: usize) -> Result<Slice, EngineError> {
    let freqs: Vec<f64> = (spec.rope.inv_freq.iter().enumerate())
        .map(|(i, f)| f / factors.get(i).map_or(1.0, |d| f64::from(*d)))
        .collect();
    let row_bytes = freqs.len() as u64 * 8;
    let slice = gpu.buffer("rotary table", row_bytes * context as u64)?;
    for first in (0..context).step_by(PIECE) {
        let end = context.min(first + PIECE);
        let table: Vec<f32> = (first..end)
            .flat_map(|pos| freqs.iter().map(move |f| pos as f64 * f))
            .flat_map(|angle| {
                [(angle.cos() * spec.rope.scale) as f32, (angle.sin() * spec.rope.scale) as f32]
            })
            .collect();
        gpu.write(&slice, first as u64 * row_bytes, bytemuck::cast_slice(&table));
        gpu.flush()?;
    }
    Ok(slice)
}
