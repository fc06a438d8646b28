//! Decoding without waiting: the GPU feeds each choice to its own next step, a few steps are submitted before the first of
//! them is read, short ones several in a submit, and the host reads along. Between two steps the GPU has nothing to wait for.

use std::collections::VecDeque;
use std::time::Instant;

use crate::engine::{EngineError, Sampler, Session};
use crate::gpu::submit::{Pending, Times};
use crate::gpu::{Graph, Readback};
use crate::kernels::argmax::Best;

/// Flights before the oldest is read.
const AHEAD: usize = 2;
/// Most steps of a flight.
const TOGETHER: usize = 8;
/// What the steps of a flight may take together, seconds: their text comes at once. A submit costs the host about as much as
/// recording half a step, and between two submits some drivers let the GPU wait.
const TOGETHER_S: f64 = 0.02;

/// Steps that were submitted together.
struct Flight {
    pending: Pending,
    readback: Readback,
    steps: usize,
}

/// A choice as it was read; the rest as [`Chosen`] has it.
struct Landed {
    bytes: [u8; Best::BYTES],
    times: Times,
    steps: Option<usize>,
}

/// Steps on the way.
pub(super) struct Ahead {
    /// What follows the forward pass: [`Session::choosing`].
    choosing: Graph,
    free: Vec<Readback>,
    flying: VecDeque<Flight>,
    /// Choices of the last flight that nobody has asked for yet.
    ready: VecDeque<Landed>,
    /// When the GPU last waited for a flight, then when the host heard of others, and how many steps they were.
    heard: VecDeque<(Instant, usize)>,
    /// Until then at least the GPU was busy with the step that was submitted last.
    busy: Option<Instant>,
    idle_s: f64,
}

/// A choice.
pub(super) struct Chosen {
    /// The token.
    pub(super) id: u32,
    /// Of the flight it came with.
    pub(super) times: Times,
    /// Steps of that flight, if this is its first.
    pub(super) steps: Option<usize>,
}

impl Ahead {
    /// Nothing is on the way yet; at most `left` steps will be asked for. `None`: this sampler cannot choose on the GPU.
    pub(super) fn new(
        session: &mut Session<'_>,
        sampler: &mut Sampler,
        left: usize,
    ) -> Result<Option<Ahead>, EngineError> {
        let Some(choosing) = session.choosing(sampler, left)? else { return Ok(None) };
        let gpu = session.model().gpu();
        let free = (0..AHEAD).map(|_| gpu.readback((TOGETHER * Best::BYTES) as u64)).collect();
        Ok(Some(Ahead {
            choosing,
            free,
            flying: VecDeque::new(),
            ready: VecDeque::with_capacity(TOGETHER),
            heard: VecDeque::with_capacity(AHEAD + 1),
            busy: None,
            idle_s: 0.0,
        }))
    }

    /// Feeds `id`, which is what the last step returned, and returns the choice of the next token. At most `left` steps are of
    /// use, this one included. What was submitted beyond the last step that is asked for only touches positions that later
    /// steps write anew. After an error nothing more can be asked for.
    pub(super) fn step(
        &mut self,
        session: &mut Session<'_>,
        id: u32,
        left: usize,
    ) -> Result<Chosen, EngineError> {
        session.check_tokens(&[id])?;
        if self.ready.is_empty() {
            self.land(session, id, left)?;
        }
        let Some(Landed { bytes, times, steps }) = self.ready.pop_front() else {
            return Err(EngineError::Cancelled);
        };
        session.advance(&[id]);
        Ok(Chosen { id: session.choice(&bytes)?, times, steps })
    }

    /// Submits what may be submitted, waits for the oldest flight and makes its choices ready.
    fn land(&mut self, session: &Session<'_>, id: u32, left: usize) -> Result<(), EngineError> {
        let decode = &session.graphs().decode;
        let most = left.min(session.context() - session.position()).max(1);
        let mut flying: usize = self.flying.iter().map(|flight| flight.steps).sum();
        while flying < most
            && let Some(readback) = self.free.pop()
        {
            let likely_s = decode.likely_s(session.state_ahead(flying));
            let together = likely_s.map_or(1, |seconds| (TOGETHER_S / seconds) as usize);
            let steps = together.clamp(1, TOGETHER).min(most - flying);
            let first = self.flying.is_empty().then_some(id);
            let pending = session.submit_ahead(first, (flying, steps), &self.choosing, &readback)?;
            let [begun, returned] = pending.first;
            // Was the GPU through with the steps before when these came?
            let through = |before: &Flight| before.readback.done().is_some_and(|at| at <= begun);
            if let (true, Some(busy)) = (self.flying.back().is_none_or(through), self.busy) {
                self.idle_s += (returned - busy).as_secs_f64();
                self.heard.clear();
                self.heard.push_back((begun, 0));
            }
            self.busy = Some(pending.last);
            self.flying.push_back(Flight { pending, readback, steps });
            flying += steps;
        }
        let Some(Flight { pending, readback, steps }) = self.flying.pop_front() else {
            return Err(EngineError::Cancelled);
        };
        let mut bytes = [0; TOGETHER * Best::BYTES];
        let waiting = Instant::now();
        let gpu = session.model().gpu();
        let times = gpu.finish(pending, &readback, &mut bytes[..steps * Best::BYTES])?;
        let state = session.state_ahead(0);
        decode.took_at_most(state, times.done.saturating_duration_since(times.begun) / steps as u32);
        // The host may hear of several flights at once, but of no more than were on the way: the mean of as many tells.
        if self.heard.front().is_none_or(|(since, _)| times.done > *since) {
            self.heard.push_back((times.done, steps));
        }
        if self.heard.len() > AHEAD
            && let Some((since, _)) = self.heard.pop_front()
        {
            let steps: usize = self.heard.iter().map(|(_, steps)| steps).sum();
            decode.took(state, times.done.saturating_duration_since(since) / steps as u32);
        }
        let choices = bytes.as_chunks::<{ Best::BYTES }>().0[..steps].iter().enumerate();
        self.ready.extend(choices.map(|(i, bytes)| {
            let steps = (i == 0).then_some(steps);
            Landed { bytes: *bytes, times, steps }
        }));
        self.free.push(readback);
        if self.flying.back().is_some_and(|flight| flight.readback.done().is_none()) {
            self.busy = Some(waiting);
        }
        Ok(())
    }

    /// Seconds that the GPU had nothing to do between steps, at most: where the submit of a step began when the one before was
    /// done, from when the host last saw that one running to when the submit returned. What a driver does within its submit is
    /// not seen.
    pub(super) fn idle_s(&self) -> f64 {
        self.idle_s
    }
}
