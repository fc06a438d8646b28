//! Weight matrices as kernels see them: the loader of each format, and a part of a matrix on the GPU.

use rayon::prelude::*;

use crate::base::{AdapterFacts, AdapterKind, DType};
use crate::gpu::{Access, Bind, Copies, Gpu, GpuError, Resource, Slice, Snippet, Texture};
use crate::quant::{PlaneLayout, QuantError};

/// Types that kernels compute with directly.
pub const NATIVE: [DType; 11] = [
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

/// Types that kernels also multiply as bytes, with activations rounded to bytes.
pub const INT8: [DType; 3] = [DType::Q8_0, DType::Q4_0, DType::Q4K];

/// The types in the short form of verification, which must be short: one of each way to load weights.
pub const QUICK: [DType; 4] = [DType::F16, DType::Q8_0, DType::Q4K, DType::Q6K];

/// Weights per block as loaders count them, whatever the format.
pub const BLOCK: usize = 32;

macro_rules! snippet {
    ($path:literal) => {
        crate::gpu::Snippet { path: $path, wgsl: include_str!(concat!("../../shaders/", $path)) }
    };
}
pub(crate) use snippet;

const TEXEL: usize = Texture::TEXEL_BYTES as usize;

/// How the planes of a part are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Store {
    /// In buffers, row after row: what GPUs coalesce.
    #[default]
    Rows,
    /// In textures, as tiles of [`Store::TILE`] rows: what some CPU adapters load faster.
    Tiles,
}

impl Store {
    /// Rows of a tile.
    pub const TILE: usize = 8;

    /// Rows that are stored together.
    pub fn tile(self) -> usize {
        if self == Store::Tiles { Store::TILE } else { 1 }
    }

    /// The class of checks that tells whether this way works on an adapter.
    pub const TILES_CLASS: &'static str = "weights/tiles";

    /// The one for this adapter.
    pub fn of(gpu: &Gpu) -> Store {
        // Measured: half again as fast on llvmpipe, a fifth slower on SwiftShader.
        let pays = gpu.facts().name.contains("llvmpipe") && Store::Tiles.runs_on(gpu.facts());
        if pays && !gpu.is_banned(Store::TILES_CLASS) { Store::Tiles } else { Store::Rows }
    }

    /// Is it for this adapter, if it pays?
    pub fn runs_on(self, facts: &AdapterFacts) -> bool {
        self == Store::Rows || facts.kind == AdapterKind::Cpu && facts.max_storage_textures >= 2
    }

    /// Most bytes of a plane.
    pub fn max_bytes(self, gpu: &Gpu) -> u64 {
        match self {
            Store::Rows => gpu.max_bound_bytes(),
            Store::Tiles => gpu.max_texture_bytes(),
        }
    }

    /// Bytes of a plane, with padding.
    pub fn plane_bytes(self, rows: usize, row_bytes: usize) -> u64 {
        let (rows, row_bytes) = match self {
            Store::Rows => (rows, row_bytes),
            Store::Tiles => (rows.next_multiple_of(Store::TILE), row_bytes.next_multiple_of(TEXEL)),
        };
        rows as u64 * row_bytes as u64
    }

    /// Whole rows, from the first of a tile on, as a plane holds them; `out` is [`Store::plane_bytes`] long.
    pub fn arrange(self, rows: &[u8], row_bytes: usize, out: &mut [u8]) {
        match self {
            Store::Rows => out.copy_from_slice(rows),
            Store::Tiles if row_bytes == 0 => {}
            Store::Tiles => {
                out.fill(0);
                let tiles = out.chunks_mut(tile_bytes(row_bytes)).zip(rows.chunks(row_bytes * Store::TILE));
                tiles.for_each(|(tile, rows)| interleave(rows, row_bytes, tile));
            }
        }
    }
}

/// For labels of checks.
impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Store::Tiles { ", in tiles" } else { "" })
    }
}

/// Rows of `row_bytes` as tiles: [rows / 8, texels of a row, 8] texels.
fn tiles(rows: &[u8], row_bytes: usize) -> Vec<u8> {
    let tile_bytes = tile_bytes(row_bytes);
    let mut out = vec![0; rows.len().div_ceil(row_bytes * Store::TILE) * tile_bytes];
    let whole = out.par_chunks_mut(tile_bytes).zip(rows.par_chunks(row_bytes * Store::TILE));
    whole.for_each(|(tile, rows)| interleave(rows, row_bytes, tile));
    out
}

/// Bytes of a tile whose rows have `row_bytes`.
fn tile_bytes(row_bytes: usize) -> usize {
    row_bytes.div_ceil(TEXEL) * Store::TILE * TEXEL
}

