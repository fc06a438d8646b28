//! Measuring an adapter: [`measure`] turns an open device into a [`Profile`], [`Probe`] does so in
//! turns with something else. Everything is measured with the kernels
//! that run models, on pseudo-random data, by the wall clock. Knows nothing of models and files; what to measure is
//! asked for as plain shapes ([`Wanted`]). [`tune`] finds the fastest variants of kernels.

mod allocation;
mod arithmetic;
mod attention;
mod clock;
mod conditions;
mod matrices;
mod overhead;
mod small;
mod traffic;
mod transfers;
pub mod tune;
mod tune_work;

use std::collections::BTreeMap;
use std::time::Instant;

use crate::base::{AdapterKind, DType, KvType};
use crate::gpu::{Gpu, GpuError};
use crate::plan::profile::{self, Conditions, Heads, Profile, Reading};

pub use clock::{Clock, Measured, Runs};

/// Samples of a reading per round. Many rounds of few samples: what slows a shared machine down lasts longer than a few
/// samples take, and seldom until the next round.
const SAMPLES: usize = 3;

/// Rounds over everything; of a whole and thorough measurement where cores are shared with others, more.
const ROUNDS: usize = 2;
const SHARED_ROUNDS: usize = 3;
/// Readings whose rounds disagree get more until such a measurement has taken so long, or for so long in others.
const WHOLE_S: f64 = 80.0;
const AGAIN_S: f64 = 3.0;

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Weight types.
    pub dtypes: Vec<DType>,
    /// Weights that stay in caches (`true`), that do not, or both.
    pub cached: Vec<bool>,
    /// Columns of matvec: sequences decoded together.
    pub columns: Vec<u32>,
    /// Tokens of a prompt at once.
    pub tokens: Vec<u32>,
    /// Shapes of attention.
    pub heads: Vec<Heads>,
    /// Take the time that steady numbers need; else about a third of it.
    pub thorough: bool,
    /// Also what no prediction needs: the curve over working sets, copies, arithmetic, memory.
    pub whole: bool,
}

impl Wanted {
    /// A whole profile: every native type, and attention as most models have it.
    pub fn everything(chunk: u32) -> Wanted {
        let heads = |heads, kv_heads, head_dim| Heads { heads, kv_heads, head_dim, kv: KvType::F16 };
        Wanted {
            dtypes: crate::kernels::weights::NATIVE.to_vec(),
            cached: vec![false],
            columns: vec![1, 2, 4, 8, 16],
            tokens: vec![chunk],
            heads: vec![heads(16, 4, 64), heads(32, 8, 128)],
            thorough: true,
            whole: true,
        }
    }

    /// What `profile` lacks of this.
    pub fn beyond(&self, profile: &Profile) -> Wanted {
        let lacks = |prompt, dtype: &DType, columns: &[u32]| {
            let lacks = |cached| columns.iter().any(|c| profile.matrix(cached, prompt, *dtype, *c).is_none());
            self.cached.iter().any(|cached| lacks(*cached))
        };
        let dtypes = self.dtypes.iter().copied();
        Wanted {
            dtypes: dtypes
                .filter(|d| lacks(false, d, &self.columns) || lacks(true, d, &self.tokens))
                .collect(),
            heads: self.heads.iter().copied().filter(|h| profile.attention(*h).is_none()).collect(),
            whole: self.whole && profile.conditions.short,
            ..self.clone()
        }
    }

    /// Does an adapter that shares its cores with others get all the time that steady numbers need?
    fn at_length(&self, gpu: &Gpu) -> bool {
        self.whole && self.thorough && gpu.facts().kind == AdapterKind::Cpu
    }

    /// Nothing to measure?
    pub fn is_empty(&self) -> bool {
        self.dtypes.is_empty() && self.heads.is_empty() && !self.whole
    }
}

/// Called with what is measured next and which part of all is done; false stops with [`GpuError::Stopped`].
pub type Progress<'a> = &'a mut dyn FnMut(&str, f64) -> bool;

