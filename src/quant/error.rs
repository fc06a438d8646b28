//! [`QuantError`]: what can go wrong between f32 values, blocks and planes.

use crate::base::DType;

/// Why values could not be decoded, encoded, repacked or transcoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantError {
    /// A row or slice that does not end at a block border.
    #[error("{cols} elements are not a whole number of {dtype} blocks of {block_len}")]
    NotWholeBlocks {
        /// Type whose blocks are meant.
        dtype: DType,
        /// Elements found.
        cols: usize,
        /// Elements per block.
        block_len: usize,
    },
    /// A slice whose length does not fit the others.
    #[error("{dtype} {what}: expected {expected} bytes or elements, found {found}")]
    Length {
        /// Type being worked on.
        dtype: DType,
        /// Which slice.
        what: &'static str,
        /// Length it must have.
        expected: usize,
        /// Length it has.
        found: usize,
    },
    /// NaN or infinity among the values to encode.
    #[error("cannot encode to {dtype}: value {index} is {value}")]
    NotFinite {
        /// Type encoded to.
        dtype: DType,
        /// Position in the slice of values.
        index: usize,
        /// The value there.
        value: f32,
    },
    /// A value beyond what the type's f16 scales can express.
    #[error("cannot encode to {dtype}: value {index} is {value}, beyond ±{limit}")]
    OutOfRange {
        /// Type encoded to.
        dtype: DType,
        /// Position in the slice of values.
        index: usize,
        /// The value there.
        value: f32,
        /// Largest magnitude that can be encoded.
        limit: f32,
    },
    /// A type that can be read but not written.
    #[error("there is no encoder for {0}")]
    NoEncoder(DType),
    /// A type without a GPU layout.
    #[error("{0} has no plane layout: transcode it first")]
    NoPlanes(DType),
    /// Sizes that overflow or are zero.
    #[error("{dtype} rows of {cols} elements cannot be laid out")]
    BadRow {
        /// Type asked for.
        dtype: DType,
        /// Elements per row.
        cols: usize,
    },
}

impl QuantError {
    /// The same error with element positions moved up by `start`, where the failing slice began.
    pub(super) fn at(mut self, start: usize) -> QuantError {
        if let QuantError::NotFinite { index, .. } | QuantError::OutOfRange { index, .. } = &mut self {
            *index += start;
        }
        self
    }
}
