//! [`Cursor`]: reads little-endian fields from untrusted bytes; every read is checked, errors name the field.

use std::fmt::Arguments;

use crate::formats::error::{FormatError, Result};

/// What most damage comes from.
pub(super) const DOWNLOAD_AGAIN: &str = "the file is damaged or not GGUF: download it again";

/// A position in the bytes of a file.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    /// The file's name, for messages.
    pub(super) file: &'a str,
    /// All of the file.
    pub(super) bytes: &'a [u8],
    /// Where the next read starts; never beyond `bytes.len()`.
    pub(super) pos: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { file, bytes, pos: 0 }
    }

    /// Bytes from here to the end of the file.
    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.pos
    }

    /// The next `n` bytes. `n` may be any number from a file: it is compared before anything is done.
    pub(super) fn take(&mut self, n: u64, what: Arguments<'_>) -> Result<&'a [u8]> {
        match usize::try_from(n).ok().filter(|&n| n <= self.remaining()) {
            Some(n) => {
                let bytes = &self.bytes[self.pos..self.pos + n];
                self.pos += n;
                Ok(bytes)
            }
            None => Err(FormatError::Truncated {
                file: self.file.into(),
                what: what.to_string(),
                offset: self.pos,
                needed: n,
                len: self.bytes.len(),
            }),
        }
    }

    fn array<const N: usize>(&mut self, what: Arguments<'_>) -> Result<[u8; N]> {
        let bytes = self.take(N as u64, what)?;
        Ok(bytes.try_into().expect("take returns the length asked for"))
    }

    pub(super) fn u32(&mut self, what: Arguments<'_>) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: Arguments<'_>) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A string: u64 length, then that many bytes (UTF-8 by the specification; checked where it is used).
    pub(super) fn string(&mut self, what: Arguments<'_>) -> Result<&'a [u8]> {
        let len = self.u64(what)?;
        self.take(len, what)
    }

    /// A string that must be text: names of tensors.
    pub(super) fn name(&mut self, what: Arguments<'_>) -> Result<&'a str> {
        let at = self.pos;
        let bytes = self.string(what)?;
        let found = || format!("bytes \"{}\"", bytes[..bytes.len().min(32)].escape_ascii());
        std::str::from_utf8(bytes).map_err(|_| self.field(at, what, "UTF-8 text", found()))
    }

    /// A count of entries that take at least `min_bytes` each, so that it cannot promise more than the file
    /// has room for.
    pub(super) fn count(&mut self, min_bytes: usize, what: Arguments<'_>) -> Result<usize> {
        let at = self.pos;
        let count = self.u64(what)?;
        let room = self.remaining() / min_bytes;
        usize::try_from(count).ok().filter(|&n| n <= room).ok_or_else(|| {
            self.field(at, what, format!("at most {room} (what the file has room for)"), count.to_string())
        })
    }

    /// The error for a field with an impossible value.
    pub(super) fn field(
        &self,
        offset: usize,
        what: Arguments<'_>,
        expected: impl Into<Box<str>>,
        found: impl Into<Box<str>>,
    ) -> FormatError {
        FormatError::Field {
            file: self.file.into(),
            what: what.to_string(),
            offset,
            expected: expected.into(),
            found: found.into(),
            next: DOWNLOAD_AGAIN,
        }
    }
}
