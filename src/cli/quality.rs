//! `anygpu quality`: what each quantization of a model costs.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::about::About;
use super::args::{DeviceArgs, LoadArgs, byte_count};
use super::look::{self, Looked};
use super::open::{self, bytes, note, tell};
use super::perplexity::DEFAULT_WINDOW;
use super::subject::DEMO;
use super::values::{self, whole, whole_of};
use super::{DONE, print, print_json};
use crate::base::DType;
use crate::engine::LoadOptions;
use crate::engine::model::MOST_CHUNK;
use crate::engine::quality::{self, Progress, QualityReport, Text};

#[derive(Args)]
pub(super) struct QualityArgs {
    /// A model folder or .gguf file with weights in 16 or 32 bits, org/name in the Hugging Face
    /// cache, or demo
    #[arg(value_name = "MODEL", default_value = DEMO)]
    pub(super) model: String,
    /// The text to predict
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: PathBuf,
    /// What to compare with f16, several with commas [default: q8_0,q6_k,q5_k,q4_k,q4_0]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = quant_type)]
    pub(super) quant: Vec<DType>,
    /// Tokens per window, its BOS included; 0: what the model was trained for [default: that, at
    /// most 512]
    #[arg(short = 'c', long, value_name = "N", aliases = ["ctx-size", "num-ctx", "context"],
        value_parser = values::whole_or_minus_one("what the model was trained for"))]
    pub(super) ctx: Option<usize>,
    /// Most windows [default: all]
    #[arg(long, value_name = "N", visible_alias = "chunks", value_parser = whole(1..=usize::MAX))]
    pub(super) limit: Option<usize>,
    /// Prompt tokens per run, 1 to 4096 [default: 256, on software adapters 64]
    #[arg(long, value_name = "N", value_parser = whole_of(1..=MOST_CHUNK, "tokens"))]
    pub(super) chunk: Option<usize>,
    /// Device memory to count on, e.g. 6GiB or 512MiB [default: as the driver tells]
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    pub(super) memory: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

fn quant_type(text: &str) -> Result<DType, String> {
    let known = DType::from_spelling(text).filter(|kind| quality::QUANTS.contains(kind));
    known.ok_or_else(|| format!("expected some of {}", quality::QUANTS.map(DType::name).join(",")))
}

/// Runs the command.
pub(super) fn run(args: &QualityArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(&args.file).with_context(|| args.file.display().to_string())?;
    let load = LoadArgs { ctx: args.ctx, chunk: args.chunk, memory: args.memory, ..LoadArgs::default() };
    let Looked { source, opened, mut load } = look::at(&args.model, &load)?;
    let (archive, spec) = (opened.archive(), opened.spec());
    let model = || source.to_string();
    quality::check_float(archive, spec)?;
    load.ctx = load.ctx.or(Some(spec.max_context.min(DEFAULT_WINDOW)));
    let options = load.options();
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let text = Text { text: &text, name: &name, limit: args.limit.unwrap_or(usize::MAX) };
    quality::check_text(opened.tokenizer()?, &text, opened.context(&options)?)?;
    let quants = quants(&args.quant);
    let gpu = open::gpu(device)?;
    quality::check_memory(&gpu, archive, spec, &quants, &options).with_context(model)?;
    let mut load_as =
        |quant| open::load(&gpu, &source, &LoadOptions { quant: Some(quant), ..options.clone() });
    let live = std::io::stderr().is_terminal();
    let report = quality::measure(&mut load_as, &text, &quants, &mut |progress| {
        show(progress, live);
        true
    })?;
    if let Err(error) = quality::keep(quality::fingerprint(archive), &report) {
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
