//! Profiles of adapters: kept in the cache, measured when something is missing.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, bail};

use super::interrupt;
use super::open::{bar, note, stopped};
use super::unix_time;
use crate::base::AdapterKind;
use crate::engine::cache;
use crate::gpu::Gpu;
use crate::kernels::variants::Variants;
use crate::plan::history::History;
use crate::plan::profile::{self, Profile};
use crate::probe::{self, Wanted};

/// A poor profile serves for so long before it is measured again, seconds.
const POOR_FOR_S: u64 = 600;

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
    let bar = bar(1000, "{spinner} {msg:24!} {wide_bar} {percent} % {elapsed}, {eta} left");
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
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
    if profile.conditions.is_poor() {
        note(
            "the machine was busy, so predictions may be far off: close other programs and run \
             `anygpu probe`, or they are measured again later",
        );
    }
    Ok(profile)
}

/// Keeps a profile; a cache that cannot be written costs only the time of measuring again.
pub(super) fn keep(gpu: &Gpu, profile: &Profile) {
    if let Err(error) = cache::write_json(&profile_name(gpu), profile) {
        note(&format!("the profile is not kept: {error}"));
    }
}

/// The kept profile, if it tells all that `wanted` asks for and the machine was calm.
pub(super) fn covering(gpu: &Gpu, wanted: &Wanted) -> Option<Profile> {
    kept(gpu).filter(|profile| !profile.conditions.is_poor() && wanted.beyond(profile).is_empty())
}

/// A run was faster than the kept profile allows: it is marked as poor, to be measured again.
pub(super) fn doubt(gpu: &Gpu) {
    if let Some(mut profile) = kept(gpu) {
        profile.conditions.contradicted = true;
        keep(gpu, &profile);
    }
}

/// The kept profile with everything that `wanted` asks for; what is missing is measured now, and all
/// of it when the machine was busy the last time.
pub(super) fn ensure(gpu: &Gpu, wanted: &Wanted) -> anyhow::Result<Profile> {
    let mut old = kept(gpu);
    let is_stale = |profile: &Profile| {
        let conditions = &profile.conditions;
        let age_s = unix_time().saturating_sub(conditions.unix_time);
        conditions.contradicted || conditions.is_poor() && age_s > POOR_FOR_S
    };
    if old.as_ref().is_some_and(is_stale) {
        note("the last measurement of this adapter was disturbed: measuring again");
        // What runs achieved was held against it.
        let _ = cache::remove(&history_name(gpu));
        old = None;
    }
    let missing = old.as_ref().map_or_else(|| wanted.clone(), |old| wanted.beyond(old));
    if let (Some(old), true) = (&old, missing.is_empty()) {
        return Ok(old.clone());
    }
    note(&format!("measuring {}: up to {} s", lacking(&missing), most_seconds(gpu, &missing)));
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

/// What is measured, for people.
fn lacking(missing: &Wanted) -> String {
    if missing.whole {
        return "the adapter".to_owned();
    }
    let dtypes = missing.dtypes.iter().map(|dtype| format!("{dtype} kernels"));
    let heads = missing.heads.iter().map(|h| {
        format!("attention of {}/{} heads of {} ({})", h.heads, h.kv_heads, h.head_dim, h.kv.name())
    });
    dtypes.chain(heads).collect::<Vec<_>>().join(", ")
}

/// Seconds that measuring takes at most on a calm machine.
fn most_seconds(gpu: &Gpu, missing: &Wanted) -> u64 {
    let whole = if gpu.facts().kind == AdapterKind::Cpu { 90 } else { 20 };
    match missing.whole {
        true => whole,
        false => (whole / 8 * (missing.dtypes.len() + missing.heads.len()) as u64).clamp(2, whole),
    }
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
