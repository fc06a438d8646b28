//! The cost form: counts of work and constants of a machine → seconds, and which of them bind. The same function
//! fits measurements ([`super::fit`]) and plans, so a constant means the same in both.
//!
//! ```text
//! t = fixed + dispatches·dispatch + √((bytes/rate)² + (ops/rate)²) + positions·position + kv bytes/rate + small
//! ```
//!
//! Sources: weights and arithmetic as a roofline (Williams, Waterman & Patterson 2009; kipply, "Transformer inference
//! arithmetic"); K and V are not shared by a batch, so their bytes stand apart (zeux, "LLM inference speed of light");
//! a fixed time and one per position from Cursor's measurements of Llama-2-70B (`tests/planner.rs`).

use serde::{Deserialize, Serialize};

/// What one run of a model must do, as counts (one decode step of B sequences, or one prompt pass).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Bytes of weights read; a batch shares them.
    pub weight_bytes: f64,
    /// Additions and multiplications, each counted.
    pub ops: f64,
    /// Positions attended by the longest sequence.
    pub positions: f64,
    /// Bytes of K and V read by all sequences together.
    pub kv_bytes: f64,
    /// Kernel launches.
    pub dispatches: f64,
    /// Seconds of small steps already priced elsewhere (norms, activations, sampling).
    pub small_s: f64,
}

/// What a machine can do. A rate of `f64::INFINITY` costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constants {
    /// Seconds per run, whatever its size: submit, readback.
    pub fixed_s: f64,
    /// Seconds per dispatch beyond its work.
    pub dispatch_s: f64,
    /// Bytes per second at which weights are read.
    pub weight_bytes_s: f64,
    /// Operations per second.
    pub ops_s: f64,
    /// Seconds of attention latency per position, whatever the batch.
    pub position_s: f64,
    /// Bytes per second at which K and V are read.
    pub kv_bytes_s: f64,
}

/// Where the time of one run goes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// Submit and readback.
    pub fixed_s: f64,
    /// Launches of kernels.
    pub launches_s: f64,
    /// Reading the weights, were arithmetic free. Part of `matrices_s`.
    pub weights_s: f64,
    /// Arithmetic, were bytes free. Part of `matrices_s`.
    pub arithmetic_s: f64,
    /// [`blend`] of `weights_s` and `arithmetic_s`.
    pub matrices_s: f64,
    /// Latency of attention over the positions.
    pub positions_s: f64,
    /// Reading K and V.
    pub kv_s: f64,
    /// Small steps priced elsewhere.
    pub small_s: f64,
}

/// The largest part of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Reading the weights.
    Weights,
    /// Attention: reading K and V, and its latency per position.
    Kv,
    /// Arithmetic of the matrices.
    Arithmetic,
    /// Launches, submit and readback, and small steps: what no bandwidth helps against.
    Launches,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Bound::Weights => "weights",
            Bound::Kv => "kv",
            Bound::Arithmetic => "arithmetic",
            Bound::Launches => "launches",
        })
    }
}

impl Time {
    /// Seconds of the whole run.
    pub fn total(&self) -> f64 {
        self.fixed_s + self.launches_s + self.matrices_s + self.positions_s + self.kv_s + self.small_s
    }

    /// Parts of the whole: matrices, attention, and everything that no bandwidth helps against.
    pub fn shares(&self) -> [f64; 3] {
        let parts =
            [self.matrices_s, self.kv_s + self.positions_s, self.launches_s + self.fixed_s + self.small_s];
        parts.map(|part| part / self.total())
    }

    /// What most of the time goes to; of equals the first in the order of [`Bound`].
    pub fn binds(&self) -> Bound {
        let parts = [
            (Bound::Weights, self.weights_s),
            (Bound::Kv, self.kv_s + self.positions_s),
            (Bound::Arithmetic, self.arithmetic_s),
            (Bound::Launches, self.launches_s + self.fixed_s + self.small_s),
        ];
        parts
            .into_iter()
            .reduce(|most, part| if part.1 > most.1 { part } else { most })
            .expect("four parts")
            .0
    }
}

