//! `anygpu bench`: prompts and decoding as llama-bench measures them, with bytes, prediction and overheads beside.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};

use super::args::{DeviceArgs, LoadArgs};
use super::bench_text::{self, Record};
use super::plan::{Setting, wanted};
use super::subject::{DEMO, Subject, Weights};
use super::values::{whole, whole_of};
use super::{DONE, Exit, bench_kernels, bench_load, bench_plan, interrupt, open, print, profiles};
use crate::base::DType;
use crate::bench::speed::{self, Test};
use crate::engine::{LoadOptions, Model};
use crate::gpu::Gpu;
use crate::gpu::graph::State;
use crate::plan::form;
use crate::plan::machine::{Load, Machine};
use crate::plan::weights::Matrices;

/// Most positions that a test may ask for.
pub(super) const MOST_POSITIONS: usize = 1 << 24;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    pub(super) what: Option<BenchCommand>,
    #[command(flatten)]
    pub(super) speed: SpeedArgs,
}

#[derive(Subcommand)]
pub(super) enum BenchCommand {
    /// Every kernel of a decode step: bytes, operations, time, GB/s and % of what the adapter can do
    Kernels(bench_kernels::KernelsArgs),
    /// A grid of quantization × batch × context: predicted against measured, and what the choices were worth
    Plan(bench_plan::PlanBenchArgs),
    /// Loading a model: GB/s, and % of what reading the file and writing to the adapter allow
    Load(bench_load::LoadBenchArgs),
}

/// What is measured, and how it is printed.
#[derive(Args)]
pub(super) struct SpeedArgs {
    /// A model folder or .gguf file, shape:NAME[:quant] (random weights), or demo
    #[arg(value_name = "MODEL", default_value = DEMO)]
    pub(super) model: String,
    /// Prompt tokens, several with commas; 0: none [default: 512, on software adapters 64]
    #[arg(short = 'p', long, value_name = "N", value_delimiter = ',', value_parser = whole_of(0..=MOST_POSITIONS, "positions"))]
    pub(super) n_prompt: Vec<usize>,
    /// Tokens to generate, several with commas; 0: none [default: 128, on software adapters 32]
    #[arg(short = 'n', long, value_name = "N", value_delimiter = ',', value_parser = whole_of(0..=MOST_POSITIONS, "positions"))]
    pub(super) n_gen: Vec<usize>,
    /// Positions in the cache before each test, several with commas
    #[arg(short = 'd', long, value_name = "N", value_delimiter = ',', default_value = "0",
        value_parser = whole_of(0..=MOST_POSITIONS, "positions"))]
    pub(super) n_depth: Vec<usize>,
    /// Sequences decoded together, several with commas (llama-bench's -b is --chunk here)
    #[arg(short = 'b', long, value_name = "N", value_delimiter = ',', default_value = "1",
        value_parser = whole_of(1..=State::MAX_SEQUENCES, "sequences"))]
    pub(super) batch: Vec<usize>,
    /// Repeats of each test
    #[arg(short = 'r', long, value_name = "N", default_value_t = 5, value_parser = whole(1..=usize::MAX))]
    pub(super) repetitions: usize,
    /// How to print
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Md)]
    pub(super) output: Format,
    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    pub(super) json: bool,
    /// Do not predict: no profile is looked for or measured
    #[arg(long)]
    pub(super) no_plan: bool,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table of at most 100 columns
    Md,
    /// The same with all columns of llama-bench and ours
    Wide,
    Csv,
    Json,
    Jsonl,
}

/// Loads a subject, or makes it up, in one type; the context may have a position or two more than it was trained for, so
/// that the last test has room.
pub(super) fn load(
    gpu: &Gpu,
    subject: &Subject,
    quant: Option<DType>,
    options: LoadOptions,
) -> anyhow::Result<Model> {
    let options = LoadOptions { quant, stretch: true, ..options };
    match &subject.weights {
        Weights::Demo => open::load(gpu, &open::Source::Demo, &options),
        Weights::Path(path) => open::load(gpu, &open::Source::Path(PathBuf::from(path)), &options),
        Weights::Random => {
            let bar = open::bar(1, "making weights {wide_bar} {bytes}/{total_bytes}");
            let model = Model::random(gpu, subject.spec().clone(), &options, &mut |done, total| {
                bar.set_length(total);
                bar.set_position(done);
                !interrupt::requested()
            });
            bar.finish_and_clear();
            Ok(model?)
        }
    }
}

/// Runs the command.
pub(super) fn run(args: &BenchArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    match &args.what {
        Some(BenchCommand::Kernels(args)) => bench_kernels::run(args, device, exit),
        Some(BenchCommand::Plan(args)) => bench_plan::run(args, device, exit),
        Some(BenchCommand::Load(args)) => bench_load::run(args, device, exit),
        None => measure(&args.speed, device, exit),
    }
}

