//! SentencePiece BPE from a scored vocabulary (GGUF `tokenizer.ggml.model = llama`).
//!
//! In: text. Out: ids. The rule (Kudo & Richardson 2018, BPE mode): of all neighbouring pairs whose
//! concatenation is a piece, merge the one with the highest score, the leftmost of equals, until no
//! pair is a piece; a character without a piece becomes its UTF-8 bytes as `<0xHH>` tokens, or the
//! unknown token when there are no byte tokens. A merge *list* cannot express this when two pieces
//! have the same score, which is why the `tokenizers` crate is not used here.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::atoms::{Atom, Atoms, Part};
use super::error::{Result, TokenizerError};
use super::pieces::{SPACE_MARK, byte_token};

/// GGUF `tokenizer.ggml.token_type` values.
pub(super) mod token_type {
    pub(in crate::tokenizer) const NORMAL: i32 = 1;
    pub(in crate::tokenizer) const UNKNOWN: i32 = 2;
    pub(in crate::tokenizer) const CONTROL: i32 = 3;
    pub(in crate::tokenizer) const USER_DEFINED: i32 = 4;
    pub(in crate::tokenizer) const UNUSED: i32 = 5;
    pub(in crate::tokenizer) const BYTE: i32 = 6;
}

/// A scored vocabulary with everything needed to encode.
pub(super) struct Spm {
    /// Every token's id by its text.
    ids: HashMap<String, u32>,
    /// `[tokens]` score of each piece.
    scores: Vec<f32>,
    /// `[tokens]` GGUF token type.
    types: Vec<i32>,
    /// Ids of `<0x00>` … `<0xFF>`.
    bytes: [Option<u32>; 256],
    unk: Option<u32>,
    add_space_prefix: bool,
    remove_extra_whitespaces: bool,
    /// Tokens cut out of the text before it is segmented.
    atoms: Atoms,
}

/// What [`Spm::new`] needs beside the tokens.
pub(super) struct SpmOptions {
    pub(super) unk: Option<u32>,
    pub(super) add_space_prefix: bool,
    pub(super) remove_extra_whitespaces: bool,
    /// White space after a special token belongs to the token, except after these.
    pub(super) rstrip_except: Option<&'static [&'static str]>,
}

impl Spm {
    /// `scores` and `types` are `[tokens.len()]`, checked by the caller.
    pub(super) fn new(tokens: &[String], scores: Vec<f32>, types: Vec<i32>, options: SpmOptions) -> Spm {
        let mut ids = HashMap::with_capacity(tokens.len());
        let mut bytes = [None; 256];
        let mut atoms = Atoms::default();
        for (id, (token, &kind)) in (0u32..).zip(tokens.iter().zip(&types)) {
            ids.entry(token.clone()).or_insert(id);
            if let Some(byte) = byte_token(token) {
                bytes[usize::from(byte)].get_or_insert(id);
            }
            let control = [token_type::CONTROL, token_type::UNKNOWN].contains(&kind);
            if control || kind == token_type::USER_DEFINED {
                let rstrip = options.rstrip_except.is_some_and(|except| !except.contains(&token.as_str()));
                atoms.add(Atom { text: token.clone(), id, control, rstrip });
            }
        }
        atoms.longest_first();
        let SpmOptions { unk, add_space_prefix, remove_extra_whitespaces, .. } = options;
        Spm { ids, scores, types, bytes, unk, add_space_prefix, remove_extra_whitespaces, atoms }
    }

    pub(super) fn id_of(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    pub(super) fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        let mut out = Vec::new();
        for part in self.atoms.split(text, parse_special) {
            match part {
                Part::Atom(id) => out.push(id),
                Part::Text(text) => self.encode_text(text, &mut out)?,
            }
        }
        Ok(out)
    }

    fn encode_text(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        let mut normal = String::with_capacity(text.len() + SPACE_MARK.len_utf8());
        if self.remove_extra_whitespaces {
            let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
            normal.push_str(&words.join(" "));
        } else {
            normal.push_str(text);
        }
        if normal.is_empty() {
            return Ok(());
        }
        if self.add_space_prefix {
            normal.insert(0, ' ');
        }
        let normal = normal.replace(' ', SPACE_MARK.encode_utf8(&mut [0; 4]));
        Segmenter::new(self, &normal).run(out)
    }

    /// The piece spelled exactly `text`, if segmentation may produce it.
    fn piece(&self, text: &str) -> Option<u32> {
        let id = self.id_of(text)?;
        let reserved = [token_type::CONTROL, token_type::UNKNOWN, token_type::BYTE];
        (!reserved.contains(&self.types[id as usize])).then_some(id)
    }

    fn is_unused(&self, id: u32) -> bool {
        self.types[id as usize] == token_type::UNUSED
    }
}

/// A stretch `start..end` of the text and its neighbours in the list of live symbols.
/// A symbol that was merged into its left neighbour is empty.
#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize,
    prev: Option<usize>,
    next: Option<usize>,
}

/// A pair that could be merged; outdated when the symbols no longer span `start..end`.
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    start: usize,
    end: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        // Highest score first, then leftmost. Adding 0.0 makes -0.0 equal to 0.0.
        (self.score + 0.0).total_cmp(&(other.score + 0.0)).then(other.start.cmp(&self.start))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// One run over one text.
struct Segmenter<'a> {
    spm: &'a Spm,
    text: &'a str,
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Candidate>,
    /// Where pieces marked unused were joined: they may serve on the way to a longer piece, but
    /// are taken apart again when they remain.
    joints: HashMap<(usize, usize), usize>,
}

