//! Decoding without waiting: the GPU feeds each choice to its own next step, a few steps are submitted before the first of
//! them is read, and the host reads along. Between two steps the GPU has nothing to wait for.

use std::collections::VecDeque;
use std::time::Instant;

use crate::engine::{EngineError, Sampler, Session};
use crate::gpu::submit::{Pending, Times};
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
    /// When the host heard of the last results, since the GPU last waited.
    heard: VecDeque<Instant>,
    /// Until then at least the GPU was busy with the step that was submitted last.
    busy: Option<Instant>,
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
        Ok(Some(Ahead {
            choosing,
            free,
            flying: VecDeque::new(),
            heard: VecDeque::with_capacity(AHEAD + 2),
            busy: None,
            idle_s: 0.0,
        }))
    }

    /// Feeds `id`, which is what the last step returned, and returns the choice of the next token, and when its step ran. At
    /// most `left` steps are of use, this one included. What was submitted beyond the last step that is asked for only touches
    /// positions that later steps write anew. After an error nothing more can be asked for.
    pub(super) fn step(
        &mut self,
        session: &mut Session<'_>,
        id: u32,
        left: usize,
    ) -> Result<(u32, Times), EngineError> {
        session.check_tokens(&[id])?;
        let gpu = session.model().gpu();
        let most = left.min(session.context() - session.position()).max(1);
        while self.flying.len() < most
            && let Some(readback) = self.free.pop()
        {
            let first = self.flying.is_empty().then_some(id);
            let pending =
                session.submit_ahead(first, self.flying.len(), self.choosing.as_ref(), &readback)?;
            let [begun, returned] = pending.first;
            // Was the GPU through with the step before when this one came?
            let through = |(_, readback): &(Pending, Readback)| readback.done().is_some_and(|at| at <= begun);
            if let (true, Some(busy)) = (self.flying.back().is_none_or(through), self.busy) {
                self.idle_s += (returned - busy).as_secs_f64();
                self.heard.clear();
            }
            self.busy = Some(pending.last);
            self.flying.push_back((pending, readback));
        }
        let Some((pending, readback)) = self.flying.pop_front() else {
            return Err(EngineError::Cancelled);
        };
        let mut bytes = [0; BYTES as usize];
        let waiting = Instant::now();
        let times = gpu.finish(pending, &readback, &mut bytes)?;
        // The host hears of several results at once, but of no more than are on the way.
        if self.heard.len() > AHEAD {
            let since = self.heard.pop_front().unwrap_or(times.done);
            let time = times.done.saturating_duration_since(since) / AHEAD as u32;
            session.graphs().decode.took(session.state_ahead(0), time);
        }
        self.heard.push_back(times.done);
        self.free.push(readback);
        if self.flying.back().is_some_and(|(_, readback)| readback.done().is_none()) {
            self.busy = Some(waiting);
        }
        session.advance(&[id]);
        Ok((session.choice(&bytes)?, times))
    }

    /// Seconds that the GPU had nothing to do between steps, at most: where the submit of a step began when the one before was
    /// done, from when the host last saw that one running to when the submit returned. What a driver does within its submit is
    /// not seen.
    pub(super) fn idle_s(&self) -> f64 {
        self.idle_s
    }
}
