//! What can be asked for, as plain data; the help texts stand here.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use super::values::{self, whole, whole_of};
pub(super) use super::values::{byte_count, quant_type};
use crate::base::{Activations, DType};
use crate::engine::LoadOptions;
use crate::engine::model::MOST_CHUNK;
use crate::gpu::{AdapterChoice, GpuOptions, adapters};
use crate::kernels::kv::KvType;

const EXAMPLES: &str = "\
Examples:
  anygpu                                      a story from the demo model
  anygpu run demo \"The old king\"              the demo model continues this text
  anygpu model.gguf                           chat with a model; `run` may be left out
  anygpu run model.gguf \"Name three rivers.\"  one answer
  cat letter.txt | anygpu run folder \"Sum up\" the prompt, and what comes through a pipe
  anygpu devices                              which adapters there are, and which one is used
  anygpu plan shape:Llama-3.1-8B              what would it cost here?
  anygpu verify --adapter all                 do they compute correctly?

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 a negative answer (verify
found something wrong, nothing fits the plan), 2 error, 130 stopped with Ctrl-C.";

/// Most tokens; `None`: no limit.
pub(super) type Limit = Option<usize>;
/// A seed; `None`: a random one.
pub(super) type Seed = Option<u64>;

/// The definition of the command line: what `Cli` derives, and what holds for all of it.
pub(super) fn command() -> clap::Command {
    let plans = "Only this type: f16, q8_0, q6_k, q5_k, q4_k or q4_0 [default: all, to choose from]";
    let command = Cli::command().mut_subcommand("plan", |plan| plan.mut_arg("quant", |arg| arg.help(plans)));
    numbers_may_be_negative(command)
}

/// `-n -1` is a number out of range, not an unknown option.
fn numbers_may_be_negative(command: clap::Command) -> clap::Command {
    let takes_values = |arg: &clap::Arg| arg.get_action().takes_values();
    let command = command.mut_args(|arg| match takes_values(&arg) {
        true => arg.allow_negative_numbers(true),
        false => arg,
    });
    command.mut_subcommands(numbers_may_be_negative)
}

/// Language models on any GPU.
#[derive(Parser)]
#[command(name = "anygpu", version, after_help = EXAMPLES)]
pub(super) struct Cli {
    /// Say nothing but errors on stderr
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Continue a text or chat with a model
    #[command(alias = "chat")]
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
    /// correctly is used from then on, by every model. Takes up to 30 s on a GPU, minutes on a software adapter. On a GPU
    /// `plan` does a short form of it.
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
    Logits(super::logits::LogitsArgs),
    /// Measure a model's perplexity on a text
    Perplexity(super::perplexity::PerplexityArgs),
    /// Measure what quantizing a model costs: every quantization against 16-bit weights, on a text
    Quality(super::quality::QualityArgs),
    /// Write a model as one quantized GGUF file, which llama.cpp reads, too
    ///
    /// From safetensors or GGUF, with the types that --quant gives while loading. Needs no adapter.
    Quantize(super::quantize::QuantizeArgs),
    /// Say what a report of a fault needs: versions, system, adapters, and what the cache holds
    Info(super::info::InfoArgs),
    /// Print a script that completes commands and options in a shell
    ///
    /// For bash: `anygpu completions bash > ~/.local/share/bash-completion/completions/anygpu`; for
    /// zsh into a folder of $fpath as _anygpu; for fish: `anygpu completions fish >
    /// ~/.config/fish/completions/anygpu.fish`.
    Completions(super::definition::CompletionsArgs),
    /// Print the manual page: `anygpu man | man -l -`
    Man(super::definition::ManArgs),
}

