//! `anygpu run`: one prompt → streamed text, or the chat.

use std::hash::{BuildHasher, Hasher};
use std::time::Instant;

use super::args::{DeviceArgs, RunArgs, SampleArgs};
use super::forecast::Forecast;
use super::look::Looked;
use super::open::{self, aside, note};
use super::prompt::{self, Ask, Fed};
use super::report::{self, Rates};
use super::think::Voice;
use super::wait::Wait;
use super::{DONE, Exit, INTERRUPTED, chat, interrupt, look, print_json};
use crate::base::DType;
use crate::engine::{FinishReason, GenerateOptions, Generation, Model, Sampler, SamplerOptions, Session};
use crate::plan::table::QUANTS;
use crate::tokenizer::{ChatTemplate, Message};

/// Tokens generated when a text is continued and no other number is asked for.
const RAW_TOKENS: usize = 256;

/// Runs the command.
pub(super) fn run(args: &RunArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    // Whatever can be refused without a GPU is refused before an adapter is opened.
    Sampler::new(sampling(&args.sample, &|_| None))?;
    let (source, ask) = prompt::resolve(args)?;
    let looked = look::of(source, &args.load)?;
    let template = prompt::template(&looked.opened, args)?;
    let opening = prompt::opening(args);
    let first = first(&looked, template.as_ref(), &opening, &ask, args.special.parse())?;
    looked.check_memory(device, &quants(args, &looked))?;
    let (source, load_args) = (looked.source.clone(), looked.load.clone());
    let gpu = open::gpu(device)?;
    interrupt::install(exit)?;
    let mut forecast = match args.no_plan {
        true => None,
        false => Forecast::make(&gpu, &source, &load_args, args.min_tps)?,
    };
    if let Some(forecast) = forecast.as_ref().filter(|f| f.is_choice()) {
        aside(&format!("weights: {}", forecast.line()));
    }
    let (started, compiled_before) = (Instant::now(), gpu.compile_seconds());
    let mut load_options = load_args.options();
    if load_options.quant.is_none() {
        load_options.quant = forecast.as_ref().and_then(Forecast::quant);
    }
    let model = open::load_opened(&gpu, &source, looked.opened, &load_options)?;
    let mut session = open::session(&model)?;
    let (load, compile_s) = (started.elapsed(), gpu.compile_seconds() - compiled_before);
    let options = options(args, &model, template.is_some());
    let text = match ask {
        Ask::Chat => {
            let manner = chat::Manner {
                template,
                opening,
                options,
                raw: args.raw,
                special: args.special.parse(),
                stats: args.stats,
            };
            return chat::run(&mut session, &source, manner, forecast);
        }
        Ask::Once(text) => text,
    };
    let echo = if template.is_some() { "" } else { text.as_str() };
    let done = generate(&mut session, &first, &options, if args.json { None } else { Some(echo) })?;
    open::tell_found(&mut session);
    let ids = first.ids;
    let rates = Rates::of(&session, &done, load, compile_s);
    let closing = forecast.as_mut().and_then(|forecast| forecast.close(&session, &done));
    if args.json {
        let mut object = report::object(&session, &source.to_string(), &ids, &options, &done, &rates);
        object["prediction"] = closing.map_or(serde_json::Value::Null, |closing| closing.object());
        print_json(&object)?;
    } else if done.finish == FinishReason::Cancelled && done.ids.is_empty() {
        note("stopped while the prompt was read");
    } else {
        aside(&rates.brief(&done, closing.map(|closing| closing.words()).as_deref()));
        if args.stats {
            aside(&rates.details(&done, true));
            forecast.iter().for_each(|forecast| aside(&forecast.line()));
            closing.iter().for_each(|closing| aside(&closing.line()));
            aside(&made_by(&session, &options));
        }
    }
    open::tell_cache_failure();
    if done.finish == FinishReason::ContextFull {
        note(&format!("the context of {} tokens is full; --ctx sets its size", session.context()));
    }
    Ok(if done.finish == FinishReason::Cancelled { INTERRUPTED } else { DONE })
}

/// What the model reads; of a chat nothing is known yet. Refuses what does not fit the context, and
/// text for a model without tokenizer.
fn first(
    looked: &Looked,
    template: Option<&ChatTemplate>,
    opening: &[Message],
    ask: &Ask,
    special: bool,
) -> anyhow::Result<Fed> {
    let tokenizer = looked.opened.tokenizer()?;
    let Ask::Once(text) = ask else { return Ok(Fed { ids: Vec::new(), thinks: false }) };
    let messages = [opening, &[Message::new("user", text)]].concat();
    let fed = prompt::fed(tokenizer, template, &messages, special)?;
    looked.check_prompt(fed.ids.len())?;
    Ok(fed)
}

/// Types that the weights may be loaded in, as stored before the smallest that a plan may choose.
fn quants(args: &RunArgs, looked: &Looked) -> Vec<Option<DType>> {
    match args.load.quant {
        Some(quant) => vec![Some(quant)],
        None if args.no_plan => vec![None],
        None => {
            let bits = |dtype: &DType| dtype.block_bytes() * 256 / dtype.block_len();
            let smallest = QUANTS.into_iter().min_by_key(bits);
            let is_float = looked.opened.archive().tensors.values().all(|t| t.dtype.is_float());
            std::iter::once(None).chain(smallest.filter(|_| is_float).map(Some)).collect()
        }
    }
}

