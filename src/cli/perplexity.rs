//! `anygpu perplexity`: how well a model predicts a text.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::about::About;
use super::args::{DeviceArgs, LoadArgs, SpecialArgs};
use super::open::{self, note, tell};
use super::subject::DEMO;
use super::values::whole;
use super::{DONE, look, print, print_json};
use crate::base::counted;
use crate::engine::EngineError;
use crate::engine::perplexity::{Windows, check_length, perplexity};

#[derive(Args)]
pub(super) struct PerplexityArgs {
    /// A model folder or .gguf file, org/name in the Hugging Face cache, or demo
    #[arg(value_name = "MODEL", default_value = DEMO)]
    model: String,
    /// The text to predict
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    special: SpecialArgs,
    /// plain: windows of CTX - 1 tokens behind a BOS, every token counted; llama: as
    /// llama-perplexity does, windows of CTX tokens of which the second half counts
    #[arg(long, value_enum, default_value_t = WindowsArg::Plain)]
    windows: WindowsArg,
    /// Most windows [default: all]
    #[arg(long, value_name = "N", visible_alias = "chunks", value_parser = whole(1..=usize::MAX))]
    limit: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WindowsArg {
    Plain,
    Llama,
}

/// Window when none is asked for, if the model was trained for as much.
pub(super) const DEFAULT_WINDOW: usize = 512;

/// Runs the command.
pub(super) fn run(args: &PerplexityArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(&args.file).with_context(|| args.file.display().to_string())?;
    let mut looked = look::at(&args.model, &args.load)?;
    if args.load.ctx.is_none() {
        looked.load.ctx = Some(looked.opened.spec().max_context.min(DEFAULT_WINDOW));
    }
    let tokenizer = looked.opened.tokenizer()?;
    let ids = tokenizer.encode(&text, true, args.special.parse()).map_err(EngineError::from)?;
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let n = looked.context()?;
    let windows = match args.windows {
        WindowsArg::Plain => Windows::Plain(n - usize::from(bos.is_some() && n > 1)),
        WindowsArg::Llama => Windows::Half(n),
    };
    check_length(&ids, bos, windows)?;
    looked.check_memory(device, &[args.load.quant])?;
    let gpu = open::gpu(device)?;
    let model = looked.load(&gpu)?;
    let mut session = open::session(&model)?;
    let live = std::io::stderr().is_terminal();
    let limit = args.limit.unwrap_or(usize::MAX);
    let result = perplexity(&mut session, &ids, bos, windows, limit, &mut |so_far, total| {
        if live {
            tell(&format!("\r{}/{total} windows, perplexity {:.4} ", so_far.windows, so_far.ppl));
        } else if so_far.windows % 16 == 0 {
            note(&format!("{}/{total} windows, perplexity {:.4}", so_far.windows, so_far.ppl));
        }
        true
    });
    if live {
        tell("\r\x1b[K");
    }
    let result = result?;
    if args.json {
        print_json(&About::this(Some(&gpu)).before(json!({
            "ppl": result.ppl,
            "nll": result.nll,
            "nll_error": result.nll_error,
            "tokens": result.tokens,
            "windows": result.windows,
            "window_tokens": match windows { Windows::Plain(n) | Windows::Half(n) => n },
        })))?;
    } else {
        print(&format!(
            "perplexity {:.4} ± {:.4} (mean NLL {:.6} over {} in {})\n",
            result.ppl,
            result.ppl * result.nll_error,
            result.nll,
            counted(result.tokens, "token"),
            counted(result.windows, "window")
        ))?;
    }
    Ok(DONE)
}
