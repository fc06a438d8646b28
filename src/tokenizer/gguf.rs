//! The tokenizer that a GGUF file's vocabulary describes.

use std::collections::HashMap;

use super::pieces::{Pieces, SPACE_MARK, byte_level_bytes, byte_token};
use super::spm::{Spm, SpmOptions, token_type};
use super::{Backend, GgufVocab, Result, Tokenizer, TokenizerError, bpe, ends, pre};

/// Phi-3's special tokens that do not take the white space after them (`rstrip` in its tokenizer.json).
const PHI3_KEEPS_WHITESPACE: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];
const SUPPORTED: &str = "gpt2, llama";
/// Kind of tokenizer in messages about `tokenizer.ggml.model = gpt2`.
const BYTE_LEVEL: &str = "byte-level BPE";
/// The same for `llama`.
const SENTENCE_PIECE: &str = "SentencePiece";

impl Tokenizer {
    /// Builds the tokenizer a GGUF file describes.
    pub fn from_gguf(vocab: &GgufVocab) -> Result<Tokenizer> {
        let mut tokenizer = match vocab.model.as_str() {
            "gpt2" => byte_level(vocab)?,
            "llama" => sentence_piece(vocab)?,
            other => {
                let (what, name) = ("tokenizer.ggml.model", other.to_string());
                return Err(TokenizerError::Unsupported { what, name, supported: SUPPORTED });
            }
        };
        for (id, role) in [(vocab.bos, "bos"), (vocab.eos, "eos"), (vocab.eot, "eot"), (vocab.unk, "unknown")]
        {
            check_id(id, role, vocab.tokens.len())?;
        }
        tokenizer.bos = begin(vocab);
        let ids = [vocab.eos, vocab.eot, vocab.eom].into_iter().flatten();
        tokenizer.add_eos_ids(ids.chain(vocab.fim.iter().copied()));
        let by_text = ends::of_gguf(|text| tokenizer.id_of(text));
        tokenizer.add_eos_ids(by_text);
        tokenizer.warnings = [vocab.notices.clone(), tokenizer.warnings].concat();
        Ok(tokenizer)
    }
}

/// BOS; SentencePiece's own, 1, where the file names none that it has.
fn begin(vocab: &GgufVocab) -> Option<u32> {
    let usual = || {
        let kinds = vocab.token_types.as_ref()?;
        (vocab.model == "llama" && kinds.get(1) == Some(&token_type::CONTROL)).then_some(1)
    };
    vocab.bos.or_else(usual)
}

/// An id that did not come from a file is checked here, too.
fn check_id(id: Option<u32>, role: &str, tokens: usize) -> Result<()> {
    match id {
        Some(id) if id as usize >= tokens => {
            let what = format!("tokenizer.ggml.{role}_token_id");
            Err(TokenizerError::IdOutOfRange { what, id: id.into(), tokens })
        }
        _ => Ok(()),
    }
}

/// `found`, or `tokens` times `default` where the file has no such array.
fn per_token<T: Clone>(
    vocab: &GgufVocab,
    found: Option<&Vec<T>>,
    default: T,
    key: &'static str,
) -> Result<Vec<T>> {
    let expected = vocab.tokens.len();
    let values = found.cloned().unwrap_or_else(|| vec![default; expected]);
    if values.len() != expected {
        return Err(TokenizerError::Length { key, expected, found: values.len() });
    }
    Ok(values)
}

fn types(vocab: &GgufVocab, model: &'static str) -> Result<Vec<i32>> {
    if vocab.tokens.is_empty() {
        return Err(TokenizerError::Missing { key: "tokenizer.ggml.tokens", model });
    }
    let found = vocab.token_types.as_ref();
    let mut types = per_token(vocab, found, token_type::NORMAL, "tokenizer.ggml.token_type")?;
    // What ends generation is a control token, whatever the converter took it for.
    let ids: HashMap<&str, u32> = vocab.tokens.iter().map(String::as_str).zip(0..).collect();
    for id in ends::of_gguf(|text| ids.get(text).copied()) {
        types[id as usize] = token_type::CONTROL;
    }
    Ok(types)
}

