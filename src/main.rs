//! The `anygpu` program: parses, runs, ends with the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(anygpu::cli::main(std::env::args_os(), std::process::exit))
}
