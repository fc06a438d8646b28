//! The loop closed: before a model is loaded its speed is predicted and the quantization chosen; afterwards what was
//! achieved is held against that, part by part, and remembered.

use serde_json::{Value, json};

use super::args::LoadArgs;
use super::open::Source;
use super::plan::{Setting, Target, here, table_of, wanted};
use super::profiles;
use super::subject::{DEMO, Subject};
use super::unix_time;
use crate::base::{Activations, AdapterKind, DType, KvType};
use crate::bench::speed::median;
use crate::engine::model::{DEFAULT_CONTEXT, default_chunk};
use crate::engine::{Generation, Session};
use crate::gpu::Gpu;
use crate::plan::choose::{self, Aim, Goal, figure};
use crate::plan::form::{self, Time};
use crate::plan::history::{History, Run};
use crate::plan::machine::{Load, Machine};
use crate::plan::table::Cell;
use crate::plan::weights::Matrices;

/// Fewest tokens that say something about speed.
const FEWEST: usize = 8;
/// Reasons that are no choice.
const AS_ASKED: &str = "as asked";
const AS_STORED: &str = "as stored";
/// Achieved ÷ predicted between these is what people call the same.
const AS_PREDICTED: [f64; 2] = [0.8, 1.25];
/// A rate this far above the speed of light is no reading's spread: the profile is wrong.
const LIGHT_MARGIN: f64 = 1.1;

/// What runs, and how fast it should be.
pub(super) struct Forecast {
    subject: Subject,
    quant: Option<DType>,
    reason: String,
    chunk: usize,
    kv: KvType,
    /// `None`: this adapter was not measured for it.
    prediction: Option<Prediction>,
}

/// A speed for one sequence, from a profile.
struct Prediction {
    machine: Machine,
    history: History,
    cell: Cell,
}

impl Forecast {
    /// Chooses the quantization for one sequence, unless `args` pin it, and predicts its speed where
    /// a profile tells. Nothing is measured, but to choose by speed (`min_tok_s`). `Ok(None)` when the
    /// model cannot be described or does not fit, which loading it will explain.
    pub(super) fn make(
        gpu: &Gpu,
        source: &Source,
        args: &LoadArgs,
        min_tok_s: Option<f64>,
    ) -> anyhow::Result<Option<Forecast>> {
        let name = match source {
            Source::Demo => DEMO.to_owned(),
            Source::Path(path) => path.display().to_string(),
        };
        let Ok(subject) = Subject::of(&name) else { return Ok(None) };
        let options = args.options();
        let trained = subject.spec().max_context;
        let context = options.context.unwrap_or(trained.min(DEFAULT_CONTEXT));
        let chunk = options.chunk.unwrap_or_else(|| default_chunk(gpu.facts().kind)).min(context);
        if context == 0 || context > trained || chunk == 0 {
            return Ok(None);
        }
        let quants = match options.quant {
            Some(quant) if subject.is_float() => vec![Some(quant)],
            _ => subject.quants(),
        };
        let mut setting = Setting {
            quants,
            batches: vec![1],
            context,
            prompt: (context / 4).clamp(1, 256),
            kv: options.kv,
            chunk: options.chunk,
        };
        let goal = Goal { aim: Aim::Quality, min_tok_s, ..Goal::default() };
        let mut reason = AS_ASKED.to_owned();
        // Whether it fits needs no measuring.
        if min_tok_s.is_none() {
            let target = Target::unpriced(here(gpu, None, options.memory), chunk)?;
            let table = table_of(&subject, &target, &setting)?;
            let Some(choice) = choose::choose(&table, &goal) else { return Ok(None) };
            let rank = table.cells[choice.index].rank;
            if options.quant.is_none() {
                reason = match rank.checked_sub(1).map(|better| setting.quants[better]) {
                    None => AS_STORED.to_owned(),
                    Some(better) => {
                        let better = better.map_or("the stored type".to_owned(), |q| q.to_string());
                        format!("{better} would not fit")
                    }
                };
            }
            setting.quants = vec![setting.quants[rank]];
        }
        let wanted = wanted(&subject, &setting, chunk);
        let profile = match min_tok_s {
            Some(_) => Some(profiles::ensure(gpu, &wanted)?),
            None => profiles::covering(gpu, &wanted),
        };
        let Some(profile) = profile else {
            let (quant, kv) = (setting.quants[0], setting.kv);
            return Ok(Some(Forecast { subject, quant, reason, chunk, kv, prediction: None }));
        };
        let budget = here(gpu, Some(&profile), options.memory);
        let machine = Machine::Measured(Box::new(profile));
        let history = Some(profiles::history(gpu));
        let target = Target { machine, budget, history, chunk, price_per_hour: None };
        let table = table_of(&subject, &target, &setting)?;
        let chosen = choose::choose(&table, &goal);
        let reached = chosen.is_some();
        let Some(choice) = chosen.or_else(|| choose::nearest(&table, &goal)) else { return Ok(None) };
        let cell = table.cells[choice.index].clone();
        if let Some(wanted) = min_tok_s {
            let why = choice.reason.split_once(": ").map(|(_, why)| why.to_owned());
            reason = match reached {
                true => why.unwrap_or(choice.reason),
                false => format!("nothing reaches your {} tok/s; the fastest", figure(wanted)),
            };
        }
        let Target { machine, history, .. } = target;
        let history = history.unwrap_or_default();
        let (quant, kv) = (cell.quant, setting.kv);
        let prediction = Some(Prediction { machine, history, cell });
        Ok(Some(Forecast { subject, quant, reason, chunk, kv, prediction }))
    }

