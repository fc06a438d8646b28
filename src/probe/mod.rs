//! Measuring an adapter: [`measure`] turns an open device into a [`Profile`]. Everything is measured with the kernels
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

use std::collections::BTreeMap;

use crate::base::{AdapterKind, DType, KvType};
use crate::gpu::{Gpu, GpuError};
use crate::plan::profile::{self, Conditions, Heads, Profile};

pub use clock::{Clock, Measured};

/// Samples of a reading per round. Many rounds of few samples: what slows a shared machine down lasts longer than a few
/// samples take, and seldom until the next round.
const SAMPLES: usize = 3;

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

    /// Nothing to measure?
    pub fn is_empty(&self) -> bool {
        self.dtypes.is_empty() && self.heads.is_empty() && !self.whole
    }
}

/// Called with what is measured next and which part of all is done; false stops with [`GpuError::Stopped`].
pub type Progress<'a> = &'a mut dyn FnMut(&str, f64) -> bool;

/// Measures. Takes 5 to 90 s for everything, a few seconds for one model.
pub fn measure(gpu: &Gpu, wanted: &Wanted, progress: Progress<'_>) -> Result<Profile, GpuError> {
    let begun = conditions::begin();
    let clock = Clock::new(gpu, wanted.thorough)?;
    let per_type = matrices::Subject::cases(wanted.columns.len(), wanted.tokens.len());
    // A GPU is hardly shared while it measures; a software adapter shares its cores with everything.
    let rounds = match (gpu.facts().kind == AdapterKind::Cpu, wanted.thorough, wanted.whole) {
        (true, true, _) => 3,
        _ => 2,
    };
    let total = rounds * (wanted.cached.len() * wanted.dtypes.len() * per_type + 3 * wanted.heads.len())
        + if wanted.whole { 13 + rounds } else { 5 };
    let mut done = 0;
    let mut next = |what: &str, weight: usize| {
        let go_on = progress(what, done as f64 / total.max(1) as f64);
        done += weight;
        if go_on { Ok(()) } else { Err(GpuError::Stopped) }
    };
    next("bandwidth", if wanted.whole { 6 } else { 1 })?;
    let read = traffic::read_curve(gpu, &clock, wanted.whole)?;
    let read_bytes_s = traffic::largest(&read);
    next("overheads", 1)?;
    let overhead = overhead::measure(gpu, &clock)?;
    let mut out = Profile {
        version: profile::VERSION,
        anygpu: env!("CARGO_PKG_VERSION").to_owned(),
        adapter: gpu.facts().clone(),
        conditions: Conditions { short: !wanted.whole, ..begun.clone() },
        reference_s: f64::NAN,
        read,
        read_bytes_s,
        copy_bytes_s: None,
        upload_bytes_s: None,
        download_bytes_s: None,
        arithmetic_ops_s: BTreeMap::new(),
        dispatch_s: overhead.dispatch_s,
        record_s: overhead.record_s,
        submit_s: overhead.submit_s,
        matrices: Vec::new(),
        attention: Vec::new(),
        small: BTreeMap::new(),
        memory: None,
    };
    if wanted.whole {
        next("copies", 2)?;
        let transfers = transfers::Transfers::new(gpu)?;
        out.copy_bytes_s = Some(transfers.copy(&clock)?);
        out.upload_bytes_s = Some(transfers.upload(&clock)?);
        out.download_bytes_s = Some(transfers.download(&clock)?);
    }
    next("arithmetic", if wanted.whole { 2 } else { 1 })?;
    out.arithmetic_ops_s = arithmetic::measure(gpu, &clock)?;
    gpu.flush()?;
    next("small steps", 1)?;
    out.small = small::measure(gpu, &clock)?;
    let subjects = |cached: &bool| {
        let subject = |dtype| matrices::Subject::new(dtype, *cached, &wanted.columns, &wanted.tokens);
        wanted.dtypes.iter().copied().map(subject).collect::<Vec<_>>()
    };
    let mut matrices: Vec<matrices::Subject> = wanted.cached.iter().flat_map(subjects).collect();
    let mut attention: Vec<attention::Subject> =
        wanted.heads.iter().map(|heads| attention::Subject::new(*heads)).collect();
    let mut later = Vec::new();
    for round in 0..rounds {
        for subject in &mut matrices {
            next(&format!("{} matrices", subject.dtype), per_type)?;
            subject.sample(gpu, &clock, false)?;
        }
        for subject in &mut attention {
            next("attention", 3)?;
            subject.sample(gpu, &clock)?;
        }
        if wanted.whole || round + 1 == rounds {
            next("bandwidth again", 1)?;
            later.push(traffic::read_largest(gpu, &clock, &out.read)?);
        }
    }
    for _ in 0..rounds / 2 {
        for subject in matrices.iter_mut().filter(|subject| !subject.settled(&clock)) {
            next(&format!("{} matrices, again", subject.dtype), 0)?;
            subject.sample(gpu, &clock, true)?;
        }
        for subject in attention.iter_mut().filter(|subject| !subject.settled(&clock)) {
            next("attention again", 0)?;
            subject.sample(gpu, &clock)?;
        }
    }
    out.matrices = matrices.iter().flat_map(|m| m.readings(&clock)).collect();
    out.attention = attention.iter().map(|a| a.reading(&clock)).collect();
    if wanted.whole {
        next("memory", 2)?;
        gpu.flush()?;
        out.memory = Some(allocation::measure(gpu));
    }
    out.reference_s = clock.nominal_s();
    let drift = later.last().map_or(0.0, |last| last.value / out.read_bytes_s.value - 1.0);
    // Something may have slowed the first reading down: the adapter can do what the fastest saw.
    for again in later {
        if again.value > out.read_bytes_s.value {
            out.read_bytes_s = again;
        }
    }
    if let Some(largest) = out.read.last_mut() {
        largest.bytes_s = out.read_bytes_s;
    }
    conditions::end(&mut out.conditions, drift);
    Ok(out)
}
