//! Encoding through the `tokenizers` crate, with control tokens recognised or not per call.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::{AddedToken, AddedVocabulary, Model, PreTokenizer, Tokenizer as Pipeline};
use tokenizers::{OffsetReferential, OffsetType};

use super::error::{Result, TokenizerError};
use super::guard::guarded;
use super::pre;
use super::spm::token_type;

/// A pipeline and two views of its added tokens.
pub(super) struct Bpe {
    pipeline: Pipeline,
    /// Recognises every added token.
    all: AddedVocabulary,
    /// Recognises only those that are not control tokens.
    ordinary: AddedVocabulary,
    /// Ids that merge rules make and no token has, with the tokens that they fall apart into.
    no_tokens: HashMap<u32, Vec<u32>>,
}

impl Bpe {
    /// The pipeline as it is; its added tokens are known already.
    pub(super) fn new(pipeline: Pipeline) -> Bpe {
        let mut all = pipeline.get_added_vocabulary().clone();
        let mut ordinary = all.clone();
        all.set_encode_special_tokens(false);
        ordinary.set_encode_special_tokens(true);
        Bpe { pipeline, all, ordinary, no_tokens: HashMap::new() }
    }

    pub(super) fn id_of(&self, token: &str) -> Option<u32> {
        self.pipeline.token_to_id(token).filter(|id| !self.no_tokens.contains_key(id))
    }

    /// Ids of `text` without anything added around them.
    pub(super) fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        let reason = |words| format!("the tokenizer library gave up ({words}): the file is damaged");
        let ids = guarded(|| self.encode_unguarded(text, parse_special))
            .unwrap_or_else(|words| Err(TokenizerError::Encode { reason: reason(words) }))?;
        if self.no_tokens.is_empty() {
            return Ok(ids);
        }
        let parts = |id: u32| self.no_tokens.get(&id).cloned().unwrap_or_else(|| vec![id]);
        Ok(ids.into_iter().flat_map(parts).collect())
    }

    fn encode_unguarded(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
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

/// Byte-level BPE from a GGUF vocabulary: `types` is `[tokens.len()]`. Also returns how many merge rules
/// name what is no token.
pub(super) fn from_gguf(
    tokens: &[String],
    types: &[i32],
    merges: &[String],
    pre: pre::PreTokenizer,
) -> Result<(Bpe, usize)> {
    let mut vocab: Vocab = (0u32..).zip(tokens).map(|(id, token)| (token.clone(), id)).collect();
    let (merges, no_tokens, strange) = parse_merges(merges, &mut vocab, tokens.len())?;
    let reason = |words: String| TokenizerError::Encode { reason: words };
    let build = || BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(pre.ignore_merges).build();
    let model = guarded(build).map_err(reason)?.map_err(|e| reason(e.to_string()))?;
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
    Ok((Bpe { no_tokens, ..Bpe::new(pipeline) }, strange))
}

/// Pairs; texts that no token has, by the ids they get; number of rules with such texts.
type Rules = (Merges, HashMap<u32, Vec<u32>>, usize);

/// `left right` → pair. A token may begin with a space, so the first character is never the separator.
/// What a rule names and no token has still takes part in merging; at the end it falls apart into the
/// tokens of its characters.
fn parse_merges(merges: &[String], vocab: &mut Vocab, n_tokens: usize) -> Result<Rules> {
    let (mut pairs, mut no_tokens, mut strange) = (Vec::new(), HashMap::new(), 0);
    for (index, rule) in merges.iter().enumerate() {
        let wrong = |reason| TokenizerError::Merge { index, rule: rule.clone(), reason };
        let from = rule.chars().next().map_or(0, char::len_utf8);
        let at = rule[from..].find(' ').ok_or_else(|| wrong("expected two tokens with a space between"))?;
        let (left, right) = (&rule[..from + at], &rule[from + at + 1..]);
        let mut known = true;
        for text in [left, right, &[left, right].concat()] {
            if vocab.contains_key(text) {
                known &= (vocab[text] as usize) < n_tokens;
                continue;
            }
            known = false;
            let parts: Vec<u32> = text.chars().filter_map(|c| vocab.get(&c.to_string()).copied()).collect();
            let id = u32::try_from(n_tokens + no_tokens.len()).map_err(|_| wrong("there are too many"))?;
            vocab.insert(text.to_string(), id);
            no_tokens.insert(id, parts.into_iter().filter(|&id| (id as usize) < n_tokens).collect());
        }
        strange += usize::from(!known);
        pairs.push((left.to_string(), right.to_string()));
    }
    Ok((pairs, no_tokens, strange))
}
