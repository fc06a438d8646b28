//! The loop closed: before a model is loaded its speed is predicted and the quantization chosen; afterwards what was
//! achieved is held against that, part by part, and remembered.

use serde_json::{Value, json};

use super::args::LoadArgs;
use super::open::{Source, note};
use super::plan::{Setting, Target, here, table_of, wanted};
use super::profiles;
use super::subject::{DEMO, Subject};
use super::{tune, unix_time};
use crate::base::{Activations, DType, KvType};
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

/// A prediction for a model on an adapter.
pub(super) struct Forecast {
    subject: Subject,
    machine: Machine,
    history: History,
    quant: Option<DType>,
    cell: Cell,
    reason: String,
    chunk: usize,
    kv: KvType,
}

impl Forecast {
    /// Plans for one sequence. Chooses the quantization unless `args` pin it; `Ok(None)` when the model cannot be
    /// described or does not fit, which loading it will explain.
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
        tune::at_first_run(gpu, &subject, options.quant)?;
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
        // Whether it fits needs no measuring: without a target only the best type that fits is measured.
        if min_tok_s.is_none() {
            let target = Target::unpriced(here(gpu, None, options.memory), chunk)?;
            let table = table_of(&subject, &target, &setting)?;
            let Some(choice) = choose::choose(&table, &goal) else { return Ok(None) };
            setting.quants.truncate(table.cells[choice.index].rank + 1);
        }
        let measured: Vec<_> = setting.quants.clone();
        let mut only = setting.clone();
        if min_tok_s.is_none() {
            only.quants = vec![*measured.last().unwrap_or(&None)];
        }
        let profile = profiles::ensure(gpu, &wanted(&subject, &only, chunk))?;
        let history = profiles::history(gpu);
        let budget = here(gpu, Some(&profile), options.memory);
        let machine = Machine::Measured(Box::new(profile));
        let target = Target { machine, budget, history: Some(history), chunk, price_per_hour: None };
        let table = table_of(&subject, &target, &only)?;
        let chosen = choose::choose(&table, &goal);
        let reached = chosen.is_some();
        let Some(choice) = chosen.or_else(|| choose::nearest(&table, &goal)) else { return Ok(None) };
        let cell = table.cells[choice.index].clone();
        let Target { machine, history, .. } = target;
        let history = history.unwrap_or_default();
        let (quant, kv) = (cell.quant, setting.kv);
        let reason = match (options.quant, measured.len()) {
            _ if !reached => {
                format!("nothing reaches your {} tok/s; the fastest", figure(min_tok_s.unwrap_or(0.0)))
            }
            (Some(_), _) => "as asked".to_owned(),
            (None, 1) => "as stored".to_owned(),
            (None, n) if min_tok_s.is_none() => {
                let better = measured[n - 2].map_or("the stored type".to_owned(), |q| q.to_string());
                format!("{better} would not fit")
            }
            _ => choice.reason.split_once(": ").map_or(choice.reason.clone(), |(_, why)| why.to_owned()),
        };
        Ok(Some(Forecast { subject, machine, history, quant, cell, reason, chunk, kv }))
    }

    /// The quantization to load; `None`: as stored.
    pub(super) fn quant(&self) -> Option<DType> {
        self.quant
    }

    /// The choice in one line.
    pub(super) fn line(&self) -> String {
        let correction = self
            .cell
            .correction
            .map_or_else(String::new, |c| format!(", × {:.2} learnt from {} runs", c.ratio, c.runs));
        format!(
            "plan: {} ({}), predicts {} tok/s{correction}, speed of light {}, bound by {}",
            self.cell.name,
            self.reason,
            figure(self.cell.decode_tok_s),
            figure(self.cell.light_tok_s),
            self.cell.binds
        )
    }

    /// Seconds of a step in the middle of what was generated, by parts, uncorrected.
    fn step(&self, position: usize) -> Option<Time> {
        let spec = self.subject.spec();
        let matrices = Matrices::of(spec, &|name| self.subject.stored(name), self.quant);
        let load = Load { spec, matrices: &matrices, kv: self.kv, chunk: self.chunk };
        let (work, constants) = self.machine.decode(&load, 1, position).ok()?;
        Some(form::time(&work, &constants))
    }

    /// Holds a run against the prediction and remembers the ratio. `None` when it was too short to tell.
    pub(super) fn close(&mut self, session: &Session<'_>, done: &Generation) -> Option<Closing> {
        let steps = &done.step_s;
        if steps.len() < FEWEST {
            return None;
        }
        let gpu = session.model().gpu();
        let position = session.position().saturating_sub(steps.len() / 2);
        let predicted = self.step(position)?;
        let typical = median(steps);
        // The first result comes when several steps are on the way already.
        let until = done.timeline.first().map_or(0.0, |[_, _, result]| *result);
        let early = steps.iter().zip(&done.timeline).take_while(|(_, [begun, ..])| *begun < until);
        let first = early.map(|(s, _)| s - typical).sum::<f64>().max(0.0);
        let between =
            (done.decode_time.as_secs_f64() - steps.iter().sum::<f64>()).max(0.0) / steps.len() as f64;
        let achieved_s = (done.decode_time.as_secs_f64() - first) / steps.len() as f64;
        let ratio = predicted.total() / achieved_s;
        let closing = Closing {
            predicted,
            correction: self.cell.correction.map_or(1.0, |c| c.ratio),
            achieved_s,
            ratio,
            first_s: first,
            between_s: between,
            growth_s: (growth(steps) * position as f64).min((achieved_s - between).max(0.0)),
            host_s: done.host.record_s / steps.len() as f64,
            idle_s: done.idle_s,
        };
        // Predictions are of exact activations.
        if session.model().sizes().activations == Activations::Int8 {
            return Some(closing);
        }
        self.history.push(Run {
            model: self.subject.described.name.clone(),
            quant: self.cell.name.clone(),
            batch: 1,
            shares: self.cell.step.shares(),
            tokens: steps.len(),
            predicted_tok_s: 1.0 / predicted.total(),
            achieved_tok_s: 1.0 / achieved_s,
            unix_time: unix_time(),
        });
        profiles::keep_history(gpu, &self.history);
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
    ratio: f64,
    /// Seconds that the first step took longer: kernels compiled at their first use.
    first_s: f64,
    /// Seconds per token between steps: sampling, text, output.
    between_s: f64,
    /// Seconds per token that grew with the position: attention.
    growth_s: f64,
    /// Seconds per token that the host spent recording.
    host_s: f64,
    /// Seconds per token that the GPU had nothing to do, at most.
    idle_s: f64,
}

