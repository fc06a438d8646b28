//! `anygpu plan`: predict every quantization × batch, choose, and say why.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::about::About;
use super::args::{DeviceArgs, LoadArgs};
use super::bench::MOST_POSITIONS;
use super::plan_instead::{alternative, smaller_shape, usable_shape};
use super::subject::{DEMO, Subject};
use super::values::{positive, whole, whole_of};
use super::{DONE, NEGATIVE, open, plan_lists, plan_text, print, print_json, profiles};
use crate::base::{DType, KvType};
use crate::engine::memory;
use crate::engine::model::{DEFAULT_CONTEXT, default_chunk};
use crate::gpu::Gpu;
use crate::gpu::graph::State;
use crate::plan::choose::{self, Aim, Goal};
use crate::plan::history::History;
use crate::plan::machine::{Load, Machine, SPEC_CHUNK};
use crate::plan::memory::Budget;
use crate::plan::profile::Profile;
use crate::plan::table::{Cell, Request, Table, table};
use crate::plan::weights::Matrices;
use crate::plan::{formulas, hardware, published};
use crate::probe::Wanted;

/// Prompt when none is given, if the context has room for it.
const DEFAULT_PROMPT: usize = 512;

#[derive(Args)]
pub(super) struct PlanArgs {
    /// A model folder or .gguf file, a config.json or GGUF header alone, shape:NAME[:quant] (shape:list: all), or demo
    #[arg(value_name = "MODEL", default_value = DEMO)]
    pub(super) model: String,
    /// Tokens of the prompt; speeds are those right behind it [default: 512, at most half the context]
    #[arg(long, value_name = "N", value_parser = whole_of(1..=MOST_POSITIONS, "positions"))]
    pub(super) prompt: Option<usize>,
    /// Sequences decoded together, several with commas [default: 1,2,4,8,16]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = whole_of(1..=4096, "sequences"))]
    pub(super) batch: Vec<usize>,
    #[command(flatten)]
    pub(super) goal: GoalArgs,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    /// What the machine costs, US dollars per hour [default: known for some --spec]
    #[arg(long, value_name = "USD", help_heading = "Machine", value_parser = positive)]
    pub(super) price: Option<f64>,
    /// What the machine draws, watts; with --kwh instead of --price
    #[arg(
        long,
        value_name = "W",
        value_parser = positive,
        requires = "kwh",
        conflicts_with = "price",
        help_heading = "Machine"
    )]
    pub(super) watts: Option<f64>,
    /// What a kilowatt-hour costs, US dollars
    #[arg(long, value_name = "USD", help_heading = "Machine", value_parser = positive)]
    pub(super) kwh: Option<f64>,
    /// Ignore what earlier runs on this adapter achieved
    #[arg(long)]
    pub(super) no_history: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

/// Another machine than this one.
#[derive(Args)]
pub(super) struct MachineArgs {
    /// Plan for another machine: the file that `anygpu probe --out` wrote there
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    pub(super) profile: Option<PathBuf>,
    /// Plan for hardware one only reads about: a name (m2-max, rtx-4090, a100-80g*2 …; list: all of them) or
    /// bandwidth=68GB/s,flops=2.6TFLOPS,memory=16GiB
    #[arg(long, value_name = "SPEC", conflicts_with = "profile", help_heading = "Machine")]
    pub(super) spec: Option<String>,
}

impl MachineArgs {
    /// This machine's adapter, where no other machine is meant.
    pub(super) fn gpu(&self, device: &DeviceArgs) -> anyhow::Result<Option<Gpu>> {
        let here = self.spec.is_none() && self.profile.is_none();
        here.then(|| open::verified_gpu_of(&device.choice(), device)).transpose()
    }
}

