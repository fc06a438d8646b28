//! What can be typed in a chat beside questions, as plain data.

use std::path::PathBuf;

use super::{find, values};
use crate::engine::GenerateOptions;
use crate::tokenizer::Message;

/// What `/help` prints.
pub(super) const HELP: &str = "\
/system [TEXT]      the instructions in front of the conversation; \"\" removes them
/set [NAME VALUE]   temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n, seed, max_tokens, think
/stats              say where the time of each answer went, or no more
/regenerate         another answer to the last question
/save FILE          write the conversation to FILE (JSON)
/load FILE          go on with a conversation that was saved
/reset or /clear    forget the conversation
/help               this list
/exit or /bye       end (Ctrl-D, or Ctrl-C twice, too)
\"\"\"                 begins a text of several lines, and ends it
Ctrl-C              stop the answer";

/// Names of commands that take something behind them, or are easily mistyped.
const NAMES: [&str; 9] = ["system", "set", "stats", "regenerate", "save", "load", "reset", "clear", "help"];

/// A line that begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Reset,
    Exit,
    Regenerate,
    Stats,
    /// `None`: show it.
    System(Option<String>),
    Save(PathBuf),
    Load(PathBuf),
    /// Name and value; `None`: list them.
    Set(Option<(String, String)>),
}

/// `None`: no command but something to say. `Err`: what is wrong with it.
pub(super) fn parse(line: &str) -> Option<Result<Command, String>> {
    let line = line.trim();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let bare =
        |command| if rest.is_empty() { Ok(command) } else { Err(format!("{name} takes nothing behind it")) };
    let file = |make: fn(PathBuf) -> Command| match rest {
        "" => Err(format!("{name} FILE: which one?")),
        path => Ok(make(path.into())),
    };
    Some(match name {
        "/help" | "/?" => bare(Command::Help),
        "/reset" | "/clear" => bare(Command::Reset),
        "/exit" | "/quit" | "/bye" => bare(Command::Exit),
        "/stats" => bare(Command::Stats),
        "/regenerate" | "/regen" | "/retry" => bare(Command::Regenerate),
        "/system" => Ok(Command::System((!rest.is_empty()).then(|| unquoted(rest).to_owned()))),
        "/save" => file(Command::Save),
        "/load" => file(Command::Load),
        "/set" => set(rest),
        "/show" => {
            Err("there is no command /show: `anygpu plan MODEL` shows a model, /set what is set".to_owned())
        }
        // A path, or a sentence, may begin with a slash.
        _ if name.starts_with('/') && !name[1..].contains('/') => {
            match find::nearest(&name[1..], NAMES.map(str::to_owned)).first() {
                Some(near) => Err(format!("there is no command {name}; did you mean /{near}?")),
                None if rest.is_empty() => Err(format!("there is no command {name}; /help lists them")),
                None => return None,
            }
        }
        _ => return None,
    })
}

/// `NAME VALUE`, `NAME=VALUE`, and what people type who come from elsewhere.
fn set(rest: &str) -> Result<Command, String> {
    let rest = rest.strip_prefix("parameter ").unwrap_or(rest).trim();
    let (name, value) = rest.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((rest, ""));
    let value = value.trim().trim_start_matches('=').trim();
    let set = |name: &str, value: &str| Ok(Command::Set(Some((name.to_owned(), value.to_owned()))));
    match (name, value) {
        ("" | "parameter", "") => Ok(Command::Set(None)),
        ("system", text) => Ok(Command::System((!text.is_empty()).then(|| unquoted(text).to_owned()))),
        ("think", "") => set("think", "on"),
        ("nothink" | "no_think", "") => set("think", "off"),
        ("verbose" | "quiet", "") => {
            Err("/stats says where the time of each answer went, or no more".to_owned())
        }
        (_, "") => Err(format!("/set {name} VALUE: which one? /set alone lists what is set")),
        (name, value) => set(name, value),
    }
}

fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text)
}

/// Changes one setting.
pub(super) fn change(options: &mut GenerateOptions, name: &str, value: &str) -> Result<(), String> {
    let known = name.trim_start_matches('-').replace('-', "_").to_lowercase();
    let told = |message: String| format!("{known}: {message}, found {value}");
    let sampler = &mut options.sampler;
    match known.as_str() {
        "temperature" | "temp" => sampler.temperature = values::temperature(value).map_err(told)?,
        "top_k" => sampler.top_k = values::whole_or_minus_one("all")(value).map_err(told)?,
        "top_p" => sampler.top_p = values::fraction(value).map_err(told)?,
        "min_p" => sampler.min_p = values::fraction(value).map_err(told)?,
        "repeat_penalty" => sampler.repeat_penalty = values::penalty(value).map_err(told)?,
        "repeat_last_n" => sampler.repeat_last = values::whole(0..=usize::MAX)(value).map_err(told)?,
        "seed" => {
            let seed = values::seed(value).map_err(told)?;
            sampler.seed = seed.unwrap_or_else(super::run::random_seed);
        }
        "max_tokens" | "num_predict" | "n_predict" => {
            options.max_tokens = values::token_limit(value).map_err(told)?;
        }
        "num_ctx" | "ctx" => return Err("the context is set at the start, with --ctx".to_owned()),
        _ => return Err(format!("there is no setting {name}; /set alone lists them")),
    }
    Ok(())
}

