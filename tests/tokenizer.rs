//! Tokenizers against recorded ids, texts and chat renderings of other implementations.
//! How the fixtures under tests/data were made: tests/data/README.md.

mod common;

use std::path::{Path, PathBuf};

use anygpu::formats::{Archive, Metadata, Source};
use anygpu::tokenizer::{ChatTemplate, DecodeStream, GgufVocab, HfFiles, Message, SpecialTokens, Tokenizer};
use serde_json::Value;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn metadata(path: &Path) -> Metadata {
    Archive::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).metadata
}

fn load(path: &Path) -> Tokenizer {
    Tokenizer::from_metadata(&metadata(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display())).0
}

fn vocab(path: &Path) -> GgufVocab {
    let Metadata::Gguf(metadata) = metadata(path) else { panic!("{}: not GGUF", path.display()) };
    GgufVocab::from_metadata(&metadata).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A lone tokenizer.json.
fn from_json(path: &Path) -> Tokenizer {
    let source = Source::open(path).unwrap_or_else(|e| panic!("{e}"));
    let files = HfFiles { tokenizer: source.bytes(), ..HfFiles::default() };
    Tokenizer::from_hf(&files).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// (text, ids without BOS) of a file pair of llama.cpp's vocabulary tests.
fn vocab_cases(data: &Path, name: &str) -> Vec<(String, Vec<u32>)> {
    let file = |end: &str| data.join("tokenizers/vocab-tests").join(format!("ggml-vocab-{name}.gguf.{end}"));
    let (texts, lines) = (read(&file("inp")), read(&file("out")));
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let ids = |line: &str| line.split_whitespace().map(|id| id.parse().expect("an id")).collect();
    let cases: Vec<_> = texts.iter().map(|t| t.to_string()).zip(lines.split('\n').map(ids)).collect();
    assert!(cases.len() >= 45 && cases.len() == texts.len(), "{name}: {} cases", cases.len());
    cases
}

/// Text of a case as decoding gives it back: only NFC changes it, which no case of these needs.
fn check_vocab(tokenizer: &Tokenizer, what: &str, cases: &[(String, Vec<u32>)]) {
    for (text, want) in cases {
        let got = tokenizer.encode(text, false, false).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(&got, want, "{what}: {text:?}");
        assert_eq!(&tokenizer.decode(&got, true), text, "{what}: decoding");
        check_stream(tokenizer, &got);
    }
}

/// Streams `ids` one by one: no piece may end inside a character, and together they are the text.
fn check_stream(tokenizer: &Tokenizer, ids: &[u32]) {
    let mut stream = DecodeStream::new(tokenizer, true);
    let mut shown = String::new();
    let mut bytes: Vec<u8> = Vec::new();
    for &id in ids {
        shown += &stream.push(tokenizer, id);
        if !tokenizer.is_special(id) {
            bytes.extend_from_slice(tokenizer.token_bytes(id).expect("in the vocabulary"));
        }
        // Shown as soon as complete: what is still missing is an unfinished character.
        let complete = match std::str::from_utf8(&bytes) {
            Ok(text) => text.len(),
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            Err(_) => continue,
        };
        assert!(shown.len() == complete || shown.len() + 1 == complete, "{shown:?} late in {ids:?}");
    }
    shown += &stream.finish();
    assert_eq!(shown, tokenizer.decode(ids, true), "{ids:?}");
}

#[test]
fn vocab_tests_from_gguf() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    for name in ["falcon", "gpt-2", "phi-3", "qwen2"] {
        let tokenizer = load(&data.join(format!("tokenizers/ggml-vocab-{name}.gguf")));
        assert!(tokenizer.warnings().is_empty(), "{:?}", tokenizer.warnings());
        check_vocab(&tokenizer, name, &vocab_cases(&data, name));
    }
}

#[test]
fn vocab_tests_from_tokenizer_json() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    for (name, file) in
        [("falcon", "falcon"), ("gpt-2", "gpt-2"), ("phi-3", "phi-3-mini"), ("qwen2", "qwen2")]
    {
        let tokenizer = from_json(&data.join(format!("tokenizers/{file}.tokenizer.json")));
        check_vocab(&tokenizer, name, &vocab_cases(&data, name));
    }
}

