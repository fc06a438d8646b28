//! [`FormatError`]: everything that can be wrong with a model file, said so that the reader knows which
//! file, which part of it, what was expected, what was found and what to do next.

/// A model file or folder that cannot be used as it is.
///
/// `file` is the path as the user gave it (or the name within an in-memory folder); `offset` counts bytes
/// from the start of that file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused to open, map, list or write something.
    #[error("{file}: cannot {action}: {source}")]
    Io {
        /// File or folder.
        file: String,
        /// What was tried: "open", "map", "list", "write".
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },

    // --- finding the model ---------------------------------------------------------------------------
    /// The path is neither a model folder nor a model file.
    #[error("{path}: no model here: {found}; {next}")]
    NoModel {
        /// The path given.
        path: String,
        /// What is there instead.
        found: String,
        /// What to do about it.
        next: String,
    },
    /// A file that another file of the model refers to is absent.
    #[error("{file}: refers to '{missing}', which is not in the same folder; download it too")]
    MissingFile {
        /// The file that refers to it.
        file: String,
        /// The absent file.
        missing: String,
    },

    // --- damaged files -------------------------------------------------------------------------------
    /// The file ends before something its header promises.
    #[error(
        "{file}: {what} at byte {offset} needs {needed} bytes but the file ends at byte {len} \
         (truncated download? compare its size with the source)"
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
    #[error("{file}: {what} at byte {offset}: expected {expected}, found {found}; {next}")]
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
        "{file}: tensor '{tensor}': data ends at byte {end} but the file has {len} bytes \
         (truncated download? compare its size with the source)"
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
    #[error("{file}: tensor '{tensor}': {what}: expected {expected}, found {found}; {next}")]
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
        "{file}: part of a split model: {what}: expected {expected}, found {found}; \
         put all parts of one download into one folder under their own names"
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
    #[error("{file}: {what} '{name}' occurs twice; {next}")]
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
    #[error("{file}: not valid {what}: {source}")]
    Json {
        /// The file.
        file: String,
        /// What it should be, e.g. "JSON".
        what: &'static str,
        /// The parser's reason, with line and column.
        source: serde_json::Error,
    },

    // --- sound files, asked for what they do not have --------------------------------------------------
    /// A tensor is stored in a type that cannot be decoded here.
    #[error(
        "{file}: tensor '{tensor}' has type {type_name}, which is not supported; \
         take a file in one of: {supported}"
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
    #[error("{archive}: tensor '{tensor}' is missing (the model has {n_tensors} tensors{similar})")]
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
    #[error("{archive}: tensor '{tensor}': expected shape {expected:?}, found {found:?}")]
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
    #[error("{file}: metadata key '{key}' is missing (needed as {expected})")]
    MissingKey {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The type asked for.
        expected: &'static str,
    },
    /// A GGUF metadata value has another type, or is out of the range asked for.
    #[error("{file}: metadata key '{key}': expected {expected}, found {found}")]
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
    #[error("cannot write GGUF: {what}: expected {expected}, found {found}")]
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
