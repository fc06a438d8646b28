//! Seconds by the wall clock, on machines that are shared and change their speed.
//!
//! Disturbances only ever add time, so of many short samples the fastest tell what the adapter does by itself; on a
//! shared machine medians tell what the neighbours do. A fixed reference runs right before and after every few samples. It
//! shows whether the machine was calm: readings that never were are taken again, and where there are only a few samples,
//! they count as multiples of the reference around them. Its undisturbed time is part of a profile, so that what is
//! measured later can be held against the same speed.
//!
//! Of steps, windows of few and of many repeats in one pass take turns, and the slope between their estimates is the time
//! of a pass: that cancels what a submit costs.

use std::cell::RefCell;

use crate::base::{AdapterKind, DType};
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Step};
use crate::kernels::linear::Linear;
use crate::kernels::variants::Variants;
use crate::kernels::weights::{Part, Store};
use crate::kernels::{check, matvec, random};
use crate::plan::profile::Reading;
use crate::quant::PlaneLayout;

/// Length of the longer window.
const WINDOW_S: f64 = 0.012;
/// The same on adapters that share their cores with others: those come and go within some milliseconds, and the fastest of
/// many short windows saw none of them.
const SHARED_WINDOW_S: f64 = 0.003;
/// Most dispatches recorded at once: bounds the recording's memory.
const MAX_DISPATCHES: usize = 20_000;
/// Samples of each window; of windows that are long even so, half as many.
const SAMPLES: usize = 6;
const LONG_S: f64 = 0.05;
/// A reference this much faster than its undisturbed time shows that the machine has become faster since then.
const FASTER: f64 = 0.95;
/// Samples count as undisturbed when the reference around them took at most this many times its undisturbed time.
const CALM: f64 = 1.15;
/// Two rounds agree when the fastest of one took at most this many times as long as that of the other.
const AGREEMENT: f64 = 1.02;
/// Fewest undisturbed samples that an estimate is made of.
const FEWEST: usize = 3;
/// Of so many samples the fastest ones tell more than ratios to the reference, which suffers from neighbours in its own way.
const MANY: usize = 5;
/// Rows and columns of the reference's matrix, f16.
const REFERENCE: usize = 1024;
/// Length of a reference reading.
const REFERENCE_S: f64 = 0.0015;
/// Readings share the references around them until they last so long together.
const SHARE_S: f64 = 0.012;
/// The part of the reference's readings that are faster than its undisturbed time: a few may be accidents.
const UNDISTURBED: f64 = 0.05;
/// How long to look for it at first, seconds.
const PATIENCE_S: f64 = 1.0;
const HASTY_PATIENCE_S: f64 = 0.3;

/// Measures on one device.
pub struct Clock<'g> {
    gpu: &'g Gpu,
    reference: Step,
    state: State,
    repeats: usize,
    /// Undisturbed seconds of one pass over the reference; `None`: as the readings so far show.
    nominal_s: Option<f64>,
    /// Readings of the reference, seconds.
    readings: RefCell<Vec<f64>>,
}

