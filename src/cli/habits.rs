//! What fingers know from other programs: arguments are put into this program's own form before
//! they are parsed. A model may stand where the command is left out, options of llama.cpp and
//! ollama are renamed, and those that have nothing to do here are taken out, with a reason for a
//! line on stderr.

use std::ffi::OsString;

use clap::Command;

use super::habits_table::{ELSEWHERE, Effect, TABLE, THREADS, Takes};

/// Arguments in this program's form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Formed {
    /// The program's name first.
    pub(super) arguments: Vec<OsString>,
    /// (option as written, why it changes nothing)
    pub(super) ignored: Vec<(String, &'static str)>,
}

impl Formed {
    /// One line about what changes nothing.
    pub(super) fn remark(&self) -> Option<String> {
        match self.ignored.as_slice() {
            [] => None,
            [(option, why)] => Some(format!("{option} has no effect: {why}")),
            several => {
                let several: Vec<_> =
                    several.iter().map(|(option, why)| format!("{option} ({why})")).collect();
                Some(format!("without effect here: {}", several.join(", ")))
            }
        }
    }
}

/// Puts `arguments` into the form that `command` defines. `is_model`: could a word name a model, or
/// be a prompt, so that `run` may be left out before it? `Err`: a word that is neither a command
/// nor that.
pub(super) fn form(
    command: &Command,
    arguments: Vec<OsString>,
    is_model: &dyn Fn(&str) -> bool,
) -> Result<Formed, String> {
    let mut command = command.clone();
    command.build();
    let mut arguments = arguments.into_iter();
    let mut formed: Vec<OsString> = arguments.next().into_iter().collect();
    let rest: Vec<OsString> = arguments.collect();
    let (name, at) = match find_command(&command, &rest, is_model)? {
        Found::Command(name, at) => (name, at),
        Found::Nothing => {
            formed.extend(rest);
            return Ok(Formed { arguments: formed, ignored: Vec::new() });
        }
        Found::LeftOut => ("run".to_owned(), 0),
        Found::Version => ("--version".to_owned(), 1),
    };
    // What stands before the command is the program's own.
    formed.extend(rest[..at.saturating_sub(1)].iter().cloned());
    formed.push(name.clone().into());
    let mut ignored = Vec::new();
    if let Some(own) = command.find_subcommand(&name) {
        rewrite(own, &rest[at..], &mut formed, &mut ignored)?;
    }
    Ok(Formed { arguments: formed, ignored })
}

/// The command that arguments begin with.
enum Found {
    /// Its name, and where its own arguments begin.
    Command(String, usize),
    /// None: what stands there is the program's own.
    Nothing,
    /// `run` goes before all of it.
    LeftOut,
    /// `version`, a word for `--version`.
    Version,
}

fn find_command(
    command: &Command,
    rest: &[OsString],
    is_model: &dyn Fn(&str) -> bool,
) -> Result<Found, String> {
    let run = command.find_subcommand("run");
    let mut own = true;
    let mut at = 0;
    while let Some(argument) = rest.get(at) {
        let Some(text) = argument.to_str() else { return Ok(Found::LeftOut) };
        if matches!(text, "-h" | "--help" | "-V" | "--version") && own {
            return Ok(Found::Nothing);
        }
        if text == "--" {
            return Ok(Found::LeftOut);
        }
        if text.starts_with('-') && text.len() > 1 {
            own &= option(command, text).is_some();
            at += run.map_or(1, |run| width(run, rest, at));
            continue;
        }
        if let Some(found) = command.find_subcommand(text) {
            return Ok(Found::Command(found.get_name().to_owned(), at + 1));
        }
        return match text {
            _ if is_model(text) => Ok(Found::LeftOut),
            "version" => Ok(Found::Version),
            // With an option of `run` before it, it is that command's.
            _ if !own => Ok(Found::LeftOut),
            word => Err(unknown(command, word)),
        };
    }
    Ok(if own { Found::Nothing } else { Found::LeftOut })
}

/// Why a word is no command, and what to do.
fn unknown(command: &Command, word: &str) -> String {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(words, _)| words.contains(&word)) {
        return format!("there is no command '{word}': {instead}");
    }
    let names = command.get_subcommands().map(|c| c.get_name().to_owned());
    let near = super::find::nearest(word, names);
    let near = match near.first() {
        Some(name) => format!("; did you mean `anygpu {name}`?"),
        None => super::find::alike(std::path::Path::new(word)),
    };
    format!(
        "'{word}' is neither a command nor a file or folder{near} (commands: `anygpu --help`; a text: anygpu run demo \
         \"{word}\")"
    )
}

/// The option of `command` that `text` (`--name`, `--name=value`, `-n`, `-n5`) names.
fn option<'c>(command: &'c Command, text: &str) -> Option<&'c clap::Arg> {
    let mut all = command.get_arguments();
    match text.strip_prefix("--") {
        Some(long) => {
            let name = long.split('=').next().unwrap_or(long);
            all.find(|arg| {
                arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
            })
        }
        None => {
            let short = text.chars().nth(1)?;
            all.find(|arg| arg.get_short() == Some(short))
        }
    }
}

