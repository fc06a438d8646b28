//! Seconds by the wall clock, on machines that are shared and change their speed.
//!
//! Every reading is paired: a fixed reference runs right before and after it, the reading counts as a multiple of
//! the reference around it, and the median of such ratios is taken. When a neighbour takes a core or the clock
//! changes, both slow down alike and the ratio stays. The reference's undisturbed time turns ratios back into
//! seconds; it is part of a profile, so that what is measured later can be compared at equal speed.
//!
//! Of steps, the slope between N and 2N repeats in one pass is taken, which cancels what a submit costs.

use crate::base::DType;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::linear::Linear;
use crate::kernels::variants::Variants;
use crate::kernels::weights::Part;
use crate::kernels::{check, matvec, random};
use crate::plan::profile::Reading;
use crate::quant::PlaneLayout;

/// Length of the shorter window.
const WINDOW_S: f64 = 0.012;
/// Most dispatches recorded at once: bounds the recording's memory.
const MAX_DISPATCHES: usize = 20_000;
/// Slopes that the median is taken of; of windows that are long even so, fewer.
const SLOPES: usize = 9;
const HASTY_SLOPES: usize = 4;
const LONG_S: f64 = 0.06;
/// A reading counts as undisturbed while the reference takes less than this many times its undisturbed time.
const CALM: f64 = 1.25;
/// This many undisturbed readings are enough to leave out the others.
const ENOUGH: usize = 5;
/// Rows and columns of the reference's matrix, f16.
const REFERENCE: usize = 1024;
/// Length of a reference reading.
const REFERENCE_S: f64 = 0.004;
/// Readings that must agree on the reference's undisturbed time, how well, and how long to try, seconds.
const AGREEING: usize = 6;
const AGREE: f64 = 0.06;
const PATIENCE_S: f64 = 3.0;

/// Measures on one device.
pub struct Clock<'g> {
    gpu: &'g Gpu,
    reference: Step,
    state: State,
    repeats: usize,
    slopes: usize,
    /// Undisturbed seconds of one pass over the reference.
    nominal_s: f64,
    _data: [Slice; 3],
}

/// Seconds per pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Median, at the reference's undisturbed speed.
    pub seconds: f64,
    /// Half the distance between the quartiles, relative to the median.
    pub spread: f64,
    /// Median by the wall clock as it was.
    pub raw_s: f64,
}

impl Measured {
    /// `amount` per pass as a rate.
    pub fn rate(self, amount: f64) -> Reading {
        Reading { value: amount / self.seconds, spread: self.spread }
    }

    /// The time itself, over `n` equal things per pass.
    pub fn each(self, n: usize) -> Reading {
        Reading { value: self.seconds / n as f64, spread: self.spread }
    }
}

