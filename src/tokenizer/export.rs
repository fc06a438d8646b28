//! `tokenizer.json` → [`GgufVocab`]: the same tokenizer in the words of a GGUF file.
//!
//! Byte-level BPE becomes `gpt2`: vocabulary, merges, and the name of its pre-tokenizer. BPE over characters
//! with `▁` for spaces (tokenizers converted from SentencePiece) becomes `llama`: the rank of the merge that
//! makes a token becomes its score. What comes out is tried on sample texts before it is given away.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::export_check::check_same_ids;
use super::hf::HfFiles;
use super::pieces::{SPACE_MARK, byte_token};
use super::special::Declared;
use super::spm::token_type;
use super::{ChatTemplate, GgufVocab, Result, Tokenizer, TokenizerError, pre};

const FILE: &str = "tokenizer.json";
/// What [`GgufVocab::from_hf`] can express.
const EXPRESSIBLE: &str = "byte-level BPE with a published pre-tokenizer, BPE with `▁` for spaces";

/// What is read of `tokenizer.json`.
struct Parts {
    /// Token of every id; `None` where an id has none.
    tokens: Vec<Option<String>>,
    /// Id and kind of what is cut out of texts before all else.
    added: BTreeMap<u32, Added>,
    /// Left and right parts, best first.
    merges: Vec<[String; 2]>,
    ignore_merges: bool,
    unk: Option<String>,
    normalizer: Value,
    pre_tokenizer: Value,
}

/// A token of `added_tokens`.
struct Added {
    special: bool,
    /// Takes white space along, or must be a whole word: no GGUF key says so.
    strips: bool,
}

impl GgufVocab {
    /// The tokenizer of a folder, and what the user should know of it, one sentence each. An error where a
    /// GGUF file cannot express it.
    pub fn from_hf(files: &HfFiles<'_>) -> Result<(GgufVocab, Vec<String>)> {
        let tokenizer = Tokenizer::from_hf(files)?;
        let parts = Parts::read(files.tokenizer)?;
        let mut notices = Vec::new();
        let mut vocab = match uses_byte_level(&parts.pre_tokenizer) {
            true => parts.byte_level(&mut notices)?,
            false => parts.sentence_piece()?,
        };
        let texts: Vec<&str> = parts
            .added
            .iter()
            .filter(|(_, a)| a.strips)
            .map(|(id, _)| *id as usize)
            .filter_map(|id| parts.tokens[id].as_deref())
            .collect();
        if let Some(first) = texts.first() {
            let n = texts.len();
            notices.push(format!(
                "{n} added tokens (such as {first}) take white space along; GGUF files cannot say so"
            ));
        }
        vocab.set_ids(&tokenizer, files)?;
        vocab.chat_template = ChatTemplate::source_of(files)?;
        notices.extend(check_same_ids(&tokenizer, &vocab)?);
        Ok((vocab, notices))
    }

    /// Tokens for the rows of an embedding matrix that is higher than the vocabulary.
    pub fn pad_to(&mut self, rows: usize) {
        for id in self.tokens.len()..rows {
            self.tokens.push(padding(id));
            self.scores.iter_mut().for_each(|scores| scores.push(0.0));
            self.token_types.iter_mut().for_each(|types| types.push(token_type::UNUSED));
        }
    }

    fn set_ids(&mut self, tokenizer: &Tokenizer, files: &HfFiles<'_>) -> Result<()> {
        let declared = Declared::of(files)?;
        let role = |role: &str| declared.tokens.get(role).and_then(|text| tokenizer.id_of(text));
        // A post-processor's token is BOS or EOS, even where no setting says so.
        let (first, last) = (tokenizer.prefix.first().copied(), tokenizer.suffix.first().copied());
        self.bos = tokenizer.bos().or(first);
        let stated = files.stated_eos()?;
        let eos = role("eos_token").or(stated.first().copied()).or(last);
        self.eos = eos;
        self.eot = stated.into_iter().find(|id| Some(*id) != eos);
        self.pad = role("pad_token");
        self.add_bos = Some(first.is_some() && first == self.bos);
        self.add_eos = Some(last.is_some() && last == eos);
        let around =
            [self.bos.filter(|_| self.add_bos == Some(true)), eos.filter(|_| self.add_eos == Some(true))];
        let expected = around.map(|id| id.into_iter().collect::<Vec<u32>>());
        if expected != [tokenizer.prefix.clone(), tokenizer.suffix.clone()] {
            let name = format!("{:?} before and {:?} after a text", tokenizer.prefix, tokenizer.suffix);
            let supported = "nothing, or BOS before and EOS after";
            return Err(TokenizerError::Unsupported {
                what: "post-processor that puts ids",
                name,
                supported,
            });
        }
        Ok(())
    }
}

