//! Bytes per second between buffers, and to and from the host.

use std::time::Instant;

use super::clock::{Clock, Measured};
use crate::gpu::{Gpu, GpuError, Slice};
use crate::kernels::fill::{Mask, Pattern};
use crate::kernels::random;
use crate::plan::profile::Reading;

/// Bytes of one upload, download or copy.
const BYTES: u64 = 32 << 20;

/// A buffer full of pseudo-random words, and a place to move them to.
pub(super) struct Transfers<'g> {
    gpu: &'g Gpu,
    from: Slice,
    to: Slice,
}

impl<'g> Transfers<'g> {
    pub(super) fn new(gpu: &'g Gpu) -> Result<Transfers<'g>, GpuError> {
        let from = gpu.buffer("copied", BYTES)?;
        random::fill_words(gpu, &from, &Pattern::plain(Mask::ANY), 0)?;
        Ok(Transfers { gpu, from, to: gpu.buffer("copy", BYTES)? })
    }

    /// By the API's own copy.
    pub(super) fn copy(&self, clock: &Clock<'_>) -> Result<Reading, GpuError> {
        self.timed(clock, || self.gpu.copy(&self.from, 0, &self.to))
    }

    /// Writes from the host.
    pub(super) fn upload(&self, clock: &Clock<'_>) -> Result<Reading, GpuError> {
        let host: Vec<u8> = (0..BYTES).map(|i| ((i * 31) >> 3) as u8).collect();
        self.timed(clock, || {
            self.gpu.write(&self.to, 0, &host);
            self.gpu.flush()
        })
    }

    /// Reads back to the host.
    pub(super) fn download(&self, clock: &Clock<'_>) -> Result<Reading, GpuError> {
        self.timed(clock, || self.gpu.read(&self.from).map(drop))
    }

    fn timed(
        &self,
        clock: &Clock<'_>,
        mut run: impl FnMut() -> Result<(), GpuError>,
    ) -> Result<Reading, GpuError> {
        run()?;
        let measured: Measured = clock.paired(9, || {
            let started = Instant::now();
            run()?;
            self.gpu.wait()?;
            Ok::<f64, GpuError>(started.elapsed().as_secs_f64())
        })?;
        Ok(measured.rate(BYTES as f64))
    }
}
