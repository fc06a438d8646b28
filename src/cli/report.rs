//! What a run took: one line for people, one object for programs.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::about::{About, shortest};
use crate::base::counted;
use crate::engine::{GenerateOptions, Generation, Session};
use crate::gpu::graph::State;

/// Shorter prompts take what launching and compiling takes: their rate says nothing.
const PROMPT_FOR_A_RATE: usize = 32;

/// Times and rates of one generation.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Rates {
    /// Opening the model until the session was ready, but for compiling.
    pub(super) load_s: f64,
    /// Compiling the kernels, ahead and in the first steps.
    pub(super) compile_s: f64,
    /// Prompt in until the first token was known.
    pub(super) first_token_s: f64,
    /// Prompt tokens per second.
    pub(super) prompt_tok_s: f64,
    /// Tokens per second after the first; 0 when there are none.
    pub(super) decode_tok_s: f64,
    /// Bytes that one token in the middle of the answer must read: weights and KV cache.
    pub(super) bytes_per_token: u64,
    /// `bytes_per_token` × `decode_tok_s`, in 10⁹ bytes.
    pub(super) gb_s: f64,
    /// Seconds per token after the first that the host spent recording.
    pub(super) host_s: f64,
    /// Seconds per such token in the driver's submit, which may wait for the submit before it.
    pub(super) submit_s: f64,
    /// Processor seconds per such token of the thread that records, submits, reads and prints, where the system tells.
    pub(super) processor_s: Option<f64>,
    /// Seconds per such token that the GPU had nothing to do, at most.
    pub(super) gpu_idle_s: f64,
}

impl Rates {
    /// `load`: opening the model until the session was ready; `compile_s`: what of that went to compiling.
    pub(super) fn of(session: &Session<'_>, done: &Generation, load: Duration, compile_s: f64) -> Rates {
        let steps = done.ids.len().saturating_sub(1);
        let mean = session.position().saturating_sub(steps / 2);
        let state = State { pos: mean as u32, n_tokens: 1, ..State::default() };
        let bytes_per_token = session.graphs().decode.bytes_moved(state);
        let decode_tok_s = if steps == 0 { 0.0 } else { done.decode_rate() };
        Rates {
            load_s: (load.as_secs_f64() - compile_s).max(0.0),
            compile_s: compile_s + done.compile_s,
            first_token_s: done.prompt_time.as_secs_f64(),
            prompt_tok_s: done.prompt_rate(),
            decode_tok_s,
            bytes_per_token,
            gb_s: bytes_per_token as f64 * decode_tok_s / 1e9,
            host_s: done.host.record_s / timed_steps(done),
            submit_s: done.host.submit_s / timed_steps(done),
            processor_s: done.processor_s,
            gpu_idle_s: done.idle_s,
        }
    }

    /// The answer in a few words: tokens, speed, and how that compares with a prediction.
    pub(super) fn brief(&self, done: &Generation, comparison: Option<&str>) -> String {
        let tokens = counted(done.ids.len(), "token");
        let compared = comparison.map_or(String::new(), |words| format!(" ({words})"));
        match self.decode_tok_s > 0.0 {
            true => format!("{tokens}, {} tok/s{compared}", rate(self.decode_tok_s)),
            false => tokens,
        }
    }

    /// Times and rates, for `--stats`. `with_load`: loading belongs to it.
    pub(super) fn details(&self, done: &Generation, with_load: bool) -> String {
        let load = if with_load { format!("load {:.2} s, ", self.load_s) } else { String::new() };
        let prompt = match done.prompt_tokens >= PROMPT_FOR_A_RATE {
            true => format!(" at {} tok/s", rate(self.prompt_tok_s)),
            false => String::new(),
        };
        let decode = match self.decode_tok_s > 0.0 {
            true => format!("; reads {:.2} GB/s", self.gb_s),
            false => String::new(),
        };
        format!(
            "{load}compiling {:.2} s, first token after {:.2} s, prompt of {}{prompt}{decode}",
            self.compile_s,
            self.first_token_s,
            counted(done.prompt_tokens, "token"),
        )
    }
}

fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// Steps that [`Generation::host`] is about; 1 where there are none, to divide by.
fn timed_steps(done: &Generation) -> f64 {
    done.step_s.len().max(1) as f64
}

/// The object of `run --json`.
pub(super) fn object(
    session: &Session<'_>,
    model: &str,
    prompt_ids: &[u32],
    options: &GenerateOptions,
    done: &Generation,
    rates: &Rates,
) -> Value {
    let (loaded, spec) = (session.model(), session.model().spec());
    let graph = &session.graphs().decode;
    About::this(Some(loaded.gpu())).before(json!({
        "text": done.text,
        "ids": done.ids,
        "finish": done.finish,
        "prompt_ids": prompt_ids,
        "timings": rates,
        "timeline": done.timeline,
        "adapter_reason": loaded.gpu().why(),
        "shader_checks": loaded.gpu().is_checked(),
        "model": {
            "name": model,
            "architecture": spec.architecture,
            "layers": spec.n_layers,
            "hidden": spec.hidden,
            "vocab": spec.vocab,
            "context": session.context(),
            "memory_bytes": loaded.needs(),
        },
        "per_token": {
            "dispatches": done.host.dispatches as f64 / timed_steps(done),
            "submits": done.host.submits as f64 / timed_steps(done),
            "weight_bytes": graph.bytes(),
        },
        "sampling": {
            "temperature": shortest(options.sampler.temperature),
            "top_k": options.sampler.top_k,
            "top_p": shortest(options.sampler.top_p),
            "min_p": shortest(options.sampler.min_p),
            "repeat_penalty": shortest(options.sampler.repeat_penalty),
            "seed": options.sampler.seed,
        },
    }))
}