/// Which adapter, and how much of it.
#[derive(Args)]
#[command(next_help_heading = "Adapter")]
pub(super) struct DeviceArgs {
    /// INDEX or NAME (part of it) as in `anygpu devices`, BACKEND, or BACKEND:NAME; WGPU_BACKEND and
    /// WGPU_ADAPTER_NAME are honoured too
    #[arg(long, global = true, value_name = "ADAPTER",
        value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) adapter: Option<String>,
    /// Do not use 16-bit floats in shaders
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) no_f16: bool,
    /// Do not use subgroups
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) no_subgroups: bool,
    /// Do not use immediates: kernel parameters come in uniform buffers
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) no_immediates: bool,
    /// Ask for WebGPU's default limits only (128 MiB per binding, 16 KiB workgroup memory)
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) default_limits: bool,
    /// Keep runtime checks in shaders. They are left out, which is faster, on software adapters a lot, unless the
    /// verification of each kernel before it first runs, on a few shapes, finds one that is right only with them. If
    /// anything looks wrong, see whether it still does with this
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) checked: bool,
    /// Do not use what `anygpu tune` found: kernels run as by default
    #[arg(long, global = true, hide_short_help = true)]
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
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Model")]
pub(super) struct LoadArgs {
    /// Tokens that prompt and answer may have together; 0: what the model was trained for [default:
    /// that, at most 4096]
    #[arg(short = 'c', long, value_name = "N", aliases = ["ctx-size", "num-ctx", "context"],
        value_parser = values::whole_or_minus_one("what the model was trained for"))]
    pub(super) ctx: Option<usize>,
    /// Element type of the KV cache: f16, f32 or q8_0 [default: f16]
    #[arg(long, value_name = "TYPE", value_parser = values::kv_type)]
    pub(super) kv: Option<KvType>,
    /// How matrices read activations while generating: f32, or int8, rounded to bytes where that is faster (software
    /// adapters, weights in q8_0, q4_0 or q4_k) [default: f32]
    #[arg(long, value_name = "TYPE", value_parser = values::activations)]
    pub(super) activations: Option<Activations>,
    /// Quantize float weights while loading: f16, q8_0, q6_k, q5_k, q4_k or q4_0; the embedding and output
    /// matrices keep at least 6 bits
    #[arg(long, value_name = "TYPE", value_parser = quant_type)]
    pub(super) quant: Option<DType>,
    /// Prompt tokens per run, 1 to 4096 [default: 256, on software adapters 64]
    #[arg(long, value_name = "N", value_parser = whole_of(1..=MOST_CHUNK, "tokens"))]
    pub(super) chunk: Option<usize>,
    /// Device memory to count on, e.g. 6GiB or 512MiB [default: as the driver tells]
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    pub(super) memory: Option<u64>,
}

impl LoadArgs {
    /// Positions asked for of a model that was trained for `trained`.
    pub(super) fn positions(&self, trained: usize) -> Option<usize> {
        self.ctx.map(|n| if n == 0 { trained } else { n })
    }

