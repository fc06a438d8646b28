//! Encoders of the 32-element blocks; layouts: [`legacy`](super::legacy).

use half::f16;

use super::fit::{
    Affine, ENDS_8, ENDS_16, Line, MARGINS_15, MARGINS_31, Symmetric, around_f16, best_of, extreme, inverse,
    round_within, scale_f16,
};

pub(super) fn q4_0(x: &[f32; 32], out: &mut [u8; 18]) {
    let (d, codes) = symmetric_codes(x, 8, &ENDS_8);
    out[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    put_nibbles(&codes, &mut out[2..]);
}

pub(super) fn q5_0(x: &[f32; 32], out: &mut [u8; 22]) {
    let (d, codes) = symmetric_codes(x, 16, &ENDS_16);
    out[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    out[2..6].copy_from_slice(&fifth_bits(&codes).to_le_bytes());
    put_nibbles(&codes, &mut out[6..]);
}

/// Scale and codes 0 … 2·`half` − 1 (already moved up by `half`).
fn symmetric_codes(x: &[f32; 32], half: u8, ends: &[f32]) -> (f32, [u8; 32]) {
    let offset = f32::from(half);
    let grid = Symmetric { lo: -offset, hi: offset - 1.0 };
    let plain = scale_f16(extreme(x) / grid.lo);
    let fitted = around_f16(grid.fit(x, ends));
    let candidates = fitted.into_iter().chain([plain, 0.0]);
    let d = best_of(candidates, |d| grid.error(x, d)).unwrap_or(0.0);
    let inverse = inverse(d);
    // 0 … 31: nothing is cut off.
    (d, x.map(|v| (round_within(v * inverse, grid.lo, grid.hi) + offset) as u8))
}

pub(super) fn q4_1(x: &[f32; 32], out: &mut [u8; 20]) {
    let codes = affine_codes(x, 15.0, &MARGINS_15, &mut out[..4]);
    put_nibbles(&codes, &mut out[4..]);
}

pub(super) fn q5_1(x: &[f32; 32], out: &mut [u8; 24]) {
    let codes = affine_codes(x, 31.0, &MARGINS_31, &mut out[..4]);
    out[4..8].copy_from_slice(&fifth_bits(&codes).to_le_bytes());
    put_nibbles(&codes, &mut out[8..]);
}

/// Writes `d` and `m` to `head` and returns the codes.
fn affine_codes(x: &[f32; 32], top: f32, margins: &[(f32, f32)], head: &mut [u8]) -> [u8; 32] {
    let grid = Affine { top, max_min: f32::INFINITY };
    let low = x.iter().copied().fold(f32::INFINITY, f32::min);
    let high = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let plain = Line { scale: (high - low) / top, min: low };
    let fitted = grid.fit(x, margins);
    let lines = [fitted, plain].into_iter().flat_map(|line| {
        // A minimum that f16 had to move far (values far from 0) asks for another scale.
        around_f16(line.min).into_iter().map(move |min| {
            let reach = high.max(min + top * line.scale) - min;
            let scale = if min == line.min { line.scale } else { line.scale.min(reach / top) };
            Line { scale: scale_f16(scale), min }
        })
    });
    let line = best_of(lines, |line| grid.error(x, line)).unwrap_or_default();
    head[..2].copy_from_slice(&f16::from_f32(line.scale).to_le_bytes());
    head[2..].copy_from_slice(&f16::from_f32(line.min).to_le_bytes());
    grid.codes(x, line)
}

/// Codes −127 … 127: −128 is left out, so that ±d·127 are both there.
pub(super) fn q8_0(x: &[f32; 32], out: &mut [u8; 34]) {
    let grid = Symmetric { lo: -127.0, hi: 127.0 };
    let plain = extreme(x).abs() / 127.0;
    let [qq, xq] = grid.moments(x, inverse(plain));
    let fitted = if qq > 0.0 { xq / qq } else { 0.0 };
    let candidates = around_f16(plain).into_iter().chain([scale_f16(fitted)]);
    let d = best_of(candidates, |d| grid.error(x, d)).unwrap_or(0.0);
    out[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    let inverse = inverse(d);
    for (out, v) in out[2..].iter_mut().zip(x) {
        // Within ±127: nothing is cut off.
        *out = (round_within(v * inverse, grid.lo, grid.hi) as i8).cast_unsigned();
    }
}

/// Low nibbles: element j in the low half of byte j, element j + 16 in the high half.
fn put_nibbles(codes: &[u8; 32], out: &mut [u8]) {
    for (j, out) in out.iter_mut().enumerate() {
        *out = codes[j] & 15 | codes[j + 16] << 4;
    }
}

/// 5th bit of code i at bit i.
fn fifth_bits(codes: &[u8; 32]) -> u32 {
    codes.iter().enumerate().fold(0, |bits, (i, code)| bits | u32::from(code >> 4 & 1) << i)
}
