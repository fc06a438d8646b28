//! Seconds per pass over some steps: the slope between N and 2N repeats by the wall clock, which cancels what a
//! submit costs. Warms up until consecutive windows agree.

use crate::gpu::graph::State;
use crate::gpu::{Gpu, GpuError, Step};
use crate::plan::profile::Reading;

/// Length of the shorter window.
const WINDOW_S: f64 = 0.012;
/// Most dispatches recorded at once: bounds the recording's memory.
const MAX_DISPATCHES: usize = 20_000;
/// Windows that must agree before measuring, relative.
const AGREE: f64 = 0.04;
/// Most windows spent on warming up.
const WARM_UPS: usize = 4;
/// A window that is long even so.
const LONG_S: f64 = 0.06;
/// Slopes that the median is taken of.
const SLOPES: usize = 9;

/// Measures on one device.
pub struct Clock<'g> {
    gpu: &'g Gpu,
}

/// Seconds per pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Median.
    pub seconds: f64,
    /// Half the distance between the quartiles, relative to the median.
    pub spread: f64,
}

impl Measured {
    /// `amount` per pass as a rate.
    pub fn rate(self, amount: f64) -> Reading {
        Reading { value: amount / self.seconds, spread: self.spread }
    }

    /// The time itself, over `n` equal things per pass.
    pub fn each(self, n: usize) -> Reading {
        Reading { value: self.seconds / n as f64, spread: self.spread }
    }
}

impl<'g> Clock<'g> {
    /// A clock for `gpu`.
    pub fn new(gpu: &'g Gpu) -> Clock<'g> {
        Clock { gpu }
    }

    /// Seconds that one pass over `steps` takes when passes follow one another without a gap.
    pub fn slope(&self, steps: &[Step], state: State) -> Result<Measured, GpuError> {
        self.slope_of(&steps.iter().collect::<Vec<_>>(), state)
    }

    /// As [`Clock::slope`], of steps picked from a graph.
    pub fn slope_of(&self, steps: &[&Step], state: State) -> Result<Measured, GpuError> {
        let time = |repeats: usize| self.gpu.time(steps, repeats, state);
        time(1)?; // the first run also compiles, on some drivers
        let most = (MAX_DISPATCHES / steps.len().max(1)).max(2) / 2;
        let mut repeats = 1;
        let mut last = time(1)?;
        while last < WINDOW_S && repeats < most {
            let wanted = (repeats as f64 * WINDOW_S / last.max(1e-6)).ceil() as usize;
            repeats = wanted.clamp(repeats + 1, 8 * repeats).min(most);
            last = time(repeats)?;
        }
        for _ in 0..WARM_UPS {
            let now = time(repeats)?;
            let agree = (now / last - 1.0).abs() <= AGREE;
            last = now;
            if agree {
                break;
            }
        }
        // Passes that are long by themselves vary less, and there is not all day.
        let n_slopes = if last > LONG_S { SLOPES / 2 + 1 } else { SLOPES };
        let mut slopes = Vec::with_capacity(n_slopes);
        for _ in 0..n_slopes {
            let (one, two) = (time(repeats)?, time(2 * repeats)?);
            // A disturbed pair may even have a falling slope: then the longer window counts whole.
            let slope = if two > one { (two - one) / repeats as f64 } else { two / (2 * repeats) as f64 };
            slopes.push(slope);
        }
        Ok(middle(&mut slopes))
    }

    /// Median of repeated calls that return seconds; for what is not a list of steps.
    pub fn median(
        &self,
        runs: usize,
        mut run: impl FnMut() -> Result<f64, GpuError>,
    ) -> Result<Measured, GpuError> {
        run()?;
        let mut all = (0..runs).map(|_| run()).collect::<Result<Vec<f64>, GpuError>>()?;
        Ok(middle(&mut all))
    }
}

/// Median and quartile spread.
fn middle(values: &mut [f64]) -> Measured {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
    let seconds = at(2);
    Measured { seconds, spread: (at(3) - at(1)) / 2.0 / seconds.max(1e-12) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_value_moves_neither_median_nor_spread() {
        let got = middle(&mut [1.0, 1.02, 0.98, 9.0, 1.01]);
        assert_eq!(got.seconds, 1.01);
        assert!((got.spread - 0.01 / 1.01).abs() < 1e-12, "{}", got.spread);
    }
}
