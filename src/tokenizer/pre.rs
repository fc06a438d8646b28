//! Pre-tokenizers of byte-level BPE vocabularies by the name GGUF files carry in
//! `tokenizer.ggml.pre`: how text is cut into words before merges apply.
//!
//! The patterns are part of the models' published tokenizers (`pre_tokenizer` in their
//! tokenizer.json); the names are those that GGUF converters write.

use serde_json::Value;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, SplitDelimiterBehavior};

use super::error::{Result, TokenizerError};
use super::pre_patterns::*;

/// One step of cutting; pieces of the step before are cut further.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<P = &'static str> {
    /// Every match, and every stretch between matches, is a piece.
    Cut(P),
    /// GPT-2's own pattern, after which text is in the byte alphabet.
    Gpt2,
    /// Runs of punctuation.
    PunctuationRuns,
    /// Runs of digits.
    DigitRuns,
    /// Every digit alone.
    SingleDigits,
}

use Step::*;

/// A named way of cutting text.
struct Pre {
    names: &'static [&'static str],
    steps: &'static [Step],
    /// A word that is a token as a whole is not merged up from bytes.
    ignore_merges: bool,
    /// BOS is added unless the file says otherwise.
    add_bos: bool,
    /// The model's tokenizer composes characters first (Unicode NFC).
    nfc: bool,
}

const fn pre(names: &'static [&'static str], steps: &'static [Step]) -> Pre {
    Pre { names, steps, ignore_merges: false, add_bos: false, nfc: false }
}

const DEFAULT: Pre =
    pre(&["default"], &[Cut(r"[\p{P}\$\+<=>\^~\|]+"), Cut(GPT2), Cut(r"\p{N}+"), Cut("[0-9][0-9][0-9]")]);

