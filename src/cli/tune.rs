//! `anygpu tune`: find the fastest variants of the matrix kernels on an adapter, and keep them.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::args::DeviceArgs;
use super::bench_text::table;
use super::subject::Subject;
use super::{DONE, Exit, NEGATIVE, interrupt, open, print, print_json, profiles, unix_time};
use crate::base::{AdapterKind, DType};
use crate::engine::{EngineError, tuned};
use crate::gpu::{AdapterChoice, Gpu, GpuError, adapters};
use crate::kernels::variants::MatvecClass;
use crate::kernels::weights::NATIVE;
use crate::plan::choose::figure;
use crate::probe::tune::{self, Choice, Layer, Tuned};

/// What most models' weights are.
const TYPES: [DType; 5] = [DType::Q4_0, DType::Q4K, DType::Q6K, DType::Q8_0, DType::F16];
/// How long the short form before a first run may take.
const SHORT_S: f64 = 3.0;

#[derive(Args)]
pub(super) struct TuneArgs {
    /// Weight types, several with commas [default: q4_0,q4_k,q6_k,q8_0,f16]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = native_type)]
    types: Vec<DType>,
    /// Change nothing: hold what was found before against the defaults, side by side. Exit code 1: some of it is slower
    #[arg(long, conflicts_with = "forget")]
    check: bool,
    /// Back to the defaults
    #[arg(long, conflicts_with = "types")]
    forget: bool,
    /// Also write the result (JSON) to this file
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn native_type(text: &str) -> Result<DType, String> {
    let known = DType::from_name(text.trim()).filter(|dtype| NATIVE.contains(dtype));
    known.ok_or_else(|| format!("expected some of {}", NATIVE.map(DType::name).join(",")))
}

/// Runs the command.
pub(super) fn run(args: &TuneArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    interrupt::install(exit)?;
    let choices: Vec<AdapterChoice> = match device.adapter.as_deref() {
        Some("all") => (0..adapters().len()).map(AdapterChoice::Index).collect(),
        _ => vec![device.choice()],
    };
    let mut objects = Vec::new();
    let mut slower = false;
    for choice in &choices {
        let gpu = open::gpu_of(choice, device)?;
        if args.forget {
            tuned::forget(&gpu).context("what was tuned could not be removed")?;
            profiles::forget_tuned(&gpu);
            open::note(&format!("{}: kernels run as by default", gpu.facts().id()));
            continue;
        }
        let found = one(&gpu, args)?;
        slower |= args.check && found.iter().any(Choice::is_slower);
        if !args.json {
            print(&text(&gpu, &found, args.check))?;
        }
        objects.push(json!({
            "anygpu": env!("CARGO_PKG_VERSION"), "unix_time": unix_time(), "adapter": gpu.facts(),
            "check": args.check, "classes": found,
        }));
    }
    if args.forget {
        return Ok(DONE);
    }
    if let Some(path) = &args.out {
        let mut json = serde_json::to_string_pretty(&objects)?;
        json.push('\n');
        std::fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    if args.json {
        print_json(&objects)?;
    }
    Ok(if slower { NEGATIVE } else { DONE })
}

fn one(gpu: &Gpu, args: &TuneArgs) -> anyhow::Result<Vec<Choice>> {
    let types = if args.types.is_empty() { TYPES.to_vec() } else { args.types.clone() };
    let all = types
        .iter()
        .flat_map(|dtype| MatvecClass::COLUMNS.map(|columns| MatvecClass { dtype: *dtype, columns }));
    let layer = Layer::typical(gpu.facts().kind);
    let mut wanted = Tuned { layer, classes: all.collect(), most_s: f64::INFINITY };
    if args.check {
        let kept = tuned::kept(gpu).unwrap_or_default();
        wanted.classes.retain(|class| kept.contains_key(&class.name()));
        if wanted.classes.is_empty() {
            anyhow::bail!("{}: nothing of this was tuned yet; `anygpu tune` does", gpu.facts().id());
        }
        return measured(&wanted, |wanted, progress| tune::compare(gpu, wanted, progress));
    }
    let found = measured(&wanted, |wanted, progress| tune::tune(gpu, wanted, progress))?;
    keep(gpu, &found);
    Ok(found)
}

/// With a progress bar; Ctrl-C stops.
fn measured(
    wanted: &Tuned,
    run: impl FnOnce(&Tuned, &mut dyn FnMut(&str, f64) -> bool) -> Result<Vec<Choice>, GpuError>,
) -> anyhow::Result<Vec<Choice>> {
    let bar = open::bar(1000, "{msg:24} {wide_bar} {percent} % {elapsed}");
    let found = run(wanted, &mut |what, done| {
        bar.set_message(what.to_owned());
        bar.set_position((1000.0 * done) as u64);
        !interrupt::requested()
    });
    bar.finish_and_clear();
    match found {
        Err(GpuError::Stopped) => Err(EngineError::Cancelled.into()),
        other => Ok(other?),
    }
}

/// Uses and keeps what was found. A profile of other variants is none of this adapter any more.
fn keep(gpu: &Gpu, found: &[Choice]) {
    for wrong in found.iter().flat_map(|choice| &choice.wrong) {
        open::note(&format!("not used, because it computes wrongly: {wrong}"));
    }
    let tuning = found.iter().map(|choice| (choice.class.clone(), choice.tuned.clone())).collect();
    if let Err(error) = tuned::keep(gpu, &tuning) {
        open::note(&format!("what was found is used, but not kept: {error}"));
    }
    profiles::forget_tuned(gpu);
}

/// Before a model first runs on a GPU: tries variants for its most frequent types, one sequence at a time, for a moment.
/// Nothing on software adapters: there it takes longer, and the defaults were measured on them.
pub(super) fn at_first_run(gpu: &Gpu, subject: &Subject) -> anyhow::Result<()> {
    let kept = tuned::kept(gpu).unwrap_or_default();
    let mut types: Vec<DType> = subject.described.stored.values().copied().collect();
    types.sort_unstable();
    types.dedup();
    types.retain(|dtype| TYPES.contains(dtype));
    let classes: Vec<MatvecClass> = types
        .into_iter()
        .map(|dtype| MatvecClass { dtype, columns: 1 })
        .filter(|class| !kept.contains_key(&class.name()))
        .collect();
    if classes.is_empty() || gpu.facts().kind == AdapterKind::Cpu {
        return Ok(());
    }
    open::note(&format!("trying kernel variants on {}; `anygpu tune` does so at length", gpu.facts().id()));
    let wanted = Tuned { layer: Layer::typical(gpu.facts().kind), classes, most_s: SHORT_S };
    let found = measured(&wanted, |wanted, progress| tune::tune(gpu, wanted, progress))?;
    keep(gpu, &found);
    Ok(())
}

/// For people.
fn text(gpu: &Gpu, found: &[Choice], check: bool) -> String {
    let head = ["work", "default", "tuned", "ms", "gain", "from", "to"];
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|choice| {
            let same = choice.tuned == choice.default;
            let unless_same = |text: String| if same { "–".to_owned() } else { text };
            vec![
                choice.class.clone(),
                choice.default.clone(),
                if same { "as it is".to_owned() } else { choice.tuned.clone() },
                figure(choice.default_ms),
                unless_same(format!("{:.2}", choice.gain)),
                unless_same(format!("{:.2}", choice.range[0])),
                unless_same(format!("{:.2}", choice.range[1])),
            ]
        })
        .collect();
    let changed = found.iter().filter(|choice| choice.tuned != choice.default).count();
    let mut out = format!("{}\n\n{}\n", gpu.facts().id(), table(&head, &rows));
    let slower: Vec<&str> = found.iter().filter(|c| c.is_slower()).map(|c| c.class.as_str()).collect();
    let _ = match (check, slower.is_empty()) {
        (false, _) => writeln!(
            out,
            "{changed} of {} differ from the default: {} variants tried, the fastest verified, kept for later runs",
            found.len(),
            found.iter().map(|choice| choice.candidates).sum::<usize>()
        ),
        (true, true) => writeln!(out, "none of {changed} tuned variants is slower than the default"),
        (true, false) => writeln!(
            out,
            "slower than the default: {}; `anygpu tune` decides again, `anygpu tune --forget` goes back",
            slower.join(", ")
        ),
    };
    let _ = writeln!(
        out,
        "gain: time of the default ÷ time of the tuned variant, the median of pairs in turn; ms: a layer's four matrices"
    );
    out
}
