//! `anygpu tune`: find the fastest variants of kernels on an adapter, and keep them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::about::About;
use super::args::DeviceArgs;
use super::bench_text::table;
use super::subject::Subject;
use super::{DONE, Exit, NEGATIVE, interrupt, open, print, print_json, profiles, unix_time};
use crate::base::{AdapterKind, DType};
use crate::engine::EngineError;
use crate::engine::model::default_chunk;
use crate::engine::tuned::{self, Tuning};
use crate::gpu::{Gpu, GpuError};
use crate::kernels::variants::{Class, MatvecClass, Variants};
use crate::kernels::weights::NATIVE;
use crate::plan::choose::figure;
use crate::probe::tune::{self, Choice, Layer};

/// What most models' weights are.
const TYPES: [DType; 5] = [DType::Q4_0, DType::Q4K, DType::Q6K, DType::Q8_0, DType::F16];
/// Kept for a class that was tried and stays as it is by default, whatever that will be in a later version.
const UNTUNED: &str = "default";
/// How long it may take on a GPU, seconds.
const LONG_S: f64 = 30.0;
/// The same of the short form before a first run.
const SHORT_S: f64 = 3.0;

#[derive(Args)]
pub(super) struct TuneArgs {
    /// For layers of the sizes of this model, and its weight types: a model folder or .gguf file, shape:NAME[:quant], or demo
    /// [default: sizes that many small models have]
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// Weight types, several with commas [default: the model's, or q4_0,q4_k,q6_k,q8_0,f16]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = native_type)]
    types: Vec<DType>,
    /// Change nothing: hold what was found before against the defaults, side by side. Exit code 1: some of it is slower
    #[arg(long, conflicts_with = "forget")]
    check: bool,
    /// Back to the defaults
    #[arg(long, conflicts_with_all = ["model", "types", "out", "json"])]
    forget: bool,
    /// Also write the result (JSON) to this file
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn native_type(text: &str) -> Result<DType, String> {
    let known = DType::from_spelling(text).filter(|dtype| NATIVE.contains(dtype));
    known.ok_or_else(|| format!("expected some of {}", NATIVE.map(DType::name).join(",")))
}

/// Runs the command.
pub(super) fn run(args: &TuneArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    if device.untuned {
        anyhow::bail!("--untuned ignores what `tune` finds: leave one of them out, or see `tune --forget`");
    }
    interrupt::install(exit)?;
    let subject = args.model.as_deref().map(Subject::of).transpose()?;
    let choices = device.choices();
    let mut objects = Vec::new();
    let mut slower = false;
    for choice in &choices {
        let gpu = open::verified_gpu_of(choice, device)?;
        if args.forget {
            tuned::forget(&gpu).context("what was tuned could not be removed")?;
            profiles::forget_tuned(&gpu);
            open::note(&format!("{}: kernels run as by default", gpu.facts().id()));
            continue;
        }
        let layer = subject.as_ref().map_or_else(|| typical(&gpu), |subject| layer_of(&gpu, subject));
        let found = match one(&gpu, args, subject.as_ref(), layer) {
            Ok(found) => found,
            Err(error)
                if choices.len() > 1 && !matches!(error.downcast_ref(), Some(EngineError::Cancelled)) =>
            {
                open::note(&format!("{error:#}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        slower |= args.check && found.iter().any(Choice::is_slower);
        if !args.json {
            print(&text(&gpu, &found, args.check))?;
        }
        objects.push(About::this(Some(&gpu)).before(json!({
            "unix_time": unix_time(), "check": args.check, "layer": layer, "classes": found,
        })));
    }
    if args.forget {
        return Ok(DONE);
    }
    if objects.is_empty() {
        anyhow::bail!("no adapter could be tuned");
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

fn one(gpu: &Gpu, args: &TuneArgs, subject: Option<&Subject>, layer: Layer) -> anyhow::Result<Vec<Choice>> {
    let types = match (subject, args.types.is_empty()) {
        (_, false) => args.types.clone(),
        (Some(subject), true) => types_of(subject, subject.quant),
        (None, true) => TYPES.to_vec(),
    };
    if types.is_empty() {
        anyhow::bail!(
            "kernels compute with no type of this model as it is stored: name those that it shall have with --types"
        );
    }
    let of_type = |dtype: &DType| {
        let matvec = MatvecClass::COLUMNS.map(|columns| MatvecClass { dtype: *dtype, columns });
        matvec.map(Class::Matvec).into_iter().chain([Class::Prompt(*dtype)])
    };
    let all = std::iter::once(Class::Attention).chain(types.iter().flat_map(of_type));
    if !args.check {
        let most_s = (gpu.facts().kind != AdapterKind::Cpu).then_some(LONG_S);
        return tune_all(gpu, layer, &all.collect::<Vec<_>>(), most_s);
    }
    let kept = tuned::kept(gpu).unwrap_or_default();
    let classes: Vec<Class> = all.filter(|class| kept.contains_key(&class.name())).collect();
    if classes.is_empty() {
        anyhow::bail!("{}: nothing of this was tuned yet; `anygpu tune` does", gpu.facts().id());
    }
    let lacks = |dtype: &&DType| !of_type(dtype).any(|class| kept.contains_key(&class.name()));
    if let Some(dtype) = args.types.iter().find(lacks) {
        anyhow::bail!("{}: {dtype} was never tuned; `anygpu tune --types {dtype}` does", gpu.facts().id());
    }
    let bar = Bar::new(classes.len());
    let mut found = Vec::new();
    for class in classes {
        if !bar.next(class) {
            return Err(EngineError::Cancelled.into());
        }
        let choice = tune::compare(gpu, layer, class)?;
        let name = &kept[&choice.class];
        if *name != choice.tuned && *name != UNTUNED {
            open::note(&format!("{}: {name} cannot be used here; {} runs", choice.class, choice.tuned));
        }
        found.push(choice);
    }
    Ok(found)
}

/// Tunes class by class and keeps what was found at once: whoever stops it has what was done. What does not fit into
/// `most_s` seconds keeps its default.
fn tune_all(gpu: &Gpu, layer: Layer, classes: &[Class], most_s: Option<f64>) -> anyhow::Result<Vec<Choice>> {
    let deadline = most_s.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let bar = Bar::new(classes.len());
    let mut found = Vec::new();
    for class in classes {
        if !bar.next(*class) {
            return Err(EngineError::Cancelled.into());
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            open::note(&format!("no time left for {} and what follows: `--types` takes fewer", class.name()));
            break;
        }
        let choice = match tune::tune(gpu, layer, *class, deadline, &mut || !interrupt::requested()) {
            Err(GpuError::Stopped) => return Err(EngineError::Cancelled.into()),
            other => other?,
        };
        keep(gpu, &choice);
        found.push(choice);
    }
    Ok(found)
}

/// A layer that is typical for such an adapter.
fn typical(gpu: &Gpu) -> Layer {
    let kind = gpu.facts().kind;
    Layer::typical(kind, default_chunk(kind) as u32)
}

/// A layer of the model.
fn layer_of(gpu: &Gpu, subject: &Subject) -> Layer {
    let (spec, prompt) = (subject.spec(), typical(gpu).prompt);
    let heads = spec.n_heads * spec.head_dim;
    let qkv = heads + 2 * spec.n_kv_heads * spec.head_dim;
    Layer { hidden: spec.hidden, qkv, heads, inter: spec.intermediate, prompt }
}

/// Types of matrices that kernels compute with, float ones stored as `quant` asks; those of most weights first.
fn types_of(subject: &Subject, quant: Option<DType>) -> Vec<DType> {
    let mut weights: BTreeMap<DType, usize> = BTreeMap::new();
    for (name, shape) in subject.spec().expected_tensors().into_iter().filter(|(_, shape)| shape.len() == 2) {
        let stored = subject.stored(name);
        let dtype = quant.filter(|_| stored.is_float()).unwrap_or(stored);
        *weights.entry(dtype).or_default() += shape.iter().product::<usize>();
    }
    let mut types: Vec<DType> = weights.keys().copied().filter(|dtype| NATIVE.contains(dtype)).collect();
    types.sort_by_key(|dtype| std::cmp::Reverse(weights[dtype]));
    types
}

/// Progress over classes.
struct Bar(ProgressBar);

impl Bar {
    fn new(classes: usize) -> Bar {
        Bar(open::bar(classes as u64, "{msg:24} {wide_bar} {pos}/{len} {elapsed}"))
    }

    /// Shows the class that is next; false when somebody wants to stop.
    fn next(&self, class: Class) -> bool {
        self.0.inc(u64::from(!self.0.message().is_empty()));
        self.0.set_message(class.name());
        !interrupt::requested()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Uses and keeps what was found. A profile of other variants is none of this adapter any more.
fn keep(gpu: &Gpu, choice: &Choice) {
    for wrong in &choice.wrong {
        open::note(&format!("not used, because it computes wrongly: {wrong}"));
    }
    let kept = if choice.tuned == choice.default { UNTUNED } else { &choice.tuned };
    remember(gpu, &Tuning::from([(choice.class.clone(), kept.to_owned())]));
}

fn remember(gpu: &Gpu, tuning: &Tuning) {
    let before = Variants::of(gpu);
    if let Err(error) = tuned::keep(gpu, tuning) {
        open::note(&format!("what was found is used, but not kept: {error}"));
    }
    if Variants::of(gpu) != before {
        profiles::forget_tuned(gpu);
    }
}

/// Before a model is first measured on a GPU: tries variants for the type that it will mostly have, for one sequence, for a moment.
/// Nothing on software adapters: there it takes longer, and the defaults were measured on them. What goes wrong here is
/// no reason not to run the model: it is told, and not tried again.
pub(super) fn at_first_run(gpu: &Gpu, subject: &Subject, quant: Option<DType>) -> anyhow::Result<()> {
    if gpu.facts().kind == AdapterKind::Cpu || gpu.options().untuned {
        return Ok(());
    }
    let Some(dtype) = types_of(subject, quant).first().copied() else { return Ok(()) };
    let class = Class::Matvec(MatvecClass { dtype, columns: 1 });
    if tuned::kept(gpu).is_some_and(|kept| kept.contains_key(&class.name())) {
        return Ok(());
    }
    open::note(&format!("trying kernel variants on {}; `anygpu tune` does so at length", gpu.facts().id()));
    // The mark that it was tried comes first: whatever happens, the next run does without.
    remember(gpu, &Tuning::from([(class.name(), UNTUNED.to_owned())]));
    // Later models run what this one found: a tiny one shall not decide for them.
    let (own, typical) = (layer_of(gpu, subject), typical(gpu));
    let layer = if own.hidden < typical.hidden { typical } else { own };
    match tune_all(gpu, layer, &[class], Some(SHORT_S)) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.downcast_ref(), Some(EngineError::Cancelled)) => Err(error),
        Err(error) => match gpu.check() {
            Ok(()) => {
                open::note(&format!("kernels run as by default, because trying others failed: {error:#}"));
                Ok(())
            }
            Err(lost) => Err(lost.into()),
        },
    }
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
        "gain: time of the default ÷ time of the tuned variant, the median of pairs in turn; ms: a layer's four matrices (prompt: for {}\n\
         tokens), or its attention over 1024 positions",
        default_chunk(gpu.facts().kind)
    );
    out
}
