//! The layout in which shaders read weights: per matrix a plane of quants (bound as
//! `array<vec4<u32>>`) and a plane of scales (`array<u32>`), with the bits per weight of the file format
//! and only padding added. Rows are laid out one by one, so rows of several matrices of one type and
//! width can be concatenated.
//!
//! A row has `cols` weights, B = cols/32 blocks b and, in K types, S = cols/256 superblocks s. Words are
//! u32, little endian; "f16 packed" means item i in half i & 1 of word i >> 1, zero-padded to a word.
//! Q4 order: word j of a block's four holds weight 8j + i in the low and weight 8j + 4 + i in the high
//! nibble of byte i, so that `word & 0x0f0f0f0f` is weights 8j … 8j+3 and the rest the next four.
//!
//! | type | quants row | scales row |
//! |---|---|---|
//! | F32 | f32, zero-padded to 32 weights | – |
//! | F16, BF16 | 16-bit values, zero-padded to 32 weights | – |
//! | Q8_0 | 32 i8 per block | d: B f16 packed |
//! | Q4_0 | 16 bytes per block, Q4 order | d: B f16 packed |
//! | Q4_1 | as Q4_0 | B words d \| m << 16 |
//! | Q5_0 | as Q4_0: the low 4 bits | d: B f16 packed; B words of 5th bits (bit i: weight i) |
//! | Q5_1 | as Q4_0: the low 4 bits | B words d \| m << 16; B words of 5th bits |
//! | Q4_K | as Q4_0 | S × 4 words: d \| dmin << 16, 12 bytes of 6-bit scales as in the file |
//! | Q5_K | as Q4_0: the low 4 bits | S × 4 words as Q4_K; B words of 5th bits |
//! | Q6_K | per superblock 8 × 16 bytes of low 4 bits as Q4_0, then 8 × 2 words of high bit pairs (word h, bits 2i: weight 16h + i) | S × 4 words: 16 i8 scales; d: S f16 packed |

mod decode;
mod repack;

use super::QuantError;
use super::decode::check_bytes;
use crate::base::DType;

/// Sizes of one matrix row in the two planes; what a row holds stands in the [module docs](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive] // made by `new`, which keeps the sizes consistent
pub struct PlaneLayout {
    /// A natively computed type.
    pub dtype: DType,
    /// Weights per row.
    pub cols: usize,
    /// Bytes of a row in file layout.
    pub file_row_bytes: usize,
    /// Bytes of a row in the quants plane, a multiple of 16.
    pub quant_row_bytes: usize,
    /// Bytes of a row in the scales plane, a multiple of 4; 0 for float types.
    pub scale_row_bytes: usize,
}

/// Weights to which float rows are padded: shaders read every type in blocks of 32.
const FLOAT_PADDING: usize = 32;

/// Most bytes that a weight takes in any plane or file (F32); padding stays below 128 bytes a row.
const MAX_WEIGHT_BYTES: usize = 4;

impl PlaneLayout {
    /// Layout of rows of `cols` weights. Fails for types without native compute and for rows that are
    /// not whole blocks.
    pub fn new(dtype: DType, cols: usize) -> Result<PlaneLayout, QuantError> {
        if !super::is_native(dtype) {
            return Err(QuantError::NoPlanes(dtype));
        }
        let max_bytes = cols.checked_mul(MAX_WEIGHT_BYTES).and_then(|bytes| bytes.checked_add(128));
        if cols == 0 || max_bytes.is_none() {
            return Err(QuantError::BadRow { dtype, cols });
        }
        let block_len = dtype.block_len();
        let file_row_bytes =
            dtype.row_bytes(cols).ok_or(QuantError::NotWholeBlocks { dtype, cols, block_len })?;
        let (b, s) = (cols / 32, cols / 256);
        let packed_f16 = |n: usize| n.div_ceil(2) * 4;
        let (quant_row_bytes, scale_row_bytes) = match dtype {
            DType::F32 => (cols.next_multiple_of(FLOAT_PADDING) * 4, 0),
            DType::F16 | DType::BF16 => (cols.next_multiple_of(FLOAT_PADDING) * 2, 0),
            DType::Q8_0 => (32 * b, packed_f16(b)),
            DType::Q4_0 => (16 * b, packed_f16(b)),
            DType::Q4_1 => (16 * b, 4 * b),
            DType::Q5_0 => (16 * b, packed_f16(b) + 4 * b),
            DType::Q5_1 => (16 * b, 8 * b),
            DType::Q4K => (128 * s, 16 * s),
            DType::Q5K => (128 * s, 16 * s + 4 * b),
            DType::Q6K => (192 * s, 16 * s + packed_f16(s)),
            _ => return Err(QuantError::NoPlanes(dtype)),
        };
        Ok(PlaneLayout { dtype, cols, file_row_bytes, quant_row_bytes, scale_row_bytes })
    }

    /// Repacks whole rows from file layout. `rows_bytes`: `[rows, file_row_bytes]`, `quants`:
    /// `[rows, quant_row_bytes]`, `scales`: `[rows, scale_row_bytes]`; every byte of both is written.
    pub fn repack(&self, rows_bytes: &[u8], quants: &mut [u8], scales: &mut [u8]) -> Result<(), QuantError> {
        let rows = rows_bytes.len() / self.file_row_bytes;
        self.check("rows in file layout", rows * self.file_row_bytes, rows_bytes.len())?;
        self.check("quants plane", rows * self.quant_row_bytes, quants.len())?;
        self.check("scales plane", rows * self.scale_row_bytes, scales.len())?;
        for (row, file) in rows_bytes.chunks_exact(self.file_row_bytes).enumerate() {
            let quants = &mut quants[row * self.quant_row_bytes..][..self.quant_row_bytes];
            let scales = &mut scales[row * self.scale_row_bytes..][..self.scale_row_bytes];
            repack::row(self.dtype, file, quants, scales);
        }
        Ok(())
    }

    /// Decodes one row from its planes into `out`: `[cols]` f32, with the bits that
    /// [`decode`](super::decode()) gives for the row in file layout. The reference of the shaders' loaders.
    pub fn decode_row(&self, quants: &[u8], scales: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
        self.check("row of the quants plane", self.quant_row_bytes, quants.len())?;
        self.check("row of the scales plane", self.scale_row_bytes, scales.len())?;
        check_bytes(self.dtype, "decoded row", out.len(), self.file_row_bytes)?;
        decode::row(self.dtype, quants, scales, out);
        Ok(())
    }

    fn check(&self, what: &'static str, expected: usize, found: usize) -> Result<(), QuantError> {
        if expected == found {
            return Ok(());
        }
        Err(QuantError::Length { dtype: self.dtype, what, expected, found })
    }
}

#[cfg(test)]
mod tests;
