//! Which variant of a kernel is fastest on an adapter: candidates run on matrices like those of a layer, the slower half
//! drops out in every round, and what is left has to beat the default side by side, and to compute correctly.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::tune_work::Work;
use crate::base::AdapterKind;
use crate::gpu::{Gpu, GpuError, Step};
use crate::kernels::matvec::{Team, Variant};
use crate::kernels::variants::{Class, MatvecClass, Variants, Way};
use crate::kernels::verify;

/// Length of a reading, seconds.
const READING_S: [f64; 2] = [0.004, 0.012];
/// Readings of every candidate in the first round; a round has twice as many as the one before.
const READINGS: usize = 3;
/// A candidate that takes so many times the default's time will not win.
const HOPELESS: f64 = 3.0;
/// So many kinds of teams are looked at closely.
const TEAMS: usize = 2;
/// So many candidates meet the default in the last round.
const FINALISTS: usize = 3;
/// Pairs of readings that decide. The winner may lose one.
const PAIRS: usize = 9;
/// The least gain that is worth leaving the default.
const LEAST_GAIN: f64 = 1.03;
/// A tuned variant this much slower than the default is slower, not noise.
const NOISE: f64 = 1.05;

/// Sizes of a layer, in numbers per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Rows of Q, K and V together.
    pub qkv: usize,
    /// Width of all heads side by side.
    pub heads: usize,
    /// Width between gate and down.
    pub inter: usize,
    /// Tokens of a prompt at once.
    pub prompt: u32,
}

impl Layer {
    /// Of Llama-3.2-1B; on CPU adapters a quarter of that, to be done in time. `prompt`: tokens that the engine takes at once.
    pub fn typical(kind: AdapterKind, prompt: u32) -> Layer {
        match kind {
            AdapterKind::Cpu => Layer { hidden: 1024, qkv: 1536, heads: 1024, inter: 2816, prompt },
            _ => Layer { hidden: 2048, qkv: 3072, heads: 2048, inter: 8192, prompt },
        }
    }
}

/// What was found for one class of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// [`Class::name`]
    pub class: String,
    /// What runs without tuning; [`Way::name`].
    pub default: String,
    /// What runs with it.
    pub tuned: String,
    /// Median time of the default ÷ that of the tuned variant, side by side; 1 where they are the same.
    pub gain: f64,
    /// Between these are all of the pairs' ratios but one at either end.
    pub range: [f64; 2],
    /// Milliseconds of a layer's four matrices, or of its attention, by default, median.
    pub default_ms: f64,
    /// Candidates tried; none where choices made before are compared.
    pub candidates: usize,
    /// Candidates that were fast but not right, with what was wrong.
    pub wrong: Vec<String>,
}

impl Choice {
    /// Slower than the default by more than noise? What is no number is.
    pub fn is_slower(&self) -> bool {
        self.gain.is_nan() || self.gain < 1.0 / NOISE
    }

    /// Faster by enough to be chosen, and not by chance?
    fn is_faster(&self) -> bool {
        self.gain >= LEAST_GAIN && self.range[0] > 1.0
    }
}

/// Finds the variant for one class of work. Past `deadline` the default stays. `go_on` is asked between candidates; false
/// stops with [`GpuError::Stopped`]. What the device prefers stays as it is.
pub fn tune(
    gpu: &Gpu,
    layer: Layer,
    class: Class,
    deadline: Option<Instant>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Choice, GpuError> {
    Contest::new(gpu, layer, class)?.decide(&mut || match (go_on(), deadline) {
        (false, _) => Err(GpuError::Stopped),
        (true, deadline) => Ok(deadline.is_none_or(|deadline| Instant::now() < deadline)),
    })
}

/// Holds what the device prefers for this class against the default.
pub fn compare(gpu: &Gpu, layer: Layer, class: Class) -> Result<Choice, GpuError> {
    Contest::new(gpu, layer, class)?.side_by_side(Variants::of(gpu).way(class))
}

/// Is there time left? An error stops.
type Time<'a> = &'a mut dyn FnMut() -> Result<bool, GpuError>;

/// How candidates fare on the same work.
struct Contest<'g> {
    gpu: &'g Gpu,
    class: Class,
    work: Work,
    default: Way,
    /// Seconds of one pass by itself, by default.
    once_s: f64,
    /// Passes over the layers in a reading.
    repeats: usize,
}

/// A variant's steps over all layers.
struct Candidate {
    way: Way,
    steps: Vec<Step>,
    best_s: f64,
}

