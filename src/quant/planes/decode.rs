//! Planes → f32, one row at a time: indexed as the shaders index, so that it can stand as their
//! reference. Layouts: [parent module](super).

use super::super::float::{self, f16_at, u32_at};
use super::super::{k_quants, legacy::fifth_bit};
use crate::base::DType;

/// Decodes one row; lengths were checked by the caller.
pub(super) fn row(dtype: DType, quants: &[u8], scales: &[u8], out: &mut [f32]) {
    match dtype {
        DType::F32 => float::decode_f32(quants, out),
        DType::F16 => float::decode_f16(quants, out),
        DType::BF16 => float::decode_bf16(quants, out),
        DType::Q6K => q6_k(quants, scales, out),
        _ => {
            let n_blocks = out.len() / 32;
            for (b, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                block(dtype, n_blocks, b, quants, scales, out);
            }
        }
    }
}

/// Block `b` of `n_blocks` of any type but the floats and Q6_K.
fn block(dtype: DType, n_blocks: usize, b: usize, quants: &[u8], scales: &[u8], out: &mut [f32; 32]) {
    let d = || f16_at(scales, 2 * b);
    let d_and_m = || (f16_at(scales, 4 * b), f16_at(scales, 4 * b + 2));
    let q4 = |i| q4_code(&quants[16 * b..], i);
    // 5th bits start at byte `at`.
    let q5 = |at: usize, i| q4(i) | fifth_bit(u32_at(scales, at + 4 * b), i);
    let k_scales = || k_quants::scale_and_min(&scales[b / 8 * 16..][..16], b % 8);
    match dtype {
        DType::Q8_0 => fill(out, |i| f32::from(quants[32 * b + i].cast_signed()) * d()),
        DType::Q4_0 => fill(out, |i| (f32::from(q4(i)) - 8.0) * d()),
        DType::Q5_0 => {
            let at = n_blocks.div_ceil(2) * 4;
            fill(out, |i| (f32::from(q5(at, i)) - 16.0) * d());
        }
        DType::Q4_1 => {
            let (d, m) = d_and_m();
            fill(out, |i| f32::from(q4(i)) * d + m);
        }
        DType::Q5_1 => {
            let (d, m) = d_and_m();
            fill(out, |i| f32::from(q5(4 * n_blocks, i)) * d + m);
        }
        DType::Q4K => {
            let (scale, min) = k_scales();
            fill(out, |i| scale * f32::from(q4(i)) - min);
        }
        DType::Q5K => {
            let (scale, min) = k_scales();
            fill(out, |i| scale * f32::from(q5(n_blocks / 8 * 16, i)) - min);
        }
        _ => unreachable!("PlaneLayout::new admits no other type"),
    }
}

fn q6_k(quants: &[u8], scales: &[u8], out: &mut [f32]) {
    let n_super = out.len() / 256;
    for (b, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (s, sub) = (b / 8, b % 8);
        let d = f16_at(scales, 16 * n_super + 2 * s);
        let quants = &quants[192 * s..][..192];
        fill(out, |i| {
            let pairs = u32_at(quants, 128 + 8 * sub + i / 16 * 4);
            let high = (pairs >> (i % 16 * 2) & 3) as u8; // two bits
            let code = q4_code(&quants[16 * sub..], i) | high << 4;
            let scale = scales[16 * s + 2 * sub + i / 16].cast_signed();
            d * f32::from(scale) * f32::from(code.cast_signed() - 32)
        });
    }
}

/// Code of weight `i` in a block of 16 bytes in Q4 order.
fn q4_code(block: &[u8], i: usize) -> u8 {
    block[i / 8 * 4 + i % 4] >> (i % 8 / 4 * 4) & 15
}

fn fill(out: &mut [f32; 32], weight: impl Fn(usize) -> f32) {
    for (i, o) in out.iter_mut().enumerate() {
        *o = weight(i);
    }
}
