//! `anygpu quality`: what each quantization of a model costs.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::about::About;
use super::args::{DeviceArgs, byte_count};
use super::open::{self, Source, bytes, note, tell};
use super::perplexity::DEFAULT_WINDOW;
use super::{DONE, print, print_json};
use crate::base::DType;
use crate::engine::LoadOptions;
use crate::engine::quality::{self, Progress, QualityReport, Text};
use crate::formats::Archive;
use crate::model::ModelSpec;

#[derive(Args)]
pub(super) struct QualityArgs {
    /// A model folder or .gguf file with weights in 16 or 32 bits
    pub(super) model: PathBuf,
    /// The text to predict
    #[arg(long, value_name = "FILE")]
    pub(super) file: PathBuf,
    /// What to compare with f16, several with commas [default: q8_0,q6_k,q5_k,q4_k,q4_0]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = quant_type)]
    pub(super) quant: Vec<DType>,
    /// Tokens per window, its BOS included [default: what the model was trained for, at most 512]
    #[arg(long, value_name = "N")]
    pub(super) ctx: Option<usize>,
    /// Most windows [default: all]
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
    /// Prompt tokens per run [default: 256, on software adapters 64]
    #[arg(long, value_name = "N")]
    pub(super) chunk: Option<usize>,
    /// Device memory to count on, e.g. 6GiB or 512MiB [default: as the driver tells]
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    pub(super) memory: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

fn quant_type(text: &str) -> Result<DType, String> {
    let known = DType::from_name(text.trim()).filter(|kind| quality::QUANTS.contains(kind));
    known.ok_or_else(|| format!("expected some of {}", quality::QUANTS.map(DType::name).join(",")))
}

/// Runs the command.
pub(super) fn run(args: &QualityArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(&args.file).with_context(|| args.file.display().to_string())?;
    let model = || args.model.display().to_string();
    let archive = Archive::open(&args.model)?;
    let spec = ModelSpec::from_archive(&archive).with_context(model)?;
    quality::check_float(&archive, &spec)?;
    let quants = quants(&args.quant);
    let options = LoadOptions {
        context: Some(args.ctx.unwrap_or(spec.max_context.min(DEFAULT_WINDOW))),
        chunk: args.chunk,
        memory: args.memory,
        ..LoadOptions::default()
    };
    let gpu = open::gpu(device)?;
    quality::check_memory(&gpu, &archive, &spec, &quants, &options).with_context(model)?;
    let source = Source::Path(args.model.clone());
    let mut load = |quant| open::load(&gpu, &source, &LoadOptions { quant: Some(quant), ..options.clone() });
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let text = Text { text: &text, name: &name, limit: args.limit.unwrap_or(usize::MAX) };
    let live = std::io::stderr().is_terminal();
    let report = quality::measure(&mut load, &text, &quants, &mut |progress| {
        show(progress, live);
        true
    })?;
    if let Err(error) = quality::keep(quality::fingerprint(&archive), &report) {
        note(&format!("the result is not kept: {error}"));
    }
    if args.json {
        let mut json = serde_json::to_value(&report)?;
        json["model"] = json!(model());
        json["n_params"] = json!(spec.n_params());
        print_json(&About::this(Some(&gpu)).before(json))?;
    } else {
        print(&table(&report, spec.n_params()))?;
    }
    Ok(DONE)
}

/// Each once, most bits first.
fn quants(asked: &[DType]) -> Vec<DType> {
    let wanted = |quant: &DType| asked.is_empty() || asked.contains(quant);
    quality::QUANTS.into_iter().filter(wanted).collect()
}

fn show(progress: &Progress, live: bool) {
    let Progress { quant, quant_ix, n_quants, windows, n_windows, so_far } = progress;
    let line = format!(
        "{quant} ({} of {n_quants}): {windows}/{n_windows} windows, KL {:.6}, perplexity {:.4}",
        quant_ix + 1,
        so_far.kl_mean,
        so_far.ppl
    );
    let done = windows == n_windows;
    match live {
        true => tell(&format!("\r\x1b[K{}", if done { "" } else { &line })),
        false if done || windows % 16 == 0 => note(&line),
        false => {}
    }
}

fn table(report: &QualityReport, n_params: u64) -> String {
    let mut out = format!(
        "{}: {} tokens in windows of {}; KL divergence from {} in nats per token\n\n",
        report.text,
        report.tokens,
        report.window,
        quality::REFERENCE
    );
    let head = ["weights", "size", "bits each", "perplexity", "ratio", "KL mean", "KL 99 %", "same top"];
    let rows = report.rows.iter().map(|row| {
        [
            row.quant.to_string(),
            bytes(row.weight_bytes),
            format!("{:.2}", row.weight_bytes as f64 * 8.0 / n_params.max(1) as f64),
            format!("{:.4}", row.ppl),
            format!("{:.4}", row.ppl_ratio),
            format!("{:.6}", row.kl_mean),
            format!("{:.6}", row.kl_p99),
            format!("{:.2} %", row.top1 * 100.0),
        ]
    });
    for row in std::iter::once(head.map(str::to_owned)).chain(rows) {
        let [name, rest @ ..] = &row;
        let _ = write!(out, "{name:<7}");
        for cell in rest {
            let _ = write!(out, "  {cell:>10}");
        }
        out.push('\n');
    }
    out
}
