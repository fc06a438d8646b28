//! What is planned or measured: a model's files, a header alone, or a shape by name.

use std::path::{Path, PathBuf};

use super::find;
use crate::base::DType;
use crate::engine::model::DEMO_FILES;
use crate::engine::quality::{self, QualityReport};
use crate::formats::{Archive, Header};
use crate::model::shapes::{PREFIX, ShapeRef};
use crate::model::{Described, ModelError, ModelSpec};
use crate::plan::table::QUANTS;

/// Name of the built-in model.
pub(super) const DEMO: &str = "demo";

/// Does it mean the built-in model? A file or folder of that name goes first.
pub(super) fn is_demo(path: &Path) -> bool {
    path.as_os_str() == DEMO && !path.exists()
}

/// The shape that somebody means who left out its prefix.
fn likely_shape(text: &str) -> Option<String> {
    match ShapeRef::parse(&format!("{PREFIX}{text}"))? {
        Ok(shape) => Some(shape.to_string()),
        Err(ModelError::UnknownShape { nearest, .. }) => {
            nearest.first().map(|name| format!("{PREFIX}{name}"))
        }
        Err(_) => None,
    }
}

/// A model, known well enough to plan it.
pub(super) struct Subject {
    /// What it is.
    pub(super) described: Described,
    /// Where its weights are.
    pub(super) weights: Weights,
    /// Type that its name asks for.
    pub(super) quant: Option<DType>,
}

/// Where weights come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// Built in.
    Demo,
    /// Files.
    Path(PathBuf),
    /// Nowhere: made up when something runs.
    Random,
}

impl Subject {
    /// `demo`, `shape:NAME[:quant]`, or a path to a model, a GGUF header or a `config.json`.
    pub(super) fn of(text: &str) -> anyhow::Result<Subject> {
        if is_demo(Path::new(text)) {
            let mut described = Described::from_header(&Header::from_memory(DEMO_FILES)?)?;
            described.name = "demo model".to_owned();
            return Ok(Subject { described, weights: Weights::Demo, quant: None });
        }
        if let Some(shape) = ShapeRef::parse(text) {
            let shape = shape?;
            let described = Described::from_shape(&shape)?;
            return Ok(Subject { described, weights: Weights::Random, quant: shape.quant });
        }
        if let (false, Some(shape)) = (Path::new(text).exists(), likely_shape(text)) {
            anyhow::bail!("{text}: no such file or folder; did you mean {shape}?");
        }
        let path = find::path(text)?;
        let described = Described::from_header(&Header::open(&path)?)?;
        Ok(Subject { described, weights: Weights::Path(path), quant: None })
    }

    /// The model.
    pub(super) fn spec(&self) -> &ModelSpec {
        &self.described.spec
    }

    /// Type of a tensor in the file.
    pub(super) fn stored(&self, tensor: &str) -> DType {
        self.described.stored.get(tensor).copied().unwrap_or(DType::F16)
    }

    /// Are the weights numbers of 16 or 32 bits, which can be quantized while loading?
    pub(super) fn is_float(&self) -> bool {
        self.described.stored.values().all(|dtype| dtype.is_float())
    }

    /// What can be chosen from, best first; `None`: as stored.
    pub(super) fn quants(&self) -> Vec<Option<DType>> {
        if self.weights == Weights::Random {
            return QUANTS.map(Some).into();
        }
        if !self.is_float() {
            return vec![None];
        }
        let tensors = self.spec().expected_tensors();
        let mut matrices = tensors.iter().filter(|(_, shape)| shape.len() == 2);
        let wide = matrices.any(|(name, _)| self.stored(name) == DType::F32);
        let below = QUANTS.into_iter().filter(|dtype| wide || *dtype != DType::F16);
        std::iter::once(None).chain(below.map(Some)).collect()
    }

    /// What `anygpu quality` found out about it.
    pub(super) fn quality(&self) -> Option<QualityReport> {
        let archive = match &self.weights {
            Weights::Demo => Archive::from_memory(DEMO_FILES).ok()?,
            Weights::Path(path) => Archive::open(path).ok()?,
            Weights::Random => return None,
        };
        quality::kept(quality::fingerprint(&archive))
    }
}