/// The row of the table for an option of this command, and its value where one is written behind
/// `=`.
fn habit(command: &str, text: &str) -> Option<(Takes, Effect, Option<String>)> {
    let of = |name: &str| {
        let row =
            TABLE.iter().find(|(commands, names, ..)| commands.contains(&command) && names.contains(&name));
        row.map(|(_, _, takes, effect)| (*takes, *effect))
    };
    if let Some((takes, effect)) = of(text) {
        return Some((takes, effect, None));
    }
    let (name, value) = text.split_once('=')?;
    let (takes, effect) = of(name).filter(|(takes, _)| *takes != Takes::Nothing)?;
    Some((takes, effect, Some(value.to_owned())))
}

/// How many arguments the option at `at` is, its value included.
fn width(command: &Command, rest: &[OsString], at: usize) -> usize {
    let text = rest[at].to_string_lossy();
    let next = rest.get(at + 1).map(|next| next.to_string_lossy());
    if let Some((takes, _, value)) = habit(command.get_name(), &text) {
        return match takes {
            Takes::Value if value.is_none() => 2,
            Takes::Maybe(words) if value.is_none() && next.is_some_and(|next| words.contains(&&*next)) => 2,
            _ => 1,
        };
    }
    let takes_value = option(command, &text).is_some_and(|arg| arg.get_action().takes_values());
    let inside = text.contains('=') || !text.starts_with("--") && text.chars().count() > 2;
    if takes_value && !inside { 2 } else { 1 }
}

