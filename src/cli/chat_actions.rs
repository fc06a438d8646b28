//! What a chat's commands do.

use std::path::Path;

use super::chat::Chat;
use super::chat_commands::{self, Command, HELP};
use super::open::{aside, say, tell};
use super::prompt;
use crate::base::counted;
use crate::tokenizer::Message;

impl Chat<'_, '_> {
    /// A question or a command. False ends the chat.
    pub(super) fn take(&mut self, line: &str) -> anyhow::Result<bool> {
        if line.trim().is_empty() {
            return Ok(true);
        }
        // A text of several lines is always something to say.
        match chat_commands::parse(line).filter(|_| !line.contains('\n')) {
            None => self.turn(line)?,
            Some(Err(what)) => say(&what),
            Some(Ok(Command::Exit)) => return Ok(false),
            Some(Ok(Command::Help)) => tell(&format!("{HELP}\n")),
            Some(Ok(Command::Reset)) => {
                self.messages = self.manner.opening.clone();
                say("the conversation is forgotten");
            }
            Some(Ok(Command::Stats)) => {
                self.manner.stats = !self.manner.stats;
                say(if self.manner.stats { "stats after each answer" } else { "no more stats" });
            }
            Some(Ok(Command::Regenerate)) => self.regenerate()?,
            Some(Ok(Command::System(text))) => self.system(text),
            Some(Ok(Command::Save(path))) => say(&self.save(&path)),
            Some(Ok(Command::Load(path))) => self.load(&path),
            Some(Ok(Command::Set(None))) => {
                tell(&format!("{}\n", chat_commands::settings(&self.manner.options)));
            }
            Some(Ok(Command::Set(Some((name, value))))) => self.set(&name, &value),
        }
        Ok(true)
    }

    fn set(&mut self, name: &str, value: &str) {
        let done = match (name, value) {
            ("think", "on" | "off" | "true" | "false") => self.think(matches!(value, "on" | "true")),
            ("think", _) => Err(format!("think: expected on or off, found {value}")),
            _ => chat_commands::change(&mut self.manner.options, name, value),
        };
        match done {
            Ok(()) => aside(&format!("{name}: {value}")),
            Err(what) => say(&what),
        }
    }

    fn think(&mut self, on: bool) -> Result<(), String> {
        let known = self.manner.template.as_mut().is_some_and(|template| prompt::think(template, on));
        if known { Ok(()) } else { Err("this model's template has no switch for thinking".to_owned()) }
    }

    /// Shows the instructions in front of the conversation, or puts others in their place.
    fn system(&mut self, text: Option<String>) {
        if self.manner.template.is_none() {
            return say("/system needs a model with a chat template");
        }
        let Some(text) = text else {
            let said = self.messages.first().filter(|m| m.role == "system");
            return say(said.map_or("there are no instructions; /system TEXT gives some", |m| &m.content));
        };
        self.messages.retain(|message| message.role != "system");
        self.manner.opening = if text.is_empty() { Vec::new() } else { vec![Message::new("system", text)] };
        self.messages.splice(0..0, self.manner.opening.clone());
        let set = self.manner.opening.first();
        aside(&set.map_or("no more instructions".to_owned(), |m| format!("system: {}", m.content)));
    }

    /// Writes the conversation; a file that is no conversation is left alone.
    fn save(&self, path: &Path) -> String {
        let shown = path.display();
        if let Ok(old) = std::fs::read(path)
            && chat_commands::from_json(&String::from_utf8_lossy(&old)).is_err()
        {
            return format!("{shown} exists and is no saved conversation: nothing is written");
        }
        match std::fs::write(path, chat_commands::to_json(&self.name, &self.messages)) {
            Ok(()) => format!("{} in {shown}", counted(self.messages.len(), "message")),
            Err(error) => format!("{shown}: {error}"),
        }
    }

    fn load(&mut self, path: &Path) {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        match text.and_then(|text| chat_commands::from_json(&text)) {
            Err(what) => say(&format!("{}: {what}", path.display())),
            Ok(messages) => {
                let n_opening = messages.iter().take_while(|m| m.role == "system").count();
                self.manner.opening = messages[..n_opening].to_vec();
                self.messages = messages;
                let last =
                    self.messages.last().map_or(String::new(), |m| format!(", the last: {}", first_line(m)));
                say(&format!("{}{last}", counted(self.messages.len(), "message")));
            }
        }
    }
}

/// The beginning of a message, to recognise it.
fn first_line(message: &Message) -> String {
    const SHOWN: usize = 60;
    let line = message.content.lines().next().unwrap_or_default();
    let short: String = line.chars().take(SHOWN).collect();
    let more = if short.len() < message.content.len() { " …" } else { "" };
    format!("{}: {short}{more}", message.role)
}
