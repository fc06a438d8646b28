//! Before an adapter runs a kernel of a model for the first time, the kernel has to compute rightly: the very pipeline
//! that will run, on small numbers whose result is known. What passed is kept in the cache directory by adapter, driver,
//! version and kernels. Variants that fail are not used, and named.
//!
//! What is verified is what will run: shaders without runtime checks ([`Gpu::leave_checks_out`]), unless
//! [`crate::gpu::GpuOptions::checked`] keeps them. Where something is right only with the checks, all shaders keep them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::engine::{cache, pipelines, tuned};
use crate::gpu::{Gpu, GpuError};
use crate::kernels::check::Check;
use crate::kernels::variants::{self, Variants};
use crate::kernels::{self, verify};

/// What was found on an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Kernels that passed, by their labels, in the form that they run in.
    pub passed: BTreeSet<String>,
    /// Classes of variants that failed and are not used.
    pub failed_classes: BTreeSet<String>,
    /// Classes that failed only without runtime checks; if there are any, all shaders keep theirs.
    pub need_checks: BTreeSet<String>,
}

/// A kernel that is about to run, and what it has to pass before.
#[derive(Clone, Copy)]
pub struct Need<'a> {
    /// Its label, or another name for what the checks are about.
    pub kernel: &'a str,
    /// At least one.
    pub checks: &'a [Check],
}

/// What [`ensure`] leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ensured {
    /// What was asked for may run.
    Passed,
    /// Something failed: other variants, or the same with runtime checks, take its place. What was built before is to be
    /// built again and ensured in its turn.
    Replaced(Verdict),
}

impl Verdict {
    fn add(&mut self, found: &Verdict) {
        self.failed_classes.extend(found.failed_classes.iter().cloned());
        self.need_checks.extend(found.need_checks.iter().cloned());
    }

    /// What to tell about it, for people.
    pub fn notices(&self, gpu: &Gpu) -> Vec<String> {
        let (adapter, mut notices) = (gpu.facts().id(), Vec::new());
        let list =
            |classes: &BTreeSet<String>| classes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        if !self.need_checks.is_empty() {
            notices.push(format!(
                "{adapter} computes wrongly with {} when shaders lack runtime checks: they are kept, as with --checked",
                list(&self.need_checks)
            ));
        }
        if !self.failed_classes.is_empty() {
            let failed = list(&self.failed_classes);
            notices.push(format!("{adapter} computes wrongly with {failed}: not used (see `anygpu verify`)"));
        }
        notices
    }
}

/// Called with the number of checks done and of all.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// Takes over what earlier processes found on this adapter: pipelines, what the tuner chose, what failed and what
/// passed. From now on sessions verify the kernels that they run, and kernels do without runtime checks. To be called
/// before a model is loaded.
pub fn begin(gpu: &Gpu) -> Verdict {
    pipelines::load(gpu);
    tuned::apply_kept(gpu);
    let verdict = kept(gpu);
    match verdict.need_checks.is_empty() {
        true => gpu.leave_checks_out(&kernels::ALL),
        false => gpu.keep_checks(),
    }
    verdict.failed_classes.iter().for_each(|class| gpu.ban(class));
    gpu.require_verified(verdict.passed.clone());
    verdict
}

