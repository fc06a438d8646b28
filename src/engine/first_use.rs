//! Before an adapter runs a model for the first time: the short form of `verify`, kept in the cache
//! directory by adapter, driver and version. Variants that fail are not used, and named.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    let path = cache_path(gpu);
    let cached = path.as_ref().and_then(|path| std::fs::read(path).ok());
    let cached = cached.and_then(|bytes| serde_json::from_slice::<Verdict>(&bytes).ok());
    let (verdict, fresh) = match cached {
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
    if fresh && let (Some(path), Ok(json)) = (path, serde_json::to_vec_pretty(&verdict)) {
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = std::fs::write(path, json);
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

/// Where the verdict is kept; `ANYGPU_CACHE` replaces the user's cache directory.
fn cache_path(gpu: &Gpu) -> Option<PathBuf> {
    let base = match std::env::var_os("ANYGPU_CACHE") {
        Some(path) => PathBuf::from(path),
        None => dirs::cache_dir()?.join("anygpu"),
    };
    let options = gpu.options();
    let flags = format!("{}{}{}", options.f16 as u8, options.subgroups as u8, options.immediates as u8);
    Some(base.join(format!("verified-{}-{flags}.json", gpu.facts().cache_key())))
}
