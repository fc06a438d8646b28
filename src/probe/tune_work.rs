//! What the tuner's candidates run on: the matrices of a few layers, or the KV caches of some.

use super::attention::{self, Space};
use super::tune::Layer;
use crate::base::{AdapterKind, DType, KvType};
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::attention::Geometry;
use crate::kernels::check::{self, Check};
use crate::kernels::glu::Act;
use crate::kernels::linear::Linear;
use crate::kernels::matvec::{self, Fused, Norm};
use crate::kernels::rms_norm::NormWeights;
use crate::kernels::variants::{self, Class, Many, MatvecClass, TYPICAL_KV_HEADS, Variants, Way};
use crate::kernels::weights::{BLOCK, Part, Store};
use crate::kernels::{attend_decode, matmul, matvec_checks, random};
use crate::quant::PlaneLayout;

/// Weights to rotate through, so that caches do not hold them: of GPUs, and of CPU adapters, whose speed hardly depends on
/// where weights come from.
const ROTATE_BYTES: [u64; 2] = [192 << 20, 16 << 20];
/// Most weights of a matrix on CPU adapters.
const CPU_WEIGHTS: usize = 8 << 20;
/// Positions in the caches, and layers of them: on GPUs too many for their caches, too.
const POSITIONS: usize = 1024;
const LAYERS: [usize; 2] = [64, 4];
/// As most models have them.
const HEADS: Geometry = Geometry {
    heads: 32,
    kv_heads: TYPICAL_KV_HEADS,
    head_dim: 64,
    context: POSITIONS,
    window: 0,
    kv: KvType::F16,
};

/// Work of one class.
pub(super) struct Work {
    kind: Kind,
    state: State,
    state_slice: Slice,
}

enum Kind {
    Matrices(Matrices),
    Attention(Space),
}

/// The four matrices of each of a few layers.
struct Matrices {
    dtype: DType,
    layers: Vec<[Part; 4]>,
    x: Slice,
    y: Slice,
    gains: NormWeights,
}

