//! Which of the arguments is the model, and what the model is asked.

use anyhow::bail;

use super::args::RunArgs;
use super::find;
use super::input::{self, Piece};
use super::open::{Source, note};
use super::subject::DEMO;
use crate::engine::{EngineError, Opened};
use crate::tokenizer::{ChatTemplate, Message, Tokenizer};

/// What to do with the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// One text.
    Once(String),
    /// Talk until the user ends it.
    Chat,
}

/// Model and prompt as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    /// `None`: the demo model.
    model: Option<String>,
    prompt: Option<String>,
    /// Does a line have to say that it is the demo model which continues the prompt?
    by_default: bool,
}

/// Model and prompt of the arguments; reads files and stdin where the prompt is there.
pub(super) fn resolve(args: &RunArgs) -> anyhow::Result<(Source, Ask)> {
    let written = written(args)?;
    let source = match &written.model {
        None => Source::Demo,
        Some(model) => find::source(model).map_err(|error| otherwise(error, model, args))?,
    };
    let mut pieces: Vec<Piece> = written.prompt.into_iter().map(Piece::of_text).collect();
    pieces.extend(args.file.iter().map(|path| Piece::of_path(path)));
    if pieces.is_empty() && input::is_terminal() {
        if args.json {
            bail!("--json answers one prompt: give PROMPT, or send it through a pipe");
        }
        return Ok((source, Ask::Chat));
    }
    let text = input::read(pieces)?;
    if written.by_default {
        note("no model is named: the demo model continues the text");
    }
    Ok((source, Ask::Once(text)))
}

/// A single argument of several words that is nothing else is the prompt; a single word is not.
fn written(args: &RunArgs) -> anyhow::Result<Written> {
    let words = args.prompt.join(" ");
    let words = Some(words).filter(|_| !args.prompt.is_empty());
    let (model, words) = match (&args.model_option, &args.model, words) {
        (Some(model), first, words) => {
            let all: Vec<String> = first.iter().cloned().chain(words).collect();
            (Some(model.clone()), (!all.is_empty()).then(|| all.join(" ")))
        }
        (None, first, words) => (first.clone(), words),
    };
    if model.as_deref().is_some_and(str::is_empty) {
        bail!("MODEL is empty; a text from nothing is: anygpu run {DEMO} \"\"");
    }
    let prompt = match (&args.prompt_option, words) {
        (Some(prompt), Some(words)) => {
            bail!("two prompts: --prompt {} and {}; give one", quoted(prompt), quoted(&words))
        }
        (Some(prompt), None) => Some(prompt.clone()),
        (None, words) => words,
    };
    match (model, prompt) {
        (None, prompt) => Ok(Written { model: None, by_default: prompt.is_some(), prompt }),
        (Some(text), None)
            if args.model_option.is_none()
                && !find::looks_like_model(&text)
                && (text == "-" || text.trim().contains(char::is_whitespace)) =>
        {
            Ok(Written { model: None, prompt: Some(text), by_default: true })
        }
        (Some(model), prompt) => Ok(Written { model: Some(model), prompt, by_default: false }),
    }
}

/// The error, with the other reading of what was written where there is one.
fn otherwise(error: anyhow::Error, model: &str, args: &RunArgs) -> anyhow::Error {
    if args.model_option.is_some() || args.prompt_option.is_some() || find::looks_like_model(model) {
        return error;
    }
    let all: Vec<&str> = std::iter::once(model).chain(args.prompt.iter().map(String::as_str)).collect();
    let end = if format!("{error}").ends_with('?') { " To" } else { "; to" };
    let all = quoted(&all.join(" "));
    anyhow::anyhow!("{error}{end} continue it as a text: anygpu run {DEMO} {all}")
}

/// As a shell takes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Ids of a text to be continued. `special`: control tokens that are written in it are taken as such.
/// Nothing at all is continued from BOS.
pub(super) fn raw_ids(tokenizer: &Tokenizer, text: &str, special: bool) -> Result<Vec<u32>, EngineError> {
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

/// The template that conversations take, with the arguments it was given; `None`: texts are
/// continued.
pub(super) fn template(opened: &Opened, args: &RunArgs) -> anyhow::Result<Option<ChatTemplate>> {
    let asked = [
        (args.system.is_some(), "--system"),
        (args.no_think, "--no-think"),
        (!args.template_arg.is_empty(), "--template-arg"),
        (args.chat_template_kwargs.is_some(), "--chat-template-kwargs"),
    ];
    let Some(template) = opened.template().filter(|_| !args.raw) else {
        if let Some((_, option)) = asked.iter().find(|(given, _)| *given) {
            bail!("{option} needs a model with a chat template, and this one has none");
        }
        return Ok(None);
    };
    let mut template = template.clone();
    if args.no_think && !think(&mut template, false) {
        note("--no-think: this model's template has no switch for thinking");
    }
    template.arguments.extend(args.chat_template_kwargs.clone().unwrap_or_default());
    template.arguments.extend(args.template_arg.iter().cloned());
    Ok(Some(template))
}

/// Switches thinking on or off, by whichever name the template knows. False: it knows none.
pub(super) fn think(template: &mut ChatTemplate, on: bool) -> bool {
    let known: Vec<&str> =
        ["enable_thinking", "thinking"].into_iter().filter(|name| template.mentions(name)).collect();
    // Qwen3's is `enable_thinking`, in which the other name stands as well.
    if let Some(name) = known.first() {
        template.arguments.insert((*name).to_owned(), on.into());
    }
    !known.is_empty()
}

/// The messages in front of the first one of the user.
pub(super) fn opening(args: &RunArgs) -> Vec<Message> {
    args.system.iter().map(|text| Message::new("system", text)).collect()
}

/// What a model gets to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fed {
    pub(super) ids: Vec<u32>,
    /// Does the text end within a thought that the template began?
    pub(super) thinks: bool,
}

