//! Model shapes by name: what a published model measures, for planning and benchmarks with nothing to
//! download. A row becomes the `config.json` it was copied from, and takes the one path from there:
//! [`hf::parse`].

use std::fmt;

use serde_json::{Value, json};

use super::error::ModelError;
use super::hf;
use super::spec::ModelSpec;
use crate::base::DType;

/// What a shape begins with where a model's path could stand too: `shape:Llama-3.1-8B:q4_0`.
pub const PREFIX: &str = "shape:";
/// Types that a shape can be asked for in.
pub const QUANTS: [DType; 6] = [DType::F16, DType::Q8_0, DType::Q6K, DType::Q5K, DType::Q4K, DType::Q4_0];
/// Characters of an unknown name that an error repeats.
const MOST_ECHOED: usize = 60;
/// Most names in "did you mean".
const SUGGESTIONS: usize = 3;

/// Figures of one published `config.json`.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    architecture: &'static str,
    /// hidden, intermediate, layers, heads, key/value heads, vocabulary
    dims: [usize; 6],
    head_dim: usize,
    positions: usize,
    theta: f64,
    eps: f64,
    tied: bool,
    /// Factor of Llama 3's rotary scaling.
    llama3_factor: Option<f64>,
}

/// The architecture's usual case; `head_dim` is hidden / heads.
const fn row(
    name: &'static str,
    architecture: &'static str,
    dims: [usize; 6],
    positions: usize,
    theta: f64,
) -> Row {
    let head_dim = dims[0] / dims[3];
    Row { name, architecture, dims, head_dim, positions, theta, eps: 1e-5, tied: false, llama3_factor: None }
}

const fn llama(name: &'static str, dims: [usize; 6], positions: usize, theta: f64) -> Row {
    row(name, "LlamaForCausalLM", dims, positions, theta)
}

const fn llama3(name: &'static str, dims: [usize; 6], factor: f64) -> Row {
    Row { llama3_factor: Some(factor), ..llama(name, dims, 131_072, 5e5) }
}

const fn qwen2(name: &'static str, dims: [usize; 6], positions: usize, eps: f64) -> Row {
    Row { eps, ..row(name, "Qwen2ForCausalLM", dims, positions, 1e6) }
}

const fn qwen3(name: &'static str, dims: [usize; 6]) -> Row {
    Row { head_dim: 128, eps: 1e-6, ..row(name, "Qwen3ForCausalLM", dims, 40_960, 1e6) }
}

const fn tied(row: Row) -> Row {
    Row { tied: true, ..row }
}

