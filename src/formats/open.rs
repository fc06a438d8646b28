//! From a path to what is there: which format, which files, and how much of a model must be present.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::archive::{Metadata, Tensors};
use super::error::{FormatError, Result};
use super::source::{Files, Source};
use super::{cache, gguf, hf, kinds, names};
use crate::base::quote::clip;

/// How much of a model must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// All of it: every tensor's bytes lie within its file.
    Bytes,
    /// What describes it; tensors' bytes may be missing, and with a `config.json` the whole tensor table.
    Header,
}

/// How much of a model is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Complete,
    /// Names, types and shapes of the tensors, not all of their bytes: a GGUF file that was cut off.
    Table,
    /// No tensors: `config.json` alone.
    Config,
}

/// What a format's reader returns.
pub(super) struct Opened<M> {
    pub(super) metadata: M,
    pub(super) tensors: Tensors,
    pub(super) sources: Vec<Source>,
}

/// An opened model before it becomes an archive or a header.
pub(super) struct Parts {
    pub(super) metadata: Metadata,
    pub(super) tensors: Tensors,
    pub(super) sources: Vec<Source>,
    pub(super) extent: Extent,
    pub(super) name: String,
}

impl<M> Opened<M> {
    fn into_parts(self, name: String, metadata: impl FnOnce(M) -> Metadata) -> Parts {
        let Opened { metadata: found, tensors, sources } = self;
        let cut = tensors.supported.values().any(|t| t.range.end > sources[t.file].bytes().len());
        let extent = if cut { Extent::Table } else { Extent::Complete };
        Parts { metadata: metadata(found), tensors, sources, extent, name }
    }
}

/// Opens what `path` names.
pub(super) fn path(path: &Path, need: Need) -> Result<Parts> {
    let name = path.display().to_string();
    if path.is_dir() {
        let folder = cache::resolve(path)?;
        let name = folder.display().to_string();
        return open_folder(Files::Disk(folder), name, need);
    }
    if !path.exists() {
        return Err(FormatError::NoModel {
            path: name,
            found: "no such file or folder".into(),
            next: "give a .gguf file or a folder with config.json and model.safetensors".into(),
        });
    }
    let source = Source::open(path)?;
    let place = place(path);
    let files = Files::Disk(place.parent().unwrap_or(Path::new("")).into());
    let file_name = place.file_name().unwrap_or_default().to_string_lossy();
    open_file(files, &file_name, source, name, need)
}

/// The path whose folder holds the other files of the model: that of the file itself where `path` is a link
/// of another name to a part of a split model.
fn place(path: &Path) -> PathBuf {
    let is_part = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        gguf::split_prefix(&name).is_some()
    };
    let target = path.canonicalize().ok().filter(|target| !is_part(path) && is_part(target));
    target.unwrap_or_else(|| path.into())
}

/// Opens named files in memory as if they were a folder.
pub(super) fn memory<N, B>(files: impl IntoIterator<Item = (N, B)>, need: Need) -> Result<Parts>
where
    N: Into<String>,
    B: Into<Cow<'static, [u8]>>,
{
    let source = |(name, bytes): (N, B)| {
        let name = name.into();
        let source = Source::memory(&name, bytes);
        (name, source)
    };
    let files = Files::Memory(files.into_iter().map(source).collect());
    let name = files.name();
    open_folder(files, name, need)
}

/// `'a', 'b', 'c' and 4 more`; `None` of nothing.
pub(super) fn join_some(names: &[&str]) -> Option<String> {
    const SHOWN: usize = 5;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| clip(name)).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}

fn open_file(files: Files, file_name: &str, source: Source, name: String, need: Need) -> Result<Parts> {
    if source.bytes().starts_with(&gguf::MAGIC) || gguf::is_named(file_name) {
        return gguf::open(&files, file_name, source, need).map(|o| gguf_parts(o, name));
    }
    if file_name.ends_with(".safetensors") || file_name.ends_with(".safetensors.index.json") {
        if file_name == hf::ADAPTER {
            let (found, next) = kinds::explain_adapter();
            return Err(FormatError::NoModel { path: name, found, next });
        }
        source.reject_pointer()?;
        let weights = hf::index_of(&files, file_name)?.unwrap_or_else(|| file_name.to_owned());
        return hf::open(&files, &weights).map(|o| o.into_parts(name, hugging_face));
    }
    if need == Need::Header && file_name.ends_with(".json") {
        return config_alone(&source, name);
    }
    let (found, next) = kinds::explain_file(file_name, source.bytes());
    Err(FormatError::NoModel { path: name, found, next })
}

fn open_folder(files: Files, name: String, need: Need) -> Result<Parts> {
    let names = files.list()?;
    if let Some(weights) = hf::weights_file(&names) {
        return match (hf::open(&files, weights), need) {
            // An index whose shards are not all there.
            (Err(FormatError::MissingFile { file, missing }), Need::Header) => {
                match files.open(hf::CONFIG)? {
                    Some(config) => config_alone(&config, name),
                    None => Err(FormatError::MissingFile { file, missing }),
                }
            }
            (opened, _) => opened.map(|o| o.into_parts(name, hugging_face)),
        };
    }
    // One GGUF model: a single file, or the parts of one.
    let mut models: Vec<&str> = names.iter().map(String::as_str).filter(|n| gguf::is_named(n)).collect();
    models.dedup_by_key(|n| gguf::split_prefix(n).map_or(*n, |(prefix, _)| prefix));
    if models.len() > 1 {
        models = without_companions(&files, models)?;
    }
    match models[..] {
        [model] => {
            let source = files
                .open(model)?
                .ok_or_else(|| FormatError::MissingFile { file: name.clone(), missing: model.into() })?;
            gguf::open(&files, model, source, need).map(|o| gguf_parts(o, name))
        }
        [] => match files.open(hf::CONFIG)? {
            Some(config) if need == Need::Header => config_alone(&config, name),
            _ => {
                let (found, next) = kinds::explain_folder(&names, &files.list_folders()?);
                Err(FormatError::NoModel { path: name, found, next })
            }
        },
        _ => Err(FormatError::NoModel {
            path: name,
            found: format!("several GGUF models: {}", join_some(&models).unwrap_or_default()),
            next: "give the path of one of them".into(),
        }),
    }
}

/// The models among GGUF files; all of them where none is a model, so that the message can name them.
fn without_companions<'a>(files: &Files, names: Vec<&'a str>) -> Result<Vec<&'a str>> {
    let mut models = Vec::new();
    for name in &names {
        if !files.open(name)?.is_some_and(|source| gguf::is_companion(&source)) {
            models.push(*name);
        }
    }
    Ok(if models.is_empty() { names } else { models })
}

fn gguf_parts(mut opened: Opened<gguf::GgufMetadata>, name: String) -> Parts {
    names::unify_gguf(&mut opened.tensors);
    opened.into_parts(name, Metadata::Gguf)
}

fn hugging_face(folder: hf::HfFolder) -> Metadata {
    Metadata::HuggingFace(Box::new(folder))
}

fn config_alone(config: &Source, name: String) -> Result<Parts> {
    let metadata = hugging_face(hf::config_alone(config)?);
    Ok(Parts { metadata, tensors: Tensors::default(), sources: Vec::new(), extent: Extent::Config, name })
}
