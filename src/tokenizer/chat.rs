//! [`ChatTemplate`]: messages → the text a model was trained to continue.
//!
//! Templates are Jinja; the dialect and its extra functions are those that
//! `transformers.apply_chat_template` gives them (Hugging Face documentation, "Chat templates").

use minijinja::Environment;
use minijinja::value::{Serde, Value};

use super::special::{Declared, SETTINGS, shown, wrong};
use super::{GgufVocab, HfFiles, Result, SpecialTokens, Tokenizer, TokenizerError, jinja};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`; templates refuse what they do not know.
    pub role: String,
    /// Text of the turn.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message { role: role.into(), content: content.into() }
    }
}

/// A parsed template with the texts of the model's special tokens.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// Texts that the template can use by name.
    pub special_tokens: SpecialTokens,
    /// The current time for templates that state the date, in seconds since 1970 in the user's time
    /// zone. Without it such templates take their own fixed date, or fail if they have none.
    pub now_seconds: Option<i64>,
    /// Further variables of the template, such as `enable_thinking`.
    pub arguments: serde_json::Map<String, serde_json::Value>,
    /// Source, to see what the template knows.
    source: String,
}

/// Name of the only template in the environment, as it appears in messages.
const NAME: &str = "chat template";

impl ChatTemplate {
    /// Parses Jinja source.
    pub fn new(source: &str, special_tokens: SpecialTokens) -> Result<ChatTemplate> {
        let environment = jinja::environment(NAME, source).map_err(failed)?;
        let (arguments, source) = (serde_json::Map::new(), source.to_owned());
        Ok(ChatTemplate { environment, special_tokens, now_seconds: None, arguments, source })
    }

    /// Does the template's source hold this text, such as a variable's name?
    pub fn mentions(&self, text: &str) -> bool {
        self.source.contains(text)
    }

    /// The template of a Hugging Face folder: `chat_template.jinja`, else `chat_template` in
    /// tokenizer_config.json (a string, or a list of named ones with `default` among them).
    /// `None` when the model has none.
    pub fn from_hf(files: &HfFiles<'_>) -> Result<Option<ChatTemplate>> {
        let Some(source) = ChatTemplate::source_of(files)? else { return Ok(None) };
        ChatTemplate::new(&source, Declared::of(files)?.tokens).map(Some)
    }

    /// The Jinja source that [`ChatTemplate::from_hf`] parses.
    pub(super) fn source_of(files: &HfFiles<'_>) -> Result<Option<String>> {
        let stated = files.tokenizer_config.and_then(|config| config.get("chat_template"));
        let source = match (files.chat_template, stated) {
            (Some(source), _) => Some(source),
            (None, Some(value)) => default_template(value)?,
            (None, None) => None,
        };
        source.map(|source| not_empty(source).map(str::to_owned)).transpose()
    }

    /// The template of a GGUF file; `None` when it has none.
    pub fn from_gguf(vocab: &GgufVocab) -> Result<Option<ChatTemplate>> {
        let Some(source) = &vocab.chat_template else { return Ok(None) };
        ChatTemplate::new(not_empty(source)?, vocab.special_tokens()).map(Some)
    }

    /// The conversation as one text, to be encoded with `add_special: false, parse_special: true`
    /// (the template writes BOS itself). `add_generation_prompt` ends it with the opening of the
    /// assistant's turn.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let message = |m: &Message| {
            let entries = [("role", m.role.as_str()), ("content", m.content.as_str())];
            Value::from_pairs(entries)
        };
        let messages: Value = messages.iter().map(message).collect();
        let mut variables = vec![
            ("messages", messages),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ];
        let tokens = self.special_tokens.iter().map(|(role, text)| (role, Value::from(text)));
        variables.extend(tokens);
        if let Some(now) = self.now_seconds {
            let strftime_now = move |format: &str| jinja::strftime(now, format);
            variables.push(("strftime_now", Value::from_function(strftime_now)));
        }
        let known: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        let others = self.arguments.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        let others = others.map(|(name, value)| (name.clone(), Value::from(Serde(value))));
        let known = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let variables = Value::from_pairs(known.chain(others));
        let rendered = self.environment.get_template(NAME).and_then(|template| template.render(variables));
        rendered.map_err(failed)
    }

    /// Renders and encodes in one go.
    pub fn encode(&self, tokenizer: &Tokenizer, messages: &[Message], open_answer: bool) -> Result<Vec<u32>> {
        tokenizer.encode(&self.render(messages, open_answer)?, false, true)
    }
}

/// The source in `chat_template`: a string, or the entry named `default` (else the first) of a list.
fn default_template(value: &serde_json::Value) -> Result<Option<&str>> {
    match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(source) => Ok(Some(source)),
        serde_json::Value::Array(named) => {
            let chosen = named.iter().find(|entry| entry["name"] == "default").or(named.first());
            let Some(entry) = chosen else { return Ok(None) };
            let source = entry["template"].as_str();
            let expected = "an object with a text `template`";
            source.map(Some).ok_or_else(|| wrong(SETTINGS, "an entry of chat_template", entry, expected))
        }
        other => Err(TokenizerError::Json {
            file: SETTINGS,
            reason: format!(
                "chat_template is {}, expected a text or a list of {{name, template}}",
                shown(other)
            ),
        }),
    }
}

/// A template without anything in it would make every prompt empty.
fn not_empty(source: &str) -> Result<&str> {
    match source.trim().is_empty() {
        true => Err(TokenizerError::Template { reason: "it is empty".into() }),
        false => Ok(source),
    }
}

/// The engine's message with every cause, on one line.
fn failed(error: minijinja::Error) -> TokenizerError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        reason += &format!(": {inner}");
        cause = inner.source();
    }
    TokenizerError::Template { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> SpecialTokens {
        SpecialTokens::new([("bos_token", "<s>"), ("eos_token", "</s>")])
    }

    fn check(source: &str, want: &str) {
        let template = ChatTemplate::new(source, tokens()).expect("parses");
        let messages = [Message::new("system", "S"), Message::new("user", "Ü <b>")];
        assert_eq!(template.render(&messages, true).expect("renders"), want, "{source}");
    }

    #[test]
    fn dialect() {
        check("{{ bos_token }}{% if add_generation_prompt %}\n  x{% endif %}{{ eos_token }}", "<s>  x</s>");
        check("a\n   {% for m in messages %}\n{{ m.role }};\n   {% endfor %}\nz", "a\nsystem;\nuser;\nz");
        check(
            "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m['content'] }}{% endfor %}",
            "Ü <b>",
        );
        check(
            "{{ messages[-1].content | tojson }}{{ {'a': [1.0, none, true]} | tojson }}",
            r#""Ü <b>"{"a": [1.0, null, true]}"#,
        );
        check("a {%- generation -%} b {%- endgeneration %} c{% generation %}\nd{% endgeneration %}", "ab cd");
        check("{{ messages[0]['content'].strip().lower().startswith('s') }}", "True");
        check("{{ tools is none }}{{ documents == none }}{{ tools is defined }}", "TrueTrueTrue");
        check("{{ strftime_now is defined }}{{ pad_token is defined }}", "FalseFalse");
        check(
            "{{ messages[0] }}{{ messages[0]|tojson }}",
            "{'role': 'system', 'content': 'S'}{\"role\": \"system\", \"content\": \"S\"}",
        );
        check("{% for k in {'b': 1, 'a': 2} %}{{ k }}{% endfor %}\r\nx\ry", "bax\ny");
        check("no newline at the end\n", "no newline at the end");
    }

    #[test]
    fn refusals_are_errors_with_the_template_s_words() {
        let template =
            ChatTemplate::new("{{ raise_exception('roles must alternate') }}", SpecialTokens::default())
                .expect("parses");
        let error = template.render(&[], false).expect_err("refuses").to_string();
        assert!(error.contains("roles must alternate"), "{error}");
        assert!(ChatTemplate::new("{% if %}", SpecialTokens::default()).is_err());
        let endless = "{% for a in range(90000) %}{% for b in range(90000) %}{{ b }}{% endfor %}{% endfor %}";
        let endless = ChatTemplate::new(endless, SpecialTokens::default()).expect("parses");
        assert!(endless.render(&[], false).is_err());
    }

    #[test]
    fn arguments_are_variables() {
        let source = "{{ enable_thinking is defined and enable_thinking is false }}{{ style.tone }}";
        let mut template = ChatTemplate::new(source, SpecialTokens::default()).expect("parses");
        assert_eq!(template.render(&[], false).ok(), None, "style is undefined");
        template.arguments.insert("enable_thinking".into(), false.into());
        template.arguments.insert("style".into(), serde_json::json!({"tone": "dry"}));
        assert_eq!(template.render(&[], false).expect("renders"), "Truedry");
        assert!(template.mentions("enable_thinking") && !template.mentions("thinking_budget"));
    }

    #[test]
    fn dates_come_from_the_caller() {
        let mut template =
            ChatTemplate::new("{{ strftime_now('%d %b %Y') }}", SpecialTokens::default()).expect("parses");
        assert!(template.render(&[], false).is_err());
        template.now_seconds = Some(1_721_952_000); // 2024-07-26
        assert_eq!(template.render(&[], false).expect("renders"), "26 Jul 2024");
    }

    #[test]
    fn templates_are_found_where_folders_keep_them() {
        let source = |config: &str, chat_template: Option<&str>| {
            let config = serde_json::from_str(config).expect("JSON");
            let files = HfFiles { tokenizer_config: Some(&config), chat_template, ..HfFiles::default() };
            ChatTemplate::from_hf(&files).map(|t| t.map(|t| t.render(&[], false).expect("renders")))
        };
        let named = r#"{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]}"#;
        assert_eq!(
            source(r#"{"chat_template": "{{bos_token}}", "bos_token": {"content": "<s>"}}"#, None)
                .expect("ok"),
            Some("<s>".into())
        );
        assert_eq!(source(named, None).expect("ok"), Some("D".into()));
        assert_eq!(source(named, Some("J")).expect("ok"), Some("J".into()));
        assert_eq!(source("{}", None).expect("ok"), None);
        assert!(source(r#"{"chat_template": 3}"#, None).is_err());
        assert!(source(r#"{"chat_template": " "}"#, None).is_err());
        assert!(source(r#"{"chat_template": [{"name": "default"}]}"#, None).is_err());
    }
}