/// From the `config.json` of the repository of each name (Qwen2.5: the base models, whose instruction-tuned
/// siblings state 32768 positions; Mistral-7B: version 0.3).
const ROWS: [Row; 26] = [
    tied(llama("demo", [256, 768, 4, 4, 4, 4096], 512, 1e4)),
    tied(llama("SmolLM2-135M", [576, 1536, 30, 9, 3, 49_152], 8192, 1e5)),
    tied(llama("SmolLM2-360M", [960, 2560, 32, 15, 5, 49_152], 8192, 1e5)),
    tied(llama("SmolLM2-1.7B", [2048, 8192, 24, 32, 32, 49_152], 8192, 1.3e5)),
    llama("TinyLlama-1.1B", [2048, 5632, 22, 32, 4, 32_000], 2048, 1e4),
    tied(llama3("Llama-3.2-1B", [2048, 8192, 16, 32, 8, 128_256], 32.0)),
    tied(llama3("Llama-3.2-3B", [3072, 8192, 28, 24, 8, 128_256], 32.0)),
    llama3("Llama-3.1-8B", [4096, 14_336, 32, 32, 8, 128_256], 8.0),
    llama3("Llama-3.1-70B", [8192, 28_672, 80, 64, 8, 128_256], 8.0),
    llama("Llama-2-7B", [4096, 11_008, 32, 32, 32, 32_000], 4096, 1e4),
    llama("Llama-2-13B", [5120, 13_824, 40, 40, 40, 32_000], 4096, 1e4),
    llama("Llama-2-70B", [8192, 28_672, 80, 64, 8, 32_000], 4096, 1e4),
    row("Mistral-7B", "MistralForCausalLM", [4096, 14_336, 32, 32, 8, 32_768], 32_768, 1e6),
    tied(qwen2("Qwen2.5-0.5B", [896, 4864, 24, 14, 2, 151_936], 32_768, 1e-6)),
    tied(qwen2("Qwen2.5-1.5B", [1536, 8960, 28, 12, 2, 151_936], 131_072, 1e-6)),
    tied(qwen2("Qwen2.5-3B", [2048, 11_008, 36, 16, 2, 151_936], 32_768, 1e-6)),
    qwen2("Qwen2.5-7B", [3584, 18_944, 28, 28, 4, 152_064], 131_072, 1e-6),
    qwen2("Qwen2.5-14B", [5120, 13_824, 48, 40, 8, 152_064], 131_072, 1e-5),
    qwen2("Qwen2.5-32B", [5120, 27_648, 64, 40, 8, 152_064], 131_072, 1e-5),
    qwen2("Qwen2.5-72B", [8192, 29_568, 80, 64, 8, 152_064], 131_072, 1e-5),
    tied(qwen3("Qwen3-0.6B", [1024, 3072, 28, 16, 8, 151_936])),
    tied(qwen3("Qwen3-1.7B", [2048, 6144, 28, 16, 8, 151_936])),
    tied(qwen3("Qwen3-4B", [2560, 9728, 36, 32, 8, 151_936])),
    qwen3("Qwen3-8B", [4096, 12_288, 36, 32, 8, 151_936]),
    qwen3("Qwen3-14B", [5120, 17_408, 40, 40, 8, 151_936]),
    qwen3("Qwen3-32B", [5120, 25_600, 64, 64, 8, 151_936]),
];

/// Every shape's name, families together, small ones first.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// The shape of this name; case, `-`, `_`, `.` and spaces do not matter.
pub fn find(name: &str) -> Result<ModelSpec, ModelError> {
    // No tensor is stored, so every one may be: the output matrix is tied only where the row says so.
    hf::parse(&config(name)?, &|_| true)
}

/// The `config.json` of the shape of this name, as far as it matters for computing.
pub fn config(name: &str) -> Result<Value, ModelError> {
    let row = find_row(name)?;
    let [hidden, intermediate, layers, heads, kv_heads, vocab] = row.dims;
    let scaling = row.llama3_factor.map(|factor| {
        json!({"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192})
    });
    Ok(json!({
        "architectures": [row.architecture],
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": row.head_dim,
        "vocab_size": vocab,
        "max_position_embeddings": row.positions,
        "rope_theta": row.theta,
        "rope_scaling": scaling,
        "rms_norm_eps": row.eps,
        "hidden_act": "silu",
        "sliding_window": null,
        "tie_word_embeddings": row.tied,
        "torch_dtype": "bfloat16",
    }))
}

/// A shape as asked for on a command line, in place of a model's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeRef {
    /// One of [`names`].
    pub name: &'static str,
    /// One of [`QUANTS`]; `None`: as published, 16 bits.
    pub quant: Option<DType>,
}

impl ShapeRef {
    /// Reads `shape:NAME` and `shape:NAME:QUANT`. `None`: the text does not begin so, and is a path.
    pub fn parse(text: &str) -> Option<Result<ShapeRef, ModelError>> {
        let start = text.get(..PREFIX.len())?;
        start.eq_ignore_ascii_case(PREFIX).then(|| ShapeRef::parse_name(&text[PREFIX.len()..]))
    }

    fn parse_name(text: &str) -> Result<ShapeRef, ModelError> {
        let (name, quant) = match text.split_once(':') {
            Some((name, quant)) => (name, Some(quant)),
            None => (text, None),
        };
        let name = find_row(name)?.name;
        let known = |quant: &str| {
            let found = DType::from_spelling(quant).filter(|dtype| QUANTS.contains(dtype));
            found.ok_or_else(|| {
                let expected = format!("one of {}", QUANTS.map(DType::name).join(", "));
                ModelError::bad(format!("quantization of {PREFIX}{name}"), expected, format!("'{quant}'"))
            })
        };
        Ok(ShapeRef { name, quant: quant.map(known).transpose()? })
    }
}

impl fmt::Display for ShapeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.name)?;
        self.quant.map_or(Ok(()), |quant| write!(f, ":{quant}"))
    }
}

