//! Bytes per second: reading over working sets of rising size, copying, upload and download.

use std::time::Instant;

use super::clock::{Clock, Measured};
use crate::base::AdapterKind;
use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Slice, Step};
use crate::kernels::fill::{Mask, Pattern};
use crate::kernels::random;
use crate::kernels::read::{self, Variant};
use crate::plan::profile::{Reading, SizedReading};

/// Working sets, MiB; the largest that fit are used.
const SIZES_MIB: [u64; 7] = [1, 4, 16, 64, 128, 512, 2048];
/// Up to this size every access pattern is tried; beyond, the best of this size.
const TRY_ALL_MIB: u64 = 64;
/// Bytes of one upload, download or copy.
const TRANSFER: u64 = 32 << 20;

/// Buffers full of pseudo-random words.
pub(super) struct Traffic<'g> {
    gpu: &'g Gpu,
    data: Vec<Slice>,
    result: Slice,
}

impl<'g> Traffic<'g> {
    /// Allocates and fills; as much as the adapter's kind asks for, less when memory is short.
    pub(super) fn new(gpu: &'g Gpu) -> Result<Traffic<'g>, GpuError> {
        // Last-level caches of discrete GPUs reach 128 MiB, of others 32 MiB: 4 to 16 times as much defeats them.
        let separate = matches!(gpu.facts().kind, AdapterKind::Discrete | AdapterKind::Virtual);
        let wanted = if separate { 2048u64 << 20 } else { 512 << 20 };
        // Small devices keep room for everything else.
        let room = gpu.facts().memory_bytes.filter(|_| separate).map_or(wanted, |bytes| bytes / 4);
        let wanted = wanted.min(room).max(64 << 20);
        let piece = gpu.max_bound_bytes().min(256 << 20).min(wanted);
        let mut data = Vec::new();
        while (data.len() as u64 + 1) * piece <= wanted {
            match gpu.buffer("bandwidth data", piece) {
                Ok(slice) => {
                    let seed = data.len() as u32;
                    random::fill_words(gpu, &slice, &Pattern::plain(Mask::ANY), seed)?;
                    data.push(slice);
                }
                Err(GpuError::OutOfMemory { .. }) if !data.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        let most = Variant::ALL.map(|v| read::result_bytes(v, piece)).into_iter().max().unwrap_or(16);
        Ok(Traffic { gpu, result: gpu.buffer("bandwidth result", most)?, data })
    }

    /// Steps that read `bytes` once.
    fn steps(&self, variant: Variant, bytes: u64) -> Result<Vec<Step>, GpuError> {
        let mut left = bytes;
        let mut steps = Vec::new();
        for slice in &self.data {
            let part = Slice { bytes: slice.bytes.min(left), ..slice.clone() };
            if part.bytes < variant.group_bytes() {
                break;
            }
            left -= part.bytes;
            steps.push(read::step(self.gpu, variant, &part, &self.result)?);
        }
        Ok(steps)
    }

    fn rate(&self, clock: &Clock<'_>, variant: Variant, bytes: u64) -> Result<SizedReading, GpuError> {
        let steps = self.steps(variant, bytes)?;
        let moved: u64 = steps.iter().map(|step| step.bytes).sum();
        let bytes_s = clock.slope(&steps, State::default())?.rate(moved as f64);
        Ok(SizedReading { bytes, bytes_s, pattern: variant.name() })
    }

    /// One reading per size with the best pattern; without `whole` only the last size.
    pub(super) fn read_curve(&self, clock: &Clock<'_>, whole: bool) -> Result<Vec<SizedReading>, GpuError> {
        let total: u64 = self.data.iter().map(|slice| slice.bytes).sum();
        let sizes: Vec<u64> = SIZES_MIB.iter().map(|mib| mib << 20).filter(|bytes| *bytes <= total).collect();
        let mut curve: Vec<SizedReading> = Vec::new();
        let mut best = Variant::ALL[0];
        for (i, bytes) in sizes.iter().copied().enumerate() {
            let at_choice = bytes == TRY_ALL_MIB << 20;
            if !whole && !at_choice && i + 1 != sizes.len() {
                continue;
            }
            if bytes > TRY_ALL_MIB << 20 {
                curve.push(self.rate(clock, best, bytes)?);
                continue;
            }
            let tried = Variant::ALL
                .into_iter()
                .map(|variant| Ok((variant, self.rate(clock, variant, bytes)?)))
                .collect::<Result<Vec<_>, GpuError>>()?;
            let rate = |item: &(Variant, SizedReading)| item.1.bytes_s.value;
            if let Some((variant, reading)) = tried.into_iter().max_by(|a, b| rate(a).total_cmp(&rate(b))) {
                best = variant;
                curve.push(reading);
            }
        }
        Ok(curve)
    }

    /// The largest size once more, with the pattern that was best there.
    pub(super) fn read_largest(
        &self,
        clock: &Clock<'_>,
        curve: &[SizedReading],
    ) -> Result<Reading, GpuError> {
        let Some(last) = curve.last() else { return Ok(Reading { value: f64::NAN, spread: 0.0 }) };
        let variant = Variant::ALL.into_iter().find(|v| v.name() == last.pattern).unwrap_or(Variant::ALL[0]);
        Ok(self.rate(clock, variant, last.bytes)?.bytes_s)
    }

    /// Copies between two buffers, by the API's own copy.
    pub(super) fn copy(&self, clock: &Clock<'_>) -> Result<Reading, GpuError> {
        let bytes = self.data[0].bytes.min(TRANSFER);
        let to = Slice { bytes, ..self.gpu.buffer("copy", bytes)? };
        self.timed(clock, bytes, || self.gpu.copy(&self.data[0], 0, &to))
    }

    /// Writes from the host.
    pub(super) fn upload(&self, clock: &Clock<'_>) -> Result<Reading, GpuError> {
        let host: Vec<u8> = (0..TRANSFER).map(|i| ((i * 31) >> 3) as u8).collect();
        let to = self.gpu.buffer("upload", TRANSFER)?;
        self.timed(clock, TRANSFER, || {
            self.gpu.write(&to, 0, &host);
            self.gpu.flush()
        })
    }

    /// Reads back to the host.
    pub(super) fn download(&self, clock: &Clock<'_>) -> Result<Reading, GpuError> {
        let bytes = self.data[0].bytes.min(TRANSFER);
        let from = Slice { bytes, ..self.data[0].clone() };
        self.timed(clock, bytes, || self.gpu.read(&from).map(drop))
    }

    fn timed(
        &self,
        clock: &Clock<'_>,
        bytes: u64,
        mut run: impl FnMut() -> Result<(), GpuError>,
    ) -> Result<Reading, GpuError> {
        run()?;
        let measured: Measured = clock.paired(9, || {
            let started = Instant::now();
            run()?;
            self.gpu.wait()?;
            Ok::<f64, GpuError>(started.elapsed().as_secs_f64())
        })?;
        Ok(measured.rate(bytes as f64))
    }
}

/// The rate of the largest working set.
pub(super) fn largest(curve: &[SizedReading]) -> Reading {
    curve.last().map_or(Reading { value: f64::NAN, spread: 0.0 }, |last| last.bytes_s)
}
