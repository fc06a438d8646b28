//! [`Session`]: one conversation's KV cache and position; feeds tokens, gives logits.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::engine::first_use::{self, Ensured};
use crate::engine::forward::{Buffers, Graphs, Sizes, TOP_K};
use crate::engine::model::Model;
use crate::engine::steps::{self, Checks, Steps};
use crate::engine::tables::Tables;
use crate::engine::{EngineError, Sampler, pipelines};
use crate::gpu::graph::State;
use crate::gpu::submit::{HostWork, Pending, Times};
use crate::gpu::{Gpu, Graph, Readback, Slice};
use crate::kernels::advance::{self, Advance};
use crate::kernels::argmax::{self, Best};
use crate::kernels::penalize::{self, Penalize};
use crate::kernels::sample::{self, Sample};
use crate::kernels::top_k;
use crate::kernels::variants::Variants;
use crate::kernels::weights::BLOCK;

/// Which logits [`Session::feed`] leaves to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// None: only fill the cache.
    None,
    /// Of the last token.
    Last,
}

/// A conversation: a KV cache of fixed capacity, filled from position 0 on. When it is full, feeding more
/// is an error ([`EngineError::ContextFull`]); nothing is overwritten or shifted silently.
pub struct Session<'m> {
    model: &'m Model,
    buffers: Buffers,
    graphs: Graphs,
    sizes: Sizes,
    pos: usize,
    /// What was fed, [pos] ids.
    fed: Vec<u32>,
    small: Readback,
    row: Readback,
    times: Cell<Times>,
    /// Kernels of steps, compiled while the prompt's run for the first time.
    compiling: Option<JoinHandle<()>>,
    /// Parts that are compiled and passed verification.
    ready: BTreeSet<Part>,
    notices: Vec<String>,
}

/// What a session runs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Prompts, logits of their last tokens and the choice from them.
    Prompt,
    /// Steps of one token.
    Step,
    /// Logits of many tokens.
    Logits,
}

impl Part {
    fn graphs(self, graphs: &Graphs) -> Vec<&Graph> {
        match self {
            Part::Prompt => [&graphs.prefill, &graphs.head].into_iter().chain(&graphs.top).collect(),
            Part::Step => vec![&graphs.decode],
            Part::Logits => vec![&graphs.head_many],
        }
    }
}

impl<'m> Session<'m> {
    /// Allocates the cache, compiles the kernels, and has those that prompts need verified where
    /// [`first_use::begin`] asked for it; the others when they are needed first.
    pub fn new(model: &'m Model) -> Result<Session<'m>, EngineError> {
        Session::new_with(model, &mut |_, _| {})
    }

    /// As [`Session::new`], with progress of verification.
    pub fn new_with(model: &'m Model, progress: first_use::Progress<'_>) -> Result<Session<'m>, EngineError> {
        let (gpu, spec) = (model.gpu(), model.spec());
        let sizes = model.sizes();
        let tables = Tables::upload(gpu, spec, model.weights(), sizes.context)?;
        let buffers = Buffers::allocate(gpu, spec, sizes, tables)?;
        let graphs = Graphs::build(gpu, spec, model.weights(), &buffers, sizes)?;
        let now = Instant::now();
        let times = Cell::new(Times { begun: now, handed: now, done: now, host: HostWork::default() });
        let mut session = Session {
            model,
            buffers,
            graphs,
            sizes,
            pos: 0,
            fed: Vec::new(),
            small: gpu.readback(top_k::result_bytes(TOP_K)),
            row: gpu.readback(spec.vocab as u64 * 4),
            times,
            compiling: None,
            ready: BTreeSet::new(),
            notices: Vec::new(),
        };
        session.compile(Part::Prompt)?;
        session.compiling = session.compile_steps()?;
        session.prepare_with(Part::Prompt, progress)?;
        Ok(session)
    }

    fn compile(&self, part: Part) -> Result<(), EngineError> {
        Ok(self.gpu().compile(part.graphs(&self.graphs).into_iter().flat_map(Graph::kernels))?)
    }

