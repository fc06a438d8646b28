//! [`GgufVocab`]: the tokenizer part of a GGUF file's metadata.

use std::collections::BTreeMap;

use super::{Result, SpecialTokens, TokenizerError};
use crate::formats::GgufMetadata;

/// `tokenizer.*` keys of a GGUF file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufVocab {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE) or `llama` (SentencePiece).
    pub model: String,
    /// `tokenizer.ggml.pre`: name of the pre-tokenizer.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`: the token of every id. One that is not UTF-8 has a name here that no text
    /// contains.
    pub tokens: Vec<String>,
    /// Bytes of the tokens that are not UTF-8, by id.
    pub raw_tokens: BTreeMap<u32, Vec<u8>>,
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
    /// `tokenizer.ggml.seperator_token_id`, spelled so.
    pub sep: Option<u32>,
    /// `tokenizer.ggml.cls_token_id`
    pub cls: Option<u32>,
    /// `tokenizer.ggml.mask_token_id`
    pub mask: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`: end of turn.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.eom_token_id`: end of message.
    pub eom: Option<u32>,
    /// `tokenizer.ggml.fim_pad_token_id`, `fim_rep_token_id`, `fim_sep_token_id`: generation ends there,
    /// too.
    pub fim: Vec<u32>,
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
    /// What the file says and cannot mean, one sentence each.
    pub notices: Vec<String>,
}

/// What converters write there when they leave the vocabulary out.
const NO_VOCAB: &str = "no_vocab";
/// The key that says which kind of tokenizer a file has; files without it have none.
pub(super) const KIND: &str = "tokenizer.ggml.model";
const TEMPLATE: &str = "tokenizer.chat_template";

impl GgufVocab {
    /// Reads the keys that are there; which of them are needed depends on the kind of tokenizer.
    pub fn from_metadata(metadata: &GgufMetadata) -> Result<GgufVocab> {
        let mut vocab = GgufVocab {
            model: metadata
                .get(KIND)?
                .filter(|model| model != NO_VOCAB)
                .ok_or(TokenizerError::Missing { key: KIND, model: "GGUF" })?,
            pre: metadata.get("tokenizer.ggml.pre")?,
            scores: metadata.get("tokenizer.ggml.scores")?,
            token_types: metadata.get("tokenizer.ggml.token_type")?,
            add_bos: metadata.get("tokenizer.ggml.add_bos_token")?,
            add_eos: metadata.get("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: metadata.get("tokenizer.ggml.add_space_prefix")?,
            remove_extra_whitespaces: metadata.get("tokenizer.ggml.remove_extra_whitespaces")?,
            architecture: metadata.get("general.architecture")?,
            ..GgufVocab::default()
        };
        vocab.read_tokens(metadata)?;
        vocab.read_ids(metadata)?;
        vocab.read_template(metadata);
        Ok(vocab)
    }

    fn read_tokens(&mut self, metadata: &GgufMetadata) -> Result<()> {
        let texts = metadata.get::<Vec<&[u8]>>("tokenizer.ggml.tokens")?.unwrap_or_default();
        for (id, bytes) in (0u32..).zip(texts) {
            self.tokens.push(match std::str::from_utf8(bytes) {
                Ok(text) => text.to_string(),
                Err(_) => {
                    self.raw_tokens.insert(id, bytes.to_vec());
                    format!("\0token {id}")
                }
            });
        }
        // A rule that is not UTF-8 stays a rule for tokens that no text makes.
        let rules = metadata.get::<Vec<&[u8]>>("tokenizer.ggml.merges")?;
        self.merges = rules
            .map(|rules| rules.into_iter().map(|rule| String::from_utf8_lossy(rule).into_owned()).collect());
        Ok(())
    }

    /// Ids of tokens with a role; those outside of the vocabulary are ignored, with a notice.
    fn read_ids(&mut self, metadata: &GgufMetadata) -> Result<()> {
        let size = self.tokens.len();
        let mut notices = Vec::new();
        let mut id = |role: &str| -> Result<Option<u32>> {
            let key = format!("tokenizer.ggml.{role}_token_id");
            let Some(number) = metadata.get::<i64>(&key)? else { return Ok(None) };
            let id = u32::try_from(number).ok().filter(|&id| (id as usize) < size);
            if id.is_none() {
                notices.push(format!("{key} {number} is ignored: the vocabulary has {size} tokens"));
            }
            Ok(id)
        };
        self.bos = id("bos")?;
        self.eos = id("eos")?;
        self.unk = id("unknown")?;
        self.pad = id("padding")?;
        self.sep = id("seperator")?;
        self.cls = id("cls")?;
        self.mask = id("mask")?;
        self.eot = id("eot")?;
        self.eom = id("eom")?;
        for role in ["fim_pad", "fim_rep", "fim_sep"] {
            self.fim.extend(id(role)?);
        }
        self.notices.extend(notices);
        Ok(())
    }

    /// The default template: under its key, or under that key with the name `default`.
    fn read_template(&mut self, metadata: &GgufMetadata) {
        for key in [TEMPLATE, "tokenizer.chat_template.default"] {
            match metadata.get::<String>(key) {
                Ok(Some(text)) => {
                    self.chat_template = Some(text);
                    return;
                }
                Ok(None) => {}
                Err(_) => {
                    let found = metadata.value(key).map(|value| value.describe()).unwrap_or_default();
                    self.notices.push(format!("no chat: {key} is {found}, expected a text"));
                }
            }
        }
    }

    /// Texts of the tokens with a role. Templates of GGUF files may count on BOS and EOS: these are empty
    /// where the file has none.
    pub fn special_tokens(&self) -> SpecialTokens {
        let text = |id: Option<u32>| self.tokens.get(id? as usize).map(String::as_str);
        let roles = [
            ("bos_token", text(self.bos).or(Some(""))),
            ("eos_token", text(self.eos).or(Some(""))),
            ("unk_token", text(self.unk)),
            ("sep_token", text(self.sep)),
            ("pad_token", text(self.pad)),
            ("cls_token", text(self.cls)),
            ("mask_token", text(self.mask)),
        ];
        SpecialTokens::new(roles.into_iter().filter_map(|(role, text)| Some((role, text?))))
    }
}
