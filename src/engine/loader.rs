//! Tensors → parts on the GPU: decoded, quantized or transcoded as asked, repacked into planes, uploaded
//! piece by piece so that beside the GPU buffers only a few megabytes are held: one is converted while others are copied.

use std::path::Path;

use rayon::prelude::*;

use crate::base::DType;
use crate::engine::EngineError;
use crate::formats::{Archive, TensorInfo};
use crate::gpu::{Gpu, GpuError, Slice, Staging, staging};
use crate::kernels::rms_norm::NormWeights;
use crate::kernels::weights::{BLOCK, Part, Store};
use crate::plan::weights::fitting;
use crate::quant::{self, PlaneLayout, QuantError};

/// Bytes of a tensor's file data handled at a time.
const PIECE_BYTES: usize = 8 << 20;
/// Bytes that a thread only copies at a time.
const TASK_BYTES: usize = 256 << 10;
/// Rows that one thread converts at a time.
const ROWS_PER_TASK: usize = 32;

/// What to make of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Type on the GPU.
    pub dtype: DType,
    /// Type in the file.
    pub stored: DType,
}

/// The type that a matrix of `stored` type with rows of `cols` gets on the GPU. `wanted` is the user's
/// choice and applies to float weights only; where its blocks do not divide the rows, the next type
/// that does, of at least its precision.
pub fn target(stored: DType, cols: usize, wanted: Option<DType>, bytes: &[u8]) -> Target {
    let dtype = match wanted {
        Some(wanted) if stored.is_float() => fitting(wanted, cols),
        _ => quant::transcode_target(stored, bytes),
    };
    Target { dtype, stored }
}

/// Loads matrices and vectors of one archive onto one device.
pub struct Loader<'a> {
    /// Where from.
    pub archive: &'a Archive,
    /// Where to.
    pub gpu: &'a Gpu,
    /// Type for float weights; `None` keeps what the file has.
    pub quant: Option<DType>,
    /// On the way there.
    pub staging: Staging<'a>,
    /// Called with the number of file bytes done since the last call; returns false to cancel.
    pub progress: &'a mut dyn FnMut(u64) -> bool,
}

impl Loader<'_> {
    /// Matrices of equal width stacked by rows, as few parts as types and the adapter's limit on bindings
    /// allow. `names` in order; `first_row` of the parts counts through the stack.
    pub fn matrix(&mut self, label: &str, names: &[&str]) -> Result<Vec<Part>, EngineError> {
        let mut parts = Vec::new();
        let mut row = 0;
        let mut i = 0;
        while i < names.len() {
            let (target, cols) = self.target_of(names[i])?;
            let same = |name: &&str| matches!(self.target_of(name), Ok(t) if t.0.dtype == target.dtype);
            let run = names[i..].iter().take_while(|name| same(name)).count();
            let run = &names[i..i + run];
            let layout = layout(names[i], target.dtype, cols)?;
            let heights: Vec<usize> =
                run.iter().map(|name| self.info(name).map_or(0, |t| t.shape[0])).collect();
            let rows = heights.iter().sum();
            // Each of the stacked matrices is written from the first row of a tile on.
            let whole = heights[..heights.len() - 1].iter().all(|rows| rows.is_multiple_of(Store::TILE));
            let store = if whole { Store::of(self.gpu) } else { Store::Rows };
            let fresh = allocate(self.gpu, label, store, &layout, row, rows)?;
            let mut first = row;
            for name in run {
                self.fill(name, &fresh, first)?;
                first += self.info(name)?.shape[0];
            }
            parts.extend(fresh);
            row += rows;
            i += run.len();
        }
        Ok(parts)
    }

    /// A vector as f32, zero-padded to a multiple of 32.
    pub fn vector(&mut self, name: &str) -> Result<Slice, EngineError> {
        let mut values = self.values(name)?;
        values.resize(values.len().next_multiple_of(BLOCK), 0.0);
        Ok(self.gpu.upload(name, bytemuck::cast_slice(&values))?)
    }

    /// Weights of a norm, zero-padded to a multiple of 32.
    pub fn norm(&mut self, name: &str) -> Result<NormWeights, EngineError> {
        let values = self.values(name)?;
        Ok(NormWeights::upload(self.gpu, name, &values)?)
    }

    /// A small tensor as f32.
    pub fn values(&mut self, name: &str) -> Result<Vec<f32>, EngineError> {
        let info = self.info(name)?;
        let mut values = vec![0.0; info.n_elements()];
        quant::decode(info.dtype, self.archive.bytes(info), &mut values)
            .map_err(|cause| EngineError::Tensor { tensor: name.to_owned(), cause })?;
        self.done(info.range.len() as u64)?;
        Ok(values)
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, EngineError> {
        Ok(self.archive.tensor(name)?)
    }

    fn target_of(&self, name: &str) -> Result<(Target, usize), EngineError> {
        let info = self.info(name)?;
        let cols = info.shape[info.shape.len() - 1];
        Ok((target(info.dtype, cols, self.quant, self.archive.bytes(info)), cols))
    }

    fn done(&mut self, bytes: u64) -> Result<(), EngineError> {
        if (self.progress)(bytes) { Ok(()) } else { Err(EngineError::Cancelled) }
    }

    /// Converts and uploads all rows of tensor `name`, whose first row is row `first` of the stack.
    fn fill(&mut self, name: &str, parts: &[Part], first: usize) -> Result<(), EngineError> {
        let archive = self.archive;
        let info = archive.tensor(name)?;
        let layout = parts[0].layout;
        let file_row = info.dtype.row_bytes(layout.cols).unwrap_or(0).max(1);
        let data = archive.bytes(info);
        let rows_per_piece =
            (PIECE_BYTES / file_row.max(layout.quant_row_bytes)).max(1).next_multiple_of(Store::TILE);
        let rows = info.shape[0];
        let mut row = 0;
        while row < rows {
            let at = first + row;
            let part = parts
                .iter()
                .find(|part| (part.first_row..part.first_row + part.rows).contains(&at))
                .expect("parts cover every row of the stack");
            let n = rows_per_piece.min(rows - row).min(part.first_row + part.rows - at);
            let bytes = &data[row * file_row..(row + n) * file_row];
            let piece = Piece { stored: info.dtype, layout, store: part.store(), rows: n };
            let wrong = |trouble| match trouble {
                Trouble::Quant(cause) => EngineError::Tensor { tensor: name.to_owned(), cause },
                Trouble::Gpu(error) => error.into(),
            };
            self.staging.send(
                piece.bytes(),
                |planes| piece.convert(bytes, planes).map_err(wrong),
                |copies| part.copy(copies, [0, piece.scales_at()], at - part.first_row, n),
            )?;
            self.done(bytes.len() as u64)?;
            row += n;
        }
        Ok(())
    }
}

