//! Text ↔ token ids, and conversations → text.
//!
//! In: the bytes of `tokenizer.json` and its neighbours ([`HfFiles`]) or a GGUF file's vocabulary
//! ([`GgufVocab`]); text and ids. Out: ids and text. Knows nothing of models, GPUs, paths or clocks.
//!
//! - [`Tokenizer`]: encode, decode, special tokens.
//! - [`DecodeStream`], [`StopStrings`]: ids → text while they are generated.
//! - [`ChatTemplate`]: messages → the prompt a model was trained on.

mod atoms;
mod bpe;
mod chat;
mod decoding;
mod ends;
mod error;
mod export;
mod export_check;
mod gguf;
mod gguf_vocab;
mod guard;
mod hf;
mod hf_check;
mod jinja;
mod pieces;
mod pre;
mod pre_patterns;
mod special;
mod spm;
mod stream;

use std::collections::BTreeSet;

pub use chat::{ChatTemplate, Message};
pub use error::{Result, TokenizerError};
pub use gguf_vocab::GgufVocab;
pub use hf::HfFiles;
pub use special::SpecialTokens;
pub use stream::{DecodeStream, StopStrings};

use crate::formats::Metadata;
use bpe::Bpe;
use pieces::Pieces;
use spm::Spm;

/// How text becomes ids.
enum Backend {
    /// A pipeline of the `tokenizers` crate.
    Bpe(Box<Bpe>),
    /// SentencePiece from a scored vocabulary.
    Spm(Box<Spm>),
}

/// A model's tokenizer. Built by [`Tokenizer::from_hf`] or [`Tokenizer::from_gguf`].
pub struct Tokenizer {
    backend: Backend,
    pieces: Pieces,
    bos: Option<u32>,
    /// Ids that end an answer.
    eos: BTreeSet<u32>,
    /// Ids put before and after a prompt encoded with `add_special`.
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    /// The first space of a decoded text is SentencePiece's, not the writer's.
    strip_first_space: bool,
    warnings: Vec<String>,
}

impl Tokenizer {
    /// Tokenizer and chat template of an opened model. A template that does not parse costs the
    /// chat, not the model: it becomes a [warning](Tokenizer::warnings).
    pub fn from_metadata(metadata: &Metadata) -> Result<(Tokenizer, Option<ChatTemplate>)> {
        let (mut tokenizer, template) = match metadata {
            Metadata::HuggingFace(folder) => {
                let files = HfFiles::from_folder(folder)?;
                (Tokenizer::from_hf(&files)?, ChatTemplate::from_hf(&files))
            }
            Metadata::Gguf(metadata) => {
                let vocab = GgufVocab::from_metadata(metadata)?;
                (Tokenizer::from_gguf(&vocab)?, ChatTemplate::from_gguf(&vocab))
            }
        };
        let template = template.unwrap_or_else(|error| {
            tokenizer.warnings.push(format!("no chat: {error}"));
            None
        });
        Ok((tokenizer, template))
    }

    /// Ids of `text`. `add_special` adds what the model expects around a prompt (BOS, rarely EOS);
    /// `parse_special` turns the text of control tokens (`<|im_start|>`) into their ids: for rendered chat
    /// templates and for prompts that the user writes by hand, not for text from strangers.
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<u32>> {
        let body = match &self.backend {
            Backend::Bpe(bpe) => bpe.encode(text, parse_special)?,
            Backend::Spm(spm) => spm.encode(text, parse_special)?,
        };
        if !add_special {
            return Ok(body);
        }
        Ok([self.prefix.as_slice(), &body, &self.suffix].concat())
    }

    /// Text of `ids`; ill-formed UTF-8 becomes U+FFFD, unknown ids nothing. `skip_special` leaves
    /// control tokens out.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut stream = DecodeStream::new(self, skip_special);
        let mut text: String = ids.iter().map(|&id| stream.push(self, id)).collect();
        text += &stream.finish();
        text
    }

    /// Bytes of one token, `None` outside the vocabulary. Not always whole characters.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.pieces.bytes(id)
    }

    /// Number of ids: the largest id + 1.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The token that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Every token after which generation ends.
    pub fn eos_ids(&self) -> &BTreeSet<u32> {
        &self.eos
    }

    /// Adds ids that end generation (from a source this layer does not read); ids outside the
    /// vocabulary are ignored.
    pub fn add_eos_ids(&mut self, ids: impl IntoIterator<Item = u32>) {
        let size = self.vocab_size();
        self.eos.extend(ids.into_iter().filter(|&id| (id as usize) < size));
    }

    /// Id of the token spelled exactly `token` in the vocabulary.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        match &self.backend {
            Backend::Bpe(bpe) => bpe.id_of(token),
            Backend::Spm(spm) => spm.id_of(token),
        }
    }

    /// True for control tokens, which readers do not see.
    pub fn is_special(&self, id: u32) -> bool {
        self.pieces.is_special(id)
    }

    /// True when `encode(_, add_special: true, _)` puts BOS first.
    pub fn adds_bos(&self) -> bool {
        self.bos.is_some() && self.prefix.first().copied() == self.bos
    }

    /// Compares with the embedding matrix of `rows` rows: an id without a row is an error, rows
    /// without a token are padding.
    pub fn check_vocab(&self, rows: usize) -> Result<()> {
        if self.vocab_size() > rows {
            return Err(TokenizerError::VocabularyTooLarge { tokens: self.vocab_size(), rows });
        }
        Ok(())
    }

    /// What was doubtful while building, one sentence each, for the user.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn strips_first_space(&self) -> bool {
        self.strip_first_space
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.backend {
            Backend::Bpe(_) => "BPE",
            Backend::Spm(_) => "SentencePiece",
        };
        write!(f, "Tokenizer({kind}, {} tokens, bos {:?}, eos {:?})", self.vocab_size(), self.bos, self.eos)
    }
}
