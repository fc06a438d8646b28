//! The common result of every file format: named tensors in memory-mapped files, plus metadata.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::base::DType;

/// A tensor in an archive. `shape` is row-major, outermost first: a weight matrix that maps
/// `cols` inputs to `rows` outputs is `[rows, cols]` (GGUF's reversed order is undone on reading).
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Name as written in the file.
    pub name: String,
    /// Element encoding.
    pub dtype: DType,
    /// Row-major shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Which of the archive's files holds it.
    pub file: usize,
    /// Byte range in that file; checked against the file's length when the archive was opened.
    pub range: Range<usize>,
}

/// Named tensors over memory-mapped files.
pub struct Archive {
    /// By name.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// What the file says of the model beside its tensors.
    pub metadata: Metadata,
}

/// Metadata of an archive, by origin.
pub enum Metadata {
    /// A Hugging Face folder: parsed `config.json` and the folder's other JSON files, where present.
    HuggingFace,
    /// GGUF key/value pairs.
    Gguf,
}
