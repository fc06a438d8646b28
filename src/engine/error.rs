//! Everything that can go wrong between a model file and its text.

use crate::base::{DType, counted};
use crate::formats::FormatError;
use crate::gpu::GpuError;
use crate::model::ModelError;
use crate::quant::QuantError;
use crate::tokenizer::TokenizerError;

/// Errors of loading and running a model.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The files.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The description of the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The text side.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The adapter.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A tensor that could not be converted.
    #[error("tensor '{tensor}': {cause}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What went wrong.
        cause: QuantError,
    },
    /// The model does not fit; nothing was loaded.
    #[error(
        "{adapter}: the model needs {needed} but {available} are available ({source_of_limit}): {parts}{hint}"
    )]
    OutOfMemory {
        /// Adapter id.
        adapter: String,
        /// Sum, for people.
        needed: String,
        /// Limit, for people.
        available: String,
        /// Where the limit comes from.
        source_of_limit: String,
        /// The sum's parts.
        parts: String,
        /// Next step, starting with "; ".
        hint: String,
    },
    /// Quantizations cannot be compared with 16-bit weights where there are none.
    #[error(
        "{model}: tensor '{tensor}' is stored as {dtype}: there are no 16-bit weights to compare with; give the \
         unquantized model (a folder with safetensors, or a GGUF file in f16, bf16 or f32)"
    )]
    NoReference {
        /// The model's path.
        model: String,
        /// A quantized tensor.
        tensor: String,
        /// Its type.
        dtype: DType,
    },
    /// More tokens than the context holds.
    #[error(
        "the prompt has {}, but the context holds {context}{}: {}",
        counted(*tokens, "token"),
        if *used > 0 { format!(", {used} of them used") } else { String::new() },
        if context < trained {
            format!("shorten it, or ask for more with --ctx (up to {trained}, what the model was trained for)")
        } else {
            "shorten it; the model was trained for no more".to_owned()
        }
    )]
    ContextFull {
        /// Tokens to add.
        tokens: usize,
        /// Positions already used.
        used: usize,
        /// Capacity.
        context: usize,
        /// What the model was trained for.
        trained: usize,
    },
    /// Nothing to continue.
    #[error("the prompt is empty: give some text{hint}")]
    EmptyPrompt {
        /// Next step, or empty.
        hint: &'static str,
    },
    /// A token id outside of the vocabulary.
    #[error("token id {id} is outside of the model's vocabulary of {vocab}")]
    BadToken {
        /// The id.
        id: u32,
        /// Rows of the embedding.
        vocab: usize,
    },
    /// The model computed NaN or infinity.
    #[error(
        "{bad} of {vocab} logits at position {position} are NaN or infinite: the weights hold such numbers or \
         are damaged (compare the file's checksum with its source), or the adapter computes wrongly \
         (`anygpu verify`)"
    )]
    NotFinite {
        /// How many.
        bad: usize,
        /// Of how many.
        vocab: usize,
        /// Position of the token that was fed.
        position: usize,
    },
    /// Verification found that weights stored so give wrong results; another way is noted for the next load.
    #[error(
        "{adapter} computes wrongly with weights as they are stored here: load the model again (run the command \
         again), and they are stored in rows"
    )]
    StoredWrong {
        /// Adapter id.
        adapter: String,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A model without tokenizer was given text.
    #[error("the model has no tokenizer: {hint}")]
    NoTokenizer {
        /// Next step.
        hint: String,
    },
    /// An option with an impossible value.
    #[error("{option}: expected {expected}, found {found}")]
    BadOption {
        /// Option name as on the command line.
        option: &'static str,
        /// What is allowed.
        expected: String,
        /// What was given.
        found: String,
    },
}
