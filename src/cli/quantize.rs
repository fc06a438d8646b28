//! `anygpu quantize`: a model → one quantized GGUF file. Opens no adapter.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{ArgGroup, Args};
use serde_json::json;

use super::open::{Source, note};
use super::values::type_among;
use super::wait::Wait;
use super::{DONE, Exit, find, interrupt, print, print_json, quantize_text};
use crate::base::DType;
use crate::convert::mix::{self, Budget};
use crate::convert::{self, ConvertError, Plan, Report, Wish, write};
use crate::engine::EngineError;
use crate::engine::model::DEMO_FILES;
use crate::formats::Archive;

#[derive(Args)]
#[command(group(ArgGroup::new("types").required(true).args(["quant", "mix"])))]
pub(super) struct QuantizeArgs {
    /// A folder with config.json and safetensors, or a .gguf file, with weights in 16 or 32 bits; or demo
    #[arg(value_name = "MODEL")]
    pub(super) model: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE.gguf")]
    pub(super) output: PathBuf,
    /// Type of the matrices: f32, f16, bf16, q8_0, q6_k, q5_1, q5_k, q5_0, q4_1, q4_k or q4_0; names such as
    /// Q4_K_M are understood. Embedding and output matrix keep at least 6 bits, vectors all 32
    #[arg(long, value_name = "TYPE", value_parser = quant_type)]
    pub(super) quant: Option<DType>,
    /// A type of its own for every matrix, so that the file has at most this size (2.1GiB) or these bits per
    /// weight (4.8bpw), and the matrices' errors are least
    #[arg(long, value_name = "SIZE|BPW", value_parser = budget)]
    pub(super) mix: Option<Budget>,
    /// Replace FILE
    #[arg(long)]
    pub(super) force: bool,
    /// Quantize quantized weights again, which is worse than starting from unquantized ones
    #[arg(long)]
    pub(super) allow_requantize: bool,
    /// List every tensor, not one line per role
    #[arg(long)]
    pub(super) all: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the command.
pub(super) fn run(args: &QuantizeArgs, exit: Exit) -> anyhow::Result<u8> {
    interrupt::install(exit)?;
    let started = Instant::now();
    let source = find::source(&args.model)?;
    let (archive, name) = match &source {
        Source::Demo => (Archive::from_memory(DEMO_FILES)?, "anygpu demo".to_owned()),
        Source::Path(path) => (Archive::open(path)?, name_of(path)),
    };
    write::check_target(&archive, &args.output, args.force)?;
    let wish = Wish { quant: args.quant.unwrap_or(mix::FINEST), requantize: args.allow_requantize };
    let mut plan = convert::plan(&archive, &name, &wish).map_err(|error| of_model(error, &source))?;
    plan.notices.iter().for_each(|notice| note(notice));
    if let Some(budget) = args.mix {
        choose(&archive, &mut plan, budget).map_err(|error| of_model(error, &source))?;
    }
    let total = archive.tensors.values().map(|t| t.range.len() as u64).sum();
    let output = &args.output;
    let written = with_progress("writing", total, |progress| {
        convert::write(&archive, &plan, output, args.force, progress)
    });
    let report = written.map_err(|error| of_model(error, &source))?;
    show(args, &report, started.elapsed())?;
    Ok(DONE)
}

/// Measures every type of every matrix, and gives each the type that the budget affords.
fn choose(archive: &Archive, plan: &mut Plan, budget: Budget) -> convert::Result<()> {
    let total = mix::work_bytes(plan);
    with_progress("measuring", total, |progress| mix::choose(archive, plan, budget, progress))
}

/// Does `work`, which tells how many of `total` bytes it has read since the last time, and stops when it
/// hears false: Ctrl-C was pressed.
fn with_progress<T>(
    what: &'static str,
    total: u64,
    work: impl FnOnce(&mut dyn FnMut(u64) -> bool) -> T,
) -> T {
    let (mut wait, mut done) = (Wait::for_bytes(what), 0);
    work(&mut |read| {
        done += read;
        wait.show(done, total);
        !interrupt::requested()
    })
}

/// Messages about files name them; others are put behind the model's name.
fn of_model(error: ConvertError, source: &Source) -> anyhow::Error {
    match error {
        ConvertError::Cancelled => EngineError::Cancelled.into(),
        error @ (ConvertError::Model(_)
        | ConvertError::Tokenizer(_)
        | ConvertError::Inexpressible { .. }
        | ConvertError::Requantize { .. }
        | ConvertError::NotFinite { .. }
        | ConvertError::OutOfRange { .. }
        | ConvertError::Tensor { .. }) => anyhow::Error::from(error).context(source.to_string()),
        error => error.into(),
    }
}

/// What a model is called that does not say so itself: its folder or file, without `.gguf`.
fn name_of(path: &std::path::Path) -> String {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".gguf").unwrap_or(&name).to_owned()
}

fn show(args: &QuantizeArgs, report: &Report, took: Duration) -> anyhow::Result<()> {
    let file = args.output.display().to_string();
    if args.json {
        let mut json = serde_json::to_value(report).context("report")?;
        json["file"] = json!(file);
        json["bits_per_weight"] = json!(report.bits_per_weight());
        json["seconds"] = json!(took.as_secs_f64());
        return print_json(&json);
    }
    Ok(print(&quantize_text::table(report, args.all, &file, took))?)
}

fn quant_type(text: &str) -> Result<DType, String> {
    type_among(&convert::TYPES, text)
}

/// `2.1GiB`, `512MiB` or `4.8bpw`.
fn budget(text: &str) -> Result<Budget, String> {
    let lower = text.trim().to_lowercase();
    if let Some(bits) = lower.strip_suffix("bpw") {
        let bits: Option<f64> = bits.trim().parse().ok().filter(|bits| (1.0..=32.0).contains(bits));
        return bits.map(Budget::BitsPerWeight).ok_or_else(|| "expected 1bpw to 32bpw".to_owned());
    }
    let bytes = super::args::byte_count(&lower);
    bytes.map(Budget::Bytes).map_err(|_| "expected a size such as 2.1GiB, or bits such as 4.8bpw".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_their_usual_names() {
        for (text, want) in [
            ("q4_k", Some(DType::Q4K)),
            ("Q4_K_M", Some(DType::Q4K)),
            ("q4_k_s", Some(DType::Q4K)),
            ("Q6K", Some(DType::Q6K)),
            ("q8_0", Some(DType::Q8_0)),
            ("Q8", Some(DType::Q8_0)),
            ("F16", Some(DType::F16)),
            ("fp16", Some(DType::F16)),
            ("bf16", Some(DType::BF16)),
            ("q5_1", Some(DType::Q5_1)),
            ("q4", None),
            ("q2_k", None),
            ("iq4_nl", None),
            ("q4_0_m", None),
            ("", None),
        ] {
            assert_eq!(quant_type(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn budgets() {
        for (text, want) in [
            ("4.8bpw", Some(Budget::BitsPerWeight(4.8))),
            ("5 BPW", Some(Budget::BitsPerWeight(5.0))),
            ("2GiB", Some(Budget::Bytes(2 << 30))),
            ("0bpw", None),
            ("nanbpw", None),
            ("small", None),
        ] {
            assert_eq!(budget(text).ok(), want, "{text}");
        }
    }
}
