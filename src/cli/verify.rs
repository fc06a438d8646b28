//! `anygpu verify`: every kernel × variant × shape against its f64 reference, on the user's own adapters.

use std::fmt::Write;
use std::time::Instant;

use anyhow::bail;
use serde::Serialize;

use super::args::{DeviceArgs, VerifyArgs};
use super::open::note;
use super::{DONE, NEGATIVE, open, print, print_json};
use crate::gpu::{AdapterChoice, Gpu, GpuOptions};
use crate::kernels::verify::Report;
use crate::kernels::{self, sabotage, variants, verify};

/// One adapter in one form.
#[derive(Serialize)]
struct Run {
    form: &'static str,
    /// Were shaders checked at run time?
    checked: bool,
    seconds: f64,
    passed: bool,
    #[serde(flatten)]
    report: Report,
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
                print(&table(&run))?;
            }
            runs.push(run);
        }
    }
    if args.json {
        print_json(&runs)?;
    }
    Ok(if runs.iter().all(|run| run.passed) { DONE } else { NEGATIVE })
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
    let bar = open::bar(checks.len() as u64, "{pos}/{len} {wide_bar} {msg}");
    let report = verify::run(&gpu, &checks, |done, check| {
        bar.set_position(done as u64);
        bar.set_message(format!("{} {}", check.kernel, check.case));
    })?;
    bar.finish_and_clear();
    let (seconds, passed, checked) = (started.elapsed().as_secs_f64(), report.passed(), gpu.is_checked());
    Ok(Run { form, checked, seconds, passed, report })
}

fn table(run: &Run) -> String {
    let checks = if run.checked { "with" } else { "without" };
    let mut out = format!("{} ({}, shaders {checks} runtime checks)\n", run.report.adapter, run.form);
    let rows = &run.report.rows;
    let width = |of: fn(&verify::Row) -> usize| rows.iter().map(of).max().unwrap_or(0).max(7);
    let (name, wide) = (width(|row| row.kernel.len()), width(|row| row.class.len()));
    let _ = writeln!(
        out,
        "  {:name$} {:wide$} {:>6} {:>9}  worst error / tolerance",
        "kernel", "variant", "checks", "elements"
    );
    for row in rows {
        let failed = if row.failed > 0 { format!("  {} FAILED", row.failed) } else { String::new() };
        let _ = writeln!(
            out,
            "  {:name$} {:wide$} {:>6} {:>9}  {:<8.3} at {}{failed}",
            row.kernel, row.class, row.checks, row.elements, row.worst, row.worst_case
        );
    }
    let checks: usize = rows.iter().map(|row| row.checks).sum();
    let failures = &run.report.failures;
    if run.passed {
        let _ = writeln!(out, "  {checks} checks passed in {:.1} s\n", run.seconds);
    } else {
        let _ = writeln!(out, "  {} of {checks} checks FAILED in {:.1} s:", failures.len(), run.seconds);
        out.extend(failures.iter().map(|failure| format!("    {failure}\n")));
        out.push('\n');
    }
    out
}
