//! `anygpu bench plan`: a grid of quantization × batch × context, predicted and measured.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use super::about::About;
use super::args::DeviceArgs;
use super::bench_text::{table as text_table, utc_now};
use super::open::stopped;
use super::plan::{Setting, Target, here, table_of, wanted};
use super::subject::Subject;
use super::values::{real, whole_of};
use super::{DONE, Exit, bench, interrupt, open, print, print_json, profiles};
use crate::base::{DType, KvType};
use crate::bench::grid::{self, Grid, Point, Verdict};
use crate::engine::LoadOptions;
use crate::engine::model::default_chunk;
use crate::gpu::Gpu;
use crate::gpu::graph::State;
use crate::plan::choose::figure;
use crate::plan::machine::Machine;
use crate::plan::profile::Profile;
use crate::plan::table::Table;
use crate::probe::{Clock, Probe, Wanted};

#[derive(Args)]
pub(super) struct PlanBenchArgs {
    /// Models, several with commas: folders, .gguf files, shape:NAME, demo
    #[arg(value_name = "MODELS", value_delimiter = ',', default_value = "shape:SmolLM2-135M,demo")]
    models: Vec<String>,
    /// Quantizations, several with commas
    #[arg(long, value_name = "TYPES", value_delimiter = ',', default_value = "q4_0,q8_0,f16")]
    quants: Vec<String>,
    /// Sequences decoded together, several with commas
    #[arg(short = 'b', long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,4,8",
        value_parser = whole_of(1..=State::MAX_SEQUENCES, "sequences"))]
    batch: Vec<usize>,
    /// Positions in the cache, several with commas [default: 128,1024, as far as the model was trained for]
    #[arg(short = 'd', long, value_name = "LIST", value_delimiter = ',',
        value_parser = whole_of(1..=bench::MOST_POSITIONS, "positions"))]
    contexts: Vec<usize>,
    /// Measure no prompts: times to the first token are then those predicted
    #[arg(long)]
    no_prompts: bool,
    /// Seconds of decode steps per cell, at most: 20 to 48 windows in four rounds
    #[arg(long, value_name = "S", default_value_t = 2.0,
        value_parser = real("more than 0, less than 3600", |s: f64| s > 0.0 && s < 3600.0))]
    seconds: f64,
    /// Predict from this profile instead of one measured meanwhile
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Also write everything (JSON) to this file
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Positions in the cache, when nothing else is asked for.
const CONTEXTS: [usize; 2] = [128, 1024];

/// Everything about one model.
struct Outcome {
    name: String,
    points: Vec<Point>,
    /// Per context: the table as predicted, and the verdicts.
    judged: Vec<(usize, Table, Vec<Verdict>)>,
    profile: Profile,
}

