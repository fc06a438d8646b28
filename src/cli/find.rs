//! From what was typed to a model: a path, the demo model, or a repository that the Hugging Face
//! cache holds. What is none of them is explained with what stands near.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::open::{Source, note};
use super::subject::{DEMO, is_demo};
use crate::formats::main_snapshot;
use crate::model::shapes::{self, PREFIX};

/// What a name may begin with that means a repository.
const HUB_PREFIXES: [&str; 4] = ["https://huggingface.co/", "huggingface.co/", "hf.co/", "hf:"];
/// Likeness from which on a name is worth mentioning, 0 to 1.
const ALIKE: f64 = 0.7;
/// Most names mentioned.
const MOST_ALIKE: usize = 3;

/// The model that `text` names.
pub(super) fn source(text: &str) -> anyhow::Result<Source> {
    if is_demo(Path::new(text)) { Ok(Source::Demo) } else { Ok(Source::Path(path(text)?)) }
}

/// The file or folder that `text` names; a repository in the Hugging Face cache is one, too, and a
/// line says so.
pub(super) fn path(text: &str) -> anyhow::Result<PathBuf> {
    if Path::new(text).exists() {
        return Ok(text.into());
    }
    if let Some(found) = repository(text).and_then(|name| cached(name, &cache_folders())) {
        let found = of_type(found, text);
        note(&format!("{text}: from the Hugging Face cache, {}", found.display()));
        return Ok(found);
    }
    Err(anyhow!(missing(text)))
}

/// Does it name something that could be a model: there, or written like a path or a repository?
pub(super) fn looks_like_model(text: &str) -> bool {
    let lower = text.to_lowercase();
    let one_word = !text.is_empty() && !text.contains(char::is_whitespace);
    text == DEMO
        || Path::new(text).exists()
        || one_word && (text.contains(['/', '\\']) || shape(text).is_some())
        || [".gguf", ".safetensors"].iter().any(|end| lower.ends_with(end))
        || ["./", "../", "~/", "/"].iter().any(|begin| text.starts_with(begin))
}

/// Why `text` is no model, and what to do.
pub(super) fn missing(text: &str) -> String {
    if let Some(name) = shape(text) {
        return match text.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
            true => format!(
                "{text} has no weights: `anygpu plan {text}` and `anygpu bench {text}` take a shape, other commands \
                 a model's files"
            ),
            false => format!(
                "no file or folder '{text}'; {PREFIX}{name} is its shape without weights, for `anygpu plan` and \
                 `anygpu bench`"
            ),
        };
    }
    let is_folder = |name: &&str| name.split('/').next().is_some_and(|first| Path::new(first).is_dir());
    if let Some(name) = repository(text).filter(|name| !is_folder(name)) {
        let folder = name.rsplit('/').next().unwrap_or(name);
        let there = match Path::new(folder).is_dir() {
            true => format!("there is a folder '{folder}' here: anygpu run {folder}; or "),
            false => String::new(),
        };
        return format!(
            "no file or folder '{text}', and the Hugging Face cache does not hold it; {there}get it with: hf download \
             {name} --local-dir {folder}"
        );
    }
    let alike = alike(Path::new(text));
    // A name as other programs have them for what they download.
    let is_name =
        !text.contains(['/', '\\', ' ']) && Path::new(text).extension().is_none_or(|end| end != "gguf");
    match alike.is_empty() && is_name {
        true => format!(
            "no such file or folder '{text}'; a model is a file or folder of yours, to be had with: hf download \
             ORG/NAME --local-dir NAME"
        ),
        false => format!("no such file or folder '{text}'{alike}"),
    }
}

/// `; did you mean 'a' or 'b'?`, of what stands in the same folder; empty where nothing is like it.
pub(super) fn alike(path: &Path) -> String {
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let Ok(entries) = std::fs::read_dir(folder.unwrap_or(Path::new("."))) else { return String::new() };
    let entries =
        entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names = nearest(&wanted, entries);
    let shown = names.iter().map(|name| match folder {
        Some(folder) => format!("'{}'", folder.join(name).display()),
        None => format!("'{name}'"),
    });
    match shown.collect::<Vec<_>>().join(" or ") {
        names if names.is_empty() => names,
        names => format!("; did you mean {names}?"),
    }
}

/// Those of `names` that are like `wanted`, the nearest first.
pub(super) fn nearest(wanted: &str, names: impl IntoIterator<Item = String>) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, String)> = names
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .map(|name| (likeness(&wanted, &name.to_lowercase()), name))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.truncate(MOST_ALIKE);
    scored.into_iter().map(|(_, name)| name).collect()
}

/// 1: the same. What begins with the other is nearly as good.
fn likeness(wanted: &str, name: &str) -> f64 {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let begun =
        wanted.len() >= 3 && (name.starts_with(wanted) || wanted.starts_with(name) && name.len() >= 3);
    let alike = |other| strsim::normalized_damerau_levenshtein(wanted, other);
    alike(name).max(alike(stem)).max(if begun { 0.9 } else { 0.0 })
}