/// Wishes, as flags.
#[derive(Args, Clone, Copy, Default)]
#[command(next_help_heading = "Goal")]
pub(super) struct GoalArgs {
    /// What matters most: quality (the best quantization that meets the targets), latency (speed of one sequence),
    /// throughput (speed of all together) or cost (per token) [default: quality]
    #[arg(long, value_enum, value_name = "AIM")]
    pub(super) goal: Option<AimArg>,
    /// Fewest tokens per second for every sequence [default, without --max-ttft: 5, and prompts read at 20]
    #[arg(long, value_name = "TOK/S", value_parser = positive)]
    pub(super) min_tps: Option<f64>,
    /// Longest time to the first token, seconds
    #[arg(long, value_name = "S", value_parser = positive)]
    pub(super) max_ttft: Option<f64>,
    /// Sequences to serve at once
    #[arg(long, value_name = "N", value_parser = whole(1..=4096))]
    pub(super) users: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AimArg {
    Quality,
    Latency,
    Throughput,
    Cost,
}

impl GoalArgs {
    /// The goal; absurd limits are refused.
    pub(super) fn goal(&self) -> anyhow::Result<Goal> {
        for (name, value) in [("--min-tps", self.min_tps), ("--max-ttft", self.max_ttft)] {
            if value.is_some_and(|v| !(v > 0.0 && v.is_finite())) {
                bail!("{name}: expected a positive number, found {}", value.unwrap_or(f64::NAN));
            }
        }
        if self.users == Some(0) {
            bail!("--users: expected 1 or more, found 0");
        }
        let aim = match self.goal {
            None | Some(AimArg::Quality) => Aim::Quality,
            Some(AimArg::Latency) => Aim::Latency,
            Some(AimArg::Throughput) => Aim::Throughput,
            Some(AimArg::Cost) => Aim::Cost,
        };
        let (min_tok_s, max_first_token_s) = (self.min_tps, self.max_ttft);
        Ok(Goal { aim, min_tok_s, max_first_token_s, users: self.users, usable: false })
    }
}

/// What a plan is made for, with what is known of it.
pub(super) struct Target {
    pub(super) machine: Machine,
    pub(super) budget: Budget,
    pub(super) history: Option<History>,
    pub(super) chunk: usize,
    pub(super) price_per_hour: Option<f64>,
}

impl Target {
    /// A machine of which only the memory matters.
    pub(super) fn unpriced(budget: Budget, chunk: usize) -> anyhow::Result<Target> {
        let machine = Machine::Spec(hardware::parse("bandwidth=1GB/s,flops=1GFLOPS,memory=1GiB")?);
        Ok(Target { machine, budget, history: None, chunk, price_per_hour: None })
    }
}

/// Runs the command.
pub(super) fn run(args: &PlanArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    if args.machine.spec.as_deref() == Some(plan_lists::LIST) {
        print(&plan_lists::machines())?;
        return Ok(DONE);
    }
    if plan_lists::asks_for_shapes(&args.model) {
        print(&plan_lists::shapes()?)?;
        return Ok(DONE);
    }
    let goal = args.goal.goal()?.or_usable();
    let subject = Subject::of(&args.model)?;
    let setting = Setting::of(args, &subject, &goal)?;
    let gpu = args.machine.gpu(device)?;
    if let Some(gpu) = &gpu
        && refuse_unmeasured(args, gpu, &subject, &setting, &goal)?
    {
        return Ok(NEGATIVE);
    }
    let target = target(args, gpu.as_ref(), &subject, &setting)?;
    let make = |setting: &Setting| table_of(&subject, &target, setting);
    let made = make(&setting)?;
    let choice = choose::choose(&made, &goal);
    let alternative = match choice {
        Some(_) => None,
        None => alternative(&make, &setting, &made, &goal)?,
    };
    let quality = subject.quality();
    let smaller = match (&choice, &alternative) {
        (Some(_), _) => None,
        (None, Some(_)) if goal.usable => usable_shape(&subject, &target, &setting, &goal),
        (None, Some(_)) => None,
        (None, None) => smaller_shape(&subject, &target.budget, &setting, target.chunk)?,
    };
    if args.json {
        let object = json!({
            "model": subject.described.name,
            "goal": goal,
            "choice": choice.as_ref().map(|c| json!({"cell": made.cells[c.index], "reason": c.reason})),
            "nearest": alternative.as_ref().map(|a| json!({"context": a.context, "reason": a.reason})),
            "smaller": smaller,
            "above_light": made.cells.iter().any(Cell::is_above_light),
            "table": made,
            "machine": target.machine,
            "quality": quality,
            "published_quality": quality.is_none().then(published_quality),
        });
        print_json(&About::this(gpu.as_ref()).before(object))?;
    } else {
        print(&plan_text::text(&subject, &target, &made, choice.as_ref(), quality.as_ref()))?;
    }
    if choice.is_some() {
        return Ok(DONE);
    }
    open::note(&plan_text::refusal(&made, &goal, alternative.as_ref(), smaller.as_deref()));
    Ok(NEGATIVE)
}

/// Says no without measuring anything when nothing fits here, whatever its speed.
fn refuse_unmeasured(
    args: &PlanArgs,
    gpu: &Gpu,
    subject: &Subject,
    setting: &Setting,
    goal: &Goal,
) -> anyhow::Result<bool> {
    let chunk = setting.chunk.unwrap_or_else(|| default_chunk(gpu.facts().kind)).min(setting.context);
    let target = Target::unpriced(here(gpu, None, args.load.memory), chunk)?;
    let make = |setting: &Setting| table_of(subject, &target, setting);
    let made = make(setting)?;
    let fits = made.cells.iter().any(|cell| cell.misfit.is_none());
    if fits || alternative(&make, setting, &made, goal)?.is_some() {
        return Ok(false);
    }
    let smaller = smaller_shape(subject, &target.budget, setting, chunk)?;
    open::note(&plan_text::refusal(&made, goal, None, smaller.as_deref()));
    if args.json {
        let misfits: Vec<_> = made
            .cells
            .iter()
            .map(|cell| {
                json!({
                    "name": cell.name, "batch": cell.batch, "memory": cell.memory, "misfit": cell.misfit,
                })
            })
            .collect();
        let object = json!({
            "model": subject.described.name, "goal": goal, "choice": null, "nearest": smaller, "cells": misfits,
            "budget": target.budget,
        });
        print_json(&About::this(Some(gpu)).before(object))?;
    }
    Ok(true)
}

/// What others published of quantizations' quality, for programs.
fn published_quality() -> Value {
    let row = |row: published::Published| {
        json!({
            "quant": row.quant.name(), "mix": row.mix, "ppl": row.ppl, "ppl_ratio": row.ppl_ratio(),
            "kl_mean": row.kl_mean,
        })
    };
    let rows: Vec<Value> = published::TABLE.into_iter().map(row).collect();
    json!({ "model": published::MODEL, "source": published::SOURCE, "rows": rows })
}

/// Tokens of the prompt when none is given, in a context of so many positions.
pub(super) fn default_prompt(context: usize) -> usize {
    DEFAULT_PROMPT.min(context / 2).max(1)
}

/// What is varied and what is fixed.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) quants: Vec<Option<DType>>,
    pub(super) batches: Vec<usize>,
    pub(super) context: usize,
    pub(super) prompt: usize,
    pub(super) kv: KvType,
    pub(super) chunk: Option<usize>,
}

