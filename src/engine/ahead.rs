//! Decoding without waiting: the GPU feeds each choice to its own next step, a few steps are submitted before the first of
//! them is read, short ones several in a submit, and the host reads along. Between two steps the GPU has nothing to wait for.

use std::collections::VecDeque;
use std::time::Instant;

use crate::engine::{EngineError, Sampler, Session};
use crate::gpu::submit::{Pending, Times};
use crate::gpu::{Graph, Readback};

/// Submits before the oldest is read.
pub const AHEAD: usize = 2;
/// Most steps in a submit.
pub const TOGETHER: usize = 4;
/// What the steps of a submit may take together, seconds: their text comes at once. A submit costs the host about as much as
/// recording half a step, and between two some drivers let the GPU wait.
const TOGETHER_S: f64 = 0.02;
/// Bytes of a choice.
const BYTES: usize = 16;

/// Steps that were submitted together.
struct Flight {
    pending: Pending,
    readback: Readback,
    steps: usize,
}

/// Steps on the way.
pub(super) struct Ahead {
    /// Chooses after the logits and the most likely token are there; `None`: that one is the choice.
    choosing: Option<Graph>,
    free: Vec<Readback>,
    flying: VecDeque<Flight>,
    /// Choices of the last flight that nobody has asked for yet, and when that ran.
    ready: VecDeque<[u8; BYTES]>,
    times: Option<Times>,
    /// When the host heard of the last flights, since the GPU last waited, and how many steps they were.
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
        let free = (0..AHEAD).map(|_| gpu.readback((TOGETHER * BYTES) as u64)).collect();
        Ok(Some(Ahead {
            choosing,
            free,
            flying: VecDeque::new(),
            ready: VecDeque::new(),
            times: None,
            heard: VecDeque::with_capacity(AHEAD + 2),
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
        let steps = self.ready.is_empty().then(|| self.land(session, id, left)).transpose()?;
        let (Some(bytes), Some(times)) = (self.ready.pop_front(), self.times) else {
            return Err(EngineError::Cancelled);
        };
        session.advance(&[id]);
        Ok(Chosen { id: session.choice(&bytes)?, times, steps })
    }

    /// Submits what may be submitted, waits for the oldest flight and makes its choices ready; how many.
    fn land(&mut self, session: &Session<'_>, id: u32, left: usize) -> Result<usize, EngineError> {
        let most = left.min(session.context() - session.position()).max(1);
        let mut flying: usize = self.flying.iter().map(|flight| flight.steps).sum();
        while flying < most
            && let Some(readback) = self.free.pop()
        {
            let likely_s = session.graphs().decode.likely_s(session.state_ahead(flying));
            let together = likely_s.map_or(1, |seconds| (TOGETHER_S / seconds) as usize);
            let steps = together.clamp(1, TOGETHER).min(most - flying);
            let first = self.flying.is_empty().then_some(id);
            let pending = session.submit_ahead(first, (flying, steps), self.choosing.as_ref(), &readback)?;
            let [begun, returned] = pending.first;
            // Was the GPU through with the steps before when these came?
            let through = |before: &Flight| before.readback.done().is_some_and(|at| at <= begun);
            if let (true, Some(busy)) = (self.flying.back().is_none_or(through), self.busy) {
                self.idle_s += (returned - busy).as_secs_f64();
                self.heard.clear();
            }
            self.busy = Some(pending.last);
            self.flying.push_back(Flight { pending, readback, steps });
            flying += steps;
        }
        let Some(Flight { pending, readback, steps }) = self.flying.pop_front() else {
            return Err(EngineError::Cancelled);
        };
        let mut bytes = [0; TOGETHER * BYTES];
        let waiting = Instant::now();
        let gpu = session.model().gpu();
        let times = gpu.finish(pending, &readback, &mut bytes[..steps * BYTES])?;
        // The host hears of several flights at once, but of no more than are on the way.
        self.heard.push_back((times.done, steps));
        if self.heard.len() > AHEAD
            && let Some((since, _)) = self.heard.pop_front()
        {
            let steps: usize = self.heard.iter().map(|(_, steps)| steps).sum();
            let time = times.done.saturating_duration_since(since) / steps as u32;
            session.graphs().decode.took(session.state_ahead(0), time);
        }
        self.ready.extend(bytes.as_chunks::<BYTES>().0[..steps].iter().copied());
        self.times = Some(times);
        self.free.push(readback);
        if self.flying.back().is_some_and(|flight| flight.readback.done().is_none()) {
            self.busy = Some(waiting);
        }
        Ok(steps)
    }

    /// Seconds that the GPU had nothing to do between steps, at most: where the submit of a step began when the one before was
    /// done, from when the host last saw that one running to when the submit returned. What a driver does within its submit is
    /// not seen.
    pub(super) fn idle_s(&self) -> f64 {
        self.idle_s
    }
}
