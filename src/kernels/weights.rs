//! Weight matrices as kernels see them: the loader of each format, and a part of a matrix on the GPU.

use crate::base::DType;
use crate::gpu::{Gpu, GpuError, Slice, Snippet};
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

/// The snippets that load weights of a native type, in order.
pub fn loader(dtype: DType) -> Vec<Snippet> {
    let mut snippets = vec![snippet!("shared/block.wgsl"), snippet!("shared/weights.wgsl")];
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
    snippets
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
    pub quants: Slice,
    /// Plane of scales: [rows, scale_row_bytes]; [`Gpu::empty`] for float types.
    pub scales: Slice,
    /// Row sizes of the planes.
    pub layout: PlaneLayout,
}

impl Part {
    /// Allocates planes for `rows` rows, to be filled through [`repack`].
    pub fn allocate(
        gpu: &Gpu,
        what: &str,
        dtype: DType,
        first_row: usize,
        rows: usize,
        layout: PlaneLayout,
    ) -> Result<Part, GpuError> {
        let quants = gpu.buffer(what, rows as u64 * layout.quant_row_bytes as u64)?;
        let scales = match layout.scale_row_bytes {
            0 => gpu.empty(),
            bytes => gpu.buffer(what, rows as u64 * bytes as u64)?,
        };
        Ok(Part { dtype, first_row, rows, cols: layout.cols, quants, scales, layout })
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
