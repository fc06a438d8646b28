//! Rows of a tensor: stored type → f32 → type written, and what that loses.

use rayon::prelude::*;

use super::output::{Output, RowOrder, Source};
use super::{ConvertError, Result};
use crate::base::DType;
use crate::formats::Archive;
use crate::quant::{self, QuantError};

/// Bytes of f32 values that one thread works on at a time.
const TASK_BYTES: usize = 1 << 20;
/// Bytes of f32 values of one piece of a tensor.
const PIECE_BYTES: usize = 32 << 20;

/// Squares summed over a tensor: of the weights, and of what the new type adds to each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Squares {
    /// Σ w²
    pub(super) weights: f64,
    /// Σ (ŵ − w)²
    pub(super) errors: f64,
}

impl Squares {
    /// ‖ŵ − w‖ / ‖w‖; 0 of a tensor of zeros that stay zeros.
    pub(super) fn relative_error(self) -> f64 {
        if self.errors == 0.0 { 0.0 } else { (self.errors / self.weights).sqrt() }
    }

    fn add(self, other: Squares) -> Squares {
        Squares { weights: self.weights + other.weights, errors: self.errors + other.errors }
    }
}

/// A tensor as rows of `cols` values. A vector is one row, unless its elements change places.
pub(super) struct Rows<'a> {
    output: &'a Output,
    stored: Stored<'a>,
    cols: usize,
    rows: usize,
}

