//! The command line: arguments in, results on stdout, progress and warnings on stderr.
//!
//! Exit codes: 0 done (a closed pipe too), 1 a negative answer (`verify` found something wrong), 2 an error,
//! 130 stopped with Ctrl-C. One file per command; the commands only put together what the library does.

mod args;
mod bench;
mod bench_kernels;
mod bench_load;
mod bench_plan;
mod bench_text;
mod chat;
mod devices;
mod forecast;
mod interrupt;
mod logits;
mod open;
mod perplexity;
mod plan;
mod plan_text;
mod printable;
mod probe;
mod profiles;
mod prompt;
mod quality;
mod report;
mod run;
mod subject;
mod tune;
mod verify;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};

use clap::Parser;

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
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed pipe while printing them neither.
            let _ = error.print();
            return if error.use_stderr() { ERROR } else { DONE };
        }
    };
    match dispatch(cli, exit) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => DONE,
        Err(error) if matches!(error.downcast_ref(), Some(EngineError::Cancelled)) => {
            open::note("stopped");
            INTERRUPTED
        }
        Err(error) => {
            open::note(&format!("{error:#}"));
            ERROR
        }
    }
}

fn dispatch(cli: Cli, exit: Exit) -> anyhow::Result<u8> {
    let device = &cli.device;
    match cli.command {
        None => {
            let code = run::run(&RunArgs::story(), device, exit)?;
            open::note("that was the demo model; `anygpu --help` tells how to run another one");
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
    let text = printable::for_stdout(text);
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
