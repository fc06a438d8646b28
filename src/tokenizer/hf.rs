//! The tokenizer of a Hugging Face model folder.

use serde_json::Value;
use tokenizers::{AddedToken, Tokenizer as Pipeline};

use super::bpe::Bpe;
use super::decoding::Decoding;
use super::guard::guarded;
use super::special::{Added, Declared, SETTINGS, wrong};
use super::{Backend, Result, Tokenizer, TokenizerError, ends, hf_check};
use crate::formats::HfFolder;

/// What a model folder says about text. Only the first is needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct HfFiles<'a> {
    /// `tokenizer.json`, unparsed.
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`
    pub tokenizer_config: Option<&'a Value>,
    /// `special_tokens_map.json`
    pub special_tokens_map: Option<&'a Value>,
    /// `generation_config.json`
    pub generation_config: Option<&'a Value>,
    /// `config.json`
    pub config: Option<&'a Value>,
    /// Source of `chat_template.jinja`.
    pub chat_template: Option<&'a str>,
}

/// A flag of tokenizer_config.json.
fn flag(files: &HfFiles<'_>, key: &str) -> Result<Option<bool>> {
    match files.tokenizer_config.and_then(|config| config.get(key)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(wrong(SETTINGS, key, other, "true or false")),
    }
}

const GENERATION: &str = "generation_config.json";
const CONFIG: &str = "config.json";

/// One id or several; negative ones mean "none".
fn ids(file: &'static str, config: Option<&Value>, key: &str) -> Result<Vec<u32>> {
    let value = config.and_then(|config| config.get(key));
    let expected = "an id, or a list of ids";
    let all = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let mut ids = Vec::new();
    for id in all {
        let id = id.as_i64().ok_or_else(|| wrong(file, key, value.unwrap_or(id), expected))?;
        ids.extend(u32::try_from(id));
    }
    Ok(ids)
}

impl<'a> HfFiles<'a> {
    /// The files of an opened folder.
    pub fn from_folder(folder: &'a HfFolder) -> Result<HfFiles<'a>> {
        let missing = TokenizerError::Missing { key: "tokenizer.json", model: "Hugging Face" };
        Ok(HfFiles {
            tokenizer: folder.tokenizer_json.as_ref().ok_or(missing)?.bytes(),
            tokenizer_config: folder.tokenizer_config.as_ref(),
            special_tokens_map: folder.special_tokens_map.as_ref(),
            generation_config: folder.generation_config.as_ref(),
            config: Some(&folder.config),
            chat_template: folder.chat_template.as_deref(),
        })
    }

    /// Ids that end a text by generation_config.json and config.json, each once.
    pub(super) fn stated_eos(&self) -> Result<Vec<u32>> {
        let mut all = ids(GENERATION, self.generation_config, "eos_token_id")?;
        all.extend(ids(CONFIG, self.config, "eos_token_id")?);
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|id| seen.insert(*id));
        Ok(all)
    }
}

const FILE: &str = "tokenizer.json";

impl Tokenizer {
    /// Builds the tokenizer of a Hugging Face folder.
    pub fn from_hf(files: &HfFiles<'_>) -> Result<Tokenizer> {
        let declared = Declared::of(files)?;
        let built = guarded(|| build(files, &declared)).unwrap_or_else(|words| {
            let cause = format!("the tokenizer library gave up on it ({words})");
            Err(hf_check::explained(files.tokenizer, &cause))
        });
        let mut tokenizer = built?;
        let role = |role: &str| declared.tokens.get(role).and_then(|text| tokenizer.id_of(text));
        let (bos, eos) = (role("bos_token"), role("eos_token"));
        let mut ignored = Vec::new();
        let mut known = |file: &'static str, config: Option<&Value>, key: &str| -> Result<Vec<u32>> {
            let (inside, outside): (Vec<u32>, Vec<u32>) =
                ids(file, config, key)?.into_iter().partition(|&id| (id as usize) < tokenizer.vocab_size());
            let size = tokenizer.vocab_size();
            let notice = |id| format!("{file}: {key} {id} is ignored: the vocabulary has {size} tokens");
            ignored.extend(outside.into_iter().map(notice));
            Ok(inside)
        };
        let sources = [(GENERATION, files.generation_config), (CONFIG, files.config)];
        let (mut begins, mut stops) = (Vec::new(), Vec::new());
        for (file, config) in sources {
            begins.extend(known(file, config, "bos_token_id")?);
            stops.extend(known(file, config, "eos_token_id")?);
        }
        tokenizer.bos = bos.or(begins.first().copied());
        tokenizer.add_eos_ids(eos.into_iter().chain(stops));
        let by_text = ends::of_hf(|text| tokenizer.id_of(text));
        tokenizer.add_eos_ids(by_text);
        tokenizer.warnings.extend(ignored);
        tokenizer.apply_flags(flag(files, "add_bos_token")?, flag(files, "add_eos_token")?, eos)?;
        Ok(tokenizer)
    }

    /// `add_bos_token` and `add_eos_token`, where stated, override the post-processor.
    fn apply_flags(&mut self, add_bos: Option<bool>, add_eos: Option<bool>, eos: Option<u32>) -> Result<()> {
        let missing = |flag, token| TokenizerError::NoSpecialToken { flag, token };
        if let Some(wanted) = add_bos {
            self.prefix.retain(|&id| Some(id) != self.bos);
            if wanted {
                self.prefix.insert(0, self.bos.ok_or_else(|| missing("add_bos_token", "BOS"))?);
            }
        }
        if let Some(wanted) = add_eos {
            self.suffix.retain(|&id| Some(id) != eos);
            if wanted {
                self.suffix.push(eos.ok_or_else(|| missing("add_eos_token", "EOS"))?);
            }
        }
        Ok(())
    }
}

/// The tokenizer that tokenizer.json and the tokens of other files make, without its ends.
fn build(files: &HfFiles<'_>, declared: &Declared) -> Result<Tokenizer> {
    hf_check::check(files.tokenizer)?;
    let mut pipeline = load_pipeline(files.tokenizer)?;
    let rows = files.config.and_then(|config| config["vocab_size"].as_u64()).unwrap_or(0);
    declare(&mut pipeline, declared, rows);
    let decoding = Decoding::of(&pipeline)?;
    let pieces = decoding.pieces(&pipeline)?;
    let (prefix, suffix) = around(&pipeline)?;
    Ok(Tokenizer {
        backend: Backend::Bpe(Box::new(Bpe::new(pipeline))),
        pieces,
        bos: None,
        eos: Default::default(),
        prefix,
        suffix,
        strip_first_space: decoding.strip_first_space,
        warnings: Vec::new(),
    })
}

/// Adds the tokens that only files beside tokenizer.json name. `rows`: ids that the embedding is said to
/// have; a token with a role that has neither an id nor a row is left out.
fn declare(pipeline: &mut Pipeline, declared: &Declared, rows: u64) {
    let add = |pipeline: &mut Pipeline, token: &Added| {
        let added = AddedToken::from(token.content.as_str(), token.special)
            .single_word(token.single_word)
            .lstrip(token.lstrip)
            .rstrip(token.rstrip)
            .normalized(token.normalized);
        match token.special {
            true => pipeline.add_special_tokens(&[added]),
            false => pipeline.add_tokens(&[added]),
        }
    };
    for token in &declared.added {
        add(pipeline, token);
    }
    for token in &declared.special {
        let known = pipeline.token_to_id(&token.content).is_some();
        if known || (pipeline.get_vocab_size(true) as u64) < rows {
            add(pipeline, token);
        }
    }
}

fn load_pipeline(json: &[u8]) -> Result<Pipeline> {
    let mut pipeline = Pipeline::from_bytes(json).map_err(|e| hf_check::explained(json, &e.to_string()))?;
    // Stored for training; a prompt is never cut or filled up silently.
    pipeline.with_padding(None);
    let reason = |e: tokenizers::Error| TokenizerError::Json { file: FILE, reason: e.to_string() };
    pipeline.with_truncation(None).map_err(reason)?;
    Ok(pipeline)
}

/// Ids that the post-processor puts before and after a text: seen by processing a sample.
fn around(pipeline: &Pipeline) -> Result<(Vec<u32>, Vec<u32>)> {
    let encode = |special| {
        let ids = pipeline.encode("a", special).map(|encoding| encoding.get_ids().to_vec());
        ids.map_err(|e| TokenizerError::Json { file: FILE, reason: e.to_string() })
    };
    let (plain, full) = (encode(false)?, encode(true)?);
    let at = full.windows(plain.len().max(1)).position(|window| window == plain);
    let Some(at) = at else { return Ok((full, Vec::new())) };
    Ok((full[..at].to_vec(), full[at + plain.len()..].to_vec()))
}
