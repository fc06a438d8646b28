//! What can be asked for, as plain data; the help texts stand here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::{Activations, DType};
use crate::engine::LoadOptions;
use crate::gpu::{AdapterChoice, GpuOptions, adapters};
use crate::kernels::kv::KvType;

const EXAMPLES: &str = "\
Examples:
  anygpu                                      a story from the demo model
  anygpu run \"The old king\"                   the demo model continues this text
  anygpu run model.gguf                       chat with a model
  anygpu run model.gguf \"Name three rivers.\"  one answer
  cat letter.txt | anygpu run folder          the prompt comes from a pipe
  anygpu devices                              which adapters there are, and which one is used
  anygpu plan shape:Llama-3.1-8B              what would it cost here?
  anygpu verify --adapter all                 do they compute correctly?

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 a negative answer (verify
found something wrong, nothing fits the plan), 2 error, 130 stopped with Ctrl-C.";

/// Language models on any GPU.
#[derive(Parser)]
#[command(name = "anygpu", version, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Continue a text or chat with a model
    Run(RunArgs),
    /// List every adapter of every backend, and say which one would be used and why
    Devices(DevicesArgs),
    /// Measure an adapter: bandwidth, arithmetic, overheads, every kernel that prices a model
    ///
    /// The result, a profile, is kept in the cache directory, where `plan`, `run` and `bench` find it, and can be carried
    /// to another machine: `anygpu probe --out laptop.json`, then `anygpu plan MODEL --profile laptop.json`. Takes 5 to
    /// 20 s on a GPU, up to 90 s on a software adapter. For steady numbers close other programs.
    Probe(super::probe::ProbeArgs),
    /// Find the fastest variants of the matrix and attention kernels on your adapter, and keep them
    ///
    /// Every candidate runs on matrices and caches like a model's; what beats the default side by side and computes
    /// correctly is used from then on, by every model. Takes up to 30 s on a GPU, minutes on a software adapter. A GPU's first
    /// run of a weight type does a short form of it.
    Tune(super::tune::TuneArgs),
    /// Predict speed, memory and cost for every quantization and batch, and choose
    ///
    /// Default rule: the best quantization that fits in memory and meets the targets, at the smallest batch that serves
    /// the users. Exit code 1: nothing fits, or nothing meets the targets; the nearest choice is named.
    Plan(super::plan::PlanArgs),
    /// Measure speed: prompts and decoding, with bytes, % of bandwidth and prediction beside
    ///
    /// Columns and JSON keys are llama-bench's, ours stand behind them. Tokenizing and sampling on the host do not count.
    Bench(super::bench::BenchArgs),
    /// Check every kernel on your adapter against an f64 reference
    ///
    /// Every kernel runs in every variant the adapter can run, over a table of shapes. Each adapter (`--adapter
    /// all`) is checked as it is, without runtime checks in shaders unless `--checked` keeps them, and once more as the
    /// least that WebGPU allows: runtime checks, no 16-bit floats, no subgroups, no immediates, default limits.
    Verify(VerifyArgs),
    /// Print the logits after the last token of a prompt
    Logits(LogitsArgs),
    /// Measure a model's perplexity on a text
    Perplexity(PerplexityArgs),
    /// Measure what quantizing a model costs: every quantization against 16-bit weights, on a text
    Quality(super::quality::QualityArgs),
}

/// Which adapter, and how much of it.
#[derive(Args)]
#[command(next_help_heading = "Adapter")]
pub(super) struct DeviceArgs {
    /// INDEX or NAME (part of it) as in `anygpu devices`, BACKEND, or BACKEND:NAME; WGPU_BACKEND and
    /// WGPU_ADAPTER_NAME are honoured too
    #[arg(long, global = true, value_name = "ADAPTER")]
    pub(super) adapter: Option<String>,
    /// Do not use 16-bit floats in shaders
    #[arg(long, global = true)]
    pub(super) no_f16: bool,
    /// Do not use subgroups
    #[arg(long, global = true)]
    pub(super) no_subgroups: bool,
    /// Do not use immediates: kernel parameters come in uniform buffers
    #[arg(long, global = true)]
    pub(super) no_immediates: bool,
    /// Ask for WebGPU's default limits only (128 MiB per binding, 16 KiB workgroup memory)
    #[arg(long, global = true)]
    pub(super) default_limits: bool,
    /// Keep runtime checks in shaders. They are left out, which is faster, on software adapters a lot, unless the short
    /// verification before an adapter's first use (`anygpu verify --quick`) finds something that is right only with them.
    /// If anything looks wrong, see whether it still does with this
    #[arg(long, global = true)]
    pub(super) checked: bool,
    /// Do not use what `anygpu tune` found: kernels run as by default
    #[arg(long, global = true)]
    pub(super) untuned: bool,
}

