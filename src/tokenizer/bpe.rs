//! Encoding through the `tokenizers` crate, with control tokens recognised or not per call.

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::{AddedToken, AddedVocabulary, Model, PreTokenizer, Tokenizer as Pipeline};
use tokenizers::{OffsetReferential, OffsetType};

use super::error::{Result, TokenizerError};
use super::pre;
use super::spm::token_type;

/// A pipeline and two views of its added tokens.
pub(super) struct Bpe {
    pipeline: Pipeline,
    /// Recognises every added token.
    all: AddedVocabulary,
    /// Recognises only those that are not control tokens.
    ordinary: AddedVocabulary,
}

impl Bpe {
    pub(super) fn new(pipeline: Pipeline) -> Bpe {
        let mut all = pipeline.get_added_vocabulary().clone();
        let mut ordinary = all.clone();
        all.set_encode_special_tokens(false);
        ordinary.set_encode_special_tokens(true);
        Bpe { pipeline, all, ordinary }
    }

    pub(super) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(super) fn id_of(&self, token: &str) -> Option<u32> {
        self.pipeline.token_to_id(token)
    }

    /// Ids of `text` without anything added around them.
    pub(super) fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        let failed = |e: tokenizers::Error| TokenizerError::Encode { reason: e.to_string() };
        let added = if parse_special { &self.all } else { &self.ordinary };
        let mut pieces = added.extract_and_normalize(self.pipeline.get_normalizer(), text);
        if let Some(cut) = self.pipeline.get_pre_tokenizer() {
            cut.pre_tokenize(&mut pieces).map_err(failed)?;
        }
        let model = self.pipeline.get_model();
        pieces.tokenize(|piece| model.tokenize(piece.get())).map_err(failed)?;
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::None);
        Ok(splits.iter().filter_map(|split| split.2.as_ref()).flatten().map(|token| token.id).collect())
    }
}

/// Byte-level BPE from a GGUF vocabulary: `types` is `[tokens.len()]`.
pub(super) fn from_gguf(
    tokens: &[String],
    types: &[i32],
    merges: &[String],
    pre: pre::PreTokenizer,
) -> Result<Bpe> {
    let vocab: Vocab = (0u32..).zip(tokens).map(|(id, token)| (token.clone(), id)).collect();
    let merges = parse_merges(merges, &vocab)?;
    let model = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(pre.ignore_merges).build();
    let model = model.map_err(|e| TokenizerError::Encode { reason: e.to_string() })?;
    let mut pipeline = Pipeline::new(model);
    pipeline.with_pre_tokenizer(Some(pre.cut)).with_normalizer(pre.normalizer);
    let added = tokens.iter().zip(types).filter_map(|(token, &kind)| {
        let special = [token_type::CONTROL, token_type::UNKNOWN].contains(&kind);
        let wanted = !token.is_empty() && (special || kind == token_type::USER_DEFINED);
        wanted.then(|| AddedToken::from(token.as_str(), special).normalized(false))
    });
    let (special, ordinary): (Vec<_>, Vec<_>) = added.partition(|token| token.special);
    pipeline.add_special_tokens(&special);
    pipeline.add_tokens(&ordinary);
    Ok(Bpe::new(pipeline))
}

/// `left right` → pair. A token may begin with a space, so the first character is never the separator.
fn parse_merges(merges: &[String], vocab: &Vocab) -> Result<Merges> {
    let parse = |(index, rule): (usize, &String)| {
        let wrong = |reason| TokenizerError::Merge { index, rule: rule.clone(), reason };
        let from = rule.chars().next().map_or(0, char::len_utf8);
        let at = rule[from..].find(' ').ok_or_else(|| wrong("expected two tokens with a space between"))?;
        let (left, right) = (&rule[..from + at], &rule[from + at + 1..]);
        let known = [left, right, &[left, right].concat()].iter().all(|token| vocab.contains_key(*token));
        if !known {
            return Err(wrong("a part or the result is not in the vocabulary"));
        }
        Ok((left.to_string(), right.to_string()))
    };
    merges.iter().enumerate().map(parse).collect()
}