enum Stored<'a> {
    Bytes(&'a [u8]),
    Values(&'a [f32]),
}

impl<'a> Rows<'a> {
    pub(super) fn of(archive: &'a Archive, output: &'a Output) -> Result<Rows<'a>> {
        let stored = match &output.source {
            Source::Stored(name) => Stored::Bytes(archive.bytes(archive.tensor(name)?)),
            Source::Constant(values) => Stored::Values(values),
        };
        let reordered = output.order != RowOrder::Stored && output.shape.len() == 1;
        let cols = if reordered { 1 } else { output.cols() };
        // The format's reader has compared the product with the file.
        let rows = output.n_elements() as usize / cols.max(1);
        Ok(Rows { output, stored, cols, rows })
    }

    /// Ranges of rows that are worked on one after the other.
    pub(super) fn pieces(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (rows, step) = (self.rows, (PIECE_BYTES / 4 / self.cols.max(1)).max(1));
        (0..rows).step_by(step).map(move |row| row..rows.min(row + step))
    }

    /// Bytes of these rows in the source, for progress.
    pub(super) fn stored_bytes(&self, rows: &std::ops::Range<usize>) -> u64 {
        (rows.len() * self.output.from.row_bytes(self.cols).unwrap_or(0)) as u64
    }

    /// Rows as type `to`, in file layout, and the squares.
    pub(super) fn encoded(&self, rows: std::ops::Range<usize>, to: DType) -> Result<(Vec<u8>, Squares)> {
        let row_bytes = to.row_bytes(self.cols).unwrap_or(0).max(1);
        let mut out = vec![0u8; rows.len() * row_bytes];
        let per_task = (TASK_BYTES / 4 / self.cols.max(1)).max(1);
        let tasks: Vec<_> = out.chunks_mut(per_task * row_bytes).enumerate().collect();
        let work = |scratch: &mut [Vec<f32>; 2], (ix, out): (usize, &mut [u8])| {
            let first = rows.start + ix * per_task;
            let n = out.len() / row_bytes;
            self.encode(first..first + n, to, out, scratch)
        };
        let parts: Result<Vec<Squares>> =
            tasks.into_par_iter().map_init(<[Vec<f32>; 2]>::default, work).collect();
        // In order: the same sum on any number of cores.
        Ok((out, parts?.into_iter().fold(Squares::default(), Squares::add)))
    }

    fn encode(
        &self,
        rows: std::ops::Range<usize>,
        to: DType,
        out: &mut [u8],
        [values, back]: &mut [Vec<f32>; 2],
    ) -> Result<Squares> {
        let n = rows.len() * self.cols;
        values.resize(n, 0.0);
        back.resize(n, 0.0);
        self.decode(rows.clone(), values)?;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(self.not_finite(rows.start, at, values[at]));
        }
        let copied = to == self.output.from && self.output.order == RowOrder::Stored;
        match (&self.stored, copied) {
            (Stored::Bytes(bytes), true) => {
                let start = rows.start * out.len() / rows.len().max(1);
                out.copy_from_slice(&bytes[start..start + out.len()]);
            }
            _ => quant::encode(to, values, out).map_err(|cause| self.failed(rows.start, to, cause))?,
        }
        quant::decode(to, out, back).map_err(|cause| self.failed(rows.start, to, cause))?;
        let square = |x: f64| x * x;
        Ok(values.iter().zip(back).fold(Squares::default(), |sum, (w, b)| {
            let (w, b) = (f64::from(*w), f64::from(*b));
            sum.add(Squares { weights: square(w), errors: square(b - w) })
        }))
    }

    /// Rows in the order of the output.
    fn decode(&self, rows: std::ops::Range<usize>, values: &mut [f32]) -> Result<()> {
        let (from, cols) = (self.output.from, self.cols);
        let wrong = |cause| self.failed(rows.start, from, cause);
        match (&self.stored, self.output.order) {
            (Stored::Values(all), _) => values.copy_from_slice(&all[rows.start * cols..rows.end * cols]),
            (Stored::Bytes(bytes), RowOrder::Stored) => {
                let row_bytes = from.row_bytes(cols).unwrap_or(0);
                let bytes = &bytes[rows.start * row_bytes..rows.end * row_bytes];
                quant::decode(from, bytes, values).map_err(wrong)?;
            }
            (Stored::Bytes(bytes), order) => {
                let row_bytes = from.row_bytes(cols).unwrap_or(0);
                for (row, values) in rows.clone().zip(values.chunks_mut(cols.max(1))) {
                    let at = order.source(row) * row_bytes;
                    quant::decode(from, &bytes[at..at + row_bytes], values).map_err(wrong)?;
                }
            }
        }
        Ok(())
    }

    /// Name in the source and position there of element `at` behind row `first`.
    fn place(&self, first: usize, at: usize) -> (String, Vec<usize>) {
        let row = self.output.order.source(first + at / self.cols.max(1));
        let mut rest = row * self.cols + at % self.cols.max(1);
        let mut index: Vec<usize> = Vec::new();
        for dim in self.output.shape.iter().rev() {
            index.push(rest % dim.max(&1));
            rest /= dim.max(&1);
        }
        index.reverse();
        let name = match &self.output.source {
            Source::Stored(name) => name,
            Source::Constant(_) => &self.output.name,
        };
        (name.clone(), index)
    }

    fn not_finite(&self, first: usize, at: usize, value: f32) -> ConvertError {
        let (tensor, index) = self.place(first, at);
        ConvertError::NotFinite { tensor, index, value }
    }

    fn failed(&self, first: usize, to: DType, cause: QuantError) -> ConvertError {
        match cause {
            QuantError::NotFinite { index, value, .. } => self.not_finite(first, index, value),
            QuantError::OutOfRange { index, value, limit, .. } => {
                let (tensor, index) = self.place(first, index);
                ConvertError::OutOfRange { tensor, index, value, limit, to }
            }
            cause => ConvertError::Tensor { tensor: self.place(first, 0).0, cause },
        }
    }
}

/// What writing a tensor as `to` would lose. `progress` gets bytes read, returns false to cancel.
pub(super) fn squares(
    archive: &Archive,
    output: &Output,
    to: DType,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Squares> {
    let rows = Rows::of(archive, output)?;
    let mut sum = Squares::default();
    for piece in rows.pieces() {
        let bytes = rows.stored_bytes(&piece);
        sum = sum.add(rows.encoded(piece, to)?.1);
        if !progress(bytes) {
            return Err(ConvertError::Cancelled);
        }
    }
    Ok(sum)
}
