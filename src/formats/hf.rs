//! Hugging Face model folders: which files there are, which of them hold the weights, and the JSON files as
//! parsed values. What the values mean is the business of `model` and `tokenizer`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::archive::{TensorInfo, Tensors};
use super::error::{FormatError, Result};
use super::names;
use super::open::{Opened, join_some};
use super::safetensors;
use super::source::{Files, Source};

pub(super) const CONFIG: &str = "config.json";
pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
const INDEX_SUFFIX: &str = ".safetensors.index.json";
/// Weights of a fine-tuning adapter (PEFT), not of a model.
pub(super) const ADAPTER: &str = "adapter_model.safetensors";

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
    let mut loaded = Loaded::default();
    if weights.ends_with(INDEX_SUFFIX) {
        let index: Index = json(&source, "index of safetensors shards")?;
        for (shard, source) in open_shards(files, &source, &index)? {
            let mut content = safetensors::read(&source)?;
            // A tensor that the index places elsewhere is not taken from here.
            let here = |name: &str| {
                index.weight_map.get(name).is_none_or(|place| plain(place).as_deref() == Some(shard.as_str()))
            };
            content.tensors.retain(|t| here(&t.name));
            content.unsupported.retain(|t| here(&t.name));
            content.narrowed.tensors.retain(|t| here(&t.name));
            loaded.add(source, content)?;
        }
    } else {
        let content = safetensors::read(&source)?;
        loaded.add(source, content)?;
    }
    let Loaded { mut tensors, mut sources, narrowed } = loaded;
    for (source, converted) in narrowed {
        tensors.add(sources.len(), &source, converted, Vec::new())?;
        sources.push(source);
    }
    let tied = metadata.config.get("tie_word_embeddings").and_then(Value::as_bool);
    names::unify_hf(&mut tensors, tied.unwrap_or(false), &sources);
    Ok(Opened { metadata, tensors, sources })
}

/// What was read of a folder's weights.
#[derive(Default)]
struct Loaded {
    tensors: Tensors,
    sources: Vec<Source>,
    /// Sources made here, and what they hold: they follow the files.
    narrowed: Vec<(Source, Vec<TensorInfo>)>,
}

impl Loaded {
    fn add(&mut self, source: Source, content: safetensors::Content) -> Result<()> {
        self.tensors.add(self.sources.len(), &source, content.tensors, content.unsupported)?;
        self.sources.push(source);
        if !content.narrowed.tensors.is_empty() {
            self.narrowed.push((content.narrowed.source, content.narrowed.tensors));
        }
        Ok(())
    }
}

/// The index beside a shard that names it; `None` for a file that is no shard of one.
pub(super) fn index_of(files: &Files, shard: &str) -> Result<Option<String>> {
    if shard.ends_with(INDEX_SUFFIX) {
        return Ok(None);
    }
    for name in files.list()?.into_iter().filter(|name| name.ends_with(INDEX_SUFFIX)) {
        let Some(source) = files.open(&name)? else { continue };
        // An index that cannot be read names nothing.
        let index = serde_json::from_slice::<Index>(source.bytes());
        let names_it = |place: &String| plain(place).as_deref() == Some(shard);
        if index.is_ok_and(|index| index.weight_map.values().any(names_it)) {
            return Ok(Some(name));
        }
    }
    let stem = shard.strip_suffix(".safetensors").unwrap_or(shard);
    let part = stem.rsplit_once("-of-").and_then(|(rest, n)| Some((rest.rsplit_once('-')?.1, n)));
    let count = |digits: &str| digits.parse::<u32>().ok().filter(|_| digits.len() == 5);
    match part.and_then(|(no, n)| Some((count(no)?, count(n)?))) {
        Some((no, n)) if n > 1 => Err(FormatError::NoModel {
            path: Path::new(&files.name()).join(shard).display().to_string(),
            found: format!("part {no} of {n}, and no index of them beside it"),
            next: format!("download {INDEX} and all parts"),
        }),
        _ => Ok(None),
    }
}

/// The place of a shard as a plain relative path with `/`; `None` where it would leave the folder or is no
/// safetensors file: an index comes from the network.
fn plain(place: &str) -> Option<String> {
    if place.contains(['\\', '\0', ':']) || place.starts_with('/') || !place.ends_with(".safetensors") {
        return None;
    }
    let steps: Vec<&str> = place.split('/').filter(|step| !matches!(*step, "" | ".")).collect();
    (!steps.contains(&"..")).then(|| steps.join("/"))
}

/// Opens every shard that the index names, by name.
fn open_shards(files: &Files, index_file: &Source, index: &Index) -> Result<BTreeMap<String, Source>> {
    let mut shards = BTreeMap::new();
    let mut absent = BTreeSet::new();
    for place in index.weight_map.values() {
        let shard = plain(place).ok_or_else(|| FormatError::Field {
            file: index_file.name().into(),
            what: "weight_map".into(),
            offset: 0,
            expected: "names of .safetensors files in the same folder".into(),
            found: format!("'{place}'").into(),
            next: "download the index again",
        })?;
        if shards.contains_key(&shard) || absent.contains(&shard) {
            continue;
        }
        match files.open(&shard)? {
            Some(source) => {
                shards.insert(shard, source);
            }
            None => {
                absent.insert(shard);
            }
        }
    }
    let absent: Vec<&str> = absent.iter().map(String::as_str).collect();
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
        reason: e,
    })
}

fn missing(files: &Files, name: &str) -> FormatError {
    FormatError::MissingFile { file: files.name(), missing: name.into() }
}
