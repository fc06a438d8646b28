//! What runs achieved against what was predicted, and how later predictions learn from it.

use serde::{Deserialize, Serialize};

/// Most runs kept per adapter.
pub const MAX_RUNS: usize = 200;
/// Runs that a correction looks at, the newest.
const WINDOW: usize = 15;
/// Fewest runs that correct anything.
const FEWEST: usize = 2;
/// Ratios beyond this (or below its inverse) say that something else was going on.
const ABSURD: f64 = 5.0;
/// Steps are alike when at least this part of their time goes to the same things.
const ALIKE: f64 = 0.6;

/// One run on one adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Model as it was named.
    pub model: String,
    /// Type of its matrices.
    pub quant: String,
    /// Sequences together.
    pub batch: usize,
    /// What the predicted time was made of ([`crate::plan::form::Time::shares`]); runs without it are like no other.
    #[serde(default)]
    pub shares: [f64; 3],
    /// Decoded tokens that were timed.
    pub tokens: usize,
    /// Tokens per second that the model of costs gave, uncorrected.
    pub predicted_tok_s: f64,
    /// Tokens per second achieved.
    pub achieved_tok_s: f64,
    /// Seconds since 1970.
    pub unix_time: u64,
}

impl Run {
    /// Achieved ÷ predicted.
    pub fn ratio(&self) -> f64 {
        self.achieved_tok_s / self.predicted_tok_s
    }
}

/// Runs of one adapter, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The runs.
    pub runs: Vec<Run>,
}

/// A factor on predicted speeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// Median of achieved ÷ predicted.
    pub ratio: f64,
    /// Runs behind it.
    pub runs: usize,
}

impl History {
    /// Adds a run, unless its numbers cannot be.
    pub fn push(&mut self, run: Run) {
        let ratio = run.ratio();
        let known = run.shares.iter().all(|share| share.is_finite());
        if known && ratio.is_finite() && ratio < ABSURD && ratio > 1.0 / ABSURD {
            self.runs.push(run);
            let extra = self.runs.len().saturating_sub(MAX_RUNS);
            self.runs.drain(..extra);
        }
    }

    /// The correction for weights of `quant` in a step whose time is made of `shares`, from runs of that kind; `None` when
    /// there are too few. What launches cost a small model says nothing of a large one that reads weights.
    pub fn correction(&self, quant: &str, shares: [f64; 3]) -> Option<Correction> {
        let overlap = |run: &Run| run.shares.iter().zip(shares).map(|(a, b)| a.min(b)).sum::<f64>();
        let alike = self.runs.iter().rev().filter(|run| run.quant == quant && overlap(run) >= ALIKE);
        let mut ratios: Vec<f64> = alike.take(WINDOW).map(Run::ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = *ratios.get(ratios.len() / 2)?;
        (ratios.len() >= FEWEST).then_some(Correction { ratio, runs: ratios.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: [f64; 3] = [0.6, 0.1, 0.3];

    fn run(quant: &str, ratio: f64) -> Run {
        Run {
            model: "m".into(),
            quant: quant.into(),
            batch: 1,
            shares: WEIGHTS,
            tokens: 100,
            predicted_tok_s: 10.0,
            achieved_tok_s: 10.0 * ratio,
            unix_time: 0,
        }
    }

    #[test]
    fn corrections_are_medians_of_the_same_type_first() {
        let mut history = History::default();
        assert_eq!(history.correction("f16", WEIGHTS), None);
        history.push(run("f16", 0.8));
        assert_eq!(history.correction("f16", WEIGHTS), None, "one run may be an accident");
        for ratio in [0.9, 0.7] {
            history.push(run("f16", ratio));
        }
        for ratio in [1.2, 1.1, 1.3] {
            history.push(run("q4_0", ratio));
        }
        assert_eq!(history.correction("f16", WEIGHTS), Some(Correction { ratio: 0.8, runs: 3 }));
        assert_eq!(history.correction("q4_0", WEIGHTS), Some(Correction { ratio: 1.2, runs: 3 }));
        assert_eq!(history.correction("q8_0", WEIGHTS), None, "no run of that type");
        assert_eq!(history.correction("f16", [0.1, 0.0, 0.9]), None, "no run of such steps");
        let near = history.correction("f16", [0.49, 0.02, 0.49]);
        assert_eq!(near, Some(Correction { ratio: 0.8, runs: 3 }), "a near tie is no other kind");
        let before = history.clone();
        for ratio in [f64::NAN, f64::INFINITY, 0.0, 100.0] {
            history.push(run("f16", ratio));
        }
        assert_eq!(history, before, "impossible ratios teach nothing");
    }

    #[test]
    fn old_runs_are_forgotten() {
        let mut history = History::default();
        for _ in 0..MAX_RUNS {
            history.push(run("f16", 0.5));
        }
        for _ in 0..WINDOW {
            history.push(run("f16", 1.0));
        }
        assert_eq!(history.runs.len(), MAX_RUNS);
        assert_eq!(history.correction("f16", WEIGHTS).map(|c| c.ratio), Some(1.0));
    }
}
