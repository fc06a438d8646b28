//! Pseudo-random words and weights of every native type, made on the GPU, or by the host where they are in textures: for
//! measuring, and for models without files.

use std::ops::Range;

use rayon::prelude::*;

use crate::base::DType;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Graph, Slice, Texture};
use crate::kernels::fill::{self, Mask, Pattern};
use crate::kernels::weights::{Part, Plane, Store};

/// Bytes that are made at a time on the host.
const PIECE_BYTES: usize = 8 << 20;

/// Fills the planes of `part`; weights come out at about ±0.03. Waits until that is done.
pub fn fill_part(gpu: &Gpu, part: &Part, seed: u32) -> Result<(), GpuError> {
    let patterns = patterns(part);
    let seeds = (seed, seed ^ 0x5CA1_E500);
    match (&part.quants, &part.scales) {
        (Plane::Rows(quants), Plane::Rows(scales)) => {
            fill_words(gpu, quants, &patterns.0, seeds.0)?;
            if part.layout.scale_row_bytes > 0 {
                fill_words(gpu, scales, &patterns.1, seeds.1)?;
            }
            Ok(())
        }
        // The same numbers: the host can make them, too.
        _ => {
            let rows =
                (PIECE_BYTES / part.layout.quant_row_bytes.max(1)).max(1).next_multiple_of(Store::TILE);
            for first in (0..part.rows).step_by(rows) {
                let rows = first..part.rows.min(first + rows);
                let quants = words(&patterns.0, seeds.0, &rows, part.layout.quant_row_bytes);
                let scales = words(&patterns.1, seeds.1, &rows, part.layout.scale_row_bytes);
                part.write(gpu, first, bytemuck::cast_slice(&quants), bytemuck::cast_slice(&scales))?;
            }
            Ok(())
        }
    }
}

/// What [`fill_words`] leaves in these rows of a plane.
fn words(pattern: &Pattern, seed: u32, rows: &Range<usize>, row_bytes: usize) -> Vec<u32> {
    let row_words = (row_bytes / 4) as u32;
    let word = |i| fill::word(pattern, seed, i);
    (rows.start as u32 * row_words..rows.end as u32 * row_words).into_par_iter().map(word).collect()
}

/// Fills a buffer. Waits until that is done.
pub fn fill_words(gpu: &Gpu, data: &Slice, pattern: &Pattern, seed: u32) -> Result<(), GpuError> {
    let step = fill::step(gpu, data, pattern, seed)?;
    gpu.run(&Graph::new(vec![step]), State::default())?;
    gpu.wait()
}

/// Fills the first `bytes` of a texture, whole texels, with what [`fill_words`] leaves in a buffer.
pub fn fill_texels(
    gpu: &Gpu,
    texture: &Texture,
    bytes: u64,
    pattern: &Pattern,
    seed: u32,
) -> Result<(), GpuError> {
    for first in (0..bytes).step_by(PIECE_BYTES) {
        let words = (first / 4) as u32..(bytes.min(first + PIECE_BYTES as u64) / 4) as u32;
        let piece: Vec<u32> = words.into_par_iter().map(|i| fill::word(pattern, seed, i)).collect();
        gpu.write_texels(texture, first / Texture::TEXEL_BYTES, bytemuck::cast_slice(&piece))?;
    }
    Ok(())
}

/// What the planes of a part hold: (quants, scales).
fn patterns(part: &Part) -> (Pattern, Pattern) {
    let words = part.scale_words();
    let plain = Pattern::plain;
    match part.dtype {
        DType::F32 => (plain(Mask::F32), plain(Mask::ANY)),
        DType::F16 => (plain(Mask::F16), plain(Mask::ANY)),
        DType::BF16 => (plain(Mask::BF16), plain(Mask::ANY)),
        DType::Q8_0 => (plain(Mask::ANY), plain(Mask::SMALL_SCALE)),
        // Scales, then words of fifth bits.
        DType::Q5_0 => (plain(Mask::ANY), partly(words, 0..part.blocks().div_ceil(2), Mask::SCALE)),
        DType::Q5_1 => (plain(Mask::ANY), partly(words, 0..part.blocks(), Mask::SCALE)),
        // d and dmin, then three words of 6-bit scales; the fifth bits of Q5_K may be anything.
        DType::Q4K | DType::Q5K => (plain(Mask::ANY), partly(4, 0..1, Mask::TINY_SCALE)),
        // Byte scales, then one d per superblock.
        DType::Q6K => (plain(Mask::ANY), partly(words, part.blocks() / 2..words, Mask::TINY_SCALE)),
        _ => (plain(Mask::ANY), plain(Mask::SCALE)),
    }
}

fn partly(period: u32, other_words: std::ops::Range<u32>, other: Mask) -> Pattern {
    Pattern { mask: Mask::ANY, period, other_words, other }
}