    /// The quantization to load; `None`: as stored.
    pub(super) fn quant(&self) -> Option<DType> {
        self.quant
    }

    /// Was there anything to choose? Then people are told what was chosen.
    pub(super) fn is_choice(&self) -> bool {
        ![AS_ASKED, AS_STORED].contains(&self.reason.as_str())
    }

    /// The choice in one line.
    pub(super) fn line(&self) -> String {
        let name = self.quant.map_or("weights".to_owned(), |quant| quant.to_string());
        let Some(Prediction { cell, .. }) = &self.prediction else {
            return format!("{name} ({}); `anygpu probe` measures how fast it should be", self.reason);
        };
        let correction = cell
            .correction
            .map_or_else(String::new, |c| format!(" (× {:.2} learnt from {} runs)", c.ratio, c.runs));
        format!(
            "{} ({}), predicted {} tok/s{correction}, speed of light {}, bound by {}",
            cell.name,
            self.reason,
            figure(cell.decode_tok_s),
            figure(cell.light_tok_s),
            cell.binds
        )
    }

    /// Seconds of a step in the middle of what was generated, by parts, uncorrected; and do the weights
    /// stay in caches, which are faster than memory?
    fn step(&self, position: usize) -> Option<(Time, bool)> {
        let spec = self.subject.spec();
        let matrices = Matrices::of(spec, &|name| self.subject.stored(name), self.quant);
        let load = Load { spec, matrices: &matrices, kv: self.kv, chunk: self.chunk };
        let machine = &self.prediction.as_ref()?.machine;
        let (work, constants) = machine.decode(&load, 1, position).ok()?;
        Some((form::time(&work, &constants), load.is_cached()))
    }

    /// Holds a run against the prediction and remembers the ratio. `None` when there is no prediction
    /// or the run was too short to tell.
    pub(super) fn close(&mut self, session: &Session<'_>, done: &Generation) -> Option<Closing> {
        let steps = &done.step_s;
        if steps.len() < FEWEST {
            return None;
        }
        let gpu = session.model().gpu();
        let position = session.position().saturating_sub(steps.len() / 2);
        let (predicted, is_cached) = self.step(position)?;
        let Prediction { history, cell, .. } = self.prediction.as_mut()?;
        let between =
            (done.decode_time.as_secs_f64() - steps.iter().sum::<f64>()).max(0.0) / steps.len() as f64;
        let achieved_s = 1.0 / done.decode_rate();
        let corrected_tok_s = cell.correction.map_or(1.0, |c| c.ratio) / predicted.total();
        let closing = Closing {
            predicted,
            correction: cell.correction.map_or(1.0, |c| c.ratio),
            achieved_s,
            first_s: done.compile_s,
            between_s: between,
            growth_s: (growth(steps) * position as f64).min((achieved_s - between).max(0.0)),
            host_s: done.host.record_s / steps.len() as f64,
            idle_s: done.idle_s,
            is_contradicted: !is_cached
                && achieved_s.recip().max(corrected_tok_s) > cell.light_tok_s * LIGHT_MARGIN,
            is_cpu: gpu.facts().kind == AdapterKind::Cpu,
        };
        if closing.is_contradicted {
            profiles::doubt(gpu);
            return Some(closing);
        }
        // Predictions are of exact activations.
        if session.model().sizes().activations == Activations::Int8 {
            return Some(closing);
        }
        history.push(Run {
            model: self.subject.described.name.clone(),
            quant: cell.name.clone(),
            batch: 1,
            shares: cell.step.shares(),
            tokens: steps.len(),
            predicted_tok_s: 1.0 / closing.predicted.total(),
            achieved_tok_s: 1.0 / achieved_s,
            unix_time: unix_time(),
        });
        profiles::keep_history(gpu, history);
        Some(closing)
    }
}