/// A conversation, ready for the answer. Without a template its last message is a text to be
/// continued, in which `special` is as in [`raw_ids`].
pub(super) fn fed(
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    messages: &[Message],
    special: bool,
) -> Result<Fed, EngineError> {
    let Some(template) = template else {
        let text = messages.last().map_or("", |message| &message.content);
        return Ok(Fed { ids: raw_ids(tokenizer, text, special)?, thinks: false });
    };
    let mut template = template.clone();
    // Some templates state today's date; the standard library knows UTC only.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    template.now_seconds = now.ok().and_then(|now| i64::try_from(now.as_secs()).ok());
    let text = template.render(messages, true)?;
    let thinks = text.trim_end().ends_with(super::think::BEGIN);
    Ok(Fed { ids: tokenizer.encode(&text, false, true)?, thinks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(model: Option<&str>, prompt: &[&str]) -> RunArgs {
        let prompt = prompt.iter().map(|word| (*word).to_owned()).collect();
        RunArgs { model: model.map(str::to_owned), prompt, ..RunArgs::default() }
    }

    #[test]
    fn one_word_is_a_model_and_several_are_a_prompt() {
        let model = |model: &str, prompt: Option<&str>| {
            let prompt = prompt.map(str::to_owned);
            Written { model: Some(model.to_owned()), prompt, by_default: false }
        };
        let demo = |prompt: Option<&str>| {
            let prompt = prompt.map(str::to_owned);
            Written { model: None, by_default: prompt.is_some(), prompt }
        };
        for (first, rest, want) in [
            (None, &[][..], demo(None)),
            (Some("demo"), &[], model("demo", None)),
            (Some("demo"), &["Hello"], model("demo", Some("Hello"))),
            (Some("demo"), &[""], model("demo", Some(""))),
            (Some("demo"), &["Once", "upon", "a time"], model("demo", Some("Once upon a time"))),
            (Some("Once upon a time"), &[], demo(Some("Once upon a time"))),
            (Some("-"), &[], demo(Some("-"))),
            (Some("Hello"), &[], model("Hello", None)),
            (Some("qwen2.5:7b"), &[], model("qwen2.5:7b", None)),
            (Some("and/or what"), &[], demo(Some("and/or what"))),
            (Some("missing.gguf"), &[], model("missing.gguf", None)),
            (Some("my missing model.GGUF"), &[], model("my missing model.GGUF", None)),
            (Some("some/folder"), &[], model("some/folder", None)),
            (Some("/no such place"), &[], model("/no such place", None)),
            (Some("src"), &[], model("src", None)), // exists
            (Some("Hello"), &["you"], model("Hello", Some("you"))),
        ] {
            assert_eq!(written(&args(first, rest)).expect("good"), want, "{first:?} {rest:?}");
        }
        assert!(written(&args(Some(""), &[])).is_err());
        let options = |first, rest: &[&str]| {
            let (model, prompt) = (Some("m.gguf".to_owned()), Some("Hi".to_owned()));
            RunArgs { model_option: model, prompt_option: prompt, ..args(first, rest) }
        };
        assert_eq!(written(&options(None, &[])).expect("good"), model("m.gguf", Some("Hi")));
        let only_model = RunArgs { prompt_option: None, ..options(Some("Two"), &["words"]) };
        assert_eq!(written(&only_model).expect("good"), model("m.gguf", Some("Two words")));
        assert!(written(&options(Some("Two"), &[])).is_err());
    }

    #[test]
    fn both_readings_are_named() {
        let told = |model: &str, rest: &[&str]| {
            let args = args(Some(model), rest);
            resolve(&args).expect_err("no such model").to_string()
        };
        assert_eq!(
            told("zebra", &[]),
            "no such file or folder 'zebra'; a model is a file or folder of yours, to be had with: hf download \
             ORG/NAME --local-dir NAME; to continue it as a text: anygpu run demo \"zebra\""
        );
        assert!(told("Once", &["upon", "a"]).ends_with("anygpu run demo \"Once upon a\""));
        assert!(
            told("Carg.toml", &[])
                .ends_with("'Cargo.toml'? To continue it as a text: anygpu run demo \"Carg.toml\"")
        );
        assert!(!told("zebra.gguf", &[]).contains("demo"));
    }
}
