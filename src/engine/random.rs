//! Weights without files: pseudo-random numbers in the types and stacks a real model would have, so that speed can be
//! measured with nothing to download. Made on the GPU or, where they are stored in tiles, by the host.

use crate::engine::EngineError;
use crate::engine::loader;
use crate::engine::weights::{Layer, Weights};
use crate::gpu::{Gpu, Slice};
use crate::kernels::random;
use crate::kernels::rms_norm::NormWeights;
use crate::kernels::weights::{BLOCK, Part, Store};
use crate::model::ModelSpec;
use crate::plan::weights::{Matrices, Matrix};

/// Fills devices with weights.
pub struct Random<'a> {
    /// Where to.
    pub gpu: &'a Gpu,
    /// Called with the bytes made since the last call; returns false to cancel.
    pub progress: &'a mut dyn FnMut(u64) -> bool,
    seed: u32,
}

impl<'a> Random<'a> {
    /// Starts from `seed`.
    pub fn new(gpu: &'a Gpu, seed: u32, progress: &'a mut dyn FnMut(u64) -> bool) -> Random<'a> {
        Random { gpu, progress, seed }
    }

    /// Every weight of `spec`; norms are 1, biases 0.
    pub fn weights(&mut self, spec: &ModelSpec, matrices: &Matrices) -> Result<Weights, EngineError> {
        let output = self.matrix(&[matrices.output])?;
        let embedding = match &matrices.embedding {
            Some(embedding) => self.matrix(&[*embedding])?,
            None => output.clone(),
        };
        let output_norm = self.norm(spec.hidden)?;
        let mut stacks = matrices.layers.iter().copied();
        let mut next = |rows: usize| {
            let mut stack = Vec::new();
            let mut found = 0;
            while found < rows {
                let Some(matrix) = stacks.next() else { break };
                found += matrix.rows;
                stack.push(matrix);
            }
            stack
        };
        let mut layers = Vec::new();
        let qkv_rows = (spec.n_heads + 2 * spec.n_kv_heads) * spec.head_dim;
        for names in &spec.tensors.layers {
            let bias =
                |this: &mut Self, there: bool, n: usize| there.then(|| this.constant(n, 0.0)).transpose();
            layers.push(Layer {
                attn_norm: self.norm(spec.hidden)?,
                qkv: self.matrix(&next(qkv_rows))?,
                qkv_bias: bias(self, names.q_bias.is_some(), qkv_rows)?,
                qk_norms: names.q_norm.as_ref().map(|_| vec![1.0; 2 * spec.head_dim]),
                o: self.matrix(&next(spec.hidden))?,
                o_bias: bias(self, names.o_bias.is_some(), spec.hidden)?,
                mlp_norm: self.norm(spec.hidden)?,
                gate_up: self.matrix(&next(2 * spec.intermediate))?,
                gate_up_bias: bias(self, names.gate_bias.is_some(), 2 * spec.intermediate)?,
                down: self.matrix(&next(spec.hidden))?,
                down_bias: bias(self, names.down_bias.is_some(), spec.hidden)?,
            });
        }
        self.gpu.flush()?;
        Ok(Weights { embedding, output, output_norm, layers, rope_factors: Vec::new() })
    }

    /// A stack of matrices, split as a loaded one is.
    pub fn matrix(&mut self, stack: &[Matrix]) -> Result<Vec<Part>, EngineError> {
        let mut parts = Vec::new();
        let mut row = 0;
        for matrix in stack {
            let layout = loader::layout("random weights", matrix.dtype, matrix.cols)?;
            let fresh =
                loader::allocate(self.gpu, "random weights", Store::of(self.gpu), &layout, row, matrix.rows)?;
            for part in &fresh {
                self.seed = self.seed.wrapping_add(0x9E37_79B9);
                random::fill_part(self.gpu, part, self.seed)?;
                if !(self.progress)(part.bytes()) {
                    return Err(EngineError::Cancelled);
                }
            }
            parts.extend(fresh);
            row += matrix.rows;
        }
        Ok(parts)
    }

    fn norm(&mut self, n: usize) -> Result<NormWeights, EngineError> {
        Ok(NormWeights::upload(self.gpu, "norm", &vec![1.0; n])?)
    }

    fn constant(&mut self, n: usize, value: f32) -> Result<Slice, EngineError> {
        let mut values = vec![value; n];
        values.resize(n.next_multiple_of(BLOCK), 0.0);
        Ok(self.gpu.upload("vector", bytemuck::cast_slice(&values))?)
    }
}
