//! The interactive chat. Models without a chat template continue each line as a text of its own.

use std::path::PathBuf;
use std::time::Duration;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::forecast::Forecast;
use super::open::{self, Source, aside, note, say};
use super::report::Rates;
use super::run::Reading;
use super::think::{self, Voice};
use super::{DONE, interrupt, prompt};
use crate::engine::{EngineError, FinishReason, GenerateOptions, Generation, Heartbeat, Session};
use crate::tokenizer::{ChatTemplate, Message};

/// Begins and ends a text of several lines.
const FENCE: &str = "\"\"\"";
/// Share of the context from which on a line says how full it is.
const NEARLY_FULL: f64 = 0.75;

/// How to talk.
pub(super) struct Manner {
    /// `None`: each line is a text of its own, to be continued.
    pub(super) template: Option<ChatTemplate>,
    /// Messages in front of the first one of the user.
    pub(super) opening: Vec<Message>,
    pub(super) options: GenerateOptions,
    /// Was the template left out on purpose?
    pub(super) raw: bool,
    /// Control tokens in lines that are continued are taken as such.
    pub(super) special: bool,
    /// Say where the time of each answer went.
    pub(super) stats: bool,
}

/// A conversation and what of it is in the session's cache.
pub(super) struct Chat<'s, 'm> {
    session: &'s mut Session<'m>,
    /// The model, as it was named.
    pub(super) name: String,
    pub(super) manner: Manner,
    pub(super) messages: Vec<Message>,
    /// Ids in the cache, one per position.
    cached: Vec<u32>,
    forecast: Option<Forecast>,
}