    /// The same arguments with the positions that they mean for this model.
    pub(super) fn of(&self, trained: usize) -> LoadArgs {
        LoadArgs { ctx: self.positions(trained), ..self.clone() }
    }

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
    #[arg(long, value_name = "T", visible_alias = "temp", value_parser = values::temperature)]
    pub(super) temperature: Option<f32>,
    /// Only the K most likely tokens; 0: all [default: the model's, else 40]
    #[arg(long, value_name = "K", value_parser = values::whole_or_minus_one("all"))]
    pub(super) top_k: Option<usize>,
    /// Only the most likely tokens that together reach this probability, 0 to 1 [default: the
    /// model's, else 0.95]
    #[arg(long, value_name = "P", value_parser = values::fraction)]
    pub(super) top_p: Option<f32>,
    /// Only tokens at least this fraction as likely as the most likely one, 0 to 1 [default: the
    /// model's, else 0]
    #[arg(long, value_name = "P", value_parser = values::fraction)]
    pub(super) min_p: Option<f32>,
    /// Make recent tokens less likely; 1: do not [default: the model's, else 1]
    #[arg(long, value_name = "X", value_parser = values::penalty)]
    pub(super) repeat_penalty: Option<f32>,
    /// How many recent tokens that looks at [default: 64]
    #[arg(long, value_name = "N", alias = "repeat-last", value_parser = whole(0..=usize::MAX))]
    pub(super) repeat_last_n: Option<usize>,
    /// Same seed, adapter and build: same text [default, or -1: random; --stats and --json tell it]
    #[arg(short, long, value_name = "N", value_parser = values::seed)]
    pub(super) seed: Option<Seed>,
    /// Most tokens to generate; -1: no limit [default: 256 when continuing a text; chat: until the
    /// answer ends]
    #[arg(short = 'n', long, value_name = "N", value_parser = values::token_limit,
        aliases = ["n-predict", "predict", "num-predict", "max-new-tokens"])]
    pub(super) max_tokens: Option<Limit>,
    /// Stop before this text; may be repeated
    #[arg(short = 'r', long, value_name = "TEXT", alias = "reverse-prompt",
        value_parser = clap::builder::NonEmptyStringValueParser::new())]
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
    /// A folder with config.json and safetensors, a .gguf file, org/name in the Hugging Face cache,
    /// or demo, the built-in model. Without a model, a text of several words is continued by the
    /// demo model
    #[arg(value_name = "MODEL")]
    pub(super) model: Option<String>,
    /// What to continue or to answer; - is stdin. Text that comes through a pipe follows it.
    /// Without it a chat on a terminal, else what comes through the pipe
    #[arg(value_name = "PROMPT")]
    pub(super) prompt: Vec<String>,
    /// MODEL, written as an option
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    pub(super) model_option: Option<String>,
    /// PROMPT, written as an option
    #[arg(short = 'p', long = "prompt", value_name = "TEXT")]
    pub(super) prompt_option: Option<String>,
    /// The prompt stands in this file, behind PROMPT if there is one; - is stdin; may be repeated
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Vec<PathBuf>,
    /// Continue the prompt as it is, even if the model can chat
    #[arg(long)]
    pub(super) raw: bool,
    #[command(flatten)]
    pub(super) special: SpecialArgs,
    /// Instructions in front of the conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(super) system: Option<String>,
    /// Answer without thinking first, where the model's template has a switch for it
    #[arg(long, conflicts_with = "raw")]
    pub(super) no_think: bool,
    /// A variable of the model's chat template, such as enable_thinking=false; may be repeated
    #[arg(long, value_name = "NAME=JSON", conflicts_with = "raw", value_parser = values::template_argument)]
    pub(super) template_arg: Vec<(String, serde_json::Value)>,
    /// The same as one JSON object
    #[arg(long, value_name = "JSON", conflicts_with = "raw", value_parser = values::json_object)]
    pub(super) chat_template_kwargs: Option<serde_json::Map<String, serde_json::Value>>,
    /// Print one JSON object at the end instead of streaming
    #[arg(long)]
    pub(super) json: bool,
    /// Choose the best quantization that is predicted to reach this speed, tokens per second
    #[arg(long, value_name = "TOK/S", conflicts_with = "quant", value_parser = values::positive)]
    pub(super) min_tps: Option<f64>,
    /// Say at the end where the time went, and how that compares with the prediction in detail
    #[arg(long)]
    pub(super) stats: bool,
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
        // So small a model repeats itself without a penalty.
        let sample =
            SampleArgs { repeat_penalty: Some(1.15), max_tokens: Some(Some(150)), ..SampleArgs::default() };
        let model = Some(super::subject::DEMO.to_owned());
        RunArgs { model, prompt: vec!["Once upon a time".to_owned()], sample, ..RunArgs::default() }
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
    /// Only the short form: each kernel as this adapter runs it, for a few types and shapes
    #[arg(long)]
    pub(super) quick: bool,
    /// Only as the adapter is, not as the least that WebGPU allows
    #[arg(long)]
    pub(super) as_is: bool,
    /// A line for every variant of a kernel, not only for every kernel
    #[arg(short = 'v', long = "all")]
    pub(super) all: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// For testing this command: put a deliberate fault into KERNEL; the check must then fail
    #[arg(long = "break", value_name = "KERNEL")]
    pub(super) broken: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    /// Names of options of numbers, behind the commands that they belong to.
    fn numbers(command: &clap::Command, path: &[String]) -> Vec<Vec<String>> {
        use std::any::TypeId;
        let kinds = [
            TypeId::of::<usize>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<f64>(),
            TypeId::of::<f32>(),
            TypeId::of::<Limit>(),
            TypeId::of::<Seed>(),
        ];
        let is_number = |arg: &&clap::Arg| kinds.iter().any(|kind| arg.get_value_parser().type_id() == *kind);
        let options = command.get_arguments().filter(is_number).filter_map(clap::Arg::get_long);
        let mut all: Vec<Vec<String>> = options.map(|long| [path, &[format!("--{long}")]].concat()).collect();
        for inner in command.get_subcommands() {
            all.extend(numbers(inner, &[path, &[inner.get_name().to_owned()]].concat()));
        }
        all
    }

    #[test]
    fn numbers_say_what_they_may_be() {
        let all = numbers(&command(), &["anygpu".to_owned()]);
        assert!(all.len() > 30, "{all:?}");
        for option in all {
            let error = command().try_get_matches_from([&option[..], &["-7".to_owned()]].concat());
            let told = error.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(told.contains("expected"), "{}: {told}", option.join(" "));
        }
    }
}