fn find_row(name: &str) -> Result<&'static Row, ModelError> {
    let wanted = plain(name);
    ROWS.iter().find(|row| plain(row.name) == wanted).ok_or_else(|| ModelError::UnknownShape {
        found: name.trim().chars().take(MOST_ECHOED).collect(),
        nearest: nearest(&wanted),
        families: families(),
    })
}

/// Lower case, letters and digits only.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Families, in the order of [`names`]: what stands before a name's size.
pub fn families() -> Vec<&'static str> {
    let mut all: Vec<&str> = names().filter_map(|name| Some(name.rsplit_once('-')?.0)).collect();
    all.dedup();
    all
}

/// The names that are likely meant, nearest first: what begins as `wanted` does, and what differs from it in few
/// characters. Empty when there are none.
fn nearest(wanted: &str) -> Vec<&'static str> {
    // `qwen3` means the Qwen3 models; a character in four may be wrong, and the size too.
    let key = |name: &str| {
        let plain = plain(name);
        (!plain.starts_with(wanted), distance(&plain, wanted))
    };
    let likely = |name: &&str| {
        let (other, distance) = key(name);
        !wanted.is_empty() && (!other || distance <= wanted.len().min(plain(name).len()) / 4)
    };
    let mut all: Vec<&str> = names().filter(likely).collect();
    all.sort_by_cached_key(|name| key(name));
    all.truncate(SUGGESTIONS);
    all
}

/// Characters to insert, remove or replace (Levenshtein 1966), row by row.
fn distance(a: &str, b: &str) -> usize {
    /// Longer texts are not names.
    const MAX_CHARS: usize = 64;
    let b: Vec<char> = b.chars().take(MAX_CHARS).collect();
    let mut costs: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(MAX_CHARS).enumerate() {
        let mut diagonal = costs[0];
        costs[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = costs[j + 1];
            costs[j + 1] = replaced.min(costs[j] + 1).min(diagonal + 1);
        }
    }
    costs[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "abd", 1), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn suggestions_are_those_that_are_likely_meant() {
        for (typed, expected) in [
            ("qwen3", &["Qwen3-8B", "Qwen3-4B"][..]),
            ("llama 3.1", &["Llama-3.1-8B", "Llama-3.1-70B"]),
            ("Lama-3.1-8B", &["Llama-3.1-8B"]),
            ("smollm-135m", &["SmolLM2-135M"]),
            ("Gemma-7B", &[]),
            ("phi-4", &[]),
            ("x", &[]),
            ("", &[]),
        ] {
            let found = nearest(&plain(typed));
            assert!(expected.iter().all(|name| found.contains(name)), "{typed}: {found:?}");
            assert_eq!(found.is_empty(), expected.is_empty(), "{typed}: {found:?}");
        }
        assert_eq!(families()[..3], ["SmolLM2", "TinyLlama", "Llama-3.2"]);
    }

    #[test]
    fn names_stay_distinct_when_written_otherwise() {
        let plain: std::collections::BTreeSet<String> = names().map(plain).collect();
        assert_eq!(plain.len(), ROWS.len());
    }
}
