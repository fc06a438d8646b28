//! Operations per second without memory traffic.

use std::collections::BTreeMap;

use super::clock::Clock;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError};
use crate::kernels::arithmetic::{self, Numbers, WG};
use crate::plan::profile::Reading;

/// Workgroups per dispatch: enough for every GPU to be full several times.
const GROUPS: u32 = 2048;
/// A dispatch should take about this long.
const WANTED_S: f64 = 0.004;

pub(super) fn measure(gpu: &Gpu, clock: &Clock<'_>) -> Result<BTreeMap<String, Reading>, GpuError> {
    let result = gpu.buffer("arithmetic", u64::from(GROUPS * WG) * 4)?;
    let mut rates = BTreeMap::new();
    for numbers in Numbers::ALL.into_iter().filter(|n| gpu.facts().f16 || *n != Numbers::F16) {
        let mut rounds = 8;
        let steps = loop {
            let steps = [arithmetic::step(gpu, numbers, GROUPS, rounds, &result)?];
            gpu.time(&[&steps[0]], 1, State::default())?;
            if gpu.time(&[&steps[0]], 1, State::default())? > WANTED_S || rounds >= 1 << 16 {
                break steps;
            }
            rounds *= 2;
        };
        let ops = u64::from(GROUPS * WG) * u64::from(rounds) * numbers.ops_per_round();
        let rate = clock.slope(&steps, State::default())?.rate(ops as f64);
        rates.insert(numbers.name().to_owned(), rate);
    }
    Ok(rates)
}