impl<'g> Clock<'g> {
    /// A clock for `gpu`; finds the reference's undisturbed time.
    pub fn new(gpu: &'g Gpu, thorough: bool) -> Result<Clock<'g>, GpuError> {
        let mut clock = Clock::with_nominal(gpu, f64::INFINITY)?;
        clock.slopes = if thorough { SLOPES } else { HASTY_SLOPES };
        let started = std::time::Instant::now();
        let mut readings = Vec::new();
        loop {
            readings.push(clock.reference_s(clock.repeats)?);
            let fastest = readings.iter().copied().fold(f64::INFINITY, f64::min);
            let mut agreeing: Vec<f64> =
                readings.iter().copied().filter(|s| *s <= fastest * (1.0 + AGREE)).collect();
            let out_of_time = started.elapsed().as_secs_f64() > PATIENCE_S;
            if agreeing.len() >= AGREEING && readings.len() >= 4 * AGREEING || out_of_time {
                agreeing.sort_by(f64::total_cmp);
                clock.nominal_s = agreeing[agreeing.len() / 2];
                return Ok(clock);
            }
        }
    }

    /// A clock whose reference took `nominal_s` per pass, as a profile says.
    pub fn with_nominal(gpu: &'g Gpu, nominal_s: f64) -> Result<Clock<'g>, GpuError> {
        let bad = |cause: String| GpuError::Internal { adapter: gpu.facts().id(), cause };
        let layout = PlaneLayout::new(DType::F16, REFERENCE).map_err(|e| bad(e.to_string()))?;
        let part = Part::allocate(gpu, "reference", DType::F16, 0, REFERENCE, layout)?;
        random::fill_part(gpu, &part, 9)?;
        let state = State { n_tokens: 1, ..State::default() };
        let x = check::floats(gpu, &check::uniform(3, REFERENCE))?;
        let y = gpu.buffer("reference output", REFERENCE as u64 * 4)?;
        let state_slice = check::state(gpu, state)?;
        let linear = Linear {
            part: &part,
            x: &x,
            y: &y,
            y_stride: REFERENCE,
            y_first: 0,
            bias: None,
            accumulate: false,
            of_logits: false,
            state: &state_slice,
        };
        let reference = matvec::step(gpu, "reference", Variants::of(gpu).matvec(DType::F16, 1), linear)?;
        let mut clock = Clock {
            gpu,
            reference,
            state,
            repeats: 1,
            slopes: SLOPES,
            nominal_s,
            _data: [x, y, state_slice],
        };
        clock.reference_s(1)?; // the first run also compiles, on some drivers
        while clock.repeats < MAX_DISPATCHES {
            let window = clock.reference_s(clock.repeats)? * clock.repeats as f64;
            if window >= REFERENCE_S {
                break;
            }
            let wanted = (clock.repeats as f64 * 1.2 * REFERENCE_S / window.max(1e-6)).ceil() as usize;
            clock.repeats = wanted.clamp(clock.repeats + 1, 8 * clock.repeats).min(MAX_DISPATCHES);
        }
        Ok(clock)
    }

    /// Undisturbed seconds of one pass over the reference.
    pub fn nominal_s(&self) -> f64 {
        self.nominal_s
    }

    /// Seconds of one pass over the reference now.
    fn reference_s(&self, repeats: usize) -> Result<f64, GpuError> {
        Ok(self.gpu.time(&[&self.reference], repeats, self.state)? / repeats as f64)
    }

    /// Takes `n` readings of `run`, which returns seconds, each between two of the reference. Long readings get longer
    /// references, a tenth of their time.
    pub fn paired<E: From<GpuError>>(
        &self,
        n: usize,
        mut run: impl FnMut() -> Result<f64, E>,
    ) -> Result<Measured, E> {
        let (mut ratios, mut raw, mut calm) = (Vec::with_capacity(n), Vec::with_capacity(n), Vec::new());
        let mut repeats = self.repeats;
        // (seconds of a pass, how much it counts: the passes)
        let mut before = (self.reference_s(repeats)?, repeats as f64);
        // Disturbed readings vary more: while they are many, some more are taken.
        while ratios.len() < n || calm.len() < n.min(ENOUGH) && ratios.len() < 2 * n {
            let seconds = run()?;
            let wanted = (0.1 * seconds / before.0.max(1e-9)) as usize;
            repeats = wanted.clamp(self.repeats, MAX_DISPATCHES);
            let after = (self.reference_s(repeats)?, repeats as f64);
            let around = (before.0 * before.1 + after.0 * after.1) / (before.1 + after.1);
            ratios.push(seconds / around);
            if around < CALM * self.nominal_s {
                calm.push(seconds / around);
            }
            raw.push(seconds);
            before = after;
        }
        let (ratio, spread) = middle(if calm.len() >= ENOUGH { &mut calm } else { &mut ratios });
        let (raw_s, _) = middle(&mut raw);
        let seconds = if self.nominal_s.is_finite() { ratio * self.nominal_s } else { raw_s };
        Ok(Measured { seconds, spread, raw_s })
    }

    /// Seconds that one pass over `steps` takes when passes follow one another without a gap.
    pub fn slope(&self, steps: &[Step], state: State) -> Result<Measured, GpuError> {
        self.slope_of(&steps.iter().collect::<Vec<_>>(), state)
    }

    /// As [`Clock::slope`], of steps picked from a graph.
    pub fn slope_of(&self, steps: &[&Step], state: State) -> Result<Measured, GpuError> {
        let time = |repeats: usize| self.gpu.time(steps, repeats, state);
        time(1)?; // the first run also compiles, on some drivers
        let most = (MAX_DISPATCHES / steps.len().max(1)).max(2) / 2;
        let mut repeats = 1;
        let mut last = time(1)?;
        while last < WINDOW_S && repeats < most {
            let wanted = (repeats as f64 * WINDOW_S / last.max(1e-6)).ceil() as usize;
            repeats = wanted.clamp(repeats + 1, 8 * repeats).min(most);
            last = time(repeats)?;
        }
        // Passes that are long by themselves vary less, and there is not all day.
        let n = if last > LONG_S { self.slopes / 2 + 1 } else { self.slopes };
        self.paired(n, || {
            let (one, two) = (time(repeats)?, time(2 * repeats)?);
            // A disturbed pair may even have a falling slope: then both windows count whole.
            let sane = two > 1.2 * one;
            Ok(if sane { (two - one) / repeats as f64 } else { (one + two) / (3 * repeats) as f64 })
        })
    }
}

/// Median and quartile spread, relative.
fn middle(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
    (at(2), (at(3) - at(1)) / 2.0 / at(2).max(1e-12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_value_moves_neither_median_nor_spread() {
        let (median, spread) = middle(&mut [1.0, 1.02, 0.98, 9.0, 1.01]);
        assert_eq!(median, 1.01);
        assert!((spread - 0.01 / 1.01).abs() < 1e-12, "{spread}");
    }
}
