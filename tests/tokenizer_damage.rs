//! Every node of tokenizer.json files dropped, replaced and retyped: the outcome is a tokenizer that encodes
//! and decodes, or an error that says what is wrong. Never a panic, an abort, or a long wait.

use std::time::{Duration, Instant};

use anygpu::tokenizer::{HfFiles, Tokenizer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Longest time for one input, unoptimised and on a busy machine: hangs take far more.
const PATIENCE: Duration = Duration::from_secs(20);
/// Changed files of each kind that change two nodes at once.
const DOUBLE_CHANGES: usize = 300;

fn file(parts: Value) -> Value {
    let mut file = json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 8 }, "direction": "Left", "pad_to_multiple_of": 4, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "<s>" },
        "added_tokens": [
            { "id": 0, "content": "<s>", "single_word": false, "lstrip": true, "rstrip": true,
                "normalized": false, "special": true },
            { "id": 6, "content": "é!", "single_word": true, "lstrip": false, "rstrip": false,
                "normalized": true, "special": false }
        ],
    });
    for (key, value) in parts.as_object().expect("an object") {
        file[key] = value.clone();
    }
    file
}

/// Sound files with every component that a model of this family may have.
fn sound() -> Vec<Value> {
    let vocab = json!({ "<s>": 0, "a": 1, "b": 2, "ab": 3, "##b": 4, "Ġ": 5, "é!": 6, "▁": 7, "<0x41>": 8 });
    let template = json!({
        "type": "TemplateProcessing",
        "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
        "special_tokens": { "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] } }
    });
    vec![
        file(json!({
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "Prepend", "prepend": "▁" },
                { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
                { "type": "Strip", "strip_left": true, "strip_right": false },
                { "type": "NFKC" }, { "type": "Lowercase" },
                { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                    "strip_accents": null, "lowercase": false }
            ] },
            "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true },
            "post_processor": template,
            "decoder": { "type": "Sequence", "decoders": [
                { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
                { "type": "ByteFallback" }, { "type": "Fuse" },
                { "type": "Strip", "content": " ", "start": 1, "stop": 0 }
            ] },
            "model": { "type": "BPE", "dropout": null, "unk_token": "<s>", "continuing_subword_prefix": "##",
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": vocab, "merges": ["a ##b"] }
        })),
        file(json!({
            "normalizer": { "type": "NFC" },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": "\\p{N}{1,3}|(?=a)b" }, "behavior": "Isolated",
                    "invert": false },
                { "type": "Punctuation", "behavior": "Contiguous" },
                { "type": "Digits", "individual_digits": true },
                { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true }
            ] },
            "post_processor": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false,
                "use_regex": true },
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
            "model": { "type": "BPE", "vocab": vocab, "merges": [["a", "b"]] }
        })),
        file(json!({
            "normalizer": null, "pre_tokenizer": { "type": "Whitespace" },
            "post_processor": { "type": "RobertaProcessing", "sep": ["<s>", 0], "cls": ["<s>", 0],
                "trim_offsets": true, "add_prefix_space": true },
            "decoder": { "type": "Fuse" },
            "model": { "type": "Unigram", "unk_id": 0, "byte_fallback": true,
                "vocab": [["<s>", 0.0], ["a", -1.0], ["b", -2.0], ["ab", -1.5], ["<0x41>", -9.0]] }
        })),
        file(json!({
            "normalizer": null, "pre_tokenizer": { "type": "BertPreTokenizer" },
            "post_processor": { "type": "BertProcessing", "sep": ["<s>", 0], "cls": ["<s>", 0] },
            "decoder": null,
            "model": { "type": "WordPiece", "unk_token": "<s>", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocab }
        })),
    ]
}

/// Pointers of all nodes below `value`.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_string());
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{}", escape(key)), all));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(ix, value)| pointers(value, &format!("{at}/{ix}"), all));
        }
        _ => {}
    }
}

/// What a node may become.
fn replacements() -> Vec<Value> {
    let deep = (0..90).fold(json!(1), |inner, _| json!([inner]));
    let blow_up: Vec<Value> = (0..40)
        .map(|_| json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aa" }))
        .collect();
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(3),
        json!(4_294_967_295u64),
        json!(u64::MAX),
        json!(1e300),
        json!(0.5),
        json!(""),
        json!("a"),
        json!("a longer text than any token"),
        json!("\u{0}é\u{10ffff}"),
        json!("(((a*)*)*)*b"),
        json!([]),
        json!({}),
        json!(["a", "b"]),
        json!([["a", 0.1]]),
        json!({ "String": "" }),
        json!({ "Regex": "" }),
        json!({ "Regex": "(a{500}){500}" }),
        json!({ "type": "Sequence", "normalizers": blow_up }),
        json!({ "type": "OfTomorrow" }),
        json!({ "type": "Precompiled", "precompiled_charsmap": "" }),
        json!({ "type": "Precompiled", "precompiled_charsmap": "AAAAAA==" }),
        json!({ "type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAD/////" }),
        deep,
    ]
}