/// Seconds by which a step takes longer per position, by Theil's median of slopes between the halves: what attention
/// costs, measured without looking into the step.
fn growth(steps: &[f64]) -> f64 {
    let half = steps.len() / 2;
    let slopes: Vec<f64> = (0..half).map(|i| (steps[i + half] - steps[i]) / half as f64).collect();
    median(&slopes).max(0.0)
}

/// What was predicted, what was achieved, and where the difference is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    predicted: Time,
    correction: f64,
    achieved_s: f64,
    /// Seconds that the first steps took longer: kernels compiled at their first use.
    first_s: f64,
    /// Seconds per token between steps: sampling, text, output.
    between_s: f64,
    /// Seconds per token that grew with the position: attention.
    growth_s: f64,
    /// Seconds per token that the host spent recording.
    host_s: f64,
    /// Seconds per token that the GPU had nothing to do, at most.
    idle_s: f64,
    /// Faster than the measured bandwidth allows: the profile is wrong.
    is_contradicted: bool,
    is_cpu: bool,
}

impl Closing {
    fn predicted_tok_s(&self) -> f64 {
        self.correction / self.predicted.total()
    }

    /// Achieved ÷ predicted.
    fn ratio(&self) -> f64 {
        1.0 / (self.achieved_s * self.predicted_tok_s())
    }

    /// How the speed compares with the prediction, for people.
    pub(super) fn words(&self) -> String {
        if self.is_contradicted {
            return "faster than the measured bandwidth allows: `anygpu probe`, nothing else running, \
                    measures it again"
                .to_owned();
        }
        let predicted = figure(self.predicted_tok_s());
        let busy = if self.is_cpu { "is the processor busy?" } else { "is the GPU busy, or hot?" };
        match self.ratio() {
            ratio if ratio < AS_PREDICTED[0] => format!("{predicted} predicted: {busy}"),
            ratio if ratio > AS_PREDICTED[1] => format!("{predicted} predicted"),
            _ => "as predicted".to_owned(),
        }
    }

    /// Attention as predicted.
    fn attention_s(&self) -> f64 {
        self.predicted.kv_s + self.predicted.positions_s
    }

    /// What is left of a token's time for matrices and launches.
    fn rest_s(&self) -> f64 {
        (self.achieved_s - self.between_s - self.growth_s).max(0.0)
    }

    /// Where a token's time went, for `--stats`.
    pub(super) fn line(&self) -> String {
        let ms = |s: f64| figure(s * 1e3);
        let p = &self.predicted;
        format!(
            "ms per token, predicted → achieved: weights and launches {} → {}, KV {} → {}; sampling and \
             output {}, host {}, GPU idle at most {}",
            ms(p.total() - self.attention_s()),
            ms(self.rest_s()),
            ms(self.attention_s()),
            ms(self.growth_s),
            ms(self.between_s),
            ms(self.host_s),
            ms(self.idle_s),
        )
    }

    /// For programs.
    pub(super) fn object(&self) -> Value {
        json!({
            "predicted_tok_s": self.predicted_tok_s(),
            "uncorrected_tok_s": 1.0 / self.predicted.total(),
            "correction": self.correction,
            "achieved_tok_s": 1.0 / self.achieved_s,
            "ratio": self.ratio(),
            "contradicts_bandwidth": self.is_contradicted,
            "predicted_s": self.predicted,
            "achieved_s": {
                "weights_and_launches": self.rest_s(),
                "kv": self.growth_s,
                "sampling_and_output": self.between_s,
                "host": self.host_s,
                "gpu_idle": self.idle_s,
                "compile_first_step": self.first_s,
            },
            "residual_s": {
                "total": self.achieved_s - self.predicted.total(),
                "weights_and_launches": self.rest_s() - (self.predicted.total() - self.attention_s()),
                "kv": self.growth_s - self.attention_s(),
                "sampling_and_output": self.between_s,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_a_slope_that_one_slow_step_does_not_move() {
        let mut steps: Vec<f64> = (0..40).map(|i| 1.0 + 0.01 * f64::from(i)).collect();
        steps[7] = 30.0;
        assert!((growth(&steps) - 0.01).abs() < 1e-12);
        assert_eq!(growth(&[1.0; 10]), 0.0);
    }
}
