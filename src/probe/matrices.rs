//! The rate of a weight format's real matrix kernels, on matrices large enough to keep the adapter busy, many of them in
//! turn. What a dispatch costs by itself is measured apart and taken off.

use super::SAMPLES;
use super::clock::{Clock, Windows};
use crate::base::DType;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::linear::Linear;
use crate::kernels::variants::Variants;
use crate::kernels::weights::{Part, Store};
use crate::kernels::{check, matvec, random};
use crate::plan::profile::{MatrixReading, Reading};
use crate::quant::PlaneLayout;

/// [rows, cols]: the first that keeps the adapter busy for long enough.
const LARGE: [[usize; 2]; 5] = [[512, 512], [1024, 1024], [4096, 1024], [4096, 4096], [16384, 4096]];
/// Long enough. Told from what the clock's reference takes, which two probes agree on: were each format timed for it, one
/// near the limit would be measured now on one shape and now on another.
const BUSY_S: f64 = 0.0002;
/// Columns that a matrix kernel computes in about the time of one.
const COLUMNS_AS_ONE: f64 = 8.0;
/// At least this part of a large matrix's time is work, not overhead.
const LEAST_WORK: f64 = 0.75;
/// Weights to rotate through, so that caches do not hold them.
const ROTATE_BYTES: u64 = 256 << 20;
/// A pass through the rotation need not take longer than this.
const ROTATE_S: f64 = 0.01;

/// One format at one number of columns, measured in rounds.
pub(super) struct Subject {
    pub dtype: DType,
    pub columns: u32,
    /// Through the kernel for prompts.
    pub prompt: bool,
    windows: Windows,
    /// What the first round chose: shape, and matrices in a pass.
    chosen: Option<([usize; 2], usize)>,
    /// Bytes of a matrix.
    bytes: u64,
    /// Columns that the kernel takes together.
    together: u32,
}

/// A matrix with its input and output.
struct Bench {
    parts: Vec<Part>,
    x: Slice,
    y: Slice,
    state: Slice,
}

impl Subject {
    pub(super) fn new(dtype: DType, columns: u32, prompt: bool) -> Subject {
        Subject {
            dtype,
            columns,
            prompt,
            windows: Windows::default(),
            chosen: None,
            bytes: 0,
            together: columns,
        }
    }

    /// One round of samples.
    pub(super) fn sample(&mut self, gpu: &Gpu, clock: &Clock<'_>) -> Result<(), GpuError> {
        let state = State { n_tokens: self.columns, ..State::default() };
        let open = |(shape, count)| Bench::new(gpu, self.dtype, shape, count, state);
        let bench = match self.chosen {
            Some(chosen) => open(chosen)?,
            None => {
                let mut choices = self.choices(clock).into_iter();
                let mut bench = Err(GpuError::Internal {
                    adapter: gpu.facts().id(),
                    cause: "no room for a matrix".into(),
                });
                // Where there is no room for the right one, a smaller one has to do.
                while let (Err(_), Some(choice)) = (&bench, choices.next()) {
                    bench = open(choice);
                    self.chosen = Some(choice);
                }
                bench?
            }
        };
        self.bytes = bench.parts[0].bytes();
        if self.prompt {
            self.together = Variants::of(gpu).many(self.dtype, bench.parts[0].store()).together();
        }
        let steps = bench.steps(gpu, self.prompt, self.columns)?;
        clock.sample(&steps.iter().collect::<Vec<_>>(), state, SAMPLES, &mut self.windows)
    }

    /// Shapes, and how many of each are a pass; the best first.
    fn choices(&self, clock: &Clock<'_>) -> Vec<([usize; 2], usize)> {
        let columns = f64::from(self.columns);
        let seconds = |[rows, cols]: [usize; 2]| clock.nominal_s_of(rows * cols);
        let busy = |shape: &[usize; 2]| seconds(*shape) * (columns / COLUMNS_AS_ONE).max(1.0) >= BUSY_S;
        let first = LARGE.iter().position(busy).unwrap_or(LARGE.len() - 1);
        let with_count = |shape: &[usize; 2]| {
            let count = (ROTATE_S / (columns * seconds(*shape)).max(1e-6)).ceil().clamp(1.0, 64.0);
            let fits = ROTATE_BYTES / Part::planes_bytes(self.dtype, *shape).max(1);
            (*shape, (count as u64).min(fits.max(1)) as usize)
        };
        LARGE[..=first].iter().rev().map(with_count).collect()
    }

    /// Was the machine calm for long enough?
    pub(super) fn settled(&self, clock: &Clock<'_>) -> bool {
        clock.settled(&self.windows)
    }

    /// What was measured; `dispatch_s` is what a dispatch costs by itself.
    pub(super) fn reading(&self, clock: &Clock<'_>, dispatch_s: f64) -> MatrixReading {
        let measured = clock.estimate(&self.windows).each(self.chosen.map_or(1, |(_, count)| count));
        let fixed_s = dispatch_s.min((1.0 - LEAST_WORK) * measured.value);
        let bytes_s =
            Reading { value: self.bytes as f64 / (measured.value - fixed_s), spread: measured.spread };
        let Subject { prompt, dtype, columns, together, .. } = *self;
        MatrixReading { prompt, dtype, columns, together, fixed_s, bytes_s }
    }
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
            let part = Part::allocate(gpu, "probe weights", Store::of(gpu), 0, rows, layout)?;
            random::fill_part(gpu, &part, i as u32)?;
            parts.push(part);
        }
        let n = state.n_tokens as usize;
        Ok(Bench {
            parts,
            x: check::few_floats(gpu, &check::uniform(11, n * cols))?,
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
                true => variants.many(part.dtype, part.store()).step(gpu, "probe", linear),
                false => matvec::step(gpu, "probe", variants.matvec(part.dtype, columns), linear),
            }
        };
        self.parts.iter().map(step).collect()
    }
}
