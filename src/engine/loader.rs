//! Tensors → parts on the GPU: decoded, quantized or transcoded as asked, repacked into planes, uploaded
//! piece by piece so that beside the GPU buffers only a few megabytes are held.

use rayon::prelude::*;

use crate::base::DType;
use crate::engine::EngineError;
use crate::formats::{Archive, TensorInfo};
use crate::gpu::{Gpu, Slice};
use crate::kernels::weights::{BLOCK, Part, Store};
use crate::plan::weights::fitting;
use crate::quant::{self, PlaneLayout};

/// Bytes of a tensor's file data handled at a time.
const PIECE_BYTES: usize = 8 << 20;
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
        let mut planes = (Vec::new(), Vec::new());
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
            convert(info.dtype, &layout, bytes, &mut planes)
                .map_err(|cause| EngineError::Tensor { tensor: name.to_owned(), cause })?;
            part.write(self.gpu, at - part.first_row, &planes.0, &planes.1)?;
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

/// File rows of `stored` type → planes of `layout`, on all cores.
fn convert(
    stored: DType,
    layout: &PlaneLayout,
    file_rows: &[u8],
    planes: &mut (Vec<u8>, Vec<u8>),
) -> Result<(), quant::QuantError> {
    let file_row = stored.row_bytes(layout.cols).unwrap_or(0).max(1);
    let rows = file_rows.len() / file_row;
    planes.0.resize(rows * layout.quant_row_bytes, 0);
    planes.1.resize(rows * layout.scale_row_bytes, 0);
    let tasks: Vec<_> = file_rows
        .chunks(ROWS_PER_TASK * file_row)
        .zip(planes.0.chunks_mut(ROWS_PER_TASK * layout.quant_row_bytes))
        .zip(split(&mut planes.1, ROWS_PER_TASK * layout.scale_row_bytes, rows.div_ceil(ROWS_PER_TASK)))
        .collect();
    tasks.into_par_iter().try_for_each(|((file, quants), scales)| {
        if stored == layout.dtype {
            return layout.repack(file, quants, scales);
        }
        let n = file.len() / file_row * layout.cols;
        let mut native = vec![0; n / layout.dtype.block_len() * layout.dtype.block_bytes()];
        if stored.is_float() {
            let mut values = vec![0.0; n];
            quant::decode(stored, file, &mut values)?;
            if layout.dtype == DType::F32 {
                native.copy_from_slice(bytemuck::cast_slice(&values));
            } else {
                quant::encode(layout.dtype, &values, &mut native)?;
            }
        } else {
            quant::transcode(stored, layout.dtype, file, &mut native)?;
        }
        layout.repack(&native, quants, scales)
    })
}

/// `n` pieces of `piece` bytes (the last may be shorter); `n` empty ones when `piece` is 0.
fn split(bytes: &mut [u8], piece: usize, n: usize) -> Vec<&mut [u8]> {
    if piece == 0 {
        return (0..n).map(|_| &mut [][..]).collect();
    }
    bytes.chunks_mut(piece).collect()
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
