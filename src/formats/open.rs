//! From a path to what is there: which format, which files, and how much of a model must be present.

use std::borrow::Cow;
use std::path::Path;

use super::archive::{Metadata, Tensors};
use super::error::{FormatError, Result};
use super::source::{Files, Source};
use super::{gguf, hf};

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
        return open_folder(Files::Disk(path.into()), name, need);
    }
    if !path.exists() {
        return Err(FormatError::NoModel {
            path: name,
            found: "no such file or folder".into(),
            next: "give a .gguf file or a folder with config.json and model.safetensors".into(),
        });
    }
    let source = Source::open(path)?;
    let files = Files::Disk(path.parent().unwrap_or(Path::new("")).into());
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    open_file(files, &file_name, source, name, need)
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
    let shown: Vec<&str> = names.iter().copied().take(SHOWN).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}

fn open_file(files: Files, file_name: &str, source: Source, name: String, need: Need) -> Result<Parts> {
    if source.bytes().starts_with(&gguf::MAGIC) || file_name.ends_with(".gguf") {
        return gguf::open(&files, file_name, source, need).map(|o| o.into_parts(name, Metadata::Gguf));
    }
    if file_name.ends_with(".safetensors") || file_name.ends_with(".safetensors.index.json") {
        return hf::open(&files, file_name).map(|o| o.into_parts(name, hugging_face));
    }
    if need == Need::Header && file_name.ends_with(".json") {
        return config_alone(&source, name);
    }
    let (found, next) = hf::explain_file(file_name, source.bytes());
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
    let mut models: Vec<&str> = names.iter().map(String::as_str).filter(|n| n.ends_with(".gguf")).collect();
    let all_names = models.clone();
    models.dedup_by_key(|n| gguf::split_prefix(n).map_or(*n, |(prefix, _)| prefix));
    match models[..] {
        [model] => {
            let source = files
                .open(model)?
                .ok_or_else(|| FormatError::MissingFile { file: name.clone(), missing: model.into() })?;
            gguf::open(&files, model, source, need).map(|o| o.into_parts(name, Metadata::Gguf))
        }
        [] => match files.open(hf::CONFIG)? {
            Some(config) if need == Need::Header => config_alone(&config, name),
            _ => {
                let (found, next) = hf::explain_folder(&names, &files.list_folders()?);
                Err(FormatError::NoModel { path: name, found, next })
            }
        },
        _ => Err(FormatError::NoModel {
            path: name,
            found: format!("several GGUF models: {}", join_some(&all_names).unwrap_or_default()),
            next: "give the path of one of them".into(),
        }),
    }
}

fn hugging_face(folder: hf::HfFolder) -> Metadata {
    Metadata::HuggingFace(Box::new(folder))
}

fn config_alone(config: &Source, name: String) -> Result<Parts> {
    let metadata = hugging_face(hf::config_alone(config)?);
    Ok(Parts { metadata, tensors: Tensors::default(), sources: Vec::new(), extent: Extent::Config, name })
}
