//! Blocks against ggml's own bytes and values (shared test data).

mod common;

use anygpu::base::DType;
use anygpu::quant::{PlaneLayout, decode, is_native};
use safetensors::SafeTensors;

/// The types in the vectors that can be decoded, as they are named there.
const VECTORS: [(DType, &str); 15] = [
    (DType::F16, "F16"),
    (DType::BF16, "BF16"),
    (DType::Q4_0, "Q4_0"),
    (DType::Q4_1, "Q4_1"),
    (DType::Q5_0, "Q5_0"),
    (DType::Q5_1, "Q5_1"),
    (DType::Q8_0, "Q8_0"),
    (DType::Q2K, "Q2_K"),
    (DType::Q3K, "Q3_K"),
    (DType::Q4K, "Q4_K"),
    (DType::Q5K, "Q5_K"),
    (DType::Q6K, "Q6_K"),
    (DType::IQ4NL, "IQ4_NL"),
    (DType::IQ4XS, "IQ4_XS"),
    (DType::MXFP4, "MXFP4"),
];

/// Rows and columns of every vector.
const ROWS: usize = 8;
const COLS: usize = 256;

/// The file of vectors, if there is shared data.
fn vectors() -> Option<Vec<u8>> {
    let path = common::shared()?.join("data/quant/quant_vectors.safetensors");
    Some(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

fn bytes<'a>(file: &SafeTensors<'a>, name: &str) -> &'a [u8] {
    file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data()
}

fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
    let values = bytes(file, name).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>();
    assert_eq!(values.len(), ROWS * COLS, "{name}");
    values
}

/// Fails at the first value whose bits differ.
fn same_bits(got: &[f32], want: &[f32]) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{} values, expected {}", got.len(), want.len()));
    }
    match got.iter().zip(want).position(|(got, want)| got.to_bits() != want.to_bits()) {
        Some(at) => Err(format!("value {at}: {:?}, expected {:?}", got[at], want[at])),
        None => Ok(()),
    }
}

#[test]
fn decoding_is_bit_exact() {
    let Some(data) = vectors() else { return };
    let file = SafeTensors::deserialize(&data).unwrap();
    for (dtype, name) in VECTORS {
        let want = floats(&file, &format!("{name}.f32"));
        let blocks = bytes(&file, &format!("{name}.bytes"));
        let mut got = vec![f32::NAN; want.len()];
        decode(dtype, blocks, &mut got).unwrap();
        same_bits(&got, &want).unwrap_or_else(|e| panic!("{name}: {e}"));

        if is_native(dtype) {
            let layout = PlaneLayout::new(dtype, COLS).unwrap();
            let mut quants = vec![0; ROWS * layout.quant_row_bytes];
            let mut scales = vec![0; ROWS * layout.scale_row_bytes];
            layout.repack(blocks, &mut quants, &mut scales).unwrap();
            for (row, want) in want.chunks_exact(COLS).enumerate() {
                let quants = &quants[row * layout.quant_row_bytes..][..layout.quant_row_bytes];
                let scales = &scales[row * layout.scale_row_bytes..][..layout.scale_row_bytes];
                let mut got = vec![f32::NAN; COLS];
                layout.decode_row(quants, scales, &mut got).unwrap();
                same_bits(&got, want).unwrap_or_else(|e| panic!("{name} planes, row {row}: {e}"));
            }
        }

        // The comparison can fail: one flipped bit in the codes is seen.
        let mut flipped = blocks.to_vec();
        flipped[40] ^= 1;
        decode(dtype, &flipped, &mut got).unwrap();
        assert!(same_bits(&got, &want).is_err(), "{name}: a flipped bit went unseen");
    }
}
