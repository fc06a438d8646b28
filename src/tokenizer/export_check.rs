//! Does a vocabulary made for a GGUF file give the ids of the tokenizer that it was made from?

use super::{GgufVocab, Result, Tokenizer, TokenizerError};

/// Most of the sample texts that may get other ids before it counts as another tokenizer.
const TOLERATED: f64 = 0.02;
/// Texts made of the vocabulary's own tokens.
const RANDOM_TEXTS: usize = 200;
/// Tokens of each.
const TOKENS_EACH: usize = 12;

/// What tokenizers disagree on: spaces, figures, case, accents, scripts, emoji, code, look-alikes of marks.
const SAMPLES: [&str; 28] = [
    "",
    " ",
    "  two spaces  and at the end  ",
    "\n",
    "\n\n\n \n  \n",
    "\t\ttabs\tand\r\nreturns\r",
    "Once upon a time, there was a little girl named Lily.",
    "It's 12345678 o'clock, they'll say; I'VE 3.14159 and 1,000,000.",
    "HelloWorld camelCase snake_case SCREAMING_CASE kebab-case",
    "def f(x):\n    return {x: [1, 2, (3)]}  # comment\n",
    "naïve café Straße Ærøskøbing İstanbul ŁÓDŹ",
    "e\u{301}le\u{300}ve decomposed",
    "Привет, мир! Как дела?",
    "Γειά σου Κόσμε",
    "你好，世界！今天天气很好。",
    "日本語のテキスト、カタカナとひらがな。",
    "안녕하세요 세계",
    "مرحبا بالعالم ١٢٣",
    "שלום עולם",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "🦙🚀👩‍👩‍👧‍👦🇩🇪 emoji",
    "\u{a0}no\u{2009}break\u{3000}spaces\u{200b}zero",
    "<s> </s> <unk> <0x0A> <|endoftext|> [INST] ▁ marks as text",
    "!!!???...---***___   ((([[[{{{",
    "a\u{0}b\u{1}c\u{7f}",
    "ﬁ ligature ½ ² ℌ Ⅷ",
    "https://example.org/a?b=c&d=%20#e mail@example.org",
];

/// An error when the texts' ids differ for more than a few; a notice when for a few.
pub(super) fn check_same_ids(tokenizer: &Tokenizer, vocab: &GgufVocab) -> Result<Option<String>> {
    let made = Tokenizer::from_gguf(vocab)?;
    let texts: Vec<String> =
        SAMPLES.iter().map(|text| (*text).to_owned()).chain(random_texts(tokenizer)).collect();
    let mut different = Vec::new();
    for text in &texts {
        if tokenizer.encode(text, true, false)? != made.encode(text, true, false)? {
            different.push(text);
        }
    }
    let Some(first) = different.first() else { return Ok(None) };
    let (n, of) = (different.len(), texts.len());
    if n as f64 > TOLERATED * of as f64 {
        return Err(TokenizerError::Inexact { n, of, example: (*first).clone() });
    }
    Ok(Some(format!(
        "the tokenizer in the file gives other ids for {n} of {of} sample texts, such as {first:?}"
    )))
}

/// Tokens in an order that looks random, decoded.
fn random_texts(tokenizer: &Tokenizer) -> Vec<String> {
    let mut state = 1u64;
    let mut next = |n: usize| {
        // Knuth's MMIX generator; its upper half is random enough here.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n.max(1)
    };
    let size = tokenizer.vocab_size();
    let mut text = || {
        let ids: Vec<u32> = (0..TOKENS_EACH).map(|_| next(size) as u32).collect();
        tokenizer.decode(&ids, true)
    };
    (0..RANDOM_TEXTS).map(|_| text()).collect()
}
