//! `anygpu quantize`: a model → one quantized GGUF file. Opens an adapter only to measure how fast that would be on it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use serde_json::json;

use super::args::DeviceArgs;
use super::open::{Source, note};
use super::plan::MachineArgs;
use super::quantize_speed::Speed;
use super::values::type_among;
use super::wait::Wait;
use super::{DONE, Exit, find, interrupt, print, print_json, quantize_text};
use crate::base::DType;
use crate::convert::mix::{self, Budget};
use crate::convert::{self, ConvertError, Report, Wish, write};
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
    /// A type of its own for every matrix, such that their errors are least and the file has at most this size (2.1GiB)
    /// or these bits per weight (4.8bpw), or generates at least as fast (30tps, on this adapter or on that of --spec or
    /// --profile)
    #[arg(long, value_name = "SIZE|BPW|TPS", value_parser = limit)]
    pub(super) mix: Option<Limit>,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
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

/// What a mix keeps to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// Size.
    Size(Budget),
    /// Least tokens per second.
    Speed(f64),
}

/// Runs the command.
pub(super) fn run(args: &QuantizeArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    let elsewhere = args.machine.spec.is_some() || args.machine.profile.is_some();
    if elsewhere && !matches!(args.mix, Some(Limit::Speed(_))) {
        bail!("--spec and --profile name the machine of a speed, and there is none: --mix 30tps");
    }
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
    if let Some(limit) = args.mix {
        // What cannot be had is said before every weight is read.
        let speed = match limit {
            Limit::Speed(tok_s) => Some(Speed::of(&args.model, &args.machine, device, tok_s)?),
            Limit::Size(_) => None,
        };
        let total = mix::work_bytes(&plan);
        let measured = with_progress("measuring", total, |progress| mix::measure(&archive, &plan, progress));
        let ladders = measured.map_err(|error| of_model(error, &source))?;
        if let Some(speed) = speed {
            note(&speed.choose(&mut plan, &ladders)?);
        } else if let Limit::Size(budget) = limit {
            ladders.choose(&mut plan, budget)?;
        }
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

/// `2.1GiB`, `512MiB`, `4.8bpw` or `30tps`.
fn limit(text: &str) -> Result<Limit, String> {
    let lower = text.trim().to_lowercase();
    if let Some(number) = ["tps", "tok/s", "t/s"].iter().find_map(|unit| lower.strip_suffix(unit)) {
        let speed: Option<f64> = number.trim().parse().ok().filter(|v: &f64| *v > 0.0 && v.is_finite());
        return speed.map(Limit::Speed).ok_or_else(|| "expected a speed such as 30tps".to_owned());
    }
    if let Some(bits) = lower.strip_suffix("bpw") {
        let bits: Option<f64> = bits.trim().parse().ok().filter(|bits| (1.0..=32.0).contains(bits));
        return bits
            .map(|bits| Limit::Size(Budget::BitsPerWeight(bits)))
            .ok_or_else(|| "expected 1bpw to 32bpw".to_owned());
    }
    let bytes = super::args::byte_count(&lower);
    let expected = "expected a size such as 2.1GiB, bits such as 4.8bpw, or a speed such as 30tps";
    bytes.map(|bytes| Limit::Size(Budget::Bytes(bytes))).map_err(|_| expected.to_owned())
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
    fn limits() {
        for (text, want) in [
            ("4.8bpw", Some(Limit::Size(Budget::BitsPerWeight(4.8)))),
            ("5 BPW", Some(Limit::Size(Budget::BitsPerWeight(5.0)))),
            ("2GiB", Some(Limit::Size(Budget::Bytes(2 << 30)))),
            ("30tps", Some(Limit::Speed(30.0))),
            ("7.5 tok/s", Some(Limit::Speed(7.5))),
            ("0tps", None),
            ("-3t/s", None),
            ("0bpw", None),
            ("nanbpw", None),
            ("small", None),
        ] {
            assert_eq!(limit(text).ok(), want, "{text}");
        }
    }
}
