//! Prompt → streamed text.

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use crate::engine::ahead::{Ahead, Chosen};
use crate::engine::forward::TOP_K;
use crate::engine::{EngineError, Logits, Sampler, SamplerOptions, Session};
use crate::gpu::submit::HostWork;
use crate::tokenizer::{DecodeStream, StopStrings};

/// How to generate.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// How to choose tokens.
    pub sampler: SamplerOptions,
    /// Most tokens to generate; `None`: until the model ends or the context is full.
    pub max_tokens: Option<usize>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Go on when the model ends its answer.
    pub ignore_eos: bool,
    /// Submit every step only when the one before was read.
    pub one_at_a_time: bool,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its answer.
    Eos,
    /// `max_tokens` was reached.
    Length,
    /// The context is full.
    ContextFull,
    /// A stop string came up.
    StopString,
    /// The caller cancelled.
    Cancelled,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The text, as it was streamed.
    pub text: String,
    /// Generated ids, an end token included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: FinishReason,
    /// Tokens of the prompt that were fed.
    pub prompt_tokens: usize,
    /// Time to feed the prompt and choose the first token.
    pub prompt_time: Duration,
    /// Time of the following tokens.
    pub decode_time: Duration,
    /// Seconds of it beyond what the later steps took: drivers compile kernels at their first
    /// dispatch.
    pub compile_s: f64,
    /// Seconds of each step after the first token: from its submit, or where steps are submitted ahead from the result of
    /// the one before, to its result. Steps of one submit share what all of them took.
    pub step_s: Vec<f64>,
    /// When the first submit of each of them began, when it returned, and when the host saw the result: seconds since the first
    /// token was there. The same for all steps of one submit.
    pub timeline: Vec<[f64; 3]>,
    /// What such steps took of the host, all together.
    pub host: HostWork,
    /// Processor time per such step of the thread that generates, seconds: to record, submit and read, and `emit`. Windows counts
    /// in steps of 16 ms. `None`: the system does not tell.
    pub processor_s: Option<f64>,
    /// Seconds per such step that the GPU had nothing to do between steps: from one step's result to the return of the next
    /// one's submit. Where steps are submitted ahead, only where a submit began when the step before was done, and at most:
    /// from when the host last saw that one running.
    pub idle_s: f64,
    /// Were steps submitted ahead?
    pub ahead: bool,
}

impl Generation {
    fn empty(finish: FinishReason) -> Generation {
        Generation {
            text: String::new(),
            ids: Vec::new(),
            finish,
            prompt_tokens: 0,
            prompt_time: Duration::ZERO,
            decode_time: Duration::ZERO,
            compile_s: 0.0,
            step_s: Vec::new(),
            timeline: Vec::new(),
            host: HostWork::default(),
            processor_s: None,
            idle_s: 0.0,
            ahead: false,
        }
    }

    /// Prompt tokens per second.
    pub fn prompt_rate(&self) -> f64 {
        self.prompt_tokens as f64 / self.prompt_time.as_secs_f64().max(1e-9)
    }

    /// Generated tokens per second. The first one, which the prompt's run gives, does not count,
    /// nor does what the first steps took for compiling.
    pub fn decode_rate(&self) -> f64 {
        self.ids.len().saturating_sub(1) as f64 / (self.decode_time.as_secs_f64() - self.compile_s).max(1e-9)
    }
}

/// Seconds that the steps under way when the first result came took beyond the median step.
/// `timeline` is as in [`Generation`].
fn compile_s(step_s: &[f64], timeline: &[[f64; 3]]) -> f64 {
    let mut sorted = step_s.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(typical) = sorted.get(sorted.len() / 2) else { return 0.0 };
    let until = timeline.first().map_or(0.0, |[_, _, result]| *result);
    let early = step_s.iter().zip(timeline).take_while(|(_, [begun, ..])| *begun < until);
    early.map(|(step, _)| step - typical).sum::<f64>().max(0.0)
}

