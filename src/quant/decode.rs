//! [`decode`]: the one entry for file bytes → f32.

use super::{QuantError, float, iq, k_quants, legacy};
use crate::base::DType;

/// Decodes `bytes`, whole blocks in file layout, into `out`: `[n]` f32 where n is the number of
/// elements in `bytes`. Bit-exact with ggml's `to_float` of the same type.
pub fn decode(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    check_bytes(dtype, "encoded bytes", out.len(), bytes.len())?;
    match dtype {
        DType::F32 => float::decode_f32(bytes, out),
        DType::F16 => float::decode_f16(bytes, out),
        DType::BF16 => float::decode_bf16(bytes, out),
        DType::Q4_0 => each(bytes, out, legacy::q4_0),
        DType::Q4_1 => each(bytes, out, legacy::q4_1),
        DType::Q5_0 => each(bytes, out, legacy::q5_0),
        DType::Q5_1 => each(bytes, out, legacy::q5_1),
        DType::Q8_0 => each(bytes, out, legacy::q8_0),
        DType::Q2K => each(bytes, out, k_quants::q2_k),
        DType::Q3K => each(bytes, out, k_quants::q3_k),
        DType::Q4K => each(bytes, out, k_quants::q4_k),
        DType::Q5K => each(bytes, out, k_quants::q5_k),
        DType::Q6K => each(bytes, out, k_quants::q6_k),
        DType::IQ4NL => each(bytes, out, iq::iq4_nl),
        DType::IQ4XS => each(bytes, out, iq::iq4_xs),
        DType::MXFP4 => each(bytes, out, iq::mxfp4),
    }
    Ok(())
}

/// Fails unless `found` bytes are what `elements` elements of `dtype` take.
pub(super) fn check_bytes(
    dtype: DType,
    what: &'static str,
    elements: usize,
    found: usize,
) -> Result<(), QuantError> {
    let block_len = dtype.block_len();
    let expected =
        dtype.row_bytes(elements).ok_or(QuantError::NotWholeBlocks { dtype, cols: elements, block_len })?;
    if found != expected {
        return Err(QuantError::Length { dtype, what, expected, found });
    }
    Ok(())
}

/// Calls `block` for every block of `B` bytes and its `N` elements.
fn each<const B: usize, const N: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; B], &mut [f32; N]),
) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        block(bytes, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_match_the_decoders() {
        // `each` takes B and N from the decoders: a block that is not consumed whole stays NaN.
        for dtype in DType::all() {
            let n = 2 * dtype.block_len();
            let bytes = vec![0; 2 * dtype.block_bytes()];
            let mut out = vec![f32::NAN; n];
            decode(dtype, &bytes, &mut out).unwrap();
            assert!(out.iter().all(|v| *v == 0.0), "{dtype}: {out:?}");
        }
    }

    #[test]
    fn wrong_lengths_are_errors() {
        let mut out = [0.0; 33];
        let error = decode(DType::Q4_0, &[0; 18], &mut out).unwrap_err();
        assert_eq!(error, QuantError::NotWholeBlocks { dtype: DType::Q4_0, cols: 33, block_len: 32 });
        let error = decode(DType::Q4_0, &[0; 17], &mut out[..32]).unwrap_err();
        assert!(matches!(error, QuantError::Length { expected: 18, found: 17, .. }), "{error}");
        decode(DType::Q4_0, &[], &mut []).unwrap();
    }
}