/// Ids around a prompt, with the tokenizer kind's default where the file does not say.
fn around(vocab: &GgufVocab, default_bos: bool) -> Result<(Vec<u32>, Vec<u32>)> {
    let pick = |wanted: Option<bool>, default: bool, id: Option<u32>, flag, token| match (wanted, id) {
        (Some(true), None) => Err(TokenizerError::NoSpecialToken { flag, token }),
        (wanted, id) => Ok(id.filter(|_| wanted.unwrap_or(default)).into_iter().collect()),
    };
    let prefix = pick(vocab.add_bos, default_bos, begin(vocab), "tokenizer.ggml.add_bos_token", "BOS")?;
    let suffix = pick(vocab.add_eos, false, vocab.eos, "tokenizer.ggml.add_eos_token", "EOS")?;
    Ok((prefix, suffix))
}

fn is_special(kind: i32) -> bool {
    [token_type::CONTROL, token_type::UNKNOWN].contains(&kind)
}

fn byte_level(vocab: &GgufVocab) -> Result<Tokenizer> {
    let types = types(vocab, BYTE_LEVEL)?;
    let missing = TokenizerError::Missing { key: "tokenizer.ggml.merges", model: BYTE_LEVEL };
    let merges = vocab.merges.as_ref().ok_or(missing)?;
    let name = vocab.pre.as_deref().unwrap_or("default");
    let pre = pre::by_name(name)?;
    let mut warnings = Vec::new();
    if pre.unknown {
        warnings.push(format!(
            "pre-tokenizer `{name}` is not known: text may be cut in other places than the model learned"
        ));
    } else if name == "default" {
        warnings.push(
            "the file names no pre-tokenizer: text may be cut in other places than the model learned".into(),
        );
    }
    let (prefix, suffix) = around(vocab, pre.add_bos)?;
    let mut pieces = Pieces::default();
    for (id, (token, &kind)) in (0u32..).zip(vocab.tokens.iter().zip(&types)) {
        if let Some(bytes) = vocab.raw_tokens.get(&id) {
            pieces.push(bytes, is_special(kind));
            continue;
        }
        let verbatim = is_special(kind) || kind == token_type::USER_DEFINED;
        let bytes = if verbatim { token.as_bytes().to_vec() } else { byte_level_bytes(token) };
        pieces.push(&bytes, is_special(kind));
    }
    let (bpe, strange) = bpe::from_gguf(&vocab.tokens, &types, merges, pre)?;
    if strange > 0 {
        warnings.push(format!(
            "{strange} merge rules name what is no token: what they make falls apart into its characters"
        ));
    }
    let backend = Backend::Bpe(Box::new(bpe));
    let (bos, eos) = (None, Default::default());
    Ok(Tokenizer { backend, pieces, bos, eos, prefix, suffix, strip_first_space: false, warnings })
}

fn sentence_piece(vocab: &GgufVocab) -> Result<Tokenizer> {
    let types = types(vocab, SENTENCE_PIECE)?;
    let scores = per_token(vocab, vocab.scores.as_ref(), 0.0, "tokenizer.ggml.scores")?;
    let mut warnings = Vec::new();
    if vocab.scores.is_none() {
        let words =
            "the file has no tokenizer.ggml.scores: text may be cut in other places than the model learned";
        warnings.push(words.into());
    }
    let (prefix, suffix) = around(vocab, true)?;
    let mut pieces = Pieces::default();
    for (id, (token, &kind)) in (0u32..).zip(vocab.tokens.iter().zip(&types)) {
        if let Some(bytes) = vocab.raw_tokens.get(&id) {
            pieces.push(bytes, is_special(kind));
            continue;
        }
        // Old files have no types: there `<0xHH>` is a byte all the same.
        let may_be_byte = kind == token_type::BYTE || vocab.token_types.is_none();
        match byte_token(token).filter(|_| may_be_byte) {
            Some(byte) => pieces.push(&[byte], false),
            None => pieces.push(token.replace(SPACE_MARK, " ").as_bytes(), is_special(kind)),
        }
    }
    let add_space_prefix = vocab.add_space_prefix.unwrap_or(true);
    let options = SpmOptions {
        unk: vocab
            .unk
            .or_else(|| types.iter().position(|&kind| kind == token_type::UNKNOWN).map(|ix| ix as u32)),
        add_space_prefix,
        remove_extra_whitespaces: vocab.remove_extra_whitespaces.unwrap_or(false),
        rstrip_except: (vocab.architecture.as_deref() == Some("phi3")).then_some(&PHI3_KEEPS_WHITESPACE),
    };
    check_id(options.unk, "unknown", vocab.tokens.len())?;
    let backend = Backend::Spm(Box::new(Spm::new(&vocab.tokens, scores, types, options)));
    let (bos, eos) = (None, Default::default());
    Ok(Tokenizer { backend, pieces, bos, eos, prefix, suffix, strip_first_space: add_space_prefix, warnings })
}