/// What stands for an id without token.
fn padding(id: usize) -> String {
    format!("[PAD{id}]")
}

fn uses_byte_level(pre_tokenizer: &Value) -> bool {
    pre_tokenizer.to_string().contains("\"ByteLevel\"")
}

fn wrong(reason: impl Into<String>) -> TokenizerError {
    TokenizerError::Json { file: FILE, reason: reason.into() }
}

fn unsupported(what: &'static str, name: impl ToString) -> TokenizerError {
    TokenizerError::Unsupported { what, name: name.to_string(), supported: EXPRESSIBLE }
}

impl Parts {
    fn read(json: &[u8]) -> Result<Parts> {
        let mut root: Value = serde_json::from_slice(json).map_err(|e| wrong(e.to_string()))?;
        let model = root["model"].take();
        let kind = model["type"].as_str().unwrap_or("BPE");
        if kind != "BPE" {
            return Err(unsupported("tokenizer model", kind));
        }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if model[key].as_str().is_some_and(|text| !text.is_empty()) {
                return Err(unsupported("tokenizer model with", key));
            }
        }
        let mut ids = BTreeMap::new();
        let vocab = model["vocab"].as_object().ok_or_else(|| wrong("model.vocab is no object"))?;
        for (token, id) in vocab {
            ids.insert(small(id)?, token.clone());
        }
        let mut added = BTreeMap::new();
        for token in root["added_tokens"].as_array().into_iter().flatten() {
            let text = token["content"].as_str().ok_or_else(|| wrong("an added token has no content"))?;
            let flag = |key: &str| token[key] == Value::Bool(true);
            let strips = ["lstrip", "rstrip", "single_word"].iter().any(|key| flag(key));
            let id = small(&token["id"])?;
            added.insert(id, Added { special: flag("special"), strips });
            ids.insert(id, text.to_owned());
        }
        let n = ids.last_key_value().map_or(0, |(id, _)| *id as usize + 1);
        // Holes are rare and small, as in `Decoding::pieces`.
        if n > 5 * ids.len() + 65_536 {
            return Err(wrong(format!("the largest id is {}, but there are {} tokens", n - 1, ids.len())));
        }
        let mut tokens = vec![None; n];
        ids.into_iter().for_each(|(id, token)| tokens[id as usize] = Some(token));
        Ok(Parts {
            tokens,
            added,
            merges: merges(&model["merges"])?,
            ignore_merges: model["ignore_merges"] == Value::Bool(true),
            unk: model["unk_token"].as_str().map(str::to_owned),
            normalizer: root["normalizer"].take(),
            pre_tokenizer: root["pre_tokenizer"].take(),
        })
    }

    /// Texts of all ids; holes are filled.
    fn texts(&self) -> Vec<String> {
        let text = |(id, token): (usize, &Option<String>)| token.clone().unwrap_or_else(|| padding(id));
        self.tokens.iter().enumerate().map(text).collect()
    }

    /// GGUF's type of token `id`.
    fn kind(&self, id: u32) -> i32 {
        match (self.added.get(&id), &self.tokens[id as usize]) {
            (_, None) => token_type::UNUSED,
            (_, Some(token)) if Some(token) == self.unk.as_ref() => token_type::UNKNOWN,
            (Some(added), _) if added.special => token_type::CONTROL,
            (Some(_), _) => token_type::USER_DEFINED,
            (None, _) => token_type::NORMAL,
        }
    }

    fn id_of(&self, token: Option<&str>) -> Option<u32> {
        let token = token?;
        (0u32..).zip(&self.tokens).find(|(_, text)| text.as_deref() == Some(token)).map(|(id, _)| id)
    }

    fn byte_level(&self, notices: &mut Vec<String>) -> Result<GgufVocab> {
        let nfc = match self.normalizer["type"].as_str() {
            None => false,
            Some("NFC") => true,
            Some(_) => return Err(unsupported("normalizer", &self.normalizer)),
        };
        let steps = pre::steps_of(&self.pre_tokenizer)
            .ok_or_else(|| unsupported("pre-tokenizer", &self.pre_tokenizer))?;
        let name = pre::name_of(&steps, nfc, self.ignore_merges)
            .ok_or_else(|| unsupported("pre-tokenizer", &self.pre_tokenizer))?;
        if nfc {
            notices.push(
                "the tokenizer composes characters first (NFC), which llama.cpp leaves out: decomposed accents \
                 get other ids there"
                    .into(),
            );
        }
        let join = |[left, right]: &[String; 2]| format!("{left} {right}");
        Ok(GgufVocab {
            model: "gpt2".into(),
            pre: Some(name.into()),
            tokens: self.texts(),
            token_types: Some((0..self.tokens.len() as u32).map(|id| self.kind(id)).collect()),
            merges: Some(self.merges.iter().map(join).collect()),
            unk: self.id_of(self.unk.as_deref()),
            ..GgufVocab::default()
        })
    }

    fn sentence_piece(&self) -> Result<GgufVocab> {
        if self.ignore_merges {
            return Err(unsupported("tokenizer model with", "ignore_merges over characters"));
        }
        let add_space_prefix = self.space_prefix()?;
        let texts = self.texts();
        let kind = |id: u32| match (self.kind(id), byte_token(&texts[id as usize])) {
            (token_type::NORMAL, Some(_)) => token_type::BYTE,
            (kind, _) => kind,
        };
        Ok(GgufVocab {
            model: "llama".into(),
            pre: Some("default".into()),
            token_types: Some((0..texts.len() as u32).map(kind).collect()),
            scores: Some(self.scores(&texts)),
            tokens: texts,
            unk: self.id_of(self.unk.as_deref()),
            add_space_prefix: Some(add_space_prefix),
            ..GgufVocab::default()
        })
    }

    /// −rank of the first merge that makes a token; below all of these for tokens that no merge makes.
    fn scores(&self, texts: &[String]) -> Vec<f32> {
        let mut ranks: HashMap<String, usize> = HashMap::new();
        for (rank, [left, right]) in self.merges.iter().enumerate() {
            ranks.entry(format!("{left}{right}")).or_insert(rank);
        }
        let last = self.merges.len();
        // Ranks of vocabularies are exact in f32: below 2²⁴.
        let score = |(id, text): (usize, &String)| -(ranks.get(text).copied().unwrap_or(last + id) as f32);
        texts.iter().enumerate().map(score).collect()
    }

    /// Is a space put before a text? An error where spaces are not `▁`, or more is done to a text.
    fn space_prefix(&self) -> Result<bool> {
        let steps = match self.normalizer["type"].as_str() {
            None => Vec::new(),
            Some("Sequence") => self.normalizer["normalizers"].as_array().cloned().unwrap_or_default(),
            Some(_) => vec![self.normalizer.clone()],
        };
        let mark = SPACE_MARK.to_string();
        let (mut prefix, mut replaced) = (false, false);
        for step in &steps {
            match step["type"].as_str() {
                Some("Prepend") if step["prepend"] == mark => prefix = true,
                Some("Replace") if step["pattern"]["String"] == " " && step["content"] == mark => {
                    replaced = true;
                }
                _ => return Err(unsupported("normalizer", step)),
            }
        }
        match self.pre_tokenizer["type"].as_str() {
            None if replaced => Ok(prefix),
            Some("Metaspace") if self.pre_tokenizer["replacement"] == mark => {
                let scheme = self.pre_tokenizer["prepend_scheme"].as_str();
                let stated = self.pre_tokenizer["add_prefix_space"].as_bool().unwrap_or(true);
                Ok(prefix || scheme.map_or(stated, |scheme| scheme != "never"))
            }
            _ => Err(unsupported("pre-tokenizer", &self.pre_tokenizer)),
        }
    }
}

fn small(id: &Value) -> Result<u32> {
    let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| wrong("a token's id is no whole number of 32 bits"))
}

/// `"left right"` or `["left", "right"]`; a token may begin with a space.
fn merges(list: &Value) -> Result<Vec<[String; 2]>> {
    let bad = |ix: usize| wrong(format!("merge {ix} is no pair of tokens"));
    let parse = |(ix, rule): (usize, &Value)| match rule {
        Value::String(rule) => {
            let from = rule.chars().next().map_or(0, char::len_utf8);
            let at = from + rule[from..].find(' ').ok_or_else(|| bad(ix))?;
            Ok([rule[..at].to_owned(), rule[at + 1..].to_owned()])
        }
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Ok([left.clone(), right.clone()]),
            _ => Err(bad(ix)),
        },
        _ => Err(bad(ix)),
    };
    list.as_array().into_iter().flatten().enumerate().map(parse).collect()
}
