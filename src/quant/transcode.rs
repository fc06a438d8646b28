//! From types that shaders do not compute with to types that they do.
//!
//! | from | to | how |
//! |---|---|---|
//! | Q3_K | Q6_K | exact: the same factor, scales and codes fit |
//! | IQ4_NL | Q8_0 | exact: the values of the code table are i8 |
//! | MXFP4 | Q8_0 | exact where 2^(e − 128) is an f16, that is for weights of 2^-24 … 2^18; BF16 is exact for all ([`transcode_target`]) |
//! | IQ4_XS | Q8_0 | exact codes; the block scale is rounded to f16: at most 2^-11 of each weight |
//! | Q2_K | Q8_0 | encoded anew, as its two scales and minimums per 32 weights have no common step: adds about 2 % of Q2_K's own error |

use half::f16;

use super::decode::check_bytes;
use super::iq::{FP4_VALUES, IQ4_VALUES, half_e8m0, iq4_xs_codes, iq4_xs_scale};
use super::k_quants::{q3_code, q3_scale};
use super::{QuantError, decode, encode, encode_k, float::f16_at};
use crate::base::DType;

/// The natively computed type that [`transcode`] should turn `dtype` into: itself if it is one, else the
/// smallest that loses nothing (or next to nothing, see the [module docs](self)).
pub fn native_for(dtype: DType) -> DType {
    match dtype {
        DType::Q3K => DType::Q6K,
        DType::Q2K | DType::IQ4NL | DType::IQ4XS | DType::MXFP4 => DType::Q8_0,
        native => native,
    }
}

/// As [`native_for`], but looks at the data: BF16 for MXFP4 blocks whose exponents f16 cannot hold.
/// For a matrix whose rows are split, ask once with all of `bytes`.
pub fn transcode_target(dtype: DType, bytes: &[u8]) -> DType {
    let outside = |block: &&[u8; 17]| mxfp4_scale(block).is_none();
    match dtype {
        DType::MXFP4 if bytes.as_chunks().0.iter().any(|block| outside(&block)) => DType::BF16,
        _ => native_for(dtype),
    }
}

/// Turns whole blocks of `from` into `to`. `bytes`: `[n]` elements in file layout, `out`: the bytes of as
/// many elements of `to`. Exact where the [table](self) says so, else through f32 and
/// [`encode`](super::encode()).
pub fn transcode(from: DType, to: DType, bytes: &[u8], out: &mut [u8]) -> Result<(), QuantError> {
    let n = bytes.len() / from.block_bytes() * from.block_len();
    check_bytes(from, "blocks to transcode", n, bytes.len())?;
    check_bytes(to, "transcoded bytes", n, out.len())?;
    match (from, to) {
        (from, to) if from == to => out.copy_from_slice(bytes),
        (DType::Q3K, DType::Q6K) => each(bytes, out, |block, out| {
            q3_to_q6(block, out);
            Ok(())
        })?,
        (DType::IQ4NL, DType::Q8_0) => each(bytes, out, |block: &[u8; 18], out: &mut [u8; 34]| {
            put_q8([block[0], block[1]], &IQ4_VALUES, &block[2..], out);
            Ok(())
        })?,
        (DType::IQ4XS, DType::Q8_0) => each(bytes, out, iq4_xs_to_q8)?,
        (DType::MXFP4, DType::Q8_0) => each(bytes, out, mxfp4_to_q8)?,
        _ => through_f32(from, to, bytes, out)?,
    }
    Ok(())
}

/// Elements decoded at a time: a multiple of every block length.
const PIECE: usize = 256;

fn through_f32(from: DType, to: DType, bytes: &[u8], out: &mut [u8]) -> Result<(), QuantError> {
    let bytes_of = |dtype: DType| PIECE / dtype.block_len() * dtype.block_bytes();
    let pieces = bytes.chunks(bytes_of(from)).zip(out.chunks_mut(bytes_of(to)));
    for (piece, (bytes, out)) in pieces.enumerate() {
        let mut values = [0.0; PIECE];
        let values = &mut values[..bytes.len() / from.block_bytes() * from.block_len()];
        decode(from, bytes, values)?;
        encode(to, values, out).map_err(|error| error.at(piece * PIECE))?;
    }
    Ok(())
}