/// Measures. Takes 5 to 90 s for everything, a few seconds for one model.
pub fn measure(gpu: &Gpu, wanted: &Wanted, progress: Progress<'_>) -> Result<Profile, GpuError> {
    let rounds = if wanted.at_length(gpu) { SHARED_ROUNDS } else { ROUNDS };
    let mut probe = Probe::begin(gpu, wanted, rounds, progress)?;
    for _ in 0..rounds {
        probe.round(progress)?;
    }
    Ok(probe.finish(progress)?.0)
}

/// A measurement under way. Its rounds may take turns with other measurements by the same clock: what is held against the
/// profile then saw the machine at the same speeds.
pub struct Probe<'g> {
    gpu: &'g Gpu,
    clock: Clock<'g>,
    wanted: Wanted,
    /// So far with what is measured once.
    profile: Profile,
    overhead: overhead::Subject,
    small: small::Subject,
    matrices: Vec<matrices::Subject>,
    attention: Vec<attention::Subject>,
    bandwidth_again: Vec<Reading>,
    started: Instant,
    /// Parts of the work, for progress.
    done: usize,
    total: usize,
}

impl<'g> Probe<'g> {
    /// Measures what is measured once; about so many rounds will follow.
    pub fn begin(
        gpu: &'g Gpu,
        wanted: &Wanted,
        rounds: usize,
        progress: Progress<'_>,
    ) -> Result<Probe<'g>, GpuError> {
        let begun = conditions::begin();
        let clock = Clock::new(gpu, wanted.thorough)?;
        let subjects = |cached: &bool| {
            let subject = |dtype| matrices::Subject::new(dtype, *cached, &wanted.columns, &wanted.tokens);
            wanted.dtypes.iter().copied().map(subject).collect::<Vec<_>>()
        };
        let no_reading = Reading { value: f64::NAN, spread: 0.0 };
        let mut probe = Probe {
            gpu,
            clock,
            wanted: wanted.clone(),
            profile: Profile {
                version: profile::VERSION,
                anygpu: env!("CARGO_PKG_VERSION").to_owned(),
                adapter: gpu.facts().clone(),
                conditions: Conditions { short: !wanted.whole, ..begun },
                reference_s: f64::NAN,
                read: Vec::new(),
                read_bytes_s: no_reading,
                copy_bytes_s: None,
                upload_bytes_s: None,
                download_bytes_s: None,
                arithmetic_ops_s: BTreeMap::new(),
                dispatch_s: no_reading,
                record_s: f64::NAN,
                submit_s: no_reading,
                matrices: Vec::new(),
                attention: Vec::new(),
                small: BTreeMap::new(),
                memory: None,
            },
            overhead: overhead::Subject::default(),
            small: small::Subject::default(),
            matrices: wanted.cached.iter().flat_map(subjects).collect(),
            attention: wanted.heads.iter().map(|heads| attention::Subject::new(*heads)).collect(),
            bandwidth_again: Vec::new(),
            started: Instant::now(),
            done: 0,
            total: 0,
        };
        probe.total = probe.weight_once() + rounds * probe.weight_of_a_round() + 1;
        probe.once(progress)?;
        Ok(probe)
    }

    /// The clock of all readings.
    pub fn clock(&self) -> &Clock<'g> {
        &self.clock
    }

    /// Tells what comes next, which is so much of the work.
    fn next(&mut self, what: &str, weight: usize, progress: Progress<'_>) -> Result<(), GpuError> {
        let go_on = progress(what, self.done as f64 / self.total.max(1) as f64);
        self.done = (self.done + weight).min(self.total);
        if go_on { Ok(()) } else { Err(GpuError::Stopped) }
    }

    fn weight_once(&self) -> usize {
        if self.wanted.whole { 12 } else { 2 }
    }

    fn weight_of_a_type(&self) -> usize {
        matrices::Subject::cases(self.wanted.columns.len(), self.wanted.tokens.len())
    }

    fn weight_of_a_round(&self) -> usize {
        2 + self.matrices.len() * self.weight_of_a_type() + 3 * self.attention.len()
    }

    fn once(&mut self, progress: Progress<'_>) -> Result<(), GpuError> {
        let (gpu, whole) = (self.gpu, self.wanted.whole);
        self.next("bandwidth", if whole { 8 } else { 1 }, progress)?;
        self.profile.read = traffic::read_curve(gpu, &self.clock, whole)?;
        if whole {
            self.next("copies", 2, progress)?;
            let transfers = transfers::Transfers::new(gpu)?;
            self.profile.copy_bytes_s = Some(transfers.copy(&self.clock)?);
            self.profile.upload_bytes_s = Some(transfers.upload(&self.clock)?);
            self.profile.download_bytes_s = Some(transfers.download(&self.clock)?);
        }
        self.next("arithmetic", if whole { 2 } else { 1 }, progress)?;
        self.profile.arithmetic_ops_s = arithmetic::measure(gpu, &self.clock)?;
        gpu.flush()
    }

    /// One round of samples of everything that predictions are made of.
    pub fn round(&mut self, progress: Progress<'_>) -> Result<(), GpuError> {
        let gpu = self.gpu;
        self.next("overheads and small steps", 2, progress)?;
        self.overhead.sample(gpu, &self.clock)?;
        self.small.sample(gpu, &self.clock)?;
        for i in 0..self.matrices.len() {
            self.next(&format!("{} matrices", self.matrices[i].dtype), self.weight_of_a_type(), progress)?;
            self.matrices[i].sample(gpu, &self.clock, false)?;
        }
        for i in 0..self.attention.len() {
            self.next("attention", 3, progress)?;
            self.attention[i].sample(gpu, &self.clock)?;
        }
        if self.wanted.whole {
            self.read_again()?;
        }
        Ok(())
    }

    fn read_again(&mut self) -> Result<(), GpuError> {
        self.bandwidth_again.push(traffic::read_largest(self.gpu, &self.clock, &self.profile.read)?);
        Ok(())
    }

    /// Samples again what never saw a calm machine, and says what was measured.
    pub fn finish(mut self, progress: Progress<'_>) -> Result<(Profile, Clock<'g>), GpuError> {
        let gpu = self.gpu;
        // On an adapter that shares nothing all have settled; a software one shares its cores with everything.
        let taken_s = |started: Instant| started.elapsed().as_secs_f64();
        let until_s = match self.wanted.at_length(gpu) {
            true => WHOLE_S,
            false => taken_s(self.started) + AGAIN_S,
        };
        let mut unsettled = true;
        while std::mem::take(&mut unsettled) {
            for i in 0..self.matrices.len() {
                if !self.matrices[i].settled(&self.clock) && taken_s(self.started) < until_s {
                    unsettled = true;
                    self.next(&format!("{} matrices, again", self.matrices[i].dtype), 0, progress)?;
                    self.matrices[i].sample(gpu, &self.clock, true)?;
                }
            }
            for i in 0..self.attention.len() {
                if !self.attention[i].settled(&self.clock) && taken_s(self.started) < until_s {
                    unsettled = true;
                    self.next("attention again", 0, progress)?;
                    self.attention[i].sample(gpu, &self.clock)?;
                }
            }
        }
        self.next("bandwidth and memory", 1, progress)?;
        self.read_again()?;
        let mut out = self.profile;
        if self.wanted.whole {
            gpu.flush()?;
            out.memory = Some(allocation::measure(gpu));
        }
        let overhead = self.overhead.reading(&self.clock);
        (out.dispatch_s, out.record_s, out.submit_s) =
            (overhead.dispatch_s, overhead.record_s, overhead.submit_s);
        out.small = self.small.readings(&self.clock);
        out.matrices = self.matrices.iter().flat_map(|m| m.readings(&self.clock)).collect();
        out.attention = self.attention.iter().map(|a| a.reading(&self.clock)).collect();
        out.reference_s = self.clock.nominal_s();
        out.read_bytes_s = traffic::largest(&out.read);
        let last = self.bandwidth_again.last();
        let drift = last.map_or(0.0, |last| last.value / out.read_bytes_s.value - 1.0);
        // Something may have slowed the first reading down: the adapter can do what the fastest saw.
        for again in self.bandwidth_again {
            if again.value > out.read_bytes_s.value {
                out.read_bytes_s = again;
            }
        }
        if let Some(largest) = out.read.last_mut() {
            largest.bytes_s = out.read_bytes_s;
        }
        conditions::end(&mut out.conditions, drift);
        Ok((out, self.clock))
    }
}