/// The shape that `text` names, with or without `shape:` before it.
fn shape(text: &str) -> Option<&'static str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', '.', ' '], "");
    let name = match text.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => text[PREFIX.len()..].split(':').next()?,
        _ => text,
    };
    shapes::names().find(|known| *known != DEMO && plain(known) == plain(name))
}

/// `org/name`, if `text` has the form of a repository's name; a revision or type behind a colon is
/// left out.
fn repository(text: &str) -> Option<&str> {
    let text = HUB_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let text = text.trim_end_matches('/').split(':').next()?;
    let (organisation, name) = text.split_once('/')?;
    let good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let is_file =
        [".gguf", ".safetensors", ".json", ".bin"].iter().any(|end| name.to_lowercase().ends_with(end));
    (good(organisation) && good(name) && !is_file).then_some(text)
}

/// Where `hf download` keeps repositories, in the order in which its variables count.
fn cache_folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let explicit = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].into_iter().filter_map(variable);
    let home = variable("HF_HOME").map(|home| home.join("hub"));
    let caches = variable("XDG_CACHE_HOME").or_else(|| Some(dirs::home_dir()?.join(".cache")));
    let usual = caches.map(|caches| caches.join("huggingface").join("hub"));
    explicit.chain(home.or(usual)).collect()
}

/// The newest files of a repository in these caches.
fn cached(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let folder = format!("models--{}", name.replace('/', "--"));
    let repository = folders.iter().map(|cache| cache.join(&folder)).find(|path| path.is_dir())?;
    main_snapshot(&repository)
}

/// The file of the type that stands behind a colon in `text`, as in `org/name:Q4_K_M`; else the
/// folder.
fn of_type(folder: PathBuf, text: &str) -> PathBuf {
    let Some((_, wanted)) = text.rsplit_once(':').filter(|(_, wanted)| !wanted.contains('/')) else {
        return folder;
    };
    let end = format!("{}.gguf", wanted.to_lowercase());
    let entries = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().to_lowercase().ends_with(&end));
    match files.as_slice() {
        [file] => file.clone(),
        _ => folder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        for (text, expected) in [
            ("Qwen/Qwen2.5-0.5B-Instruct", Some("Qwen/Qwen2.5-0.5B-Instruct")),
            (
                "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
                Some("bartowski/Llama-3.2-1B-Instruct-GGUF"),
            ),
            ("https://huggingface.co/a/b/", Some("a/b")),
            ("models/m.gguf", None),
            ("./a/b", None),
            ("/a/b", None),
            ("a/b/c", None),
            ("a", None),
            ("and/or what", None),
            ("a/", None),
        ] {
            assert_eq!(repository(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_near() {
        let there = ["qwen.gguf", "Qwen2.5-0.5B", "llama-3", ".qwen", "notes.txt"];
        let near = |wanted: &str| nearest(wanted, there.map(str::to_owned));
        assert_eq!(near("qwen"), ["qwen.gguf", "Qwen2.5-0.5B"]);
        assert_eq!(near("lama-3"), ["llama-3"]);
        assert_eq!(near("qwne.gguf"), ["qwen.gguf"]);
        assert!(near("mistral").is_empty());
        assert_eq!(near("llama-3.gguf"), ["llama-3"]);
    }

    #[test]
    fn explanations_name_the_next_step() {
        for (text, part) in [
            ("llama-3.1-8b", "shape:Llama-3.1-8B"),
            ("shape:llama-3.1-8b:q4_0", "has no weights"),
            ("org/name", "hf download org/name --local-dir name"),
            ("org/src", "anygpu run src"),
            ("Cargo.tml", "did you mean 'Cargo.toml'?"),
            ("src/cli.rs", "no such file or folder 'src/cli.rs'"),
        ] {
            assert!(missing(text).contains(part), "{text}: {}", missing(text));
        }
    }

    #[test]
    fn the_cache_of_hugging_face_is_read() {
        let cache = tempfile::tempdir().expect("temporary folder");
        let folders = [cache.path().join("none"), cache.path().to_owned()];
        let repository = cache.path().join("models--acme--story");
        let snapshot = repository.join("snapshots/0123abc");
        std::fs::create_dir_all(&snapshot).expect("created");
        assert_eq!(cached("acme/story", &folders), None, "no revision is complete");
        std::fs::create_dir_all(repository.join("refs")).expect("created");
        std::fs::write(repository.join("refs/main"), "0123abc\n").expect("written");
        assert_eq!(cached("acme/story", &folders), Some(snapshot.clone()));
        let file = snapshot.join("story-Q4_K_M.gguf");
        std::fs::write(&file, "").expect("written");
        assert_eq!(of_type(snapshot.clone(), "acme/story:q4_k_m"), file);
        assert_eq!(of_type(snapshot.clone(), "acme/story:q8_0"), snapshot);
        assert_eq!(of_type(snapshot.clone(), "acme/story"), snapshot);
        assert_eq!(cached("acme/other", &folders), None);
    }
}
