//! Hugging Face model folders: which files there are, which of them hold the weights, and the JSON files as
//! parsed values. What the values mean is the business of `model` and `tokenizer`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::archive::Tensors;
use super::error::{FormatError, Result};
use super::open::{Opened, join_some};
use super::safetensors;
use super::source::{Files, Source};

pub(super) const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const INDEX_SUFFIX: &str = ".safetensors.index.json";
/// Weights of a fine-tuning adapter (PEFT), not of a model.
const ADAPTER: &str = "adapter_model.safetensors";

/// The files of a model folder beside its tensors.
#[derive(Clone, Debug)]
pub struct HfFolder {
    /// `config.json`.
    pub config: Value,
    /// `generation_config.json`.
    pub generation_config: Option<Value>,
    /// `tokenizer.json`, unparsed.
    pub tokenizer_json: Option<Source>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<Value>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<Value>,
    /// `chat_template.jinja`, or the template in `chat_template.json`; newer folders keep it out of
    /// `tokenizer_config.json`, where it may be too.
    pub chat_template: Option<String>,
    /// Path of `config.json`, for messages.
    pub config_file: String,
}

/// `model.safetensors.index.json`: which shard holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The file among `names` (sorted) to take weights from: the single file, else the index.
pub(super) fn weights_file(names: &[String]) -> Option<&str> {
    let has = |wanted: &str| names.iter().map(String::as_str).find(|name| *name == wanted);
    let only = |suffix: &str| {
        let mut matching = names.iter().map(String::as_str).filter(|n| n.ends_with(suffix) && *n != ADAPTER);
        matching.next().filter(|_| matching.next().is_none())
    };
    has(SINGLE).or_else(|| has(INDEX)).or_else(|| only(INDEX_SUFFIX)).or_else(|| only(".safetensors"))
}

/// Opens the folder `files` with the weights in `weights`: a safetensors file or an index of them.
pub(super) fn open(files: &Files, weights: &str) -> Result<Opened<HfFolder>> {
    let source = files.open(weights)?.ok_or_else(|| missing(files, weights))?;
    let metadata = read_folder(files, source.name())?;
    let mut tensors = Tensors::default();
    if !weights.ends_with(INDEX_SUFFIX) {
        let content = safetensors::read(&source)?;
        tensors.add(0, &source, content.tensors, content.unsupported)?;
        return Ok(Opened { metadata, tensors, sources: vec![source] });
    }
    let index: Index = json(&source, "index of safetensors shards")?;
    let sources = open_shards(files, &source, &index)?;
    for (file, (shard, source)) in sources.iter().enumerate() {
        let mut content = safetensors::read(source)?;
        // A tensor that the index places elsewhere is not taken from here.
        let here = |name: &String| index.weight_map.get(name).is_none_or(|place| place == shard);
        content.tensors.retain(|t| here(&t.name));
        content.unsupported.retain(|t| here(&t.name));
        tensors.add(file, source, content.tensors, content.unsupported)?;
    }
    let known =
        |name: &String| tensors.supported.contains_key(name) || tensors.unsupported.contains_key(name);
    match index.weight_map.iter().find(|(name, _)| !known(name)) {
        Some((tensor, shard)) => Err(FormatError::Tensor {
            file: source.name().into(),
            tensor: tensor.clone(),
            what: "place",
            expected: format!("the tensor in '{shard}', as the index says").into(),
            found: "no such tensor there".into(),
            next: "index and shards are of different downloads: download them together",
        }),
        None => Ok(Opened { metadata, tensors, sources: sources.into_values().collect() }),
    }
}

/// Opens every shard that the index names, by name.
fn open_shards(files: &Files, index_file: &Source, index: &Index) -> Result<BTreeMap<String, Source>> {
    let mut shards = BTreeMap::new();
    let mut absent = BTreeSet::new();
    for shard in index.weight_map.values() {
        if shards.contains_key(shard) || absent.contains(shard.as_str()) {
            continue;
        }
        // An index may name files of its own folder only: it comes from the network.
        if shard.contains(['/', '\\', '\0']) || !shard.ends_with(".safetensors") {
            return Err(FormatError::Field {
                file: index_file.name().into(),
                what: "weight_map".into(),
                offset: 0,
                expected: "names of .safetensors files in the same folder".into(),
                found: format!("'{shard}'").into(),
                next: "download the index again",
            });
        }
        match files.open(shard)? {
            Some(source) => {
                shards.insert(shard.clone(), source);
            }
            None => {
                absent.insert(shard.as_str());
            }
        }
    }
    let absent: Vec<&str> = absent.into_iter().collect();
    match join_some(&absent) {
        Some(missing) => Err(FormatError::MissingFile { file: index_file.name().into(), missing }),
        None => Ok(shards),
    }
}

