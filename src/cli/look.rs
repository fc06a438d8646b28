//! A look at a model before any adapter is opened: what can be refused without a GPU is refused
//! here.

use super::args::{DeviceArgs, LoadArgs};
use super::find;
use super::open::{self, Source};
use crate::base::DType;
use crate::engine::{Model, Opened};
use crate::gpu::{Gpu, adapter};

/// Weights from which on looking for adapters once more costs little beside loading.
const LARGE_BYTES: u64 = 256 << 20;

/// A model and how it is to be loaded.
pub(super) struct Looked {
    pub(super) source: Source,
    pub(super) opened: Opened,
    /// As asked for, with the positions that 0 means for this model.
    pub(super) load: LoadArgs,
}

/// Opens the files of the model that `text` names.
pub(super) fn at(text: &str, load: &LoadArgs) -> anyhow::Result<Looked> {
    of(find::source(text)?, load)
}

/// As [`at`], where the files were found already.
pub(super) fn of(source: Source, load: &LoadArgs) -> anyhow::Result<Looked> {
    let opened = match &source {
        Source::Demo => Opened::demo(),
        Source::Path(path) => Opened::open(path),
    };
    let opened = opened.map_err(|error| open::explained(error, &source))?;
    let load = load.of(opened.spec().max_context);
    opened.context(&load.options())?;
    Ok(Looked { source, opened, load })
}

impl Looked {
    /// Positions of a session.
    pub(super) fn context(&self) -> anyhow::Result<usize> {
        Ok(self.opened.context(&self.load.options())?)
    }

    /// Refuses a prompt that does not fit.
    pub(super) fn check_prompt(&self, n_tokens: usize) -> anyhow::Result<()> {
        Ok(self.opened.check_prompt(n_tokens, self.context()?)?)
    }

    /// Refuses a model that does not fit in any of `quants`, where that is worth looking for the
    /// adapter first.
    pub(super) fn check_memory(&self, device: &DeviceArgs, quants: &[Option<DType>]) -> anyhow::Result<()> {
        let bytes: u64 = self.opened.archive().tensors.values().map(|t| t.range.len() as u64).sum();
        if self.load.memory.is_none() && bytes < LARGE_BYTES {
            return Ok(());
        }
        let (adapter, _) = adapter::choose(&device.choice())?;
        let fits = self.opened.check_memory(&adapter.facts, quants, &self.load.options());
        fits.map_err(|error| open::explained(error, &self.source))
    }

    /// Loads it.
    pub(super) fn load(self, gpu: &Gpu) -> anyhow::Result<Model> {
        let options = self.load.options();
        open::load_opened(gpu, &self.source, self.opened, &options)
    }
}
