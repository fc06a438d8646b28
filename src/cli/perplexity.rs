//! `anygpu perplexity`: how well a model predicts a text.

use std::io::IsTerminal;

use anyhow::Context;
use serde_json::json;

use super::args::{DeviceArgs, PerplexityArgs, WindowsArg};
use super::open::{self, Source, note, tell};
use super::{DONE, print, print_json};
use crate::engine::model::DEMO_FILES;
use crate::engine::perplexity::{Windows, perplexity};
use crate::engine::{EngineError, Session};
use crate::formats::Archive;

/// Window when none is asked for, if the model was trained for as much.
pub(super) const DEFAULT_WINDOW: usize = 512;

/// Runs the command.
pub(super) fn run(args: &PerplexityArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(&args.file).with_context(|| args.file.display().to_string())?;
    let gpu = open::gpu(device)?;
    let mut options = args.load.options();
    let source = Source::of(&args.model);
    options.context = Some(options.context.map_or_else(|| default_window(&source), Ok)?);
    let model = open::load(&gpu, &source, &options)?;
    let tokenizer = model.tokenizer()?;
    let ids = tokenizer.encode(&text, true, args.special.parse()).map_err(EngineError::from)?;
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let mut session = Session::new(&model)?;
    let n = session.context();
    let windows = match args.windows {
        WindowsArg::Plain => Windows::Plain(n - usize::from(bos.is_some() && n > 1)),
        WindowsArg::Llama => Windows::Half(n),
    };
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
        print_json(&json!({
            "ppl": result.ppl,
            "nll": result.nll,
            "nll_error": result.nll_error,
            "tokens": result.tokens,
            "windows": result.windows,
            "window_tokens": match windows { Windows::Plain(n) | Windows::Half(n) => n },
            "adapter": gpu.facts().id(),
        }))?;
    } else {
        print(&format!(
            "perplexity {:.4} ± {:.4} (mean NLL {:.6} over {} tokens in {} windows)\n",
            result.ppl,
            result.ppl * result.nll_error,
            result.nll,
            result.tokens,
            result.windows
        ))?;
    }
    Ok(DONE)
}

/// The window for a model that is not loaded yet: its description alone is read.
fn default_window(source: &Source) -> Result<usize, EngineError> {
    let archive = match source {
        Source::Demo => Archive::from_memory(DEMO_FILES)?,
        Source::Path(path) => Archive::open(path)?,
    };
    let spec = crate::model::ModelSpec::from_archive(&archive)?;
    Ok(spec.max_context.min(DEFAULT_WINDOW))
}
