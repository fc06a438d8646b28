//! The rate of a weight format's real matrix kernels, on matrices large enough to keep the adapter busy, many of them in
//! turn. A wide and a tall one of equally many weights tell what a row costs, a small one what a dispatch does.

use super::SAMPLES;
use super::clock::{Clock, Windows};
use crate::base::DType;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Step};
use crate::kernels::linear::Linear;
use crate::kernels::matvec::{Fused, Norm};
use crate::kernels::rms_norm::NormWeights;
use crate::kernels::variants::Variants;
use crate::kernels::weights::{Part, Store};
use crate::kernels::{check, matvec, random};
use crate::plan::profile::{CACHED_BYTES, MatrixReading, Reading};
use crate::quant::PlaneLayout;

/// [rows, cols] of the small, the wide and the tall matrix; the first that keep the adapter busy for long enough. The small
/// one has a 16th of the others' weights.
const SHAPES: [[[usize; 2]; 3]; 5] = [
    [[64, 256], [256, 1024], [1024, 256]],
    [[256, 256], [512, 2048], [2048, 512]],
    [[512, 512], [1024, 4096], [8192, 512]],
    [[1024, 1024], [4096, 4096], [16384, 1024]],
    [[2048, 2048], [16384, 4096], [65536, 1024]],
];
const SMALL: usize = 0;
const WIDE: usize = 1;
const TALL: usize = 2;
/// Long enough. Told from what the clock's reference takes, which two probes agree on: were each format timed for it, one
/// near the limit would be measured now on one shape and now on another.
const BUSY_S: f64 = 0.0005;
/// At least this part of a large matrix's time is work in proportion to its bytes.
const LEAST_WORK: f64 = 0.5;
/// Weights to rotate through, so that caches do not hold them, where they would not hold a model's.
const ROTATE_BYTES: u64 = 256 << 20;
/// A pass through the rotation need not take longer than this.
const ROTATE_S: f64 = 0.01;

/// One format, measured in rounds.
pub(super) struct Subject {
    pub dtype: DType,
    cached: bool,
    /// The first one is the small matrix.
    cases: Vec<Case>,
    /// What the first round chose of [`SHAPES`].
    shapes: Option<[[usize; 2]; 3]>,
    /// Columns that the kernel for prompts takes together.
    together: u32,
}

/// One shape at one number of columns.
struct Case {
    shape: usize,
    columns: u32,
    /// Through the kernel for prompts.
    prompt: bool,
    /// Matrices in a pass.
    count: usize,
    windows: Windows,
}

/// Matrices of one shape.
struct Bench {
    parts: Vec<Part>,
    norm: NormWeights,
}

impl Subject {
    pub(super) fn new(dtype: DType, cached: bool, columns: &[u32], tokens: &[u32]) -> Subject {
        let case =
            |shape, columns, prompt| Case { shape, columns, prompt, count: 1, windows: Windows::default() };
        let small = case(SMALL, columns.first().copied().unwrap_or(1), false);
        let both = |n: &u32, prompt| [case(WIDE, *n, prompt), case(TALL, *n, prompt)];
        let decode = columns.iter().flat_map(|n| both(n, false));
        let prompts = tokens.iter().flat_map(|n| both(n, true));
        let cases = std::iter::once(small).chain(decode).chain(prompts).collect();
        Subject { dtype, cached, cases, shapes: None, together: 1 }
    }

    /// Cases that a round samples: for progress.
    pub(super) fn cases(columns: usize, tokens: usize) -> usize {
        1 + 2 * (columns + tokens)
    }

