//! Measuring an adapter: [`measure`] turns an open device into a [`Profile`]. Everything is measured with the kernels
//! that run models, on pseudo-random data, by the wall clock. Knows nothing of models and files; what to measure is
//! asked for as plain shapes ([`Wanted`]).

mod allocation;
mod arithmetic;
mod attention;
mod clock;
mod conditions;
mod matrices;
mod overhead;
mod small;
mod traffic;

use std::collections::BTreeMap;

use crate::base::DType;
use crate::gpu::{Gpu, GpuError};
use crate::plan::profile::{self, Conditions, Heads, MatrixReading, Profile};

pub use clock::{Clock, Measured};

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Weight types.
    pub dtypes: Vec<DType>,
    /// Columns of matvec: sequences decoded together.
    pub columns: Vec<u32>,
    /// Columns of matmul: tokens of a prompt at once.
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
        let heads = |heads, kv_heads, head_dim| Heads { heads, kv_heads, head_dim, kv_bytes: 2 };
        Wanted {
            dtypes: crate::kernels::weights::NATIVE.to_vec(),
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
            columns.iter().any(|c| profile.matrix(prompt, *dtype, *c).is_none())
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

/// Measures. Takes 5 to 90 s for everything, a few seconds for one model. `known_s`: the reference's
/// undisturbed time in an earlier profile of the adapter.
pub fn measure(
    gpu: &Gpu,
    wanted: &Wanted,
    known_s: Option<f64>,
    progress: Progress<'_>,
) -> Result<Profile, GpuError> {
    let begun = conditions::begin();
    let clock = Clock::new(gpu, wanted.thorough, known_s)?;
    let per_type = wanted.columns.len() + wanted.tokens.len();
    let rounds = match (wanted.thorough, wanted.whole) {
        (true, true) => 3,
        (true, false) => 2,
        (false, _) => 1,
    };
    let total = rounds * (wanted.dtypes.len() * per_type + 3 * wanted.heads.len())
        + if wanted.whole { 14 } else { 5 };
    let mut done = 0;
    let mut next = |what: &str, weight: usize| {
        let go_on = progress(what, done as f64 / total.max(1) as f64);
        done += weight;
        if go_on { Ok(()) } else { Err(GpuError::Stopped) }
    };
    next("bandwidth", if wanted.whole { 6 } else { 1 })?;
    let traffic = traffic::Traffic::new(gpu)?;
    let read = traffic.read_curve(&clock, wanted.whole)?;
    let read_bytes_s = traffic::largest(&read);
    next("overheads", 1)?;
    let overhead = overhead::measure(gpu, &clock)?;
    let mut out = Profile {
        version: profile::VERSION,
        anygpu: env!("CARGO_PKG_VERSION").to_owned(),
        adapter: gpu.facts().clone(),
        conditions: Conditions { short: !wanted.whole, ..begun.clone() },
        reference_s: clock.nominal_s(),
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
        out.copy_bytes_s = Some(traffic.copy(&clock)?);
        out.upload_bytes_s = Some(traffic.upload(&clock)?);
        out.download_bytes_s = Some(traffic.download(&clock)?);
    }
    next("arithmetic", if wanted.whole { 2 } else { 1 })?;
    out.arithmetic_ops_s = arithmetic::measure(gpu, &clock)?;
    drop(traffic);
    gpu.flush()?;
    next("small steps", 1)?;
    out.small = small::measure(gpu, &clock)?;
    // A neighbour may be busy for as long as a reading takes, hardly so again a round later.
    let mut heads: Vec<attention::Seconds> = vec![attention::Seconds::default(); wanted.heads.len()];
    for _ in 0..rounds {
        for dtype in &wanted.dtypes {
            for (prompt, columns) in [(false, &wanted.columns), (true, &wanted.tokens)] {
                for columns in columns {
                    next(&format!("{dtype} × {columns}"), 1)?;
                    let dispatch_s = out.dispatch_s.value;
                    let new = matrices::measure(gpu, &clock, *dtype, prompt, *columns, dispatch_s)?;
                    let same = |m: &&mut MatrixReading| {
                        m.prompt == prompt && m.dtype == *dtype && m.columns == *columns
                    };
                    match out.matrices.iter_mut().find(same) {
                        Some(old) if new.bytes_s.value > old.bytes_s.value => *old = new,
                        Some(_) => {}
                        None => out.matrices.push(new),
                    }
                }
            }
        }
        for (shape, best) in wanted.heads.iter().zip(&mut heads) {
            next("attention", 3)?;
            best.take_faster(attention::measure(gpu, &clock, *shape)?);
        }
    }
    out.attention = wanted.heads.iter().zip(heads).map(|(shape, seconds)| seconds.reading(*shape)).collect();
    next("drift", 1)?;
    let again = traffic::Traffic::new(gpu)?.read_largest(&clock, &out.read)?;
    if wanted.whole {
        next("memory", 2)?;
        gpu.flush()?;
        out.memory = Some(allocation::measure(gpu));
    }
    let drift = again.value / out.read_bytes_s.value - 1.0;
    // Something slowed the first reading down: the adapter can do what the last one saw.
    if drift > 0.0 {
        out.read_bytes_s = again;
        if let Some(last) = out.read.last_mut() {
            last.bytes_s = again;
        }
    }
    conditions::end(&mut out.conditions, drift);
    Ok(out)
}
