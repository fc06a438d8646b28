//! File layout → planes, one row at a time. Layouts: [parent module](super).

use super::super::float::u32_at;
use crate::base::DType;

/// Repacks one row; lengths were checked by the caller.
pub(super) fn row(dtype: DType, file: &[u8], quants: &mut [u8], scales: &mut [u8]) {
    match dtype {
        DType::Q8_0 => q8_0(file, quants, scales),
        DType::Q4_0 => blocks_32::<18, 2>(file, quants, scales),
        DType::Q4_1 => blocks_32::<20, 4>(file, quants, scales),
        DType::Q5_0 => blocks_32::<22, 2>(file, quants, scales),
        DType::Q5_1 => blocks_32::<24, 4>(file, quants, scales),
        DType::Q4K => q4_k(file, quants, scales),
        DType::Q5K => q5_k(file, quants, scales),
        DType::Q6K => q6_k(file, quants, scales),
        _ => {
            quants[..file.len()].copy_from_slice(file);
            quants[file.len()..].fill(0);
        }
    }
}

fn q8_0(file: &[u8], quants: &mut [u8], scales: &mut [u8]) {
    scales.fill(0); // the padding
    for (b, block) in file.chunks_exact(34).enumerate() {
        scales[2 * b..][..2].copy_from_slice(&block[..2]);
        quants[32 * b..][..32].copy_from_slice(&block[2..]);
    }
}

/// Q4_0, Q4_1, Q5_0, Q5_1: blocks of `BYTES` that start with `HEAD` bytes of f16 scales and end with 16
/// code bytes; what stands between are the 5th bits.
fn blocks_32<const BYTES: usize, const HEAD: usize>(file: &[u8], quants: &mut [u8], scales: &mut [u8]) {
    let n_blocks = file.len() / BYTES;
    let (heads, highs) = scales.split_at_mut((HEAD * n_blocks).next_multiple_of(4));
    heads[HEAD * n_blocks..].fill(0);
    for (b, block) in file.chunks_exact(BYTES).enumerate() {
        heads[HEAD * b..][..HEAD].copy_from_slice(&block[..HEAD]);
        let high = &block[HEAD..BYTES - 16];
        highs[high.len() * b..][..high.len()].copy_from_slice(high);
        let codes: [u32; 4] = words(&block[BYTES - 16..]);
        let low = codes.map(|word| word & LOW_NIBBLES);
        let high = codes.map(|word| word >> 4 & LOW_NIBBLES);
        let packed =
            [pair(low[0], low[1]), pair(low[2], low[3]), pair(high[0], high[1]), pair(high[2], high[3])];
        put(&mut quants[16 * b..], packed);
    }
}

fn q4_k(file: &[u8], quants: &mut [u8], scales: &mut [u8]) {
    for (s, block) in file.chunks_exact(144).enumerate() {
        scales[16 * s..][..16].copy_from_slice(&block[..16]);
        for part in 0..4 {
            nibble_part(&block[16 + 32 * part..], &mut quants[128 * s + 32 * part..], 16);
        }
    }
}

fn q5_k(file: &[u8], quants: &mut [u8], scales: &mut [u8]) {
    let (heads, highs) = scales.split_at_mut(file.len() / 176 * 16);
    for (s, block) in file.chunks_exact(176).enumerate() {
        heads[16 * s..][..16].copy_from_slice(&block[..16]);
        for part in 0..4 {
            nibble_part(&block[48 + 32 * part..], &mut quants[128 * s + 32 * part..], 16);
        }
        for sub in 0..8 {
            put(&mut highs[32 * s + 4 * sub..], [bit_of_each_byte(&block[16..48], sub)]);
        }
    }
}

fn q6_k(file: &[u8], quants: &mut [u8], scales: &mut [u8]) {
    let (subscales, ds) = scales.split_at_mut(file.len() / 210 * 16);
    ds.fill(0); // the padding
    for (s, block) in file.chunks_exact(210).enumerate() {
        subscales[16 * s..][..16].copy_from_slice(&block[192..208]);
        ds[2 * s..][..2].copy_from_slice(&block[208..]);
        let (low, high) = quants[192 * s..][..192].split_at_mut(128);
        for half in 0..2 {
            // Low nibbles of bytes 0–31 are block 0 of the half, high nibbles block 2; 32–63: 1 and 3.
            for part in 0..2 {
                nibble_part(&block[64 * half + 32 * part..], &mut low[64 * half + 16 * part..], 32);
            }
            for k in 0..4 {
                let source = &block[128 + 32 * half..][..32];
                let pairs = [pair_of_each_byte(&source[..16], k), pair_of_each_byte(&source[16..], k)];
                put(&mut high[32 * half + 8 * k..], pairs);
            }
        }
    }
}

const LOW_NIBBLES: u32 = 0x0f0f_0f0f;

/// Eight weights in Q4 order, from two words with one code per byte.
fn pair(first: u32, second: u32) -> u32 {
    first | second << 4
}

/// 32 bytes whose low nibbles are one block and whose high nibbles are another → the first block's 16
/// bytes at `out[0]`, the other's at `out[other_at]`.
fn nibble_part(bytes: &[u8], out: &mut [u8], other_at: usize) {
    let codes: [u32; 8] = words(bytes);
    let packed = |shift: u32| -> [u32; 4] {
        std::array::from_fn(|j| {
            pair(codes[2 * j] >> shift & LOW_NIBBLES, codes[2 * j + 1] >> shift & LOW_NIBBLES)
        })
    };
    put(out, packed(0));
    put(&mut out[other_at..], packed(4));
}

/// Bit `bit` of each of 32 bytes, byte l's at bit l.
fn bit_of_each_byte(bytes: &[u8], bit: usize) -> u32 {
    bytes.iter().enumerate().fold(0, |word, (l, byte)| word | u32::from(byte >> bit & 1) << l)
}

/// Bits 2k and 2k + 1 of each of 16 bytes, byte l's at bit 2l.
fn pair_of_each_byte(bytes: &[u8], k: usize) -> u32 {
    bytes.iter().enumerate().fold(0, |word, (l, byte)| word | u32::from(byte >> (2 * k) & 3) << (2 * l))
}

fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    std::array::from_fn(|i| u32_at(bytes, 4 * i))
}

fn put<const N: usize>(out: &mut [u8], words: [u32; N]) {
    for (out, word) in out.as_chunks_mut().0.iter_mut().zip(words) {
        *out = word.to_le_bytes();
    }
}
