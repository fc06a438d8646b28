//! `anygpu logits`: what the model expects after a prompt.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::about::{About, shortest};
use super::args::{DeviceArgs, LoadArgs, SpecialArgs};
use super::look;
use super::open;
use super::subject::DEMO;
use super::values::{token_id, whole};
use super::{DONE, print, print_json, prompt};
use crate::base::counted;
use crate::engine::{EngineError, Logits, Model};

#[derive(Args)]
pub(super) struct LogitsArgs {
    /// A model folder or .gguf file, org/name in the Hugging Face cache, or demo
    #[arg(value_name = "MODEL", default_value = DEMO)]
    model: String,
    #[command(flatten)]
    input: LogitsInput,
    #[command(flatten)]
    special: SpecialArgs,
    /// How many of the most likely tokens to list
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole(0..=usize::MAX))]
    top: usize,
    /// Feed the prompt in chunks, or one token at a time as when generating
    #[arg(long, value_enum, alias = "prompt-path", default_value_t = Feed::Chunked)]
    feed: Feed,
    /// Print one JSON object with all logits
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct LogitsInput {
    /// The prompt as text
    #[arg(long)]
    text: Option<String>,
    /// The prompt as token ids: 1,403,407
    #[arg(long, value_delimiter = ',', value_name = "IDS", value_parser = token_id)]
    ids: Option<Vec<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Feed {
    Chunked,
    Single,
}

/// Runs the command.
pub(super) fn run(args: &LogitsArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    let looked = look::at(&args.model, &args.load)?;
    let ids = match (&args.input.text, &args.input.ids) {
        (Some(text), _) => prompt::raw_ids(looked.opened.tokenizer()?, text, args.special.parse())?,
        (None, ids) => ids.clone().unwrap_or_default(),
    };
    let vocab = looked.opened.spec().vocab;
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
        return Err(EngineError::BadToken { id: *id, vocab }.into());
    }
    looked.check_prompt(ids.len())?;
    looked.check_memory(device, &[args.load.quant])?;
    let gpu = open::gpu(device)?;
    let model = looked.load(&gpu)?;
    let mut session = open::session(&model)?;
    match args.feed {
        Feed::Chunked => session.feed(&ids, Logits::Last, &mut |_| true)?,
        Feed::Single => {
            for id in &ids {
                session.feed(&[*id], Logits::Last, &mut |_| true)?;
            }
        }
    }
    let logits = session.logits()?;
    let top = top(&logits, args.top);
    if args.json {
        let row = |(id, logit): &(usize, f32)| json!([id, shortest(*logit), text(&model, *id)]);
        let top: Vec<_> = top.iter().map(row).collect();
        let logits: Vec<f64> = logits.iter().map(|logit| shortest(*logit)).collect();
        let object = json!({ "ids": ids, "top": top, "logits": logits });
        print_json(&About::this(Some(&gpu)).before(object))?;
        return Ok(DONE);
    }
    let mut out = format!("after {} {ids:?}:\n", counted(ids.len(), "token"));
    for (id, logit) in top {
        let _ = writeln!(out, "{id:>7} {logit:>11.5}  {:?}", text(&model, id).unwrap_or_default());
    }
    print(&out)?;
    Ok(DONE)
}

/// The `n` largest, best first; the lower id first on ties.
fn top(logits: &[f32], n: usize) -> Vec<(usize, f32)> {
    let mut items: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
    items.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    items.truncate(n);
    items
}

/// A token's text, if the model has a tokenizer.
fn text(model: &Model, id: usize) -> Option<String> {
    let bytes = model.tokenizer().ok()?.token_bytes(u32::try_from(id).ok()?)?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}
