//! `anygpu logits`: what the model expects after a prompt.

use std::fmt::Write;

use serde_json::json;

use super::args::{DeviceArgs, LogitsArgs, PromptPath};
use super::open::{self, Source};
use super::{DONE, print, print_json, prompt};
use crate::engine::{Logits, Model, Session};

/// Runs the command.
pub(super) fn run(args: &LogitsArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    let gpu = open::gpu(device)?;
    let model = open::model(&gpu, &Source::of(&args.model), &args.load)?;
    let ids = match (&args.input.text, &args.input.ids) {
        (Some(text), _) => prompt::raw_ids(&model, text, args.special.parse())?,
        (None, ids) => ids.clone().unwrap_or_default(),
    };
    let mut session = Session::new(&model)?;
    match args.prompt_path {
        PromptPath::Chunked => session.feed(&ids, Logits::Last, &mut |_| true)?,
        PromptPath::Single => {
            for id in &ids {
                session.feed(&[*id], Logits::Last, &mut |_| true)?;
            }
        }
    }
    let logits = session.logits()?;
    let top = top(&logits, args.top);
    if args.json {
        let top: Vec<_> = top.iter().map(|(id, logit)| json!([id, logit, text(&model, *id)])).collect();
        print_json(&json!({ "ids": ids, "top": top, "logits": logits }))?;
        return Ok(DONE);
    }
    let mut out = format!("after {} tokens {ids:?}:\n", ids.len());
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
