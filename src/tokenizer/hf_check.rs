//! tokenizer.json looked at before and after the `tokenizers` crate reads it: what would take more time or
//! memory than a text is worth is refused, and what the crate refuses is explained.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::{DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use super::special::shown;
use super::{Result, TokenizerError};

const FILE: &str = "tokenizer.json";
/// Most bytes that one byte of a text may become before it is cut.
const MAX_GROWTH: u64 = 256;
/// Most steps of a component, those in sequences counted.
const MAX_STEPS: usize = 64;
/// Longest word that WordPiece looks up piece by piece; published files say 100.
const MAX_WORD_CHARS: u64 = 1000;

/// What is looked at, and nothing of the vocabulary.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default, borrow)]
    model: Option<&'a RawValue>,
}

/// Kinds of steps that the crate knows, by component.
const COMPONENTS: [(&str, &str, &[&str]); 4] = [
    (
        "normalizer",
        "normalizers",
        &[
            "Sequence",
            "BertNormalizer",
            "StripNormalizer",
            "Strip",
            "StripAccents",
            "NFC",
            "NFD",
            "NFKC",
            "NFKD",
            "Lowercase",
            "Nmt",
            "Precompiled",
            "Replace",
            "Prepend",
            "ByteLevel",
        ],
    ),
    (
        "pre_tokenizer",
        "pretokenizers",
        &[
            "Sequence",
            "BertPreTokenizer",
            "ByteLevel",
            "CharDelimiterSplit",
            "Metaspace",
            "Whitespace",
            "Split",
            "Punctuation",
            "WhitespaceSplit",
            "Digits",
            "UnicodeScripts",
            "FixedLength",
        ],
    ),
    (
        "post_processor",
        "processors",
        &["Sequence", "RobertaProcessing", "BertProcessing", "ByteLevel", "TemplateProcessing"],
    ),
    (
        "decoder",
        "decoders",
        &[
            "Sequence",
            "BPEDecoder",
            "ByteLevel",
            "WordPiece",
            "Metaspace",
            "CTC",
            "Replace",
            "Fuse",
            "Strip",
            "ByteFallback",
        ],
    ),
];
const MODELS: [&str; 4] = ["BPE", "WordPiece", "WordLevel", "Unigram"];

fn refused(reason: String) -> TokenizerError {
    TokenizerError::Json { file: FILE, reason }
}

/// Refuses what no text should go through. What does not parse here is left to the crate.
pub(super) fn check(json: &[u8]) -> Result<()> {
    let Ok(outline) = serde_json::from_slice::<Outline<'_>>(json) else { return Ok(()) };
    let mut growth = 1u64;
    for (component, steps) in [("normalizer", &outline.normalizer), ("pre_tokenizer", &outline.pre_tokenizer)]
    {
        let mut all = Vec::new();
        leaves(steps, &mut all);
        if all.len() > MAX_STEPS {
            let count = all.len();
            return Err(refused(format!("{component} has {count} steps, expected at most {MAX_STEPS}")));
        }
        growth = all.iter().fold(growth, |growth, step| growth.saturating_mul(step_growth(step)));
    }
    if growth > MAX_GROWTH {
        let what = "its normalizer and pre_tokenizer make a text";
        return Err(refused(format!("{what} up to {growth} times as long, expected at most {MAX_GROWTH}")));
    }
    #[derive(Deserialize)]
    struct Words {
        max_input_chars_per_word: Option<u64>,
    }
    let model = outline.model.and_then(|model| serde_json::from_str::<Words>(model.get()).ok());
    match model.and_then(|model| model.max_input_chars_per_word) {
        Some(chars) if chars > MAX_WORD_CHARS => Err(refused(format!(
            "model.max_input_chars_per_word is {chars}, expected at most {MAX_WORD_CHARS}"
        ))),
        _ => Ok(()),
    }
}

/// The steps of a component, out of their sequences.
fn leaves<'v>(step: &'v Value, all: &mut Vec<&'v Value>) {
    let inner = ["normalizers", "pretokenizers", "processors", "decoders"];
    let inner = inner.iter().find_map(|key| step.get(key)?.as_array());
    match inner {
        Some(steps) => steps.iter().for_each(|step| leaves(step, all)),
        None if step.is_null() => {}
        None => all.push(step),
    }
}

/// How many times as long a step makes a text, at most.
fn step_growth(step: &Value) -> u64 {
    match step["type"].as_str() {
        Some("ByteLevel") => 2,
        Some("Replace") => {
            let content = step["content"].as_str().map_or(0, str::len) as u64;
            match step["pattern"]["String"].as_str().map_or(0, str::len) as u64 {
                // An expression, or nothing, may be found at every place.
                0 => content + 1,
                pattern => content.div_ceil(pattern).max(1),
            }
        }
        _ => 1,
    }
}