fn each<const A: usize, const B: usize>(
    bytes: &[u8],
    out: &mut [u8],
    block: impl Fn(&[u8; A], &mut [u8; B]) -> Result<(), QuantError>,
) -> Result<(), QuantError> {
    bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0).try_for_each(|(bytes, out)| block(bytes, out))
}

/// One Q8_0 block of factor `d` (an f16) and the values that 16 bytes of nibbles select.
fn put_q8(d: [u8; 2], values: &[i8; 16], nibbles: &[u8], out: &mut [u8; 34]) {
    let (head, codes) = out.split_at_mut(2);
    head.copy_from_slice(&d);
    for (j, byte) in nibbles.iter().enumerate() {
        codes[j] = values[usize::from(byte & 15)].cast_unsigned();
        codes[j + 16] = values[usize::from(byte >> 4)].cast_unsigned();
    }
}

fn iq4_xs_to_q8(block: &[u8; 136], out: &mut [u8; 272]) -> Result<(), QuantError> {
    let d = f16_at(block, 0);
    for (sub, out) in out.as_chunks_mut::<34>().0.iter_mut().enumerate() {
        let scale = d * f32::from(iq4_xs_scale(block, sub));
        let rounded = f16::from_f32(scale);
        if rounded.is_normal() || rounded.to_f32() == scale {
            put_q8(rounded.to_le_bytes(), &IQ4_VALUES, iq4_xs_codes(block, sub), out);
        } else {
            // f16 is coarse there: other codes may fit better.
            let mut values = [0.0; 256];
            decode(DType::IQ4XS, block, &mut values)?;
            encode(DType::Q8_0, &values[32 * sub..][..32], out).map_err(|error| error.at(32 * sub))?;
        }
    }
    Ok(())
}

fn mxfp4_to_q8(block: &[u8; 17], out: &mut [u8; 34]) -> Result<(), QuantError> {
    match mxfp4_scale(block) {
        Some((d, factor)) => {
            // At most 12·8 = 96.
            let values = FP4_VALUES.map(|value| value * factor);
            put_q8(d.to_le_bytes(), &values, &block[1..], out);
            Ok(())
        }
        None => through_f32(DType::MXFP4, DType::Q8_0, block, out),
    }
}

/// The (f16, whole factor) whose product is the scale 2^(e − 128) of an MXFP4 block, if there are such
/// with codes that fit an i8. A block of zeros has (0, 1).
fn mxfp4_scale(block: &[u8; 17]) -> Option<(f16, i8)> {
    // The codes of ±0 are 0 and 8.
    if block[1..].iter().all(|byte| byte & 0x77 == 0) {
        return Some((f16::ZERO, 1));
    }
    let scale = half_e8m0(block[0]);
    [1, 2, 4, 8].into_iter().find_map(|factor: i8| {
        let d = f16::from_f32(scale / f32::from(factor));
        (d.is_finite() && d.to_f32() * f32::from(factor) == scale).then_some((d, factor))
    })
}