impl Setting {
    fn of(args: &PlanArgs, subject: &Subject, goal: &Goal) -> anyhow::Result<Setting> {
        let trained = subject.spec().max_context;
        let context = args.load.positions(trained).unwrap_or(trained.min(DEFAULT_CONTEXT));
        if context == 0 || context > trained {
            bail!("--ctx: expected 1 to {trained}, the positions the model was trained for, found {context}");
        }
        let prompt = args.prompt.unwrap_or(default_prompt(context)).max(1);
        if prompt >= context.max(2) {
            bail!("--prompt: {prompt} tokens leave no room for an answer in a context of {context} (--ctx)");
        }
        let mut batches = if args.batch.is_empty() { vec![1, 2, 4, 8, 16] } else { args.batch.clone() };
        if let Some(users) = goal.users
            && args.batch.is_empty()
        {
            batches.push(users);
        }
        batches.sort_unstable();
        batches.dedup();
        if batches.iter().any(|batch| !(1..=4096).contains(batch)) {
            bail!("--batch: expected 1 to 4096 sequences");
        }
        let options = args.load.options();
        if options.chunk.is_some_and(|n| !(1..=4096).contains(&n)) {
            bail!("--chunk: expected 1 to 4096 tokens");
        }
        if let (None, Some(most)) =
            (&args.machine.spec, batches.last().filter(|n| **n > State::MAX_SEQUENCES))
        {
            let limit = State::MAX_SEQUENCES;
            bail!("{most} sequences: this engine decodes at most {limit} together; --spec plans beyond that");
        }
        let wish = options.quant.or(subject.quant);
        if let (Some(quant), false) = (wish, subject.is_float()) {
            bail!("--quant {quant}: the weights are quantized already and stay as they are");
        }
        let quants = wish.map_or_else(|| subject.quants(), |quant| vec![Some(quant)]);
        Ok(Setting { quants, batches, context, prompt, kv: options.kv, chunk: options.chunk })
    }
}

