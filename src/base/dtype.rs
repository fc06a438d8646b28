//! Element types of stored tensors, with their block geometry. Knows sizes and names, not encodings.

use serde::{Deserialize, Serialize};

/// How the elements of a stored tensor are encoded. Quantized types store blocks of
/// [`DType::block_len`] consecutive elements of one row in [`DType::block_bytes`] bytes
/// (layouts: ggml's `ggml-common.h`; names are ggml's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the field's standard terms")]
pub enum DType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    IQ4NL,
    IQ4XS,
    MXFP4,
}

use DType::*;

/// One row per type: (type, name, ggml type id, elements per block, bytes per block).
const TABLE: [(DType, &str, u32, usize, usize); 16] = [
    (F32, "f32", 0, 1, 4),
    (F16, "f16", 1, 1, 2),
    (Q4_0, "q4_0", 2, 32, 18),
    (Q4_1, "q4_1", 3, 32, 20),
    (Q5_0, "q5_0", 6, 32, 22),
    (Q5_1, "q5_1", 7, 32, 24),
    (Q8_0, "q8_0", 8, 32, 34),
    (Q2K, "q2_k", 10, 256, 84),
    (Q3K, "q3_k", 11, 256, 110),
    (Q4K, "q4_k", 12, 256, 144),
    (Q5K, "q5_k", 13, 256, 176),
    (Q6K, "q6_k", 14, 256, 210),
    (IQ4NL, "iq4_nl", 20, 32, 18),
    (IQ4XS, "iq4_xs", 23, 256, 136),
    (BF16, "bf16", 30, 1, 2),
    (MXFP4, "mxfp4", 39, 32, 17),
];

/// What other programs call a type.
const SYNONYMS: [(&str, DType); 10] = [
    ("fp32", F32),
    ("float32", F32),
    ("fp16", F16),
    ("float16", F16),
    ("half", F16),
    ("bfloat16", BF16),
    ("int8", Q8_0),
    ("q8", Q8_0),
    ("q8k", Q8_0),
    ("q6", Q6K),
];

/// Lower case, letters and digits only.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

impl DType {
    /// Every type there is.
    pub fn all() -> impl Iterator<Item = DType> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (DType, &'static str, u32, usize, usize) {
        TABLE.iter().find(|row| row.0 == self).expect("TABLE lists every variant")
    }

    /// Lower-case name as used on the command line, e.g. `q4_k`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The type with this [`DType::name`], upper or lower case.
    pub fn from_name(name: &str) -> Option<DType> {
        TABLE.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// The type that people mean: its name in any case, with any separators or none, or what other
    /// programs call it. A mixture of llama.cpp's (`Q4_K_M`) means the type it is named after,
    /// `int8` means Q8_0. What could mean several (`q4`) means nothing.
    pub fn from_spelling(text: &str) -> Option<DType> {
        let all = plain(text);
        let word = all.strip_prefix("ud").unwrap_or(&all);
        let named = |word: &str| TABLE.iter().find(|row| plain(row.1) == word).map(|row| row.0);
        let synonym = SYNONYMS.iter().find(|row| row.0 == word).map(|row| row.1);
        let mixture = || {
            let base = word.trim_end_matches(['s', 'm', 'l', 'x']);
            base.ends_with('k').then(|| named(base)).flatten()
        };
        named(word).or(synonym).or_else(mixture)
    }

    /// Is `text` this type's own name, case and separators aside?
    pub fn is_spelled(self, text: &str) -> bool {
        plain(text) == plain(self.name())
    }

    /// ggml's numeric type id, as stored in GGUF files.
    pub fn ggml_id(self) -> u32 {
        self.row().2
    }

    /// The type with this ggml id, if it is one that can be decoded here.
    pub fn from_ggml_id(id: u32) -> Option<DType> {
        TABLE.iter().find(|row| row.2 == id).map(|row| row.0)
    }

    /// Elements per block (1 for plain floats).
    pub fn block_len(self) -> usize {
        self.row().3
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    /// Bytes of one row of `cols` elements; `None` when `cols` is not a whole number of blocks (or more bytes
    /// than a `usize` counts).
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        let n_blocks = cols.is_multiple_of(self.block_len()).then(|| cols / self.block_len())?;
        n_blocks.checked_mul(self.block_bytes())
    }

    /// True for F32, F16 and BF16.
    pub fn is_float(self) -> bool {
        self.block_len() == 1
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_spelling_means_a_type_or_nothing() {
        for (text, expected) in [
            ("q4_k", Some(Q4K)),
            ("Q4_K_M", Some(Q4K)),
            ("q4_k_s", Some(Q4K)),
            ("Q3_K_XL", Some(Q3K)),
            ("UD-Q4_K_XL", Some(Q4K)),
            ("q4km", Some(Q4K)),
            ("Q4-0", Some(Q4_0)),
            ("q4 0", Some(Q4_0)),
            ("Q8_0", Some(Q8_0)),
            ("int8", Some(Q8_0)),
            ("FP16", Some(F16)),
            ("bfloat16", Some(BF16)),
            ("iq4-xs", Some(IQ4XS)),
            ("IQ4_NL", Some(IQ4NL)),
            // Of four bits there are several.
            ("q4", None),
            ("int4", None),
            ("q4_k_n", None),
            ("q8_0_m", None),
            ("k", None),
            ("", None),
            ("_", None),
        ] {
            assert_eq!(DType::from_spelling(text), expected, "{text}");
        }
        assert!(DType::all().all(|dtype| DType::from_spelling(dtype.name()) == Some(dtype)));
        assert!(Q4K.is_spelled("Q4-K") && !Q4K.is_spelled("q4_k_m"));
    }

    #[test]
    fn names_and_ids_round_trip() {
        for dtype in DType::all() {
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
            assert_eq!(DType::from_ggml_id(dtype.ggml_id()), Some(dtype));
        }
        assert_eq!(DType::from_ggml_id(4), None); // Q4_2, removed from ggml
        assert_eq!(Q4K.row_bytes(512), Some(288));
        assert_eq!(Q4K.row_bytes(100), None);
        assert_eq!(F32.row_bytes(usize::MAX / 2), None);
    }
}