/// w = d·(scale − 32)·(q − 4) is what Q6_K computes, with the scale as i8 and q − 4 in −32 … 31.
fn q3_to_q6(block: &[u8; 110], out: &mut [u8; 210]) {
    let codes: [[u8; 16]; 16] = std::array::from_fn(|group| {
        std::array::from_fn(|i| (q3_code(block, group * 16 + i) + 32).cast_unsigned())
    });
    let scales: [i8; 16] = std::array::from_fn(|group| q3_scale(block, group));
    encode_k::put_q6([block[108], block[109]], scales, &codes, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::is_native;

    /// Bytes that look random, with f16 scales that are ordinary numbers.
    fn blocks(dtype: DType, n: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut bytes = vec![0; n * dtype.block_bytes()];
        for byte in &mut bytes {
            state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
            *byte = (state >> 24) as u8; // the top byte
        }
        for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
            match dtype {
                DType::Q3K => block[109] &= 0x3f,
                DType::Q2K => (block[81], block[83]) = (0x2c, 0x2c),
                DType::IQ4NL => block[1] &= 0xbf,
                DType::IQ4XS => block[1] = 0x2c,
                DType::MXFP4 => block[0] = 104 + block[0] % 43,
                _ => {}
            }
        }
        bytes
    }

    fn decoded(dtype: DType, bytes: &[u8]) -> Vec<f32> {
        let mut out = vec![0.0; bytes.len() / dtype.block_bytes() * dtype.block_len()];
        decode(dtype, bytes, &mut out).unwrap();
        out
    }

    /// Largest |error| of transcoding, relative to the largest magnitude of each 32 weights.
    fn worst(from: DType, to: DType, bytes: &[u8]) -> f32 {
        let want = decoded(from, bytes);
        let mut out = vec![0xa5; to.row_bytes(want.len()).unwrap()];
        transcode(from, to, bytes, &mut out).unwrap();
        let got = decoded(to, &out);
        let blocks = want.chunks_exact(32).zip(got.chunks_exact(32)).map(|(want, got)| {
            let scale = want.iter().fold(f32::MIN_POSITIVE, |scale, v| v.abs().max(scale));
            let error = want.iter().zip(got).fold(0.0, |e: f32, (a, b)| e.max((a - b).abs()));
            error / scale
        });
        blocks.fold(0.0, f32::max)
    }

    #[test]
    fn nearest_native_types_keep_the_weights() {
        for (from, to, tolerance) in [
            (DType::Q3K, DType::Q6K, 0.0),
            (DType::IQ4NL, DType::Q8_0, 0.0),
            (DType::MXFP4, DType::Q8_0, 0.0),
            (DType::MXFP4, DType::BF16, 0.0),
            // Half a unit of f16's 11 bits.
            (DType::IQ4XS, DType::Q8_0, 1.0 / 2048.0),
            // Half a step of ±127 codes, widened as the fit may clip the largest value.
            (DType::Q2K, DType::Q8_0, 0.6 / 127.0),
            (DType::Q2K, DType::F32, 0.0),
            (DType::Q4_0, DType::Q4_0, 0.0),
        ] {
            let error = worst(from, to, &blocks(from, 40));
            assert!(error <= tolerance, "{from} → {to}: {error}");
            assert!(is_native(to) && is_native(native_for(from)));
        }
        // The check can fail: 4 bits are not enough for Q2_K's pairs of scales.
        assert!(worst(DType::Q2K, DType::Q4_0, &blocks(DType::Q2K, 40)) > 0.01);
    }

    #[test]
    fn mxfp4_beyond_f16_goes_to_bf16() {
        let mut bytes = blocks(DType::MXFP4, 4);
        assert_eq!(transcode_target(DType::MXFP4, &bytes), DType::Q8_0);
        for e in [0, 1, 50, 103, 147, 252] {
            bytes[17] = e; // of block 1
            assert_eq!(transcode_target(DType::MXFP4, &bytes), DType::BF16, "e = {e}");
            assert_eq!(worst(DType::MXFP4, DType::BF16, &bytes), 0.0, "e = {e}");
        }
        bytes[18..34].fill(0x80); // zeros of both signs: no scale needed
        assert_eq!(transcode_target(DType::MXFP4, &bytes), DType::Q8_0);
        assert_eq!(worst(DType::MXFP4, DType::Q8_0, &bytes), 0.0);
        assert_eq!(transcode_target(DType::IQ4XS, &[]), DType::Q8_0);
    }

    #[test]
    fn errors_name_the_element() {
        // Element 0 of block 9 is 12·2^122, all others are small.
        let mut bytes = blocks(DType::MXFP4, 10);
        bytes.iter_mut().step_by(17).for_each(|e| *e = 120);
        bytes[9 * 17] = 250;
        bytes[9 * 17 + 1] = 0x07;
        let error = transcode(DType::MXFP4, DType::F16, &bytes, &mut [0; 640]).unwrap_err();
        assert!(matches!(error, QuantError::OutOfRange { index: 288, .. }), "{error}");
        assert!(transcode(DType::MXFP4, DType::Q4K, &bytes, &mut [0; 144]).is_err());
        assert!(transcode(DType::MXFP4, DType::Q8_0, &bytes[1..], &mut [0; 340]).is_err());
        assert!(transcode(DType::MXFP4, DType::Q8_0, &bytes, &mut [0; 339]).is_err());
    }
}