/// The machine and what it costs.
fn target(
    args: &PlanArgs,
    gpu: Option<&Gpu>,
    subject: &Subject,
    setting: &Setting,
) -> anyhow::Result<Target> {
    let usd = |value: Option<f64>, name: &str| match value {
        Some(v) if !(v > 0.0 && v.is_finite()) => bail!("{name}: expected a positive number, found {v}"),
        other => Ok(other),
    };
    let (price, watts, kwh) =
        (usd(args.price, "--price")?, usd(args.watts, "--watts")?, usd(args.kwh, "--kwh")?);
    if kwh.is_some() && price.is_some() {
        bail!("--kwh and --price: give one of them");
    }
    if kwh.is_some() && watts.is_none() && args.machine.spec.is_none() {
        bail!("--kwh needs --watts: what this machine draws is not known");
    }
    let mut target = machine(&args.machine, args.load.memory, gpu, subject, setting)?;
    if args.no_history {
        target.history = None;
    }
    let known = match &target.machine {
        Machine::Spec(hardware) => (hardware.watts, hardware.price_per_hour),
        Machine::Measured(_) => (None, None),
    };
    let power = |watts: f64| Some(formulas::price_from_watts(watts, kwh?));
    target.price_per_hour = price.or_else(|| power(watts.or(known.0)?)).or(known.1);
    Ok(target)
}

/// The machine: described, saved, or this one, measured as far as it was not yet. Its costs are left out.
pub(super) fn machine(
    args: &MachineArgs,
    limit: Option<u64>,
    gpu: Option<&Gpu>,
    subject: &Subject,
    setting: &Setting,
) -> anyhow::Result<Target> {
    let priced =
        |machine, budget, history, chunk| Target { machine, budget, history, chunk, price_per_hour: None };
    if let Some(spec) = &args.spec {
        let hardware = hardware::parse(spec).context("--spec (list: all machines known by name)")?;
        let (bytes, source) = match limit {
            Some(bytes) => (bytes, plan_text::MEMORY_FLAG.to_owned()),
            None => {
                let bytes = (hardware.memory_bytes as f64 * hardware.usable_memory) as u64;
                let source = format!(
                    "{:.0} % of the data sheet's {}",
                    hardware.usable_memory * 100.0,
                    choose::bytes(hardware.memory_bytes)
                );
                (bytes, source)
            }
        };
        let budget = Budget { bytes: Some(bytes), source, binding_bytes: None };
        let chunk = setting.chunk.unwrap_or(SPEC_CHUNK).min(setting.prompt);
        return Ok(priced(Machine::Spec(hardware), budget, None, chunk));
    }
    if let Some(path) = &args.profile {
        let profile = profiles::read(path)?;
        let budget = budget_of(&profile, limit);
        let chunk = setting.chunk.unwrap_or_else(|| default_chunk(profile.adapter.kind)).min(setting.context);
        return Ok(priced(Machine::Measured(Box::new(profile)), budget, None, chunk));
    }
    let Some(gpu) = gpu else { bail!("no adapter and no description of a machine") };
    let chunk = setting.chunk.unwrap_or_else(|| default_chunk(gpu.facts().kind)).min(setting.context);
    super::tune::at_first_run(gpu, subject, setting.quants.iter().flatten().next().copied())?;
    let profile = profiles::ensure(gpu, &wanted(subject, setting, chunk))?;
    let history = Some(profiles::history(gpu));
    let budget = here(gpu, Some(&profile), limit);
    Ok(priced(Machine::Measured(Box::new(profile)), budget, history, chunk))
}

