//! [`ConvertError`]: why a model cannot become a GGUF file.

use crate::base::DType;
use crate::formats::FormatError;
use crate::model::ModelError;
use crate::quant::QuantError;
use crate::tokenizer::TokenizerError;

/// Errors of converting and quantizing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The files.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The description of the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The text side.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Something that GGUF, or llama.cpp reading it, has no form for.
    #[error("{what} is {found}, which a GGUF file of architecture {architecture} cannot say: {expected}")]
    Inexpressible {
        /// Key or property of the model.
        what: &'static str,
        /// Its value.
        found: String,
        /// As in `general.architecture`.
        architecture: &'static str,
        /// What can be said.
        expected: &'static str,
    },
    /// Weights that are quantized already.
    #[error(
        "tensor '{tensor}' is stored as {from}: making {to} of it adds a second error to the first; quantize \
         the unquantized model instead, or insist with --allow-requantize"
    )]
    Requantize {
        /// Its name.
        tensor: String,
        /// Type in the file.
        from: DType,
        /// Type wanted.
        to: DType,
    },
    /// NaN or infinity among the weights.
    #[error(
        "tensor '{tensor}': element {index:?} is {value}: the file is damaged, or training went wrong; \
         compare its checksum with the source"
    )]
    NotFinite {
        /// Its name in the source.
        tensor: String,
        /// Position, outermost dimension first.
        index: Vec<usize>,
        /// The value there.
        value: f32,
    },
    /// A weight beyond the reach of the type.
    #[error(
        "tensor '{tensor}': element {index:?} is {value}, beyond ±{limit}, the most that {to} can hold: \
         take another type, such as bf16"
    )]
    OutOfRange {
        /// Its name in the source.
        tensor: String,
        /// Position, outermost dimension first.
        index: Vec<usize>,
        /// The value there.
        value: f32,
        /// Largest magnitude of the type.
        limit: f32,
        /// Type wanted.
        to: DType,
    },
    /// A tensor that cannot be converted for another reason.
    #[error("tensor '{tensor}': {cause}")]
    Tensor {
        /// Its name in the source.
        tensor: String,
        /// What went wrong.
        cause: QuantError,
    },
    /// The file to be written is there already.
    #[error("{path} exists: give another name, or replace it with --force")]
    Exists {
        /// The path.
        path: String,
    },
    /// The file to be written is one of those to be read.
    #[error("{path} is a file of the model itself: give another name")]
    SameFile {
        /// The path.
        path: String,
    },
    /// A device, pipe, socket or link: replacing it would destroy it.
    #[error("{path} is no regular file, and would be replaced by one: give another name")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// The operating system refused.
    #[error("{path}: cannot {action}: {reason}{hint}")]
    Io {
        /// File or folder.
        path: String,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        reason: std::io::Error,
        /// Next step, starting with "; ", or empty.
        hint: String,
    },
    /// No choice of types is that small or that fast.
    #[error("--mix: {wanted} cannot be had: the least is {least}, with every matrix in its coarsest type")]
    Unreachable {
        /// What was asked for.
        wanted: String,
        /// What there is.
        least: String,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Result of this layer.
pub type Result<T> = std::result::Result<T, ConvertError>;
