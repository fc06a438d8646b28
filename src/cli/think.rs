//! Thoughts: the `<think>…</think>` part of an answer, dim on a terminal.

use std::io::IsTerminal;

use super::{print, print_styled, printable};

/// Begins a thought.
pub(super) const BEGIN: &str = "<think>";
/// Ends it.
pub(super) const END: &str = "</think>";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Writes an answer to stdout as it comes.
pub(super) struct Voice {
    /// `None`: nothing is dim.
    thoughts: Option<Thoughts>,
    last: Option<char>,
}

impl Voice {
    /// `thinks`: the answer begins within a thought.
    pub(super) fn new(thinks: bool) -> Voice {
        let thoughts = is_coloured(&std::io::stdout()).then(|| Thoughts::new(thinks));
        Voice { thoughts, last: None }
    }

    /// Writes a piece.
    pub(super) fn say(&mut self, piece: &str) -> std::io::Result<()> {
        self.last = piece.chars().last().or(self.last);
        match &mut self.thoughts {
            None if piece.is_empty() => Ok(()),
            None => print(piece),
            Some(thoughts) => show(thoughts.push(piece)),
        }
    }

    /// Writes what was held back, and a line end where the text lacks it or `always`.
    pub(super) fn end(&mut self, always: bool) -> std::io::Result<()> {
        if let Some(thoughts) = &mut self.thoughts {
            show(thoughts.end())?;
        }
        if always || self.last != Some('\n') { print("\n") } else { Ok(()) }
    }
}

/// Is this a terminal that wants more than plain text? (no-color.org)
pub(super) fn is_coloured(stream: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Text, dim on a terminal.
pub(super) fn dim(text: &str) -> String {
    if is_coloured(&std::io::stderr()) { format!("{DIM}{text}{PLAIN}") } else { text.to_owned() }
}

fn show(parts: Vec<(String, bool)>) -> std::io::Result<()> {
    let text: String = parts
        .into_iter()
        .map(|(text, thought)| {
            let text = printable::for_stdout(&text);
            if thought { format!("{DIM}{text}{PLAIN}") } else { text.into_owned() }
        })
        .collect();
    if text.is_empty() { Ok(()) } else { print_styled(&text) }
}

/// Tells thoughts from the rest while a text comes in pieces.
struct Thoughts {
    inside: bool,
    /// What may be the beginning of a tag.
    held: String,
}

impl Thoughts {
    fn new(inside: bool) -> Thoughts {
        Thoughts { inside, held: String::new() }
    }

    /// What is certain by now: (text, is it a thought?). Tags belong to the thought.
    fn push(&mut self, piece: &str) -> Vec<(String, bool)> {
        self.held.push_str(piece);
        let mut parts = Vec::new();
        loop {
            let tag = if self.inside { END } else { BEGIN };
            let Some(at) = self.held.find(tag) else { break };
            let rest = self.held.split_off(if self.inside { at + tag.len() } else { at });
            parts.push((std::mem::replace(&mut self.held, rest), self.inside));
            self.inside = !self.inside;
        }
        let tag = if self.inside { END } else { BEGIN };
        let open = (1..tag.len()).rev().find(|n| self.held.ends_with(&tag[..*n])).unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - open);
        parts.push((std::mem::replace(&mut self.held, rest), self.inside));
        parts.retain(|(text, _)| !text.is_empty());
        parts
    }

    /// What was held back and became no tag.
    fn end(&mut self) -> Vec<(String, bool)> {
        let text = std::mem::take(&mut self.held);
        if text.is_empty() { Vec::new() } else { vec![(text, self.inside)] }
    }
}

/// An answer without its thoughts, for templates that do not leave them out themselves.
pub(super) fn without_thoughts(text: &str) -> &str {
    text.rfind(END).map_or(text, |at| text[at + END.len()..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adjacent parts of one kind are one.
    fn told(inside: bool, pieces: &[&str]) -> Vec<(String, bool)> {
        let mut thoughts = Thoughts::new(inside);
        let mut parts: Vec<(String, bool)> = pieces.iter().flat_map(|piece| thoughts.push(piece)).collect();
        parts.extend(thoughts.end());
        let mut joined: Vec<(String, bool)> = Vec::new();
        for (text, thought) in parts {
            match joined.last_mut().filter(|last| last.1 == thought) {
                Some(last) => last.0.push_str(&text),
                None => joined.push((text, thought)),
            }
        }
        joined
    }

    #[test]
    fn thoughts_are_told_from_answers() {
        let whole = "a<think>b</think>c <thin d";
        let want = [("a", false), ("<think>b</think>", true), ("c <thin d", false)];
        let want = want.map(|(text, thought)| (text.to_owned(), thought));
        assert_eq!(told(false, &[whole]), want);
        let letters: Vec<String> = whole.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert_eq!(told(false, &letters), want);
        let within = [("x</think>".to_owned(), true), ("y".to_owned(), false)];
        assert_eq!(told(true, &["x</thi", "nk>y"]), within);
        assert_eq!(told(true, &["never ends <"]), [("never ends <".to_owned(), true)]);
        assert_eq!(told(false, &["ü<", "3"]), [("ü<3".to_owned(), false)]);
        assert!(told(false, &[""]).is_empty());
    }

    #[test]
    fn answers_without_thoughts() {
        for (text, expected) in [
            ("<think>a</think>\n\nb", "b"),
            ("a</think>b", "b"),
            ("a", "a"),
            ("<think>cut off", "<think>cut off"),
        ] {
            assert_eq!(without_thoughts(text), expected, "{text}");
        }
    }
}
