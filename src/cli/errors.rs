//! Arguments that do not parse: one line that says which, what was expected, and what was found.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The line for this error of `anygpu COMMAND`; `None`: clap's own text is as good (help, version,
/// what is missing).
pub(super) fn line(error: &clap::Error, command: Option<&str>) -> Option<String> {
    let text = |kind| error.get(kind).map(plain);
    let argument = text(ContextKind::InvalidArg)?;
    let option =
        argument.split(" <").next().unwrap_or(&argument).trim_matches(['[', ']', '<', '>']).to_owned();
    let help = format!("`anygpu {}--help`", command.map(|name| format!("{name} ")).unwrap_or_default());
    match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let found = text(ContextKind::InvalidValue).unwrap_or_default();
            let expected = match (std::error::Error::source(error), text(ContextKind::ValidValue)) {
                (Some(source), _) => source.to_string(),
                (None, Some(known)) if !known.is_empty() => format!("expected one of {known}"),
                (None, _) => "expected a value".to_owned(),
            };
            let found = if found.is_empty() { "nothing".to_owned() } else { found };
            Some(format!("{option}: {expected}, found {found}"))
        }
        ErrorKind::UnknownArgument => {
            let command = command.map_or("anygpu".to_owned(), |name| format!("anygpu {name}"));
            let near = text(ContextKind::SuggestedArg)
                .map_or(String::new(), |near| format!("; did you mean {near}?"));
            Some(match option.starts_with('-') {
                true => format!("`{command}` has no option {option}{near} ({help} lists them)"),
                false => format!("`{command}` takes no further argument '{option}' ({help})"),
            })
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).unwrap_or_else(|| "another option".to_owned());
            Some(match other == argument {
                true => format!("{option} is given twice"),
                false => format!("{option} cannot be used with {other}: leave one of them out"),
            })
        }
        _ => None,
    }
}

fn plain(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        ContextValue::StyledStr(text) => text.to_string(),
        ContextValue::StyledStrs(texts) => {
            texts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_it_all() {
        for (words, want) in [
            (
                &["run", "demo", "--ctx", "many"][..],
                "--ctx: expected 1 or more; 0 or -1: what the model was trained for, found many",
            ),
            (&["run", "demo", "--top-p", "2"], "--top-p: expected 0 to 1, found 2"),
            (&["run", "demo", "--chunk", "-1"], "--chunk: expected 1 to 4096 tokens, found -1"),
            (&["run", "demo", "--stop", ""], "--stop: expected a value, found nothing"),
            (&["run", "--zebra"], "`anygpu run` has no option --zebra (`anygpu run --help` lists them)"),
            (&["run", "--temprature", "1"], "did you mean --temperature?"),
            (&["devices", "x"], "`anygpu devices` takes no further argument 'x'"),
            (
                &["perplexity", "-f", "a", "--windows", "round"],
                "--windows: expected one of plain, llama, found round",
            ),
            (&["run", "demo", "--raw", "--system", "x"], "cannot be used with"),
            (&["run", "demo", "--seed", "1", "--seed", "2"], "--seed is given twice"),
        ] {
            let arguments = std::iter::once("anygpu").chain(words.iter().copied());
            let error = super::super::args::command().try_get_matches_from(arguments).expect_err("bad");
            let got = line(&error, words.first().copied()).unwrap_or_else(|| error.to_string());
            assert!(got.contains(want), "{words:?}: {got}");
            assert!(!got.contains('\n'), "{got}");
        }
    }
}
