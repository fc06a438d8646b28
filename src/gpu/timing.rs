//! How long steps take: the wall clock from submit to completion. Timestamp queries are not used, because
//! some drivers return zeros.

use std::time::Instant;

use crate::gpu::graph::{State, Step};
use crate::gpu::{Gpu, GpuError};

impl Gpu {
    /// Seconds from submit to completion of all `steps`, `repeats` times, in one pass. What was submitted before
    /// is waited for first; recording does not count.
    pub fn time(&self, steps: &[&Step], repeats: usize, state: State) -> Result<f64, GpuError> {
        self.compile(steps.iter().map(|step| &step.kernel))?;
        self.wait()?;
        let commands = self.recorded(std::iter::repeat_n(steps, repeats).flatten().copied(), state);
        let started = Instant::now();
        self.inner().queue.submit([commands]);
        self.wait()?;
        Ok(started.elapsed().as_secs_f64())
    }
}
