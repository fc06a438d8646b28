//! Adapter and model, opened with what a person wants to see meanwhile.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{DeviceArgs, LoadArgs};
use super::interrupt;
use super::printable::escaped;
use super::subject::is_demo;
use crate::base::AdapterKind;
use crate::engine::{EngineError, LoadOptions, Model, first_use};
use crate::gpu::{AdapterChoice, Gpu};
pub(super) use crate::plan::choose::bytes;

/// A bar appears only when loading takes longer than this.
const PATIENCE: Duration = Duration::from_millis(700);

/// Where the model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Inside of the program.
    Demo,
    /// A folder or file.
    Path(PathBuf),
}

impl Source {
    /// `demo`, or a path to a model.
    pub(super) fn of(text: impl Into<PathBuf>) -> Source {
        let path = text.into();
        if is_demo(&path) { Source::Demo } else { Source::Path(path) }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Demo => f.write_str("demo model"),
            Source::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// One line on stderr. What a file says in it cannot order a terminal about.
pub(super) fn note(text: &str) {
    tell(&format!("anygpu: {}\n", escaped(text)));
}

/// The program's own text on stderr, as it is: text from files goes through [`escaped`] first. Nobody may be listening there: that is no reason to stop.
pub(super) fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Opens the adapter and verifies it, if that was not done before.
pub(super) fn gpu(args: &DeviceArgs) -> anyhow::Result<Gpu> {
    gpu_of(&args.choice(), args)
}

/// As [`gpu`], for another choice than the arguments'.
pub(super) fn gpu_of(choice: &AdapterChoice, args: &DeviceArgs) -> anyhow::Result<Gpu> {
    let gpu = Gpu::open(choice, args.options())?;
    let facts = gpu.facts();
    if facts.kind == AdapterKind::Cpu {
        note(&format!("{} is a software adapter, so this runs on the CPU: {}", facts.id(), gpu.why()));
    }
    let (verdict, fresh) = first_use::ensure_verified(&gpu)?;
    let list = |classes: &BTreeSet<String>| classes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if !verdict.need_checks.is_empty() {
        let wrong = list(&verdict.need_checks);
        note(&format!(
            "{} computes wrongly with {wrong} when shaders lack runtime checks: they are kept, as with --checked",
            facts.id()
        ));
    }
    if !verdict.failed_classes.is_empty() {
        let failed = list(&verdict.failed_classes);
        note(&format!("{} computes wrongly with {failed}: not used (see `anygpu verify`)", facts.id()));
    } else if fresh {
        note(&format!("first use of {}: {} kernel checks passed", facts.id(), verdict.checks));
    }
    Ok(gpu)
}

/// Loads the model; Ctrl-C cancels.
pub(super) fn model(gpu: &Gpu, source: &Source, args: &LoadArgs) -> anyhow::Result<Model> {
    load(gpu, source, &args.options())
}

/// As [`model`], with options made elsewhere.
pub(super) fn load(gpu: &Gpu, source: &Source, options: &LoadOptions) -> anyhow::Result<Model> {
    let model = match source {
        Source::Demo => Model::demo(gpu, options),
        Source::Path(path) => {
            let mut bar = LoadBar::new();
            let loaded = Model::load(gpu, path, options, &mut |done, total| {
                bar.show(done, total);
                !interrupt::requested()
            });
            bar.end();
            loaded
        }
    };
    let model = model.map_err(|error| match (error, source) {
        (EngineError::Cancelled, _) => EngineError::Cancelled.into(),
        // The messages of the formats name the file themselves; options have nothing to do with it.
        (error @ (EngineError::Format(_) | EngineError::BadOption { .. }), _) => anyhow::Error::from(error),
        (error, source) => anyhow::Error::from(error).context(source.to_string()),
    })?;
    model.notices().iter().for_each(|notice| note(notice));
    Ok(model)
}

/// A progress bar for slow loads.
struct LoadBar {
    started: Instant,
    bar: Option<ProgressBar>,
}

impl LoadBar {
    fn new() -> LoadBar {
        LoadBar { started: Instant::now(), bar: None }
    }

    fn show(&mut self, done: u64, total: u64) {
        if self.bar.is_none() && self.started.elapsed() > PATIENCE && done < total {
            self.bar = Some(bar(total, "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"));
        }
        if let Some(bar) = &self.bar {
            bar.set_message("loading");
            bar.set_position(done);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A progress bar on stderr, hidden when that is no terminal.
pub(super) fn bar(total: u64, template: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar
}
