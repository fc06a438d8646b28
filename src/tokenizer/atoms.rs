//! Tokens that are cut out of a text before the rest is segmented: control tokens (on request) and
//! user-defined ones. Used by the SentencePiece tokenizer; the `tokenizers` crate has its own.

use std::collections::HashMap;

/// A token found by its text before segmentation.
pub(super) struct Atom {
    pub(super) text: String,
    pub(super) id: u32,
    /// Found only when the caller asks for special tokens.
    pub(super) control: bool,
    /// Takes the white space after it along.
    pub(super) rstrip: bool,
}

/// All atoms, by first byte.
#[derive(Default)]
pub(super) struct Atoms {
    by_first_byte: HashMap<u8, Vec<Atom>>,
}

/// A piece of input: an atom, or text between atoms (never empty).
pub(super) enum Part<'t> {
    Atom(u32),
    Text(&'t str),
}

impl Atoms {
    pub(super) fn add(&mut self, atom: Atom) {
        if let Some(&first) = atom.text.as_bytes().first() {
            self.by_first_byte.entry(first).or_default().push(atom);
        }
    }

    pub(super) fn longest_first(&mut self) {
        for list in self.by_first_byte.values_mut() {
            list.sort_by_key(|atom| std::cmp::Reverse(atom.text.len()));
        }
    }

    /// Leftmost, longest atoms.
    pub(super) fn split<'t>(&self, text: &'t str, control: bool) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        let (mut done, mut at) = (0, 0);
        while at < text.len() {
            let rest = &text.as_bytes()[at..];
            let list = self.by_first_byte.get(&rest[0]).map_or(&[][..], Vec::as_slice);
            let found =
                list.iter().find(|atom| (control || !atom.control) && rest.starts_with(atom.text.as_bytes()));
            let Some(atom) = found else {
                at += 1;
                continue;
            };
            if done < at {
                parts.push(Part::Text(&text[done..at]));
            }
            parts.push(Part::Atom(atom.id));
            at += atom.text.len();
            if atom.rstrip {
                at = text.len() - text[at..].trim_start().len();
            }
            done = at;
        }
        if done < text.len() {
            parts.push(Part::Text(&text[done..]));
        }
        parts
    }
}
