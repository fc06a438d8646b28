//! `anygpu verify`: every kernel × variant × shape against its f64 reference, on the user's own adapters.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::HumanDuration;
use serde::Serialize;
use serde_json::json;

use super::about::{About, Adapter};
use super::args::{DeviceArgs, VerifyArgs};
use super::columns::{WIDTH, shortened, wrapped};
use super::open::note;
use super::{DONE, NEGATIVE, open, print, print_json};
use crate::gpu::{AdapterChoice, Gpu, GpuOptions};
use crate::kernels::verify::{Report, Row};
use crate::kernels::{self, sabotage, variants, verify};

/// After this long, whoever sees no bar is told how long the rest will take.
const PATIENCE: Duration = Duration::from_secs(2);

/// One adapter in one form.
#[derive(Serialize)]
struct Run {
    form: &'static str,
    /// Were shaders checked at run time?
    checked: bool,
    seconds: f64,
    checks: usize,
    passed: bool,
    adapter: Adapter,
    #[serde(skip)]
    report: Report,
}

impl Run {
    fn id(&self) -> &str {
        &self.adapter.id
    }
}

/// Runs the command.
pub(super) fn run(args: &VerifyArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    let mut forms = vec![("as it is", device.options())];
    if !args.as_is && device.options() != GpuOptions::plain() {
        forms.push(("least that WebGPU allows", GpuOptions::plain()));
    }
    let choices = device.choices();
    if choices.is_empty() {
        Gpu::open(&AdapterChoice::Auto, device.options())?; // there is none: this tells what to do
    }
    let mut runs = Vec::new();
    for choice in &choices {
        for (form, options) in &forms {
            let run = one(args, choice, form, *options)?;
            if !args.json {
                print(&table(&run, args.all))?;
            }
            runs.push(run);
        }
    }
    let verdict = verdict(&runs);
    match args.json {
        true => print_json(&object(&runs, &verdict)?)?,
        false => print(&wrapped("", &verdict))?,
    }
    Ok(if runs.iter().all(|run| run.passed) { DONE } else { NEGATIVE })
}

/// Everything for programs and fault reports.
fn object(runs: &[Run], verdict: &str) -> anyhow::Result<serde_json::Value> {
    let mut list = Vec::new();
    for run in runs {
        let mut object = serde_json::to_value(run)?;
        object["rows"] = json!(run.report.rows);
        object["failures"] = json!(run.report.failures);
        object["failed_classes"] = json!(run.report.failed_classes);
        list.push(object);
    }
    // The first adapter as it is; every run names its own.
    let about = About { adapter: runs.first().map(|run| run.adapter.clone()), ..About::this(None) };
    Ok(about.before(json!({
        "passed": runs.iter().all(|run| run.passed),
        "verdict": verdict,
        "runs": list,
    })))
}

/// What it comes to, for people who know nothing of kernels.
fn verdict(runs: &[Run]) -> String {
    let names = |runs: &[&Run]| {
        let mut names: Vec<&str> = runs.iter().map(|run| run.id()).collect();
        names.dedup();
        names.join(", ")
    };
    let (right, wrong): (Vec<&Run>, Vec<&Run>) = runs.iter().partition(|run| run.passed);
    let mut lines = Vec::new();
    if wrong.is_empty() {
        return format!("everything computes correctly on {}", names(&right));
    }
    for run in wrong {
        let kernels = run.report.wrong_kernels();
        let computes = if kernels.len() == 1 { "kernel computes" } else { "kernels compute" };
        lines.push(format!(
            "{} {computes} wrongly on {} ({}): {}",
            kernels.len(),
            run.id(),
            run.form,
            kernels.join(", ")
        ));
    }
    lines.push(
        "What the short check before an adapter's first use finds wrong is not used. Please report this with what \
         `anygpu verify --json` prints"
            .to_owned(),
    );
    lines.join(". ")
}

fn one(
    args: &VerifyArgs,
    choice: &AdapterChoice,
    form: &'static str,
    options: GpuOptions,
) -> anyhow::Result<Run> {
    let gpu = Gpu::open(choice, options)?;
    gpu.leave_checks_out(&kernels::ALL);
    if let Some(kernel) = &args.broken {
        let Some(fault) = sabotage::FAULTS.iter().find(|fault| fault.kernel == *kernel) else {
            let known: Vec<&str> = sabotage::FAULTS.iter().map(|fault| fault.kernel).collect();
            bail!("--break: expected one of {}, found {kernel}", known.join(", "));
        };
        gpu.sabotage(*fault);
    }
    let mut checks = variants::checks(&gpu);
    if let Some(kernel) = &args.broken
        && checks.iter().all(|check| check.kernel != kernel)
    {
        note(&format!(
            "--break {kernel}: {} does not run it ({form}), so no check can fail",
            gpu.facts().id()
        ));
    }
    checks.retain(|check| check.quick || !args.quick);
    let started = Instant::now();
    let bar = open::bar(checks.len() as u64, "{bar:20} {pos}/{len}, {eta} left: {wide_msg}");
    let mut told = !bar.is_hidden();
    let report = verify::run(&gpu, &checks, |done, check| {
        bar.set_position(done as u64);
        bar.set_message(format!("{} {}", check.kernel, check.case));
        if !told && done > 0 && started.elapsed() > PATIENCE {
            told = true;
            let whole = started.elapsed().mul_f64(checks.len() as f64 / done as f64);
            note(&format!("{} checks ({form}): about {}", checks.len(), HumanDuration(whole)));
        }
    })?;
    bar.finish_and_clear();
    let (seconds, passed, checked) = (started.elapsed().as_secs_f64(), report.passed(), gpu.is_checked());
    Ok(Run { form, checked, seconds, checks: checks.len(), passed, adapter: Adapter::of(&gpu), report })
}