/// Seconds per pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Undisturbed.
    pub seconds: f64,
    /// Half the distance between the fastest and the fourth, relative.
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
    /// A clock for `gpu`, which learns the reference's undisturbed time as it goes, first for a moment.
    pub fn new(gpu: &'g Gpu, thorough: bool) -> Result<Clock<'g>, GpuError> {
        let mut clock = Clock::with_nominal(gpu, f64::INFINITY)?;
        clock.nominal_s = None;
        let patience = if thorough { PATIENCE_S } else { HASTY_PATIENCE_S };
        let started = std::time::Instant::now();
        while started.elapsed().as_secs_f64() < patience {
            clock.reference_s(clock.repeats)?;
        }
        Ok(clock)
    }

    /// A clock whose reference took `nominal_s` per pass, as a profile says.
    pub fn with_nominal(gpu: &'g Gpu, nominal_s: f64) -> Result<Clock<'g>, GpuError> {
        let bad = |cause: String| GpuError::Internal { adapter: gpu.facts().id(), cause };
        let layout = PlaneLayout::new(DType::F16, REFERENCE).map_err(|e| bad(e.to_string()))?;
        let part = Part::allocate(gpu, "reference", Store::Rows, 0, REFERENCE, layout)?;
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
            nominal_s: Some(nominal_s),
            readings: RefCell::default(),
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
        self.nominal_s.unwrap_or_else(|| {
            let mut readings = self.readings.borrow_mut();
            readings.sort_by(f64::total_cmp);
            let at = (UNDISTURBED * readings.len() as f64) as usize;
            readings.get(at).copied().unwrap_or(f64::INFINITY)
        })
    }

    /// Undisturbed seconds of a product with a matrix of `weights` weights, were it as fast as the reference.
    pub fn nominal_s_of(&self, weights: usize) -> f64 {
        self.nominal_s() * weights as f64 / (REFERENCE * REFERENCE) as f64
    }

    /// Seconds of one pass over the reference now.
    fn reference_s(&self, repeats: usize) -> Result<f64, GpuError> {
        let seconds = self.gpu.time(&[&self.reference], repeats, self.state)? / repeats as f64;
        if repeats >= self.repeats {
            self.readings.borrow_mut().push(seconds);
        }
        Ok(seconds)
    }

    /// Takes `n` readings of `run`, which returns seconds, each or a few of them between two of the reference.
    pub fn paired<E: From<GpuError>>(
        &self,
        n: usize,
        run: impl FnMut() -> Result<f64, E>,
    ) -> Result<Measured, E> {
        let mut runs = Runs::default();
        self.sample_runs(n, run, &mut runs)?;
        Ok(self.estimate_runs(&runs))
    }

    /// Adds `n` readings of `run` to `runs`, as [`Clock::sample`] does for steps.
    pub fn sample_runs<E: From<GpuError>>(
        &self,
        n: usize,
        mut run: impl FnMut() -> Result<f64, E>,
        runs: &mut Runs,
    ) -> Result<(), E> {
        let mut taken = self.paired_in_turn(n, 1, |_| run())?;
        runs.0.append(&mut taken[0]);
        Ok(())
    }

    /// Seconds of one run, of all that was sampled.
    pub fn estimate_runs(&self, runs: &Runs) -> Measured {
        estimate_of(self.nominal_s(), &runs.0)
    }

    /// As [`Clock::paired`], of `kinds` different runs that take turns; the samples of each.
    fn paired_in_turn<E: From<GpuError>>(
        &self,
        n: usize,
        kinds: usize,
        mut run: impl FnMut(usize) -> Result<f64, E>,
    ) -> Result<Vec<Vec<Sample>>, E> {
        let mut samples: Vec<Vec<Sample>> = vec![Vec::with_capacity(n); kinds];
        let mut repeats = self.repeats;
        // (seconds of a pass, how much it counts: the passes)
        let mut before = (self.reference_s(repeats)?, repeats as f64);
        let mut pending: Vec<(usize, f64)> = Vec::new();
        for i in 0..n * kinds {
            pending.push((i % kinds, run(i % kinds)?));
            let pending_s: f64 = pending.iter().map(|(_, seconds)| seconds).sum();
            if pending_s < SHARE_S && i + 1 < n * kinds {
                continue;
            }
            // Long readings get longer references, a tenth of their time.
            let wanted = (0.1 * pending_s / before.0.max(1e-9)) as usize;
            repeats = wanted.clamp(self.repeats, MAX_DISPATCHES);
            let after = (self.reference_s(repeats)?, repeats as f64);
            let around = (before.0 * before.1 + after.0 * after.1) / (before.1 + after.1);
            for (kind, seconds) in pending.drain(..) {
                samples[kind].push(Sample { seconds, around });
            }
            before = after;
        }
        Ok(samples)
    }

    /// Seconds that one pass over `steps` takes when passes follow one another without a gap.
    pub fn slope(&self, steps: &[Step], state: State) -> Result<Measured, GpuError> {
        self.slope_of(&steps.iter().collect::<Vec<_>>(), state)
    }

    /// As [`Clock::slope`], of steps picked from a graph.
    pub fn slope_of(&self, steps: &[&Step], state: State) -> Result<Measured, GpuError> {
        let mut windows = Windows::default();
        self.sample(&[steps], state, SAMPLES, &mut windows)?;
        Ok(self.estimate(&windows))
    }

    /// How long a sample should be.
    pub fn window_s(&self) -> f64 {
        if self.gpu.facts().kind == AdapterKind::Cpu { SHARED_WINDOW_S } else { WINDOW_S }
    }

    /// Adds samples to `windows`, as many as `n` windows of 12 ms take: a neighbour may be busy for as long as these
    /// last, hardly so again in a later round. A window is so many of `units`, which are alike and taken in turn, that it
    /// is long enough.
    pub fn sample(
        &self,
        units: &[&[&Step]],
        state: State,
        n: usize,
        windows: &mut Windows,
    ) -> Result<(), GpuError> {
        let mut next = windows.next;
        let mut time = |count: usize| {
            let steps: Vec<&Step> =
                (next..next + count).flat_map(|i| units[i % units.len()].iter().copied()).collect();
            next = (next + count) % units.len();
            self.gpu.time(&steps, 1, state)
        };
        if windows.count == 0 {
            time(1)?; // the first run also compiles, on some drivers
            let most = (MAX_DISPATCHES / units[0].len().max(1)).max(2) / 2;
            let mut count = 1;
            let mut last = time(1)?.min(time(1)?);
            while last < self.window_s() && count < most {
                let wanted = (count as f64 * self.window_s() / last.max(1e-6)).ceil() as usize;
                count = wanted.clamp(count + 1, 8 * count).min(most);
                last = time(count)?;
            }
            *windows = Windows { count, seconds: last, ..Windows::default() };
        }
        let (count, few) = (windows.count, windows.few());
        let n = if windows.seconds > LONG_S {
            n / 2 + 1 // long ones vary less, and there is not all day
        } else {
            (n as f64 * (WINDOW_S / windows.seconds).max(1.0)) as usize
        };
        let n = n.min((WINDOW_S / self.window_s()) as usize * n);
        let mut taken = self.paired_in_turn(n, 2, |kind| time(if kind == 0 { count } else { few }))?;
        windows.rounds.push(fastest(&taken[0]));
        windows.long.append(&mut taken[0]);
        windows.short.append(&mut taken[1]);
        windows.next = next;
        Ok(())
    }

    /// Was the machine calm for enough of the samples, and did the fastest of two rounds agree? What the reference does not
    /// show, traffic of neighbours on the memory's bus, shows there.
    pub fn settled(&self, windows: &Windows) -> bool {
        calm(self.nominal_s(), &windows.long) >= FEWEST && agree(&windows.rounds)
    }

    /// Seconds of one unit, of all that was sampled.
    pub fn estimate(&self, windows: &Windows) -> Measured {
        let long = estimate_of(self.nominal_s(), &windows.long);
        let short = estimate_of(self.nominal_s(), &windows.short);
        let slope = |long: f64, short: f64| match long > 2.0 * short {
            true => (long - short) / (windows.count - windows.few()) as f64,
            false => long / windows.count as f64,
        };
        Measured {
            seconds: slope(long.seconds, short.seconds),
            spread: long.spread,
            raw_s: slope(long.raw_s, short.raw_s),
        }
    }
}

/// Samples of many and of few units, taken in one or in several rounds.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    /// Units in the longer window; zero: not known yet.
    count: usize,
    /// What it took at first.
    seconds: f64,
    /// The unit that comes next.
    next: usize,
    /// Fastest seconds of the longer window in each round.
    rounds: Vec<f64>,
    long: Vec<Sample>,
    short: Vec<Sample>,
}