/// At most [`Store::TILE`] rows into one tile. What pads it stays as it is.
fn interleave(rows: &[u8], row_bytes: usize, tile: &mut [u8]) {
    for (r, row) in rows.chunks_exact(row_bytes).enumerate() {
        let (texels, rest) = row.as_chunks::<TEXEL>();
        for (i, texel) in texels.iter().enumerate() {
            tile[(i * Store::TILE + r) * TEXEL..][..TEXEL].copy_from_slice(texel);
        }
        if !rest.is_empty() {
            tile[(texels.len() * Store::TILE + r) * TEXEL..][..rest.len()].copy_from_slice(rest);
        }
    }
}

/// A plane of a part.
#[derive(Clone, Debug)]
pub enum Plane {
    /// [`Store::Rows`]
    Rows(Slice),
    /// [`Store::Tiles`]
    Tiles(Texture),
}

impl Bind for Plane {
    fn resource(&self) -> Resource<'_> {
        match self {
            Plane::Rows(slice) => slice.resource(),
            Plane::Tiles(texture) => texture.resource(),
        }
    }
}

impl Plane {
    /// Zeroed, for `rows` rows of `row_bytes`.
    fn allocate(
        gpu: &Gpu,
        what: &str,
        store: Store,
        rows: usize,
        row_bytes: usize,
    ) -> Result<Plane, GpuError> {
        match store {
            Store::Rows if row_bytes == 0 => Ok(Plane::Rows(gpu.empty())),
            Store::Rows => Ok(Plane::Rows(gpu.buffer(what, rows as u64 * row_bytes as u64)?)),
            Store::Tiles => Ok(Plane::Tiles(gpu.texture(what, store.plane_bytes(rows, row_bytes))?)),
        }
    }

    /// Writes whole rows. The first is the first of a tile, the last is the last of one or of the plane.
    fn write(&self, gpu: &Gpu, first_row: usize, rows: &[u8], row_bytes: usize) -> Result<(), GpuError> {
        match self {
            _ if rows.is_empty() => Ok(()),
            Plane::Rows(slice) => gpu.write_large(slice, first_row as u64 * row_bytes as u64, rows),
            Plane::Tiles(texture) => {
                assert!(first_row.is_multiple_of(Store::TILE), "whole tiles");
                let first = Store::Tiles.plane_bytes(first_row, row_bytes) / Texture::TEXEL_BYTES;
                gpu.write_texels(texture, first, &tiles(rows, row_bytes))
            }
        }
    }

    /// Copies whole rows from a piece of staging memory, arranged as [`Store::arrange`] does, from `from` on. The first is
    /// the first of a tile.
    fn copy(&self, copies: &mut Copies<'_>, from: u64, first_row: usize, rows: usize, row_bytes: usize) {
        if rows * row_bytes == 0 {
            return;
        }
        match self {
            Plane::Rows(slice) => {
                copies.to_slice(from, slice, (first_row * row_bytes) as u64, (rows * row_bytes) as u64);
            }
            Plane::Tiles(texture) => {
                assert!(first_row.is_multiple_of(Store::TILE), "whole tiles");
                let texels = |rows| Store::Tiles.plane_bytes(rows, row_bytes) / Texture::TEXEL_BYTES;
                copies.to_texture(from, texture, texels(first_row), texels(rows));
            }
        }
    }
}

