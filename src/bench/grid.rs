//! Predicted against measured, over quantization × batch × context, and what the planner's choices are worth.

use serde::{Deserialize, Serialize};

use super::speed;
use crate::base::DType;
use crate::engine::{Batch, EngineError, Model};
use crate::plan::choose::{self, Aim, Goal};
use crate::plan::table::{Cell, Table};
use crate::probe::{Clock, Runs};

/// A measured choice may fall short of the best by this part.
pub const TOLERANCE: f64 = 0.05;

/// Rounds over all cells, in turn with those of the probe: what speeds a shared machine up or slows it down seldom lasts until
/// the next, and when it does, the profile shows it as well.
pub const ROUNDS: usize = 4;
/// Short chunks are repeated for about so many seconds.
const CHUNK_S: f64 = 0.3;
/// At most so often.
const CHUNK_REPEATS: usize = 5;

/// One cell, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Type of the matrices as it was asked for.
    pub quant: DType,
    /// Sequences together.
    pub batch: usize,
    /// Position of the step, and length of the prompt.
    pub context: usize,
    /// Seconds of a step, predicted.
    pub predicted_s: f64,
    /// Seconds of a step, measured, undisturbed ([`crate::probe::Clock`]).
    pub measured_s: f64,
    /// Median seconds of a step by the wall clock, whatever else went on.
    pub wall_s: f64,
    /// Half the distance between the fastest samples, relative.
    pub spread: f64,
    /// Seconds of the prompts of all sequences, predicted.
    pub predicted_first_s: f64,
    /// The same, measured from some of the chunks; `None`: not measured.
    pub measured_first_s: Option<f64>,
}

impl Point {
    /// Predicted ÷ measured step time, minus 1.
    pub fn error(&self) -> f64 {
        self.predicted_s / self.measured_s - 1.0
    }

    /// As [`Point::error`], of the time to the first token.
    pub fn first_error(&self) -> Option<f64> {
        Some(self.predicted_first_s / self.measured_first_s? - 1.0)
    }
}

/// (median, worst) of |errors|.
pub fn summary(errors: impl Iterator<Item = f64>) -> (f64, f64) {
    let all: Vec<f64> = errors.map(f64::abs).collect();
    // NaN must show: max would hide it.
    let worst = all.iter().copied().fold(0.0, |a: f64, b| if b.is_nan() { b } else { a.max(b) });
    (speed::median(&all), worst)
}

/// Which cells, and how long measuring each may take.
#[derive(Clone, Copy, Debug)]
pub struct Grid<'a> {
    /// Sequences together.
    pub batches: &'a [usize],
    /// Positions.
    pub contexts: &'a [usize],
    /// Seconds of decode steps, over all rounds.
    pub step_s: f64,
    /// Measure prompts too.
    pub prompts: bool,
}

/// Cells of a grid, measured in rounds.
#[derive(Debug, Default)]
pub struct Samples {
    /// By quantization, batch and context.
    steps: Vec<((DType, usize, usize), Runs)>,
    /// Seconds of one prompt: it does not depend on the batch.
    prompts: Vec<(DType, usize, f64)>,
}

impl Samples {
    /// One round over every batch × context of one model. `progress` is told the cell that comes next; false stops.
    pub fn round(
        &mut self,
        model: &Model,
        clock: &Clock<'_>,
        quant: DType,
        grid: Grid<'_>,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<(), EngineError> {
        for batch in grid.batches.iter().copied() {
            let mut sequences = Batch::new(model, batch)?;
            sequences.pretend_position(grid.contexts.iter().copied().max().unwrap_or(0))?;
            for context in grid.contexts.iter().copied() {
                if !progress(batch, context) {
                    return Err(EngineError::Cancelled);
                }
                if grid.prompts && batch == grid.batches[0] {
                    let seconds = prompt_s(&mut sequences, model.sizes().chunk, context)?;
                    match self.prompts.iter_mut().find(|(q, c, _)| (*q, *c) == (quant, context)) {
                        Some((.., fastest)) => *fastest = fastest.min(seconds),
                        None => self.prompts.push((quant, context, seconds)),
                    }
                }
                let cell = (quant, batch, context);
                let at = self.steps.iter().position(|(known, _)| *known == cell).unwrap_or_else(|| {
                    self.steps.push((cell, Runs::default()));
                    self.steps.len() - 1
                });
                let budget_s = grid.step_s / ROUNDS as f64;
                speed::sample_step(&mut sequences, clock, context, budget_s, &mut self.steps[at].1)?;
            }
        }
        Ok(())
    }

