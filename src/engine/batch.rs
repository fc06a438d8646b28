//! [`Batch`]: several sequences decoded together, one token of each per step, so that weights are read once
//! for all of them. The plain form: as many sequences as at the start, all of them in every step.

use std::time::Instant;

use crate::engine::EngineError;
use crate::engine::first_use::{self, Ensured};
use crate::engine::forward::{self, Buffers, Graphs, Sizes};
use crate::engine::model::Model;
use crate::engine::tables::Tables;
use crate::engine::{memory, pipelines};
use crate::gpu::graph::State;
use crate::gpu::{Gpu, Graph, Readback};
use crate::kernels::argmax::Best;
use crate::kernels::fill::{Mask, Pattern};
use crate::kernels::random;

/// Several sequences with a KV cache each. A step costs one pass and mostly one submit.
pub struct Batch<'m> {
    model: &'m Model,
    buffers: Buffers,
    graphs: Graphs,
    sizes: Sizes,
    positions: Vec<usize>,
    readback: Readback,
}

impl<'m> Batch<'m> {
    /// Allocates caches for `sequences` sequences and compiles the kernels.
    pub fn new(model: &'m Model, sequences: usize) -> Result<Batch<'m>, EngineError> {
        if !(1..=State::MAX_SEQUENCES).contains(&sequences) {
            let expected = format!("1 to {} sequences", State::MAX_SEQUENCES);
            return Err(EngineError::BadOption { option: "batch", expected, found: sequences.to_string() });
        }
        let (gpu, spec, one) = (model.gpu(), model.spec(), model.sizes());
        let chunk = one.chunk.max(sequences);
        let sizes = Sizes { sequences, chunk, logits: one.logits.max(sequences), ..one };
        forward::check_cache(gpu, spec, sizes)?;
        memory::check_session(gpu, spec, sizes, model.needs().weights)?;
        let tables = Tables::upload(gpu, spec, model.weights(), sizes.context)?;
        let buffers = Buffers::allocate(gpu, spec, sizes, tables)?;
        let graphs = Graphs::build(gpu, spec, model.weights(), &buffers, sizes)?;
        let readback = gpu.readback((Best::BYTES * sequences) as u64);
        let mut batch = Batch { model, buffers, graphs, sizes, positions: vec![0; sequences], readback };
        while !batch.prepare()? {
            model.check_store()?;
            batch.graphs = Graphs::build(gpu, spec, model.weights(), &batch.buffers, sizes)?;
        }
        pipelines::keep(gpu);
        Ok(batch)
    }

    /// Compiles and verifies the kernels; `false`: variants changed.
    fn prepare(&self) -> Result<bool, EngineError> {
        let used = [self.step_graph(), &self.graphs.prefill, &self.graphs.head];
        self.gpu().compile(used.into_iter().flat_map(Graph::kernels))?;
        let ensured = first_use::ensure(self.gpu(), &self.graphs.needs(&used), &mut |_, _| {})?;
        Ok(ensured == Ensured::Passed)
    }

    fn gpu(&self) -> &Gpu {
        self.model.gpu()
    }

    /// Tokens in each cache.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// The steps, for reports.
    pub fn graphs(&self) -> &Graphs {
        &self.graphs
    }

    /// The graph that [`Batch::step`] runs.
    pub fn step_graph(&self) -> &Graph {
        self.graphs.batch.as_ref().unwrap_or(&self.graphs.decode)
    }

    /// Feeds a prompt to one sequence, in chunks, and returns the greedy choice after it.
    pub fn feed(&mut self, sequence: usize, ids: &[u32]) -> Result<u32, EngineError> {
        self.check(sequence, ids)?;
        let end = self.positions[sequence] + ids.len();
        for chunk in ids.chunks(self.sizes.chunk) {
            let n_tokens = chunk.len() as u32;
            let pos = self.positions[sequence] as u32;
            let sequence_id = sequence as u32;
            let state =
                State { pos, n_tokens, first_logit: n_tokens - 1, sequence: sequence_id, ..State::default() };
            self.begin(chunk, state);
            let started = Instant::now();
            self.gpu().run(&self.graphs.prefill, state)?;
            self.positions[sequence] += chunk.len();
            // Only the last chunk's logits are of use.
            if self.positions[sequence] == end {
                self.gpu().run(&self.graphs.head, state)?;
            }
            self.gpu().wait()?;
            self.graphs.prefill.took(state, started.elapsed());
        }
        let best = self.gpu().read(&self.buffers.best)?;
        self.choice(&best[..Best::BYTES], sequence)
    }

    /// Feeds one token to every sequence and returns the greedy choices: one pass, and mostly one submit.
    pub fn step(&mut self, ids: &[u32]) -> Result<Vec<u32>, EngineError> {
        if ids.len() != self.positions.len() {
            let (expected, found) = (format!("{} tokens", self.positions.len()), ids.len().to_string());
            return Err(EngineError::BadOption { option: "tokens", expected, found });
        }
        for (sequence, id) in ids.iter().enumerate() {
            self.check(sequence, std::slice::from_ref(id))?;
        }
        let state = self.state();
        self.begin(ids, state);
        let (gpu, bytes) = (self.gpu(), (Best::BYTES * ids.len()) as u64);
        let (read, _) =
            gpu.run_and_read(&[self.step_graph()], state, &self.buffers.best, bytes, &self.readback)?;
        self.positions.iter_mut().for_each(|pos| *pos += 1);
        read.chunks_exact(Best::BYTES)
            .enumerate()
            .map(|(sequence, best)| self.choice(best, sequence))
            .collect()
    }

    /// The state of the next step.
    pub fn state(&self) -> State {
        let n_tokens = self.positions.len() as u32;
        if n_tokens == 1 {
            return State { pos: self.positions[0] as u32, n_tokens, ..State::default() };
        }
        let mut state = State { n_tokens, sequence: State::EACH, ..State::default() };
        state.positions.iter_mut().zip(&self.positions).for_each(|(to, pos)| *to = *pos as u32);
        state
    }

    /// Fills every cache with pseudo-random numbers and puts every sequence at `position`: for measuring at a
    /// depth without computing what leads there.
    pub fn pretend_position(&mut self, position: usize) -> Result<(), EngineError> {
        let mask = Mask::of_cache(self.sizes.kv);
        for (i, slice) in self.buffers.cache.iter().flatten().enumerate() {
            random::fill_words(self.gpu(), slice, &Pattern::plain(mask), i as u32)?;
        }
        self.positions.fill(position.min(self.sizes.context));
        Ok(())
    }

    /// Puts every sequence at `position`, whatever its cache holds.
    pub fn rewind(&mut self, position: usize) {
        self.positions.fill(position.min(self.sizes.context));
    }

    fn check(&self, sequence: usize, ids: &[u32]) -> Result<(), EngineError> {
        let vocab = self.model.spec().vocab;
        if ids.is_empty() {
            return Err(EngineError::EmptyPrompt { hint: "" });
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
            return Err(EngineError::BadToken { id: *id, vocab });
        }
        let Some(used) = self.positions.get(sequence).copied() else {
            let expected = format!("a sequence below {}", self.positions.len());
            return Err(EngineError::BadOption { option: "sequence", expected, found: sequence.to_string() });
        };
        if used + ids.len() > self.sizes.context {
            let (tokens, context) = (ids.len(), self.sizes.context);
            let trained = self.model.spec().max_context;
            return Err(EngineError::ContextFull { tokens, used, context, trained });
        }
        Ok(())
    }

    fn begin(&self, ids: &[u32], state: State) {
        self.gpu().write(&self.buffers.tokens, 0, bytemuck::cast_slice(ids));
        self.gpu().write(&self.buffers.state, 0, bytemuck::bytes_of(&state));
    }

    fn choice(&self, bytes: &[u8], sequence: usize) -> Result<u32, EngineError> {
        let best: Best = bytemuck::pod_read_unaligned(bytes);
        let (vocab, position) = (self.model.spec().vocab, self.positions[sequence].saturating_sub(1));
        match best.bad {
            0 => Ok(best.index),
            bad => Err(EngineError::NotFinite { bad: bad as usize, vocab, position }),
        }
    }
}