    /// One round of samples: of all cases, or only of those during which the machine was never calm for long enough.
    pub(super) fn sample(&mut self, gpu: &Gpu, clock: &Clock<'_>, unsettled: bool) -> Result<(), GpuError> {
        if let Some(shapes) = self.shapes {
            return self.sample_shapes(gpu, clock, shapes, unsettled);
        }
        let busy = |shapes: &[[usize; 2]; 3]| nominal_s(clock, shapes[WIDE]) >= BUSY_S;
        let small_enough = |shapes: &&[[usize; 2]; 3]| {
            !self.cached || Part::planes_bytes(self.dtype, shapes[WIDE]) <= self.rotate_bytes()
        };
        let first = SHAPES.iter().position(busy).unwrap_or(SHAPES.len() - 1);
        let fitting = SHAPES[..=first].iter().filter(small_enough).count().max(1);
        let mut sampled = Ok(());
        // Where there is no room for the right ones, smaller ones have to do.
        for shapes in SHAPES[..fitting].iter().rev() {
            self.shapes = Some(*shapes);
            self.cases.iter_mut().for_each(|case| case.windows = Windows::default());
            sampled = self.sample_shapes(gpu, clock, *shapes, unsettled);
            match sampled {
                Err(GpuError::OutOfMemory { .. } | GpuError::TooLarge { .. }) => {}
                _ => break,
            }
        }
        sampled
    }

    fn sample_shapes(
        &mut self,
        gpu: &Gpu,
        clock: &Clock<'_>,
        shapes: [[usize; 2]; 3],
        unsettled: bool,
    ) -> Result<(), GpuError> {
        let (dtype, rotate_bytes) = (self.dtype, self.rotate_bytes());
        let bytes = |shape| Part::planes_bytes(dtype, shape);
        for (i, shape) in shapes.into_iter().enumerate() {
            let wanted = |case: &&mut Case| case.shape == i && !(unsettled && clock.settled(&case.windows));
            let mut cases: Vec<&mut Case> = self.cases.iter_mut().filter(wanted).collect();
            for case in &mut cases {
                case.count = case.matrices(clock, rotate_bytes / bytes(shape).max(1), shape);
            }
            let Some(most) = cases.iter().map(|case| case.count).max() else { continue };
            let bench = Bench::new(gpu, self.dtype, shape, most)?;
            for case in cases {
                let state = State { n_tokens: case.columns, ..State::default() };
                let steps = bench.steps(gpu, case)?;
                let each: Vec<[&Step; 1]> = steps.iter().map(|step| [step]).collect();
                let units: Vec<&[&Step]> = each.iter().map(|unit| &unit[..]).collect();
                clock.sample(&units, state, SAMPLES, &mut case.windows)?;
                if case.prompt {
                    let store = bench.parts[0].store();
                    self.together = Variants::of(gpu).many(self.dtype, store).together();
                }
            }
        }
        Ok(())
    }

    /// Weights to rotate through.
    fn rotate_bytes(&self) -> u64 {
        if self.cached { CACHED_BYTES / 2 } else { ROTATE_BYTES }
    }

    /// Was the machine calm for long enough?
    pub(super) fn settled(&self, clock: &Clock<'_>) -> bool {
        self.cases.iter().all(|case| clock.settled(&case.windows))
    }