/// Parts for `rows` rows, each within the adapter's limit on bindings.
pub(super) fn allocate(
    gpu: &Gpu,
    label: &str,
    store: Store,
    layout: &PlaneLayout,
    first: usize,
    rows: usize,
) -> Result<Vec<Part>, EngineError> {
    let widest = layout.quant_row_bytes.max(layout.scale_row_bytes);
    let most = |store: Store| {
        let rows = store.max_bytes(gpu) / store.plane_bytes(store.tile(), widest).max(1);
        usize::try_from(rows).unwrap_or(usize::MAX).saturating_mul(store.tile())
    };
    let store = if most(store) == 0 { Store::Rows } else { store };
    let n = rows.div_ceil(most(store).max(1));
    let share = rows.div_ceil(n.max(1)).next_multiple_of(store.tile());
    (0..n)
        .map(|i| {
            let rows = share.min(rows - i * share);
            Ok(Part::allocate(gpu, label, store, first + i * share, rows, *layout)?)
        })
        .collect()
}

pub(super) fn layout(name: &str, dtype: DType, cols: usize) -> Result<PlaneLayout, EngineError> {
    PlaneLayout::new(dtype, cols).map_err(|cause| EngineError::Tensor { tensor: name.to_owned(), cause })
}

/// Rows of a file that become rows of a part: its plane of quants, then its plane of scales.
#[derive(Clone, Copy)]
struct Piece {
    stored: DType,
    layout: PlaneLayout,
    store: Store,
    rows: usize,
}

/// What a thread converts through: its last steps stay in its cache.
#[derive(Default)]
struct Scratch {
    values: Vec<f32>,
    native: Vec<u8>,
    quants: Vec<u8>,
    scales: Vec<u8>,
    arranged: Vec<u8>,
}

impl Piece {
    fn quants_bytes(&self, rows: usize) -> usize {
        self.store.plane_bytes(rows, self.layout.quant_row_bytes) as usize
    }

    fn scales_bytes(&self, rows: usize) -> usize {
        self.store.plane_bytes(rows, self.layout.scale_row_bytes) as usize
    }

    /// Where the scales begin.
    fn scales_at(&self) -> u64 {
        self.quants_bytes(self.rows) as u64
    }

    /// Both planes.
    fn bytes(&self) -> u64 {
        self.scales_at() + self.scales_bytes(self.rows) as u64
    }

    /// Converts `file_rows` into both planes, on all cores.
    fn convert(&self, file_rows: &[u8], planes: &staging::Piece) -> Result<(), Trouble> {
        let file_row = file_rows.len() / self.rows;
        let mut at = [0, self.scales_at() as usize];
        let mut tasks = Vec::new();
        for file in file_rows.chunks(ROWS_PER_TASK * file_row) {
            let rows = file.len() / file_row;
            tasks.push((file, rows, at));
            at = [at[0] + self.quants_bytes(rows), at[1] + self.scales_bytes(rows)];
        }
        let convert = |scratch: &mut Scratch, (file, rows, at): (&[u8], usize, [usize; 2])| {
            self.repack(scratch, file, rows)?;
            let Scratch { quants, scales, arranged, .. } = scratch;
            let (quant_row, scale_row) = (self.layout.quant_row_bytes, self.layout.scale_row_bytes);
            for (plane, row_bytes, at) in [(quants, quant_row, at[0]), (scales, scale_row, at[1])] {
                if row_bytes == 0 {
                    continue; // float types have no scales
                }
                let plane = if self.store == Store::Rows {
                    &*plane
                } else {
                    arranged.resize(self.store.plane_bytes(rows, row_bytes) as usize, 0);
                    self.store.arrange(plane, row_bytes, arranged);
                    &*arranged
                };
                planes.part(at..at + plane.len()).map_err(Trouble::Gpu)?.copy_from_slice(plane);
            }
            Ok(())
        };
        tasks.into_par_iter().try_for_each_init(Scratch::default, convert)
    }

