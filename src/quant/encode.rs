//! [`encode`]: the one entry for f32 → file bytes.

use half::{bf16, f16};

use super::decode::check_bytes;
use super::{QuantError, encode_k, encode_legacy};
use crate::base::DType;

/// Largest finite f16.
const F16_MAX: f32 = 65504.0;

/// Encodes `values`: `[n]`, whole blocks, into `out`, the bytes of `dtype` in file layout. Blocks are
/// independent, so rows may be encoded in parallel.
///
/// Encoders minimise the squared error of each block (superblock in K types). NaN and infinities are
/// errors, as are values beyond the reach of the type's f16 scales; values below it become 0.
pub fn encode(dtype: DType, values: &[f32], out: &mut [u8]) -> Result<(), QuantError> {
    check_bytes(dtype, "encoded bytes", values.len(), out.len())?;
    check_values(dtype, values, limit(dtype).ok_or(QuantError::NoEncoder(dtype))?)?;
    match dtype {
        DType::F32 => each(values, out, |[v]: &[f32; 1], out| *out = v.to_le_bytes()),
        DType::F16 => each(values, out, |[v]: &[f32; 1], out| *out = f16::from_f32(*v).to_le_bytes()),
        DType::BF16 => each(values, out, |[v]: &[f32; 1], out| *out = bf16::from_f32(*v).to_le_bytes()),
        DType::Q8_0 => each(values, out, encode_legacy::q8_0),
        DType::Q4_0 => each(values, out, encode_legacy::q4_0),
        DType::Q4_1 => each(values, out, encode_legacy::q4_1),
        DType::Q5_0 => each(values, out, encode_legacy::q5_0),
        DType::Q5_1 => each(values, out, encode_legacy::q5_1),
        DType::Q4K => each(values, out, encode_k::q4_k),
        DType::Q5K => each(values, out, encode_k::q5_k),
        DType::Q6K => each(values, out, encode_k::q6_k),
        _ => return Err(QuantError::NoEncoder(dtype)),
    }
    Ok(())
}

/// Largest magnitude that `dtype` can hold with its scales at most [`F16_MAX`]; `None` without encoder.
fn limit(dtype: DType) -> Option<f32> {
    Some(match dtype {
        DType::F32 => f32::MAX,
        // Beyond these, rounding gives infinity.
        DType::F16 => 65519.996,
        DType::BF16 => f32::from_bits(0x7f7f_7fff),
        DType::Q8_0 => 127.0 * F16_MAX,
        DType::Q4_0 => 7.0 * F16_MAX,
        DType::Q5_0 => 15.0 * F16_MAX,
        DType::Q4_1 | DType::Q5_1 => F16_MAX, // the minimum is an f16 itself
        DType::Q4K | DType::Q5K => 63.0 * F16_MAX,
        DType::Q6K => 31.0 * 127.0 * F16_MAX,
        _ => return None,
    })
}

fn check_values(dtype: DType, values: &[f32], limit: f32) -> Result<(), QuantError> {
    // One branch for all: NaN and infinity have the largest magnitudes as bits, too.
    let largest = values.iter().fold(0, |largest, v| largest.max(v.abs().to_bits()));
    if largest <= limit.to_bits() {
        return Ok(());
    }
    match values.iter().enumerate().find(|(_, v)| v.is_nan() || v.abs() > limit) {
        Some((index, &value)) if value.is_finite() => {
            Err(QuantError::OutOfRange { dtype, index, value, limit })
        }
        Some((index, &value)) => Err(QuantError::NotFinite { dtype, index, value }),
        None => Ok(()),
    }
}

/// Calls `block` for every `N` values and their `B` bytes.
fn each<const N: usize, const B: usize>(
    values: &[f32],
    out: &mut [u8],
    block: impl Fn(&[f32; N], &mut [u8; B]),
) {
    for (values, out) in values.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        block(values, out);
    }
}