    /// What was measured, beside what `predicted` gives for quantization, batch and context: seconds of a step, and to the
    /// first token.
    pub fn points(
        &self,
        clock: &Clock<'_>,
        predicted: &dyn Fn(DType, usize, usize) -> (f64, f64),
    ) -> Vec<Point> {
        let point = |((quant, batch, context), runs): &((DType, usize, usize), Runs)| {
            let (quant, batch, context) = (*quant, *batch, *context);
            let measured = clock.estimate_runs(runs);
            let (predicted_s, predicted_first_s) = predicted(quant, batch, context);
            let prompt = self.prompts.iter().find(|(q, c, _)| (*q, *c) == (quant, context));
            Point {
                quant,
                batch,
                context,
                predicted_s,
                measured_s: measured.seconds,
                wall_s: measured.raw_s,
                spread: measured.spread,
                predicted_first_s,
                measured_first_s: prompt.map(|(.., seconds)| seconds * batch as f64),
            }
        };
        self.steps.iter().map(point).collect()
    }
}

/// Seconds of a prompt of `tokens` from an empty cache: all chunks when they are few, else the first, the middle
/// and the last one, whose times grow linearly with the position.
fn prompt_s(batch: &mut Batch<'_>, chunk: usize, tokens: usize) -> Result<f64, EngineError> {
    let mut chunk_s = |at: usize, n: usize| speed::chunk_s(batch, at, n, CHUNK_S, CHUNK_REPEATS);
    // Some drivers compile at the first use.
    chunk_s(0, chunk.min(2))?;
    let chunks = tokens / chunk;
    let rest = tokens % chunk;
    let mut total = 0.0;
    if chunks > 3 {
        let mut mean = 0.0;
        for (at, weight) in [(0, 0.25), (chunks / 2, 0.5), (chunks - 1, 0.25)] {
            mean += weight * chunk_s(at * chunk, chunk)?;
        }
        total += mean * chunks as f64;
    } else {
        for i in 0..chunks {
            total += chunk_s(i * chunk, chunk)?;
        }
    }
    if rest > 0 {
        total += chunk_s(chunks * chunk, rest)?;
    }
    Ok(total)
}

/// One goal, and what the choice made for it was worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The goal, for people.
    pub goal: String,
    /// The cell chosen from predictions.
    pub chosen: String,
    /// The cell that measurements would have chosen.
    pub best: String,
    /// Is the chosen one within [`TOLERANCE`] of the best?
    pub good: bool,
}

/// Ten goals for a table of one context: every aim, and targets in the middle of what was measured.
pub fn goals(measured: &Table) -> Vec<(String, Goal)> {
    let mut rates: Vec<f64> = measured.cells.iter().map(|cell| cell.decode_tok_s).collect();
    let mut firsts: Vec<f64> = measured.cells.iter().map(|cell| cell.first_token_s).collect();
    rates.sort_by(f64::total_cmp);
    firsts.sort_by(f64::total_cmp);
    let at = |sorted: &[f64], share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let goal = |aim, min: Option<f64>, max: Option<f64>, users| Goal {
        aim,
        min_tok_s: min,
        max_first_token_s: max,
        users,
        usable: false,
    };
    let rows = [
        goal(Aim::Quality, None, None, None),
        goal(Aim::Latency, None, None, None),
        goal(Aim::Throughput, None, None, None),
        goal(Aim::Cost, None, None, Some(2)),
        goal(Aim::Quality, Some(at(&rates, 0.25) * 0.9), None, None),
        goal(Aim::Quality, Some(at(&rates, 0.9) * 0.9), None, None),
        goal(Aim::Throughput, Some(at(&rates, 0.5) * 0.9), None, None),
        goal(Aim::Throughput, Some(at(&rates, 0.75) * 0.9), None, None),
        goal(Aim::Throughput, None, Some(at(&firsts, 0.5) * 1.1), None),
        goal(Aim::Latency, None, None, Some(4)),
    ];
    rows.into_iter().map(|goal| (describe(&goal), goal)).collect()
}

