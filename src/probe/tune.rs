//! Which variant of a kernel is fastest on an adapter: candidates run on matrices like those of a layer, the slower half
//! drops out in every round, and what is left has to beat the default side by side, and to compute correctly.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::base::AdapterKind;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::glu::Act;
use crate::kernels::linear::Linear;
use crate::kernels::matvec::{self, Fused, Norm, Team, Variant};
use crate::kernels::variants::{MatvecClass, Variants};
use crate::kernels::weights::{BLOCK, Part, Store};
use crate::kernels::{check, random, verify};
use crate::quant::PlaneLayout;

/// Weights to rotate through, so that caches do not hold them: of GPUs, and of CPU adapters, whose speed hardly depends on
/// where weights come from.
const ROTATE_BYTES: [u64; 2] = [192 << 20, 16 << 20];
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

/// Sizes of a layer, in numbers per row. Multiples of 256, which all formats have rows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Rows of Q, K and V together.
    pub qkv: usize,
    /// Width between gate and down.
    pub inter: usize,
}

impl Layer {
    /// Of Llama-3.2-1B; on CPU adapters a quarter of that, to be done in time.
    pub fn typical(kind: AdapterKind) -> Layer {
        match kind {
            AdapterKind::Cpu => Layer { hidden: 1024, qkv: 1536, inter: 2816 },
            _ => Layer { hidden: 2048, qkv: 3072, inter: 8192 },
        }
    }
}

/// What was found for one class of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// [`MatvecClass::name`]
    pub class: String,
    /// What runs without tuning; [`Variant::name`].
    pub default: String,
    /// What runs with it.
    pub tuned: String,
    /// Median time of the default ÷ that of the tuned variant, side by side; 1 where they are the same.
    pub gain: f64,
    /// Between these are all of the pairs' ratios but one at either end.
    pub range: [f64; 2],
    /// Milliseconds of a layer's four matrices by default, median.
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
    class: MatvecClass,
    deadline: Option<Instant>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Choice, GpuError> {
    Contest::new(gpu, layer, class)?.decide(&mut || match (go_on(), deadline) {
        (false, _) => Err(GpuError::Stopped),
        (true, deadline) => Ok(deadline.is_none_or(|deadline| Instant::now() < deadline)),
    })
}

/// Holds what the device prefers for this class against the default.
pub fn compare(gpu: &Gpu, layer: Layer, class: MatvecClass) -> Result<Choice, GpuError> {
    let preferred = Variants::of(gpu).matvec(class.dtype, class.columns);
    Contest::new(gpu, layer, class)?.side_by_side(preferred)
}

/// Is there time left? An error stops.
type Time<'a> = &'a mut dyn FnMut() -> Result<bool, GpuError>;

/// The matrices of a few layers, and how candidates fare on them.
struct Contest<'g> {
    gpu: &'g Gpu,
    class: MatvecClass,
    layers: Vec<[Part; 4]>,
    x: Slice,
    y: Slice,
    gains: Slice,
    state: State,
    state_slice: Slice,
    default: Variant,
    /// Seconds of one pass by itself, by default.
    once_s: f64,
    /// Passes over the layers in a reading.
    repeats: usize,
}

/// A variant's steps over all layers.
struct Candidate {
    variant: Variant,
    steps: Vec<Step>,
    best_s: f64,
}

