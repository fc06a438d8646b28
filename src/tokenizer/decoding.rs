//! How the tokens of a `tokenizers` pipeline turn into bytes.

use std::collections::HashMap;

use serde_json::Value;
use tokenizers::Tokenizer as Pipeline;

use super::pieces::{Pieces, SPACE_MARK, byte_level_bytes, byte_token};
use super::special::shown;
use super::{Result, TokenizerError};

/// How the tokens of a pipeline turn into bytes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decoding {
    /// Tokens are spelled in GPT-2's byte alphabet.
    byte_level: bool,
    /// `▁` is a space.
    space_mark: bool,
    /// `<0xHH>` is a byte.
    byte_tokens: bool,
    /// The first space of a text is SentencePiece's.
    pub(super) strip_first_space: bool,
}

impl Decoding {
    pub(super) fn of(pipeline: &Pipeline) -> Result<Decoding> {
        let json = |step: serde_json::Result<Value>| {
            step.map_err(|e| TokenizerError::Json { file: "tokenizer.json", reason: e.to_string() })
        };
        let mut decoding = Decoding::default();
        if let Some(decoder) = pipeline.get_decoder() {
            decoding.read(&json(serde_json::to_value(decoder))?)?;
        } else if let Some(cut) = pipeline.get_pre_tokenizer() {
            decoding.byte_level = json(serde_json::to_value(cut))?.to_string().contains("\"ByteLevel\"");
        }
        Ok(decoding)
    }

    fn read(&mut self, step: &Value) -> Result<()> {
        let kind = step["type"].as_str().unwrap_or_default();
        match kind {
            "Sequence" => {
                for inner in step["decoders"].as_array().into_iter().flatten() {
                    self.read(inner)?;
                }
            }
            "ByteLevel" => self.byte_level = true,
            "ByteFallback" => self.byte_tokens = true,
            "Fuse" => {}
            "Metaspace" => {
                self.space_mark = true;
                self.strip_first_space = step["prepend_scheme"].as_str() != Some("never");
            }
            "Replace" if step["pattern"]["String"] == SPACE_MARK.to_string() && step["content"] == " " => {
                self.space_mark = true;
            }
            "Strip" if step["content"] == " " && step["start"] == 1 && step["stop"] == 0 => {
                self.strip_first_space = true;
            }
            _ => {
                return Err(TokenizerError::Unsupported {
                    what: "decoder step of tokenizer.json",
                    name: format!("{kind}: {}", shown(step)),
                    supported: "ByteLevel, ByteFallback, Fuse, Metaspace, Replace ▁, Strip",
                });
            }
        }
        Ok(())
    }

    fn bytes(&self, token: &str) -> Vec<u8> {
        if self.byte_level {
            return byte_level_bytes(token);
        }
        match byte_token(token).filter(|_| self.byte_tokens) {
            Some(byte) => vec![byte],
            None if self.space_mark => token.replace(SPACE_MARK, " ").into_bytes(),
            None => token.as_bytes().to_vec(),
        }
    }

    /// The table of all tokens; ids that no token has are empty.
    pub(super) fn pieces(&self, pipeline: &Pipeline) -> Result<Pieces> {
        let vocab: HashMap<String, u32> = pipeline.get_vocab(true);
        let (count, largest) = (vocab.len(), vocab.values().max().copied().unwrap_or(0));
        if count == 0 {
            return Err(TokenizerError::Missing { key: "model.vocab", model: "tokenizer.json" });
        }
        // Holes are rare and small; an id far beyond the number of tokens is a damaged file.
        if largest as usize > 4 * count + 65_536 {
            let what = "largest id in tokenizer.json".to_string();
            return Err(TokenizerError::IdOutOfRange { what, id: largest.into(), tokens: count });
        }
        let mut by_id = vec![""; largest as usize + 1];
        for (token, &id) in &vocab {
            by_id[id as usize] = token;
        }
        let added = pipeline.get_added_tokens_decoder();
        let mut pieces = Pieces::default();
        for (id, token) in (0u32..).zip(by_id) {
            match added.get(&id) {
                Some(added) if self.byte_level => pieces.push(added.content.as_bytes(), added.special),
                Some(added) => pieces.push(&self.bytes(&added.content), added.special),
                None => pieces.push(&self.bytes(token), false),
            }
        }
        Ok(pieces)
    }
}