impl Session<'_> {
    /// Feeds `prompt` and generates. `emit` gets text as soon as whole characters are certain;
    /// it returns `false` to stop. Cancelling keeps what was said so far.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        emit: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, EngineError> {
        let mut sampler = Sampler::new(options.sampler.clone())?;
        // The penalty looks back over the whole conversation.
        self.tokens().iter().chain(prompt).for_each(|id| sampler.note(*id));
        // After nothing but BOS a text begins: its first space is the tokenizer's, not the writer's.
        let tokenizer = self.model().tokenizer()?;
        let begins = self.position() == 0 && prompt.iter().all(|id| tokenizer.is_special(*id));
        let started = Instant::now();
        let mut cancelled = false;
        let fed = self.feed(prompt, Logits::Last, &mut |_| {
            cancelled = !emit("");
            !cancelled
        });
        let mut out = Output::new(self, options, begins)?;
        match fed {
            Err(EngineError::Cancelled) => return Ok(out.end(FinishReason::Cancelled, 0, started.elapsed())),
            other => other?,
        }
        let mut next = if options.max_tokens == Some(0) { None } else { Some(self.choose(&mut sampler)?) };
        let prompt_time = started.elapsed();
        let left = options.max_tokens.map_or(usize::MAX, |most| most.saturating_sub(1));
        let mut ahead = match left > 0 && next.is_some() && !options.one_at_a_time {
            true => Ahead::new(self, &mut sampler, left)?,
            false => None,
        };
        let (decode_started, processor) = (Instant::now(), ThreadTime::try_now());
        let (mut step_s, mut timeline) = (Vec::new(), Vec::new());
        let mut read = None::<Instant>;
        let (mut host, mut share_s) = (HostWork::default(), 0.0);
        let finish = loop {
            let Some(id) = next else { break FinishReason::Length };
            sampler.note(id);
            if let Some(finish) = out.push(self, id, options, emit) {
                break finish;
            }
            if options.max_tokens.is_some_and(|most| out.ids.len() >= most) {
                break FinishReason::Length;
            }
            if self.position() == self.context() {
                break FinishReason::ContextFull;
            }
            // Steps ahead overlap with everything else: theirs is the time from result to result.
            let begun = read.filter(|_| ahead.is_some()).unwrap_or_else(Instant::now);
            let Chosen { id: chosen, times, steps } = match &mut ahead {
                Some(ahead) => {
                    let left = options.max_tokens.map_or(usize::MAX, |most| most - out.ids.len());
                    ahead.step(self, id, left)?
                }
                None => self.step(id, &mut sampler)?,
            };
            // Steps that come together share the time until they came.
            if let Some(steps) = steps {
                read = Some(Instant::now());
                share_s = begun.elapsed().as_secs_f64() / steps as f64;
                host += times.host;
            }
            let moments = [times.begun, times.handed, times.done];
            timeline.push(moments.map(|at| (at - decode_started).as_secs_f64()));
            step_s.push(share_s);
            next = Some(chosen);
        };
        let tail = out.flush();
        if !tail.is_empty() {
            emit(&tail);
        }
        let mut generation = out.end(finish, prompt.len(), prompt_time);
        generation.decode_time = decode_started.elapsed();
        generation.ahead = ahead.is_some();
        let between = timeline.windows(2).map(|pair| (pair[1][1] - pair[0][2]).max(0.0));
        let idle_s = ahead.map_or_else(|| between.fold(0.0, |sum, gap| sum + gap), |ahead| ahead.idle_s());
        let per_step = |seconds: f64| seconds / step_s.len().max(1) as f64;
        let processor = processor.and_then(|begun| begun.try_elapsed());
        generation.processor_s = processor.ok().map(|time| per_step(time.as_secs_f64()));
        (generation.host, generation.idle_s) = (host, per_step(idle_s));
        generation.compile_s = compile_s(&step_s, &timeline);
        (generation.step_s, generation.timeline) = (step_s, timeline);
        Ok(generation)
    }

    /// Feeds `id` and chooses the next token with as little read back as the sampler needs.
    fn step(&mut self, id: u32, sampler: &mut Sampler) -> Result<Chosen, EngineError> {
        let id = if sampler.is_greedy() {
            self.step_greedy(id)?
        } else if sampler.fits_top(TOP_K)
            && let Some(top) = self.step_top(id)?
        {
            sampler.sample_sorted(&top)
        } else {
            sampler.sample(&self.step_logits(id)?)
        };
        Ok(Chosen { id, times: self.times(), steps: Some(1) })
    }

    /// Chooses from the logits that the last feed left.
    fn choose(&mut self, sampler: &mut Sampler) -> Result<u32, EngineError> {
        if sampler.is_greedy() {
            return self.greedy();
        }
        if sampler.fits_top(TOP_K)
            && let Some(top) = self.top()?
        {
            return Ok(sampler.sample_sorted(&top));
        }
        Ok(sampler.sample(&self.logits()?))
    }
}

/// Ids → streamed text.
struct Output {
    stream: DecodeStream,
    stops: StopStrings,
    text: String,
    ids: Vec<u32>,
}

impl Output {
    fn new(session: &Session<'_>, options: &GenerateOptions, begins: bool) -> Result<Output, EngineError> {
        let tokenizer = session.model().tokenizer()?;
        Ok(Output {
            stream: if begins { DecodeStream::new(tokenizer, true) } else { DecodeStream::continuing(true) },
            stops: StopStrings::new(options.stop.iter().cloned()),
            text: String::new(),
            ids: Vec::new(),
        })
    }

    /// Takes one token; the reason to end, if there is one.
    fn push(
        &mut self,
        session: &Session<'_>,
        id: u32,
        options: &GenerateOptions,
        emit: &mut dyn FnMut(&str) -> bool,
    ) -> Option<FinishReason> {
        let Ok(tokenizer) = session.model().tokenizer() else { return Some(FinishReason::Cancelled) };
        self.ids.push(id);
        if tokenizer.eos_ids().contains(&id) && !options.ignore_eos {
            return Some(FinishReason::Eos);
        }
        let piece = self.stops.push(&self.stream.push(tokenizer, id));
        self.text.push_str(&piece);
        if !emit(&piece) {
            return Some(FinishReason::Cancelled);
        }
        self.stops.is_hit().then_some(FinishReason::StopString)
    }

    /// Text that was held back.
    fn flush(&mut self) -> String {
        if self.stops.is_hit() {
            return String::new();
        }
        let mut tail = self.stops.push(&self.stream.finish());
        tail += &self.stops.finish();
        self.text.push_str(&tail);
        tail
    }

    fn end(self, finish: FinishReason, prompt_tokens: usize, prompt_time: Duration) -> Generation {
        let Output { text, ids, .. } = self;
        Generation { text, ids, prompt_tokens, prompt_time, ..Generation::empty(finish) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiling_is_what_the_first_steps_took_longer() {
        // Two steps went together before anything was read.
        let later = [5.0, 5.1, 5.5];
        let timeline = [[0.0, 0.1, 5.0], [0.0, 0.1, 5.0], later, later, later];
        assert_eq!(compile_s(&[2.5, 2.5, 0.5, 0.5, 0.5], &timeline), 4.0);
        assert_eq!(compile_s(&[0.5; 5], &timeline), 0.0);
        assert_eq!(compile_s(&[], &[]), 0.0);
    }
}