/// Generates; `echo`: prints that and then the text as it comes, with a line end after it.
fn generate(
    session: &mut Session<'_>,
    first: &Fed,
    options: &GenerateOptions,
    echo: Option<&str>,
) -> anyhow::Result<Generation> {
    let Some(echo) = echo else {
        return Ok(session.generate(&first.ids, options, &mut |_| !interrupt::requested())?);
    };
    let (mut printed, mut voice) = (Ok(()), Voice::new(first.thinks));
    let mut reading = Reading::new(first.ids.len(), session.chunk());
    // The prompt is shown only when it was accepted: with the first call.
    let mut echo = Some(echo).filter(|echo| !echo.is_empty());
    let done = session.generate(&first.ids, options, &mut |piece| {
        reading.hear(piece);
        for text in echo.take().into_iter().chain((!piece.is_empty()).then_some(piece)) {
            if printed.is_ok() {
                printed = voice.say(text);
            }
        }
        printed.is_ok() && !interrupt::requested()
    });
    printed?;
    let done = done?;
    voice.end(false)?;
    Ok(done)
}

/// Adapter and seed: what gives the same text again.
fn made_by(session: &Session<'_>, options: &GenerateOptions) -> String {
    let adapter = session.model().gpu().facts().id();
    match options.sampler.temperature == 0.0 {
        true => format!("adapter {adapter}"),
        false => format!("adapter {adapter}, --seed {}", options.sampler.seed),
    }
}

/// Progress while a long prompt is read.
pub(super) struct Reading {
    /// `None`: the answer has begun.
    wait: Option<Wait>,
    n_tokens: usize,
    chunk: usize,
    chunks: usize,
}

impl Reading {
    /// A prompt of `n_tokens`, read `chunk` at a time.
    pub(super) fn new(n_tokens: usize, chunk: usize) -> Reading {
        Reading { wait: Some(Wait::new("reading the prompt")), n_tokens, chunk, chunks: 0 }
    }

    /// Takes what [`Session::generate`] emits: an empty text before each chunk, then the answer.
    pub(super) fn hear(&mut self, piece: &str) {
        if let Some(wait) = &mut self.wait {
            let done = self.chunks * self.chunk;
            self.chunks += 1;
            match piece.is_empty() && done < self.n_tokens {
                true => wait.show(done as u64, self.n_tokens as u64),
                false => self.wait = None,
            }
        }
    }
}

fn options(args: &RunArgs, model: &Model, is_chat: bool) -> GenerateOptions {
    GenerateOptions {
        sampler: sampling(&args.sample, &|key| recommended(model, key)),
        max_tokens: args.sample.max_tokens.unwrap_or((!is_chat).then_some(RAW_TOKENS)),
        stop: args.sample.stop.clone(),
        ignore_eos: args.sample.ignore_eos,
        one_at_a_time: args.sample.no_ahead,
    }
}

/// What the model's makers recommend, unless it is impossible.
fn recommended(model: &Model, key: &str) -> Option<f64> {
    let value = model.recommended(key)?;
    let possible = match key {
        "top_p" | "min_p" => (0.0..=1.0).contains(&value),
        "repetition_penalty" => value > 0.0 && value.is_finite(),
        _ => (0.0..1e9).contains(&value),
    };
    if !possible {
        note(&format!("generation_config.json: {key} cannot be {value}, ignored"));
    }
    possible.then_some(value)
}

/// Flags first, then what the model's makers recommend, then our defaults.
fn sampling(args: &SampleArgs, recommended: &dyn Fn(&str) -> Option<f64>) -> SamplerOptions {
    let ours = SamplerOptions::default();
    let float = |flag: Option<f32>, key: &str, ours: f32| {
        flag.or_else(|| recommended(key).map(|v| v as f32)).unwrap_or(ours)
    };
    let top_k = recommended("top_k").map(|k| k as usize);
    let greedy = (recommended("do_sample") == Some(0.0)).then_some(0.0);
    SamplerOptions {
        temperature: float(args.temperature.or(greedy), "temperature", ours.temperature),
        top_k: args.top_k.or(top_k).unwrap_or(ours.top_k),
        top_p: float(args.top_p, "top_p", ours.top_p),
        min_p: float(args.min_p, "min_p", ours.min_p),
        repeat_penalty: float(args.repeat_penalty, "repetition_penalty", ours.repeat_penalty),
        repeat_last: args.repeat_last_n.unwrap_or(ours.repeat_last),
        seed: args.seed.flatten().unwrap_or_else(random_seed),
    }
}

/// A short random number, easy to type again.
pub(super) fn random_seed() -> u64 {
    // The standard library's hasher keys are random per process.
    std::hash::RandomState::new().build_hasher().finish() & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_model_which_wins_over_defaults() {
        let model = |key: &str| match key {
            "temperature" => Some(0.6),
            "top_k" => Some(20.0),
            _ => None,
        };
        let args = SampleArgs { top_k: Some(7), seed: Some(Some(3)), ..SampleArgs::default() };
        let got = sampling(&args, &model);
        assert_eq!((got.temperature, got.top_k, got.top_p, got.seed), (0.6, 7, 0.95, 3));
        assert_eq!(sampling(&SampleArgs::default(), &model).top_k, 20);
        assert_eq!(sampling(&SampleArgs::default(), &|_| None).temperature, 0.7);
    }
}
