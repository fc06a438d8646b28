//! F32, F16 and BF16: little-endian numbers without blocks.

use half::{bf16, f16};

/// f16 at `bytes[at..at + 2]`, little endian, widened.
pub(super) fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// u32 at `bytes[at..at + 4]`, little endian.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn decode_f32(bytes: &[u8], out: &mut [f32]) {
    for (b, o) in bytes.as_chunks().0.iter().zip(out) {
        *o = f32::from_le_bytes(*b);
    }
}

pub(super) fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    for (b, o) in bytes.as_chunks().0.iter().zip(out) {
        *o = f16::from_le_bytes(*b).to_f32();
    }
}

pub(super) fn decode_bf16(bytes: &[u8], out: &mut [f32]) {
    for (b, o) in bytes.as_chunks().0.iter().zip(out) {
        *o = bf16::from_le_bytes(*b).to_f32();
    }
}
