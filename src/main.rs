//! The `anygpu` program: parses, runs, ends with the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(error) = restart_with_runtime_dir() {
        eprintln!("anygpu: cannot start itself again with XDG_RUNTIME_DIR set: {error}");
    }
    ExitCode::from(anygpu::cli::main(std::env::args_os(), std::process::exit))
}

/// Mesa complains on stderr, twice, where XDG_RUNTIME_DIR is not set: in containers, with `su`, over
/// ssh. The variable must be there before any thread is, so the program begins anew with it. Returns
/// only when there is nothing to do, or with the error.
#[cfg(target_os = "linux")]
fn restart_with_runtime_dir() -> Option<std::io::Error> {
    use std::os::unix::process::CommandExt;
    const NAME: &str = "XDG_RUNTIME_DIR";
    if std::env::var_os(NAME).is_some_and(|value| !value.is_empty()) {
        return None;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next()?;
    let program = std::env::current_exe().ok()?;
    let mut again = std::process::Command::new(program);
    Some(again.arg0(name).args(arguments).env(NAME, std::env::temp_dir()).exec())
}
