//! Ids → text as they arrive: [`DecodeStream`] never shows half a character, [`StopStrings`] holds back
//! text that may be the beginning of a stop string.

use super::Tokenizer;

/// Incremental decoder. The concatenation of everything [`push`](DecodeStream::push) and
/// [`finish`](DecodeStream::finish) return equals [`Tokenizer::decode`] of all ids.
///
/// Bytes that can still become a character wait; bytes that cannot are shown as U+FFFD, one per
/// maximal ill-formed sequence (Unicode 15, §3.9, "substitution of maximal subparts").
#[derive(Clone, Debug)]
pub struct DecodeStream {
    skip_special: bool,
    /// The next byte is the first of the text, and a space there is SentencePiece's prefix.
    strip_space: bool,
    /// Incomplete UTF-8 sequence: at most 3 bytes between calls.
    pending: Vec<u8>,
}

impl DecodeStream {
    /// Decodes a whole text from its beginning. `skip_special`: show nothing for control tokens.
    pub fn new(tokenizer: &Tokenizer, skip_special: bool) -> DecodeStream {
        DecodeStream { skip_special, strip_space: tokenizer.strips_first_space(), pending: Vec::new() }
    }

    /// Decodes the continuation of a text shown already: a leading space is text.
    pub fn continuing(skip_special: bool) -> DecodeStream {
        DecodeStream { skip_special, strip_space: false, pending: Vec::new() }
    }

    /// Text that became complete with this token; ids outside the vocabulary decode to nothing.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if self.skip_special && tokenizer.is_special(id) {
            return String::new();
        }
        let mut bytes = tokenizer.token_bytes(id).unwrap_or_default();
        if self.strip_space && !bytes.is_empty() {
            self.strip_space = false;
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        self.pending.extend_from_slice(bytes);
        let (text, used) = complete_text(&self.pending);
        self.pending.drain(..used);
        text
    }

    /// What is left when no more ids follow: nothing, or one U+FFFD for an unfinished character.
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        rest
    }
}

/// Decodes as much of `bytes` as is certain; returns the text and the number of bytes it covers.
fn complete_text(bytes: &[u8]) -> (String, usize) {
    let mut text = String::new();
    let mut used = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        used += chunk.valid().len();
        let invalid = chunk.invalid();
        let at_end = used + invalid.len() == bytes.len();
        let unfinished = at_end && std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
        if !invalid.is_empty() && !unfinished {
            text.push(char::REPLACEMENT_CHARACTER);
            used += invalid.len();
        }
    }
    (text, used)
}

/// Finds stop strings in streamed text. Text is released as soon as it cannot be part of a stop
/// string; a stop string itself and everything after it is never released. The result does not
/// depend on how the text is cut into pieces: the stop string that ends first wins.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
    hit: bool,
}

impl StopStrings {
    /// Empty strings are ignored.
    pub fn new(stops: impl IntoIterator<Item = String>) -> StopStrings {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        StopStrings { stops, held: String::new(), hit: false }
    }

    /// Adds text; returns what may be shown now. After a hit it returns nothing.
    pub fn push(&mut self, text: &str) -> String {
        if self.hit {
            return String::new();
        }
        self.held.push_str(text);
        let first = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at + stop.len(), at)));
        if let Some((_, start)) = first.min() {
            self.hit = true;
            self.held.truncate(start);
            return std::mem::take(&mut self.held);
        }
        let keep_from = self.first_possible_stop();
        let rest = self.held.split_off(keep_from);
        std::mem::replace(&mut self.held, rest)
    }

    /// True once a stop string was seen: generation can end.
    pub fn is_hit(&self) -> bool {
        self.hit
    }

    /// Text still held back when generation ends for another reason.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Byte index of the longest end of `held` that begins some stop string.
    fn first_possible_stop(&self) -> usize {
        let begins_stop = |tail: &str| self.stops.iter().any(|stop| stop.starts_with(tail));
        let mut starts = self.held.char_indices().map(|(at, _)| at);
        starts.find(|&at| begins_stop(&self.held[at..])).unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_characters_wait_and_invalid_bytes_do_not() {
        for (bytes, want, used) in [
            (&b"ab"[..], "ab", 2),
            (b"a\xF0\x9F\xA6", "a", 1),
            (b"a\xF0\x9F\xA6\x99", "a🦙", 5),
            (b"\xF0\x9Fx", "\u{FFFD}x", 3),
            (b"\xFF", "\u{FFFD}", 1),
            (b"\xC0", "\u{FFFD}", 1),
            (b"\xE2\x82\xE2\x82", "\u{FFFD}", 2),
        ] {
            assert_eq!(complete_text(bytes), (want.to_string(), used), "{bytes:?}");
        }
    }

    /// Feeds `text` cut at every pair of places; the shown text must always be `want`.
    fn check_stops(stops: &[&str], text: &str, want: &str, hit: bool) {
        let cuts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        for &a in &cuts {
            for &b in cuts.iter().filter(|&&b| b >= a) {
                let mut matcher = StopStrings::new(stops.iter().map(|s| s.to_string()));
                let mut shown = String::new();
                for piece in [&text[..a], &text[a..b], &text[b..]] {
                    shown += &matcher.push(piece);
                    assert!(want.starts_with(&shown), "{shown:?} shown too early");
                }
                assert_eq!(matcher.is_hit(), hit, "{stops:?} in {text:?} cut at {a}, {b}");
                shown += &matcher.finish();
                assert_eq!(shown, want, "{stops:?} in {text:?} cut at {a}, {b}");
            }
        }
    }

    #[test]
    fn stop_strings_are_cut_exactly() {
        check_stops(&["\n\n"], "one\ntwo\n\nthree", "one\ntwo", true);
        check_stops(&["</s>", "User:"], "hi <b>Us User: x", "hi <b>Us ", true);
        check_stops(&["abc", "b"], "xabc", "xa", true);
        check_stops(&["aab"], "aaaab!", "aa", true);
        check_stops(&["né"], "déjà né", "déjà ", true);
        check_stops(&["END"], "the EN", "the EN", false);
        check_stops(&[], "anything", "anything", false);
        check_stops(&[""], "anything", "anything", false);
    }

    #[test]
    fn text_is_released_when_it_cannot_be_a_stop() {
        let mut matcher = StopStrings::new(["STOP".to_string()]);
        assert_eq!(matcher.push("a S"), "a ");
        assert_eq!(matcher.push("T"), "");
        assert_eq!(matcher.push("x"), "STx");
    }
}
