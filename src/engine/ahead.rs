//! Decoding without waiting: the GPU feeds each choice to its own next step, a few steps are submitted before the first of
//! them is read, and the host reads along. Between two steps the GPU has nothing to wait for.

use std::collections::VecDeque;
use std::time::Instant;

use crate::engine::{EngineError, Sampler, Session};
use crate::gpu::graph::Pending;
use crate::gpu::{Graph, Readback};
use crate::kernels::sample;

/// Steps that are submitted before the oldest is read.
const AHEAD: usize = 3;
/// Bytes of a choice.
const BYTES: u64 = 16;

/// Steps on the way.
pub struct Ahead {
    /// What chooses after the logits; nothing: the most likely token.
    choosing: Graph,
    free: Vec<Readback>,
    flying: VecDeque<(Pending, Readback)>,
    /// When the GPU was seen to have nothing left to do.
    idle_since: Option<Instant>,
    idle_s: f64,
}

impl Ahead {
    /// Nothing is on the way yet. `None`: this sampler cannot choose on the GPU.
    pub fn new(session: &Session<'_>, sampler: &mut Sampler) -> Result<Option<Ahead>, EngineError> {
        let choosing = match sampler.is_greedy() {
            true => Graph::default(),
            false if sampler.fits_top(sample::MOST) => match session.choosing(sampler)? {
                Some(graph) => graph,
                None => return Ok(None),
            },
            false => return Ok(None),
        };
        let gpu = session.model().gpu();
        let free = (0..AHEAD).map(|_| gpu.readback(BYTES)).collect();
        Ok(Some(Ahead { choosing, free, flying: VecDeque::new(), idle_since: None, idle_s: 0.0 }))
    }

    /// Feeds `id`, which is what the last step returned, and returns the choice of the next token. At most `left`
    /// steps are of use, this one included. What was submitted beyond the last step that is asked for only touches
    /// positions that later steps write anew.
    pub fn step(&mut self, session: &mut Session<'_>, id: u32, left: usize) -> Result<u32, EngineError> {
        session.check_tokens(&[id])?;
        let most = left.min(session.context() - session.position()).max(1);
        while self.flying.len() < most
            && let Some(readback) = self.free.pop()
        {
            let first = self.flying.is_empty().then_some(id);
            let pending = session.submit_ahead(first, self.flying.len(), &self.choosing, &readback)?;
            if let Some(since) = self.idle_since.take() {
                self.idle_s += since.elapsed().as_secs_f64();
            }
            self.flying.push_back((pending, readback));
        }
        let (pending, readback) = self.flying.pop_front().expect("one was submitted at least");
        let bytes = session.model().gpu().finish(pending, &readback)?;
        self.free.push(readback);
        if self.flying.is_empty() {
            self.idle_since = Some(Instant::now());
        }
        session.advance(&[id]);
        session.choice(&bytes)
    }

    /// Seconds that the GPU had nothing to do between steps.
    pub fn idle_s(&self) -> f64 {
        self.idle_s
    }
}