/// Renames and takes out what the table tells; `-m MODEL` becomes MODEL where the command knows no
/// such option.
fn rewrite(
    command: &Command,
    rest: &[OsString],
    formed: &mut Vec<OsString>,
    ignored: &mut Vec<(String, &'static str)>,
) -> Result<(), String> {
    // `bench plan` and its like have options of their own.
    let nested = rest.first().and_then(|first| command.find_subcommand(first));
    let command_name = nested.map_or(command.get_name(), |_| "");
    let (mut at, mut words) = (0, 0);
    while let Some(argument) = rest.get(at) {
        let text = argument.to_string_lossy();
        if text == "--" {
            formed.extend(rest[at..].iter().cloned());
            return Ok(());
        }
        let width = width(nested.unwrap_or(command), rest, at).min(rest.len() - at);
        let values = &rest[at + 1..at + width];
        match habit(command_name, &text) {
            Some((_, Effect::Ignore(why), _)) => {
                ignored.push((text.split('=').next().unwrap_or(&text).to_owned(), why))
            }
            Some((_, Effect::Refuse(why), _)) => {
                return Err(format!("{}: {why}", text.split('=').next().unwrap_or(&text)));
            }
            Some((_, Effect::Rename(name), value)) => {
                formed.push(name.into());
                formed.extend(value.map(OsString::from));
                formed.extend(values.iter().cloned());
            }
            None if command_name == "quantize" && !text.starts_with('-') => {
                words += 1;
                match words {
                    // As llama-quantize has them: MODEL [FILE.gguf] TYPE [threads].
                    2 if text.to_lowercase().ends_with(".gguf") => formed.push("--output".into()),
                    2 | 3 => formed.push("--quant".into()),
                    4 => {
                        ignored.push((text.into_owned(), THREADS));
                        at += width;
                        continue;
                    }
                    _ => {}
                }
                formed.push(argument.clone());
            }
            None => plain(nested.unwrap_or(command), &rest[at..at + width], formed),
        }
        at += width;
    }
    Ok(())
}

/// An argument that the table does not know, with the value behind it.
fn plain(command: &Command, argument: &[OsString], formed: &mut Vec<OsString>) {
    let text = argument[0].to_string_lossy();
    let takes_model = command.get_positionals().any(|arg| arg.get_id() == "model");
    if takes_model && matches!(&*text, "-m" | "--model") && option(command, &text).is_none() {
        // Its value comes next, as an argument of its own.
        return formed.extend(argument[1..].iter().cloned());
    }
    if let (Some(model), true) = (text.strip_prefix("--model="), takes_model)
        && option(command, "--model").is_none()
    {
        return formed.push(model.into());
    }
    // `--top_k` as Python writes it.
    let hyphens = match text.split_once('=') {
        Some((name, value)) => format!("{}={value}", name.replace('_', "-")),
        None => text.replace('_', "-"),
    };
    if text.starts_with("--") && hyphens != text && option(command, &hyphens).is_some() {
        // Its value was not known to be one.
        formed.push(hyphens.into());
        return formed.extend(argument[1..].iter().cloned());
    }
    formed.extend(argument.iter().cloned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formed(line: &str) -> Result<Formed, String> {
        let arguments = format!("anygpu {line}");
        let arguments = arguments.split_whitespace().map(|word| OsString::from(word.replace('~', " ")));
        let is_model = |text: &str| text.contains(['.', ' ', '/']) || text == "demo";
        form(&super::super::args::command(), arguments.collect(), &is_model)
    }

    /// `~` stands for a blank within an argument.
    #[test]
    fn arguments_get_their_form() {
        for (line, want) in [
            ("", ""),
            ("--help", "--help"),
            ("--adapter 0", "--adapter 0"),
            ("run demo Hi", "run demo Hi"),
            ("chat m.gguf", "run m.gguf"),
            ("--adapter 0 bench demo", "--adapter 0 bench demo"),
            ("m.gguf", "run m.gguf"),
            ("demo", "run demo"),
            ("m.gguf --help", "run m.gguf --help"),
            ("a~b", "run a~b"),
            ("-n 5", "run -n 5"),
            ("--json", "run --json"),
            ("-m m.gguf -p hi", "run -m m.gguf -p hi"),
            ("--temp 0 m.gguf Hi", "run --temp 0 m.gguf Hi"),
            ("--adapter 0 m.gguf", "run --adapter 0 m.gguf"),
            ("-ngl 99 -m m.gguf", "run -m m.gguf"),
            ("run m.gguf -ngl 99 -fa -c 0", "run m.gguf -c 0"),
            ("run m.gguf -fa on -n 5", "run m.gguf -n 5"),
            ("run m.gguf -fa Hi", "run m.gguf Hi"),
            ("run m.gguf -ngl=99 --threads=4 Hi", "run m.gguf Hi"),
            ("run m.gguf -no-cnv Hi", "run m.gguf --raw Hi"),
            ("run m.gguf -sys Brief. -ctk q8_0", "run m.gguf --system Brief. --kv q8_0"),
            ("run -hf org/name", "run --model org/name"),
            ("run m.gguf --top_k 5 --max_tokens=7", "run m.gguf --top-k 5 --max-tokens=7"),
            ("run m.gguf -- -ngl 99", "run m.gguf -- -ngl 99"),
            ("run m.gguf -p -ngl", "run m.gguf -p -ngl"),
            ("bench -m m.gguf -p 64 -n 8 -ngl 99", "bench m.gguf -p 64 -n 8"),
            ("bench m.gguf -b 2", "bench m.gguf -b 2"),
            ("bench plan m.gguf -b 2", "bench plan m.gguf -b 2"),
            ("bench kernels -m m.gguf", "bench kernels m.gguf"),
            ("perplexity --model=m.gguf -f a.txt", "perplexity m.gguf -f a.txt"),
            ("quantize m.gguf o.gguf Q4_K_M 8", "quantize m.gguf --output o.gguf --quant Q4_K_M"),
            ("quantize --force m Q8_0 -o o.gguf", "quantize --force m --quant Q8_0 -o o.gguf"),
            ("quantize m --mix 4bpw -o o.gguf", "quantize m --mix 4bpw -o o.gguf"),
            ("m.gguf -e --numa distribute Hi", "run m.gguf Hi"),
            ("devices -t 4", "devices -t 4"),
            ("version", "--version"),
            ("help run", "help run"),
        ] {
            let got = formed(line).unwrap_or_else(|error| panic!("{line}: {error}")).arguments;
            let words: Vec<String> = got[1..].iter().map(|a| a.to_string_lossy().replace(' ', "~")).collect();
            assert_eq!(words.join(" "), want, "{line}");
        }
    }

    #[test]
    fn what_changes_nothing_is_said_in_one_line() {
        let remark = |line: &str| formed(line).expect("formed").remark();
        assert_eq!(remark("run demo Hi"), None);
        assert_eq!(
            remark("run demo -ngl 99").as_deref(),
            Some("-ngl has no effect: all layers are on the adapter")
        );
        let two = remark("bench -t 4 --flash-attn=on").expect("said");
        assert!(two.starts_with("without effect here: -t (") && two.contains(", --flash-attn ("), "{two}");
    }

    #[test]
    fn what_would_change_the_result_is_refused() {
        for (line, part) in [
            ("run m.gguf --grammar-file=a.gbnf", "--grammar-file: what a model says"),
            ("-m m.gguf --list-devices", "`anygpu devices`"),
            ("m.gguf --chat-template chatml", "the model's own"),
            ("quantize m.gguf --imatrix i.dat o.gguf q4_k", "--imatrix: "),
        ] {
            let told = formed(line).expect_err(line);
            assert!(told.contains(part), "{line}: {told}");
        }
    }

    #[test]
    fn words_that_are_no_command_are_explained() {
        for (word, part) in [
            ("list", "anygpu info"),
            ("pull", "hf download"),
            ("serve", "no server"),
            ("ps", "stays loaded"),
            ("show", "anygpu plan"),
            ("llama-cli", "anygpu -m MODEL"),
            ("bnech", "did you mean `anygpu bench`?"),
            ("zebra", "anygpu run demo \"zebra\""),
        ] {
            let told = formed(word).expect_err(word);
            assert!(told.contains(part), "{word}: {told}");
            assert!(!told.contains("logits") && !told.contains("verify"), "{word}: {told}");
        }
    }
}