impl DeviceArgs {
    /// The adapter asked for.
    pub(super) fn choice(&self) -> AdapterChoice {
        match self.adapter.as_deref() {
            Some(text) => text.parse().unwrap_or_else(|e: std::convert::Infallible| match e {}),
            None => AdapterChoice::Auto,
        }
    }

    /// The same for commands that take `--adapter all`.
    pub(super) fn choices(&self) -> Vec<AdapterChoice> {
        match self.adapter.as_deref() {
            Some("all") => (0..adapters().len()).map(AdapterChoice::Index).collect(),
            _ => vec![self.choice()],
        }
    }

    /// Capabilities to use.
    pub(super) fn options(&self) -> GpuOptions {
        GpuOptions {
            f16: !self.no_f16,
            subgroups: !self.no_subgroups,
            immediates: !self.no_immediates,
            default_limits: self.default_limits,
            checked: self.checked,
            untuned: self.untuned,
            ..GpuOptions::default()
        }
    }
}

/// How to load a model.
#[derive(Args, Default)]
#[command(next_help_heading = "Model")]
pub(super) struct LoadArgs {
    /// Tokens that prompt and answer may have together [default: what the model was trained for, at most 4096]
    #[arg(long, value_name = "N")]
    pub(super) ctx: Option<usize>,
    /// Element type of the KV cache: f16, f32 or q8_0 [default: f16]
    #[arg(long, value_name = "TYPE", value_parser = kv_type)]
    pub(super) kv: Option<KvType>,
    /// How matrices read activations while generating: f32, or int8, rounded to bytes where that is faster (software
    /// adapters, weights in q8_0, q4_0 or q4_k) [default: f32]
    #[arg(long, value_name = "TYPE", value_parser = activations)]
    pub(super) activations: Option<Activations>,
    /// Quantize float weights while loading: f16, q8_0, q6_k, q5_k, q4_k or q4_0; the embedding and output
    /// matrices keep at least 6 bits
    #[arg(long, value_name = "TYPE", value_parser = quant_type)]
    pub(super) quant: Option<DType>,
    /// Prompt tokens per run [default: 256, on software adapters 64]
    #[arg(long, value_name = "N")]
    pub(super) chunk: Option<usize>,
    /// Device memory to count on, e.g. 6GiB or 512MiB [default: as the driver tells]
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    pub(super) memory: Option<u64>,
}

impl LoadArgs {
    pub(super) fn options(&self) -> LoadOptions {
        LoadOptions {
            quant: self.quant,
            context: self.ctx,
            kv: self.kv.unwrap_or(KvType::F16),
            activations: self.activations.unwrap_or_default(),
            chunk: self.chunk,
            memory: self.memory,
            stretch: false,
        }
    }
}

/// How a text is read that is no message of a conversation.
#[derive(Args, Default)]
pub(super) struct SpecialArgs {
    /// Read <|im_start|>, <s> and other control tokens in the text as plain text; messages of a chat with
    /// a template are not concerned
    #[arg(long)]
    pub(super) no_special: bool,
}

impl SpecialArgs {
    /// Whether control tokens in the text are taken as such.
    pub(super) fn parse(&self) -> bool {
        !self.no_special
    }
}

/// How to choose tokens.
#[derive(Args, Default)]
#[command(next_help_heading = "Sampling")]
pub(super) struct SampleArgs {
    /// 0: always the most likely token [default: the model's generation_config.json, else 0.7]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(super) temperature: Option<f32>,
    /// Only the K most likely tokens; 0: all [default: the model's, else 40]
    #[arg(long, value_name = "K")]
    pub(super) top_k: Option<usize>,
    /// Only the most likely tokens that together reach this probability [default: the model's, else 0.95]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(super) top_p: Option<f32>,
    /// Only tokens at least this fraction as likely as the most likely one [default: the model's, else 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(super) min_p: Option<f32>,
    /// Make tokens seen among the last 64 less likely; 1: do not [default: the model's, else 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(super) repeat_penalty: Option<f32>,
    /// Same seed, adapter and build: same text [default: random, printed at the end]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Most tokens to generate [default: 256 when continuing a text; chat: until the answer ends]
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) max_tokens: Option<usize>,
    /// Stop before this text; may be repeated
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) stop: Vec<String>,
    /// Go on when the model ends its answer
    #[arg(long)]
    pub(super) ignore_eos: bool,
    /// Submit each step only when the one before was read; else a few are submitted ahead
    #[arg(long)]
    pub(super) no_ahead: bool,
}

