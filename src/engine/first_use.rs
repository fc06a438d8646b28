//! Before an adapter runs a model for the first time: the short form of `verify`, kept in the cache
//! directory by adapter, driver and version. Variants that fail are not used, and named.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::engine::cache;
use crate::gpu::{Gpu, GpuError};
use crate::kernels::variants::{self, Variants};
use crate::kernels::verify;

/// What was found on an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Checks run.
    pub checks: usize,
    /// Classes of variants that failed and are not used.
    pub failed_classes: BTreeSet<String>,
}

/// Verifies the adapter unless that was done before, and excludes what failed. Returns the verdict and
/// whether it was computed now. A cache that cannot be read or written only costs the time of checking again.
pub fn ensure_verified(gpu: &Gpu) -> Result<(Verdict, bool), GpuError> {
    let name = cache_name(gpu);
    let (verdict, fresh) = match cache::read_json::<Verdict>(&name) {
        Some(verdict) => (verdict, false),
        None => (check(gpu)?, true),
    };
    verdict.failed_classes.iter().for_each(|class| gpu.ban(class));
    let used = Variants::of(gpu);
    let wrong: Vec<&str> =
        verdict.failed_classes.iter().map(String::as_str).filter(|class| used.uses(class)).collect();
    if !wrong.is_empty() {
        // Not remembered: a driver in trouble may be well again next time.
        return Err(GpuError::Unusable { adapter: gpu.facts().id(), classes: wrong.join(", ") });
    }
    if fresh {
        let _ = cache::write_json(&name, &verdict);
    }
    Ok((verdict, fresh))
}

fn check(gpu: &Gpu) -> Result<Verdict, GpuError> {
    let mut verdict = Verdict::default();
    let mut checks = variants::checks(gpu);
    checks.retain(|check| check.quick);
    // When a class fails another one takes its place, and is checked in its turn.
    loop {
        let used = Variants::of(gpu);
        let (now, later): (Vec<_>, Vec<_>) = checks.into_iter().partition(|check| used.uses(&check.class));
        if now.is_empty() {
            return Ok(verdict);
        }
        let report = verify::run(gpu, &now, |_, _| {})?;
        verdict.checks += now.len();
        report.failed_classes.iter().for_each(|class| gpu.ban(class));
        verdict.failed_classes.extend(report.failed_classes);
        checks = later;
    }
}

/// The file in the [`cache`] that keeps the verdict.
fn cache_name(gpu: &Gpu) -> String {
    format!("verified-{}.json", gpu.cache_key())
}