impl<'a> Segmenter<'a> {
    fn new(spm: &'a Spm, text: &'a str) -> Segmenter<'a> {
        let count = text.chars().count();
        let symbol = |(ix, (start, c)): (usize, (usize, char))| Symbol {
            start,
            end: start + c.len_utf8(),
            prev: ix.checked_sub(1),
            next: (ix + 1 < count).then_some(ix + 1),
        };
        let symbols = text.char_indices().enumerate().map(symbol).collect();
        Segmenter { spm, text, symbols, queue: BinaryHeap::new(), joints: HashMap::new() }
    }

    fn run(mut self, out: &mut Vec<u32>) -> Result<()> {
        for right in 1..self.symbols.len() {
            self.propose(Some(right - 1), Some(right));
        }
        while let Some(best) = self.queue.pop() {
            self.merge(&best);
        }
        let mut after_unknown = false;
        let mut at = (!self.symbols.is_empty()).then_some(0);
        while let Some(ix) = at {
            let Symbol { start, end, next, .. } = self.symbols[ix];
            self.emit(start, end, &mut after_unknown, out)?;
            at = next;
        }
        Ok(())
    }

    fn propose(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (start, end) = (self.symbols[left].start, self.symbols[right].end);
        if let Some(id) = self.spm.piece(&self.text[start..end]) {
            let score = self.spm.scores[id as usize];
            self.queue.push(Candidate { score, left, right, start, end });
            if self.spm.is_unused(id) {
                self.joints.insert((start, end), self.symbols[right].start);
            }
        }
    }

    fn merge(&mut self, pair: &Candidate) {
        let (left, right) = (self.symbols[pair.left], self.symbols[pair.right]);
        // A merged symbol is empty and ends at its start, so one test finds all outdated pairs.
        let current = left.start == pair.start && left.end == right.start && right.end == pair.end;
        if !current || left.start == left.end || right.start == right.end {
            return;
        }
        self.symbols[pair.left].end = right.end;
        self.symbols[pair.left].next = right.next;
        self.symbols[pair.right].end = right.start;
        if let Some(next) = right.next {
            self.symbols[next].prev = Some(pair.left);
        }
        self.propose(left.prev, Some(pair.left));
        self.propose(Some(pair.left), right.next);
    }

    fn emit(&self, start: usize, end: usize, after_unknown: &mut bool, out: &mut Vec<u32>) -> Result<()> {
        let text = &self.text[start..end];
        if let Some(id) = self.spm.piece(text) {
            match self.joints.get(&(start, end)) {
                Some(&middle) if self.spm.is_unused(id) => {
                    self.emit(start, middle, after_unknown, out)?;
                    return self.emit(middle, end, after_unknown, out);
                }
                _ => {
                    out.push(id);
                    *after_unknown = false;
                    return Ok(());
                }
            }
        }
        let bytes: Option<Vec<u32>> = text.bytes().map(|b| self.spm.bytes[usize::from(b)]).collect();
        if let Some(ids) = bytes {
            out.extend(ids);
            *after_unknown = false;
        } else if !*after_unknown {
            // A run of unknown characters is one unknown token, as in SentencePiece.
            let unk = self.spm.unk.ok_or_else(|| TokenizerError::Encode {
                reason: format!("no token for {text:?}, no byte tokens and no unknown token"),
            })?;
            out.push(unk);
            *after_unknown = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::token_type::*;
    use super::*;

    /// `<unk> <s> ▁ a b c ab bc abc(unused) <u>(user-defined)` with equal scores for ab and bc.
    fn spm(prefix: bool) -> Spm {
        let rows = [
            ("<unk>", 0.0, UNKNOWN),
            ("<s>", 0.0, CONTROL),
            ("▁", -9.0, NORMAL),
            ("a", -9.0, NORMAL),
            ("b", -9.0, NORMAL),
            ("c", -9.0, NORMAL),
            ("ab", -1.0, NORMAL),
            ("bc", -1.0, NORMAL),
            ("abc", -2.0, UNUSED),
            ("<u>", 0.0, USER_DEFINED),
            ("abca", -3.0, NORMAL),
        ];
        let tokens: Vec<String> = rows.iter().map(|r| r.0.to_string()).collect();
        let options = SpmOptions {
            unk: Some(0),
            add_space_prefix: prefix,
            remove_extra_whitespaces: false,
            rstrip_except: None,
        };
        Spm::new(&tokens, rows.map(|r| r.1).to_vec(), rows.map(|r| r.2).to_vec(), options)
    }

    fn check(prefix: bool, text: &str, special: bool, want: &[u32]) {
        assert_eq!(spm(prefix).encode(text, special).expect("has <unk>"), want, "{text:?}");
    }

    #[test]
    fn merges_follow_score_then_position() {
        check(false, "bcab", false, &[7, 6]);
        check(false, "babc", false, &[4, 6, 5]); // abc is unused: ab and c, the leftmost of equals
        check(false, "abca", false, &[10]); // but abc served on the way to abca
        check(true, "ab", false, &[2, 6]);
        check(true, "", false, &[]);
        check(false, " a  ", false, &[2, 3, 2, 2]);
    }

    #[test]
    fn unknown_characters_fuse_and_special_tokens_are_cut_out() {
        check(false, "aéüb", false, &[3, 0, 4]);
        check(false, "<s>ab", true, &[1, 6]);
        check(false, "<s>ab", false, &[0, 6]); // < s > are unknown characters here
        check(false, "a<u>b", false, &[3, 9, 4]);
        check(true, "a<s>b", true, &[2, 3, 1, 2, 4]);
    }
}
