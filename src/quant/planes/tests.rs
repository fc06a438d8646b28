//! Layouts written out by hand, bit equality with [`decode`], and sizes.

use proptest::prelude::*;

use super::*;
use crate::quant::{decode, is_native};

const NATIVE: [DType; 11] = [
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::Q8_0,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q4K,
    DType::Q5K,
    DType::Q6K,
];

/// Bytes that look random, different for every position.
fn noise(n: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = || {
        state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        (state >> 24) as u8 // the top byte
    };
    std::iter::repeat_with(next).take(n).collect()
}

fn planes(layout: &PlaneLayout, rows: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let n_rows = rows.len() / layout.file_row_bytes;
    // Not zeros: padding must be written too.
    let mut quants = vec![0xa5; n_rows * layout.quant_row_bytes];
    let mut scales = vec![0xa5; n_rows * layout.scale_row_bytes];
    layout.repack(rows, &mut quants, &mut scales).unwrap();
    (quants, scales)
}

/// Index of the first weight whose bits differ between the two ways of decoding `rows`.
fn first_difference(layout: &PlaneLayout, rows: &[u8], quants: &[u8], scales: &[u8]) -> Option<usize> {
    let n_rows = rows.len() / layout.file_row_bytes;
    let mut want = vec![0.0; n_rows * layout.cols];
    let mut got = want.clone();
    decode(layout.dtype, rows, &mut want).unwrap();
    for (row, got) in got.chunks_exact_mut(layout.cols).enumerate() {
        let quants = &quants[row * layout.quant_row_bytes..][..layout.quant_row_bytes];
        let scales = &scales[row * layout.scale_row_bytes..][..layout.scale_row_bytes];
        layout.decode_row(quants, scales, got).unwrap();
    }
    want.iter().zip(&got).position(|(want, got)| want.to_bits() != got.to_bits())
}

#[test]
fn planes_decode_to_the_same_bits() {
    for dtype in NATIVE {
        assert!(is_native(dtype));
        for n_blocks in [1, 2, 3, 4, 7, 9] {
            let layout = PlaneLayout::new(dtype, n_blocks * dtype.block_len()).unwrap();
            let rows = noise(3 * layout.file_row_bytes, n_blocks as u32);
            let (mut quants, scales) = planes(&layout, &rows);
            assert_eq!(first_difference(&layout, &rows, &quants, &scales), None, "{dtype} × {n_blocks}");
            // The check can fail: with the nibbles of every byte swapped it does.
            quants.iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
            assert_ne!(first_difference(&layout, &rows, &quants, &scales), None, "{dtype} × {n_blocks}");
        }
    }
}

#[test]
fn padding_is_zero_and_sizes_add_up() {
    for (dtype, cols, quant_bytes, scale_bytes) in [
        (DType::F32, 9, 128, 0),
        (DType::F16, 9, 64, 0),
        (DType::BF16, 172, 384, 0),
        (DType::Q8_0, 96, 96, 8),
        (DType::Q4_0, 96, 48, 8),
        (DType::Q4_1, 96, 48, 12),
        (DType::Q5_0, 96, 48, 8 + 12),
        (DType::Q5_1, 96, 48, 24),
        (DType::Q4K, 768, 384, 48),
        (DType::Q5K, 768, 384, 48 + 96),
        (DType::Q6K, 768, 576, 48 + 8),
    ] {
        let layout = PlaneLayout::new(dtype, cols).unwrap();
        assert_eq!((layout.quant_row_bytes, layout.scale_row_bytes), (quant_bytes, scale_bytes), "{dtype}");
        let ones = vec![0xff; layout.file_row_bytes];
        let (quants, scales) = planes(&layout, &ones);
        let n_set = quants.iter().chain(&scales).map(|byte| byte.count_ones() as usize).sum::<usize>();
        assert_eq!(n_set, 8 * layout.file_row_bytes, "{dtype}: bits of the file and no others");
    }
}

/// Weight `i` of a Q4-order block, read from words as the shader does.
fn word(bytes: &[u8], index: usize) -> u32 {
    u32::from_le_bytes(bytes[4 * index..][..4].try_into().unwrap())
}

