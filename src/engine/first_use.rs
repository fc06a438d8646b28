//! Before an adapter runs a model for the first time: the short form of `verify`, kept in the cache
//! directory by adapter, driver, version and kernels. Variants that fail are not used, and named.
//!
//! What is verified is what will run: shaders without runtime checks ([`Gpu::leave_checks_out`]), unless
//! [`crate::gpu::GpuOptions::checked`] keeps them. Where something is right only with the checks, all shaders keep them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::engine::{cache, pipelines, tuned};
use crate::gpu::{Gpu, GpuError};
use crate::kernels::variants::{self, Variants};
use crate::kernels::{self, verify};

/// What was found on an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Checks run.
    pub checks: usize,
    /// Classes of variants that failed and are not used.
    pub failed_classes: BTreeSet<String>,
    /// Classes that failed only without runtime checks; if there are any, all shaders keep theirs.
    pub need_checks: BTreeSet<String>,
}

/// As [`ensure_verified_with`], without progress.
pub fn ensure_verified(gpu: &Gpu) -> Result<(Verdict, bool), GpuError> {
    ensure_verified_with(gpu, &mut |_, _| {})
}

/// Called with the number of checks done and of all.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// Takes over the pipelines of earlier processes and what the tuner found, verifies the adapter
/// unless that was done before, and excludes what failed. Returns the verdict and whether it was
/// computed now. A cache that cannot be read or written only costs the time of doing it again.
pub fn ensure_verified_with(gpu: &Gpu, progress: Progress<'_>) -> Result<(Verdict, bool), GpuError> {
    pipelines::load(gpu);
    tuned::apply_kept(gpu);
    let name = cache_name(gpu);
    let (verdict, fresh) = match cache::read_json::<Verdict>(&name) {
        Some(verdict) => (verdict, false),
        None => (check(gpu, progress)?, true),
    };
    apply(gpu, &verdict);
    let used = Variants::of(gpu);
    let wrong: Vec<&str> =
        verdict.failed_classes.iter().map(String::as_str).filter(|class| used.uses(class)).collect();
    if !wrong.is_empty() {
        // Not remembered: a driver in trouble may be well again next time.
        return Err(GpuError::Unusable { adapter: gpu.facts().id(), classes: wrong.join(", ") });
    }
    if fresh {
        let _ = cache::write_json(&name, &verdict);
        pipelines::keep(gpu);
    }
    Ok((verdict, fresh))
}

/// Brings the device into the form that a verdict is about.
fn apply(gpu: &Gpu, verdict: &Verdict) {
    match verdict.need_checks.is_empty() {
        true => gpu.leave_checks_out(&kernels::ALL),
        false => gpu.keep_checks(),
    }
    verdict.failed_classes.iter().for_each(|class| gpu.ban(class));
}

fn check(gpu: &Gpu, progress: Progress<'_>) -> Result<Verdict, GpuError> {
    gpu.leave_checks_out(&kernels::ALL);
    let bare = check_form(gpu, progress)?;
    if bare.failed_classes.is_empty() || gpu.is_checked() {
        return Ok(bare);
    }
    // Are the missing checks to blame? Then everything is verified in the form that it falls back to.
    gpu.keep_checks();
    let checked = check_form(gpu, progress)?;
    let checks = bare.checks + checked.checks;
    let need_checks: BTreeSet<String> =
        bare.failed_classes.difference(&checked.failed_classes).cloned().collect();
    match need_checks.is_empty() {
        true => Ok(Verdict { checks, ..bare }),
        false => Ok(Verdict { checks, need_checks, ..checked }),
    }
}

/// Verifies the device as it is now, and leaves no class excluded that was not before.
fn check_form(gpu: &Gpu, progress: Progress<'_>) -> Result<Verdict, GpuError> {
    let mut verdict = Verdict::default();
    let mut checks = variants::checks(gpu);
    checks.retain(|check| check.quick);
    // When a class fails another one takes its place, and is checked in its turn.
    let outcome = loop {
        let used = Variants::of(gpu);
        let (now, later): (Vec<_>, Vec<_>) = checks.into_iter().partition(|check| used.uses(&check.class));
        if now.is_empty() {
            break Ok(());
        }
        let report = match verify::run(gpu, &now, |done, _| progress(done, now.len())) {
            Ok(report) => report,
            Err(error) => break Err(error),
        };
        verdict.checks += now.len();
        report.failed_classes.iter().for_each(|class| gpu.ban(class));
        verdict.failed_classes.extend(report.failed_classes);
        checks = later;
    };
    verdict.failed_classes.iter().for_each(|class| gpu.unban(class));
    outcome.map(|()| verdict)
}

