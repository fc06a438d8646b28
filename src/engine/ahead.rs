//! Decoding without waiting: the GPU feeds each choice to its own next step, a few steps are submitted before the first of
//! them is read, and the host reads along. Between two steps the GPU has nothing to wait for.

use std::collections::VecDeque;
use std::time::Instant;

use crate::engine::{EngineError, Sampler, Session};
use crate::gpu::graph::Pending;
use crate::gpu::{Graph, Readback};

/// Steps that are submitted before the oldest is read.
pub const AHEAD: usize = 3;
/// Bytes of a choice.
const BYTES: u64 = 16;

/// Steps on the way.
pub(super) struct Ahead {
    /// Chooses after the logits and the most likely token are there; `None`: that one is the choice.
    choosing: Option<Graph>,
    free: Vec<Readback>,
    flying: VecDeque<(Pending, Readback)>,
    /// When the last result came.
    read: Option<Instant>,
    idle_s: f64,
}

impl Ahead {
    /// Nothing is on the way yet; at most `left` steps will be asked for. `None`: this sampler cannot choose on the GPU.
    pub(super) fn new(
        session: &Session<'_>,
        sampler: &mut Sampler,
        left: usize,
    ) -> Result<Option<Ahead>, EngineError> {
        let choosing = match sampler.is_greedy() {
            true => None,
            false => match session.choosing(sampler, left)? {
                Some(graph) => Some(graph),
                None => return Ok(None),
            },
        };
        let gpu = session.model().gpu();
        let free = (0..AHEAD).map(|_| gpu.readback(BYTES)).collect();
        Ok(Some(Ahead { choosing, free, flying: VecDeque::new(), read: None, idle_s: 0.0 }))
    }

    /// Feeds `id`, which is what the last step returned, and returns the choice of the next token. At most `left`
    /// steps are of use, this one included. What was submitted beyond the last step that is asked for only touches
    /// positions that later steps write anew. After an error nothing more can be asked for.
    pub(super) fn step(
        &mut self,
        session: &mut Session<'_>,
        id: u32,
        left: usize,
    ) -> Result<u32, EngineError> {
        session.check_tokens(&[id])?;
        let gpu = session.model().gpu();
        if let Some(read) = self.read
            && gpu.is_done()?
        {
            // The GPU finished everything at some time since then.
            self.idle_s += read.elapsed().as_secs_f64();
        }
        let most = left.min(session.context() - session.position()).max(1);
        while self.flying.len() < most
            && let Some(readback) = self.free.pop()
        {
            let first = self.flying.is_empty().then_some(id);
            let pending =
                session.submit_ahead(first, self.flying.len(), self.choosing.as_ref(), &readback)?;
            self.flying.push_back((pending, readback));
        }
        let Some((pending, readback)) = self.flying.pop_front() else {
            return Err(EngineError::Cancelled);
        };
        let bytes = gpu.finish(pending, &readback)?;
        self.free.push(readback);
        self.read = Some(Instant::now());
        session.advance(&[id]);
        session.choice(&bytes)
    }

    /// Seconds that the GPU had nothing to do between steps, at most.
    pub(super) fn idle_s(&self) -> f64 {
        self.idle_s
    }
}
