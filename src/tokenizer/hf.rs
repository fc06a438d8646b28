//! The tokenizer of a Hugging Face model folder.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::Tokenizer as Pipeline;

use super::bpe::Bpe;
use super::pieces::{Pieces, SPACE_MARK, byte_level_bytes, byte_token};
use super::{Backend, Result, Tokenizer, TokenizerError};
use crate::formats::HfFolder;

/// What a model folder says about text. Only the first is needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct HfFiles<'a> {
    /// `tokenizer.json`, unparsed.
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`
    pub tokenizer_config: Option<&'a Value>,
    /// `generation_config.json`
    pub generation_config: Option<&'a Value>,
    /// `config.json`
    pub config: Option<&'a Value>,
    /// Source of `chat_template.jinja`.
    pub chat_template: Option<&'a str>,
}

/// What is read of tokenizer_config.json.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenizerConfig {
    pub(super) bos_token: Option<TokenText>,
    pub(super) eos_token: Option<TokenText>,
    pub(super) pad_token: Option<TokenText>,
    pub(super) add_bos_token: Option<bool>,
    pub(super) add_eos_token: Option<bool>,
    pub(super) chat_template: Option<Value>,
}

/// A token is written as its text or as an object with the text in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum TokenText {
    Plain(String),
    Object { content: String },
}

impl TokenText {
    pub(super) fn as_str(&self) -> &str {
        match self {
            TokenText::Plain(text) | TokenText::Object { content: text } => text,
        }
    }
}

/// One id or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Ids {
    One(i64),
    Many(Vec<i64>),
}

/// What is read of config.json and generation_config.json.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct IdConfig {
    bos_token_id: Option<Ids>,
    eos_token_id: Option<Ids>,
}

impl IdConfig {
    /// Ids in `ids` that are not negative (some files write -1 for "none").
    fn ids(ids: Option<&Ids>) -> Vec<u32> {
        let all = match ids {
            None => &[][..],
            Some(Ids::One(id)) => std::slice::from_ref(id),
            Some(Ids::Many(ids)) => ids,
        };
        all.iter().filter_map(|&id| u32::try_from(id).ok()).collect()
    }
}

fn read<T: DeserializeOwned + Default>(file: &'static str, json: Option<&Value>) -> Result<T> {
    let Some(json) = json else { return Ok(T::default()) };
    T::deserialize(json).map_err(|e| TokenizerError::Json { file, reason: e.to_string() })
}

impl<'a> HfFiles<'a> {
    /// The files of an opened folder.
    pub fn from_folder(folder: &'a HfFolder) -> Result<HfFiles<'a>> {
        let missing = TokenizerError::Missing { key: "tokenizer.json", model: "Hugging Face" };
        Ok(HfFiles {
            tokenizer: folder.tokenizer_json.as_ref().ok_or(missing)?.bytes(),
            tokenizer_config: folder.tokenizer_config.as_ref(),
            generation_config: folder.generation_config.as_ref(),
            config: Some(&folder.config),
            chat_template: folder.chat_template.as_deref(),
        })
    }

    pub(super) fn settings(&self) -> Result<TokenizerConfig> {
        read("tokenizer_config.json", self.tokenizer_config)
    }

    /// Ids that end a text by generation_config.json and config.json, each once.
    pub(super) fn stated_eos(&self) -> Result<Vec<u32>> {
        let generation: IdConfig = read("generation_config.json", self.generation_config)?;
        let config: IdConfig = read("config.json", self.config)?;
        let mut ids = IdConfig::ids(generation.eos_token_id.as_ref());
        ids.extend(IdConfig::ids(config.eos_token_id.as_ref()));
        let mut seen = std::collections::BTreeSet::new();
        ids.retain(|id| seen.insert(*id));
        Ok(ids)
    }
}

impl Tokenizer {
    /// Builds the tokenizer of a Hugging Face folder.
    pub fn from_hf(files: &HfFiles<'_>) -> Result<Tokenizer> {
        let settings = files.settings()?;
        let generation: IdConfig = read("generation_config.json", files.generation_config)?;
        let config: IdConfig = read("config.json", files.config)?;
        let bpe = Bpe::new(load_pipeline(files.tokenizer)?);
        let decoding = Decoding::of(bpe.pipeline())?;
        let pieces = decoding.pieces(bpe.pipeline())?;
        let (prefix, suffix) = around(bpe.pipeline())?;
        let mut tokenizer = Tokenizer {
            backend: Backend::Bpe(Box::new(bpe)),
            pieces,
            bos: None,
            eos: Default::default(),
            prefix,
            suffix,
            strip_first_space: decoding.strip_first_space,
            warnings: Vec::new(),
        };
        let id_of = |token: &Option<TokenText>| token.as_ref().and_then(|t| tokenizer.id_of(t.as_str()));
        let (bos, eos) = (id_of(&settings.bos_token), id_of(&settings.eos_token));
        let from_configs =
            || [&generation, &config].into_iter().flat_map(|c| IdConfig::ids(c.bos_token_id.as_ref()));
        let size = tokenizer.vocab_size();
        tokenizer.bos = bos.or_else(|| from_configs().find(|&id| (id as usize) < size));
        tokenizer.add_eos_ids(eos);
        tokenizer.add_eos_ids(IdConfig::ids(generation.eos_token_id.as_ref()));
        tokenizer.add_eos_ids(IdConfig::ids(config.eos_token_id.as_ref()));
        tokenizer.find_end_of_turn();
        tokenizer.apply_flags(&settings, eos)?;
        Ok(tokenizer)
    }

    /// `add_bos_token` and `add_eos_token`, where stated, override the post-processor.
    fn apply_flags(&mut self, settings: &TokenizerConfig, eos: Option<u32>) -> Result<()> {
        let missing = |flag, token| TokenizerError::NoSpecialToken { flag, token };
        if let Some(wanted) = settings.add_bos_token {
            self.prefix.retain(|&id| Some(id) != self.bos);
            if wanted {
                self.prefix.insert(0, self.bos.ok_or_else(|| missing("add_bos_token", "BOS"))?);
            }
        }
        if let Some(wanted) = settings.add_eos_token {
            self.suffix.retain(|&id| Some(id) != eos);
            if wanted {
                self.suffix.push(eos.ok_or_else(|| missing("add_eos_token", "EOS"))?);
            }
        }
        Ok(())
    }
}

fn load_pipeline(json: &[u8]) -> Result<Pipeline> {
    let file = "tokenizer.json";
    let mut pipeline =
        Pipeline::from_bytes(json).map_err(|e| TokenizerError::Json { file, reason: e.to_string() })?;
    // Stored for training; a prompt is never cut or filled up silently.
    pipeline.with_padding(None);
    pipeline.with_truncation(None).map_err(|e| TokenizerError::Json { file, reason: e.to_string() })?;
    Ok(pipeline)
}

/// Ids that the post-processor puts before and after a text: seen by processing a sample.
fn around(pipeline: &Pipeline) -> Result<(Vec<u32>, Vec<u32>)> {
    let encode = |special| {
        let ids = pipeline.encode("a", special).map(|encoding| encoding.get_ids().to_vec());
        ids.map_err(|e| TokenizerError::Encode { reason: e.to_string() })
    };
    let (plain, full) = (encode(false)?, encode(true)?);
    let at = full.windows(plain.len().max(1)).position(|window| window == plain);
    let Some(at) = at else { return Ok((full, Vec::new())) };
    Ok((full[..at].to_vec(), full[at + plain.len()..].to_vec()))
}

/// How the tokens of a pipeline turn into bytes.
#[derive(Debug, Default, PartialEq)]
struct Decoding {
    /// Tokens are spelled in GPT-2's byte alphabet.
    byte_level: bool,
    /// `▁` is a space.
    space_mark: bool,
    /// `<0xHH>` is a byte.
    byte_tokens: bool,
    strip_first_space: bool,
}

impl Decoding {
    fn of(pipeline: &Pipeline) -> Result<Decoding> {
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
                    name: format!("{kind}: {step}"),
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
    fn pieces(&self, pipeline: &Pipeline) -> Result<Pieces> {
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
