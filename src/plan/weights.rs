//! Which type every matrix gets, and how the engine stacks them: the list of matrices that a token passes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::DType;
use crate::model::ModelSpec;
use crate::model::spec::LayerTensors;
use crate::quant::{PlaneLayout, native_for};

/// The embedding and output matrices keep at least 6 bits: errors there reach the logits directly.
pub fn output_type(quant: DType) -> DType {
    match quant {
        DType::Q4_0 | DType::Q4_1 | DType::Q5_0 | DType::Q5_1 | DType::Q4K | DType::Q5K => DType::Q6K,
        other => other,
    }
}

/// `dtype`, or what stands in for it when rows of `cols` are not whole blocks of it.
pub fn fitting(dtype: DType, cols: usize) -> DType {
    let mut dtype = dtype;
    while !cols.is_multiple_of(dtype.block_len()) {
        dtype = match dtype {
            DType::Q4K => DType::Q5_0,
            DType::Q5K => DType::Q5_1,
            DType::Q6K => DType::Q8_0,
            _ => DType::F16,
        };
    }
    dtype
}

/// Consecutive rows of one type that are multiplied with the same vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// Type on the device.
    pub dtype: DType,
    /// Rows.
    pub rows: usize,
    /// Weights per row.
    pub cols: usize,
    /// Gate and up in one: then their activation is no step of its own, unless the adapter needs several parts.
    pub gated: bool,
}

impl Matrix {
    /// Bytes of its planes; `None` when rows are no whole blocks.
    pub fn bytes(&self) -> Option<u64> {
        let layout = PlaneLayout::new(self.dtype, self.cols).ok()?;
        Some((layout.quant_row_bytes + layout.scale_row_bytes) as u64 * self.rows as u64)
    }
}

/// Every matrix of a model as the engine has them on the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrices {
    /// Those of all layers, in order; Q, K and V of one type are one, gate and up too.
    pub layers: Vec<Matrix>,
    /// The output matrix.
    pub output: Matrix,
    /// The embedding, unless it is the output matrix.
    pub embedding: Option<Matrix>,
    /// Floats of all vectors (norms, biases).
    pub vector_floats: u64,
}

impl Matrices {
    /// The matrices of `spec`. `stored` tells the type in the file by tensor name; `quant` is the wish for float
    /// weights.
    pub fn of(spec: &ModelSpec, stored: &dyn Fn(&str) -> DType, quant: Option<DType>) -> Matrices {
        let shapes: BTreeMap<&str, Vec<usize>> = spec.expected_tensors().into_iter().collect();
        let matrix = |name: &str, quant: Option<DType>| {
            let shape = shapes.get(name).map_or(&[0, 1][..], |shape| shape);
            let (rows, cols) = (shape[0], shape[shape.len() - 1]);
            let dtype = match quant {
                Some(quant) if stored(name).is_float() => fitting(quant, cols),
                _ => native_for(stored(name)),
            };
            Matrix { dtype, rows, cols, gated: false }
        };
        let mut layers: Vec<Matrix> = Vec::new();
        for LayerTensors { q, k, v, o, gate, up, down, .. } in &spec.tensors.layers {
            for (stack, gated) in
                [(&[q, k, v][..], false), (&[o], false), (&[gate, up], true), (&[down], false)]
            {
                let mut last: Option<Matrix> = None;
                for name in stack {
                    let next = matrix(name, quant);
                    match &mut last {
                        Some(last) if last.dtype == next.dtype => {
                            last.rows += next.rows;
                            last.gated = gated;
                        }
                        _ => layers.extend(last.replace(next)),
                    }
                }
                layers.extend(last);
            }
        }
        let output_quant = quant.map(output_type);
        let names = &spec.tensors;
        let vectors = shapes.values().filter(|shape| shape.len() == 1);
        Matrices {
            layers,
            output: matrix(&names.output, output_quant),
            embedding: (!spec.is_tied()).then(|| matrix(&names.embedding, output_quant)),
            vector_floats: vectors.map(|shape| shape[0] as u64).sum(),
        }
    }

    /// Matrices that every token is multiplied with.
    pub fn active(&self) -> impl Iterator<Item = &Matrix> {
        self.layers.iter().chain([&self.output])
    }

    /// The type that most bytes of the layers have.
    pub fn main_dtype(&self) -> DType {
        let mut bytes: BTreeMap<DType, u64> = BTreeMap::new();
        for matrix in &self.layers {
            *bytes.entry(matrix.dtype).or_insert(0) += matrix.bytes().unwrap_or(0);
        }
        bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map_or(self.output.dtype, |(dtype, _)| dtype)
    }

    /// Bytes that one decode step reads: all but the embedding, of which it reads a row.
    pub fn active_bytes(&self) -> u64 {
        self.active().filter_map(Matrix::bytes).sum()
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.active_bytes()
            + self.embedding.as_ref().and_then(Matrix::bytes).unwrap_or(0)
            + self.vector_floats * 4
    }

    /// Multiplications and additions per token: two per weight (kipply, "Transformer inference arithmetic").
    pub fn ops(&self) -> u64 {
        self.active().map(|m| 2 * m.rows as u64 * m.cols as u64).sum()
    }
}
