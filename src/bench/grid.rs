//! Predicted against measured, over quantization × batch × context, and what the planner's choices are worth.

use serde::{Deserialize, Serialize};

use super::speed;
use crate::base::DType;
use crate::engine::{Batch, EngineError, Model};
use crate::plan::choose::{self, Aim, Goal};
use crate::plan::table::{Cell, Table};
use crate::probe::Clock;

/// A measured choice may fall short of the best by this part.
pub const TOLERANCE: f64 = 0.05;

/// Rounds over all steps, of which the fastest reading stays: what slows a shared machine down seldom lasts until the next.
const ROUNDS: usize = 4;
/// Of these, those in which prompts are measured, too.
const PROMPT_ROUNDS: usize = 2;
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
    /// Median seconds of a step by the wall clock in the faster round, whatever else went on.
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
    /// Seconds of decode steps.
    pub step_s: f64,
    /// Most steps.
    pub steps: usize,
    /// Measure prompts too.
    pub prompts: bool,
}

/// Measures one model at every batch × context. `predicted` gives (step, first token) seconds per cell. `progress` is told
/// every point, and whether it is measured to the end.
pub fn measure(
    model: &Model,
    clock: &Clock<'_>,
    quant: DType,
    grid: Grid<'_>,
    predicted: &dyn Fn(usize, usize) -> (f64, f64),
    progress: &mut dyn FnMut(&Point, bool) -> bool,
) -> Result<Vec<Point>, EngineError> {
    let Grid { batches, contexts, step_s, steps, prompts: with_prompts } = grid;
    let mut points: Vec<Point> = Vec::new();
    let mut prompts: Vec<f64> = Vec::new();
    for (round, n) in (0..ROUNDS).flat_map(|round| batches.iter().map(move |n| (round, n))) {
        let mut batch = Batch::new(model, *n)?;
        batch.pretend_position(contexts.iter().copied().max().unwrap_or(0))?;
        // The time of prompts does not depend on the batch.
        if with_prompts && *n == batches[0] && round < PROMPT_ROUNDS {
            for (i, context) in contexts.iter().enumerate() {
                let seconds = prompt_s(&mut batch, model.sizes().chunk, *context)?;
                match prompts.get_mut(i) {
                    Some(old) => *old = old.min(seconds),
                    None => prompts.push(seconds),
                }
            }
        }
        for (i, context) in contexts.iter().enumerate() {
            let measured = speed::step_s(&mut batch, clock, *context, step_s / ROUNDS as f64, steps)?;
            let (predicted_s, predicted_first_s) = predicted(*n, *context);
            let point = Point {
                quant,
                batch: *n,
                context: *context,
                predicted_s,
                measured_s: measured.seconds,
                wall_s: measured.raw_s,
                spread: measured.spread,
                predicted_first_s,
                measured_first_s: None,
            };
            let same = |p: &Point| p.batch == *n && p.context == *context;
            let at = points.iter().position(same).unwrap_or(points.len());
            match points.get_mut(at) {
                Some(old) if old.measured_s <= point.measured_s => {}
                Some(old) => *old = point,
                None => points.push(point),
            }
            points[at].measured_first_s = prompts.get(i).map(|s| s * *n as f64);
            if !progress(&points[at], round + 1 == ROUNDS) {
                return Err(EngineError::Cancelled);
            }
        }
    }
    Ok(points)
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
