//! Which files say what about tokens: special tokens of a Hugging Face folder as transformers 5.24 reads
//! them, and GGUF vocabularies that llama.cpp (as in llama-cpp-python 0.3.36) takes although something
//! in them is odd.

use anygpu::tokenizer::{ChatTemplate, GgufVocab, HfFiles, Message, Tokenizer};
use serde_json::{Value, json};

/// `<unk> <s> </s> a b <|endoftext|> < s > / |` without any added token.
fn tokenizer_json() -> Vec<u8> {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": { "type": "Fuse" },
        "model": { "type": "BPE", "merges": [], "unk_token": "<unk>",
            "vocab": { "<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "<|endoftext|>": 5, "<": 6, "s": 7,
                ">": 8, "/": 9, "|": 10 } }
    })
    .to_string()
    .into_bytes()
}

const PRINT: &str = "{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ pad_token is defined }}";

struct Row {
    settings: Value,
    map: Value,
    /// Of `a<s>b</s><|u|>`, with special tokens parsed and none added.
    ids: &'static [u32],
    /// Of [`PRINT`].
    text: &'static str,
}

/// Rows: `AutoTokenizer.from_pretrained(folder)` of transformers 5.24 on these files with
/// `{"model_type": "llama", "vocab_size": 20}` as config.json: `t("a<s>b</s><|u|>",
/// add_special_tokens=False).input_ids` and `t.special_tokens_map`.
#[test]
fn special_tokens_come_from_the_files_that_transformers_reads() {
    let base = "PreTrainedTokenizerFast";
    let plain = &[3, 6, 7, 8, 4, 6, 9, 7, 8, 6, 10, 0, 10, 8];
    let flags = json!({ "content": "</s>", "lstrip": false, "rstrip": false, "normalized": false,
        "single_word": false });
    let user = json!({ "content": "<|u|>", "special": true, "lstrip": false, "rstrip": false,
        "normalized": false, "single_word": false });
    let rows = [
        Row { settings: json!({ "tokenizer_class": base }), map: Value::Null, ids: plain, text: "False" },
        Row {
            settings: json!({ "tokenizer_class": base }),
            map: json!({ "bos_token": "<s>", "eos_token": flags, "additional_special_tokens": ["<|u|>"] }),
            ids: &[3, 1, 4, 2, 11],
            text: "<s></s>False",
        },
        Row {
            settings: json!({ "tokenizer_class": base, "bos_token": "a" }),
            map: json!({ "bos_token": "<s>" }),
            ids: &[3, 1, 4, 6, 9, 7, 8, 6, 10, 0, 10, 8],
            text: "<s>False",
        },
        Row {
            settings: json!({ "tokenizer_class": base, "added_tokens_decoder": { "11": user } }),
            map: json!({ "bos_token": "<s>" }),
            ids: &[3, 6, 7, 8, 4, 6, 9, 7, 8, 11],
            text: "False",
        },
        Row {
            settings: json!({ "tokenizer_class": base, "pad_token": "<|u|>" }),
            map: Value::Null,
            ids: &[3, 6, 7, 8, 4, 6, 9, 7, 8, 11],
            text: "True",
        },
    ];
    let (json, config) = (tokenizer_json(), json!({ "model_type": "llama", "vocab_size": 20 }));
    for (ix, row) in rows.iter().enumerate() {
        let files = HfFiles {
            tokenizer: &json,
            tokenizer_config: Some(&row.settings),
            special_tokens_map: Some(&row.map).filter(|map| !map.is_null()),
            config: Some(&config),
            chat_template: Some(PRINT),
            ..HfFiles::default()
        };
        let tokenizer = Tokenizer::from_hf(&files).unwrap_or_else(|e| panic!("row {ix}: {e}"));
        assert_eq!(tokenizer.encode("a<s>b</s><|u|>", false, true).expect("encodes"), row.ids, "row {ix}");
        let template = ChatTemplate::from_hf(&files).expect("parses").expect("there is one");
        assert_eq!(template.render(&[], false).expect("renders"), row.text, "row {ix}");
        assert_eq!(tokenizer.eos_ids().contains(&2), row.text.contains("</s>"), "row {ix}");
    }
}

/// What the class of a tokenizer takes where the files say nothing; `null` says something.
#[test]
fn tokenizer_classes_have_defaults() {
    for (settings, want) in [
        (json!({ "tokenizer_class": "LlamaTokenizerFast" }), "<s></s><unk>False"),
        (json!({ "tokenizer_class": "LlamaTokenizer", "bos_token": null }), "</s><unk>False"),
        (json!({ "tokenizer_class": "Qwen2Tokenizer" }), "<|endoftext|><|endoftext|>True"),
        (json!({ "tokenizer_class": "GPT2TokenizerFast" }), "<|endoftext|><|endoftext|><|endoftext|>False"),
        (json!({}), "False"),
    ] {
        let files =
            HfFiles { tokenizer_config: Some(&settings), chat_template: Some(PRINT), ..HfFiles::default() };
        let template = ChatTemplate::from_hf(&files).expect("parses").expect("there is one");
        assert_eq!(template.render(&[], false).expect("renders"), want, "{settings}");
    }
}