fn read_folder(files: &Files, weights: &str) -> Result<HfFolder> {
    let optional = |name: &str| files.open(name)?.map(|source| json::<Value>(&source, "JSON")).transpose();
    let config = files
        .open(CONFIG)?
        .ok_or_else(|| FormatError::MissingFile { file: weights.into(), missing: CONFIG.into() })?;
    let template = match files.open("chat_template.jinja")? {
        Some(source) => Some(source.text()?.to_string()),
        None => optional("chat_template.json")?
            .and_then(|value| value.get("chat_template").and_then(Value::as_str).map(str::to_string)),
    };
    Ok(HfFolder {
        config: json(&config, "JSON")?,
        generation_config: optional("generation_config.json")?,
        tokenizer_json: files.open("tokenizer.json")?,
        tokenizer_config: optional("tokenizer_config.json")?,
        special_tokens_map: optional("special_tokens_map.json")?,
        chat_template: template,
        config_file: config.name().into(),
    })
}

/// A folder of which only `config` was read.
pub(super) fn config_alone(config: &Source) -> Result<HfFolder> {
    config.reject_pointer()?;
    Ok(HfFolder {
        config: json(config, "JSON")?,
        generation_config: None,
        tokenizer_json: None,
        tokenizer_config: None,
        special_tokens_map: None,
        chat_template: None,
        config_file: config.name().into(),
    })
}

fn json<'a, T: Deserialize<'a>>(source: &'a Source, what: &'static str) -> Result<T> {
    serde_json::from_slice(source.bytes()).map_err(|e| FormatError::Json {
        file: source.name().into(),
        what,
        source: e,
    })
}

fn missing(files: &Files, name: &str) -> FormatError {
    FormatError::MissingFile { file: files.name(), missing: name.into() }
}

const WHAT_TO_GIVE: &str = "give a .gguf file or a folder with config.json and model.safetensors";
const CONVERT: &str = "these are weights in PyTorch's format: convert them to safetensors, or download the \
                       model in safetensors or GGUF";

/// Why a folder with the files `names` and these folders is not a model: (what was found, what to do).
pub(super) fn explain_folder(names: &[String], folders: &[String]) -> (String, String) {
    let matching = |test: &dyn Fn(&str) -> bool| {
        let found: Vec<&str> = names.iter().map(String::as_str).filter(|name| test(name)).collect();
        join_some(&found)
    };
    if let Some(found) = matching(&|n| n == ADAPTER) {
        return (found, "this is an adapter (LoRA): merge it into its base model first".into());
    }
    if let Some(found) = matching(&|n| n.ends_with(".safetensors")) {
        return (format!("several weight files ({found}) and no {INDEX}"), format!("download {INDEX} too"));
    }
    if let Some(found) = matching(&|n| is_pytorch(n) || n.ends_with("pytorch_model.bin.index.json")) {
        return (found, CONVERT.into());
    }
    if names.iter().any(|name| name == CONFIG) {
        return (
            format!("{CONFIG} without weights"),
            format!("download {SINGLE} (or its shards and index) too"),
        );
    }
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    if let (true, Some(folders)) = (names.is_empty(), join_some(&folders)) {
        return (format!("only folders: {folders}"), "give the one that holds the model's files".into());
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    (join_some(&all).unwrap_or_else(|| "no files".into()), WHAT_TO_GIVE.into())
}

/// Why a file is not a model: (what was found, what to do).
pub(super) fn explain_file(name: &str, bytes: &[u8]) -> (String, String) {
    const OLD_GGML: [&[u8]; 4] = [b"lmgg", b"fmgg", b"tjgg", b"algg"]; // ggml, ggmf, ggjt, ggla, stored as u32
    if OLD_GGML.iter().any(|magic| bytes.starts_with(magic)) {
        return ("a ggml file from before GGUF (2023)".into(), "download the model as GGUF".into());
    }
    if is_pytorch(name) || name.ends_with(".pkl") {
        return ("a PyTorch file".into(), CONVERT.into());
    }
    if name == CONFIG {
        return (format!("only the file {CONFIG}"), "give the folder it is in".into());
    }
    let start = &bytes[..bytes.len().min(8)];
    (format!("a file that starts with \"{}\"", start.escape_ascii()), WHAT_TO_GIVE.into())
}

fn is_pytorch(name: &str) -> bool {
    [".bin", ".pt", ".pth", ".ckpt"].iter().any(|suffix| name.ends_with(suffix))
}