#[derive(Args, Default)]
pub(super) struct RunArgs {
    /// A folder with config.json and safetensors, or a .gguf file; without it, or as demo, the built-in
    /// demo model.
    /// A single argument that is no path is taken as PROMPT
    #[arg(value_name = "MODEL")]
    pub(super) model: Option<String>,
    /// What to continue or to answer; without it a chat on a terminal, else what comes through the pipe
    #[arg(value_name = "PROMPT")]
    pub(super) prompt: Option<String>,
    /// Continue the prompt as it is, even if the model can chat
    #[arg(long)]
    pub(super) raw: bool,
    #[command(flatten)]
    pub(super) special: SpecialArgs,
    /// Instructions in front of the conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(super) system: Option<String>,
    /// Print one JSON object at the end instead of streaming
    #[arg(long)]
    pub(super) json: bool,
    /// Choose the best quantization that is predicted to reach this speed, tokens per second
    #[arg(long, allow_negative_numbers = true, value_name = "TOK/S", conflicts_with = "quant")]
    pub(super) min_tps: Option<f64>,
    /// Neither measure, predict nor choose: load the model as it is
    #[arg(long)]
    pub(super) no_plan: bool,
    #[command(flatten)]
    pub(super) sample: SampleArgs,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

impl RunArgs {
    /// What the program does without any argument.
    pub(super) fn story() -> RunArgs {
        let sample = SampleArgs { max_tokens: Some(150), ..SampleArgs::default() };
        RunArgs { prompt: Some("Once upon a time".to_owned()), sample, ..RunArgs::default() }
    }
}

#[derive(Args)]
pub(super) struct DevicesArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// Only the short form that also runs before an adapter is first used
    #[arg(long)]
    pub(super) quick: bool,
    /// Only as the adapter is, not as the least that WebGPU allows
    #[arg(long)]
    pub(super) as_is: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// For testing this command: put a deliberate fault into KERNEL; the check must then fail
    #[arg(long = "break", value_name = "KERNEL")]
    pub(super) broken: Option<String>,
}

#[derive(Args)]
pub(super) struct LogitsArgs {
    /// A model folder or .gguf file, or demo
    pub(super) model: PathBuf,
    #[command(flatten)]
    pub(super) input: LogitsInput,
    #[command(flatten)]
    pub(super) special: SpecialArgs,
    /// How many of the most likely tokens to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) top: usize,
    /// Feed the prompt in chunks, or token by token as when generating
    #[arg(long, value_enum, default_value_t = PromptPath::Chunked)]
    pub(super) prompt_path: PromptPath,
    /// Print one JSON object with all logits
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct LogitsInput {
    /// The prompt as text
    #[arg(long)]
    pub(super) text: Option<String>,
    /// The prompt as token ids: 1,403,407
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    pub(super) ids: Option<Vec<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PromptPath {
    Chunked,
    Single,
}

#[derive(Args)]
pub(super) struct PerplexityArgs {
    /// A model folder or .gguf file, or demo
    pub(super) model: PathBuf,
    /// The text to predict
    #[arg(long, value_name = "FILE")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) special: SpecialArgs,
    /// plain: windows of CTX - 1 tokens behind a BOS, every token counted; llama: as llama-perplexity does,
    /// windows of CTX tokens of which the second half counts
    #[arg(long, value_enum, default_value_t = WindowsArg::Plain)]
    pub(super) windows: WindowsArg,
    /// Most windows [default: all]
    #[arg(long, value_name = "N", visible_alias = "chunks")]
    pub(super) limit: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WindowsArg {
    Plain,
    Llama,
}

fn kv_type(text: &str) -> Result<KvType, String> {
    KvType::from_name(&text.to_lowercase()).ok_or_else(|| "expected f16, f32 or q8_0".to_owned())
}

fn activations(text: &str) -> Result<Activations, String> {
    Activations::from_name(&text.to_lowercase()).ok_or_else(|| "expected f32 or int8".to_owned())
}

fn quant_type(text: &str) -> Result<DType, String> {
    const KINDS: [DType; 6] = [DType::F16, DType::Q8_0, DType::Q6K, DType::Q5K, DType::Q4K, DType::Q4_0];
    let known = DType::from_name(text).filter(|kind| KINDS.contains(kind));
    known.ok_or_else(|| format!("expected one of {}", KINDS.map(DType::name).join(", ")))
}

/// `1234`, `512MiB`, `4GiB`; `M` and `MB` are taken as MiB.
pub(super) fn byte_count(text: &str) -> Result<u64, String> {
    let expected = || "expected a number of bytes such as 512MiB or 4GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let unit = text[digits..].trim().to_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(expected()),
    };
    let number: f64 = text[..digits].parse().map_err(|_| expected())?;
    let bytes = number * (1u64 << shift) as f64;
    // 2⁵³ is far beyond any memory and still exact.
    if bytes < (1u64 << 53) as f64 { Ok(bytes as u64) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn byte_counts() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1234", Some(1234)),
            ("512MiB", Some(512 << 20)),
            ("4GiB", Some(4 << 30)),
            ("1.5g", Some(3 << 29)),
            ("2 KB", Some(2048)),
            ("", None),
            ("GiB", None),
            ("-1", None),
            ("1.2.3", None),
            ("9999999999T", None),
            ("4 parsecs", None),
        ] {
            assert_eq!(byte_count(text).ok(), expected, "{text}");
        }
    }
}
