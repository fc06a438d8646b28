//! The command line: arguments in, results on stdout, progress and warnings on stderr.
//!
//! Exit codes: 0 done (a closed pipe too), 1 a negative answer (`verify` found something wrong), 2 an error,
//! 130 stopped with Ctrl-C. One file per command; the commands only put together what the library does.

mod about;
mod args;
mod bench;
mod bench_kernels;
mod bench_load;
mod bench_plan;
mod bench_text;
mod chat;
mod chat_actions;
mod chat_commands;
mod columns;
mod definition;
mod devices;
mod errors;
mod find;
mod forecast;
mod habits;
mod habits_table;
mod info;
mod input;
mod interrupt;
mod logits;
mod look;
mod open;
mod perplexity;
mod plan;
mod plan_instead;
mod plan_lists;
mod plan_text;
mod printable;
mod probe;
mod profiles;
mod prompt;
mod quality;
mod quantize;
mod quantize_speed;
mod quantize_text;
mod report;
mod run;
mod subject;
mod think;
mod tune;
mod values;
mod verify;
mod wait;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};

use clap::FromArgMatches;

use crate::engine::EngineError;
use args::{Cli, Command, RunArgs};

/// Done.
const DONE: u8 = 0;
/// The answer is no.
const NEGATIVE: u8 = 1;
/// An error.
const ERROR: u8 = 2;
/// Stopped with Ctrl-C, as shells count: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Ends the process: handed in by the program, so that the library never does it by itself.
pub type Exit = fn(i32) -> !;

/// Runs the command line `arguments`, the program's name first. Returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>, exit: Exit) -> u8 {
    let cli = match parse(arguments.into_iter().collect()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match dispatch(cli, exit) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => DONE,
        Err(error) if matches!(error.downcast_ref(), Some(EngineError::Cancelled)) => {
            open::note("stopped");
            INTERRUPTED
        }
        Err(error) => {
            open::say(&format!("{error:#}"));
            ERROR
        }
    }
}

/// The arguments as plain data; an error was shown, or help was printed, where there is only an
/// exit code.
fn parse(arguments: Vec<OsString>) -> Result<Cli, u8> {
    let command = args::command();
    let is_prompt = |text: &str| text == "-" || text.trim().contains(char::is_whitespace);
    let is_model = |text: &str| find::looks_like_model(text) || is_prompt(text);
    let formed = habits::form(&command, arguments, &is_model).map_err(|what| {
        open::say(&what);
        ERROR
    })?;
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let mut words = formed.arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    let name = words.find(|word| names.contains(word));
    let matches = command.clone().try_get_matches_from(&formed.arguments).map_err(|error| {
        match errors::line(&error, name) {
            Some(line) => open::say(&line),
            // Help and version are no errors; a closed pipe while printing them neither.
            None => drop(error.print()),
        }
        if error.use_stderr() { ERROR } else { DONE }
    })?;
    formed.remark().iter().chain(&type_remarks(&matches)).for_each(|line| open::note(line));
    Cli::from_arg_matches(&matches).map_err(|error| {
        drop(error.print());
        ERROR
    })
}

/// What is left out of types as they were written: `Q4_K_M` means a mixture elsewhere.
fn type_remarks(matches: &clap::ArgMatches) -> Vec<String> {
    let mut remarks = Vec::new();
    for id in ["quant", "quants", "types"] {
        if let Ok(Some(written)) = matches.try_get_raw(id) {
            let written = written.filter_map(|text| text.to_str()).flat_map(|text| text.split(','));
            remarks.extend(written.filter_map(|text| values::quant_remark(id, text)));
        }
    }
    remarks.extend(matches.subcommand().map(|(_, inner)| type_remarks(inner)).unwrap_or_default());
    remarks
}

fn dispatch(cli: Cli, exit: Exit) -> anyhow::Result<u8> {
    if cli.quiet {
        open::be_quiet();
    }
    let device = &cli.device;
    match cli.command {
        None => {
            let code = run::run(&RunArgs::story(), device, exit)?;
            open::note(
                "that was the demo model; `anygpu MODEL` runs another one, `anygpu --help` tells more",
            );
            Ok(code)
        }
        Some(Command::Run(args)) => run::run(&args, device, exit),
        Some(Command::Devices(args)) => devices::run(&args, device),
        Some(Command::Bench(args)) => bench::run(&args, device, exit),
        Some(Command::Probe(args)) => probe::run(&args, device),
        Some(Command::Tune(args)) => tune::run(&args, device, exit),
        Some(Command::Plan(args)) => plan::run(&args, device),
        Some(Command::Verify(args)) => verify::run(&args, device),
        Some(Command::Logits(args)) => logits::run(&args, device),
        Some(Command::Perplexity(args)) => perplexity::run(&args, device),
        Some(Command::Quality(args)) => quality::run(&args, device),
        Some(Command::Info(args)) => info::run(&args),
        Some(Command::Completions(args)) => definition::completions(&args),
        Some(Command::Man(args)) => definition::man(&args),
        Some(Command::Quantize(args)) => quantize::run(&args, device, exit),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |io: &std::io::Error| io.kind() == ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(closed))
}

/// Seconds since 1970.
fn unix_time() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Writes to stdout at once; on a terminal, orders to it are shown as escapes.
fn print(text: &str) -> std::io::Result<()> {
    print_styled(&printable::for_stdout(text))
}

/// As [`print`], for text that went through [`printable`] before it was styled.
fn print_styled(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes one JSON document to stdout.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(print(&text)?)
}
