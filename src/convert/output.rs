//! [`Output`]: one tensor of the file to be written, and where it comes from.

use crate::base::DType;
use crate::plan::weights::{fitting, output_type};

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A matrix of a layer.
    Matrix,
    /// Embedding or output matrix.
    Outer,
    /// Norm, bias or other vector: stays f32.
    Vector,
    /// Not used by the model as we know it: copied as it is.
    Other,
}

/// Where values come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The archive's tensor of this name.
    Stored(String),
    /// Computed while converting.
    Constant(Vec<f32>),
}

/// Order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// As stored.
    Stored,
    /// Within each head of `head_dim` rows, the first `rotary_dim` from halves (i, i + d/2) to neighbours
    /// (2i, 2i + 1): GGUF's architecture `llama` rotates neighbours.
    Interleaved {
        /// Rows per head.
        head_dim: usize,
        /// Rows that are rotated.
        rotary_dim: usize,
    },
}

impl RowOrder {
    /// The stored row that becomes row `row`.
    pub fn source(self, row: usize) -> usize {
        match self {
            RowOrder::Stored => row,
            RowOrder::Interleaved { head_dim, rotary_dim } => {
                let (head, at) = (row / head_dim, row % head_dim);
                let at = if at < rotary_dim { at % 2 * (rotary_dim / 2) + at / 2 } else { at };
                head * head_dim + at
            }
        }
    }
}

/// One tensor of the file to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Name in the file.
    pub name: String,
    /// Values.
    pub source: Source,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Type stored.
    pub from: DType,
    /// Type to be written.
    pub to: DType,
    /// What it is for.
    pub kind: Kind,
    /// Order of rows (of elements, in vectors).
    pub order: RowOrder,
}

impl Output {
    /// A tensor that stays as it is stored.
    pub(super) fn stored(name: &str, source: &str, shape: &[usize], dtype: DType, kind: Kind) -> Output {
        Output {
            name: name.to_owned(),
            source: Source::Stored(source.to_owned()),
            shape: shape.to_vec(),
            from: dtype,
            to: dtype,
            kind,
            order: RowOrder::Stored,
        }
    }

    /// The type that `--quant quant` gives it.
    pub fn type_for(&self, quant: DType) -> DType {
        match self.kind {
            Kind::Matrix => fitting(quant, self.cols()),
            Kind::Outer => fitting(output_type(quant), self.cols()),
            Kind::Vector => DType::F32,
            Kind::Other => self.from,
        }
    }

    /// Elements of a row.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Number of elements.
    pub fn n_elements(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }

    /// Bytes as `dtype`; 0 where rows are no whole blocks.
    pub fn bytes(&self, dtype: DType) -> u64 {
        let rows = self.n_elements() / (self.cols() as u64).max(1);
        rows * dtype.row_bytes(self.cols()).unwrap_or(0) as u64
    }

    /// `attn_q` of `blk.3.attn_q.weight`, `attn_q.bias` of a bias.
    pub fn role(&self) -> &str {
        let name = self.name.strip_suffix(".weight").unwrap_or(&self.name);
        let inner = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        inner.map_or(name, |(_, role)| role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_heads_are_interleaved() {
        let source = |order: RowOrder, n| (0..n).map(|row| order.source(row)).collect::<Vec<_>>();
        let order = RowOrder::Interleaved { head_dim: 4, rotary_dim: 4 };
        assert_eq!(source(order, 8), [0, 2, 1, 3, 4, 6, 5, 7]);
        let order = RowOrder::Interleaved { head_dim: 6, rotary_dim: 4 };
        assert_eq!(source(order, 6), [0, 2, 1, 3, 4, 5]);
        assert_eq!(source(RowOrder::Stored, 3), [0, 1, 2]);
    }

    #[test]
    fn roles_leave_out_the_layer() {
        for (name, role) in [
            ("blk.3.attn_q.weight", "attn_q"),
            ("blk.11.attn_q.bias", "attn_q.bias"),
            ("token_embd.weight", "token_embd"),
            ("rope_freqs.weight", "rope_freqs"),
        ] {
            assert_eq!(Output::stored(name, name, &[1], DType::F32, Kind::Vector).role(), role);
        }
    }
}