/// Talks until the user ends it.
pub(super) fn run(
    session: &mut Session<'_>,
    source: &Source,
    manner: Manner,
    forecast: Option<Forecast>,
) -> anyhow::Result<u8> {
    note(&greeting(source, &manner));
    let (name, messages) = (source.to_string(), manner.opening.clone());
    let mut chat = Chat { session, name, manner, messages, cached: Vec::new(), forecast };
    let history = history_path();
    let mut editor = DefaultEditor::new()?;
    if let Some(path) = &history {
        let _ = editor.load_history(path);
    }
    let mut interrupted = false;
    loop {
        let heartbeat = Heartbeat::of(chat.session.model())?;
        let read = read(&mut editor);
        drop(heartbeat);
        match read {
            Ok(line) => {
                interrupted = false;
                let _ = editor.add_history_entry(&line);
                if !chat.take(&line)? {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) if !interrupted => {
                interrupted = true;
                say("Ctrl-C once more, or Ctrl-D, to end");
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(path) = &history {
        // Losing the history is no reason to end with an error.
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = editor.save_history(path);
    }
    Ok(DONE)
}

fn greeting(source: &Source, manner: &Manner) -> String {
    let what = match (&manner.template, manner.raw) {
        (Some(_), _) => format!("chatting with {source}"),
        (None, true) => format!("{source} continues each line you type (--raw)"),
        (None, false) => format!("{source} has no chat template: it continues each line you type"),
    };
    let sampler = &manner.options.sampler;
    let seed = match sampler.temperature == 0.0 {
        true => String::new(),
        false => format!(" (--seed {})", sampler.seed),
    };
    format!("{what}{seed}. /help lists the commands, Ctrl-D ends")
}

/// A line, or the lines between two `"""`.
fn read(editor: &mut DefaultEditor) -> rustyline::Result<String> {
    let first = editor.readline("> ")?;
    let Some(begun) = first.trim_start().strip_prefix(FENCE) else { return Ok(first) };
    let mut lines = vec![begun.to_owned()];
    loop {
        let last = lines.last_mut().map(|line| (line.trim_end().ends_with(FENCE), line));
        if let Some((true, line)) = last {
            *line = line.trim_end().trim_end_matches(FENCE).to_owned();
            break;
        }
        lines.push(editor.readline(". ")?);
    }
    // The fences may have lines of their own.
    let inner = lines.join("\n");
    Ok(inner.trim_matches('\n').to_owned())
}

impl Chat<'_, '_> {
    /// One question and its answer.
    pub(super) fn turn(&mut self, line: &str) -> anyhow::Result<()> {
        if self.manner.template.is_none() {
            self.messages.clear();
        }
        self.messages.push(Message::new("user", line));
        if !self.respond()? {
            self.messages.pop();
        }
        Ok(())
    }

    /// Another answer to the last question.
    pub(super) fn regenerate(&mut self) -> anyhow::Result<()> {
        let old = self.messages.pop_if(|message| message.role == "assistant");
        if self.messages.last().is_none_or(|message| message.role != "user") {
            self.messages.extend(old);
            say("there is no question yet");
            return Ok(());
        }
        if !self.respond()? {
            self.messages.extend(old);
        }
        Ok(())
    }

    /// Answers the last message. False: there is no answer, and why was said; errors that the user
    /// cannot mend end the chat.
    fn respond(&mut self) -> anyhow::Result<bool> {
        interrupt::clear();
        match self.answer() {
            Ok(done) => {
                let knows = self.manner.template.as_ref().is_some_and(|t| t.mentions(think::END));
                let kept = if knows { &done.text } else { think::without_thoughts(&done.text) };
                self.messages.push(Message::new("assistant", kept));
                self.account(&done);
                self.explain(done.finish);
                // The same question again may get another answer.
                let sampler = &mut self.manner.options.sampler;
                sampler.seed = sampler.seed.wrapping_add(1);
                Ok(true)
            }
            Err(error) => match error.downcast_ref() {
                Some(EngineError::ContextFull { .. }) => {
                    say(&format!("{error:#}. /reset forgets the conversation"));
                    Ok(false)
                }
                Some(EngineError::Tokenizer(_) | EngineError::NotFinite { .. }) => {
                    say(&format!("{error:#}"));
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    }

    /// Says what the answer took.
    fn account(&mut self, done: &Generation) {
        let rates = Rates::of(self.session, done, Duration::ZERO, 0.0);
        let closing = self.forecast.as_mut().and_then(|f| f.close(self.session, done));
        aside(&rates.brief(done, closing.map(|closing| closing.words()).as_deref()));
        if self.manner.stats {
            aside(&rates.details(done, false));
            self.forecast.iter().for_each(|forecast| aside(&forecast.line()));
            closing.iter().for_each(|closing| aside(&closing.line()));
            let (used, all) = (self.session.position(), self.session.context());
            aside(&format!("context: {used} of {all} tokens"));
        }
    }

    /// Feeds what is new since the last turn and streams the answer.
    fn answer(&mut self) -> anyhow::Result<Generation> {
        let template = self.manner.template.as_ref();
        let fed =
            prompt::fed(self.session.model().tokenizer()?, template, &self.messages, self.manner.special)?;
        let common = fed.ids.iter().zip(&self.cached).take_while(|(a, b)| a == b).count();
        let common = common.min(fed.ids.len().saturating_sub(1));
        self.session.truncate(common);
        // A text that is continued is shown again, in front of its continuation.
        let continued = self.messages.last().filter(|_| template.is_none());
        let mut echo = continued.map(|message| message.content.as_str());
        let mut voice = Voice::new(fed.thinks);
        let mut printed = Ok(());
        let mut reading = Reading::new(fed.ids.len() - common, self.session.chunk());
        let result = self.session.generate(&fed.ids[common..], &self.manner.options, &mut |piece| {
            reading.hear(piece);
            for text in echo.take().into_iter().chain((!piece.is_empty()).then_some(piece)) {
                if printed.is_ok() {
                    printed = voice.say(text);
                }
            }
            printed.is_ok() && !interrupt::requested()
        });
        self.cached = fed.ids;
        if let Ok(done) = &result {
            self.cached.extend(&done.ids);
        }
        self.cached.truncate(self.session.position());
        printed?;
        let done = result?;
        voice.end(true)?;
        open::tell_found(self.session);
        Ok(done)
    }

    fn explain(&self, finish: FinishReason) {
        match finish {
            FinishReason::Cancelled => say("stopped"),
            FinishReason::ContextFull => say(&format!(
                "the context of {} tokens is full: {}--ctx sets its size",
                self.session.context(),
                if self.manner.template.is_some() { "/reset forgets the conversation, " } else { "" }
            )),
            _ => self.warn_when_nearly_full(),
        }
    }

    fn warn_when_nearly_full(&self) {
        let (used, all) = (self.session.position(), self.session.context());
        let share = used as f64 / all.max(1) as f64;
        if share > NEARLY_FULL && self.manner.template.is_some() {
            let percent = (share * 100.0).round();
            aside(&format!(
                "the context is {percent} % full ({used} of {all} tokens); /reset forgets the conversation"
            ));
        }
    }
}

/// Lines typed before, in the cache directory.
fn history_path() -> Option<PathBuf> {
    Some(crate::engine::cache::dir()?.join("history.txt"))
}
