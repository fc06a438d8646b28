//! What a dispatch and a submit cost beyond the work in them.

use std::time::Instant;

use super::SAMPLES;
use super::clock::{Clock, Runs, Windows};
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Graph, Step};
use crate::kernels::fill::{self, Mask, Pattern};
use crate::plan::profile::Reading;

/// Words written by a dispatch that does next to nothing.
const WORDS: u64 = 64;
/// Dispatches per pass.
const DISPATCHES: usize = 256;

/// Runs of each kind per round.
const RUNS: usize = 10;

/// Overheads, measured in rounds.
#[derive(Default)]
pub(super) struct Subject {
    windows: Windows,
    /// Submits with readback of one dispatch, and of many.
    short: Runs,
    long: Runs,
}

/// Overheads in seconds.
pub(super) struct Overhead {
    /// Per dispatch that writes what the one before it wrote, on the device.
    pub(super) dispatch_s: Reading,
    /// Per dispatch on the host, where that is not hidden.
    pub(super) record_s: f64,
    /// Per submit with readback.
    pub(super) submit_s: Reading,
}

impl Subject {
    /// One round of samples.
    pub(super) fn sample(&mut self, gpu: &Gpu, clock: &Clock<'_>) -> Result<(), GpuError> {
        let data = gpu.buffer("overhead", WORDS * 4)?;
        let graph = |n: usize| {
            let steps = (0..n).map(|i| fill::step(gpu, &data, &Pattern::plain(Mask::ANY), i as u32));
            Ok(Graph::new(steps.collect::<Result<Vec<_>, GpuError>>()?))
        };
        let (one, many) = (graph(1)?, graph(DISPATCHES)?);
        let steps: Vec<&Step> = many.steps.iter().collect();
        clock.sample(&[&steps], State::default(), SAMPLES, &mut self.windows)?;
        let readback = gpu.readback(16);
        for (graph, runs) in [(&one, &mut self.short), (&many, &mut self.long)] {
            let run = || {
                let started = Instant::now();
                gpu.run_and_read(&[graph], State::default(), &data, 16, &readback)?;
                Ok::<f64, GpuError>(started.elapsed().as_secs_f64())
            };
            run()?; // the first run also compiles, on some drivers
            clock.sample_runs(RUNS, run, runs)?;
        }
        Ok(())
    }

    /// What was measured.
    pub(super) fn reading(&self, clock: &Clock<'_>) -> Overhead {
        let dispatch_s = clock.estimate(&self.windows).each(DISPATCHES);
        let [short, long] = [&self.short, &self.long].map(|runs| clock.estimate_runs(runs));
        let per_dispatch = (long.seconds - short.seconds).max(0.0) / (DISPATCHES - 1) as f64;
        let submit_s = Reading { value: (short.seconds - per_dispatch).max(0.0), spread: short.spread };
        Overhead { dispatch_s, record_s: (per_dispatch - dispatch_s.value).max(0.0), submit_s }
    }
}
