//! How much work one submit may hold: a driver that waits longer than 2 s (Windows) or 5 s for a submit takes the GPU for
//! hung, and a laptop's screen stands still meanwhile. What a graph took the last time tells.

use std::iter::Peekable;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::gpu::graph::{Graph, State, Step};

/// What one submit may take, seconds. A single step may take longer: it is not divided.
const MOST_S: f64 = 0.1;
/// Bytes of work per second, as long as nothing is measured, of graphs for few tokens and for many, whose every byte is multiplied
/// with more of them: what slow adapters reach.
const UNMEASURED: [f64; 2] = [5e9, 5e8];

/// Bytes of work per second at the last runs of a graph, as bits of an f64; 0: nothing is known.
#[derive(Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    fn rate(&self, state: State) -> f64 {
        let measured = f64::from_bits(self.0.load(Ordering::Relaxed));
        match measured > 0.0 {
            true => measured,
            false => UNMEASURED[usize::from(state.n_tokens as usize > State::MAX_SEQUENCES)],
        }
    }
}

impl Step {
    /// Bytes that it moves through its kernel: weights once per workgroup's tokens.
    fn work(&self, state: State) -> f64 {
        if self.groups(state).is_none() {
            return 0.0;
        }
        let repeats: f64 = self.grid.iter().map(|extent| extent.repeats(state)).product();
        // Caches: all that the sequences of a step hold is read once, that of a chunk once per workgroup's tokens.
        let kv = self.kv.per_position as f64 * state.positions_seen(self.kv.window) as f64;
        let kv_repeats = if state.sequence == State::EACH { 1.0 } else { repeats };
        self.bytes as f64 * repeats + kv * kv_repeats
    }
}

impl Graph {
    /// Bytes that a run in this state moves through its kernels.
    fn work(&self, state: State) -> f64 {
        self.steps.iter().map(|step| step.work(state)).sum()
    }

    /// Notes that a run in this state took so long, from its first submit, or where it was submitted ahead from the end of the run
    /// before, to its end: later runs are cut by that. What seems faster is believed by and by, a factor of two at a time.
    pub fn took(&self, state: State, time: Duration) {
        let work = self.work(state);
        let rate = (work / time.as_secs_f64().max(1e-9)).min(2.0 * self.pace.rate(state));
        if work > 0.0 {
            self.pace.0.store(rate.to_bits(), Ordering::Relaxed);
        }
    }

    /// Notes that a run in this state took so long at most, which tells something only if it was thought to be slower.
    pub fn took_at_most(&self, state: State, time: Duration) {
        if self.work(state) > time.as_secs_f64() * self.pace.rate(state) {
            self.took(state, time);
        }
    }

    /// Is it known how fast it runs?
    pub fn has_pace(&self) -> bool {
        self.pace.0.load(Ordering::Relaxed) != 0
    }

    /// Seconds that a run in this state is likely to take; `None`: nothing is measured.
    pub fn likely_s(&self, state: State) -> Option<f64> {
        self.has_pace().then(|| self.work(state) / self.pace.rate(state))
    }

    /// Bytes of work that one submit of a run in this state may hold.
    pub(super) fn work_per_submit(&self, state: State) -> f64 {
        MOST_S * self.pace.rate(state)
    }
}

/// The next steps that one submit may hold, `most` bytes of work; at least one step that has work.
pub(super) fn piece<'a, 's: 'a>(
    steps: &'a mut Peekable<impl Iterator<Item = (&'s Step, State)>>,
    most: f64,
) -> impl Iterator<Item = (&'s Step, State)> + 'a {
    let mut sum = 0.0;
    std::iter::from_fn(move || {
        let (step, state) = steps.peek()?;
        let work = step.work(*state);
        if work > 0.0 && sum > 0.0 && sum + work > most {
            return None;
        }
        sum += work;
        steps.next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Access, AdapterChoice, Extent, Gpu, GpuOptions, KernelSpec, Shader};

    static COUNT: KernelSpec = KernelSpec {
        name: "count",
        wgsl: "@group(0) @binding(0) var<storage, read_write> y: array<atomic<u32>>;
            @compute @workgroup_size(1) fn main() { atomicAdd(&y[0], 1u); }",
        bindings: &[("y", Access::Write)],
        params: &[],
    };

    #[test]
    fn what_took_long_is_cut_into_submits() {
        let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default()).expect("device");
        let y = gpu.buffer("y", 16).expect("a buffer");
        let shader = Shader {
            spec: &COUNT,
            consts: vec![],
            snippets: vec![],
            bound_as: vec![],
            f16: false,
            subgroups: false,
        };
        // 0.1 GB for eight tokens.
        let grid = [Extent::Fixed(1), Extent::Fixed(1), Extent::TokensPer(8)];
        let step = |_| gpu.step("count", &shader, &[&y], (), grid).expect("a step").moving(100_000_000);
        let graph = Graph::new((0..20).map(step).collect());
        let one = State { n_tokens: 1, ..State::default() };
        let submits = |state| {
            let before = gpu.host_work();
            gpu.run(&graph, state).expect("runs");
            (gpu.host_work() - before).submits
        };
        // 2 GB, at 5 GB/s 0.4 s.
        assert_eq!(submits(one), 4, "before anything is measured");
        assert_eq!(submits(State { n_tokens: 8, ..one }), 4, "eight tokens share the weights");
        assert_eq!(submits(State { n_tokens: 16, ..one }), 10, "the next eight read them again");
        assert_eq!(submits(State { n_tokens: 17, ..one }), 20, "prompts begin slower");
        graph.took(one, Duration::from_secs(1));
        assert_eq!(submits(one), 10, "2 GB/s");
        graph.took(one, Duration::from_secs(100));
        assert_eq!(submits(one), 20, "one step per submit, however slow");
        graph.took(one, Duration::from_secs(1));
        assert_eq!(submits(one), 20, "not believed at once");
        let believed = (0..9).map(|_| {
            graph.took(one, Duration::from_millis(20));
            submits(one)
        });
        assert_eq!(believed.last(), Some(1), "100 GB/s");
        graph.took(one, Duration::from_secs(1));
        graph.took(one, Duration::ZERO);
        assert_eq!(submits(one), 5, "2 GB/s, and a moment that says nothing: 4 GB/s");
        graph.took_at_most(one, Duration::from_secs(1));
        assert_eq!(submits(one), 5, "no news");
        graph.took_at_most(one, Duration::from_millis(250));
        assert_eq!(submits(one), 3, "8 GB/s");
        // However it was cut, all of it ran: for up to eight tokens once, for 16 and 17 two and three times.
        let groups = 1 + 1 + 2 + 3 + 1 + 1 + 1 + 9 + 1 + 1 + 1;
        assert_eq!(gpu.read(&y).expect("read")[..4], (20u32 * groups).to_le_bytes());
    }
}