fn measure(args: &SpeedArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    let none = |list: &[usize]| !list.is_empty() && list.iter().all(|n| *n == 0);
    if none(&args.n_prompt) && none(&args.n_gen) {
        bail!("nothing to measure: -p and -n are both 0");
    }
    let subject = Subject::of(&args.model)?;
    let positions = args.load.positions(subject.spec().max_context);
    // What the adapter decides, where nothing is asked for, is at least this.
    let least = |list: &[usize]| list.iter().copied().max().unwrap_or(0);
    let longest = least(&args.n_depth) + least(&args.n_prompt).max(least(&args.n_gen)) + 1;
    if let Some(context) = positions.filter(|context| *context < longest) {
        bail!("--ctx {context}: the tests need {longest} positions");
    }
    let gpu = open::gpu(device)?;
    interrupt::install(exit)?;
    let slow = gpu.facts().kind == crate::base::AdapterKind::Cpu;
    let or = |list: &[usize], default: usize| if list.is_empty() { vec![default] } else { list.to_vec() };
    let prompts = or(&args.n_prompt, if slow { 64 } else { 512 });
    let gens = or(&args.n_gen, if slow { 32 } else { 128 });
    let mut tests = Vec::new();
    for n_depth in &args.n_depth {
        for n in prompts.iter().filter(|n| **n > 0) {
            tests.push(Test { n_prompt: *n, n_gen: 0, n_depth: *n_depth, batch: 1 });
        }
        for batch in &args.batch {
            for n in gens.iter().filter(|n| **n > 0) {
                tests.push(Test { n_prompt: 0, n_gen: *n, n_depth: *n_depth, batch: *batch });
            }
        }
    }
    check_positions(&subject, &tests)?;
    let needed = tests.iter().map(|t| t.n_depth + t.n_prompt + t.n_gen + 1).max().unwrap_or(1);
    let mut options = args.load.options();
    let context = positions.unwrap_or(needed);
    if context < needed {
        bail!("--ctx {context}: the tests need {needed} positions");
    }
    options.context = Some(context);
    let quant = options.quant.or(subject.quant);
    let model = load(&gpu, &subject, quant, options)?;
    let machine = match args.no_plan {
        true => None,
        false => {
            let setting = Setting {
                quants: vec![quant.or((subject.weights == Weights::Random).then_some(DType::F16))],
                batches: tests.iter().map(|t| t.batch).collect(),
                context,
                prompt: 1,
                kv: model.sizes().kv,
                chunk: None,
            };
            let wanted = wanted(&subject, &setting, model.sizes().chunk);
            Some(Machine::Measured(Box::new(profiles::ensure(&gpu, &wanted)?)))
        }
    };
    let output = if args.json { Format::Json } else { args.output };
    let mut records = Vec::new();
    let bar = open::bar((tests.len() * args.repetitions) as u64, "{msg:20} {wide_bar} {elapsed}");
    for (i, test) in tests.iter().enumerate() {
        bar.set_message(bench_text::test_name(test));
        let samples = speed::run(&model, *test, args.repetitions, &mut |done| {
            bar.set_position((i * args.repetitions + done) as u64);
            !interrupt::requested()
        })?;
        let predicted_s = machine.as_ref().map(|machine| predict(machine, &subject, &model, quant, test));
        let record = Record::new(&subject, &model, samples, machine.as_ref(), predicted_s.transpose()?);
        if output == Format::Jsonl {
            print(&bench_text::jsonl(&record)?)?;
        }
        records.push(record);
    }
    bar.finish_and_clear();
    match output {
        Format::Md => print(&bench_text::markdown(&records))?,
        Format::Wide => print(&bench_text::wide(&records))?,
        Format::Csv => print(&bench_text::csv(&records)?)?,
        Format::Json => super::print_json(&records)?,
        Format::Jsonl => {}
    }
    Ok(DONE)
}

/// Refuses tests beyond the positions that the model was trained for: their speed is that of no use of it.
fn check_positions(subject: &Subject, tests: &[Test]) -> anyhow::Result<()> {
    let most = subject.spec().max_context;
    let Some(test) = tests.iter().find(|t| t.n_depth + t.n_prompt + t.n_gen > most) else { return Ok(()) };
    let (flag, tokens) = if test.n_prompt > 0 { ("-p", test.n_prompt) } else { ("-n", test.n_gen) };
    bail!(
        "{flag} {tokens} behind -d {}: expected at most {most} positions together, what {} was trained for",
        test.n_depth,
        subject.described.name
    )
}

/// Seconds that the planner gives a test.
fn predict(
    machine: &Machine,
    subject: &Subject,
    model: &Model,
    quant: Option<DType>,
    test: &Test,
) -> anyhow::Result<f64> {
    let made_up = (subject.weights == Weights::Random).then_some(DType::F16);
    let matrices = Matrices::of(subject.spec(), &|name| subject.stored(name), quant.or(made_up));
    let (kv, chunk) = (model.sizes().kv, model.sizes().chunk);
    let load = Load { spec: subject.spec(), matrices: &matrices, kv, chunk };
    let mut seconds = 0.0;
    if test.n_prompt > 0 {
        let (work, constants) = machine.prompt(&load, test.n_depth, test.n_prompt)?;
        seconds += form::time(&work, &constants).total();
    }
    if test.n_gen > 0 {
        let middle = test.n_depth + test.n_gen / 2;
        let (work, constants) = machine.decode(&load, test.batch, middle)?;
        seconds += test.n_gen as f64 * form::time(&work, &constants).total();
    }
    Ok(seconds)
}