/// There is no qwen35 vocabulary file, but all ids in its cases are those of Qwen2's vocabulary, so
/// the pre-tokenizer can be tested with that one.
#[test]
fn vocab_tests_of_qwen35_with_the_vocabulary_of_qwen2() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    let mut vocab = vocab(&data.join("tokenizers/ggml-vocab-qwen2.gguf"));
    let cases = vocab_cases(&data, "qwen35");
    vocab.pre = Some("qwen35".into());
    check_vocab(&Tokenizer::from_gguf(&vocab).expect("builds"), "qwen35", &cases);
    // The check can fail: Qwen2 itself composes characters first.
    vocab.pre = Some("qwen2".into());
    let qwen2 = Tokenizer::from_gguf(&vocab).expect("builds");
    assert!(cases.iter().any(|(text, want)| &qwen2.encode(text, false, false).expect("encodes") != want));
}

/// Rows where llama.cpp cuts otherwise than the models' own patterns do, which are followed here: its
/// expressions know letters, but not their case nor marks (`HelloWorld`, Thai vowels), and it cuts numbers
/// with code of its own (two spaces in front of one).
const CUT_OTHERWISE: [(&str, usize); 5] =
    [("youtu", 0), ("gpt-4o", 3), ("tiny_aya", 0), ("tiny_aya", 1), ("afmoe", 1)];