/// The file in the [`cache`] that keeps the verdict.
fn cache_name(gpu: &Gpu) -> String {
    format!("verified-{}.json", gpu.cache_key())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::device::Fault;
    use crate::gpu::{AdapterChoice, GpuOptions};
    use crate::kernels::attend_decode::SUBGROUP_SPEC;
    use crate::kernels::matvec::Team;
    use crate::kernels::weights::Store;

    fn gpu(checked: bool) -> Gpu {
        let options = GpuOptions { checked, ..GpuOptions::default() };
        Gpu::open(&AdapterChoice::Auto, options).expect("an adapter: `make test` installs a software one")
    }

    fn classes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The verdict on a device with this fault, and the device as the verdict leaves it.
    fn verdict(checked: bool, fault: Option<Fault>) -> (Gpu, Verdict) {
        let gpu = gpu(checked);
        fault.into_iter().for_each(|fault| gpu.sabotage(fault));
        let verdict = check(&gpu, &mut |_, _| {}).expect("the device stays");
        apply(&gpu, &verdict);
        (gpu, verdict)
    }

    /// 1 where divisions are checked, as WGSL defines x / 0; else what the driver makes of it.
    const NEEDS_CHECKS: Fault = Fault {
        kernel: "glu",
        find: "act(x[begin])",
        replace: "f32(1u / (params.inter - params.inter)) * act(x[begin])",
    };

    #[test]
    fn checks_are_left_out_where_everything_is_right_without_them() {
        let (gpu, found) = verdict(false, None);
        assert!(!gpu.is_checked() && found.checks > 0, "{found:?}");
        assert_eq!((found.failed_classes, found.need_checks), Default::default());
        let (gpu, found) = verdict(true, None);
        assert!(gpu.is_checked() && found.checks > 0, "{found:?}");
    }

    #[test]
    fn a_kernel_that_needs_checks_makes_all_keep_them() {
        let (gpu, found) = verdict(false, Some(NEEDS_CHECKS));
        assert!(gpu.is_checked());
        assert_eq!((found.failed_classes, found.need_checks), (classes(&[]), classes(&["glu"])));
        // Asked for from the start, they are no news.
        let (gpu, found) = verdict(true, Some(NEEDS_CHECKS));
        assert!(gpu.is_checked());
        assert_eq!((found.failed_classes, found.need_checks), Default::default());
    }

    #[test]
    fn a_kernel_that_is_wrong_in_both_forms_is_replaced_and_checks_stay_out() {
        let (find, replace) = match Variants::of(&gpu(false)).team {
            Team::Lane => ("{ return v; }", "{ return -v; }"),
            Team::Broadcast { .. } => ("subgroupBroadcast(v, 0u)", "-subgroupBroadcast(v, 0u)"),
            Team::Subgroup => ("{ return subgroupAdd(v); }", "{ return -subgroupAdd(v); }"),
            Team::Workgroup => ("let sum = team_partial[0];", "let sum = -team_partial[0];"),
        };
        let (gpu, found) = verdict(false, Some(Fault { kernel: "matvec", find, replace }));
        let before = Variants::of(&self::gpu(false));
        let wrong = before.team.class();
        // Where weights are in tiles it is this team that reads them.
        let tiles = (before.store == Store::Tiles).then_some(Store::TILES_CLASS);
        let expected = [wrong].into_iter().chain(tiles).collect::<Vec<_>>();
        assert!(!gpu.is_checked());
        assert_eq!((found.failed_classes, found.need_checks), (classes(&expected), classes(&[])));
        assert!(gpu.is_banned(wrong) && Variants::of(&gpu).team.class() != wrong);
        // Attention by a subgroup, where that is in use, too.
        let wrong = before.attention_subgroup.map(|_| SUBGROUP_SPEC.name);
        let (find, replace) = ("* shrink + weight", "* shrink - weight");
        let (gpu, found) = verdict(false, Some(Fault { kernel: SUBGROUP_SPEC.name, find, replace }));
        assert_eq!(found.failed_classes, classes(wrong.as_slice()));
        assert!(!gpu.is_checked() && Variants::of(&gpu).attention_subgroup.is_none());
        // Nothing can take this one's place.
        let (gpu, found) = verdict(false, Some(Fault { kernel: "glu", find: "= act(", replace: "= -act(" }));
        assert_eq!(found.failed_classes, classes(&["glu"]));
        assert!(Variants::of(&gpu).uses("glu"));
    }
}