    /// Rows of the file → the scratch's quants and scales.
    fn repack(&self, scratch: &mut Scratch, file: &[u8], rows: usize) -> Result<(), Trouble> {
        let Piece { stored, layout, .. } = *self;
        let Scratch { values, native, quants, scales, .. } = scratch;
        let file = match stored == layout.dtype {
            true => file,
            false => converted(stored, &layout, file, rows, values, native).map_err(Trouble::Quant)?,
        };
        quants.resize(rows * layout.quant_row_bytes, 0);
        scales.resize(rows * layout.scale_row_bytes, 0);
        layout.repack(file, quants, scales).map_err(Trouble::Quant)
    }
}

/// What stops a conversion.
enum Trouble {
    Quant(QuantError),
    Gpu(GpuError),
}

/// Rows of `stored` type → rows of the layout's type, in file layout.
fn converted<'s>(
    stored: DType,
    layout: &PlaneLayout,
    file: &[u8],
    rows: usize,
    values: &mut Vec<f32>,
    native: &'s mut Vec<u8>,
) -> Result<&'s [u8], QuantError> {
    let n = rows * layout.cols;
    native.resize(n / layout.dtype.block_len() * layout.dtype.block_bytes(), 0);
    if !stored.is_float() {
        quant::transcode(stored, layout.dtype, file, native)?;
        return Ok(native);
    }
    values.resize(n, 0.0);
    quant::decode(stored, file, values)?;
    match layout.dtype {
        DType::F32 => native.copy_from_slice(bytemuck::cast_slice(values)),
        dtype => quant::encode(dtype, values, native)?,
    }
    Ok(native)
}

/// The first part of loading alone: reads every tensor of a model's files, on all cores; bytes read. For measuring.
pub fn read_only(path: &Path) -> Result<u64, EngineError> {
    let archive = Archive::open(path)?;
    let mut piece = vec![0u8; PIECE_BYTES];
    let mut total = 0;
    for tensor in archive.tensors.values() {
        for bytes in archive.bytes(tensor).chunks(PIECE_BYTES) {
            let to = piece.par_chunks_mut(TASK_BYTES).zip(bytes.par_chunks(TASK_BYTES));
            to.for_each(|(to, from)| to[..from.len()].copy_from_slice(from));
            total += bytes.len() as u64;
        }
    }
    Ok(total)
}

/// The last part of loading alone: writes so many bytes to memory of the adapter that nobody wrote to before. For measuring.
pub fn upload_only(gpu: &Gpu, bytes: u64) -> Result<(), EngineError> {
    let host: Vec<u8> = (0..PIECE_BYTES).map(|i| ((i * 31) >> 3) as u8).collect();
    let mut staging = Staging::new(gpu);
    let mut written = Vec::new();
    let mut left = bytes as usize;
    while left > 0 {
        let n = left.min(PIECE_BYTES).next_multiple_of(4);
        let to = gpu.buffer("upload", n as u64)?;
        let fill = |piece: &staging::Piece| {
            let ranges = (0..n).step_by(TASK_BYTES).map(|at| at..n.min(at + TASK_BYTES));
            let parts = ranges.map(|range| Ok((piece.part(range.clone())?, range)));
            let parts = parts.collect::<Result<Vec<_>, GpuError>>()?;
            parts.into_par_iter().for_each(|(mut to, range)| to.copy_from_slice(&host[range]));
            Ok::<(), GpuError>(())
        };
        staging.send(n as u64, fill, |copies| copies.to_slice(0, &to, 0, n as u64))?;
        written.push(to);
        left = left.saturating_sub(n);
    }
    Ok(gpu.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_do_not_divide_the_rows_get_a_finer_stand_in() {
        for (wanted, cols, expected) in [
            (DType::Q4K, 512, DType::Q4K),
            (DType::Q4K, 576, DType::Q5_0),
            (DType::Q5K, 96, DType::Q5_1),
            (DType::Q6K, 64, DType::Q8_0),
            (DType::Q6K, 172, DType::F16),
            (DType::Q4_0, 172, DType::F16),
            (DType::F16, 172, DType::F16),
        ] {
            assert_eq!(target(DType::F32, cols, Some(wanted), &[]).dtype, expected, "{wanted} of {cols}");
        }
        assert_eq!(target(DType::Q4K, 512, Some(DType::Q8_0), &[]).dtype, DType::Q4K);
        assert_eq!(target(DType::Q3K, 512, None, &[]).dtype, DType::Q6K);
    }
}