/// The error for a tokenizer.json that the crate could not use for `cause`.
pub(super) fn explained(json: &[u8], cause: &str) -> TokenizerError {
    let reason = match serde_json::from_slice::<Value>(json) {
        Err(error) => format!("it is no valid JSON ({error}): download it again"),
        Ok(file) => explanation(&file).unwrap_or_else(|| {
            // The words of the parser's own types help nobody.
            let cause = match cause.contains("untagged enum") {
                true => "a part of it has another form than expected",
                false => cause,
            };
            format!("{cause}: the file is damaged, or newer than this program")
        }),
    };
    refused(reason)
}

/// What is wrong with the file, if that is something with a name.
fn explanation(file: &Value) -> Option<String> {
    let Some(object) = file.as_object() else {
        return Some(format!("it is {}, expected an object", shown(file)));
    };
    for (component, list, known) in COMPONENTS {
        let found = object.get(component).and_then(|step| wrong_step(component, list, known, step));
        if found.is_some() {
            return found;
        }
    }
    let model = object.get("model").unwrap_or(&Value::Null);
    wrong_model(model).or_else(|| wrong_added(object.get("added_tokens")?))
}

fn wrong_step(component: &str, list: &str, known: &[&str], step: &Value) -> Option<String> {
    if step.is_null() {
        return None;
    }
    let Some(object) = step.as_object() else {
        return Some(format!("{component} is {}, expected an object with a `type`", shown(step)));
    };
    let Some(kind) = object.get("type").and_then(Value::as_str) else {
        return Some(format!("{component} has a step without a `type`: {}", shown(step)));
    };
    if !known.contains(&kind) {
        return Some(format!(
            "{component} has a step of type `{kind}`, which this program does not know: the file is damaged, \
             or a newer version of this program is needed"
        ));
    }
    if kind == "Sequence" {
        let Some(steps) = object.get(list).and_then(Value::as_array) else {
            return Some(format!("{component} of type `Sequence` needs a list `{list}`"));
        };
        return steps.iter().find_map(|step| wrong_step(component, list, known, step));
    }
    let fits = super::guard::guarded(|| match component {
        "normalizer" => NormalizerWrapper::deserialize(step).is_ok(),
        "pre_tokenizer" => PreTokenizerWrapper::deserialize(step).is_ok(),
        "post_processor" => PostProcessorWrapper::deserialize(step).is_ok(),
        _ => DecoderWrapper::deserialize(step).is_ok(),
    });
    let fits = fits.unwrap_or(false);
    (!fits).then(|| {
        let text = shown(step);
        format!("{component} step `{kind}` has a wrong or missing entry, or one that is too new: {text}")
    })
}

fn wrong_model(model: &Value) -> Option<String> {
    let Some(object) = model.as_object() else {
        return Some(format!("model is {}, expected an object", shown(model)));
    };
    match object.get("type") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if MODELS.contains(&kind.as_str()) => {}
        Some(other) => {
            return Some(format!("model.type is {}, expected one of {}", shown(other), MODELS.join(", ")));
        }
    }
    match object.get("vocab") {
        None => return Some("model.vocab is missing".to_string()),
        Some(Value::Object(vocab)) => {
            let wrong = vocab.iter().find(|(_, id)| id.as_u64().is_none_or(|id| id > u64::from(u32::MAX)));
            if let Some((token, id)) = wrong {
                return Some(format!("model.vocab: {token:?} is {}, expected an id", shown(id)));
            }
        }
        Some(Value::Array(vocab)) => {
            let pair = |entry: &Value| entry[0].is_string() && entry[1].is_number();
            if let Some(entry) = vocab.iter().find(|entry| !pair(entry)) {
                return Some(format!("model.vocab has {}, expected [text, score]", shown(entry)));
            }
        }
        Some(other) => return Some(format!("model.vocab is {}, expected tokens with ids", shown(other))),
    }
    let prefix = object.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or_default();
    wrong_merge(object.get("merges")?, object.get("vocab")?, prefix)
}

fn wrong_merge(merges: &Value, vocab: &Value, prefix: &str) -> Option<String> {
    let Some(merges) = merges.as_array() else {
        return Some(format!("model.merges is {}, expected a list", shown(merges)));
    };
    for (ix, rule) in merges.iter().enumerate() {
        let pair = match rule {
            Value::String(rule) => rule.split_once(' '),
            rule => rule[0].as_str().zip(rule[1].as_str()),
        };
        let Some((left, right)) = pair else {
            return Some(format!("model.merges: rule {ix} is {}, expected two tokens", shown(rule)));
        };
        let known = |token: &str| vocab.get(token).is_some();
        let end = right.strip_prefix(prefix).unwrap_or(right);
        if !known(left) || !known(right) || !known(&[left, end].concat()) {
            let what = "names a token, or makes one, that model.vocab lacks";
            return Some(format!("model.merges: rule {ix}, {}, {what}", shown(rule)));
        }
    }
    None
}

fn wrong_added(added: &Value) -> Option<String> {
    let Some(list) = added.as_array() else {
        return Some(format!("added_tokens is {}, expected a list", shown(added)));
    };
    let fits = |token: &Value| token["id"].is_u64() && token["content"].is_string();
    let wrong = list.iter().find(|token| !fits(token))?;
    Some(format!("added_tokens has {}, expected an object with `id` and `content`", shown(wrong)))
}