impl<'g> Contest<'g> {
    fn new(gpu: &'g Gpu, layer: Layer, class: Class) -> Result<Contest<'g>, GpuError> {
        let work = Work::new(gpu, layer, class)?;
        let default = Variants::of(gpu).way_untuned(class);
        let mut contest = Contest { gpu, class, work, default, once_s: f64::INFINITY, repeats: 1 };
        let steps = contest.work.steps(gpu, default, false)?;
        let length = READING_S[usize::from(gpu.facts().kind == AdapterKind::Cpu)];
        contest.time(&steps, 1)?; // the first run also compiles, on some drivers
        contest.once_s = contest.time(&steps, 1)?.min(contest.time(&steps, 1)?);
        contest.repeats = (length / contest.once_s.max(1e-6)).ceil().clamp(1.0, 200.0) as usize;
        Ok(contest)
    }

    /// Seconds of a pass.
    fn time(&self, steps: &[Step], repeats: usize) -> Result<f64, GpuError> {
        let steps: Vec<&Step> = steps.iter().collect();
        Ok(self.gpu.time(&steps, repeats, self.work.state())? / repeats as f64)
    }

    fn decide(&self, time: Time<'_>) -> Result<Choice, GpuError> {
        let gpu = self.gpu;
        let mut numbers = Variants::of(gpu).candidates(gpu.facts(), self.class);
        let mut tried = Vec::new();
        if let Class::Matvec(MatvecClass { dtype, columns }) = self.class {
            // Who owns rows makes the largest difference: first that, with sensible numbers, then the numbers.
            let teams = Team::ALL.into_iter().filter(|t| t.runs_on(gpu.facts()) && !gpu.is_banned(t.class()));
            let of = |team| Way::Matvec(Variant::of(gpu.facts().maker(), team, dtype, columns));
            tried.extend(teams.map(of));
            let best = self.fastest(tried.clone(), TEAMS, time)?;
            let team = |way: &Way| if let Way::Matvec(variant) = way { Some(variant.team) } else { None };
            numbers.retain(|way| best.iter().any(|best| team(best) == team(way)));
        }
        tried.extend(numbers.iter().filter(|way| !tried.contains(way)).copied().collect::<Vec<_>>());
        let mut finalists = self.fastest(numbers, FINALISTS, time)?;
        finalists.retain(|way| *way != self.default);
        let mut wrong = Vec::new();
        let mut best = self.side_by_side(self.default)?;
        for way in &finalists {
            if !time()? {
                break;
            }
            let choice = match self.side_by_side(*way) {
                Ok(choice) => choice,
                Err(error @ GpuError::Lost { .. }) => return Err(error),
                Err(error) => {
                    wrong.push(error.to_string());
                    continue;
                }
            };
            if !choice.is_faster() || choice.gain <= best.gain {
                continue;
            }
            let report = verify::run(gpu, &self.work.checks(gpu, *way), |_, _| {})?;
            match report.passed() {
                true => best = choice,
                false => wrong.extend(report.failures),
            }
        }
        // Once more, against luck.
        if best.tuned != best.default {
            let way = finalists.iter().find(|way| way.name() == best.tuned);
            let again = self.side_by_side(*way.unwrap_or(&self.default))?;
            best = if again.is_faster() { again } else { self.side_by_side(self.default)? };
        }
        Ok(Choice { candidates: tried.len(), wrong, ..best })
    }

    /// The `keep` fastest, best first: the slower half drops out in every round. None when there is no time left.
    fn fastest(&self, ways: Vec<Way>, keep: usize, time: Time<'_>) -> Result<Vec<Way>, GpuError> {
        // What fails here is no candidate, and no reason to give up.
        let survives = |result: Result<f64, GpuError>| match result {
            Ok(seconds) => Ok(Some(seconds)),
            Err(error @ GpuError::Lost { .. }) => Err(error),
            Err(_) => Ok(None),
        };
        let mut candidates = Vec::new();
        for way in ways {
            if let Ok(steps) = self.work.steps(self.gpu, way, true) {
                candidates.push(Candidate { way, steps, best_s: f64::INFINITY });
            }
        }
        let kernels = candidates.iter().flat_map(|c| c.steps.iter().take(4)).map(|step| &step.kernel);
        if let Err(error @ GpuError::Lost { .. }) = self.gpu.compile(kernels) {
            return Err(error);
        }
        // One pass by itself: some drivers compile now, and what is slow beyond hope should not run for long.
        let mut hopeful: Vec<Candidate> = Vec::new();
        for candidate in candidates {
            if !time()? {
                return Ok(Vec::new());
            }
            let first = survives(self.time(&candidate.steps, 1))?;
            let again = if first.is_some() { survives(self.time(&candidate.steps, 1))? } else { None };
            if again.is_some_and(|seconds| seconds <= HOPELESS * self.once_s) {
                hopeful.push(candidate);
            }
        }
        let mut readings = READINGS;
        while hopeful.len() > keep {
            for candidate in &mut hopeful {
                candidate.best_s = f64::INFINITY;
            }
            for _ in 0..readings {
                if !time()? {
                    return Ok(Vec::new());
                }
                for candidate in &mut hopeful {
                    candidate.best_s = candidate.best_s.min(self.time(&candidate.steps, self.repeats)?);
                }
            }
            hopeful.sort_by(|a, b| a.best_s.total_cmp(&b.best_s));
            hopeful.truncate((hopeful.len() / 2).max(keep));
            readings *= 2;
        }
        Ok(hopeful.iter().map(|candidate| candidate.way).collect())
    }

    /// The default and `variant`, in turn.
    fn side_by_side(&self, way: Way) -> Result<Choice, GpuError> {
        let steps = |way| self.work.steps(self.gpu, way, false);
        let (default, tuned) = (steps(self.default)?, steps(way)?);
        let same = way == self.default;
        self.time(&tuned, 1)?;
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let a = self.time(&default, self.repeats)?;
            let b = if same { a } else { self.time(&tuned, self.repeats)? };
            pairs.push((a, a / b));
        }
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let times = sorted(pairs.iter().map(|(a, _)| *a).collect());
        let ratios = sorted(pairs.iter().map(|(_, ratio)| *ratio).collect());
        Ok(Choice {
            class: self.class.name(),
            default: self.default.name(),
            tuned: way.name(),
            gain: ratios[PAIRS / 2],
            range: [ratios[1], ratios[PAIRS - 2]],
            default_ms: times[PAIRS / 2] * 1e3 / self.work.layers() as f64,
            candidates: 0,
            wrong: Vec::new(),
        })
    }
}
