//! [`SpecialTokens`]: which tokens have a role, by the names that configuration files and chat templates
//! give them, and from which files that is known.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{HfFiles, Result, TokenizerError};
use crate::base::quote::clip_to;

/// Roles, as templates name them.
const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Lists of tokens with a role of the model's own.
const LISTS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

pub(super) const SETTINGS: &str = "tokenizer_config.json";
const MAP: &str = "special_tokens_map.json";
/// The key under which tokenizer_config.json lists added tokens by id.
const DECODER: &str = "added_tokens_decoder";

/// Texts of the tokens that have a role: `bos_token`, `eos_token`, `unk_token`, `sep_token`, `pad_token`,
/// `cls_token`, `mask_token`. A role that the model has no token for is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens(BTreeMap<String, String>);

impl SpecialTokens {
    /// Tokens by role.
    pub fn new<R: Into<String>, T: Into<String>>(tokens: impl IntoIterator<Item = (R, T)>) -> Self {
        SpecialTokens(tokens.into_iter().map(|(role, text)| (role.into(), text.into())).collect())
    }

    /// The text of the token with this role.
    pub fn get(&self, role: &str) -> Option<&str> {
        self.0.get(role).map(String::as_str)
    }

    /// (role, text), sorted by role.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(role, text)| (role.as_str(), text.as_str()))
    }
}

/// A token that a configuration file adds to a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) content: String,
    pub(super) special: bool,
    pub(super) single_word: bool,
    pub(super) lstrip: bool,
    pub(super) rstrip: bool,
    pub(super) normalized: bool,
}

/// Everything that the files beside tokenizer.json say about tokens.
#[derive(Default)]
pub(super) struct Declared {
    pub(super) tokens: SpecialTokens,
    /// Tokens of `added_tokens_decoder`, by id.
    pub(super) added: Vec<Added>,
    /// Tokens with a role, and those in lists of special tokens.
    pub(super) special: Vec<Added>,
}

/// A JSON value in a message: its beginning where it is long.
pub(super) fn shown(value: &Value) -> String {
    clip_to(&value.to_string(), 60)
}

/// An error that names key, value and what was expected.
pub(super) fn wrong(file: &'static str, key: &str, found: &Value, expected: &str) -> TokenizerError {
    TokenizerError::Json { file, reason: format!("{key} is {}, expected {expected}", shown(found)) }
}

/// A token as text, or as an object with flags.
fn token(file: &'static str, key: &str, value: &Value, special: bool) -> Result<Option<Added>> {
    let plain = |content: &str| Added {
        content: content.to_string(),
        special,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
    };
    let expected = "a text, or an object with a text `content` and flags true or false";
    match value {
        Value::Null => Ok(None),
        Value::String(content) => Ok(Some(plain(content))),
        Value::Object(object) => {
            let content = object.get("content").and_then(Value::as_str);
            let content = content.ok_or_else(|| wrong(file, key, value, expected))?;
            let flag = |name: &str, usual: bool| match object.get(name) {
                None | Some(Value::Null) => Ok(usual),
                Some(Value::Bool(flag)) => Ok(*flag),
                Some(_) => Err(wrong(file, key, value, expected)),
            };
            let special = special || flag("special", false)?;
            Ok(Some(Added {
                special,
                single_word: flag("single_word", false)?,
                lstrip: flag("lstrip", false)?,
                rstrip: flag("rstrip", false)?,
                normalized: flag("normalized", !special)?,
                ..plain(content)
            }))
        }
        _ => Err(wrong(file, key, value, expected)),
    }
}

/// What a tokenizer class of `transformers` takes where the files say nothing, by role.
fn class_defaults(files: &HfFiles<'_>) -> &'static [(&'static str, &'static str)] {
    let class = files.tokenizer_config.and_then(|config| config["tokenizer_class"].as_str());
    let family = files.config.and_then(|config| config["model_type"].as_str());
    let class = class.map(|class| class.strip_suffix("Fast").unwrap_or(class));
    match (class, family) {
        (Some("LlamaTokenizer" | "CodeLlamaTokenizer"), _) => {
            &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")]
        }
        (Some("Qwen2Tokenizer"), _) | (None, Some("qwen2" | "qwen3")) => {
            &[("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>"), ("pad_token", "<|endoftext|>")]
        }
        (Some("GPT2Tokenizer"), _) => {
            &[("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>")]
        }
        _ => &[],
    }
}

impl Declared {
    /// As `transformers` reads them: special_tokens_map.json goes before tokenizer_config.json, unless
    /// that lists added tokens by id; then it is not read.
    pub(super) fn of(files: &HfFiles<'_>) -> Result<Declared> {
        let settings = object(SETTINGS, files.tokenizer_config)?;
        let decoder = settings.and_then(|settings| settings.get(DECODER)).filter(|value| !value.is_null());
        let map = object(MAP, files.special_tokens_map)?.filter(|_| decoder.is_none());
        let added = decoder.map(added_tokens).transpose()?.unwrap_or_default();
        let find = |key: &str| {
            let from_map = map.and_then(|map| map.get(key)).map(|value| (MAP, value));
            from_map.or_else(|| settings.and_then(|map| map.get(key)).map(|value| (SETTINGS, value)))
        };
        let defaults: BTreeMap<&str, &str> = class_defaults(files).iter().copied().collect();
        let (mut tokens, mut special) = (BTreeMap::new(), Vec::new());
        for role in ROLES {
            let found = match find(role) {
                Some((file, value)) => token(file, role, value, true)?,
                None => {
                    let usual = defaults.get(role).map(|text| Value::from(*text));
                    usual.map_or(Ok(None), |text| token(SETTINGS, role, &text, true))?
                }
            };
            if let Some(found) = found {
                tokens.insert(role.to_string(), found.content.clone());
                special.push(found);
            }
        }
        for key in LISTS {
            let Some((file, Value::Array(list))) = find(key) else { continue };
            for value in list {
                special.extend(token(file, key, value, true)?);
            }
        }
        // Flags given with the id are the token's own.
        for one in &mut special {
            if let Some(same) = added.iter().find(|added| added.content == one.content) {
                *one = Added { special: true, ..same.clone() };
            }
        }
        Ok(Declared { tokens: SpecialTokens(tokens), added, special })
    }
}

fn object<'v>(
    file: &'static str,
    value: Option<&'v Value>,
) -> Result<Option<&'v serde_json::Map<String, Value>>> {
    match value {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(other) => Err(wrong(file, "the file", other, "an object")),
    }
}

fn added_tokens(value: &Value) -> Result<Vec<Added>> {
    let expected = "an object of tokens by id";
    let by_id = value.as_object().ok_or_else(|| wrong(SETTINGS, DECODER, value, expected))?;
    let mut all = BTreeMap::new();
    for (id, value) in by_id {
        let number: u32 = id
            .parse()
            .map_err(|_| wrong(SETTINGS, DECODER, &Value::from(id.as_str()), "an id as the key"))?;
        if let Some(token) = token(SETTINGS, &format!("{DECODER}.{id}"), value, false)? {
            all.insert(number, token);
        }
    }
    Ok(all.into_values().collect())
}