/// What is set, a line each.
pub(super) fn settings(options: &GenerateOptions) -> String {
    let sampler = &options.sampler;
    let most = options.max_tokens.map_or("-1 (no limit)".to_owned(), |n| n.to_string());
    [
        ("temperature", sampler.temperature.to_string()),
        ("top_k", sampler.top_k.to_string()),
        ("top_p", sampler.top_p.to_string()),
        ("min_p", sampler.min_p.to_string()),
        ("repeat_penalty", sampler.repeat_penalty.to_string()),
        ("repeat_last_n", sampler.repeat_last.to_string()),
        ("seed", sampler.seed.to_string()),
        ("max_tokens", most),
    ]
    .map(|(name, value)| format!("{name:<15} {value}"))
    .join("\n")
}

/// A conversation as a file keeps it: messages as most programs write them.
pub(super) fn to_json(model: &str, messages: &[Message]) -> String {
    let message = |m: &Message| serde_json::json!({"role": m.role, "content": m.content});
    let messages: Vec<_> = messages.iter().map(message).collect();
    format!("{:#}\n", serde_json::json!({"model": model, "messages": messages}))
}

/// Messages of a saved conversation, or of a bare list of them.
pub(super) fn from_json(text: &str) -> Result<Vec<Message>, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    let expected = "expected a list of messages with role and content, or an object with such messages";
    let messages = value.as_array().or_else(|| value["messages"].as_array()).ok_or(expected)?;
    let message =
        |value: &serde_json::Value| Some(Message::new(value["role"].as_str()?, value["content"].as_str()?));
    messages.iter().map(message).collect::<Option<_>>().ok_or_else(|| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_commands() {
        let system = |text: &str| Command::System(Some(text.to_owned()));
        let set = |name: &str, value: &str| Command::Set(Some((name.to_owned(), value.to_owned())));
        for (line, want) in [
            ("/help", Command::Help),
            ("  /reset ", Command::Reset),
            ("/clear", Command::Reset),
            ("/bye", Command::Exit),
            ("/regenerate", Command::Regenerate),
            ("/stats", Command::Stats),
            ("/system", Command::System(None)),
            ("/system Be brief.", system("Be brief.")),
            ("/system \"\"", system("")),
            ("/set system \"Be brief.\"", system("Be brief.")),
            ("/save a b.json", Command::Save("a b.json".into())),
            ("/load c.json", Command::Load("c.json".into())),
            ("/set", Command::Set(None)),
            ("/set temperature 0", set("temperature", "0")),
            ("/set parameter top_k 5", set("top_k", "5")),
            ("/set seed=7", set("seed", "7")),
            ("/set nothink", set("think", "off")),
        ] {
            assert_eq!(parse(line), Some(Ok(want)), "{line}");
        }
        for line in [
            "/helpp",
            "/save",
            "/set top_k",
            "/reset now",
            "/",
            "/show info",
            "/sytem Be brief.",
            "/set verbose",
        ] {
            assert!(matches!(parse(line), Some(Err(_))), "{line}");
        }
        for line in ["hello", "/usr/bin is a folder", "/etc/passwd", "//", "/me waves at you"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn settings_change_or_say_why_not() {
        let mut options = GenerateOptions::default();
        for (name, value) in [
            ("temperature", "0.5"),
            ("top-k", "-1"),
            ("--top_p", "1"),
            ("min_p", "0.1"),
            ("repeat_penalty", "1.1"),
            ("repeat_last_n", "32"),
            ("seed", "7"),
            ("num_predict", "12"),
        ] {
            assert_eq!(change(&mut options, name, value), Ok(()), "{name}");
        }
        let sampler = &options.sampler;
        assert_eq!((sampler.temperature, sampler.top_k, sampler.top_p), (0.5, 0, 1.0));
        assert_eq!((sampler.min_p, sampler.repeat_penalty, sampler.repeat_last), (0.1, 1.1, 32));
        assert_eq!((sampler.seed, options.max_tokens), (7, Some(12)));
        assert!(settings(&options).contains("max_tokens      12"));
        assert_eq!(change(&mut options, "max_tokens", "-1"), Ok(()));
        assert_eq!(options.max_tokens, None);
        for (name, value, part) in [
            ("temperature", "hot", "temperature: expected 0 or more, found hot"),
            ("top_p", "2", "0 to 1"),
            ("humour", "1", "no setting humour"),
            ("num_ctx", "9", "--ctx"),
        ] {
            let told = change(&mut options, name, value).expect_err(name);
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn conversations_come_back() {
        let messages = vec![Message::new("system", "S"), Message::new("user", "Ü \"<b>\"\n")];
        assert_eq!(from_json(&to_json("m", &messages)), Ok(messages.clone()));
        assert_eq!(from_json(r#"[{"role": "user", "content": "a"}]"#), Ok(vec![Message::new("user", "a")]));
        for bad in
            ["", "{}", "3", r#"{"messages": 3}"#, r#"[{"role": "user"}]"#, r#"[{"role": 1, "content": "a"}]"#]
        {
            assert!(from_json(bad).is_err(), "{bad}");
        }
    }
}