/// What must be measured for these cells.
pub(super) fn wanted(subject: &Subject, setting: &Setting, chunk: usize) -> Wanted {
    let mut dtypes = Vec::new();
    let mut heads = Vec::new();
    let mut cached = Vec::new();
    for quant in &setting.quants {
        let matrices = Matrices::of(subject.spec(), &|name| subject.stored(name), *quant);
        dtypes.extend(matrices.active().map(|m| m.dtype));
        let load = Load { spec: subject.spec(), matrices: &matrices, kv: setting.kv, chunk };
        heads.push(load.heads());
        cached.push(load.is_cached());
    }
    cached.sort_unstable();
    cached.dedup();
    dtypes.sort_unstable();
    dtypes.dedup();
    heads.dedup();
    let most = State::MAX_SEQUENCES as u32;
    let mut columns: Vec<u32> = setting.batches.iter().map(|batch| (*batch as u32).min(most)).collect();
    columns.push(1);
    columns.sort_unstable();
    columns.dedup();
    let tokens = vec![chunk.max(2) as u32];
    Wanted { dtypes, cached, columns, tokens, heads, thorough: false, whole: false }
}

/// Memory of this adapter: what is available now, on separate memory no more than was proved.
pub(super) fn here(gpu: &Gpu, profile: Option<&Profile>, limit: Option<u64>) -> Budget {
    let binding_bytes = Some(gpu.max_bound_bytes());
    let proved = profile.and_then(|p| p.memory.as_ref());
    let proved = proved.filter(|_| limit.is_none() && !gpu.shares_main_memory());
    match (memory::available(gpu.facts(), limit), proved) {
        (Some(available), Some(proved)) if proved.allocated_bytes < available.bytes => Budget {
            source: "proved by allocating".to_owned(),
            bytes: Some(proved.allocated_bytes),
            binding_bytes,
        },
        (Some(available), _) => {
            Budget { bytes: Some(available.bytes), source: available.source, binding_bytes }
        }
        (None, proved) => Budget {
            bytes: proved.map(|p| p.allocated_bytes),
            source: "proved by allocating".to_owned(),
            binding_bytes,
        },
    }
}

/// Memory of a machine elsewhere.
fn budget_of(profile: &Profile, limit: Option<u64>) -> Budget {
    let adapter = &profile.adapter;
    let binding_bytes = Some(adapter.max_binding_bytes.min(adapter.max_buffer_bytes));
    let (bytes, source) = match (limit, &profile.memory) {
        (Some(bytes), _) => (Some(bytes), "--memory"),
        (None, Some(memory)) => (Some(memory.allocated_bytes), "proved by allocating when it was measured"),
        (None, None) => (adapter.memory_bytes, "as its API claimed"),
    };
    Budget { bytes, source: source.to_owned(), binding_bytes }
}

/// The table for a setting.
pub(super) fn table_of(subject: &Subject, target: &Target, setting: &Setting) -> anyhow::Result<Table> {
    Ok(table(
        &target.machine,
        &Request {
            spec: subject.spec(),
            stored: &|name| subject.stored(name),
            quants: setting.quants.clone(),
            batches: setting.batches.clone(),
            context: setting.context,
            prompt: setting.prompt,
            chunk: target.chunk,
            kv: setting.kv,
            budget: target.budget.clone(),
            price_per_hour: target.price_per_hour,
            history: target.history.as_ref(),
        },
    )?)
}
