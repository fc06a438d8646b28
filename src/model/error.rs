//! What can be wrong with a model description.

use crate::base::DType;

/// Architectures that can run, as shown in messages.
pub const SUPPORTED: &str = "LlamaForCausalLM (Llama 2 and 3, SmolLM2, TinyLlama), MistralForCausalLM, \
     Qwen2ForCausalLM, Qwen3ForCausalLM; in GGUF files llama, qwen2, qwen3";

/// Why a file's metadata and tensors do not describe a model that can run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// Another architecture than those implemented.
    #[error("architecture {found} is not supported (supported: {supported})")]
    UnknownArchitecture {
        /// As the file names it.
        found: String,
        /// [`SUPPORTED`].
        supported: &'static str,
    },
    /// No shape of that name.
    #[error(
        "no model shape is called '{found}': {}; `anygpu plan shape:list` lists all",
        match nearest.is_empty() {
            true => format!("there are shapes of {}", families.join(", ")),
            false => format!("did you mean {}?", nearest.join(", ")),
        }
    )]
    UnknownShape {
        /// As it was asked for.
        found: String,
        /// Names that are likely meant, nearest first; may be empty.
        nearest: Vec<&'static str>,
        /// Families there are shapes of.
        families: Vec<&'static str>,
    },
    /// A tensor the architecture needs is not in the file.
    #[error("tensor {tensor} is missing")]
    MissingTensor {
        /// Name it should have.
        tensor: String,
    },
    /// A tensor's shape contradicts the metadata.
    #[error("tensor {tensor} has shape {found:?}, expected {expected:?} from the model's dimensions")]
    Shape {
        /// Its name.
        tensor: String,
        /// Row-major, from the dimensions in the metadata.
        expected: Vec<usize>,
        /// Row-major, as stored.
        found: Vec<usize>,
    },
    /// A tensor the architecture needs is stored in an encoding unknown here.
    #[error("tensor {tensor} is stored as {type_name}, which cannot be decoded (supported: {})", decodable())]
    Undecodable {
        /// Its name.
        tensor: String,
        /// The encoding, as the format calls it.
        type_name: String,
    },
    /// The file has a bias or norm that this architecture does not apply: computing without it
    /// would give wrong results in silence.
    #[error("tensor {tensor} is stored, but architecture {architecture} as configured does not use it")]
    UnusedTensor {
        /// Its name.
        tensor: String,
        /// [`crate::model::ModelSpec::architecture`].
        architecture: String,
    },
    /// A metadata key is missing, of the wrong type, out of range or asks for something unsupported.
    #[error("{key} is {found}, expected {expected}")]
    BadConfig {
        /// Full key, e.g. `rope_scaling.factor` or `llama.block_count`.
        key: String,
        /// What would be accepted.
        expected: String,
        /// The value, shortened; `missing` when there is none.
        found: String,
    },
}

fn decodable() -> String {
    DType::all().map(DType::name).collect::<Vec<_>>().join(", ")
}

impl ModelError {
    pub(crate) fn unknown(found: impl Into<String>) -> ModelError {
        ModelError::UnknownArchitecture { found: found.into(), supported: SUPPORTED }
    }

    pub(crate) fn bad(
        key: impl Into<String>,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> ModelError {
        ModelError::BadConfig { key: key.into(), expected: expected.into(), found: found.to_string() }
    }
}
