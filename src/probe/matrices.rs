//! The rate of a weight format's real matrix kernels, on matrices large enough to keep the adapter busy, many of them in
//! turn. What a dispatch costs by itself is measured apart and taken off.

use super::clock::Clock;
use crate::base::DType;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::linear::Linear;
use crate::kernels::variants::Variants;
use crate::kernels::weights::Part;
use crate::kernels::{check, matmul, matvec, random};
use crate::plan::profile::{MatrixReading, Reading};
use crate::quant::PlaneLayout;

/// [rows, cols]: the first that keeps the adapter busy for long enough.
const LARGE: [[usize; 2]; 5] = [[512, 512], [1024, 1024], [4096, 1024], [4096, 4096], [16384, 4096]];
/// At least this part of a large matrix's time is work, not overhead.
const LEAST_WORK: f64 = 0.75;
/// Long enough.
const BUSY_S: f64 = 0.0005;
/// Weights to rotate through, so that caches do not hold them.
const ROTATE_BYTES: u64 = 256 << 20;
/// A pass through the rotation need not take longer than this.
const ROTATE_S: f64 = 0.01;

/// A matrix with its input and output.
struct Bench {
    parts: Vec<Part>,
    x: Slice,
    y: Slice,
    state: Slice,
}

/// Measures one format at `columns` columns.
pub(super) fn measure(
    gpu: &Gpu,
    clock: &Clock<'_>,
    dtype: DType,
    prompt: bool,
    columns: u32,
    dispatch_s: f64,
) -> Result<MatrixReading, GpuError> {
    let state = State { n_tokens: columns, ..State::default() };
    let (mut large, mut steps) = (None, Vec::new());
    for shape in LARGE {
        let Ok(bench) = Bench::new(gpu, dtype, shape, 1, state) else { break };
        steps = bench.steps(gpu, prompt, columns)?;
        gpu.time(&[&steps[0]], 1, state)?;
        let seconds = gpu.time(&[&steps[0]], 1, state)?;
        large = Some((shape, seconds));
        if seconds >= BUSY_S {
            break;
        }
    }
    let Some((shape, seconds)) = large else {
        return Err(GpuError::Internal { adapter: gpu.facts().id(), cause: "no room for a matrix".into() });
    };
    drop(steps);
    let count = (ROTATE_S / seconds.max(1e-6)).ceil().clamp(1.0, 64.0) as usize;
    let fits = (ROTATE_BYTES / Part::planes_bytes(dtype, shape).max(1)).clamp(1, 64) as usize;
    let bench = Bench::new(gpu, dtype, shape, count.min(fits), state)?;
    let steps = bench.steps(gpu, prompt, columns)?;
    let measured = clock.slope(&steps, state)?.each(steps.len());
    let fixed_s = dispatch_s.min((1.0 - LEAST_WORK) * measured.value);
    let bytes = bench.parts[0].bytes() as f64;
    let bytes_s = Reading { value: bytes / (measured.value - fixed_s), spread: measured.spread };
    Ok(MatrixReading { prompt, dtype, columns, fixed_s, bytes_s })
}

impl Bench {
    fn new(
        gpu: &Gpu,
        dtype: DType,
        [rows, cols]: [usize; 2],
        count: usize,
        state: State,
    ) -> Result<Bench, GpuError> {
        let bad = |cause: String| GpuError::Internal { adapter: gpu.facts().id(), cause };
        let layout = PlaneLayout::new(dtype, cols).map_err(|e| bad(e.to_string()))?;
        let mut parts = Vec::new();
        for i in 0..count {
            let part = Part::allocate(gpu, "probe weights", dtype, 0, rows, layout)?;
            random::fill_part(gpu, &part, i as u32)?;
            parts.push(part);
        }
        let n = state.n_tokens as usize;
        Ok(Bench {
            parts,
            x: check::floats(gpu, &check::uniform(11, n * cols))?,
            y: gpu.buffer("probe output", (n * rows) as u64 * 4)?,
            state: check::state(gpu, state)?,
        })
    }

    fn steps(&self, gpu: &Gpu, prompt: bool, columns: u32) -> Result<Vec<Step>, GpuError> {
        let variants = Variants::of(gpu);
        let step = |part: &Part| {
            let linear = Linear {
                part,
                x: &self.x,
                y: &self.y,
                y_stride: part.rows,
                y_first: 0,
                bias: None,
                accumulate: false,
                of_logits: false,
                state: &self.state,
            };
            match prompt {
                true => matmul::step(gpu, "probe", variants.matmul(part.dtype), linear),
                false => matvec::step(gpu, "probe", variants.matvec(part.dtype, columns), linear),
            }
        };
        self.parts.iter().map(step).collect()
    }
}