const TABLE: &[Pre] = &[
    DEFAULT,
    pre(
        &[
            "gpt-2",
            "phi-2",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v1-en",
            "jina-v2-code",
            "roberta-bpe",
            "modern-bert",
        ],
        &[Gpt2],
    ),
    Pre { nfc: true, ..pre(&["mpt", "olmo"], &[Gpt2]) },
    pre(
        &["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[SingleDigits, Gpt2],
    ),
    Pre { nfc: true, ..pre(&["command-r"], &[SingleDigits, Gpt2]) },
    pre(&["falcon"], &[PunctuationRuns, Gpt2, DigitRuns, Cut("[0-9][0-9][0-9]")]),
    Pre {
        ignore_merges: true,
        add_bos: true,
        ..pre(
            &[
                "llama-bpe",
                "llama3",
                "llama-v3",
                "falcon3",
                "falcon-h1",
                "pixtral",
                "lfm2",
                "midm-2.0",
                "jina-v5-nano",
            ],
            &[Cut(LLAMA3)],
        )
    },
    pre(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[Cut(LLAMA3)]),
    Pre { ignore_merges: true, ..pre(&["glm4", "glm5"], &[Cut(LLAMA3)]) },
    Pre { ignore_merges: true, ..pre(&["minicpm5"], &[Cut(r"\p{N}{1,3}"), Cut(MINICPM5)]) },
    pre(&["jais-2"], &[Cut(JAIS2)]),
    Pre { nfc: true, ..pre(&["qwen2"], &[Cut(QWEN2)]) },
    pre(
        &["deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "grok-2", "kormo", "f2llmv2", "solar-open"],
        &[Cut(QWEN2)],
    ),
    pre(&["laguna"], &[Cut(r"[^\n]+|[\n]+"), Cut(QWEN2)]),
    pre(&["seed-coder"], &[Cut(SEED_CODER)]),
    pre(&["ufakzeka"], &[Cut(UFAKZEKA)]),
    pre(&["bailingmoe", "bailingmoe2", "llada-moe"], &[Cut(BAILING)]),
    pre(&["exaone-moe"], &[Cut(EXAONE_MOE)]),
    pre(&["bloom", "poro-chat", "gpt3-finnish"], &[Cut(BLOOM)]),
    pre(&["viking"], &[Cut(BLOOM), Cut(r"\p{N}")]),
    pre(&["superbpe"], &[Cut(r"\p{N}+"), Cut(r"(?=(\d{3})+(?!\d))")]),
    Pre {
        ignore_merges: true,
        ..pre(
            &["youtu"],
            &[Cut("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+"), Cut(YOUTU)],
        )
    },
    pre(&["kimi-k2"], &[Cut(KIMI_K2)]),
    Pre {
        add_bos: true,
        ..pre(
            &["chameleon"],
            &[
                Cut("<sentinel:[0-9]+>"),
                Cut("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
                Cut(r"([\t\n]|    |  )"),
                Cut(r"\p{N}"),
                Cut(r"[\p{P}!-/:-@\[-`{-~]"),
                Gpt2,
            ],
        )
    },
    pre(&["qwen35"], &[Cut(QWEN35)]),
    Pre { ignore_merges: true, add_bos: true, ..pre(&["tekken"], &[Cut(TEKKEN)]) },
    pre(&["gpt-4o", "llama4", "minimax-m2", "kanana2", "talkie"], &[Cut(GPT4O)]),
    Pre { ignore_merges: true, ..pre(&["granite-embed-multi-97m"], &[Cut(GPT4O)]) },
    pre(&["tiny_aya", "cohere2moe"], &[Cut(r"\d{1,3}(?=(?:\d{3})*\b)"), Cut(GPT4O)]),
    pre(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[Cut(r"\p{N}{1,3}"), Cut("[一-龥぀-ゟ゠-ヿ]+"), Cut(DEEPSEEK3)],
    ),
    pre(&["spark2_5"], &[Cut(r"\p{N}{1,3}"), Cut("[一-龥぀-ゟ゠-ヿ]+"), Cut(SPARK), Cut(r"\p{N}")]),
    pre(&["afmoe"], &[Cut(r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"), Cut(AFMOE_SCRIPTS), Cut(DEEPSEEK3)]),
    pre(
        &["deepseek-coder"],
        &[Cut(r"[\r\n]"), Cut(r"\s?\p{L}+"), Cut(r"\s?\p{P}+"), Cut(DEEPSEEK_CJK), SingleDigits],
    ),
    pre(
        &["deepseek-llm"],
        &[
            Cut(r"[\r\n]"),
            Cut(r"\s?[\p{Lu}\p{Ll}\p{Lt}]+"),
            Cut(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            Cut(r"\s+$"),
            Cut(DEEPSEEK_CJK),
            SingleDigits,
        ],
    ),
];

/// Everything that a name decides.
pub(super) struct PreTokenizer {
    pub(super) cut: PreTokenizerWrapper,
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) ignore_merges: bool,
    pub(super) add_bos: bool,
    /// The name is not one of those known here; the default was taken.
    pub(super) unknown: bool,
}

/// The pre-tokenizer called `name`; the default for unknown names.
pub(super) fn by_name(name: &str) -> Result<PreTokenizer> {
    let found = TABLE.iter().find(|row| row.names.contains(&name));
    let row = found.unwrap_or(&DEFAULT);
    let mut steps = Vec::new();
    for step in row.steps {
        steps.push(build(*step)?);
    }
    if !row.steps.iter().any(|step| matches!(step, Gpt2)) {
        steps.push(ByteLevel::new(false, true, false).into());
    }
    Ok(PreTokenizer {
        cut: Sequence::new(steps).into(),
        normalizer: row.nfc.then(|| NFC.into()),
        ignore_merges: row.ignore_merges,
        add_bos: row.add_bos,
        unknown: found.is_none(),
    })
}

/// The steps of `pre_tokenizer` in a tokenizer.json that cuts for byte-level BPE; `None` where one of them is
/// not known here, or a space is put in front.
pub(super) fn steps_of(pre_tokenizer: &Value) -> Option<Vec<Step<String>>> {
    let list = match pre_tokenizer["type"].as_str()? {
        "Sequence" => pre_tokenizer["pretokenizers"].as_array()?.as_slice(),
        _ => std::slice::from_ref(pre_tokenizer),
    };
    let mut steps = Vec::new();
    for step in list {
        let is = |key: &str, value: &str| step[key].as_str() == Some(value);
        match step["type"].as_str()? {
            "ByteLevel" if step["add_prefix_space"].as_bool() == Some(true) => return None,
            "ByteLevel" if step["use_regex"].as_bool() != Some(false) => steps.push(Gpt2),
            "ByteLevel" => {}
            "Punctuation" if is("behavior", "Contiguous") => steps.push(PunctuationRuns),
            "Digits" if step["individual_digits"].as_bool() == Some(true) => steps.push(SingleDigits),
            "Digits" => steps.push(DigitRuns),
            "Split" if is("behavior", "Isolated") && step["invert"].as_bool() != Some(true) => {
                steps.push(Cut(step["pattern"]["Regex"].as_str()?.to_owned()));
            }
            _ => return None,
        }
    }
    Some(steps)
}

/// The name of the pre-tokenizer that does just this.
pub(super) fn name_of(steps: &[Step<String>], nfc: bool, ignore_merges: bool) -> Option<&'static str> {
    let same = |row: &&Pre| {
        (row.nfc, row.ignore_merges) == (nfc, ignore_merges)
            && row.steps.len() == steps.len()
            && row.steps.iter().zip(steps).all(|(known, step)| known.is(step))
    };
    TABLE.iter().find(same).map(|row| row.names[0])
}

impl Step<&'static str> {
    fn is(&self, other: &Step<String>) -> bool {
        match (self, other) {
            (Cut(a), Cut(b)) => *a == b.as_str(),
            (Gpt2, Gpt2)
            | (PunctuationRuns, PunctuationRuns)
            | (DigitRuns, DigitRuns)
            | (SingleDigits, SingleDigits) => true,
            _ => false,
        }
    }
}

fn build(step: Step) -> Result<PreTokenizerWrapper> {
    Ok(match step {
        Gpt2 => ByteLevel::new(false, true, true).into(),
        PunctuationRuns => Punctuation::new(SplitDelimiterBehavior::Contiguous).into(),
        DigitRuns => Digits::new(false).into(),
        SingleDigits => Digits::new(true).into(),
        Cut(pattern) => {
            let pattern = SplitPattern::Regex(pattern.to_string());
            Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|e| TokenizerError::Encode { reason: format!("pre-tokenizer pattern: {e}") })?
                .into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

    /// Pieces of `text`, joined by `·`, in the byte alphabet (Ġ is a space).
    fn check(name: &str, text: &str, want: &str) {
        let mut cut = PreTokenizedString::from(text);
        by_name(name).expect("built in").cut.pre_tokenize(&mut cut).expect("cuts");
        let pieces = cut.get_splits(OffsetReferential::Normalized, OffsetType::None);
        let pieces: Vec<&str> = pieces.into_iter().map(|piece| piece.0).collect();
        assert_eq!(pieces.join("·"), want, "{name}");
    }

    #[test]
    fn numbers_and_words_are_cut_as_published() {
        let text = "It's 12345 IDs, HelloWorld";
        check("gpt-2", text, "It·'s·Ġ12345·ĠIDs·,·ĠHelloWorld");
        check("smollm", text, "It·'s·Ġ·1·2·3·4·5·ĠIDs·,·ĠHelloWorld");
        check("llama-bpe", text, "It·'s·Ġ·123·45·ĠIDs·,·ĠHelloWorld");
        check("qwen2", text, "It·'s·Ġ·1·2·3·4·5·ĠIDs·,·ĠHelloWorld");
        check("tekken", text, "It·'s·Ġ·1·2·3·4·5·ĠIDs·,·ĠHello·World");
        check("gpt-4o", text, "It's·Ġ·123·45·ĠIDs·,·ĠHello·World");
        check("deepseek-v3", text, "It·'s·Ġ·123·45·ĠIDs·,·ĠHelloWorld");
        check("deepseek-coder", text, "It·'·s·Ġ·1·2·3·4·5·ĠIDs·,·ĠHelloWorld");
        check("seed-coder", text, "It·'s·Ġ·1·2·3·4·5·ĠIDs·,·ĠHelloWorld");
        check("kormo", text, "It·'s·Ġ·1·2·3·4·5·ĠIDs·,·ĠHelloWorld");
        check("midm-2.0", text, "It·'s·Ġ·123·45·ĠIDs·,·ĠHelloWorld");
        check("viking", text, "It's·Ġ·1·2·3·4·5·ĠIDs·,·ĠHelloWorld");
        check("bloom", text, "It's·Ġ12345·ĠIDs·,·ĠHelloWorld");
        check("superbpe", text, "It'sĠ·12·345·ĠIDs,ĠHelloWorld");
        check("afmoe", text, "It·'s·Ġ·12·345·ĠIDs·,·ĠHelloWorld");
        check("tiny_aya", text, "It's·Ġ·12·345·ĠIDs·,·ĠHello·World");
        check("ufakzeka", text, "It·'s·Ġ·1·2·3·4·5·ĠIDs·,·ĠHelloWorld");
        check("exaone-moe", text, "It·'s·Ġ·1·2·3·4·5·ĠIDs·,·ĠHelloWorld");
        check("kimi-k2", text, "It's·Ġ·123·45·ĠIDs·,·ĠHello·World");
        check("seed-coder", "a!\n\nb", "a·!·ĊĊ·b");
        check("kormo", "a!\n\nb", "a·!ĊĊ·b");
        check("bailingmoe", "a!\n\nb", "a·!ĊĊ·b");
        check("falcon", text, "It·'·s·Ġ·123·45·ĠIDs·,·ĠHelloWorld");
    }

    #[test]
    fn every_row_builds_and_unknown_names_say_so() {
        for row in TABLE {
            for name in row.names {
                let built = by_name(name).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert!(!built.unknown, "{name}");
            }
        }
        assert!(by_name("no-such-thing").expect("default").unknown);
    }
}
