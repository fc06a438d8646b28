//! Adapter and model, opened with what a person wants to see meanwhile.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::DeviceArgs;
use super::interrupt;
use super::printable::escaped;
use super::think::dim;
use super::wait::Wait;
pub(super) use super::wait::bar;
use crate::base::AdapterKind;
use crate::engine::{EngineError, LoadOptions, Model, Opened, Session, cache, first_use};
use crate::gpu::{AdapterChoice, Gpu, GpuError};
pub(super) use crate::plan::choose::bytes;

/// Nothing but errors goes to stderr (`--quiet`).
static QUIET: AtomicBool = AtomicBool::new(false);

/// Where the model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Inside of the program.
    Demo,
    /// A folder or file.
    Path(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Demo => f.write_str("demo model"),
            Source::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// From now on only errors are said.
pub(super) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Are only errors said?
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// One line on stderr, unless `--quiet`.
pub(super) fn note(text: &str) {
    if !is_quiet() {
        say(text);
    }
}

/// One line on stderr about an answer or the adapter, dim where that is possible, unless `--quiet`.
pub(super) fn aside(text: &str) {
    if !is_quiet() {
        tell(&format!("{}\n", dim(&escaped(text))));
    }
}

/// One line on stderr in any case: an error, or the answer to a command of a chat. What a file says in
/// it cannot order a terminal about.
pub(super) fn say(text: &str) {
    tell(&format!("anygpu: {}\n", escaped(text)));
}

/// The program's own text on stderr, as it is: text from files goes through [`escaped`] first. Nobody may be listening there: that is no reason to stop.
pub(super) fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Opens the adapter with what is known of it. Sessions verify the kernels that they run.
pub(super) fn gpu(args: &DeviceArgs) -> anyhow::Result<Gpu> {
    gpu_of(&args.choice(), args)
}

/// As [`gpu`], for another choice than the arguments'.
pub(super) fn gpu_of(choice: &AdapterChoice, args: &DeviceArgs) -> anyhow::Result<Gpu> {
    let gpu = Gpu::open(choice, args.options())?;
    let facts = gpu.facts();
    if facts.kind == AdapterKind::Cpu {
        aside(&format!("{} is a software adapter, so this runs on the CPU: {}", facts.id(), gpu.why()));
    }
    first_use::begin(&gpu).notices(&gpu).iter().for_each(|notice| note(notice));
    Ok(gpu)
}

/// As [`gpu_of`], for commands that run kernels without a session: the short form of `verify` ran.
pub(super) fn verified_gpu_of(choice: &AdapterChoice, args: &DeviceArgs) -> anyhow::Result<Gpu> {
    let gpu = gpu_of(choice, args)?;
    let mut wait = Wait::new("checking the kernels, once for this driver");
    let found = first_use::ensure_short_form(&gpu, &mut |done, total| wait.show(done as u64, total as u64));
    wait.end();
    found?.notices(&gpu).iter().for_each(|notice| note(notice));
    Ok(gpu)
}

/// A session, whose kernels are verified if that was not done before.
pub(super) fn session(model: &Model) -> anyhow::Result<Session<'_>> {
    let mut wait = Wait::new("checking the kernels, once for this driver");
    let session = Session::new_with(model, &mut |done, total| wait.show(done as u64, total as u64));
    wait.end();
    let mut session = session?;
    tell_found(&mut session);
    Ok(session)
}

/// Says what verification found wrong meanwhile: kernels of steps are verified when the first word is out.
pub(super) fn tell_found(session: &mut Session<'_>) {
    session.take_notices().iter().for_each(|notice| note(notice));
}

/// Opens and loads the model; Ctrl-C cancels.
pub(super) fn load(gpu: &Gpu, source: &Source, options: &LoadOptions) -> anyhow::Result<Model> {
    let opened = match source {
        Source::Demo => Opened::demo(),
        Source::Path(path) => Opened::open(path),
    };
    load_opened(gpu, source, opened.map_err(|error| explained(error, source))?, options)
}

/// Loads a model whose files were opened before; Ctrl-C cancels.
pub(super) fn load_opened(
    gpu: &Gpu,
    source: &Source,
    opened: Opened,
    options: &LoadOptions,
) -> anyhow::Result<Model> {
    let mut wait = Wait::for_bytes("loading");
    let loaded = Model::from_opened(gpu, opened, options, &mut |done, total| {
        wait.show(done, total);
        !interrupt::requested()
    });
    wait.end();
    let model = loaded.map_err(|error| explained(error, source))?;
    model.notices().iter().for_each(|notice| note(notice));
    Ok(model)
}

/// An error of opening or loading, with the model's name where the message lacks it.
pub(super) fn explained(error: EngineError, source: &Source) -> anyhow::Error {
    match error {
        // The messages of the formats name the file themselves; options have nothing to do with it.
        error @ (EngineError::Cancelled | EngineError::Format(_) | EngineError::BadOption { .. }) => {
            error.into()
        }
        error => anyhow::Error::from(error).context(source.to_string()),
    }
}

/// Why something ended; that somebody stopped it is no failure.
pub(super) fn stopped(error: GpuError) -> anyhow::Error {
    match error {
        GpuError::Stopped => EngineError::Cancelled.into(),
        other => other.into(),
    }
}

/// Says once that what was learnt cannot be kept, if that is so.
pub(super) fn tell_cache_failure() {
    if let Some((path, error)) = cache::first_failure() {
        note(&format!(
            "nothing is kept for the next run: {}: {error}; ANYGPU_CACHE names another folder",
            path.display()
        ));
    }
}