impl Windows {
    /// Units in the shorter window. An eighth, not the half: a difference of near equals would treble their errors. Of two
    /// or three long units none: it is an empty submit.
    fn few(&self) -> usize {
        if self.count > 3 { (self.count / 8).max(1) } else { 0 }
    }
}

/// Samples of runs that the caller times, taken in one or in several rounds.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<Sample>);

/// One run, and seconds of a pass over the reference around it.
#[derive(Clone, Copy, Debug)]
struct Sample {
    seconds: f64,
    around: f64,
}

/// Undisturbed seconds. Disturbances only ever add time: of many samples, and of few while the reference shows that the
/// machine was calm for at least some, the fastest ones count. Of a few that were all disturbed it is the median ratio to
/// the reference, at the reference's undisturbed speed.
fn estimate_of(nominal_s: f64, samples: &[Sample]) -> Measured {
    let sorted = |values: &mut Vec<f64>| values.sort_by(f64::total_cmp);
    let mut raw: Vec<f64> = samples.iter().map(|s| s.seconds).collect();
    sorted(&mut raw);
    let raw_s = raw[raw.len() / 2];
    let calm = calm(nominal_s, samples);
    let mut values = raw;
    let mut pace = pace(nominal_s, samples);
    if calm < FEWEST.min(samples.len()) && samples.len() < MANY && nominal_s.is_finite() {
        values = samples.iter().map(|s| s.seconds / s.around * nominal_s).collect();
        sorted(&mut values);
        values.drain(..values.len() / 2);
        pace = 1.0; // ratios are of that speed already
    }
    // Not the very first: one sample may be short because its clock was read late.
    let at = |i: usize| values[i.min(values.len() - 1)];
    let (seconds, next) = (at(1), at(3));
    let spread = (next - values[0]) / 2.0 / seconds.max(1e-12);
    Measured { seconds: seconds * pace, spread, raw_s }
}