/// The snippet that reads planes which are stored so, and how it declares them.
fn planes(store: Store) -> (Snippet, Vec<(&'static str, Access)>) {
    match store {
        Store::Rows => (snippet!("shared/planes_rows.wgsl"), vec![]),
        Store::Tiles => {
            let both = ["quants", "scales"].map(|plane| (plane, Access::Texture));
            (snippet!("shared/planes_tiles.wgsl"), both.into())
        }
    }
}

/// The snippets that load weights of a type in [`INT8`] as bytes, in order, and how they declare the planes.
pub fn int8_loader(dtype: DType, store: Store) -> (Vec<Snippet>, Vec<(&'static str, Access)>) {
    let (planes, bound_as) = planes(store);
    let mut snippets = vec![planes, snippet!("shared/half.wgsl"), snippet!("shared/weights_int8.wgsl")];
    match dtype {
        DType::Q8_0 => snippets.push(snippet!("shared/load_q8_0_int8.wgsl")),
        DType::Q4_0 => snippets.push(snippet!("shared/load_q4_0_int8.wgsl")),
        DType::Q4K => {
            snippets.extend([snippet!("shared/k_scales.wgsl"), snippet!("shared/load_q4_k_int8.wgsl")]);
        }
        _ => unreachable!("{dtype} is not in INT8"),
    }
    (snippets, bound_as)
}

/// The snippets that load weights of a native type, in order, and how they declare the planes.
pub fn loader(dtype: DType, store: Store) -> (Vec<Snippet>, Vec<(&'static str, Access)>) {
    let (planes, bound_as) = planes(store);
    let half = snippet!("shared/half.wgsl");
    let mut snippets = vec![snippet!("shared/block.wgsl"), planes, half, snippet!("shared/weights.wgsl")];
    let k_scales = snippet!("shared/k_scales.wgsl");
    match dtype {
        DType::F32 => snippets.push(snippet!("shared/load_f32.wgsl")),
        DType::F16 => snippets.push(snippet!("shared/load_f16.wgsl")),
        DType::BF16 => snippets.push(snippet!("shared/load_bf16.wgsl")),
        DType::Q8_0 => snippets.push(snippet!("shared/load_q8_0.wgsl")),
        DType::Q4_0 => snippets.push(snippet!("shared/load_q4_0.wgsl")),
        DType::Q4_1 => snippets.push(snippet!("shared/load_q4_1.wgsl")),
        DType::Q5_0 => snippets.push(snippet!("shared/load_q5_0.wgsl")),
        DType::Q5_1 => snippets.push(snippet!("shared/load_q5_1.wgsl")),
        DType::Q4K => snippets.extend([k_scales, snippet!("shared/load_q4_k.wgsl")]),
        DType::Q5K => snippets.extend([k_scales, snippet!("shared/load_q5_k.wgsl")]),
        DType::Q6K => snippets.push(snippet!("shared/load_q6_k.wgsl")),
        DType::Q2K | DType::Q3K | DType::IQ4NL | DType::IQ4XS | DType::MXFP4 => {
            unreachable!("the engine transcodes {dtype} to a native type before it makes a part")
        }
    }
    (snippets, bound_as)
}

/// Consecutive rows of one matrix (or of several stacked ones) in one native type, on the GPU.
#[derive(Clone, Debug)]
pub struct Part {
    /// Element type.
    pub dtype: DType,
    /// First row of this part in the whole matrix.
    pub first_row: usize,
    /// Rows of this part.
    pub rows: usize,
    /// Weights per row.
    pub cols: usize,
    /// Plane of quants: [rows, quant_row_bytes].
    pub quants: Plane,
    /// Plane of scales: [rows, scale_row_bytes]; nothing of use for float types.
    pub scales: Plane,
    /// Row sizes of the planes.
    pub layout: PlaneLayout,
}

impl Part {
    /// Allocates planes for `rows` rows, to be filled with [`Part::write`].
    pub fn allocate(
        gpu: &Gpu,
        what: &str,
        store: Store,
        first_row: usize,
        rows: usize,
        layout: PlaneLayout,
    ) -> Result<Part, GpuError> {
        let quants = Plane::allocate(gpu, what, store, rows, layout.quant_row_bytes)?;
        let scales = match (layout.scale_row_bytes, &quants) {
            // Nobody reads it, but something has to be bound.
            (0, Plane::Tiles(_)) => quants.clone(),
            (bytes, _) => Plane::allocate(gpu, what, store, rows, bytes)?,
        };
        Ok(Part { dtype: layout.dtype, first_row, rows, cols: layout.cols, quants, scales, layout })
    }

    /// Writes rows of both planes, as [`repack`] makes them, from row `first` of the part on. In tiles: from the first row
    /// of a tile to the last of one, or of the part.
    pub fn write(&self, gpu: &Gpu, first: usize, quants: &[u8], scales: &[u8]) -> Result<(), GpuError> {
        self.quants.write(gpu, first, quants, self.layout.quant_row_bytes)?;
        self.scales.write(gpu, first, scales, self.layout.scale_row_bytes)
    }

    /// As [`Part::write`], of `rows` rows in staging memory, whose planes begin at these offsets there.
    pub fn copy(&self, copies: &mut Copies<'_>, [quants, scales]: [u64; 2], first: usize, rows: usize) {
        self.quants.copy(copies, quants, first, rows, self.layout.quant_row_bytes);
        self.scales.copy(copies, scales, first, rows, self.layout.scale_row_bytes);
    }

    /// How it is stored.
    pub fn store(&self) -> Store {
        match self.quants {
            Plane::Rows(_) => Store::Rows,
            Plane::Tiles(_) => Store::Tiles,
        }
    }

    /// Bytes of both planes of a matrix [rows, cols]; 0 when rows are no whole blocks.
    pub fn planes_bytes(dtype: DType, [rows, cols]: [usize; 2]) -> u64 {
        let layout = PlaneLayout::new(dtype, cols);
        layout.map_or(0, |l| (rows * (l.quant_row_bytes + l.scale_row_bytes)) as u64)
    }

    /// Blocks of 32 per row.
    pub fn blocks(&self) -> u32 {
        self.cols.div_ceil(BLOCK) as u32
    }

    /// Words of the scales plane per row.
    pub fn scale_words(&self) -> u32 {
        (self.layout.scale_row_bytes / 4) as u32
    }

    /// Bytes of both planes: what a matvec over this part must read.
    pub fn bytes(&self) -> u64 {
        self.rows as u64 * (self.layout.quant_row_bytes + self.layout.scale_row_bytes) as u64
    }
}

/// Repacks rows in file layout into planes, returned as (quants, scales).
pub fn repack(layout: &PlaneLayout, file_rows: &[u8]) -> Result<(Vec<u8>, Vec<u8>), QuantError> {
    let rows = file_rows.len() / layout.file_row_bytes.max(1);
    let mut quants = vec![0; rows * layout.quant_row_bytes];
    let mut scales = vec![0; rows * layout.scale_row_bytes];
    layout.repack(file_rows, &mut quants, &mut scales)?;
    Ok((quants, scales))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::graph::State;
    use crate::gpu::{AdapterChoice, GpuOptions, Graph};
    use crate::kernels::linear::Linear;
    use crate::kernels::variants::Variants;
    use crate::kernels::{check, matvec, random};

    #[test]
    fn tiles_are_padded_and_interleaved() {
        // Nine rows of 20 bytes, each byte the row's number: two tiles of two texels.
        let rows: Vec<u8> = (1..=9).flat_map(|row| [row; 20]).collect();
        let tiled = tiles(&rows, 20);
        assert_eq!(tiled.len() as u64, Store::Tiles.plane_bytes(9, 20));
        let texel = |i: usize| &tiled[i * 16..][..16];
        assert_eq!((texel(0), texel(7)), (&[1; 16][..], &[8; 16][..]));
        assert_eq!(texel(8 + 2)[..5], [3, 3, 3, 3, 0]);
        assert_eq!((texel(16), texel(17)), (&[9; 16][..], &[0; 16][..]));
        assert_eq!(texel(24)[3..5], [9, 0]);
        // Arranged over what stood there before.
        let mut arranged = vec![7; tiled.len()];
        Store::Tiles.arrange(&rows, 20, &mut arranged);
        assert_eq!(arranged, tiled);
    }

    /// In several pieces, of which all but the first begin within a line of texels.
    #[test]
    fn both_stores_hold_the_same_weights() {
        let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default()).expect("an adapter");
        for (dtype, rows, cols) in
            [(DType::Q8_0, 10_011, 1056), (DType::F16, 5_003, 1056), (DType::Q5K, 1_003, 768)]
        {
            let layout = PlaneLayout::new(dtype, cols).expect("whole blocks");
            let x = check::floats(&gpu, &check::uniform(3, cols)).expect("small");
            let state = State { n_tokens: 1, ..State::default() };
            let state_slice = check::state(&gpu, state).expect("small");
            let product = |store: Store| {
                let part = Part::allocate(&gpu, "weights", store, 0, rows, layout).expect("some megabytes");
                random::fill_part(&gpu, &part, 5).expect("the device stays");
                let y = check::marked(&gpu, rows).expect("small");
                let linear = Linear {
                    part: &part,
                    x: &x,
                    y: &y,
                    y_stride: rows,
                    y_first: 0,
                    bias: None,
                    accumulate: false,
                    of_logits: false,
                    state: &state_slice,
                };
                let variant = Variants::of(&gpu).matvec(dtype, 1);
                let steps = vec![matvec::step(&gpu, "y", variant, linear).expect("a step")];
                gpu.run(&Graph::new(steps), state).expect("runs");
                bytemuck::pod_collect_to_vec::<u8, f32>(&gpu.read(&y).expect("read"))[..rows].to_vec()
            };
            let (of_rows, of_tiles) = (product(Store::Rows), product(Store::Tiles));
            assert!(of_rows.iter().all(|v| v.is_finite() && v.abs() > 1e-9), "{dtype}");
            for (row, (a, b)) in of_rows.iter().zip(&of_tiles).enumerate() {
                assert!((a - b).abs() <= 1e-4 * a.abs().max(0.1), "{dtype} row {row}: {a} and {b}");
            }
        }
    }
}
