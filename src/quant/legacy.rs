//! Decoders of the 32-element blocks: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
//!
//! In the 4- and 5-bit types byte j of the 16 code bytes holds element j in its low nibble and element
//! j + 16 in its high nibble. Scales are f16. The 5th bits stand in a u32, bit i for element i.

use super::float::{f16_at, u32_at};

/// `d` f16, 16 code bytes; w = (q − 8)·d.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for (j, byte) in block[2..].iter().enumerate() {
        out[j] = (f32::from(byte & 15) - 8.0) * d;
        out[j + 16] = (f32::from(byte >> 4) - 8.0) * d;
    }
}

/// `d`, `m` f16, 16 code bytes; w = q·d + m.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    for (j, byte) in block[4..].iter().enumerate() {
        out[j] = f32::from(byte & 15) * d + m;
        out[j + 16] = f32::from(byte >> 4) * d + m;
    }
}

/// `d` f16, u32 of 5th bits, 16 code bytes; w = (q − 16)·d.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let (d, high) = (f16_at(block, 0), u32_at(block, 2));
    for (j, byte) in block[6..].iter().enumerate() {
        out[j] = (f32::from((byte & 15) | fifth_bit(high, j)) - 16.0) * d;
        out[j + 16] = (f32::from((byte >> 4) | fifth_bit(high, j + 16)) - 16.0) * d;
    }
}

/// `d`, `m` f16, u32 of 5th bits, 16 code bytes; w = q·d + m.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m, high) = (f16_at(block, 0), f16_at(block, 2), u32_at(block, 4));
    for (j, byte) in block[8..].iter().enumerate() {
        out[j] = f32::from((byte & 15) | fifth_bit(high, j)) * d + m;
        out[j + 16] = f32::from((byte >> 4) | fifth_bit(high, j + 16)) * d + m;
    }
}

/// `d` f16, 32 i8; w = q·d.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for (o, byte) in out.iter_mut().zip(&block[2..]) {
        *o = f32::from(byte.cast_signed()) * d;
    }
}

/// Bit `i` of `high`, moved to where it belongs in a code: 0 or 16.
pub(super) fn fifth_bit(high: u32, i: usize) -> u8 {
    u8::from(high >> i & 1 == 1) << 4
}
