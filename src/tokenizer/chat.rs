//! [`ChatTemplate`]: messages → the text a model was trained to continue.
//!
//! Templates are Jinja; the dialect and its extra functions are those that
//! `transformers.apply_chat_template` gives them (Hugging Face documentation, "Chat templates").

use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};

use super::chat_functions;
use super::hf::TokenizerConfig;
use super::{GgufVocab, HfFiles, Result, Tokenizer, TokenizerError};

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

/// A parsed template with the model's BOS and EOS texts.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// Text of the token that begins a conversation; the template decides whether to use it.
    pub bos_token: String,
    /// Text of the token that ends an answer.
    pub eos_token: String,
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
/// Instructions of the template engine per rendering: two orders of magnitude above what a long
/// conversation takes, so that a hostile template ends.
const FUEL: u64 = 50_000_000;

impl ChatTemplate {
    /// Parses Jinja source.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<ChatTemplate> {
        let mut environment = Environment::new();
        let mut syntax = environment.syntax().to_builder();
        environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", chat_functions::raise_exception);
        environment.add_filter("tojson", chat_functions::tojson);
        environment.add_template_owned(NAME, without_generation_tags(source)).map_err(failed)?;
        let (bos_token, eos_token, source) =
            (bos_token.to_string(), eos_token.to_string(), source.to_string());
        let arguments = serde_json::Map::new();
        Ok(ChatTemplate { environment, bos_token, eos_token, now_seconds: None, arguments, source })
    }

    /// Does the template's source hold this text, such as a variable's name?
    pub fn mentions(&self, text: &str) -> bool {
        self.source.contains(text)
    }

    /// The template of a Hugging Face folder: `chat_template.jinja`, else `chat_template` in
    /// tokenizer_config.json (a string, or a list of named ones with `default` among them).
    /// `None` when the model has none.
    pub fn from_hf(files: &HfFiles<'_>) -> Result<Option<ChatTemplate>> {
        let settings = files.settings()?;
        let source = ChatTemplate::source_of(files, &settings)?;
        let text = |token: &Option<super::hf::TokenText>| {
            token.as_ref().map(|t| t.as_str().to_string()).unwrap_or_default()
        };
        let (bos, eos) = (text(&settings.bos_token), text(&settings.eos_token));
        source.map(|source| ChatTemplate::new(&source, &bos, &eos)).transpose()
    }

    /// The Jinja source that [`ChatTemplate::from_hf`] parses.
    pub(super) fn source_of(files: &HfFiles<'_>, settings: &TokenizerConfig) -> Result<Option<String>> {
        let source = match (files.chat_template, &settings.chat_template) {
            (Some(source), _) => Some(source),
            (None, Some(value)) => default_template(value)?,
            (None, None) => None,
        };
        Ok(source.map(str::to_owned))
    }

    /// The template of a GGUF file; `None` when it has none.
    pub fn from_gguf(vocab: &GgufVocab) -> Result<Option<ChatTemplate>> {
        let text =
            |id: Option<u32>| id.and_then(|id| vocab.tokens.get(id as usize)).map_or("", String::as_str);
        let (bos, eos) = (text(vocab.bos), text(vocab.eos));
        vocab.chat_template.as_deref().map(|source| ChatTemplate::new(source, bos, eos)).transpose()
    }

    /// The conversation as one text, to be encoded with `add_special: false, parse_special: true`
    /// (the template writes BOS itself). `add_generation_prompt` ends it with the opening of the
    /// assistant's turn.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let message =
            |m: &Message| Value::from_pairs([("role", m.role.as_str()), ("content", m.content.as_str())]);
        let messages: Vec<Value> = messages.iter().map(message).collect();
        let mut variables = context! {
            messages,
            add_generation_prompt,
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
        };
        if let Some(now) = self.now_seconds {
            let strftime_now =
                Value::from_function(move |format: &str| chat_functions::strftime(now, format));
            variables = context! { strftime_now, ..variables };
        }
        // What stands further left goes first.
        variables = context! { ..Value::from(Serde(&self.arguments)), ..variables };
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
    let wrong = |reason: &str| TokenizerError::Json {
        file: "tokenizer_config.json",
        reason: format!("chat_template: {reason}"),
    };
    match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(source) => Ok(Some(source)),
        serde_json::Value::Array(named) => {
            let chosen = named.iter().find(|entry| entry["name"] == "default").or(named.first());
            let Some(entry) = chosen else { return Ok(None) };
            let source = entry["template"].as_str();
            source.map(Some).ok_or_else(|| wrong("an entry of the list has no text `template`"))
        }
        _ => Err(wrong("expected a string or a list of {name, template}")),
    }
}

/// `{% generation %}` only marks which tokens count in training: here it becomes a plain block
/// with the same white-space control.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let Some(len) = rest[open..].find("%}") else { break };
        let tag = &rest[open + 2..open + len];
        let word = tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let replacement = match word {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        out.push_str(&rest[..open + 2]);
        match replacement {
            Some(new) => out.push_str(&tag.replace(word, new)),
            None => out.push_str(tag),
        }
        out.push_str("%}");
        rest = &rest[open + len + 2..];
    }
    out + rest
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

    fn check(source: &str, want: &str) {
        let template = ChatTemplate::new(source, "<s>", "</s>").expect("parses");
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
        check("{{ tools is defined }}{{ strftime_now is defined }}", "FalseFalse");
        check("no newline at the end\n", "no newline at the end");
    }

    #[test]
    fn refusals_are_errors_with_the_template_s_words() {
        let template =
            ChatTemplate::new("{{ raise_exception('roles must alternate') }}", "", "").expect("parses");
        let error = template.render(&[], false).expect_err("refuses").to_string();
        assert!(error.contains("roles must alternate"), "{error}");
        assert!(ChatTemplate::new("{% if %}", "", "").is_err());
        let endless = "{% for a in range(90000) %}{% for b in range(90000) %}{{ b }}{% endfor %}{% endfor %}";
        let endless = ChatTemplate::new(endless, "", "").expect("parses");
        assert!(endless.render(&[], false).is_err());
    }

    #[test]
    fn arguments_are_variables() {
        let source = "{{ enable_thinking is defined and enable_thinking is false }}{{ style.tone }}";
        let mut template = ChatTemplate::new(source, "", "").expect("parses");
        assert_eq!(template.render(&[], false).ok(), None, "style is undefined");
        template.arguments.insert("enable_thinking".into(), false.into());
        template.arguments.insert("style".into(), serde_json::json!({"tone": "dry"}));
        assert_eq!(template.render(&[], false).expect("renders"), "Truedry");
        assert!(template.mentions("enable_thinking") && !template.mentions("thinking_budget"));
    }

    #[test]
    fn dates_come_from_the_caller() {
        let mut template = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}", "", "").expect("parses");
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
        assert!(source(r#"{"chat_template": [{"name": "default"}]}"#, None).is_err());
    }
}