/// Ids by llama.cpp under a name of each way of cutting, with Qwen2's vocabulary (tests/data/make_pre_tokenizers.py).
#[test]
fn pre_tokenizers_cut_as_in_llama_cpp() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    let mut vocab = vocab(&data.join("tokenizers/ggml-vocab-qwen2.gguf"));
    let rows = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pre_tokenizers.json"));
    let texts = rows["texts"].as_array().expect("texts");
    let mut wrong = Vec::new();
    for (name, lists) in rows["ids"].as_object().expect("names") {
        vocab.pre = Some(name.clone());
        let tokenizer = Tokenizer::from_gguf(&vocab).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(tokenizer.warnings().is_empty(), "{name}: {:?}", tokenizer.warnings());
        for (ix, text) in texts.iter().enumerate() {
            let text = text.as_str().expect("text");
            let (want, got) = (ids(&lists[ix]), tokenizer.encode(text, false, false).expect("encodes"));
            if (got != want) != CUT_OTHERWISE.contains(&(name.as_str(), ix)) {
                let pieces = |ids: &[u32]| {
                    ids.iter().map(|&id| tokenizer.decode(&[id], true)).collect::<Vec<_>>().join("·")
                };
                wrong.push(format!("{name} {ix}: want {:?}\n got {:?}", pieces(&want), pieces(&got)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

const MODELS: [&str; 3] = ["stories260K", "TinyStories-656K", "BabyLlama-tok105"];

fn model_paths(data: &Path, name: &str) -> [PathBuf; 2] {
    let folder = data.join("models").join(name);
    [folder.join("hf"), folder.join(format!("gguf/{name}-f32.gguf"))]
}

#[test]
fn golden_prompts_texts_and_token_counts() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    let golden = json(&data.join("expected/golden.json"));
    let eval = read(&data.join("text-share-alike/tinystories_eval_ascii.txt"));
    for name in MODELS {
        let golden = &golden[name];
        let [hf, gguf] = model_paths(&data, name).map(|path| load(&path));
        for tokenizer in [&hf, &gguf] {
            assert_eq!(tokenizer.bos(), Some(1), "{name}");
            assert_eq!(tokenizer.eos_ids().iter().copied().collect::<Vec<_>>(), [2], "{name}");
            for prompt in golden["prompts"].as_array().expect("a list") {
                let text = prompt["text"].as_str().expect("text");
                let want = ids(&prompt["ids"]);
                assert_eq!(
                    tokenizer.encode(text, true, false).expect("encodes"),
                    want,
                    "{name} {tokenizer:?}"
                );
                assert_eq!(tokenizer.encode(text, false, true).expect("encodes"), want[1..], "{name}");
                let all = [want, ids(&prompt["greedy_ids"])].concat();
                // TinyStories-656K's text was recorded with its BOS token shown.
                let shown = tokenizer.decode(&all, name != "TinyStories-656K");
                assert_eq!(shown, prompt["greedy_text"].as_str().expect("text"), "{name}");
                check_stream(tokenizer, &all);
            }
            let whole = tokenizer.encode(&eval, true, false).expect("encodes");
            assert_eq!(
                Some(whole.len() as u64),
                golden["eval_tokens_in_file"].as_u64(),
                "{name} {tokenizer:?}"
            );
        }
        let [a, b] = [&hf, &gguf].map(|t| t.encode(&eval, true, false).expect("encodes"));
        assert!(a == b, "{name}: ids of the evaluation text differ between HF and GGUF");
    }
}

/// Text with characters of 1 to 4 bytes, combining marks, joiners, white space and invalid escapes.
const HARD_TEXTS: [&str; 8] = [
    "🦙🚀😶‍🌫️ family: 👩‍👩‍👧‍👦 flags 🇧🇬🇰🇭",
    "我想在apple工作1314151天～ 日本語、한국어 텍스트",
    "e\u{301}a\u{300}o\u{308}n\u{303} Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "нещо на Български, ελληνικά, עברית, العربية, हिन्दी, ខ្មែរ",
    "\u{0}\u{1}\t\r\n  \u{a0}\u{3000}\u{feff}\u{fffd}\u{10ffff}",
    "   leading and trailing   ",
    "<0x41> _ Ġ <s> </s> <|endoftext|> <|im_start|>",
    " ",
];

#[test]
fn streams_at_every_token_boundary_equal_the_whole() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    let mut tokenizers: Vec<Tokenizer> = ["falcon", "gpt-2", "phi-3", "qwen2"]
        .iter()
        .map(|name| load(&data.join(format!("tokenizers/ggml-vocab-{name}.gguf"))))
        .collect();
    tokenizers.push(load(&model_paths(&data, "stories260K")[0]));
    tokenizers.push(from_json(&data.join("tokenizers/minimind.tokenizer.json")));
    for tokenizer in &tokenizers {
        for text in HARD_TEXTS {
            let ids = tokenizer.encode(text, false, false).expect("encodes");
            let decoded = tokenizer.decode(&ids, true);
            // The Unicode composition of Qwen2 changes the text itself.
            if !text.contains('\u{301}') {
                assert_eq!(decoded, text, "{tokenizer:?}");
            }
            // From every token boundary on: tokens that begin inside a character are invalid bytes.
            for start in 0..ids.len() {
                check_stream(tokenizer, &ids[start..]);
                let mut rest = DecodeStream::continuing(true);
                let mut shown: String = ids[start..].iter().map(|&id| rest.push(tokenizer, id)).collect();
                shown += &rest.finish();
                let bytes: Vec<u8> = ids[start..]
                    .iter()
                    .flat_map(|&id| tokenizer.token_bytes(id).expect("known"))
                    .copied()
                    .collect();
                assert_eq!(shown, String::from_utf8_lossy(&bytes));
            }
        }
    }
}

/// The `tokenizers` crate's own decoding is an independent implementation of the same rule.
#[test]
fn decoding_equals_the_tokenizers_crate() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    for file in ["falcon", "gpt-2", "phi-3-mini", "qwen2", "minimind"] {
        let path = data.join(format!("tokenizers/{file}.tokenizer.json"));
        let ours = from_json(&path);
        let theirs = tokenizers::Tokenizer::from_bytes(read(&path)).expect("loads");
        for text in HARD_TEXTS {
            let ids = ours.encode(text, true, true).expect("encodes");
            assert_eq!(ids, theirs.encode(text, true).expect("encodes").get_ids(), "{file}: {text:?}");
            for skip in [false, true] {
                let want = theirs.decode(&ids, skip).expect("decodes");
                assert_eq!(ours.decode(&ids, skip), want, "{file}: {text:?}");
            }
        }
    }
}

#[test]
fn special_tokens_only_on_request() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    let gguf = load(&data.join("tokenizers/ggml-vocab-qwen2.gguf"));
    let hf = from_json(&data.join("tokenizers/qwen2.tokenizer.json"));
    let text = "<|im_start|>user\nhi<|im_end|>";
    for tokenizer in [&gguf, &hf] {
        let start = tokenizer.id_of("<|im_start|>").expect("in the vocabulary");
        let end = tokenizer.id_of("<|im_end|>").expect("in the vocabulary");
        assert!(tokenizer.eos_ids().contains(&end), "{tokenizer:?}");
        let with = tokenizer.encode(text, false, true).expect("encodes");
        assert_eq!((with.first(), with.last()), (Some(&start), Some(&end)));
        let without = tokenizer.encode(text, false, false).expect("encodes");
        assert!(!without.contains(&start) && !without.contains(&end));
        assert_eq!(tokenizer.decode(&without, true), text);
        assert_eq!(tokenizer.decode(&with, false), text);
        assert_eq!(tokenizer.decode(&with, true), "user\nhi");
        assert!(tokenizer.check_vocab(tokenizer.vocab_size() + 7).is_ok());
        assert!(tokenizer.check_vocab(tokenizer.vocab_size() - 1).is_err());
    }
    // Phi-3's special tokens take the white space after them along, from either source.
    let gguf = load(&data.join("tokenizers/ggml-vocab-phi-3.gguf"));
    let hf = from_json(&data.join("tokenizers/phi-3-mini.tokenizer.json"));
    let text = "<|user|>\nWho?<|end|>\n<|assistant|>\n";
    let ids = gguf.encode(text, false, true).expect("encodes");
    assert_eq!(ids, hf.encode(text, false, true).expect("encodes"));
    assert_eq!(gguf.encode(text, true, true).expect("encodes")[0], 1);
}

fn crc32(bytes: &[u8]) -> u32 {
    // Reflected IEEE 802.3 polynomial, bit by bit.
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

fn tokens() -> SpecialTokens {
    SpecialTokens::new([("bos_token", "<s>"), ("eos_token", "</s>")])
}

fn check_rendering(template: &ChatTemplate, name: &str, conversations: &Value, want: &Value) {
    let case = want["case"].as_str().expect("a name");
    let text = |m: &Value, key: &str| m[key].as_str().expect("text").to_string();
    let messages: Vec<Message> = conversations[case]
        .as_array()
        .unwrap_or_else(|| panic!("no conversation {case}"))
        .iter()
        .map(|m| Message { role: text(m, "role"), content: text(m, "content") })
        .collect();
    let add = want["add_generation_prompt"].as_bool().expect("a bool");
    let got = template.render(&messages, add);
    match (want["text"].as_str(), want["error"].as_str(), got) {
        (Some(want), None, Ok(got)) => assert_eq!(got, want, "{name}: {case}"),
        (None, None, Ok(got)) => {
            let found = (Some(u64::from(crc32(got.as_bytes()))), Some(got.len() as u64));
            assert_eq!(found, (want["crc32"].as_u64(), want["bytes"].as_u64()), "{name}: {case}: {got}");
        }
        (None, Some(error), Err(got)) => assert!(got.to_string().contains(error), "{name}: {case}: {got}"),
        (_, _, got) => panic!("{name}: {case}: {got:?} instead of {want}"),
    }
}

#[test]
fn chat_templates_render_as_in_transformers() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let conversations = json(&fixtures.join("conversations.json"));
    let folder = fixtures.join("templates_expected");
    let mut n_templates = 0;
    for entry in std::fs::read_dir(&folder).expect("fixtures").map(|entry| entry.expect("readable").path()) {
        let name = entry.file_stem().expect("a name").to_string_lossy().into_owned();
        let source = match name.as_str() {
            "minimind" => {
                let config = json(&data.join("tokenizers/minimind.tokenizer_config.json"));
                config["chat_template"].as_str().expect("a template").to_string()
            }
            _ => read(&data.join(format!("templates/{name}.jinja"))),
        };
        let template = ChatTemplate::new(&source, tokens()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = json(&entry);
        let rows = expected.as_array().expect("a list");
        assert_eq!(rows.len(), 2 * conversations.as_object().expect("a map").len(), "{name}");
        rows.iter().for_each(|want| check_rendering(&template, &name, &conversations, want));
        n_templates += 1;
    }
    let n_files = std::fs::read_dir(data.join("templates")).expect("templates").count();
    assert_eq!(n_templates, n_files + 1, "a template has no fixture: run tests/data/render_templates.py");
}

#[test]
fn templates_of_gguf_files_are_found() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    let metadata = metadata(&data.join("tokenizers/ggml-vocab-qwen2.gguf"));
    let (tokenizer, template) = Tokenizer::from_metadata(&metadata).expect("loads");
    let ids =
        template.expect("has one").encode(&tokenizer, &[Message::new("user", "hi")], true).expect("renders");
    let want = "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(tokenizer.decode(&ids, false), want);
    let start = tokenizer.id_of("<|im_start|>").expect("in the vocabulary");
    assert_eq!(ids.iter().filter(|&&id| id == start).count(), 3);
    let (_, none) = Tokenizer::from_metadata(&self::metadata(&data.join("tokenizers/ggml-vocab-gpt-2.gguf")))
        .expect("loads");
    assert!(none.is_none());
}

/// Long texts: GGUF metadata and tokenizer.json of the same model give the same ids.
#[test]
fn long_texts_have_the_same_ids_from_both_sources() {
    let Some(data) = common::shared().map(|s| s.join("data")) else { return };
    let texts = ["text/pg11_alice.txt", "text-share-alike/wiki.test.raw"].map(|file| read(&data.join(file)));
    for (name, file) in
        [("falcon", "falcon"), ("gpt-2", "gpt-2"), ("phi-3", "phi-3-mini"), ("qwen2", "qwen2")]
    {
        let gguf = load(&data.join(format!("tokenizers/ggml-vocab-{name}.gguf")));
        let hf = from_json(&data.join(format!("tokenizers/{file}.tokenizer.json")));
        for text in &texts {
            let end = (0..=text.len().min(150_000)).rfind(|&at| text.is_char_boundary(at)).expect("0 is one");
            let text = &text[..end];
            let ids = gguf.encode(text, false, false).expect("encodes");
            assert!(ids == hf.encode(text, false, false).expect("encodes"), "{name}");
            // Qwen2 composes characters; the others give back every byte.
            assert!(gguf.decode(&ids, true) == text || name == "qwen2", "{name}");
        }
    }
}

/// A byte-level vocabulary of four tokens.
fn tiny_bpe() -> GgufVocab {
    GgufVocab {
        model: "gpt2".into(),
        pre: Some("gpt-2".into()),
        tokens: ["a", "b", "ab", "<|im_end|>"].map(String::from).to_vec(),
        token_types: Some(vec![1, 1, 1, 3]),
        merges: Some(vec!["a b".into()]),
        eos: Some(3),
        ..GgufVocab::default()
    }
}

fn tiny_spm() -> GgufVocab {
    GgufVocab {
        model: "llama".into(),
        tokens: ["<unk>", "<s>", "▁", "a"].map(String::from).to_vec(),
        scores: Some(vec![0.0, 0.0, -1.0, -2.0]),
        token_types: Some(vec![2, 3, 1, 1]),
        bos: Some(1),
        ..GgufVocab::default()
    }
}

#[test]
fn damaged_gguf_vocabularies_are_refused() {
    let check = |mut vocab: GgufVocab, damage: &dyn Fn(&mut GgufVocab), words: &str| {
        Tokenizer::from_gguf(&vocab).unwrap_or_else(|e| panic!("sound vocabulary: {e}"));
        damage(&mut vocab);
        let error = Tokenizer::from_gguf(&vocab).expect_err(words).to_string();
        assert!(error.contains(words), "{error:?} does not say {words:?}");
    };
    check(tiny_bpe(), &|v| v.tokens.clear(), "tokenizer.ggml.tokens is missing");
    check(tiny_bpe(), &|v| v.merges = None, "tokenizer.ggml.merges is missing");
    check(tiny_bpe(), &|v| v.merges = Some(vec!["ab".into()]), "merge rule 0 `ab`");
    check(tiny_bpe(), &|v| v.merges = Some(vec![String::new()]), "merge rule 0");
    check(tiny_bpe(), &|v| v.token_types = Some(vec![1]), "token_type has 1 entries, but there are 4 tokens");
    check(tiny_bpe(), &|v| v.eos = Some(4), "eos_token_id is 4, but the vocabulary has 4 tokens");
    check(tiny_bpe(), &|v| v.bos = Some(u32::MAX), "bos_token_id");
    check(tiny_bpe(), &|v| v.add_bos = Some(true), "names no BOS token");
    check(tiny_bpe(), &|v| v.model = "bert".into(), "`bert` is not supported");
    check(tiny_spm(), &|v| v.tokens.clear(), "tokenizer.ggml.tokens is missing");
    check(tiny_spm(), &|v| v.scores = Some(vec![0.0; 5]), "scores has 5 entries");
    check(tiny_spm(), &|v| v.unk = Some(9), "unknown_token_id is 9");
    for kind in ["t5", "rwkv", "no-such-kind"] {
        check(tiny_spm(), &|v| v.model = kind.into(), "is not supported (supported: gpt2, llama)");
    }
    // Without an unknown token, text that cannot be written is an error of encoding.
    let mut vocab = tiny_spm();
    vocab.token_types = Some(vec![1, 3, 1, 1]);
    let tokenizer = Tokenizer::from_gguf(&vocab).expect("builds");
    assert_eq!(tokenizer.encode("a", true, false).expect("has pieces"), [1, 2, 3]);
    assert!(tokenizer.encode("é", true, false).is_err());
}

#[test]
fn unknown_pre_tokenizers_are_said_and_flags_are_kept() {
    let tokenizer = Tokenizer::from_gguf(&tiny_bpe()).expect("builds");
    assert!(tokenizer.warnings().is_empty());
    assert_eq!(tokenizer.encode("ab", true, true).expect("encodes"), [2]);
    assert!(tokenizer.eos_ids().contains(&3) && !tokenizer.adds_bos());
    let mut vocab = tiny_bpe();
    vocab.pre = Some("of-tomorrow".into());
    let tokenizer = Tokenizer::from_gguf(&vocab).expect("builds");
    assert!(tokenizer.warnings()[0].contains("of-tomorrow"));
    vocab = tiny_spm();
    vocab.add_bos = Some(false);
    vocab.add_space_prefix = Some(false);
    let tokenizer = Tokenizer::from_gguf(&vocab).expect("builds");
    assert_eq!(tokenizer.encode(" a", true, false).expect("encodes"), [2, 3]);
    assert_eq!(tokenizer.decode(&[2, 3], true), " a");
}

#[test]
fn damaged_tokenizer_json_is_refused() {
    let check = |json: &str, words: &str| {
        let files = HfFiles { tokenizer: json.as_bytes(), ..HfFiles::default() };
        let error = Tokenizer::from_hf(&files).expect_err(words).to_string();
        assert!(error.contains(words), "{error:?} does not say {words:?}");
    };
    let model = |vocab: &str, merges: &str, rest: &str| {
        format!(
            r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":null,"post_processor":null,"decoder":{rest},
            "model":{{"type":"BPE","vocab":{vocab},"merges":{merges}}}}}"#
        )
    };
    let sound = model(r#"{"a":0,"b":1,"ab":2}"#, r#"["a b"]"#, r#"{"type":"Fuse"}"#);
    let files = HfFiles { tokenizer: sound.as_bytes(), ..HfFiles::default() };
    assert_eq!(Tokenizer::from_hf(&files).expect("sound").encode("ab", true, true).expect("encodes"), [2]);
    check("", "tokenizer.json cannot be used");
    check(&sound[..sound.len() / 2], "no valid JSON");
    check("{}", "tokenizer.json cannot be used");
    check(
        &sound.replace("a b", "a x"),
        "rule 0, \"a x\", names a token, or makes one, that model.vocab lacks",
    );
    check(&sound.replace(r#""ab":2"#, r#""ab":4000000000"#), "largest id in tokenizer.json is 4000000000");
    check(&sound.replace("Fuse", "CTC"), "tokenizer.json");
    let word_piece = r###"{"type":"WordPiece","prefix":"##","cleanup":true}"###;
    check(&model(r#"{"a":0}"#, "[]", word_piece), "is not supported");
    check(&model("{}", "[]", r#"{"type":"Fuse"}"#), "model.vocab is missing");
    // Settings of the wrong shape are named by their file.
    let wrong = serde_json::json!({ "add_bos_token": "perhaps" });
    let files = HfFiles { tokenizer: sound.as_bytes(), tokenizer_config: Some(&wrong), ..HfFiles::default() };
    let error = Tokenizer::from_hf(&files).expect_err("wrong type").to_string();
    assert!(error.starts_with("tokenizer_config.json"), "{error}");
    let config = serde_json::json!({ "add_bos_token": true });
    let files = HfFiles { tokenizer_config: Some(&config), ..files };
    assert!(Tokenizer::from_hf(&files).expect_err("no BOS").to_string().contains("names no BOS token"));
}

#[test]
fn ends_of_generation_come_from_every_file() {
    let tokenizer = serde_json::json!({
        "version": "1.0", "decoder": { "type": "Fuse" },
        "added_tokens": [{ "id": 3, "content": "<|im_end|>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true }],
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "<s>": 2 }, "merges": [] }
    });
    let bytes = tokenizer.to_string();
    let settings =
        serde_json::json!({ "bos_token": { "content": "<s>" }, "eos_token": "a", "add_bos_token": true });
    let generation = serde_json::json!({ "eos_token_id": [1, 77] });
    let config = serde_json::json!({ "eos_token_id": 0, "bos_token_id": -1 });
    let files = HfFiles {
        tokenizer: bytes.as_bytes(),
        tokenizer_config: Some(&settings),
        generation_config: Some(&generation),
        config: Some(&config),
        ..HfFiles::default()
    };
    let tokenizer = Tokenizer::from_hf(&files).expect("sound");
    assert_eq!(tokenizer.eos_ids().iter().copied().collect::<Vec<_>>(), [0, 1, 3]);
    assert_eq!((tokenizer.bos(), tokenizer.vocab_size()), (Some(2), 4));
    assert_eq!(tokenizer.encode("b<|im_end|>", true, true).expect("encodes"), [2, 1, 3]);
}
