//! Which of the arguments is the model, and what the model is asked.

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, bail};

use super::args::RunArgs;
use super::open::{Source, note};
use super::subject::DEMO;
use crate::engine::{EngineError, Model};
use crate::tokenizer::Message;

/// What to do with the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// One text.
    Once(String),
    /// Talk until the user ends it.
    Chat,
}

/// Model and prompt of the arguments; reads stdin when the prompt comes through a pipe.
pub(super) fn resolve(args: &RunArgs) -> anyhow::Result<(Source, Ask)> {
    let (source, prompt) = positionals(args.model.as_deref(), args.prompt.as_deref());
    let ask = match prompt {
        Some(prompt) => Ask::Once(prompt.to_owned()),
        None if std::io::stdin().is_terminal() => {
            if args.json {
                bail!("--json answers one prompt: give PROMPT, or send it through a pipe");
            }
            Ask::Chat
        }
        None => Ask::Once(piped()?),
    };
    Ok((source, ask))
}

/// (model, prompt); a single argument that is no path and does not look like one is the prompt.
fn positionals<'a>(model: Option<&'a str>, prompt: Option<&'a str>) -> (Source, Option<&'a str>) {
    match (model, prompt) {
        (None, prompt) => (Source::Demo, prompt),
        (Some(text), None) if text != DEMO && !is_path(text) => (Source::Demo, Some(text)),
        (Some(path), prompt) => (Source::of(path), prompt),
    }
}

fn is_path(text: &str) -> bool {
    let lower = text.to_lowercase();
    let one_word = !text.is_empty() && !text.contains(char::is_whitespace);
    Path::new(text).exists()
        || one_word && text.contains(['/', '\\'])
        || [".gguf", ".safetensors"].iter().any(|end| lower.ends_with(end))
        || ["./", "../", "~/", "/"].iter().any(|begin| text.starts_with(begin))
}

/// All of stdin, without the line end that `echo` adds.
fn piped() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).context("the prompt on stdin")?;
    let line = text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t));
    Ok(line.map_or(text.clone(), str::to_owned))
}

/// Ids of a text to be continued. `special`: control tokens that are written in it are taken as such.
/// Nothing at all is continued from BOS.
pub(super) fn raw_ids(model: &Model, text: &str, special: bool) -> Result<Vec<u32>, EngineError> {
    let tokenizer = model.tokenizer()?;
    let ids = tokenizer.encode(text, true, special)?;
    if tokenizer.adds_bos() && ids.len() > 1 && ids[0] == ids[1] {
        note("the text begins with the token that begins every text, so that is there twice");
    }
    match (ids.is_empty(), tokenizer.bos()) {
        (false, _) => Ok(ids),
        (true, Some(bos)) => Ok(vec![bos]),
        (true, None) => {
            Err(EngineError::EmptyPrompt { hint: "; this model has no token that begins a text" })
        }
    }
}

/// The messages in front of the first one of the user.
pub(super) fn opening(model: &Model, args: &RunArgs) -> anyhow::Result<Vec<Message>> {
    match &args.system {
        Some(_) if model.template().is_none() => {
            bail!("--system needs a model with a chat template, and this one has none")
        }
        Some(text) => Ok(vec![Message::new("system", text)]),
        None => Ok(Vec::new()),
    }
}

/// Ids of a conversation, ready for the answer.
pub(super) fn chat_ids(model: &Model, messages: &[Message]) -> Result<Vec<u32>, EngineError> {
    let tokenizer = model.tokenizer()?;
    let Some(template) = model.template() else {
        return raw_ids(model, messages.last().map_or("", |message| &message.content), false);
    };
    let mut template = template.clone();
    // Some templates state today's date; the standard library knows UTC only.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    template.now_seconds = now.ok().and_then(|now| i64::try_from(now.as_secs()).ok());
    Ok(template.encode(tokenizer, messages, true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_argument_is_a_model_only_if_it_looks_like_one() {
        let path = |text: &str| Source::Path(text.into());
        for (model, prompt, want) in [
            (None, None, (Source::Demo, None)),
            (Some("demo"), None, (Source::Demo, None)),
            (Some("demo"), Some("Hello"), (Source::Demo, Some("Hello"))),
            (Some("Once upon a time"), None, (Source::Demo, Some("Once upon a time"))),
            (Some("Hello"), None, (Source::Demo, Some("Hello"))),
            (Some(""), None, (Source::Demo, Some(""))),
            (Some("and/or what"), None, (Source::Demo, Some("and/or what"))),
            (Some("missing.gguf"), None, (path("missing.gguf"), None)),
            (Some("my missing model.GGUF"), None, (path("my missing model.GGUF"), None)),
            (Some("some/folder"), None, (path("some/folder"), None)),
            (Some("/no such place"), None, (path("/no such place"), None)),
            (Some("src"), None, (path("src"), None)), // exists
            (Some("Hello"), Some("you"), (path("Hello"), Some("you"))),
        ] {
            assert_eq!(positionals(model, prompt), want, "{model:?} {prompt:?}");
        }
    }
}
