//! Checks: one kernel variant on one shape against its f64 reference, on a real adapter.
//!
//! Outputs are pre-filled with a marker NaN and followed by guard elements: an element that is not
//! written, or written where nothing should be, is found. Comparison is `!(err <= tolerance)`, so NaN fails.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Graph, Slice, Step};

/// What one element of an output must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Want {
    /// Within `tolerance` of `value`.
    Near {
        /// Reference, computed in f64.
        value: f64,
        /// Largest error allowed.
        tolerance: f64,
    },
    /// The marker that was there before.
    Untouched,
}

/// A NaN that no computation makes.
pub const MARKER: u32 = 0x7fc0_dead;
/// Guard elements after every output.
pub(super) const GUARD: usize = 64;

/// One check, ready to run on a device.
pub struct Check {
    /// Kernel name.
    pub kernel: &'static str,
    /// Class of variants that is not used when this check fails, e.g. `matvec/subgroup`.
    pub class: String,
    /// Variant and shape, for people.
    pub case: String,
    /// Part of the short form of `verify`.
    pub quick: bool,
    run: Run,
}

type Run = Box<dyn Fn(&Gpu) -> Result<(Vec<f32>, Vec<Want>), GpuError> + Send + Sync>;

/// How a check ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Elements compared.
    pub elements: usize,
    /// Elements out of tolerance.
    pub bad: usize,
    /// Largest error.
    pub max_error: f64,
    /// Largest error ÷ tolerance.
    pub worst: f64,
    /// The first bad element: index, found, wanted.
    pub first_bad: Option<(usize, f32, Want)>,
}

impl Outcome {
    /// No element out of tolerance, and at least one compared.
    pub fn passed(&self) -> bool {
        self.bad == 0 && self.elements > 0
    }
}

impl Check {
    /// A check of `kernel`; `run` gives the output with its guards, and what it must be.
    pub fn new(
        kernel: &'static str,
        class: impl Into<String>,
        case: impl Into<String>,
        run: impl Fn(&Gpu) -> Result<(Vec<f32>, Vec<Want>), GpuError> + Send + Sync + 'static,
    ) -> Check {
        Check { kernel, class: class.into(), case: case.into(), quick: false, run: Box::new(run) }
    }

    /// Marks the check as part of the short form.
    pub fn quick(mut self, quick: bool) -> Check {
        self.quick = quick;
        self
    }

    /// Runs it.
    pub fn run(&self, gpu: &Gpu) -> Result<Outcome, GpuError> {
        let (got, want) = (self.run)(gpu)?;
        Ok(compare(&got, &want))
    }
}

/// Those of the short form.
pub fn quick(mut checks: Vec<Check>) -> Vec<Check> {
    checks.retain(|check| check.quick);
    checks
}

/// Compares an output with what it must be; guards after `want` must be untouched.
pub fn compare(got: &[f32], want: &[Want]) -> Outcome {
    let mut outcome = Outcome { elements: want.len(), bad: 0, max_error: 0.0, worst: 0.0, first_bad: None };
    let guards = std::iter::repeat_n(&Want::Untouched, got.len().saturating_sub(want.len()));
    for (i, (got, want)) in got.iter().zip(want.iter().chain(guards)).enumerate() {
        let good = match *want {
            Want::Untouched => got.to_bits() == MARKER,
            Want::Near { value, tolerance } => {
                let error = (f64::from(*got) - value).abs();
                let error = if error.is_nan() { f64::INFINITY } else { error };
                outcome.max_error = outcome.max_error.max(error);
                outcome.worst = outcome.worst.max(if tolerance > 0.0 { error / tolerance } else { error });
                error <= tolerance
            }
        };
        if !good {
            outcome.bad += 1;
            outcome.first_bad.get_or_insert((i, *got, *want));
        }
    }
    if got.len() < want.len() {
        outcome.bad += want.len() - got.len();
    }
    outcome
}

/// Tolerance of an f32 sum of `n` products whose magnitudes add up to `magnitude`: the error grows at
/// worst with n, in practice with √n ulp (Higham 2002, §4.2); 4 ulp of slack for the products.
pub fn sum_tolerance(n: usize, magnitude: f64) -> f64 {
    (4.0 + 2.0 * (n as f64).sqrt()) * f64::from(f32::EPSILON) * magnitude + 1e-30
}

/// Seeded numbers in ±1.
pub fn uniform(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Rows of `cols` numbers, each padded with zeros to `stride`.
pub fn padded(rows: &[f32], cols: usize, stride: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() / cols * stride);
    for row in rows.chunks_exact(cols) {
        out.extend_from_slice(row);
        out.resize(out.len() + stride - cols, 0.0);
    }
    out
}

/// Uploads floats.
pub fn floats(gpu: &Gpu, values: &[f32]) -> Result<Slice, GpuError> {
    gpu.upload("check input", bytemuck::cast_slice(values))
}

/// As [`floats`], in a buffer that can be bound as a uniform buffer where they are few ([`Slice::as_constants`]).
/// Behind them are NaNs.
pub fn few_floats(gpu: &Gpu, values: &[f32]) -> Result<Slice, GpuError> {
    let mut padded = values.to_vec();
    padded.resize(values.len().max(Slice::UNIFORM_BYTES as usize / 4), f32::from_bits(MARKER));
    Ok(floats(gpu, &padded)?.first(4 * values.len() as u64))
}

/// An output of `n` floats, marked, with guards.
pub fn marked(gpu: &Gpu, n: usize) -> Result<Slice, GpuError> {
    gpu.upload("check output", bytemuck::cast_slice(&vec![MARKER; (n + GUARD).next_multiple_of(4)]))
}

/// Uploads the state.
pub fn state(gpu: &Gpu, state: State) -> Result<Slice, GpuError> {
    gpu.uniform("check state", bytemuck::bytes_of(&state))
}

/// Runs one step for `state` and reads `output` as floats.
pub fn finish(gpu: &Gpu, step: Step, state: State, output: &Slice) -> Result<Vec<f32>, GpuError> {
    gpu.run(&Graph::new(vec![step]), state)?;
    let bytes = gpu.read(output)?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64) -> Want {
        Want::Near { value, tolerance: 1e-3 }
    }

    #[test]
    fn comparison_finds_what_is_wrong() {
        let marker = f32::from_bits(MARKER);
        let row = |got: &[f32], want: &[Want], bad: usize| {
            let outcome = compare(got, want);
            assert_eq!(outcome.bad, bad, "{got:?} against {want:?}");
            assert_eq!(outcome.passed(), bad == 0 && !want.is_empty());
        };
        row(&[1.0, 2.0, marker], &[near(1.0), near(2.0)], 0);
        row(&[1.0, 2.0], &[near(2.0), near(1.0)], 2); // swapped
        row(&[f32::NAN], &[near(1.0)], 1); // NaN
        row(&[marker], &[near(1.0)], 1); // not written
        row(&[1.0, 5.0], &[near(1.0)], 1); // guard overwritten
        row(&[1.0, 5.0], &[near(1.0), Want::Untouched], 1); // padding overwritten
        row(&[f32::NAN, marker], &[Want::Untouched, Want::Untouched], 1); // another NaN is not the marker
        row(&[1.0], &[near(1.0), near(1.0)], 1); // short
        row(&[f32::INFINITY], &[near(f64::INFINITY)], 1);
        assert!(!compare(&[], &[]).passed(), "nothing compared is no pass");
    }
}
