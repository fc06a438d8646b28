//! Profiles of adapters: kept in the cache, measured when something is missing.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, bail};

use super::interrupt;
use super::open::{bar, note};
use crate::engine::{EngineError, cache};
use crate::gpu::{Gpu, GpuError};
use crate::kernels::variants::Variants;
use crate::plan::history::History;
use crate::plan::profile::{self, Profile};
use crate::probe::{self, Wanted};

/// Drift of the bandwidth that is worth a line.
const MUCH_DRIFT: f64 = 0.15;

fn profile_name(gpu: &Gpu) -> String {
    format!("profile-{}.json", key(gpu))
}

fn history_name(gpu: &Gpu) -> String {
    format!("history-{}.json", key(gpu))
}

/// What is measured holds for the variants that ran.
fn key(gpu: &Gpu) -> String {
    format!("{}{}", gpu.cache_key(), if Variants::of(gpu).is_tuned() { "-tuned" } else { "" })
}

/// Forgets what was measured with variants that the tuner chose before.
pub(super) fn forget_tuned(gpu: &Gpu) {
    for kind in ["profile", "history"] {
        let _ = cache::remove(&format!("{kind}-{}-tuned.json", gpu.cache_key()));
    }
}

/// The kept profile, if it is of this format.
pub(super) fn kept(gpu: &Gpu) -> Option<Profile> {
    let good = |profile: &Profile| profile.version == profile::VERSION && profile.check().is_ok();
    cache::read_json::<Profile>(&profile_name(gpu)).filter(good)
}

/// Measures anew, with progress on stderr, and keeps the result.
pub(super) fn measure(gpu: &Gpu, wanted: &Wanted) -> anyhow::Result<Profile> {
    let live = std::io::stderr().is_terminal();
    let bar = bar(1000, "{msg:24} {wide_bar} {percent} % {elapsed}");
    let mut told = -1;
    let measured = probe::measure(gpu, wanted, &mut |what, done| {
        bar.set_position((done * 1000.0) as u64);
        bar.set_message(what.to_owned());
        let quarter = (done * 4.0) as i32;
        if !live && quarter > told && wanted.whole {
            told = quarter;
            note(&format!("probe: {} %, {what}", quarter * 25));
        }
        !interrupt::requested()
    });
    bar.finish_and_clear();
    let profile = measured.map_err(stopped)?;
    let drift = profile.conditions.drift;
    if drift.abs() > MUCH_DRIFT {
        note(&format!(
            "the bandwidth drifted by {:+.0} % meanwhile: something else was running, or the clock changed",
            drift * 100.0
        ));
    }
    Ok(profile)
}

/// Why the probe ended; that somebody stopped it is no failure.
pub(super) fn stopped(error: GpuError) -> anyhow::Error {
    match error {
        GpuError::Stopped => EngineError::Cancelled.into(),
        other => other.into(),
    }
}

/// Keeps a profile; a cache that cannot be written costs only the time of measuring again.
pub(super) fn keep(gpu: &Gpu, profile: &Profile) {
    if let Err(error) = cache::write_json(&profile_name(gpu), profile) {
        note(&format!("the profile is not kept: {error}"));
    }
}

/// The kept profile with everything that `wanted` asks for; what is missing is measured now.
pub(super) fn ensure(gpu: &Gpu, wanted: &Wanted) -> anyhow::Result<Profile> {
    let old = kept(gpu);
    let missing = old.as_ref().map_or_else(|| wanted.clone(), |old| wanted.beyond(old));
    if let (Some(old), true) = (&old, missing.is_empty()) {
        return Ok(old.clone());
    }
    let what = if missing.whole { "all of it" } else { "for this model" };
    note(&format!("measuring {} {what}; `anygpu probe` does so in full and keeps it", gpu.facts().id()));
    let new = measure(gpu, &missing)?;
    let all = match old {
        Some(mut old) if !missing.whole => {
            old.absorb(new);
            old
        }
        _ => new,
    };
    keep(gpu, &all);
    Ok(all)
}

/// A profile that someone saved.
pub(super) fn read(path: &Path) -> anyhow::Result<Profile> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(name)?;
    let profile: Profile = serde_json::from_str(&text).with_context(|| {
        format!("{} is no profile as `anygpu probe --out FILE` writes it", path.display())
    })?;
    if profile.version != profile::VERSION {
        let (found, expected) = (profile.version, profile::VERSION);
        bail!("{}: profile format {found}, expected {expected}: measure again with `anygpu probe`", name());
    }
    if let Err(what) = profile.check() {
        bail!("{}: {what} is no measurement: measure again with `anygpu probe`", name());
    }
    Ok(profile)
}

/// Runs on this adapter so far.
pub(super) fn history(gpu: &Gpu) -> History {
    cache::read_json(&history_name(gpu)).unwrap_or_default()
}

/// Keeps the runs.
pub(super) fn keep_history(gpu: &Gpu, history: &History) {
    let _ = cache::write_json(&history_name(gpu), history);
}
