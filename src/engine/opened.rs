//! [`Opened`]: a model's files, read and understood before any adapter is. What needs no GPU to be
//! refused is refused here.

use std::path::Path;

use crate::base::{AdapterFacts, AdapterKind, DType};
use crate::engine::EngineError;
use crate::engine::forward::Sizes;
use crate::engine::memory;
use crate::engine::model::{self, DEMO_FILES, LoadOptions};
use crate::formats::{Archive, Metadata};
use crate::model::ModelSpec;
use crate::tokenizer::{ChatTemplate, Tokenizer, TokenizerError};

/// A model that is known, but for its weights.
pub struct Opened {
    pub(super) archive: Archive,
    pub(super) spec: ModelSpec,
    pub(super) tokenizer: Result<Tokenizer, TokenizerError>,
    pub(super) template: Option<ChatTemplate>,
    pub(super) notices: Vec<String>,
}

impl Opened {
    /// Opens a model file or folder.
    pub fn open(path: &Path) -> Result<Opened, EngineError> {
        Opened::of(Archive::open(path)?)
    }

    /// Opens the model that is built into this library.
    pub fn demo() -> Result<Opened, EngineError> {
        Opened::of(Archive::from_memory(DEMO_FILES)?)
    }

    /// Reads what the archive says of the model, and its tokenizer.
    pub fn of(archive: Archive) -> Result<Opened, EngineError> {
        let spec = ModelSpec::from_archive(&archive)?;
        let mut notices = Vec::new();
        let (tokenizer, template) = match Tokenizer::from_metadata(&archive.metadata) {
            Ok((tokenizer, template)) => {
                // Such an id is refused where it is fed in, and no logit can choose it.
                if tokenizer.vocab_size() > spec.vocab {
                    let (tokens, rows) = (tokenizer.vocab_size(), spec.vocab);
                    let last = rows.saturating_sub(1);
                    notices.push(format!(
                        "the tokenizer has {tokens} tokens, the embedding {rows} rows: ids above {last} \
                         cannot be used (an added token without a row is common; many are a sign of \
                         another model's tokenizer)"
                    ));
                }
                // Some rows are padding, as Qwen has them; this many look like another model's
                // tokenizer.
                if tokenizer.vocab_size() < spec.vocab / 2 {
                    let (tokens, rows) = (tokenizer.vocab_size(), spec.vocab);
                    notices.push(format!(
                        "the tokenizer has {tokens} tokens, the model {rows}: does it belong to this model?"
                    ));
                }
                notices.extend(tokenizer.warnings().iter().cloned());
                (Ok(tokenizer), template)
            }
            // Models without any tokenizer run on token ids; damaged ones are refused.
            Err(error) if error.is_absence() => (Err(error), None),
            // These name the file themselves.
            Err(TokenizerError::Format(error)) => return Err(EngineError::Format(*error)),
            Err(error) => return Err(error.into()),
        };
        Ok(Opened { archive, spec, tokenizer, template, notices })
    }

    /// The files.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// What the model is.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The tokenizer, or why there is none.
    pub fn tokenizer(&self) -> Result<&Tokenizer, EngineError> {
        self.tokenizer.as_ref().map_err(no_tokenizer)
    }

    /// The chat template, if the model has one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Sampling settings that the model's makers recommend, as [`model::Model::recommended`] tells.
    pub fn recommended(&self, key: &str) -> Option<f64> {
        recommended(&self.archive.metadata, key)
    }

    /// Positions that a session of these options has. Refuses options that no adapter makes
    /// possible.
    pub fn context(&self, options: &LoadOptions) -> Result<usize, EngineError> {
        // The kind of the adapter decides the chunk that is taken without one, not what is
        // possible.
        model::sizes_on(AdapterKind::Other, &self.spec, options).map(|sizes| sizes.context)
    }

    /// Refuses more tokens than these positions hold.
    pub fn check_prompt(&self, n_tokens: usize, context: usize) -> Result<(), EngineError> {
        if n_tokens <= context {
            return Ok(());
        }
        let trained = self.spec.max_context;
        Err(EngineError::ContextFull { tokens: n_tokens, used: 0, context, trained })
    }

    /// Refuses what does not fit into the memory that this adapter has, or that `options` allow, in
    /// the smallest of `quants`. The sum in the error is that of the first one.
    pub fn check_memory(
        &self,
        facts: &AdapterFacts,
        quants: &[Option<DType>],
        options: &LoadOptions,
    ) -> Result<(), EngineError> {
        let sizes = model::sizes_on(facts.kind, &self.spec, options)?;
        let available = memory::available(facts, options.memory);
        let mut refusal = Ok(());
        for quant in quants {
            let fits = self.needs(*quant, sizes).and_then(|n| memory::check(&n, available.as_ref(), facts));
            match fits {
                Ok(()) => return Ok(()),
                Err(error) if refusal.is_ok() => refusal = Err(error),
                Err(_) => {}
            }
        }
        refusal
    }

    fn needs(&self, quant: Option<DType>, sizes: Sizes) -> Result<memory::Needs, EngineError> {
        memory::needs(&self.archive, &self.spec, quant, sizes)
    }
}

/// Why a model without tokenizer takes no text, and what it takes.
pub(super) fn no_tokenizer(error: &TokenizerError) -> EngineError {
    EngineError::NoTokenizer {
        hint: format!("{error}. Token ids still work: `anygpu logits MODEL --ids 1,2,3`"),
    }
}

/// A number in `generation_config.json`; true is 1, false 0.
pub(super) fn recommended(metadata: &Metadata, key: &str) -> Option<f64> {
    match metadata {
        Metadata::HuggingFace(folder) => {
            let value = folder.generation_config.as_ref()?.get(key)?;
            value.as_f64().or(value.as_bool().map(|b| f64::from(u8::from(b))))
        }
        Metadata::Gguf(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_adapter_can_run_is_refused_before_there_is_one() {
        let demo = Opened::demo().expect("the demo model");
        let with = |context, chunk| LoadOptions { context, chunk, ..LoadOptions::default() };
        for (options, expected) in [
            (with(None, None), Ok(512)),
            (with(Some(1), Some(4096)), Ok(1)),
            (with(Some(0), None), Err("--ctx")),
            (with(Some(513), None), Err("--ctx")),
            (with(None, Some(0)), Err("--chunk")),
            // Beyond the context as well: it is no chunk that any model could take.
            (with(Some(64), Some(4097)), Err("--chunk")),
        ] {
            let got = demo.context(&options).map_err(|error| error.to_string());
            match expected {
                Ok(context) => assert_eq!(got, Ok(context), "{options:?}"),
                Err(option) => {
                    assert!(got.as_ref().is_err_and(|e| e.starts_with(option)), "{options:?}: {got:?}");
                }
            }
        }
        assert!(demo.check_prompt(512, 512).is_ok());
        assert!(demo.check_prompt(513, 512).is_err());
    }
}