    /// Compiles what steps need, meanwhile. What is refused is refused again when it is needed.
    fn compile_steps(&self) -> Result<Option<JoinHandle<()>>, EngineError> {
        if !self.gpu().takes_threads() {
            return Ok(None);
        }
        let (gpu, variants) = (self.gpu().clone(), Variants::of(self.gpu()));
        let wanted = [
            (variants.advance, advance::shader()),
            (variants.sample && self.graphs.top.is_some(), sample::shader()),
        ];
        let wanted = wanted.iter().filter(|(wanted, _)| *wanted);
        let mut kernels = wanted.map(|(_, shader)| gpu.kernel(shader)).collect::<Result<Vec<_>, _>>()?;
        kernels.extend(self.graphs.decode.kernels().cloned());
        Ok(Some(std::thread::spawn(move || {
            let _ = gpu.compile(&kernels);
        })))
    }

    /// From now on this part may run: it is compiled, and passed verification if that is asked for.
    fn prepare(&mut self, part: Part) -> Result<(), EngineError> {
        self.prepare_with(part, &mut |_, _| {})
    }

    fn prepare_with(&mut self, part: Part, progress: first_use::Progress<'_>) -> Result<(), EngineError> {
        while !self.ready.contains(&part) {
            if part != Part::Prompt {
                self.compiling.take().map(JoinHandle::join);
            }
            self.compile(part)?;
            let needs = self.graphs.needs(&part.graphs(&self.graphs));
            let ensured = first_use::ensure(self.gpu(), &needs, progress);
            drop(needs);
            match ensured? {
                Ensured::Passed => {
                    self.ready.insert(part);
                }
                Ensured::Replaced(found) => {
                    self.notices.extend(found.notices(self.gpu()));
                    // Every part may have had the kernel that failed.
                    let before = std::mem::take(&mut self.ready);
                    self.graphs = rebuilt(self.model, &self.buffers, self.sizes)?;
                    before.into_iter().try_for_each(|other| self.prepare(other))?;
                }
            }
        }
        Ok(())
    }