/// Runs the command.
pub(super) fn run(args: &PlanBenchArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    let mut quants = Vec::new();
    for name in &args.quants {
        let known = DType::from_spelling(name).filter(|q| crate::plan::table::QUANTS.contains(q));
        let Some(quant) = known else { bail!("--quants: unknown type '{name}'") };
        quants.push(quant);
    }
    // Best quality first, as the planner lists them.
    quants.sort_by_key(|q| crate::plan::table::QUANTS.iter().position(|known| known == q));
    quants.dedup();
    let subjects = args.models.iter().map(|model| Subject::of(model)).collect::<anyhow::Result<Vec<_>>>()?;
    let contexts = subjects.iter().map(|subject| contexts(args, subject)).collect::<Result<Vec<_>, _>>()?;
    let gpu = open::verified_gpu_of(&device.choice(), device)?;
    interrupt::install(exit)?;
    let mut outcomes = Vec::new();
    for (subject, contexts) in subjects.iter().zip(&contexts) {
        outcomes.push(one(args, &gpu, subject, &quants, contexts)?);
    }
    let json = || object(&gpu, &outcomes);
    if let Some(path) = &args.out {
        let text = serde_json::to_string_pretty(&json())? + "\n";
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    if args.json {
        print_json(&json())?;
    } else {
        print(&text(&outcomes))?;
    }
    Ok(DONE)
}

/// Positions to measure a model at: those asked for, or the usual ones that it was trained for.
fn contexts(args: &PlanBenchArgs, subject: &Subject) -> anyhow::Result<Vec<usize>> {
    let most = subject.spec().max_context;
    if let Some(n) = args.contexts.iter().find(|n| !(1..most).contains(*n)) {
        bail!(
            "--contexts: expected 1 to {}, because {} was trained for {most} positions, found {n}",
            most - 1,
            subject.described.name
        );
    }
    if !args.contexts.is_empty() {
        return Ok(args.contexts.clone());
    }
    let within: Vec<usize> = CONTEXTS.into_iter().filter(|n| *n < most).collect();
    Ok(if within.is_empty() { vec![most / 2] } else { within })
}

fn one(
    args: &PlanBenchArgs,
    gpu: &Gpu,
    subject: &Subject,
    quants: &[DType],
    contexts: &[usize],
) -> anyhow::Result<Outcome> {
    if !subject.is_float() {
        bail!("{}: quantized already; the grid needs float weights", subject.described.name);
    }
    let longest = contexts.iter().copied().max().unwrap_or(1);
    let chunk = default_chunk(gpu.facts().kind);
    let setting = |context: usize| Setting {
        quants: quants.iter().map(|q| Some(*q)).collect(),
        batches: args.batch.clone(),
        context: longest + 2,
        prompt: context,
        kv: KvType::F16,
        chunk: None,
    };
    let grid = |round: usize| Grid {
        batches: &args.batch,
        contexts,
        step_s: args.seconds,
        prompts: !args.no_prompts && round.is_multiple_of(2),
    };
    let name = &subject.described.name;
    let total = grid::ROUNDS * quants.len() * args.batch.len() * contexts.len();
    let bar = open::bar(total as u64, "{msg:24} {wide_bar} {percent} % {elapsed}");
    let mut samples = grid::Samples::default();
    let mut sample = |clock: &Clock<'_>, round: usize| -> anyhow::Result<()> {
        open::note(&format!("{name}: round {} of {}", round + 1, grid::ROUNDS));
        for quant in quants {
            let options = LoadOptions { context: Some(longest + 2), ..LoadOptions::default() };
            let model = bench::load(gpu, subject, Some(*quant), options)?;
            samples.round(&model, clock, *quant, grid(round), &mut |batch, context| {
                bar.set_message(format!("{quant} batch {batch} at {context}"));
                bar.inc(1);
                !interrupt::requested()
            })?;
        }
        Ok(())
    };
    let (profile, clock) = match &args.profile {
        Some(path) => {
            let profile = profiles::read(path)?;
            let clock = Clock::with_nominal(gpu, profile.reference_s)?;
            for round in 0..grid::ROUNDS {
                sample(&clock, round)?;
            }
            (profile, clock)
        }
        // Rounds of both in turn, so that prediction and measurement see the same machine.
        None => {
            let wanted = Wanted { thorough: true, ..wanted(subject, &setting(longest), chunk) };
            let mut told = |what: &str, _: f64| {
                bar.set_message(what.to_owned());
                !interrupt::requested()
            };
            let mut probe = Probe::begin(gpu, &wanted, grid::ROUNDS, &mut told).map_err(stopped)?;
            for round in 0..grid::ROUNDS {
                probe.round(&mut told).map_err(stopped)?;
                sample(probe.clock(), round)?;
            }
            probe.finish(&mut told).map_err(stopped)?
        }
    };
    bar.finish_and_clear();
    let budget = here(gpu, Some(&profile), None);
    let machine = Machine::Measured(Box::new(profile.clone()));
    let target = Target { machine, budget, history: None, chunk, price_per_hour: None };
    let mut tables = Vec::new();
    for context in contexts {
        tables.push((*context, table_of(subject, &target, &setting(*context))?));
    }
    let points = samples.points(&clock, &|quant, batch, context| {
        let found = tables.iter().find(|(c, _)| *c == context).and_then(|(_, table)| {
            table.cells.iter().find(|cell| cell.quant == Some(quant) && cell.batch == batch)
        });
        found.map_or((f64::NAN, f64::NAN), |cell| (cell.step.total(), cell.first_token_s))
    });
    let judged = tables
        .into_iter()
        .map(|(context, table)| {
            let measured = grid::as_measured(&table, &points, context);
            let verdicts = grid::judge(&table, &measured);
            (context, table, verdicts)
        })
        .collect();
    Ok(Outcome { name: subject.described.name.clone(), points, judged, profile })
}

