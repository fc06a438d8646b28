//! Everything that can go wrong between text and token ids.

use crate::formats::FormatError;

/// Errors of the tokenizer layer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The model file itself, or a key of the wrong type in it.
    #[error(transparent)]
    Format(Box<FormatError>),
    /// A JSON file does not parse or does not have the expected shape.
    #[error("{file} cannot be used: {reason}")]
    Json {
        /// Which file of the model folder.
        file: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// A GGUF key (or a file of a model folder) that the tokenizer needs is not there.
    #[error("{key} is missing; the {model} tokenizer cannot be built without it")]
    Missing {
        /// GGUF key or file name.
        key: &'static str,
        /// Kind of tokenizer that needs it.
        model: &'static str,
    },
    /// Two parallel arrays of a GGUF vocabulary differ in length.
    #[error("{key} has {found} entries, but there are {expected} tokens")]
    Length {
        /// GGUF key.
        key: &'static str,
        /// Number of tokens.
        expected: usize,
        /// Number of entries found.
        found: usize,
    },
    /// A kind of tokenizer, decoder or token that is not implemented.
    #[error("{what} `{name}` is not supported (supported: {supported})")]
    Unsupported {
        /// What it is: tokenizer kind, decoder step …
        what: &'static str,
        /// Its name in the file.
        name: String,
        /// What would have been accepted.
        supported: &'static str,
    },
    /// A merge rule is not `left right`.
    #[error("merge rule {index} `{rule}` is wrong: {reason}")]
    Merge {
        /// Position in the list.
        index: usize,
        /// The rule as written.
        rule: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// A token id lies outside the vocabulary.
    #[error("{what} is {id}, but the vocabulary has {tokens} tokens")]
    IdOutOfRange {
        /// Whose id it is, e.g. `tokenizer.ggml.bos_token_id`.
        what: String,
        /// The id.
        id: u64,
        /// Size of the vocabulary.
        tokens: usize,
    },
    /// The file says a token must be added to every prompt but does not say which.
    #[error("{flag} is true, but the model names no {token} token")]
    NoSpecialToken {
        /// The setting that asks for it.
        flag: &'static str,
        /// `BOS` or `EOS`.
        token: &'static str,
    },
    /// The tokenizer can produce ids for which the model has no embedding.
    #[error(
        "the tokenizer has {tokens} tokens, but the embedding has only {rows} rows: they belong to different models"
    )]
    VocabularyTooLarge {
        /// Tokens of the tokenizer (largest id + 1).
        tokens: usize,
        /// Rows of the embedding matrix.
        rows: usize,
    },
    /// The GGUF form of a tokenizer gives other ids.
    #[error(
        "as GGUF the tokenizer gives other ids for {n} of {of} sample texts, such as {example:?}: it is none \
         that GGUF files can express"
    )]
    Inexact {
        /// Texts with other ids.
        n: usize,
        /// Of how many.
        of: usize,
        /// One of them.
        example: String,
    },
    /// Text that the vocabulary cannot express.
    #[error("cannot turn text into tokens: {reason}")]
    Encode {
        /// What stood in the way.
        reason: String,
    },
    /// A chat template that does not parse, fails, or refuses the conversation.
    #[error("chat template: {reason}")]
    Template {
        /// The template engine's message, with line number where known.
        reason: String,
    },
}

impl From<FormatError> for TokenizerError {
    fn from(error: FormatError) -> Self {
        TokenizerError::Format(Box::new(error))
    }
}

/// Result of the tokenizer layer.
pub type Result<T> = std::result::Result<T, TokenizerError>;

impl TokenizerError {
    /// True when the model simply has no tokenizer, as opposed to a damaged one.
    pub fn is_absence(&self) -> bool {
        matches!(self, TokenizerError::Missing { key: "tokenizer.json" | super::gguf_vocab::KIND, .. })
    }
}