impl Work {
    pub(super) fn new(gpu: &Gpu, layer: Layer, class: Class) -> Result<Work, GpuError> {
        let cpu = gpu.facts().kind == AdapterKind::Cpu;
        let rotate_bytes = ROTATE_BYTES[usize::from(cpu)];
        let columns = |n| State { n_tokens: n, ..State::default() };
        let (kind, state) = match class {
            Class::Matvec(MatvecClass { dtype, columns: n }) => {
                (Kind::Matrices(Matrices::new(gpu, layer, dtype, n, rotate_bytes)?), columns(n))
            }
            Class::Prompt(dtype) => {
                let n = layer.prompt;
                // On a CPU a prompt takes long even without rotating.
                let rotate_bytes = if cpu { 0 } else { rotate_bytes };
                (Kind::Matrices(Matrices::new(gpu, layer, dtype, n, rotate_bytes)?), columns(n))
            }
            Class::Attention => {
                let layers = LAYERS[usize::from(cpu)];
                (Kind::Attention(Space::new(gpu, HEADS, layers)?), attention::each(1, POSITIONS))
            }
        };
        Ok(Work { kind, state, state_slice: check::state(gpu, state)? })
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Layers in a pass.
    pub(super) fn layers(&self) -> usize {
        match &self.kind {
            Kind::Matrices(matrices) => matrices.layers.len(),
            Kind::Attention(space) => space.caches.len(),
        }
    }

    /// A pass. `plain`: the same matrices without anything on the way, for which fewer shaders have to be compiled.
    pub(super) fn steps(&self, gpu: &Gpu, way: Way, plain: bool) -> Result<Vec<Step>, GpuError> {
        match (&self.kind, way) {
            (Kind::Attention(space), Way::Attention(groups)) => {
                let split = variants::split_of(groups, HEADS.kv_heads);
                let layers = 0..space.caches.len();
                let steps = layers.map(|layer| space.decode(gpu, layer, split, &self.state_slice));
                Ok(steps.collect::<Result<Vec<_>, GpuError>>()?.into_iter().flatten().collect())
            }
            (Kind::Matrices(matrices), way) => matrices.steps(gpu, way, plain, self),
            (Kind::Attention(_), _) => unreachable!("ways are of the work's class"),
        }
    }

    /// What a way has to pass before it may be chosen.
    pub(super) fn checks(&self, gpu: &Gpu, way: Way) -> Vec<Check> {
        match (&self.kind, way) {
            (Kind::Matrices(matrices), Way::Matvec(variant) | Way::Prompt(Many::Matvec(variant))) => {
                matvec_checks::of(matrices.dtype, variant, Store::of(gpu))
            }
            (Kind::Matrices(matrices), Way::Prompt(Many::Matmul(variant))) => {
                matmul::checks_of(matrices.dtype, variant)
            }
            (_, Way::Attention(groups)) => {
                let split = variants::split_of(groups, HEADS.kv_heads);
                let Variants { reduce, attention_subgroup: subgroup, .. } = Variants::of(gpu);
                attend_decode::checks_of_splits(reduce, subgroup, split.splits)
            }
            (Kind::Attention(_), _) => unreachable!("ways are of the work's class"),
        }
    }
}

impl Matrices {
    fn new(
        gpu: &Gpu,
        layer: Layer,
        dtype: DType,
        columns: u32,
        rotate_bytes: u64,
    ) -> Result<Matrices, GpuError> {
        let bad = |cause: String| GpuError::Internal { adapter: gpu.facts().id(), cause };
        // Where a model's rows are no whole blocks of this type, the next wider ones stand for them.
        let width = |n: usize| n.next_multiple_of(dtype.block_len().max(BLOCK));
        let [hidden, heads, inter] = [layer.hidden, layer.heads, layer.inter].map(width);
        let whole = [[layer.qkv, hidden], [hidden, heads], [2 * inter, hidden], [hidden, inter]];
        // Of a matrix that is too large for one binding, or for a CPU to be done in time, so many rows as are not.
        let most_bytes = Store::of(gpu).max_bytes(gpu) as usize;
        let most_weights = if gpu.facts().kind == AdapterKind::Cpu { CPU_WEIGHTS } else { usize::MAX };
        let shapes = whole.map(|[rows, cols]| {
            let row_bytes = PlaneLayout::new(dtype, cols).map_or(1, |layout| layout.quant_row_bytes.max(1));
            let most_rows = (most_bytes / row_bytes).min(most_weights / cols);
            [rows.min((most_rows / BLOCK).max(1) * BLOCK), cols]
        });
        let bytes: u64 = shapes.iter().map(|shape| Part::planes_bytes(dtype, *shape)).sum();
        let count = (rotate_bytes / bytes.max(1)).clamp(1, 32);
        let make = |i: u64| -> Result<[Part; 4], GpuError> {
            let part = |j: usize| {
                let [rows, cols] = shapes[j];
                let layout = PlaneLayout::new(dtype, cols).map_err(|e| bad(e.to_string()))?;
                let part = Part::allocate(gpu, "tuning weights", Store::of(gpu), 0, rows, layout)?;
                random::fill_part(gpu, &part, (4 * i + j as u64) as u32)?;
                Ok(part)
            };
            Ok([part(0)?, part(1)?, part(2)?, part(3)?])
        };
        let n = columns as usize;
        let most_rows = layer.qkv.max(2 * inter).max(hidden).next_multiple_of(BLOCK);
        let widest = hidden.max(heads).max(inter);
        Ok(Matrices {
            dtype,
            layers: (0..count).map(make).collect::<Result<_, _>>()?,
            x: check::few_floats(gpu, &check::uniform(11, n * widest))?,
            y: gpu.buffer("tuning output", (n * most_rows) as u64 * 4)?,
            gains: NormWeights::upload(gpu, "tune norm", &check::uniform(12, widest))?,
        })
    }

    /// As in a decode step: normed Q K V, output, normed gate and up with the activation, down. In prompts, and `plain`:
    /// without anything on the way.
    fn steps(&self, gpu: &Gpu, way: Way, plain: bool, work: &Work) -> Result<Vec<Step>, GpuError> {
        let columns = work.state.n_tokens as usize;
        let mut steps = Vec::new();
        for (i, part) in self.layers.iter().flat_map(|parts| parts.iter().enumerate()) {
            let (normed, gated) = (!plain && matches!(i, 0 | 2), !plain && i == 2);
            let linear = Linear {
                part,
                x: &self.x.first((columns * part.cols) as u64 * 4),
                y: &self.y,
                y_stride: part.rows,
                y_first: 0,
                bias: None,
                accumulate: false,
                of_logits: false,
                state: &work.state_slice,
            };
            steps.push(match way {
                Way::Prompt(many) => many.step(gpu, "tuning", linear)?,
                Way::Matvec(variant) => {
                    let norm = Norm { weight: &self.gains, cols: part.cols, eps: 1e-5 };
                    let fused = Fused {
                        norm: normed.then_some(norm),
                        glu: gated.then_some(Act::Silu),
                        few: true,
                        ..Fused::default()
                    };
                    matvec::fused_step(gpu, "tuning", variant, linear, fused)?
                }
                Way::Attention(_) => unreachable!("ways are of the work's class"),
            });
        }
        Ok(steps)
    }
}
