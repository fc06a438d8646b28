//! [`FormatError`]: everything that can be wrong with a model file, said so that the reader knows which
//! file, which part of it, what was expected, what was found and what to do next.

use crate::base::quote::{clip, clip_to, escape};

/// Longest description of a field, of what was expected or found, in characters.
const PHRASE_CHARS: usize = 300;

fn phrase(text: &str) -> String {
    clip_to(text, PHRASE_CHARS)
}

/// A model file or folder that cannot be used as it is.
///
/// `file` is the path as the user gave it (or the name within an in-memory folder); `offset` counts bytes
/// from the start of that file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused to open, map, list or write something.
    #[error("{}: cannot {action}: {reason}", escape(file))]
    Io {
        /// File or folder.
        file: String,
        /// What was tried: "open", "map", "list", "write".
        action: &'static str,
        /// The system's reason.
        reason: std::io::Error,
    },

    // --- finding the model ---------------------------------------------------------------------------
    /// The path is neither a model folder nor a model file.
    #[error("{}: no model here: {}; {next}", escape(path), phrase(found))]
    NoModel {
        /// The path given.
        path: String,
        /// What is there instead.
        found: String,
        /// What to do about it.
        next: String,
    },
    /// A file that another file of the model refers to is absent.
    #[error(
        "{}: refers to '{}', which is not in the same folder; download it too",
        escape(file),
        phrase(missing)
    )]
    MissingFile {
        /// The file that refers to it.
        file: String,
        /// The absent file.
        missing: String,
    },

    // --- damaged files -------------------------------------------------------------------------------
    /// The file ends before something its header promises.
    #[error(
        "{}: {} at byte {offset} needs {needed} bytes but the file ends at byte {len} \
         (truncated download? compare its size with the source)",
        escape(file),
        phrase(what)
    )]
    Truncated {
        /// The file.
        file: String,
        /// What was being read.
        what: String,
        /// Where it starts.
        offset: usize,
        /// Bytes it needs at least.
        needed: u64,
        /// Length of the file.
        len: usize,
    },
    /// A field has a value it cannot have.
    #[error(
        "{}: {} at byte {offset}: expected {}, found {}; {next}",
        escape(file),
        phrase(what),
        phrase(expected),
        phrase(found)
    )]
    Field {
        /// The file.
        file: String,
        /// Which field.
        what: String,
        /// Where it is.
        offset: usize,
        /// Values it may have.
        expected: Box<str>,
        /// Value it has.
        found: Box<str>,
        /// What to do about it.
        next: &'static str,
    },
    /// A tensor's bytes reach beyond the end of the file.
    #[error(
        "{}: tensor '{}': data ends at byte {end} but the file has {len} bytes \
         (truncated download? compare its size with the source)",
        escape(file),
        clip(tensor)
    )]
    TensorData {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// End of its data, absolute; saturated at `u64::MAX`.
        end: u64,
        /// Length of the file.
        len: usize,
    },
    /// A tensor's description contradicts itself, its neighbours or its encoding.
    #[error(
        "{}: tensor '{}': {what}: expected {}, found {}; {next}",
        escape(file),
        clip(tensor),
        phrase(expected),
        phrase(found)
    )]
    Tensor {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Which property.
        what: &'static str,
        /// Values it may have.
        expected: Box<str>,
        /// Value it has.
        found: Box<str>,
        /// What to do about it.
        next: &'static str,
    },
    /// The parts of a split model do not fit together.
    #[error(
        "{}: part of a split model: {}: expected {}, found {}; \
         put all parts of one download into one folder under their own names",
        escape(file),
        phrase(what),
        phrase(expected),
        phrase(found)
    )]
    Split {
        /// The part.
        file: String,
        /// Which property.
        what: String,
        /// Value it should have.
        expected: String,
        /// Value it has.
        found: String,
    },
    /// Two things of one name.
    #[error("{}: {what} '{}' occurs twice; {next}", escape(file), clip(name))]
    Duplicate {
        /// The file (the second one, where two are involved).
        file: String,
        /// "tensor", "metadata key".
        what: &'static str,
        /// The name.
        name: String,
        /// What to do about it.
        next: &'static str,
    },
    /// Text that should be JSON is not, or has another structure than its kind of file.
    #[error("{}: not valid {what}: {}", escape(file), phrase(&reason.to_string()))]
    Json {
        /// The file.
        file: String,
        /// What it should be, e.g. "JSON".
        what: &'static str,
        /// The parser's reason, with line and column.
        reason: serde_json::Error,
    },

    // --- sound files, asked for what they do not have --------------------------------------------------
    /// A tensor is stored in a type that cannot be decoded here.
    #[error(
        "{}: tensor '{}' has type {}, which is not supported; \
         take a file in one of: {supported}",
        escape(file),
        clip(tensor),
        clip(type_name)
    )]
    UnsupportedType {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The type's name, and its number where the file stores numbers.
        type_name: String,
        /// Types that this kind of file may have.
        supported: String,
    },
    /// The archive has no such tensor.
    #[error(
        "{}: tensor '{}' is missing (the model has {n_tensors} tensors{})",
        escape(archive),
        clip(tensor),
        clip_to(similar, 100)
    )]
    MissingTensor {
        /// The archive's path.
        archive: String,
        /// The name looked for.
        tensor: String,
        /// How many there are.
        n_tensors: usize,
        /// Empty, or `, e.g. 'x'`: the first name that ends alike.
        similar: String,
    },
    /// A tensor has another shape than the model's dimensions ask for.
    #[error("{}: tensor '{}': expected shape {expected:?}, found {found:?}", escape(archive), clip(tensor))]
    Shape {
        /// The archive's path.
        archive: String,
        /// The tensor.
        tensor: String,
        /// Shape asked for, outermost dimension first.
        expected: Vec<usize>,
        /// Shape stored.
        found: Vec<usize>,
    },
    /// A GGUF metadata key is absent.
    #[error("{}: metadata key '{}' is missing (needed as {expected})", escape(file), clip(key))]
    MissingKey {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The type asked for.
        expected: &'static str,
    },
    /// A GGUF metadata value has another type, or is out of the range asked for.
    #[error("{}: metadata key '{}': expected {expected}, found {}", escape(file), clip(key), phrase(found))]
    KeyType {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The type asked for.
        expected: &'static str,
        /// What is stored.
        found: String,
    },

    // --- writing -------------------------------------------------------------------------------------
    /// The writer was given something that a GGUF file cannot hold.
    #[error("cannot write GGUF: {}: expected {}, found {}", phrase(what), phrase(expected), phrase(found))]
    Write {
        /// What was being written.
        what: String,
        /// What a GGUF file can hold.
        expected: String,
        /// What was given.
        found: String,
    },
}

/// Result of this layer.
pub type Result<T> = std::result::Result<T, FormatError>;