impl<'g> Contest<'g> {
    fn new(gpu: &'g Gpu, layer: Layer, class: MatvecClass) -> Result<Contest<'g>, GpuError> {
        let bad = |cause: String| GpuError::Internal { adapter: gpu.facts().id(), cause };
        let MatvecClass { dtype, columns } = class;
        let Layer { hidden, qkv, inter } = layer;
        let shapes = [[qkv, hidden], [hidden, hidden], [2 * inter, hidden], [hidden, inter]];
        let cpu = gpu.facts().kind == AdapterKind::Cpu;
        let bytes: u64 = shapes.iter().map(|shape| Part::planes_bytes(dtype, *shape)).sum();
        let count = (ROTATE_BYTES[usize::from(cpu)] / bytes.max(1)).clamp(1, 32);
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
        let widest = qkv.max(2 * inter).max(hidden).next_multiple_of(BLOCK);
        let state = State { n_tokens: columns, ..State::default() };
        let default = Variants::of(gpu).matvec_untuned(dtype, columns);
        let mut contest = Contest {
            gpu,
            class,
            layers: (0..count).map(make).collect::<Result<_, _>>()?,
            x: check::few_floats(gpu, &check::uniform(11, n * hidden.max(inter)))?,
            y: gpu.buffer("tuning output", (n * widest) as u64 * 4)?,
            gains: check::floats(gpu, &check::uniform(12, hidden.max(inter)))?,
            state,
            state_slice: check::state(gpu, state)?,
            default,
            once_s: f64::INFINITY,
            repeats: 1,
        };
        let steps = contest.steps(default, false)?;
        let length = READING_S[usize::from(cpu)];
        contest.time(&steps, 1)?; // the first run also compiles, on some drivers
        contest.once_s = contest.time(&steps, 1)?.min(contest.time(&steps, 1)?);
        contest.repeats = (length / contest.once_s.max(1e-6)).ceil().clamp(1.0, 200.0) as usize;
        Ok(contest)
    }

    /// As in a decode step: normed Q K V, output, normed gate and up with the activation, down. Or `plain`: the same matrices
    /// without anything on the way, for which fewer shaders have to be compiled.
    fn steps(&self, variant: Variant, plain: bool) -> Result<Vec<Step>, GpuError> {
        let mut steps = Vec::new();
        for (i, part) in self.layers.iter().flat_map(|parts| parts.iter().enumerate()) {
            let (normed, gated) = (!plain && matches!(i, 0 | 2), !plain && i == 2);
            let linear = Linear {
                part,
                x: &self.x.first((self.class.columns as usize * part.cols) as u64 * 4),
                y: &self.y,
                y_stride: part.rows,
                y_first: 0,
                bias: None,
                accumulate: false,
                of_logits: false,
                state: &self.state_slice,
            };
            let norm = Norm { weight: &self.gains, cols: part.cols, eps: 1e-5 };
            let fused = Fused { norm: normed.then_some(norm), glu: gated.then_some(Act::Silu) };
            steps.push(matvec::fused_step(self.gpu, "tuning", variant, linear, fused)?);
        }
        Ok(steps)
    }

    /// Seconds of a pass.
    fn time(&self, steps: &[Step], repeats: usize) -> Result<f64, GpuError> {
        let steps: Vec<&Step> = steps.iter().collect();
        Ok(self.gpu.time(&steps, repeats, self.state)? / repeats as f64)
    }

    fn decide(&self, time: Time<'_>) -> Result<Choice, GpuError> {
        let gpu = self.gpu;
        let MatvecClass { dtype, columns } = self.class;
        // Who owns rows makes the largest difference: first that, with sensible numbers, then the numbers.
        let teams = Team::ALL.into_iter().filter(|t| t.runs_on(gpu.facts()) && !gpu.is_banned(t.class()));
        let teams: Vec<Variant> = teams.map(|team| Variant::of(team, dtype, columns)).collect();
        let mut tried = teams.clone();
        let best = self.fastest(teams, TEAMS, time)?;
        let mut numbers = Variant::candidates(gpu.facts(), columns);
        numbers.retain(|variant| best.iter().any(|best| best.team == variant.team));
        tried.extend(numbers.iter().filter(|variant| !tried.contains(variant)).copied().collect::<Vec<_>>());
        let mut finalists = self.fastest(numbers, FINALISTS, time)?;
        finalists.retain(|variant| *variant != self.default);
        let mut wrong = Vec::new();
        let mut best = self.side_by_side(self.default)?;
        for variant in &finalists {
            if !time()? {
                break;
            }
            let choice = match self.side_by_side(*variant) {
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
            let report = verify::run(gpu, &matvec::checks_of(dtype, *variant, Store::of(gpu)), |_, _| {})?;
            match report.passed() {
                true => best = choice,
                false => wrong.extend(report.failures),
            }
        }
        // Once more, against luck.
        if best.tuned != best.default {
            let variant = finalists.iter().find(|variant| variant.name() == best.tuned);
            let again = self.side_by_side(*variant.unwrap_or(&self.default))?;
            best = if again.is_faster() { again } else { self.side_by_side(self.default)? };
        }
        Ok(Choice { candidates: tried.len(), wrong, ..best })
    }

    /// The `keep` fastest, best first: the slower half drops out in every round. None when there is no time left.
    fn fastest(&self, variants: Vec<Variant>, keep: usize, time: Time<'_>) -> Result<Vec<Variant>, GpuError> {
        // What fails here is no candidate, and no reason to give up.
        let survives = |result: Result<f64, GpuError>| match result {
            Ok(seconds) => Ok(Some(seconds)),
            Err(error @ GpuError::Lost { .. }) => Err(error),
            Err(_) => Ok(None),
        };
        let mut candidates = Vec::new();
        for variant in variants {
            if let Ok(steps) = self.steps(variant, true) {
                candidates.push(Candidate { variant, steps, best_s: f64::INFINITY });
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
        Ok(hopeful.iter().map(|candidate| candidate.variant).collect())
    }

    /// The default and `variant`, in turn.
    fn side_by_side(&self, variant: Variant) -> Result<Choice, GpuError> {
        let (default, tuned) = (self.steps(self.default, false)?, self.steps(variant, false)?);
        let same = variant == self.default;
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
            tuned: variant.name(),
            gain: ratios[PAIRS / 2],
            range: [ratios[1], ratios[PAIRS - 2]],
            default_ms: times[PAIRS / 2] * 1e3 / self.layers.len() as f64,
            candidates: 0,
            wrong: Vec::new(),
        })
    }
}