/// Removes the node at `pointer`, or makes it `with`.
fn change(file: &mut Value, pointer: &str, with: Option<&Value>) {
    if let Some(with) = with {
        if let Some(node) = file.pointer_mut(pointer) {
            *node = with.clone();
        }
        return;
    }
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    match file.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(list)) => {
            let ix = key.parse::<usize>().ok().filter(|ix| *ix < list.len());
            ix.map(|ix| list.remove(ix));
        }
        _ => {}
    }
}

const TEXTS: [&str; 4] = ["ab <s> é! 123", "", "aaaaaaaaab\u{0}\u{10ffff}ｶﾞ", "  \n\t a"];

/// True when the file makes a tokenizer. Panics escape to the test.
fn try_file(json: &[u8], what: &str) -> bool {
    let start = Instant::now();
    let files = HfFiles { tokenizer: json, ..HfFiles::default() };
    let built = Tokenizer::from_hf(&files);
    match &built {
        Ok(tokenizer) => {
            for text in TEXTS {
                for parse_special in [false, true] {
                    if let Ok(ids) = tokenizer.encode(text, true, parse_special) {
                        tokenizer.decode(&ids, parse_special);
                    }
                }
            }
        }
        Err(error) => {
            let words = error.to_string();
            assert!(words.len() < 700 && words.contains("tokenizer"), "{what}: {words}");
            assert!(!words.contains("untagged enum"), "{what}: {words}");
        }
    }
    assert!(start.elapsed() < PATIENCE, "{what} took {:?}", start.elapsed());
    built.is_ok()
}

#[test]
fn no_damage_to_a_node_panics_or_hangs() {
    let replacements = replacements();
    let (mut tried, mut accepted) = (0, 0);
    let mut random = StdRng::seed_from_u64(7);
    for (which, sound) in sound().iter().enumerate() {
        assert!(try_file(sound.to_string().as_bytes(), "unchanged"), "file {which} is sound");
        let mut all = Vec::new();
        pointers(sound, "", &mut all);
        let options: Vec<Option<&Value>> =
            std::iter::once(None).chain(replacements.iter().map(Some)).collect();
        let mut attempt = |edits: &[(&String, Option<&Value>)]| {
            let mut file = sound.clone();
            edits.iter().for_each(|(pointer, with)| change(&mut file, pointer, *with));
            let what = format!("file {which} with {edits:?}");
            tried += 1;
            accepted += usize::from(try_file(file.to_string().as_bytes(), &what));
        };
        for pointer in &all {
            options.iter().for_each(|with| attempt(&[(pointer, *with)]));
        }
        for _ in 0..DOUBLE_CHANGES {
            let mut edit =
                || (&all[random.random_range(0..all.len())], options[random.random_range(0..options.len())]);
            let edits = [edit(), edit()];
            attempt(&edits);
        }
    }
    // Harmless changes are common: the property must see tokenizers, too.
    assert!(accepted > tried / 20 && accepted < tried, "{accepted} of {tried}");
}

#[test]
fn no_cut_or_changed_byte_panics() {
    let mut random = StdRng::seed_from_u64(11);
    for (which, sound) in sound().iter().enumerate() {
        let text = sound.to_string().into_bytes();
        for end in (0..text.len()).step_by(7) {
            try_file(&text[..end], &format!("file {which} cut at {end}"));
        }
        for round in 0..200 {
            let mut bytes = text.clone();
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
            try_file(&bytes, &format!("file {which}, round {round}, byte {at}"));
        }
    }
}

/// Errors name the file, the place and what is wrong there.
#[test]
fn errors_say_what_is_wrong_and_where() {
    let check = |pointer: &str, with: Value, words: &[&str]| {
        let mut file = sound().remove(1);
        file["normalizer"] = Value::Null;
        change(&mut file, pointer, Some(&with));
        let json = file.to_string();
        let files = HfFiles { tokenizer: json.as_bytes(), ..HfFiles::default() };
        let error = Tokenizer::from_hf(&files).expect_err(pointer).to_string();
        for word in ["tokenizer.json"].iter().chain(words) {
            assert!(error.contains(word), "{pointer}: {error:?} does not say {word:?}");
        }
    };
    check(
        "/pre_tokenizer/pretokenizers/0/type",
        json!("OfTomorrow"),
        &["pre_tokenizer", "`OfTomorrow`", "newer"],
    );
    check("/pre_tokenizer/pretokenizers/0/behavior", json!(3), &["pre_tokenizer", "`Split`"]);
    check("/decoder", json!([]), &["decoder is []", "expected an object"]);
    check("/model", Value::Null, &["model is null"]);
    check("/model/type", json!("Diffusion"), &["model.type", "\"Diffusion\"", "BPE"]);
    check("/model/vocab/a", json!("x"), &["model.vocab", "\"a\""]);
    check("/model/merges/0", json!(["a", "zz"]), &["model.merges", "rule 0", "zz"]);
    check("/added_tokens", json!([3]), &["added_tokens has 3"]);
    let growth: Vec<Value> = (0..9).map(|_| json!({ "type": "ByteLevel" })).collect();
    check("/normalizer", json!({ "type": "Sequence", "normalizers": growth }), &["times as long"]);
    check(
        "/normalizer",
        json!({ "type": "Precompiled", "precompiled_charsmap": "" }),
        &["normalizer step `Precompiled`"],
    );
}