    /// What was measured, as seconds = fixed + rows · row + bytes · byte.
    pub(super) fn readings(&self, clock: &Clock<'_>) -> Vec<MatrixReading> {
        let Some(shapes) = self.shapes else { return Vec::new() };
        let measured = |case: &Case| clock.estimate(&case.windows);
        let rows = |shape: usize| shapes[shape][0] as f64;
        let bytes = |shape: usize| Part::planes_bytes(self.dtype, shapes[shape]) as f64;
        let row_s = |wide: &Case, wide_s: f64| {
            let same = |case: &&Case| {
                case.shape == TALL && (case.columns, case.prompt) == (wide.columns, wide.prompt)
            };
            let tall_s = self.cases.iter().find(same).map_or(wide_s, |tall| measured(tall).seconds);
            ((tall_s - wide_s) / (rows(TALL) - rows(WIDE))).max(0.0)
        };
        let mut fixed_s = f64::NAN;
        let mut readings = Vec::new();
        for case in self.cases.iter().filter(|case| case.shape == WIDE) {
            let wide = measured(case);
            let row_s = row_s(case, wide.seconds);
            if fixed_s.is_nan() {
                // The small matrix has as many columns as the first of the wide ones.
                let (of_wide, of_small) = (
                    wide.seconds - row_s * rows(WIDE),
                    measured(&self.cases[0]).seconds - row_s * rows(SMALL),
                );
                let byte_s = (of_wide - of_small) / (bytes(WIDE) - bytes(SMALL));
                fixed_s = (of_small - byte_s * bytes(SMALL)).max(0.0);
            }
            let beside = fixed_s + row_s * rows(WIDE);
            // What is stored adds up to what was measured, also where little of it is in proportion to the bytes.
            let share = ((1.0 - LEAST_WORK) * wide.seconds / beside.max(1e-12)).min(1.0);
            readings.push(MatrixReading {
                prompt: case.prompt,
                dtype: self.dtype,
                cached: self.cached,
                columns: case.columns,
                together: if case.prompt { self.together } else { case.columns },
                fixed_s: share * fixed_s,
                row_s: share * row_s,
                bytes_s: Reading {
                    value: bytes(WIDE) / (wide.seconds - share * beside),
                    spread: wide.spread,
                },
                achieved_bytes_s: wide.rate(bytes(WIDE)),
            });
        }
        readings
    }
}

impl Case {
    /// How many are a pass; at most so many as fit.
    fn matrices(&self, clock: &Clock<'_>, fits: u64, shape: [usize; 2]) -> usize {
        let seconds = f64::from(self.columns) * nominal_s(clock, shape);
        let count = (ROTATE_S / seconds.max(1e-6)).ceil().clamp(1.0, 64.0);
        (count as u64).min(fits.max(1)) as usize
    }
}

/// Seconds of a product with such a matrix, were it as fast as the clock's reference.
fn nominal_s(clock: &Clock<'_>, [rows, cols]: [usize; 2]) -> f64 {
    clock.nominal_s_of(rows * cols)
}

impl Bench {
    fn new(gpu: &Gpu, dtype: DType, [rows, cols]: [usize; 2], count: usize) -> Result<Bench, GpuError> {
        let bad = |cause: String| GpuError::Internal { adapter: gpu.facts().id(), cause };
        let layout = PlaneLayout::new(dtype, cols).map_err(|e| bad(e.to_string()))?;
        let mut parts = Vec::new();
        for i in 0..count {
            let part = Part::allocate(gpu, "probe weights", Store::of(gpu), 0, rows, layout)?;
            random::fill_part(gpu, &part, i as u32)?;
            parts.push(part);
        }
        Ok(Bench { parts, norm: NormWeights::upload(gpu, "probe norm", &check::uniform(13, cols))? })
    }

    /// Products of the case's columns with each of its matrices. When decoding, most matrices of a model norm their input.
    fn steps(&self, gpu: &Gpu, case: &Case) -> Result<Vec<Step>, GpuError> {
        let Part { rows, cols, .. } = self.parts[0];
        let n = case.columns as usize;
        let x = check::few_floats(gpu, &check::uniform(11, n * cols))?;
        let y = gpu.buffer("probe output", (n * rows) as u64 * 4)?;
        let state = check::state(gpu, State { n_tokens: case.columns, ..State::default() })?;
        let variants = Variants::of(gpu);
        let step = |part: &Part| {
            let linear = Linear {
                part,
                x: &x,
                y: &y,
                y_stride: rows,
                y_first: 0,
                bias: None,
                accumulate: false,
                of_logits: false,
                state: &state,
            };
            if case.prompt {
                return variants.many(part.dtype, part.store()).step(gpu, "probe", linear);
            }
            let norm = Some(Norm { weight: &self.norm, cols, eps: 1e-5 });
            let variant = variants.matvec(part.dtype, case.columns);
            matvec::fused_step(gpu, "probe", variant, linear, Fused { norm, few: true, ..Fused::default() })
        };
        self.parts[..case.count].iter().map(step).collect()
    }
}
