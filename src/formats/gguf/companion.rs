//! GGUF files that belong to a model and are none themselves.

use super::metadata::GgufMetadata;

/// What a file is instead of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Companion {
    /// With its article: "an adapter (LoRA)".
    pub what: &'static str,
    /// What to do with it.
    pub next: &'static str,
}

const ADAPTER: Companion = Companion {
    what: "an adapter (LoRA), not a model",
    next: "merge it into its base model first, and give the result",
};
const IMATRIX: Companion = Companion {
    what: "an importance matrix, which quantizers read, not a model",
    next: "give the model's own GGUF file",
};
const PROJECTOR: Companion = Companion {
    what: "a projector for images or sound (mmproj), not a language model",
    next: "give the model's own GGUF file; text needs no projector",
};
const CONTROL: Companion = Companion {
    what: "a control vector, which changes a model's style, not a model",
    next: "give the model's own GGUF file",
};
const VOCABULARY: Companion =
    Companion { what: "a vocabulary without a model's weights", next: "give the model's own GGUF file" };

/// (key, value, what a file with both is)
const STATED: [(&str, &str, Companion); 7] = [
    ("general.type", "adapter", ADAPTER),
    ("general.type", "imatrix", IMATRIX),
    ("general.type", "mmproj", PROJECTOR),
    ("general.type", "controlvector", CONTROL),
    ("general.type", "vocab", VOCABULARY),
    ("general.architecture", "clip", PROJECTOR),
    ("general.architecture", "controlvector", CONTROL),
];

/// (key that only such files have, what they are): for files without `general.type`.
const TELLING: [(&str, Companion); 4] = [
    ("adapter.type", ADAPTER),
    ("adapter.lora.alpha", ADAPTER),
    ("imatrix.chunk_count", IMATRIX),
    ("imatrix.datasets", IMATRIX),
];

impl GgufMetadata {
    /// What the file is, if it is known and no model.
    pub fn companion(&self) -> Option<Companion> {
        // A value of another type names no kind.
        let is = |key: &str, value: &str| matches!(self.get::<&str>(key), Ok(Some(v)) if v == value);
        let stated = STATED.iter().find(|(key, value, _)| is(key, value)).map(|row| row.2);
        let telling = || TELLING.iter().find(|(key, _)| self.value(key).is_some()).map(|row| row.1);
        stated.or_else(telling)
    }
}
