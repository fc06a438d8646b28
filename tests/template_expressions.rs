//! Chat templates against Python: every row of tests/data/template_expressions.json was rendered by
//! transformers (tests/data/make_template_expressions.py).

use anygpu::tokenizer::{ChatTemplate, Message, SpecialTokens};

/// The variables that a conversation does not bring.
const VARIABLES: &str = "{% set d = {'z': 1, 'a': 'b'} %}{% set n = 5 %}";

#[test]
fn templates_render_as_under_python() {
    let rows = include_str!("data/template_expressions.json");
    let rows: Vec<(String, Option<String>)> = serde_json::from_str(rows).expect("rows");
    assert!(rows.len() > 200);
    let messages = [Message::new("user", "Hi"), Message::new("assistant", "it's \"ok\"")];
    let mut wrong = Vec::new();
    for (source, want) in &rows {
        let tokens = SpecialTokens::new([("bos_token", "<s>"), ("eos_token", "</s>")]);
        let template = ChatTemplate::new(&format!("{VARIABLES}{source}"), tokens);
        let got = template.and_then(|template| template.render(&messages, true));
        if got.as_ref().ok() != want.as_ref() {
            wrong.push(format!("{source}\n  want {want:?}\n  got  {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
