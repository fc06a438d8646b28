//! What is made from the definition of the command line: completions for shells, the manual.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use clap_complete::Shell;

use super::args::command;
use super::{DONE, print};

const PROGRAM: &str = "anygpu";

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Args)]
pub(super) struct ManArgs {
    /// The page of this command [default: that of the program]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Write every page into this folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

/// Runs `anygpu completions`.
pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), PROGRAM, &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(DONE)
}

/// Runs `anygpu man`.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<u8> {
    if let Some(folder) = &args.dir {
        let shown = || folder.display().to_string();
        std::fs::create_dir_all(folder).with_context(shown)?;
        clap_mangen::generate_to(command(), folder).with_context(shown)?;
        return Ok(DONE);
    }
    let mut all = command();
    all.build();
    let page = match &args.command {
        None => all,
        Some(name) => match all.find_subcommand(name) {
            Some(found) => found.clone().display_name(format!("{PROGRAM}-{}", found.get_name())),
            None => {
                let names: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).collect();
                bail!("man: there is no command '{name}'; expected one of {}", names.join(", "))
            }
        },
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    print(&String::from_utf8(text)?)?;
    Ok(DONE)
}