/// What to multiply the fastest samples with, where the machine has become faster than it was when the reference's
/// undisturbed time was taken: a profile and what is held against it are of the same speed.
fn pace(nominal_s: f64, samples: &[Sample]) -> f64 {
    let mut around: Vec<f64> = samples.iter().map(|s| s.around).collect();
    around.sort_by(f64::total_cmp);
    around.dedup(); // samples may share a reading
    let fastest = around[1.min(around.len() - 1)];
    if nominal_s.is_finite() && fastest < FASTER * nominal_s { nominal_s / fastest } else { 1.0 }
}

/// The fastest but one, if there is another: one sample may be short because its clock was read late.
fn fastest(samples: &[Sample]) -> f64 {
    let mut seconds: Vec<f64> = samples.iter().map(|s| s.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(1).or(seconds.first()).copied().unwrap_or(f64::NAN)
}

/// Do the two fastest rounds agree?
fn agree(rounds: &[f64]) -> bool {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(f64::total_cmp);
    matches!(rounds[..], [first, second, ..] if second <= AGREEMENT * first)
}

/// How many samples were taken while the machine was calm.
fn calm(nominal_s: f64, samples: &[Sample]) -> usize {
    samples.iter().filter(|s| s.around <= CALM * nominal_s).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Estimates need no device but its type.
    fn estimate(nominal_s: f64, samples: &[(f64, f64)]) -> Measured {
        let samples: Vec<Sample> =
            samples.iter().map(|(seconds, around)| Sample { seconds: *seconds, around: *around }).collect();
        estimate_of(nominal_s, &samples)
    }

    #[test]
    fn a_busy_neighbour_does_not_show() {
        // Half of the samples were disturbed by up to 2 ×: the others tell.
        let mixed = [(1.0, 1.0), (2.0, 1.9), (1.01, 1.0), (1.7, 2.0), (1.02, 1.01), (1.5, 1.2), (1.0, 1.02)];
        let got = estimate(1.0, &mixed);
        assert!((got.seconds - 1.0).abs() < 0.011 && got.raw_s >= 1.02, "{got:?}");
        // Few, and all of them were, by different amounts: ratios tell.
        let busy = [(2.0, 2.0), (3.0, 2.9), (2.2, 2.2), (1.8, 1.8)];
        let got = estimate(1.0, &busy);
        assert!((got.seconds - 1.0).abs() < 0.05 && got.raw_s > 1.9, "{got:?}");
        // A machine that has become faster by a fifth is held against the speed that it had.
        let faster = [(0.8, 0.8), (0.81, 0.8), (0.8, 0.81), (0.9, 1.0), (0.82, 0.8)];
        let got = estimate(1.0, &faster);
        assert!((got.seconds - 1.0).abs() < 0.02 && got.raw_s < 0.83, "{got:?}");
        let mixed = estimate(1.0, &[(0.8, 0.8), (0.8, 0.8), (2.0, 2.0), (2.0, 2.0)]);
        assert!((mixed.seconds - 1.0).abs() < 0.02, "{mixed:?}");
        // Two of three rounds agree, or none do.
        assert!(agree(&[1.3, 1.0, 1.01]) && !agree(&[1.3, 1.0, 1.1]) && !agree(&[1.0]));
        // One sample is still a sample.
        assert_eq!(estimate(f64::INFINITY, &[(3.0, 1.0)]).seconds, 3.0);
    }
}