impl Closing {
    /// Attention as predicted.
    fn attention_s(&self) -> f64 {
        self.predicted.kv_s + self.predicted.positions_s
    }

    /// What is left of a token's time for matrices and launches.
    fn rest_s(&self) -> f64 {
        (self.achieved_s - self.between_s - self.growth_s).max(0.0)
    }

    /// For stderr.
    pub(super) fn line(&self) -> String {
        let ms = |s: f64| figure(s * 1e3);
        let p = &self.predicted;
        let corrected = self.correction / p.total();
        format!(
            "predicted {} tok/s, achieved {} (× {:.2}); ms per token, predicted → achieved: weights and launches {} + {} → \
             {}, KV {} → {}, sampling and output {}; host {}, GPU idle at most {}; first step compiled for {} ms",
            figure(corrected),
            figure(1.0 / self.achieved_s),
            self.ratio / self.correction,
            ms(p.matrices_s),
            ms(p.launches_s + p.small_s + p.fixed_s),
            ms(self.rest_s()),
            ms(self.attention_s()),
            ms(self.growth_s),
            ms(self.between_s),
            ms(self.host_s),
            ms(self.idle_s),
            ms(self.first_s)
        )
    }

    /// For programs.
    pub(super) fn object(&self) -> Value {
        json!({
            "predicted_tok_s": self.correction / self.predicted.total(),
            "uncorrected_tok_s": 1.0 / self.predicted.total(),
            "correction": self.correction,
            "achieved_tok_s": 1.0 / self.achieved_s,
            "ratio": self.ratio / self.correction,
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

/// Says the line of a forecast.
pub(super) fn announce(forecast: Option<&Forecast>) {
    if let Some(forecast) = forecast {
        note(&forecast.line());
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