fn describe(goal: &Goal) -> String {
    let mut out = format!("{:?}", goal.aim).to_lowercase();
    if let Some(v) = goal.min_tok_s {
        out += &format!(", at least {} tok/s", choose::figure(v));
    }
    if let Some(v) = goal.max_first_token_s {
        out += &format!(", first token within {} s", choose::figure(v));
    }
    if let Some(n) = goal.users {
        out += &format!(", {n} users");
    }
    out
}

/// The table as it would be had it predicted exactly what `points` measured at `context`.
pub fn as_measured(predicted: &Table, points: &[Point], context: usize) -> Table {
    let mut table = predicted.clone();
    table.cells.retain_mut(|cell| {
        let same = |p: &&Point| Some(p.quant) == cell.quant && p.batch == cell.batch && p.context == context;
        let Some(point) = points.iter().find(same) else { return false };
        cell.decode_tok_s = 1.0 / point.measured_s;
        cell.together_tok_s = cell.batch as f64 / point.measured_s;
        cell.first_token_s = point.measured_first_s.unwrap_or(point.predicted_first_s);
        true
    });
    table
}

/// Judges the choice for every goal.
pub fn judge(predicted: &Table, measured: &Table) -> Vec<Verdict> {
    let judge_one = |(text, goal): (String, Goal)| {
        let chosen = choose::choose(predicted, &goal).map(|c| &predicted.cells[c.index]);
        // The best by measurement, with targets as they are and moved by the tolerance either way.
        let moved = |factor: f64| {
            let goal = Goal {
                min_tok_s: goal.min_tok_s.map(|v| v * factor),
                max_first_token_s: goal.max_first_token_s.map(|v| v / factor),
                ..goal
            };
            choose::choose(measured, &goal).map(|c| &measured.cells[c.index])
        };
        let same = |a: &Cell, b: &Cell| a.name == b.name && a.batch == b.batch;
        let best = moved(1.0);
        let good =
            [1.0, 1.0 - TOLERANCE, 1.0 + TOLERANCE].into_iter().any(|factor| match (chosen, moved(factor)) {
                (None, None) => true,
                (Some(chosen), Some(best)) => {
                    same(chosen, best)
                        || measured.cells.iter().find(|cell| same(cell, chosen)).is_some_and(|real| {
                            worth(real, goal.aim) >= (1.0 - TOLERANCE) * worth(best, goal.aim)
                                && meets(real, &goal)
                        })
                }
                _ => false,
            });
        let name = |cell: Option<&Cell>| cell.map_or("none".to_owned(), choose::cell_name);
        Verdict { goal: text, chosen: name(chosen), best: name(best), good }
    };
    goals(measured).into_iter().map(judge_one).collect()
}

/// What an aim makes as large as it can.
fn worth(cell: &Cell, aim: Aim) -> f64 {
    match aim {
        // A worse quantization is never nearly as good.
        Aim::Quality => 1.0 / (1.0 + cell.rank as f64),
        Aim::Latency => cell.decode_tok_s,
        Aim::Throughput | Aim::Cost => cell.together_tok_s,
    }
}

/// Does the measured cell keep the targets, within the tolerance?
fn meets(cell: &Cell, goal: &Goal) -> bool {
    goal.min_tok_s.is_none_or(|min| cell.decode_tok_s >= (1.0 - TOLERANCE) * min)
        && goal.max_first_token_s.is_none_or(|max| cell.first_token_s <= (1.0 + TOLERANCE) * max)
}
