//! Decoders of the 256-element superblocks with quantized scales: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K.
//!
//! Offsets below are bytes in the superblock. The order of the f32 operations is part of the format:
//! scale products first, then times the code, then minus the minimum.

use super::float::f16_at;

/// 16 bytes of (scale | min << 4) per 16 elements at 0, 64 bytes of 2-bit codes at 16, `d` at 80,
/// `dmin` at 82; w = d·scale·q − dmin·min. Byte l of each 32-byte half holds elements l, l + 32,
/// l + 64, l + 96 of its 128 elements, from the low bits up.
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(block[group] & 15);
        let min = dmin * f32::from(block[group] >> 4);
        let (codes, shift) = two_bit_group(&block[16..80], group);
        for (o, byte) in out.iter_mut().zip(codes) {
            *o = scale * f32::from(byte >> shift & 3) - min;
        }
    }
}

/// 32 bytes of high bits at 0 (bit b of byte l: element 32·b + l), 64 bytes of 2-bit codes at 32 as in
/// Q2_K, 12 bytes of 6-bit scales at 96, `d` at 108; w = d·(scale − 32)·(q − 4).
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16_at(block, 108);
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(q3_scale(block, group));
        for (i, o) in out.iter_mut().enumerate() {
            *o = scale * f32::from(q3_code(block, group * 16 + i));
        }
    }
}

/// Scale of 16-element group `group` of a Q3_K superblock, −32 … 31: low nibbles of the 12 bytes hold
/// groups 0–7, high nibbles of the first 8 groups 8–15, the last 4 bytes the two high bits.
pub(super) fn q3_scale(block: &[u8; 110], group: usize) -> i8 {
    let scales = &block[96..108];
    let low = scales[group % 8] >> (group / 8 * 4) & 15;
    let high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    (low | high << 4).cast_signed() - 32
}

/// Code of element `i` of a Q3_K superblock, −4 … 3.
pub(super) fn q3_code(block: &[u8; 110], i: usize) -> i8 {
    let (codes, shift) = two_bit_group(&block[32..96], i / 16);
    let low = codes[i % 16] >> shift & 3;
    let high = block[i % 32] >> (i / 32) & 1;
    (low | high << 2).cast_signed() - 4
}

/// The 16 bytes, and the shift in them, of the 2-bit codes of 16-element group `group`.
fn two_bit_group(codes: &[u8], group: usize) -> (&[u8], usize) {
    let start = group / 8 * 32 + group % 2 * 16;
    (&codes[start..start + 16], group % 8 / 2 * 2)
}

/// `d` at 0, `dmin` at 2, 12 bytes of 6-bit scales and mins at 4, 128 code bytes at 16;
/// w = d·scale·q − dmin·min per 32 elements. Byte l of 32-byte part p holds element 64·p + l in its low
/// nibble and 64·p + 32 + l in its high nibble.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_and_min(&block[..16], sub);
        for (o, byte) in out.iter_mut().zip(&block[16 + sub / 2 * 32..]) {
            *o = scale * f32::from(byte >> (sub % 2 * 4) & 15) - min;
        }
    }
}

/// As Q4_K, with 32 bytes of 5th bits at 16 (bit `sub` of byte l: element 32·sub + l) and the code
/// bytes at 48.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_and_min(&block[..16], sub);
        let codes = block[48 + sub / 2 * 32..].iter().zip(&block[16..48]);
        for (o, (byte, high)) in out.iter_mut().zip(codes) {
            let code = byte >> (sub % 2 * 4) & 15 | (high >> sub & 1) << 4;
            *o = scale * f32::from(code) - min;
        }
    }
}

/// 128 bytes of low nibbles at 0, 64 bytes of high bit pairs at 128, 16 i8 scales at 192 (one per 16
/// elements), `d` at 208; w = d·scale·(q − 32). In each half of 128 elements, block k of 32 has its low
/// nibbles in bytes (k & 1)·32 … of the half's 64, low nibble for k < 2, and its high bits at bits 2·k
/// of the half's 32.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at(block, 208);
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(block[192 + group].cast_signed());
        let (half, k, side) = (group / 8, group / 2 % 4, group % 2 * 16);
        let low = &block[half * 64 + k % 2 * 32 + side..];
        let high = &block[128 + half * 32 + side..];
        for (o, (low, high)) in out.iter_mut().zip(low.iter().zip(high)) {
            let code = low >> (k / 2 * 4) & 15 | (high >> (k * 2) & 3) << 4;
            *o = scale * f32::from(code.cast_signed() - 32);
        }
    }
}

/// d·scale and dmin·min of 32-element block `sub`, from the first 16 bytes of a Q4_K or Q5_K superblock
/// (or of its scale plane, which keeps them as they are).
pub(super) fn scale_and_min(head: &[u8], sub: usize) -> (f32, f32) {
    let (d, dmin) = (f16_at(head, 0), f16_at(head, 2));
    let (scale, min) = six_bit_pair(&head[4..16], sub);
    (d * f32::from(scale), dmin * f32::from(min))
}

/// 6-bit (scale, min) of block `sub` from the 12 packed bytes: blocks 0–3 have theirs in the low 6 bits
/// of bytes 0–3 and 4–7; blocks 4–7 have low nibbles in bytes 8–11 (scale low, min high) and the high
/// bit pairs on top of bytes 0–3 and 4–7.
fn six_bit_pair(packed: &[u8], sub: usize) -> (u8, u8) {
    if sub < 4 {
        (packed[sub] & 63, packed[sub + 4] & 63)
    } else {
        let low = packed[sub + 4];
        (low & 15 | packed[sub - 4] >> 6 << 4, low >> 4 | packed[sub] >> 6 << 4)
    }
}