/// Wrong values are named with their file, key, value and what was expected; ids that no token has are
/// left out with a notice.
#[test]
fn wrong_settings_are_named() {
    let json = tokenizer_json();
    let error = |settings: Value, config: Value| {
        let files = HfFiles {
            tokenizer: &json,
            tokenizer_config: Some(&settings),
            config: Some(&config),
            ..HfFiles::default()
        };
        Tokenizer::from_hf(&files).expect_err("wrong").to_string()
    };
    for (settings, config, want) in [
        (
            json!({ "bos_token": false }),
            json!({}),
            "tokenizer_config.json cannot be used: bos_token is false, expected a text, or an object with a \
             text `content` and flags true or false",
        ),
        (
            json!({}),
            json!({ "eos_token_id": "2" }),
            "config.json cannot be used: eos_token_id is \"2\", expected an id, or a list of ids",
        ),
        (
            json!({}),
            json!({ "eos_token_id": 2.5 }),
            "config.json cannot be used: eos_token_id is 2.5, expected an id, or a list of ids",
        ),
        (
            json!({ "add_bos_token": "yes" }),
            json!({}),
            "tokenizer_config.json cannot be used: add_bos_token is \"yes\", expected true or false",
        ),
        (
            json!({ "added_tokens_decoder": { "x": {} } }),
            json!({}),
            "tokenizer_config.json cannot be used: added_tokens_decoder is \"x\", expected an id as the key",
        ),
    ] {
        assert_eq!(error(settings, config), want);
    }
    let config = json!({ "eos_token_id": [2, 77], "bos_token_id": -1 });
    let files = HfFiles { tokenizer: &json, config: Some(&config), ..HfFiles::default() };
    let tokenizer = Tokenizer::from_hf(&files).expect("sound");
    assert!(tokenizer.eos_ids().contains(&2) && tokenizer.bos().is_none());
    assert_eq!(
        tokenizer.warnings(),
        ["config.json: eos_token_id 77 is ignored: the vocabulary has 11 tokens"]
    );
}

fn bpe(tokens: &[&str], types: &[i32], merges: &[&str]) -> GgufVocab {
    GgufVocab {
        model: "gpt2".into(),
        pre: Some("gpt-2".into()),
        tokens: tokens.iter().map(|token| token.to_string()).collect(),
        token_types: Some(types.to_vec()),
        merges: Some(merges.iter().map(|rule| rule.to_string()).collect()),
        ..GgufVocab::default()
    }
}

/// What a rule makes and no token is falls apart into the tokens of its characters.
#[test]
fn merge_rules_may_name_what_is_no_token() {
    let vocab = bpe(&["a", "b", "c", "ab"], &[1; 4], &["a b", "ab c", "x y"]);
    let tokenizer = Tokenizer::from_gguf(&vocab).expect("builds");
    assert_eq!(tokenizer.warnings().len(), 1);
    assert_eq!(tokenizer.vocab_size(), 4);
    for (text, want) in [("abc", &[0, 1, 2][..]), ("ab", &[3]), ("cab", &[2, 3])] {
        assert_eq!(tokenizer.encode(text, false, false).expect("encodes"), want, "{text}");
    }
    assert_eq!(tokenizer.id_of("abc"), None);
}

#[test]
fn tokens_that_are_not_utf_8_keep_their_bytes() {
    let mut vocab = bpe(&["a", "\0token 1"], &[1; 2], &[]);
    vocab.raw_tokens.insert(1, b"\xff\xfe".to_vec());
    let tokenizer = Tokenizer::from_gguf(&vocab).expect("builds");
    assert_eq!(tokenizer.token_bytes(1), Some(&b"\xff\xfe"[..]));
    assert_eq!(tokenizer.decode(&[0, 1], true), "a\u{fffd}\u{fffd}");
}

#[test]
fn scores_may_be_missing_and_bos_is_usual() {
    let vocab = GgufVocab {
        model: "llama".into(),
        tokens: ["<unk>", "<s>", "▁", "a"].map(String::from).to_vec(),
        token_types: Some(vec![2, 3, 1, 1]),
        ..GgufVocab::default()
    };
    let tokenizer = Tokenizer::from_gguf(&vocab).expect("builds");
    assert_eq!(tokenizer.encode("a", true, false).expect("encodes"), [1, 2, 3]);
    assert!(tokenizer.warnings()[0].contains("scores"), "{:?}", tokenizer.warnings());
}

#[test]
fn gguf_ends_are_those_of_llama_cpp() {
    let mut vocab = bpe(&["a", "[EOT]", "<|fim_pad|>", "m", "f", "<|im_end|>"], &[1, 1, 3, 1, 1, 3], &[]);
    vocab.eom = Some(3);
    vocab.fim = vec![4];
    let tokenizer = Tokenizer::from_gguf(&vocab).expect("builds");
    assert_eq!(tokenizer.eos_ids().iter().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    // What ends generation is a control token, whatever its type says.
    assert!(tokenizer.is_special(1) && !tokenizer.is_special(3));
    assert_eq!(tokenizer.encode("a[EOT]", false, true).expect("encodes"), [0, 1]);
}

#[test]
fn gguf_templates_get_all_special_tokens() {
    let mut vocab = bpe(&["a", "b", "c"], &[1; 3], &[]);
    vocab.pad = Some(1);
    vocab.unk = Some(2);
    vocab.chat_template = Some(
        "{{ pad_token }}{{ unk_token }}[{{ bos_token }}]{{ sep_token is defined }}\r\n{{ messages[0] }}"
            .into(),
    );
    let template = ChatTemplate::from_gguf(&vocab).expect("parses").expect("there is one");
    let text = template.render(&[Message::new("user", "Hi")], false).expect("renders");
    assert_eq!(text, "bc[]False\n{'role': 'user', 'content': 'Hi'}");
}
