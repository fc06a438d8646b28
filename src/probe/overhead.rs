//! What a dispatch and a submit cost beyond the work in them.

use std::time::Instant;

use super::clock::Clock;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Graph};
use crate::kernels::fill::{self, Mask, Pattern};
use crate::plan::profile::Reading;

/// Words written by a dispatch that does next to nothing.
const WORDS: u64 = 64;
/// Dispatches per pass.
const DISPATCHES: usize = 256;

/// Overheads in seconds.
pub(super) struct Overhead {
    /// Per dispatch that writes what the one before it wrote, on the device.
    pub(super) dispatch_s: Reading,
    /// Per dispatch on the host, where that is not hidden.
    pub(super) record_s: f64,
    /// Per submit with readback.
    pub(super) submit_s: Reading,
}

pub(super) fn measure(gpu: &Gpu, clock: &Clock<'_>) -> Result<Overhead, GpuError> {
    let data = gpu.buffer("overhead", WORDS * 4)?;
    let graph = |n: usize| {
        let steps = (0..n).map(|i| fill::step(gpu, &data, &Pattern::plain(Mask::ANY), i as u32));
        Ok(Graph { steps: steps.collect::<Result<Vec<_>, GpuError>>()? })
    };
    let (one, many) = (graph(1)?, graph(DISPATCHES)?);
    let dispatch_s = clock.slope(&many.steps, State::default())?.each(DISPATCHES);
    let readback = gpu.readback(16);
    let round = |graph: &Graph| {
        gpu.run_and_read(&[graph], State::default(), &data, 16, &readback)?;
        clock.paired(25, || {
            let started = Instant::now();
            gpu.run_and_read(&[graph], State::default(), &data, 16, &readback)?;
            Ok::<f64, GpuError>(started.elapsed().as_secs_f64())
        })
    };
    let (short, long) = (round(&one)?, round(&many)?);
    let per_dispatch = (long.seconds - short.seconds).max(0.0) / (DISPATCHES - 1) as f64;
    let submit_s = Reading { value: (short.seconds - per_dispatch).max(0.0), spread: short.spread };
    Ok(Overhead { dispatch_s, record_s: (per_dispatch - dispatch_s.value).max(0.0), submit_s })
}
