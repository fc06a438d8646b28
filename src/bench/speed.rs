//! Seconds of prompts and of decoding, as llama-bench counts them: without tokenizing and sampling on the host.

use std::time::Instant;

use serde::Serialize;

use crate::engine::{Batch, EngineError, Model};
use crate::gpu::graph::State;
use crate::probe::{Clock, Runs};

/// Windows of a round. Short ones no more than the probe takes: the fastest of more would be a luckier one.
const FEWEST_WINDOWS: usize = 5;
const MOST_WINDOWS: usize = 12;

/// What one test measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Test {
    /// Prompt tokens; 0: none.
    pub n_prompt: usize,
    /// Tokens generated per sequence; 0: none.
    pub n_gen: usize,
    /// Positions in the cache before the test.
    pub n_depth: usize,
    /// Sequences decoded together.
    pub batch: usize,
}

/// Seconds of its repeats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Samples {
    /// What was measured.
    pub test: Test,
    /// Seconds of each repeat.
    pub seconds: Vec<f64>,
    /// Seconds until the kernels were compiled and had run once.
    pub compile_s: f64,
    /// Of these, seconds for the pipelines alone; 0 where an earlier test compiled them.
    pub pipelines_s: f64,
    /// Seconds that the host spent recording and submitting, per decoded token or prompt chunk.
    pub host_s: f64,
    /// Dispatches per step: of one decode step, or of one chunk of a prompt.
    pub dispatches: usize,
}

impl Samples {
    /// Tokens per repeat, of all sequences together.
    pub fn tokens(&self) -> usize {
        self.test.n_prompt + self.test.n_gen * self.test.batch
    }

    /// Median seconds of a repeat.
    pub fn median_s(&self) -> f64 {
        median(&self.seconds)
    }

    /// Tokens per second of each repeat.
    pub fn rates(&self) -> Vec<f64> {
        self.seconds.iter().map(|s| self.tokens() as f64 / s).collect()
    }
}

/// The middle value; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Token ids that repeat nothing for long; what they are does not change the time.
pub fn made_up(n: usize, vocab: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * 7919 + 13) % vocab) as u32).collect()
}

/// Runs a test. `go_on` is asked between repeats with the number done; false stops with
/// [`EngineError::Cancelled`].
pub fn run(
    model: &Model,
    test: Test,
    repeats: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Samples, EngineError> {
    let gpu = model.gpu();
    let vocab = model.spec().vocab;
    let (started, compiled_before) = (Instant::now(), gpu.compile_seconds());
    let mut batch = Batch::new(model, test.batch)?;
    batch.pretend_position(test.n_depth)?;
    let prompt = made_up(test.n_prompt, vocab);
    let ids = made_up(test.batch, vocab);
    // Drivers compile at the first use: one chunk, one step.
    if test.n_prompt > 0 {
        batch.feed(0, &prompt[..prompt.len().min(model.sizes().chunk)])?;
    }
    if test.n_gen > 0 {
        batch.rewind(test.n_depth);
        batch.step(&ids)?;
    }
    let compile_s = started.elapsed().as_secs_f64();
    let pipelines_s = gpu.compile_seconds() - compiled_before;
    let mut seconds = Vec::with_capacity(repeats);
    let host_before = gpu.host_work();
    for done in 0..repeats {
        if !go_on(done) {
            return Err(EngineError::Cancelled);
        }
        batch.rewind(test.n_depth);
        let started = Instant::now();
        if test.n_prompt > 0 {
            batch.feed(0, &prompt)?;
        }
        let begin = batch.positions()[0];
        batch.rewind(begin);
        for _ in 0..test.n_gen {
            batch.step(&ids)?;
        }
        seconds.push(started.elapsed().as_secs_f64());
    }
    let chunks = test.n_prompt.div_ceil(model.sizes().chunk);
    let units = (repeats * (test.n_gen * test.batch + chunks)).max(1) as f64;
    let dispatches = match test.n_gen {
        0 => batch.graphs().prefill.dispatches(State { n_tokens: 2, ..State::default() }),
        _ => batch.step_graph().dispatches(batch.state()),
    };
    let host = gpu.host_work() - host_before;
    let host_s = (host.record_s + host.submit_s) / units;
    Ok(Samples { test, seconds, compile_s, pipelines_s, host_s, dispatches })
}

/// Adds samples of one decode step at exactly `position` to `runs`: windows of as many steps as the clock likes, about
/// `budget_s` of them, but at least a few.
pub fn sample_step(
    batch: &mut Batch<'_>,
    clock: &Clock<'_>,
    position: usize,
    budget_s: f64,
    runs: &mut Runs,
) -> Result<(), EngineError> {
    let ids = made_up(batch.positions().len(), 64);
    let mut steps = |n: usize| {
        let started = Instant::now();
        for _ in 0..n {
            batch.rewind(position);
            batch.step(&ids)?;
        }
        Ok::<f64, EngineError>(started.elapsed().as_secs_f64() / n as f64)
    };
    steps(1)?; // the first also compiles, on some drivers
    let step_s = steps(2)?.max(1e-6);
    let window = (clock.window_s() / step_s).ceil() as usize;
    let windows = (budget_s / (window as f64 * step_s)) as usize;
    clock.sample_runs(windows.clamp(FEWEST_WINDOWS, MOST_WINDOWS), || steps(window), runs)
}

/// Seconds of a chunk of `n` prompt tokens at `position`: the fastest of as many as take about `budget_s`, at least one and
/// at most `most`. They are too long to be paired with the clock's reference, which would be disturbed by something else.
pub fn chunk_s(
    batch: &mut Batch<'_>,
    position: usize,
    n: usize,
    budget_s: f64,
    most: usize,
) -> Result<f64, EngineError> {
    let ids = made_up(n, 64);
    let mut fastest = f64::INFINITY;
    let mut left_s = budget_s;
    for _ in 0..most.max(1) {
        batch.rewind(position);
        let started = Instant::now();
        batch.feed(0, &ids)?;
        let seconds = started.elapsed().as_secs_f64();
        fastest = fastest.min(seconds);
        left_s -= seconds;
        if left_s < seconds {
            break;
        }
    }
    Ok(fastest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
