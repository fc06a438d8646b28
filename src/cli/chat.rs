//! The interactive chat. Models without a chat template continue each line as a text of its own.

use std::path::PathBuf;
use std::time::Duration;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::forecast::Forecast;
use super::open::{Source, note};
use super::report::Rates;
use super::{DONE, interrupt, print, prompt};
use crate::engine::{EngineError, FinishReason, GenerateOptions, Generation, Heartbeat, Session};
use crate::tokenizer::Message;

const HELP: &str = "\
/reset  forget the conversation
/help   this list
/exit   end (Ctrl-D, or Ctrl-C twice, too)
Ctrl-C  stop the answer";

/// A conversation and what of it is in the session's cache.
struct Chat<'s, 'm> {
    session: &'s mut Session<'m>,
    opening: Vec<Message>,
    messages: Vec<Message>,
    /// Ids in the cache, one per position.
    cached: Vec<u32>,
    options: GenerateOptions,
    is_chat: bool,
    /// Control tokens in lines that are continued are taken as such.
    special: bool,
    forecast: Option<Forecast>,
}

/// Talks until the user ends it.
pub(super) fn run(
    session: &mut Session<'_>,
    source: &Source,
    opening: Vec<Message>,
    options: GenerateOptions,
    is_chat: bool,
    special: bool,
    forecast: Option<Forecast>,
) -> anyhow::Result<u8> {
    let what = match is_chat {
        true => format!("chatting with {source}"),
        false => format!("{source} has no chat template: it continues each line you type"),
    };
    let seed = match options.sampler.temperature == 0.0 {
        true => String::new(),
        false => format!(" (--seed {})", options.sampler.seed),
    };
    note(&format!("{what}{seed}. /help lists the commands, Ctrl-D ends"));
    let (messages, cached) = (opening.clone(), Vec::new());
    let mut chat = Chat { session, messages, opening, cached, options, is_chat, special, forecast };
    let history = history_path();
    let mut editor = DefaultEditor::new()?;
    if let Some(path) = &history {
        let _ = editor.load_history(path);
    }
    let mut interrupted = false;
    loop {
        let heartbeat = Heartbeat::of(chat.session.model())?;
        let read = editor.readline("> ");
        drop(heartbeat);
        match read {
            Ok(line) => {
                interrupted = false;
                let _ = editor.add_history_entry(&line);
                match line.trim() {
                    "" => {}
                    "/exit" | "/quit" => break,
                    "/reset" => chat.reset(),
                    "/help" => note(&format!("\n{HELP}")),
                    command if command.starts_with('/') && !command.contains(char::is_whitespace) => {
                        note(&format!("there is no command {command}; /help lists them"));
                    }
                    _ => chat.turn(&line)?,
                }
            }
            Err(ReadlineError::Interrupted) if !interrupted => {
                interrupted = true;
                note("Ctrl-C once more, or Ctrl-D, to end");
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

impl Chat<'_, '_> {
    fn reset(&mut self) {
        self.messages = self.opening.clone();
        note("the conversation is forgotten");
    }

    /// One question and its answer. Errors that the user can mend are shown; the others end the chat.
    fn turn(&mut self, line: &str) -> anyhow::Result<()> {
        interrupt::clear();
        if !self.is_chat {
            self.messages.clear();
        }
        self.messages.push(Message::new("user", line));
        match self.answer() {
            Ok(done) => {
                self.messages.push(Message::new("assistant", &done.text));
                let rates = Rates::of(self.session, &done, Duration::ZERO, 0.0);
                note(&rates.line(self.session, &done, false));
                let closing = self.forecast.as_mut().and_then(|f| f.close(self.session, &done));
                if let Some(closing) = closing {
                    note(&closing.line());
                }
                self.explain(done.finish);
                // The same question again may get another answer.
                self.options.sampler.seed = self.options.sampler.seed.wrapping_add(1);
                Ok(())
            }
            Err(error) => {
                self.messages.pop();
                match error.downcast_ref() {
                    Some(EngineError::ContextFull { .. }) => {
                        note(&format!("{error:#}. /reset forgets the conversation"));
                        Ok(())
                    }
                    Some(EngineError::Tokenizer(_) | EngineError::NotFinite { .. }) => {
                        note(&format!("{error:#}"));
                        Ok(())
                    }
                    _ => Err(error),
                }
            }
        }
    }

    /// Feeds what is new since the last turn and streams the answer.
    fn answer(&mut self) -> anyhow::Result<Generation> {
        let model = self.session.model();
        let ids = match self.is_chat {
            true => prompt::chat_ids(model, &self.messages)?,
            false => {
                let line = self.messages.last().map_or("", |message| &message.content);
                prompt::raw_ids(model, line, self.special)?
            }
        };
        let common = ids.iter().zip(&self.cached).take_while(|(a, b)| a == b).count();
        let common = common.min(ids.len().saturating_sub(1));
        self.session.truncate(common);
        // A text that is continued is shown again, in front of its continuation.
        let mut echo = if self.is_chat { None } else { self.messages.last().map(|m| m.content.as_str()) };
        let mut printed = Ok(());
        let result = self.session.generate(&ids[common..], &self.options, &mut |piece| {
            for text in echo.take().into_iter().chain((!piece.is_empty()).then_some(piece)) {
                if printed.is_ok() {
                    printed = print(text);
                }
            }
            printed.is_ok() && !interrupt::requested()
        });
        self.cached = ids;
        if let Ok(done) = &result {
            self.cached.extend(&done.ids);
        }
        self.cached.truncate(self.session.position());
        printed?;
        let done = result?;
        print("\n")?;
        Ok(done)
    }

    fn explain(&self, finish: FinishReason) {
        match finish {
            FinishReason::Cancelled => note("stopped"),
            FinishReason::ContextFull => note(&format!(
                "the context of {} tokens is full: {}--ctx sets its size",
                self.session.context(),
                if self.is_chat { "/reset forgets the conversation, " } else { "" }
            )),
            _ => {}
        }
    }
}

/// Lines typed before, in the cache directory.
fn history_path() -> Option<PathBuf> {
    Some(crate::engine::cache::dir()?.join("history.txt"))
}
