//! [`GgufVocab`]: the tokenizer part of a GGUF file's metadata, and the tokenizer built from it.

use super::pieces::{Pieces, SPACE_MARK, byte_level_bytes, byte_token};
use super::spm::{Spm, SpmOptions, token_type};
use super::{Backend, Result, Tokenizer, TokenizerError, bpe, pre};
use crate::formats::GgufMetadata;

/// `tokenizer.*` keys of a GGUF file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufVocab {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE) or `llama` (SentencePiece).
    pub model: String,
    /// `tokenizer.ggml.pre`: name of the pre-tokenizer.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`: the token of every id.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.scores`: `[tokens]`.
    pub scores: Option<Vec<f32>>,
    /// `tokenizer.ggml.token_type`: `[tokens]`; 1 normal, 2 unknown, 3 control, 4 user-defined,
    /// 5 unused, 6 byte.
    pub token_types: Option<Vec<i32>>,
    /// `tokenizer.ggml.merges`: `left right`, best first.
    pub merges: Option<Vec<String>>,
    /// `tokenizer.ggml.bos_token_id`
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`
    pub eos: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`
    pub unk: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`
    pub pad: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`: end of turn.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.ggml.remove_extra_whitespaces`
    pub remove_extra_whitespaces: Option<bool>,
    /// `tokenizer.chat_template`
    pub chat_template: Option<String>,
    /// `general.architecture`; Phi-3's control tokens swallow the white space after them, which no
    /// tokenizer key says.
    pub architecture: Option<String>,
}

/// Phi-3's special tokens that do not take the white space after them (`rstrip` in its tokenizer.json).
const PHI3_KEEPS_WHITESPACE: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];
const SUPPORTED: &str = "gpt2, llama";
/// Kind of tokenizer in messages about `tokenizer.ggml.model = gpt2`.
const BYTE_LEVEL: &str = "byte-level BPE";
/// The same for `llama`.
const SENTENCE_PIECE: &str = "SentencePiece";

/// What converters write there when they leave the vocabulary out.
const NO_VOCAB: &str = "no_vocab";
/// The key that says which kind of tokenizer a file has; files without it have none.
pub(super) const KIND: &str = "tokenizer.ggml.model";

impl GgufVocab {
    /// Reads the keys that are there; which of them are needed depends on the kind of tokenizer.
    pub fn from_metadata(metadata: &GgufMetadata) -> Result<GgufVocab> {
        Ok(GgufVocab {
            model: metadata
                .get(KIND)?
                .filter(|model| model != NO_VOCAB)
                .ok_or(TokenizerError::Missing { key: KIND, model: "GGUF" })?,
            pre: metadata.get("tokenizer.ggml.pre")?,
            tokens: metadata.get("tokenizer.ggml.tokens")?.unwrap_or_default(),
            scores: metadata.get("tokenizer.ggml.scores")?,
            token_types: metadata.get("tokenizer.ggml.token_type")?,
            merges: metadata.get("tokenizer.ggml.merges")?,
            bos: metadata.get("tokenizer.ggml.bos_token_id")?,
            eos: metadata.get("tokenizer.ggml.eos_token_id")?,
            unk: metadata.get("tokenizer.ggml.unknown_token_id")?,
            pad: metadata.get("tokenizer.ggml.padding_token_id")?,
            eot: metadata.get("tokenizer.ggml.eot_token_id")?,
            add_bos: metadata.get("tokenizer.ggml.add_bos_token")?,
            add_eos: metadata.get("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: metadata.get("tokenizer.ggml.add_space_prefix")?,
            remove_extra_whitespaces: metadata.get("tokenizer.ggml.remove_extra_whitespaces")?,
            chat_template: metadata.get("tokenizer.chat_template")?,
            architecture: metadata.get("general.architecture")?,
        })
    }
}

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
        let keys = [(vocab.bos, "bos"), (vocab.eos, "eos"), (vocab.eot, "eot"), (vocab.unk, "unknown")];
        for (id, name) in keys {
            check_id(id, name, vocab.tokens.len())?;
        }
        tokenizer.bos = vocab.bos;
        tokenizer.add_eos_ids(vocab.eos.into_iter().chain(vocab.eot));
        tokenizer.find_end_of_turn();
        Ok(tokenizer)
    }
}

fn check_id(id: Option<u32>, name: &str, tokens: usize) -> Result<()> {
    match id {
        Some(id) if id as usize >= tokens => {
            let what = format!("tokenizer.ggml.{name}_token_id");
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
    per_token(vocab, vocab.token_types.as_ref(), token_type::NORMAL, "tokenizer.ggml.token_type")
}

/// Ids around a prompt, with the tokenizer kind's default where the file does not say.
fn around(vocab: &GgufVocab, default_bos: bool) -> Result<(Vec<u32>, Vec<u32>)> {
    let pick = |wanted: Option<bool>, default: bool, id: Option<u32>, flag, token| match (wanted, id) {
        (Some(true), None) => Err(TokenizerError::NoSpecialToken { flag, token }),
        (wanted, id) => Ok(id.filter(|_| wanted.unwrap_or(default)).into_iter().collect()),
    };
    let prefix = pick(vocab.add_bos, default_bos, vocab.bos, "tokenizer.ggml.add_bos_token", "BOS")?;
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
    for (token, &kind) in vocab.tokens.iter().zip(&types) {
        let verbatim = is_special(kind) || kind == token_type::USER_DEFINED;
        let bytes = if verbatim { token.as_bytes().to_vec() } else { byte_level_bytes(token) };
        pieces.push(&bytes, is_special(kind));
    }
    let backend = Backend::Bpe(Box::new(bpe::from_gguf(&vocab.tokens, &types, merges, pre)?));
    let (bos, eos) = (None, Default::default());
    Ok(Tokenizer { backend, pieces, bos, eos, prefix, suffix, strip_first_space: false, warnings })
}

fn sentence_piece(vocab: &GgufVocab) -> Result<Tokenizer> {
    let types = types(vocab, SENTENCE_PIECE)?;
    let missing = TokenizerError::Missing { key: "tokenizer.ggml.scores", model: SENTENCE_PIECE };
    let found = vocab.scores.as_ref().ok_or(missing)?;
    let scores = per_token(vocab, Some(found), 0.0, "tokenizer.ggml.scores")?;
    let (prefix, suffix) = around(vocab, true)?;
    let mut pieces = Pieces::default();
    for (token, &kind) in vocab.tokens.iter().zip(&types) {
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
    let (bos, eos, warnings) = (None, Default::default(), Vec::new());
    Ok(Tokenizer { backend, pieces, bos, eos, prefix, suffix, strip_first_space: add_space_prefix, warnings })
}