#[test]
fn q4_order_is_as_written() {
    // Element i has code i % 16: file byte j = j | j << 4.
    let mut block = vec![0x00, 0x3c]; // d = 1
    block.extend((0..16).map(|j| j | j << 4));
    let (quants, scales) = planes(&PlaneLayout::new(DType::Q4_0, 32).unwrap(), &block);
    let want: [u32; 4] = [0x7362_5140, 0xfbea_d9c8, 0x7362_5140, 0xfbea_d9c8];
    assert_eq!(std::array::from_fn(|j| word(&quants, j)), want);
    assert_eq!(scales, [0x00, 0x3c, 0, 0]);
}

#[test]
fn q5_high_bits_are_as_written() {
    let layout = PlaneLayout::new(DType::Q5_0, 96).unwrap();
    let mut rows = vec![0; 66];
    rows[22..24].copy_from_slice(&[0x34, 0x12]); // d of block 1
    rows[22 + 2..22 + 6].copy_from_slice(&0x8000_0001_u32.to_le_bytes()); // its 5th bits
    let (_, scales) = planes(&layout, &rows);
    assert_eq!((0..5).map(|i| word(&scales, i)).collect::<Vec<_>>(), [0x1234_0000, 0, 0, 0x8000_0001, 0]);

    // Q5_K: bit 3 of byte 5 is the 5th bit of element 5 of block 3.
    let layout = PlaneLayout::new(DType::Q5K, 256).unwrap();
    let mut rows = vec![0; 176];
    rows[16 + 5] = 1 << 3;
    let (_, scales) = planes(&layout, &rows);
    assert_eq!(
        (0..12).map(|i| word(&scales, i)).collect::<Vec<_>>(),
        [0, 0, 0, 0, 0, 0, 0, 1 << 5, 0, 0, 0, 0]
    );
}

#[test]
fn q6_k_is_as_written() {
    // Element 128 + 2·32 + 17 (block 6, weight 17): code 0b10_1101.
    let layout = PlaneLayout::new(DType::Q6K, 512).unwrap();
    let mut rows = vec![0; 420];
    let block = &mut rows[210..];
    block[64 + 17] = 0b1101 << 4;
    block[128 + 32 + 17] = 0b10 << 4;
    block[192 + 13] = 7; // its scale
    block[208..].copy_from_slice(&[0xcd, 0xab]);
    let (quants, scales) = planes(&layout, &rows);
    let at = 192 + 6 * 16 + 2 * 4 + 1; // word 2 has weights 16–23: weight 17 in byte 1, low nibble
    assert_eq!(quants[at], 0b1101);
    assert_eq!(word(&quants[192 + 128..], 6 * 2 + 1), 0b10 << 2);
    assert_eq!(scales[16 + 13], 7);
    assert_eq!(word(&scales, 8), 0xabcd_0000);
}

#[test]
fn bad_requests_are_errors() {
    assert_eq!(PlaneLayout::new(DType::Q2K, 256), Err(QuantError::NoPlanes(DType::Q2K)));
    assert!(matches!(PlaneLayout::new(DType::F32, 0), Err(QuantError::BadRow { .. })));
    assert!(matches!(PlaneLayout::new(DType::F32, usize::MAX / 4), Err(QuantError::BadRow { .. })));
    let wide = usize::MAX / 256 * 256;
    assert!(matches!(PlaneLayout::new(DType::Q4K, wide), Err(QuantError::BadRow { .. })));
    assert!(matches!(PlaneLayout::new(DType::Q4K, 128), Err(QuantError::NotWholeBlocks { .. })));
    let layout = PlaneLayout::new(DType::Q8_0, 32).unwrap();
    for (file, quants, scales) in [(33, 32, 4), (34, 31, 4), (34, 32, 2), (68, 32, 4)] {
        let error = layout.repack(&vec![0; file], &mut vec![0; quants], &mut vec![0; scales]);
        assert!(matches!(error, Err(QuantError::Length { .. })), "{file} {quants} {scales}");
    }
    assert!(layout.decode_row(&[0; 32], &[0; 4], &mut [0.0; 31]).is_err());
    assert!(layout.decode_row(&[0; 32], &[0; 4], &mut [0.0; 64]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_survive_repacking(kind in 0..NATIVE.len(), n_blocks in 1_usize..6, seed: u32) {
        let layout = PlaneLayout::new(NATIVE[kind], n_blocks * NATIVE[kind].block_len()).unwrap();
        let rows = noise(2 * layout.file_row_bytes, seed);
        let (quants, scales) = planes(&layout, &rows);
        prop_assert_eq!(first_difference(&layout, &rows, &quants, &scales), None);
    }
}
