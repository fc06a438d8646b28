//! The common result of every file format: named tensors in memory-mapped files, plus metadata.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::error::{FormatError, Result};
use super::gguf::{self, GgufMetadata};
use super::hf::HfFolder;
use super::open::{self, Need, Parts};
use super::safetensors;
use super::source::Source;
use crate::base::DType;

/// A tensor in an archive. `shape` is row-major, outermost first: a weight matrix that maps
/// `cols` inputs to `rows` outputs is `[rows, cols]` (GGUF's reversed order is undone on reading).
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Name as written in the file.
    pub name: String,
    /// Element encoding.
    pub dtype: DType,
    /// Row-major shape, outermost dimension first. Never empty for GGUF; `[]` is a safetensors scalar.
    /// The product is checked: `4 · product` fits a `usize`.
    pub shape: Vec<usize>,
    /// Which of the archive's files holds it.
    pub file: usize,
    /// Byte range in that file; checked against the file's length when the archive was opened.
    pub range: Range<usize>,
}

impl TensorInfo {
    /// Number of elements.
    pub fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A tensor whose type cannot be decoded. It does no harm until it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsupportedTensor {
    /// Name as written in the file.
    pub name: String,
    /// Type as the file names it: `F64`, `IQ2_XS (ggml type 17)`.
    pub type_name: String,
    /// Row-major shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Which of the archive's files holds it.
    pub file: usize,
}

/// Named tensors over memory-mapped files.
#[derive(Debug)]
pub struct Archive {
    /// By name.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// By name: those that [`Archive::tensor`] refuses.
    pub unsupported: BTreeMap<String, UnsupportedTensor>,
    /// What the file says of the model beside its tensors.
    pub metadata: Metadata,
    /// The path as it was given.
    pub name: String,
    /// Indexed by [`TensorInfo::file`].
    sources: Vec<Source>,
}

/// Metadata of an archive, by origin.
#[derive(Debug)]
pub enum Metadata {
    /// A Hugging Face folder: parsed `config.json` and the folder's other JSON files, where present.
    HuggingFace(Box<HfFolder>),
    /// GGUF key/value pairs.
    Gguf(GgufMetadata),
}

impl Archive {
    /// Opens a Hugging Face folder, a GGUF file (or part of a split one), a folder with one GGUF model, or a
    /// safetensors file that has its `config.json` beside it. Reads headers only.
    pub fn open(path: &Path) -> Result<Archive> {
        open::path(path, Need::Bytes).map(Archive::from_parts)
    }

    /// Opens a model from named files in memory, as if they were a folder: `config.json` and
    /// `model.safetensors`, or GGUF. Names are plain file names.
    pub fn from_memory<N, B>(files: impl IntoIterator<Item = (N, B)>) -> Result<Archive>
    where
        N: Into<String>,
        B: Into<Cow<'static, [u8]>>,
    {
        open::memory(files, Need::Bytes).map(Archive::from_parts)
    }

    fn from_parts(parts: Parts) -> Archive {
        let Tensors { supported, unsupported } = parts.tensors;
        let Parts { metadata, name, sources, .. } = parts;
        Archive { tensors: supported, unsupported, metadata, name, sources }
    }

    /// The encoded bytes of a tensor of this archive. No alignment is promised.
    ///
    /// # Panics
    /// When `tensor` comes from another archive and its range does not exist here.
    pub fn bytes(&self, tensor: &TensorInfo) -> &[u8] {
        &self.sources[tensor.file].bytes()[tensor.range.clone()]
    }

    /// Is there a tensor of this name, decodable or not?
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name) || self.unsupported.contains_key(name)
    }

    /// The tensor of this name, or an error that says why there is none.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        if let Some(tensor) = self.tensors.get(name) {
            return Ok(tensor);
        }
        if let Some(tensor) = self.unsupported.get(name) {
            return Err(FormatError::UnsupportedType {
                file: self.sources[tensor.file].name().into(),
                tensor: name.into(),
                type_name: tensor.type_name.clone(),
                supported: match self.metadata {
                    Metadata::HuggingFace(_) => safetensors::SUPPORTED.into(),
                    Metadata::Gguf(_) => gguf::types::supported(),
                },
            });
        }
        // The same last two parts of the name (`q_proj.weight`) hint at a different naming scheme.
        let tail = |name: &str| name.rsplit('.').take(2).map(str::to_string).collect::<Vec<_>>();
        let similar = self.tensors.keys().find(|key| tail(key) == tail(name)).or(self.tensors.keys().next());
        Err(FormatError::MissingTensor {
            archive: self.name.clone(),
            tensor: name.into(),
            n_tensors: self.tensors.len() + self.unsupported.len(),
            similar: similar.map(|s| format!(", e.g. '{s}'")).unwrap_or_default(),
        })
    }

    /// The tensor of this name, which must have this shape.
    pub fn tensor_of_shape(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo> {
        let tensor = self.tensor(name)?;
        if tensor.shape == shape {
            return Ok(tensor);
        }
        Err(FormatError::Shape {
            archive: self.name.clone(),
            tensor: name.into(),
            expected: shape.into(),
            found: tensor.shape.clone(),
        })
    }

    /// Names of the files, indexed by [`TensorInfo::file`].
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(Source::name)
    }
}

/// Tensors of several files, collected under distinct names.
#[derive(Default)]
pub(super) struct Tensors {
    pub(super) supported: BTreeMap<String, TensorInfo>,
    pub(super) unsupported: BTreeMap<String, UnsupportedTensor>,
}

impl Tensors {
    /// Is there a tensor of this name, decodable or not?
    pub(super) fn contains(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// Row-major shape of the tensor of this name, decodable or not.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        let supported = self.supported.get(name).map(|tensor| &tensor.shape[..]);
        supported.or_else(|| self.unsupported.get(name).map(|tensor| &tensor.shape[..]))
    }

    /// Adds the tensors of file number `file`.
    pub(super) fn add(
        &mut self,
        file: usize,
        source: &Source,
        supported: Vec<TensorInfo>,
        unsupported: Vec<UnsupportedTensor>,
    ) -> Result<()> {
        let duplicate = |name| FormatError::Duplicate {
            file: source.name().into(),
            what: "tensor",
            name,
            next: "the file is damaged, or parts of different models are mixed: download it again",
        };
        for tensor in supported {
            if let Some(old) = self.supported.insert(tensor.name.clone(), TensorInfo { file, ..tensor }) {
                return Err(duplicate(old.name));
            }
        }
        for tensor in unsupported {
            let name = tensor.name.clone();
            let old = self.unsupported.insert(name.clone(), UnsupportedTensor { file, ..tensor });
            if old.is_some() || self.supported.contains_key(&name) {
                return Err(duplicate(name));
            }
        }
        // A later part may hold as supported what an earlier one holds as unsupported.
        match self.unsupported.keys().find(|name| self.supported.contains_key(*name)) {
            Some(name) => Err(duplicate(name.clone())),
            None => Ok(()),
        }
    }
}
