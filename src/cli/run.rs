//! `anygpu run`: one prompt → streamed text, or the chat.

use std::hash::{BuildHasher, Hasher};
use std::time::Instant;

use super::args::{DeviceArgs, RunArgs, SampleArgs};
use super::forecast::{self, Forecast};
use super::open::{self, note};
use super::prompt::{self, Ask};
use super::report::{self, Rates};
use super::{DONE, Exit, INTERRUPTED, chat, interrupt, print, print_json};
use crate::engine::{FinishReason, GenerateOptions, Generation, Model, Sampler, SamplerOptions, Session};
use crate::tokenizer::Message;

/// Tokens generated when a text is continued and no other number is asked for.
const RAW_TOKENS: usize = 256;

/// Runs the command.
pub(super) fn run(args: &RunArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    // Absurd sampling options are refused before anything slow happens.
    Sampler::new(sampling(&args.sample, &|_| None))?;
    if args.min_tps.is_some_and(|v| !(v > 0.0 && v.is_finite())) {
        anyhow::bail!("--min-tps: expected a positive number");
    }
    let (source, ask) = prompt::resolve(args)?;
    let gpu = open::gpu(device)?;
    interrupt::install(exit)?;
    let mut forecast = match args.no_plan {
        true => None,
        false => Forecast::make(&gpu, &source, &args.load, args.min_tps)?,
    };
    forecast::announce(forecast.as_ref());
    let (started, compiled_before) = (Instant::now(), gpu.compile_seconds());
    let mut load_options = args.load.options();
    if load_options.quant.is_none() {
        load_options.quant = forecast.as_ref().and_then(Forecast::quant);
    }
    let model = open::load(&gpu, &source, &load_options)?;
    let mut session = Session::new(&model)?;
    let (load, compile_s) = (started.elapsed(), gpu.compile_seconds() - compiled_before);
    let opening = prompt::opening(&model, args)?;
    let is_chat = model.template().is_some() && !args.raw;
    let options = options(args, &model, is_chat);
    let text = match ask {
        Ask::Chat => {
            let special = args.special.parse();
            return chat::run(&mut session, &source, opening, options, is_chat, special, forecast);
        }
        Ask::Once(text) => text,
    };
    let (ids, echo) = if is_chat {
        let messages = [opening, vec![Message::new("user", &text)]].concat();
        (prompt::chat_ids(&model, &messages)?, "")
    } else {
        (prompt::raw_ids(&model, &text, args.special.parse())?, text.as_str())
    };
    let done = generate(&mut session, &ids, &options, if args.json { None } else { Some(echo) })?;
    let rates = Rates::of(&session, &done, load, compile_s);
    let closing = forecast.as_mut().and_then(|forecast| forecast.close(&session, &done));
    if args.json {
        let mut object = report::object(&session, &source.to_string(), &ids, &options, &done, &rates);
        object["prediction"] = closing.map_or(serde_json::Value::Null, |closing| closing.object());
        print_json(&object)?;
    } else {
        note(&summary(&session, &options, &done, &rates));
        if let Some(closing) = closing {
            note(&closing.line());
        }
    }
    if done.finish == FinishReason::ContextFull {
        note(&format!("the context of {} tokens is full; --ctx sets its size", session.context()));
    }
    Ok(if done.finish == FinishReason::Cancelled { INTERRUPTED } else { DONE })
}

/// Generates; `echo`: prints that and then the text as it comes, with a line end after it.
fn generate(
    session: &mut Session<'_>,
    ids: &[u32],
    options: &GenerateOptions,
    echo: Option<&str>,
) -> anyhow::Result<Generation> {
    let Some(echo) = echo else {
        return Ok(session.generate(ids, options, &mut |_| !interrupt::requested())?);
    };
    let (mut printed, mut last) = (Ok(()), None);
    // The prompt is shown only when it was accepted: with the first call.
    let mut echo = Some(echo).filter(|echo| !echo.is_empty());
    let done = session.generate(ids, options, &mut |piece| {
        for text in echo.take().into_iter().chain((!piece.is_empty()).then_some(piece)) {
            if printed.is_ok() {
                printed = print(text);
                last = text.chars().last();
            }
        }
        printed.is_ok() && !interrupt::requested()
    });
    printed?;
    let done = done?;
    if last != Some('\n') {
        print("\n")?;
    }
    Ok(done)
}

fn summary(session: &Session<'_>, options: &GenerateOptions, done: &Generation, rates: &Rates) -> String {
    let line = rates.line(session, done, true);
    match options.sampler.temperature == 0.0 {
        true => line,
        false => format!("{line}; --seed {}", options.sampler.seed),
    }
}

fn options(args: &RunArgs, model: &Model, is_chat: bool) -> GenerateOptions {
    GenerateOptions {
        sampler: sampling(&args.sample, &|key| recommended(model, key)),
        max_tokens: args.sample.max_tokens.or((!is_chat).then_some(RAW_TOKENS)),
        stop: args.sample.stop.clone(),
        ignore_eos: args.sample.ignore_eos,
        one_at_a_time: args.sample.no_ahead,
    }
}

/// What the model's makers recommend, unless it is impossible.
fn recommended(model: &Model, key: &str) -> Option<f64> {
    let value = model.recommended(key)?;
    let possible = match key {
        "top_p" => value > 0.0 && value <= 1.0,
        "min_p" => (0.0..1.0).contains(&value),
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
        repeat_last: ours.repeat_last,
        seed: args.seed.unwrap_or_else(random_seed),
    }
}

/// A short random number, easy to type again.
fn random_seed() -> u64 {
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
        let args = SampleArgs { top_k: Some(7), seed: Some(3), ..SampleArgs::default() };
        let got = sampling(&args, &model);
        assert_eq!((got.temperature, got.top_k, got.top_p, got.seed), (0.6, 7, 0.95, 3));
        assert_eq!(sampling(&SampleArgs::default(), &model).top_k, 20);
        assert_eq!(sampling(&SampleArgs::default(), &|_| None).temperature, 0.7);
    }
}
