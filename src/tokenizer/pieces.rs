//! What each token id stands for, as bytes. Decoding needs nothing else.

/// Bytes of every token, in one allocation, with the flag "special" (hidden from readers).
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// End of token `id` in `bytes`; its start is the end of the token before. Ascending.
    ends: Vec<usize>,
    special: Vec<bool>,
}

impl Pieces {
    /// Appends the token with the next id.
    pub(super) fn push(&mut self, bytes: &[u8], special: bool) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.special.push(special);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        let ix = usize::try_from(id).ok()?;
        let end = *self.ends.get(ix)?;
        let start = if ix == 0 { 0 } else { self.ends[ix - 1] };
        Some(&self.bytes[start..end])
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        usize::try_from(id).ok().and_then(|ix| self.special.get(ix)).copied().unwrap_or(false)
    }
}

/// The byte behind a character of GPT-2's printable byte alphabet: bytes 33–126, 161–172 and
/// 174–255 stand for themselves, the other 68 for U+0100, U+0101, … in ascending order
/// (Radford et al. 2019, `bytes_to_unicode`).
fn alphabet_byte(c: char) -> Option<u8> {
    let code = u32::from(c);
    let byte = match code {
        33..=126 | 161..=172 | 174..=255 => code,
        // U+0100..U+0120 are bytes 0–32, then 127–160, then 173.
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 127,
        0x143 => 173,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// Bytes of a byte-level token; text outside the alphabet stands for itself.
pub(super) fn byte_level_bytes(token: &str) -> Vec<u8> {
    let mapped: Option<Vec<u8>> = token.chars().map(alphabet_byte).collect();
    mapped.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// The byte of a SentencePiece byte token: exactly `<0xHH>`.
pub(super) fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u8::from_str_radix(hex, 16).ok())
        .flatten()
}

/// SentencePiece's mark for a space, U+2581.
pub(super) const SPACE_MARK: char = '\u{2581}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_is_a_bijection_on_bytes() {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        assert_eq!(alphabet.len(), 256);
        let mut bytes: Vec<u8> = alphabet.iter().map(|&c| alphabet_byte(c).expect("in alphabet")).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        for (c, byte) in
            [('Ġ', b' '), ('Ċ', b'\n'), ('ĉ', b'\t'), ('ł', 0xA0), ('Ń', 0xAD), ('ġ', 0x7F), ('A', b'A')]
        {
            assert_eq!(alphabet_byte(c), Some(byte), "{c}");
        }
        assert_eq!(alphabet_byte('ń'), None);
        assert_eq!(byte_level_bytes("Ġcaf©"), b" caf\xA9");
        assert_eq!(byte_level_bytes("<｜User｜>"), "<｜User｜>".as_bytes());
    }

    #[test]
    fn byte_tokens_are_exact() {
        assert_eq!(byte_token("<0x0A>"), Some(10));
        assert_eq!(byte_token("<0xff>"), Some(255));
        for wrong in ["<0x0A", "<0xA>", "<0x+A>", "0x0A", "<0x0AB>"] {
            assert_eq!(byte_token(wrong), None, "{wrong}");
        }
    }
}
