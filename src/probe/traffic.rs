//! Bytes per second by reading over working sets of rising size.

use super::clock::Clock;
use crate::base::AdapterKind;
use crate::gpu::graph::State;
use crate::gpu::{Bind, Gpu, GpuError, Slice, Step};
use crate::kernels::fill::{Mask, Pattern};
use crate::kernels::random;
use crate::kernels::read::{self, Variant};
use crate::plan::profile::{Reading, SizedReading};

/// Working sets, MiB; the largest that fit are used.
const SIZES_MIB: [u64; 7] = [1, 4, 16, 64, 128, 512, 2048];
/// Up to this size every access pattern is tried; beyond, the best of this size.
const TRY_ALL_MIB: u64 = 64;

/// One reading per size with the best pattern; without `whole` only the last size.
pub(super) fn read_curve(gpu: &Gpu, clock: &Clock<'_>, whole: bool) -> Result<Vec<SizedReading>, GpuError> {
    let mut curve: Vec<SizedReading> = Vec::new();
    for texels in [false, true] {
        let patterns: Vec<Variant> = patterns(gpu, texels).collect();
        if patterns.is_empty() {
            continue;
        }
        for reading in WorkingSet::new(gpu, texels)?.curve(clock, &patterns, whole)? {
            match curve.iter_mut().find(|other| other.bytes == reading.bytes) {
                Some(other) if reading.bytes_s.value > other.bytes_s.value => *other = reading,
                Some(_) => {}
                None => curve.push(reading),
            }
        }
    }
    curve.sort_by_key(|reading| reading.bytes);
    Ok(curve)
}

/// The largest size once more, with the pattern that was best there.
pub(super) fn read_largest(
    gpu: &Gpu,
    clock: &Clock<'_>,
    curve: &[SizedReading],
) -> Result<Reading, GpuError> {
    let Some(last) = curve.last() else { return Ok(Reading { value: f64::NAN, spread: 0.0 }) };
    let variant = Variant::ALL.into_iter().find(|v| v.name() == last.pattern).unwrap_or(Variant::ALL[0]);
    Ok(WorkingSet::new(gpu, variant.texels)?.rate(clock, variant, last.bytes)?.bytes_s)
}

/// The rate of the largest working set.
pub(super) fn largest(curve: &[SizedReading]) -> Reading {
    curve.last().map_or(Reading { value: f64::NAN, spread: 0.0 }, |last| last.bytes_s)
}

/// The patterns that read from textures, or from buffers.
fn patterns(gpu: &Gpu, texels: bool) -> impl Iterator<Item = Variant> {
    let facts = gpu.facts().clone();
    Variant::ALL.into_iter().filter(move |variant| variant.texels == texels && variant.runs_on(&facts))
}

/// Pseudo-random words.
struct WorkingSet<'g> {
    gpu: &'g Gpu,
    pieces: Vec<Box<dyn Bind>>,
    piece_bytes: u64,
    result: Slice,
}

impl<'g> WorkingSet<'g> {
    /// Allocates and fills; as much as the adapter's kind asks for, less when memory is short.
    fn new(gpu: &'g Gpu, texels: bool) -> Result<WorkingSet<'g>, GpuError> {
        // Last-level caches of discrete GPUs reach 128 MiB, of others 32 MiB: 4 to 16 times as much defeats them.
        let separate = matches!(gpu.facts().kind, AdapterKind::Discrete | AdapterKind::Virtual);
        let wanted = if separate { 2048u64 << 20 } else { 512 << 20 };
        // Small devices keep room for everything else.
        let room = gpu.facts().memory_bytes.filter(|_| separate).map_or(wanted, |bytes| bytes / 4);
        let wanted = wanted.min(room).max(64 << 20);
        let limit = if texels { gpu.max_texture_bytes() } else { gpu.max_bound_bytes() };
        let piece_bytes = limit.min(256 << 20).min(wanted);
        let mut pieces: Vec<Box<dyn Bind>> = Vec::new();
        while (pieces.len() as u64 + 1) * piece_bytes <= wanted {
            match piece(gpu, texels, piece_bytes, pieces.len() as u32) {
                Ok(piece) => pieces.push(piece),
                Err(GpuError::OutOfMemory { .. }) if !pieces.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        let results = patterns(gpu, texels).map(|variant| read::result_bytes(variant, piece_bytes));
        let result = gpu.buffer("bandwidth result", results.max().unwrap_or(16))?;
        Ok(WorkingSet { gpu, pieces, piece_bytes, result })
    }

    /// One reading per size with the best of `patterns`; without `whole` only the last size.
    fn curve(
        &self,
        clock: &Clock<'_>,
        patterns: &[Variant],
        whole: bool,
    ) -> Result<Vec<SizedReading>, GpuError> {
        let total = self.pieces.len() as u64 * self.piece_bytes;
        let sizes: Vec<u64> = SIZES_MIB.iter().map(|mib| mib << 20).filter(|bytes| *bytes <= total).collect();
        let mut curve: Vec<SizedReading> = Vec::new();
        let mut best = patterns[0];
        for (i, bytes) in sizes.iter().copied().enumerate() {
            let at_choice = bytes == TRY_ALL_MIB << 20;
            if !whole && !at_choice && i + 1 != sizes.len() {
                continue;
            }
            if bytes > TRY_ALL_MIB << 20 {
                curve.push(self.rate(clock, best, bytes)?);
                continue;
            }
            let tried = patterns
                .iter()
                .map(|variant| Ok((*variant, self.rate(clock, *variant, bytes)?)))
                .collect::<Result<Vec<_>, GpuError>>()?;
            let rate = |item: &(Variant, SizedReading)| item.1.bytes_s.value;
            if let Some((variant, reading)) = tried.into_iter().max_by(|a, b| rate(a).total_cmp(&rate(b))) {
                best = variant;
                curve.push(reading);
            }
        }
        Ok(curve)
    }

    fn rate(&self, clock: &Clock<'_>, variant: Variant, bytes: u64) -> Result<SizedReading, GpuError> {
        let steps = self.steps(variant, bytes)?;
        let moved: u64 = steps.iter().map(|step| step.bytes).sum();
        let bytes_s = clock.slope(&steps, State::default())?.rate(moved as f64);
        Ok(SizedReading { bytes, bytes_s, pattern: variant.name() })
    }

    /// Steps that read `bytes` once.
    fn steps(&self, variant: Variant, bytes: u64) -> Result<Vec<Step>, GpuError> {
        let mut left = bytes;
        let mut steps = Vec::new();
        for piece in &self.pieces {
            let part = left.min(self.piece_bytes);
            if part < variant.group_bytes() {
                break;
            }
            left -= part;
            steps.push(read::step(self.gpu, variant, &**piece, part, &self.result)?);
        }
        Ok(steps)
    }
}

/// A texture or buffer full of pseudo-random words.
fn piece(gpu: &Gpu, texels: bool, bytes: u64, seed: u32) -> Result<Box<dyn Bind>, GpuError> {
    let any = Pattern::plain(Mask::ANY);
    if texels {
        let texture = gpu.texture("bandwidth data", bytes)?;
        random::fill_texels(gpu, &texture, bytes, &any, seed)?;
        return Ok(Box::new(texture));
    }
    let slice = gpu.buffer("bandwidth data", bytes)?;
    random::fill_words(gpu, &slice, &any, seed)?;
    Ok(Box::new(slice))
}