/// Seconds of `work` on a machine of these `constants`, by parts.
pub fn time(work: &Work, constants: &Constants) -> Time {
    let weights_s = over(work.weight_bytes, constants.weight_bytes_s);
    let arithmetic_s = over(work.ops, constants.ops_s);
    Time {
        fixed_s: constants.fixed_s,
        launches_s: work.dispatches * constants.dispatch_s,
        weights_s,
        arithmetic_s,
        matrices_s: blend(weights_s, arithmetic_s),
        positions_s: work.positions * constants.position_s,
        kv_s: over(work.kv_bytes, constants.kv_bytes_s),
        small_s: work.small_s,
    }
}

/// Seconds of matrices that need `weights_s` for their bytes and `arithmetic_s` for their operations: √(a² + b²).
/// The roofline's max(a, b) is a lower bound; near the ridge the two do not overlap perfectly. Far from it the two
/// forms agree. Largest difference √2, at the ridge.
pub fn blend(weights_s: f64, arithmetic_s: f64) -> f64 {
    weights_s.hypot(arithmetic_s)
}

/// Seconds for an amount at a rate; nothing takes no time at any rate.
fn over(amount: f64, rate: f64) -> f64 {
    if amount == 0.0 { 0.0 } else { amount / rate }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Constants = Constants {
        fixed_s: 0.0,
        dispatch_s: 0.0,
        weight_bytes_s: f64::INFINITY,
        ops_s: f64::INFINITY,
        position_s: 0.0,
        kv_bytes_s: f64::INFINITY,
    };
    const WORK: Work = Work {
        weight_bytes: 30.0,
        ops: 40.0,
        positions: 7.0,
        kv_bytes: 11.0,
        dispatches: 13.0,
        small_s: 0.0,
    };

    #[test]
    fn each_part_is_priced_by_its_own_constant() {
        assert_eq!(time(&WORK, &FREE).total(), 0.0);
        let row = |change: fn(&mut Constants), total: f64, bound| {
            let mut constants = FREE;
            change(&mut constants);
            let time = time(&WORK, &constants);
            assert_eq!((time.total(), time.binds()), (total, bound), "{constants:?}");
        };
        row(|c| c.weight_bytes_s = 10.0, 3.0, Bound::Weights);
        row(|c| c.ops_s = 10.0, 4.0, Bound::Arithmetic);
        row(|c| (c.weight_bytes_s, c.ops_s) = (10.0, 10.0), 5.0, Bound::Arithmetic);
        row(|c| c.kv_bytes_s = 11.0, 1.0, Bound::Kv);
        row(|c| c.position_s = 2.0, 14.0, Bound::Kv);
        row(|c| c.dispatch_s = 2.0, 26.0, Bound::Launches);
        row(|c| c.fixed_s = 2.0, 2.0, Bound::Launches);
        assert_eq!(time(&Work { small_s: 3.0, ..WORK }, &FREE).total(), 3.0);
    }

    #[test]
    fn nothing_to_do_takes_no_time_even_at_rate_zero() {
        let idle = Constants { weight_bytes_s: 0.0, ops_s: 0.0, kv_bytes_s: 0.0, ..FREE };
        let nothing = Work {
            weight_bytes: 0.0,
            ops: 0.0,
            positions: 0.0,
            kv_bytes: 0.0,
            dispatches: 0.0,
            small_s: 0.0,
        };
        assert_eq!(time(&nothing, &idle).total(), 0.0);
        assert_eq!(time(&WORK, &idle).total(), f64::INFINITY);
    }

    #[test]
    fn bounds_are_lower_case_words() {
        assert_eq!(serde_json::to_value(Bound::Kv).unwrap(), "kv");
        assert_eq!(Bound::Arithmetic.to_string(), "arithmetic");
    }
}