fn text(outcomes: &[Outcome]) -> String {
    let head = [
        "model",
        "quant",
        "batch",
        "context",
        "ms",
        "± %",
        "wall ms",
        "predicted",
        "error %",
        "first s",
        "predicted",
        "error %",
    ];
    let mut rows = Vec::new();
    for outcome in outcomes {
        for p in &outcome.points {
            rows.push(vec![
                outcome.name.clone(),
                p.quant.to_string(),
                p.batch.to_string(),
                p.context.to_string(),
                figure(p.measured_s * 1e3),
                figure(p.spread * 100.0),
                figure(p.wall_s * 1e3),
                figure(p.predicted_s * 1e3),
                format!("{:+.1}", p.error() * 100.0),
                p.measured_first_s.map_or_else(|| "–".to_owned(), figure),
                figure(p.predicted_first_s),
                p.first_error().map_or_else(|| "–".to_owned(), |e| format!("{:+.1}", e * 100.0)),
            ]);
        }
    }
    let mut out = text_table(&head, &rows);
    out.push('\n');
    let all = || outcomes.iter().flat_map(|o| &o.points);
    let (median, worst) = grid::summary(all().map(Point::error));
    let _ = writeln!(out, "decode: median |error| {:.1} %, worst {:.1} %", median * 100.0, worst * 100.0);
    let firsts: Vec<f64> = all().filter_map(Point::first_error).collect();
    if !firsts.is_empty() {
        let (median, worst) = grid::summary(firsts.into_iter());
        let _ = writeln!(
            out,
            "first token: median |error| {:.1} %, worst {:.1} %",
            median * 100.0,
            worst * 100.0
        );
    }
    let mut goals = Vec::new();
    for outcome in outcomes {
        for (context, _, verdicts) in &outcome.judged {
            for v in verdicts {
                goals.push(vec![
                    outcome.name.clone(),
                    context.to_string(),
                    v.goal.clone(),
                    v.chosen.clone(),
                    v.best.clone(),
                    if v.good { "yes" } else { "no" }.to_owned(),
                ]);
            }
        }
    }
    out.push('\n');
    out += &text_table(&["model", "context", "goal", "chosen", "best measured", "within 5 %"], &goals);
    let good = goals.iter().filter(|row| row[5] == "yes").count();
    let _ = writeln!(out, "\nchoices within 5 % of the best: {good} of {}", goals.len());
    out
}

fn object(gpu: &Gpu, outcomes: &[Outcome]) -> Value {
    let points = || outcomes.iter().flat_map(|o| &o.points);
    let (median, worst) = grid::summary(points().map(Point::error));
    let model = |o: &Outcome| {
        json!({
            "model": o.name,
            "points": o.points,
            "judged": o.judged.iter().map(|(context, _, verdicts)| json!({
                "context": context, "goals": verdicts,
            })).collect::<Vec<_>>(),
            "profile": o.profile,
        })
    };
    About::this(Some(gpu)).before(json!({
        "time": utc_now(),
        "median_error": median,
        "worst_error": worst,
        "models": outcomes.iter().map(model).collect::<Vec<_>>(),
    }))
}