/// Verifies those of the needs that have not passed yet, where [`begin`] asked for that, and excludes what fails.
/// A cache that cannot be written only costs the time of doing it again.
pub fn ensure(gpu: &Gpu, needs: &[Need<'_>], progress: Progress<'_>) -> Result<Ensured, GpuError> {
    let missing: Vec<&Need<'_>> = needs.iter().filter(|need| gpu.must_verify(need.kernel)).collect();
    if missing.is_empty() {
        return Ok(Ensured::Passed);
    }
    let checks = || missing.iter().flat_map(|need| need.checks);
    let total = checks().count();
    let mut failed = verify::run(gpu, checks(), |done, _| progress(done, total))?.failed_classes;
    if failed.is_empty() {
        missing.iter().for_each(|need| gpu.note_verified(need.kernel));
        keep(gpu, &Verdict::default());
        return Ok(Ensured::Passed);
    }
    // Are the missing runtime checks to blame? Then everything is verified in the form that keeps them.
    let mut need_checks = BTreeSet::new();
    if !gpu.is_checked() {
        gpu.keep_checks();
        let suspects = checks().filter(|check| failed.contains(&check.class));
        let with_checks = verify::run(gpu, suspects, |_, _| {})?.failed_classes;
        need_checks = failed.difference(&with_checks).cloned().collect();
        match need_checks.is_empty() {
            true => gpu.leave_checks_out(&kernels::ALL),
            false => gpu.require_verified(BTreeSet::new()),
        }
        failed = with_checks;
    }
    failed.iter().for_each(|class| gpu.ban(class));
    let used = Variants::of(gpu);
    let wrong: Vec<&str> = failed.iter().map(String::as_str).filter(|class| used.uses(class)).collect();
    if !wrong.is_empty() {
        // Not remembered: a driver in trouble may be well again next time.
        return Err(GpuError::Unusable { adapter: gpu.facts().id(), classes: wrong.join(", ") });
    }
    let found = Verdict { passed: BTreeSet::new(), failed_classes: failed, need_checks };
    keep(gpu, &found);
    Ok(Ensured::Replaced(found))
}

/// [`ensure`] of the short form of `verify`: every kernel in the variant that the adapter uses, for a few types and
/// shapes. For what runs kernels without a session. Returns what was found wrong.
pub fn ensure_short_form(gpu: &Gpu, progress: Progress<'_>) -> Result<Verdict, GpuError> {
    let mut all = Verdict::default();
    loop {
        let used = Variants::of(gpu);
        let mut checks = variants::checks(gpu);
        checks.retain(|check| check.quick && used.uses(&check.class));
        checks.sort_by(|a, b| (a.kernel, &a.class).cmp(&(b.kernel, &b.class)));
        let groups: Vec<(String, &[Check])> = checks
            .chunk_by(|a, b| (a.kernel, &a.class) == (b.kernel, &b.class))
            .map(|group| (format!("short form: {} ({})", group[0].kernel, group[0].class), group))
            .collect();
        let needs: Vec<Need<'_>> = groups.iter().map(|(kernel, checks)| Need { kernel, checks }).collect();
        match ensure(gpu, &needs, progress)? {
            Ensured::Passed => return Ok(all),
            Ensured::Replaced(found) => all.add(&found),
        }
    }
}

/// What earlier processes found.
fn kept(gpu: &Gpu) -> Verdict {
    if gpu.is_sabotaged() {
        return Verdict::default();
    }
    cache::read_json(&cache_name(gpu)).unwrap_or_default()
}

/// Adds to what is kept.
fn keep(gpu: &Gpu, found: &Verdict) {
    if gpu.is_sabotaged() {
        return;
    }
    let mut verdict = kept(gpu);
    verdict.add(found);
    // What passed counts in one form only.
    let passed = gpu.verified();
    match verdict.need_checks.is_empty() {
        true => verdict.passed.extend(passed),
        false => verdict.passed = passed,
    }
    let _ = cache::write_json(&cache_name(gpu), &verdict);
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

    /// Changes nothing. Of a device with a fault nothing is kept.
    const NONE: Fault = Fault { kernel: "", find: "", replace: "" };

    /// What is found on a device with this fault, and the device as that leaves it.
    fn verdict(checked: bool, fault: Fault) -> (Gpu, Result<Verdict, GpuError>) {
        let gpu = gpu(checked);
        gpu.sabotage(fault);
        assert_eq!(begin(&gpu), Verdict::default());
        let found = ensure_short_form(&gpu, &mut |_, _| {});
        (gpu, found)
    }

    /// 1 where divisions are checked, as WGSL defines x / 0; else what the driver makes of it.
    const NEEDS_CHECKS: Fault = Fault {
        kernel: "glu",
        find: "act(x[begin])",
        replace: "f32(1u / (params.inter - params.inter)) * act(x[begin])",
    };

    #[test]
    fn checks_are_left_out_where_everything_is_right_without_them() {
        for checked in [false, true] {
            let (gpu, found) = verdict(checked, NONE);
            assert_eq!((gpu.is_checked(), found.expect("works")), (checked, Verdict::default()));
            assert!(gpu.verified().len() > 10, "{:?}", gpu.verified());
        }
    }

    #[test]
    fn a_kernel_that_needs_checks_makes_all_keep_them() {
        let (gpu, found) = verdict(false, NEEDS_CHECKS);
        let found = found.expect("another form works");
        assert!(gpu.is_checked());
        assert_eq!((found.failed_classes, found.need_checks), (classes(&[]), classes(&["glu"])));
        // Asked for from the start, they are no news.
        let (gpu, found) = verdict(true, NEEDS_CHECKS);
        assert_eq!((gpu.is_checked(), found.expect("works")), (true, Verdict::default()));
    }

    #[test]
    fn a_kernel_that_is_wrong_in_both_forms_is_replaced_and_checks_stay_out() {
        let (find, replace) = match Variants::of(&gpu(false)).team {
            Team::Lane => ("{ return v; }", "{ return -v; }"),
            Team::Broadcast { .. } => ("subgroupBroadcast(v, 0u)", "-subgroupBroadcast(v, 0u)"),
            Team::Subgroup => ("{ return subgroupAdd(v); }", "{ return -subgroupAdd(v); }"),
            Team::Workgroup => ("let sum = team_partial[0];", "let sum = -team_partial[0];"),
        };
        let (gpu, found) = verdict(false, Fault { kernel: "matvec", find, replace });
        let before = Variants::of(&self::gpu(false));
        let wrong = before.team.class();
        // Where weights are in tiles it is this team that reads them.
        let tiles = (before.store == Store::Tiles).then_some(Store::TILES_CLASS);
        let expected = [wrong].into_iter().chain(tiles).collect::<Vec<_>>();
        let found = found.expect("other variants work");
        assert!(!gpu.is_checked());
        assert_eq!((found.failed_classes, found.need_checks), (classes(&expected), classes(&[])));
        assert!(gpu.is_banned(wrong) && Variants::of(&gpu).team.class() != wrong);
        // Attention by a subgroup, where that is in use, too.
        let wrong = before.attention_subgroup.map(|_| SUBGROUP_SPEC.name);
        let (find, replace) = ("* shrink + weight", "* shrink - weight");
        let (gpu, found) = verdict(false, Fault { kernel: SUBGROUP_SPEC.name, find, replace });
        assert_eq!(found.expect("another kernel works").failed_classes, classes(wrong.as_slice()));
        assert!(!gpu.is_checked() && Variants::of(&gpu).attention_subgroup.is_none());
    }

    #[test]
    fn what_nothing_can_replace_is_an_error() {
        let (_, found) = verdict(false, Fault { kernel: "glu", find: "= act(", replace: "= -act(" });
        let error = found.expect_err("glu is wrong in both forms");
        assert!(matches!(&error, GpuError::Unusable { classes, .. } if classes == "glu"), "{error}");
    }
}