    /// What verification found wrong on the adapter since this was called last, for people.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn gpu(&self) -> &Gpu {
        self.model.gpu()
    }

    /// The model.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// Tokens in the cache.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// The tokens in the cache.
    pub fn tokens(&self) -> &[u32] {
        &self.fed
    }

    /// Capacity of the cache.
    pub fn context(&self) -> usize {
        self.sizes.context
    }

    /// Most tokens per run.
    pub fn chunk(&self) -> usize {
        self.sizes.chunk
    }

    /// The steps, for reports.
    pub fn graphs(&self) -> &Graphs {
        &self.graphs
    }

    /// When the last step ran after which something was read.
    pub(super) fn times(&self) -> Times {
        self.times.get()
    }

    /// Forgets everything from position `pos` on.
    pub fn truncate(&mut self, pos: usize) {
        self.pos = self.pos.min(pos);
        self.fed.truncate(self.pos);
    }

    pub(super) fn check_tokens(&self, ids: &[u32]) -> Result<(), EngineError> {
        if ids.is_empty() {
            return Err(EngineError::EmptyPrompt { hint: "" });
        }
        let vocab = self.model.spec().vocab;
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
            return Err(EngineError::BadToken { id: *id, vocab });
        }
        if self.pos + ids.len() > self.sizes.context {
            return Err(EngineError::ContextFull {
                tokens: ids.len(),
                used: self.pos,
                context: self.sizes.context,
                trained: self.model.spec().max_context,
            });
        }
        Ok(())
    }

    /// Feeds tokens in chunks. `go_on` is called between chunks; `false` stops with
    /// [`EngineError::Cancelled`], the chunks done so far stay in the cache.
    /// With [`Logits::Last`] the logits of the last token can then be read.
    pub fn feed(
        &mut self,
        ids: &[u32],
        logits: Logits,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), EngineError> {
        self.check_tokens(ids)?;
        let chunks = ids.len().div_ceil(self.sizes.chunk);
        if ids.chunks(self.sizes.chunk).any(|chunk| chunk.len() == 1) {
            self.prepare(Part::Step)?;
        }
        for (i, chunk) in ids.chunks(self.sizes.chunk).enumerate() {
            if !go_on(i * self.sizes.chunk) {
                return Err(EngineError::Cancelled);
            }
            let last = i + 1 == chunks && logits == Logits::Last;
            let state = self.begin(chunk);
            let graph = if chunk.len() == 1 { &self.graphs.decode } else { &self.graphs.prefill };
            let started = Instant::now();
            self.gpu().run(graph, state)?;
            if last && chunk.len() > 1 {
                self.gpu().run(&self.graphs.head, state)?;
            }
            self.gpu().wait()?;
            graph.took(state, started.elapsed());
            self.advance(chunk);
        }
        Ok(())
    }

    /// Feeds one token and returns the greedy choice for the next one: one pass, and mostly one submit.
    pub fn step_greedy(&mut self, id: u32) -> Result<u32, EngineError> {
        self.check_tokens(&[id])?;
        self.prepare(Part::Step)?;
        let state = self.begin(&[id]);
        let bytes = self.run_and_read(
            &[&self.graphs.decode],
            state,
            &self.buffers.best,
            Best::BYTES as u64,
            &self.small,
        )?;
        self.advance(&[id]);
        self.choice(&bytes)
    }

    /// The steps that choose from the logits as `sampler` would, with its random numbers for the next `left` positions, and feed
    /// the choice to the step at the next one; `None` where the sampler looks at more tokens than they can, for tiny
    /// vocabularies, and where a kernel failed verification.
    pub(super) fn choosing(
        &mut self,
        sampler: &mut Sampler,
        left: usize,
    ) -> Result<Option<Graph>, EngineError> {
        self.prepare(Part::Step)?;
        while let Some((graph, checks)) = self.choosing_unverified(sampler, left)? {
            self.gpu().compile(graph.kernels())?;
            match first_use::ensure(self.gpu(), &steps::needs(&checks, &[&graph]), &mut |_, _| {})? {
                Ensured::Passed => return Ok(Some(graph)),
                Ensured::Replaced(found) => self.notices.extend(found.notices(self.gpu())),
            }
        }
        Ok(None)
    }

    fn choosing_unverified(
        &self,
        sampler: &mut Sampler,
        left: usize,
    ) -> Result<Option<(Graph, Checks)>, EngineError> {
        let (gpu, vocab) = (self.gpu(), self.model.spec().vocab);
        let options = sampler.options().clone();
        let (variants, likeliest) = (Variants::of(gpu), options.temperature == 0.0);
        let fits = likeliest || (1..=TOP_K).contains(&options.top_k) && vocab >= TOP_K && variants.sample;
        let back = options.repeat_last;
        if !fits || !variants.advance || sampler.penalizes() && (back > penalize::MOST || !variants.penalize)
        {
            return Ok(None);
        }
        let Buffers { tokens, logits, top, best, choices, state, .. } = &self.buffers;
        let mut all = Steps::default();
        let cols = vocab as u32;
        if sampler.penalizes() {
            let mut said = self.fed.clone();
            said.resize(self.sizes.context, 0);
            let said = gpu.upload("said", bytemuck::cast_slice(&said))?;
            let params =
                penalize::Params { window: back as u32, vocab: cols, penalty: options.repeat_penalty };
            let buffers = Penalize { tokens, said: &said, logits, state };
            all.push(penalize::step(gpu, buffers, params)?, penalize::checks_of);
        }
        if likeliest {
            // Without a penalty the forward pass has chosen.
            if sampler.penalizes() {
                let params = argmax::Params { cols, stride: cols };
                let step = argmax::step(gpu, 1, logits, best, params)?;
                all.push(step, || argmax::checks_of(gpu.facts()));
            }
        } else {
            let params = top_k::Params { cols, k: TOP_K as u32 };
            all.push(top_k::step(gpu, logits, top, params)?, top_k::checks_of);
            let mut draws = vec![0.0; self.pos];
            draws.extend(sampler.draws(left.min(self.sizes.context - self.pos).max(1)));
            let draws = gpu.upload("draws", bytemuck::cast_slice(&draws))?;
            let params = sample::Params {
                k: options.top_k as u32,
                top_p: options.top_p,
                min_p: options.min_p,
                // Where f32 ends, only the most likely is left long before.
                inv_temperature: (1.0 / options.temperature).min(sample::COLDEST),
            };
            let chosen = Sample { top, draws: &draws, best, state };
            all.push(sample::step(gpu, chosen, params)?, sample::checks_of);
        }
        all.push(advance::step(gpu, Advance { best, choices, tokens, state })?, advance::checks_of);
        let graph = all.take();
        Ok(Some((graph, all.checks)))
    }

    /// The state of a step `ahead` positions beyond this one.
    pub(super) fn state_ahead(&self, ahead: usize) -> State {
        State { pos: (self.pos + ahead) as u32, n_tokens: 1, ..State::default() }
    }

    /// Submits `count` steps from such a one on, [`Session::choosing`] after each; choices go to `readback`. `id`: the token to
    /// feed first, where no earlier step chooses it.
    pub(super) fn submit_ahead(
        &self,
        id: Option<u32>,
        (ahead, count): (usize, usize),
        choosing: &Graph,
        readback: &Readback,
    ) -> Result<Pending, EngineError> {
        let Buffers { state, tokens, choices, .. } = &self.buffers;
        let run = self.state_ahead(ahead);
        if let Some(id) = id {
            self.gpu().write(tokens, 0, bytemuck::bytes_of(&id));
            self.gpu().write(state, 0, bytemuck::bytes_of(&run));
        }
        let graphs = [&self.graphs.decode, choosing];
        Ok(self.gpu().run_ahead(&graphs, (run, count as u32), (choices, Best::BYTES as u64), readback)?)
    }

    /// The greedy choice after [`Session::feed`] with [`Logits::Last`].
    pub fn greedy(&self) -> Result<u32, EngineError> {
        let bytes = self.gpu().read(&self.buffers.best)?;
        self.choice(&bytes)
    }

    pub(super) fn choice(&self, bytes: &[u8]) -> Result<u32, EngineError> {
        let best: Best = bytemuck::pod_read_unaligned(&bytes[..Best::BYTES]);
        self.check_finite(best.bad as usize)?;
        Ok(best.index)
    }

    fn check_finite(&self, bad: usize) -> Result<(), EngineError> {
        let (vocab, position) = (self.model.spec().vocab, self.pos.saturating_sub(1));
        if bad == 0 { Ok(()) } else { Err(EngineError::NotFinite { bad, vocab, position }) }
    }

    /// Feeds one token and returns all logits of the next one: one pass, and mostly one submit.
    pub fn step_logits(&mut self, id: u32) -> Result<Vec<f32>, EngineError> {
        self.check_tokens(&[id])?;
        self.prepare(Part::Step)?;
        let state = self.begin(&[id]);
        let bytes = self.model.spec().vocab as u64 * 4;
        let logits = &self.buffers.logits;
        let bytes = self.run_and_read(&[&self.graphs.decode], state, logits, bytes, &self.row)?;
        self.advance(&[id]);
        self.finite(&bytes)
    }

    /// All logits after [`Session::feed`] (not after [`Session::generate`], which may have run ahead) with [`Logits::Last`]: `[vocab]` f32.
    pub fn logits(&self) -> Result<Vec<f32>, EngineError> {
        let mut row = self.buffers.logits.clone();
        row.bytes = (self.model.spec().vocab * 4) as u64;
        self.finite(&self.gpu().read(&row)?)
    }

    fn finite(&self, bytes: &[u8]) -> Result<Vec<f32>, EngineError> {
        let logits: Vec<f32> = floats(bytes);
        self.check_finite(logits.iter().filter(|v| !v.is_finite()).count())?;
        Ok(logits)
    }

    /// The [`TOP_K`] best (id, logit) after feeding, best first; `None` for tiny vocabularies.
    pub fn top(&self) -> Result<Option<Vec<(u32, f32)>>, EngineError> {
        let Some(top) = &self.graphs.top else { return Ok(None) };
        self.read_top(&[top], State::default()).map(Some)
    }

    /// Feeds one token and returns the [`TOP_K`] best (id, logit) for the next one, best first: one pass, and mostly one
    /// submit. `None`, with nothing fed, for tiny vocabularies.
    pub fn step_top(&mut self, id: u32) -> Result<Option<Vec<(u32, f32)>>, EngineError> {
        self.check_tokens(&[id])?;
        if self.graphs.top.is_none() {
            return Ok(None);
        }
        self.prepare(Part::Step)?;
        let state = self.begin(&[id]);
        self.advance(&[id]);
        let graphs: Vec<&Graph> = std::iter::once(&self.graphs.decode).chain(&self.graphs.top).collect();
        self.read_top(&graphs, state).map(Some)
    }

    fn read_top(&self, graphs: &[&Graph], state: State) -> Result<Vec<(u32, f32)>, EngineError> {
        let bytes = top_k::result_bytes(TOP_K);
        let read = self.run_and_read(graphs, state, &self.buffers.top, bytes, &self.small)?;
        let (items, bad) = top_k::read(&read);
        self.check_finite(bad as usize)?;
        Ok(items)
    }

    /// Feeds one chunk (at most [`Session::chunk`] tokens) and calls `each` with (index in `ids`, logits)
    /// for every token from `first` on.
    pub fn feed_all_logits(
        &mut self,
        ids: &[u32],
        first: usize,
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), EngineError> {
        self.check_tokens(ids)?;
        if ids.len() > self.sizes.chunk {
            let (expected, found) = (format!("at most {} at once", self.sizes.chunk), ids.len().to_string());
            return Err(EngineError::BadOption { option: "tokens", expected, found });
        }
        self.prepare(Part::Logits)?;
        let state = self.begin(ids);
        let started = Instant::now();
        self.gpu().run(&self.graphs.prefill, state)?;
        self.gpu().wait()?;
        self.graphs.prefill.took(state, started.elapsed());
        self.advance(ids);
        let vocab = self.model.spec().vocab;
        let stride = vocab.next_multiple_of(BLOCK);
        for from in (first..ids.len()).step_by(self.sizes.logits) {
            let to = ids.len().min(from + self.sizes.logits);
            let state = State { n_tokens: to as u32, first_logit: from as u32, ..state };
            self.gpu().write(&self.buffers.state, 0, bytemuck::bytes_of(&state));
            self.gpu().run(self.graphs.head_for((to - from) as u32), state)?;
            let mut rows = self.buffers.logits.clone();
            rows.bytes = ((to - from) * stride * 4) as u64;
            let read = floats(&self.gpu().read(&rows)?);
            for (i, row) in read.chunks_exact(stride).enumerate() {
                self.check_finite(row[..vocab].iter().filter(|v| !v.is_finite()).count())?;
                each(from + i, &row[..vocab]);
            }
        }
        Ok(())
    }

    pub(super) fn advance(&mut self, ids: &[u32]) {
        self.pos += ids.len();
        self.fed.extend(ids);
    }

    fn run_and_read(
        &self,
        graphs: &[&Graph],
        state: State,
        output: &Slice,
        bytes: u64,
        readback: &Readback,
    ) -> Result<Vec<u8>, EngineError> {
        let (read, times) = self.gpu().run_and_read(graphs, state, output, bytes, readback)?;
        self.times.set(times);
        Ok(read)
    }

    /// Writes tokens and state of a run; logits of its last token.
    fn begin(&self, ids: &[u32]) -> State {
        let n = ids.len() as u32;
        let state = State { pos: self.pos as u32, n_tokens: n, first_logit: n - 1, ..State::default() };
        self.gpu().write(&self.buffers.tokens, 0, bytemuck::cast_slice(ids));
        self.gpu().write(&self.buffers.state, 0, bytemuck::bytes_of(&state));
        state
    }
}

/// The graphs anew, with the variants of now.
fn rebuilt(model: &Model, buffers: &Buffers, sizes: Sizes) -> Result<Graphs, EngineError> {
    model.check_store()?;
    Graphs::build(model.gpu(), model.spec(), model.weights(), buffers, sizes)
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // A driver must not be compiling when the process ends.
        self.compiling.take().map(JoinHandle::join);
        pipelines::keep(self.gpu());
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
