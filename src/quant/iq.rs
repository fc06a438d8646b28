//! Decoders of the 4-bit types whose codes index a table: IQ4_NL, IQ4_XS, MXFP4.
//!
//! Nibbles are ordered as in [`legacy`](super::legacy): byte j has elements j and j + 16.

use super::float::f16_at;

/// Values of the 16 codes of IQ4_NL and IQ4_XS (`kvalues_iq4nl` in ggml-common.h).
pub(super) const IQ4_VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the values of the 16 FP4 (E2M1) codes: OCP Microscaling Formats v1.0, §5.3.3.
pub(super) const FP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// `d` f16, 16 code bytes; w = d·value(q).
pub(super) fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    look_up(&IQ4_VALUES, f16_at(block, 0), &block[2..], out);
}

/// `d` f16 at 0, u16 of high scale bit pairs at 2, 4 bytes of low scale nibbles at 4, 128 code bytes at
/// 8: 16 per 32 elements; w = d·(scale − 32)·value(q).
pub(super) fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = f16_at(block, 0);
    for (sub, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        look_up(&IQ4_VALUES, d * f32::from(iq4_xs_scale(block, sub)), iq4_xs_codes(block, sub), out);
    }
}

/// Scale of 32-element block `sub` of an IQ4_XS superblock, −32 … 31.
pub(super) fn iq4_xs_scale(block: &[u8; 136], sub: usize) -> i8 {
    let high = u16::from_le_bytes([block[2], block[3]]);
    let low = block[4 + sub / 2] >> (sub % 2 * 4) & 15;
    let high = (high >> (sub * 2) & 3) as u8; // two bits
    (low | high << 4).cast_signed() - 32
}

/// The 16 code bytes of 32-element block `sub` of an IQ4_XS superblock.
pub(super) fn iq4_xs_codes(block: &[u8; 136], sub: usize) -> &[u8] {
    &block[8 + sub * 16..][..16]
}

/// Exponent byte e, 16 code bytes; w = 2^(e − 127)·FP4(q).
pub(super) fn mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    look_up(&FP4_VALUES, half_e8m0(block[0]), &block[1..], out);
}

/// 2^(e − 128): half of an E8M0 scale, as [`FP4_VALUES`] are doubled. Subnormal for e < 2.
pub(super) fn half_e8m0(e: u8) -> f32 {
    let bits = match e {
        0 => 1 << 21, // 2^-128
        1 => 1 << 22, // 2^-127
        e => u32::from(e - 1) << 23,
    };
    f32::from_bits(bits)
}

fn look_up(values: &[i8; 16], d: f32, codes: &[u8], out: &mut [f32; 32]) {
    for (j, byte) in codes.iter().enumerate() {
        out[j] = d * f32::from(values[usize::from(byte & 15)]);
        out[j + 16] = d * f32::from(values[usize::from(byte >> 4)]);
    }
}