/// A line for every kernel, or for every variant of it.
fn table(run: &Run, all: bool) -> String {
    let checks = if run.checked { "with" } else { "without" };
    let mut out = wrapped("", &format!("{} ({}, shaders {checks} runtime checks)", run.id(), run.form));
    let rows = if all { run.report.rows.clone() } else { run.report.kernels() };
    let width = |of: fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0).max(7);
    let (name, wide) = (width(|row| row.kernel.len()), width(|row| row.class.len()));
    let start = |kernel: &str, class: &str| match all {
        true => format!("  {kernel:name$} {class:wide$}"),
        false => format!("  {kernel:name$}"),
    };
    let _ = writeln!(
        out,
        "{} {:>6} {:>9}  error / tolerance, at worst",
        start("kernel", "variant"),
        "checks",
        "numbers"
    );
    for row in &rows {
        let failed = if row.failed > 0 { format!("{} WRONG, ", row.failed) } else { String::new() };
        let numbers =
            format!("{} {:>6} {:>9}  {failed}", start(&row.kernel, &row.class), row.checks, row.elements);
        let worst = format!("{numbers}{:.3} at ", row.worst);
        let room = WIDTH.saturating_sub(worst.chars().count());
        let _ = writeln!(out, "{worst}{}", shortened(&row.worst_case, room));
    }
    let failures = &run.report.failures;
    if run.passed {
        let _ = writeln!(out, "  {} checks passed in {:.1} s\n", run.checks, run.seconds);
    } else {
        let _ =
            writeln!(out, "  {} of {} checks FAILED in {:.1} s:", failures.len(), run.checks, run.seconds);
        out.extend(failures.iter().map(|failure| format!("    {failure}\n")));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::{AdapterFacts, AdapterKind};

    fn run(name: &str, failed: &[&str]) -> Run {
        let row = |kernel: &str, class: &str| Row {
            kernel: kernel.into(),
            class: class.into(),
            checks: 10,
            elements: 123_456,
            worst: 0.123_456,
            worst_case: "attention, heads 9/3 of 64, rotary 64, interleaved, normed, q8_0 cache, ".repeat(3),
            failed: usize::from(failed.contains(&kernel)),
        };
        let rows =
            vec![row("matvec", "matvec/subgroup"), row("matvec", "matvec/workgroup"), row("glu", "glu")];
        let failures = failed.iter().map(|kernel| format!("{kernel} is wrong")).collect();
        let failed_classes = BTreeSet::new();
        let facts = AdapterFacts {
            index: 0,
            name: name.into(),
            backend: "vulkan".into(),
            kind: AdapterKind::Cpu,
            driver: "d".into(),
            driver_info: "1.2".into(),
            vendor: 0,
            device: 0,
            f16: true,
            subgroups: true,
            subgroup_sizes: [8, 8],
            immediates: true,
            timestamps: false,
            max_buffer_bytes: 1,
            max_binding_bytes: 1,
            max_storage_buffers: 1,
            max_storage_textures: 1,
            max_invocations: 1,
            max_workgroup_bytes: 1,
            storage_alignment: 1,
            memory_bytes: None,
        };
        let report = Report { adapter: facts.id(), rows, failures, failed_classes };
        let passed = report.passed();
        let adapter = Adapter::listed(&facts);
        Run { form: "as it is", checked: false, seconds: 1.0, checks: 30, passed, adapter, report }
    }

    #[test]
    fn the_last_line_says_what_it_comes_to() {
        assert_eq!(
            verdict(&[run("A", &[]), run("A", &[]), run("B", &[])]),
            "everything computes correctly on vulkan:A, vulkan:B"
        );
        let said = verdict(&[run("A", &["matvec", "glu"]), run("B", &[])]);
        assert!(
            said.starts_with("2 kernels compute wrongly on vulkan:A (as it is): matvec, glu. "),
            "{said}"
        );
        assert!(said.contains("`anygpu verify --json`"), "{said}");
        let said = verdict(&[run("A", &["glu"])]);
        assert!(said.starts_with("1 kernel computes wrongly"), "{said}");
    }

    #[test]
    fn a_line_per_kernel_that_fits_and_per_variant_where_asked() {
        let run = run(&"long ".repeat(40), &["matvec"]);
        for (all, lines) in [(false, 2), (true, 3)] {
            let text = table(&run, all);
            let rows = text.lines().filter(|line| line.starts_with("  matvec") || line.starts_with("  glu"));
            assert_eq!(rows.count(), lines, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        }
        assert!(table(&run, false).contains("2 WRONG"));
    }

    #[test]
    fn the_object_names_program_system_and_driver() {
        let got = object(&[run("A", &["glu"])], "verdict").unwrap();
        for path in [
            "/program/version",
            "/program/kernels",
            "/system/os",
            "/system/arch",
            "/system/cpu",
            "/system/memory_bytes",
            "/adapter/driver_info",
            "/adapter/max_binding_bytes",
            "/runs/0/adapter/f16",
            "/runs/0/rows/0/kernel",
            "/runs/0/failures/0",
        ] {
            assert!(got.pointer(path).is_some_and(|value| !value.is_null()), "{path} is missing in {got}");
        }
        assert_eq!((&got["passed"], &got["verdict"]), (&json!(false), &json!("verdict")));
    }
}
