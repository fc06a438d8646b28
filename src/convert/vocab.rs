//! A folder's tokenizer → `tokenizer.*` keys.

use super::{Plan, Result};
use crate::formats::HfFolder;
use crate::formats::gguf::WriteValue;
use crate::tokenizer::{GgufVocab, HfFiles, TokenizerError};

/// Adds the keys; `rows` is the height of the embedding matrix, `architecture` as in the file.
pub(super) fn add(plan: &mut Plan, folder: &HfFolder, rows: usize, architecture: &str) -> Result<()> {
    let files = match HfFiles::from_folder(folder) {
        Ok(files) => files,
        Err(error) if error.is_absence() => {
            plan.metadata.push(("tokenizer.ggml.model".into(), "no_vocab".into()));
            plan.notices.push(
                "the folder has no tokenizer.json: the file gets no tokenizer, and understands token ids only"
                    .into(),
            );
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let (mut vocab, notices) = GgufVocab::from_hf(&files)?;
    if vocab.tokens.len() > rows {
        let tokens = vocab.tokens.len();
        return Err(TokenizerError::VocabularyTooLarge { tokens, rows }.into());
    }
    vocab.pad_to(rows);
    vocab.architecture = Some(architecture.to_owned());
    plan.notices.extend(notices);
    plan.metadata.extend(keys(vocab));
    Ok(())
}

/// Key/value pairs of what is there.
fn keys(vocab: GgufVocab) -> Vec<(String, WriteValue)> {
    let mut pairs = Vec::new();
    let mut set = |key: &str, value: Option<WriteValue>| {
        pairs.extend(value.map(|value| (format!("tokenizer.{key}"), value)));
    };
    set("ggml.model", Some(vocab.model.into()));
    set("ggml.pre", vocab.pre.map(Into::into));
    set("ggml.tokens", Some(vocab.tokens.into()));
    set("ggml.scores", vocab.scores.map(Into::into));
    set("ggml.token_type", vocab.token_types.map(Into::into));
    set("ggml.merges", vocab.merges.map(Into::into));
    set("ggml.bos_token_id", vocab.bos.map(Into::into));
    set("ggml.eos_token_id", vocab.eos.map(Into::into));
    set("ggml.eot_token_id", vocab.eot.map(Into::into));
    set("ggml.unknown_token_id", vocab.unk.map(Into::into));
    set("ggml.padding_token_id", vocab.pad.map(Into::into));
    set("ggml.add_bos_token", vocab.add_bos.map(Into::into));
    set("ggml.add_eos_token", vocab.add_eos.map(Into::into));
    set("ggml.add_space_prefix", vocab.add_space_prefix.map(Into::into));
    set("ggml.remove_extra_whitespaces", vocab.remove_extra_whitespaces.map(Into::into));
    set("chat_template", vocab.chat_template.map(Into::into));
    pairs
}
