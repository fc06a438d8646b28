//! A type of its own for every matrix, within a budget of bytes.
//!
//! What counts of a type is the noise that it adds to a matrix's result, relative to that result:
//! ‖Ŵ − W‖² / ‖W‖², measured on the weights themselves. For inputs whose components are alike and independent
//! this is the noise-to-signal power of y = Wx, and one matrix's noise counts as much as another's whatever
//! their sizes: so small matrices (keys, values) get finer types than large ones. The sum over all matrices is
//! made least by marginal analysis (Fox 1966, "Discrete optimization via marginal analysis"): all begin
//! with the coarsest type, and the step that removes most noise per byte comes next, while it fits. Steps that
//! another one beats per byte are no candidates (the convex hull of bytes and noise).

use super::output::{Kind, Output};
use super::rows::squares;
use super::{ConvertError, Plan, Result};
use crate::base::DType;
use crate::formats::Archive;

/// Types to choose from, coarsest first. Rows that are no whole blocks take the next finer one.
pub const LADDER: [DType; 6] = [DType::Q4_0, DType::Q4K, DType::Q5K, DType::Q6K, DType::Q8_0, DType::F16];
/// The last of them.
pub const FINEST: DType = DType::F16;

/// What the file may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Bytes of the file.
    Bytes(u64),
    /// Bits of all tensors per weight.
    BitsPerWeight(f64),
}

/// One type of one matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rung {
    dtype: DType,
    bytes: u64,
    /// ‖Ŵ − W‖² / ‖W‖²
    noise: f64,
}

/// Is its type to be chosen?
fn is_free(output: &Output) -> bool {
    matches!(output.kind, Kind::Matrix | Kind::Outer)
}

/// Types that `output` may get, each once, fewest bytes first.
fn types(output: &Output) -> Vec<DType> {
    let mut types: Vec<DType> = LADDER.into_iter().map(|wanted| output.type_for(wanted)).collect();
    if output.from == DType::BF16 {
        // As many bytes as f16, and nothing is lost.
        types.iter_mut().filter(|t| **t == DType::F16).for_each(|t| *t = DType::BF16);
    }
    types.sort_by_key(|dtype| output.bytes(*dtype));
    types.dedup();
    types
}

/// Bytes of source that [`measure`] reads, for progress.
pub fn work_bytes(plan: &Plan) -> u64 {
    let work = |output: &Output| output.bytes(output.from) * types(output).len() as u64;
    plan.outputs.iter().filter(|output| is_free(output)).map(work).sum()
}

/// What every type of every matrix costs, in bytes and in noise.
pub struct Ladders(Vec<Vec<Rung>>);

/// Measures the ladders of `plan`'s matrices. `progress` gets bytes read, and returns false to cancel.
pub fn measure(archive: &Archive, plan: &Plan, progress: &mut dyn FnMut(u64) -> bool) -> Result<Ladders> {
    let free = plan.outputs.iter().filter(|output| is_free(output));
    free.map(|output| ladder(archive, plan, output, progress)).collect::<Result<Vec<_>>>().map(Ladders)
}

impl Ladders {
    /// Gives every matrix of `plan` its type, within the budget.
    pub fn choose(&self, plan: &mut Plan, budget: Budget) -> Result<()> {
        let overhead = plan.header_bytes()?;
        let fixed: u64 =
            plan.outputs.iter().filter(|o| !is_free(o)).map(|o| plan.padded_bytes(o, o.to)).sum();
        let room = match budget {
            Budget::Bytes(bytes) => bytes.saturating_sub(overhead + fixed),
            // Below 2⁵³, as both factors come from a file's size.
            Budget::BitsPerWeight(bits) => {
                ((plan.n_params() as f64 * bits / 8.0) as u64).saturating_sub(fixed)
            }
        };
        if self.take(plan, room) {
            return Ok(());
        }
        let least = self.least() + fixed;
        let (wanted, least) = match budget {
            Budget::Bytes(bytes) => (format!("{bytes} bytes"), format!("{} bytes", least + overhead)),
            Budget::BitsPerWeight(bits) => {
                let least = least as f64 * 8.0 / plan.n_params().max(1) as f64;
                // Rounded up: what is named can be had.
                (format!("{bits} bits per weight"), format!("{:.2}", (least * 100.0).ceil() / 100.0))
            }
        };
        Err(ConvertError::Unreachable { wanted, least })
    }

    /// Gives every matrix of `plan` its type, such that their noise is least among the choices that `is_fast` accepts; false
    /// where it accepts none. Of the choices that [`Ladders::choose`] makes for falling budgets the first one counts.
    pub fn choose_fast<E>(
        &self,
        plan: &mut Plan,
        is_fast: &mut dyn FnMut(&Plan) -> std::result::Result<bool, E>,
    ) -> std::result::Result<bool, E> {
        // A step more for one matrix changes little, but speed need not fall with every one: all are tried.
        for room in self.rooms().into_iter().rev() {
            self.take(plan, room);
            if is_fast(plan)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The room of the coarsest choice, and what each further step takes, in order.
    fn rooms(&self) -> Vec<u64> {
        let mut used = self.least();
        let mut rooms = vec![used];
        rooms.extend(steps(&self.0).into_iter().map(|(_, ix, at)| {
            used += self.0[ix][at + 1].bytes - self.0[ix][at].bytes;
            used
        }));
        rooms
    }

    fn least(&self) -> u64 {
        self.0.iter().map(|ladder| ladder[0].bytes).sum()
    }

    /// False, and nothing is changed, where not even the coarsest types fit.
    fn take(&self, plan: &mut Plan, room: u64) -> bool {
        let Some(chosen) = allocate(&self.0, room) else { return false };
        let free = plan.outputs.iter_mut().filter(|output| is_free(output));
        free.zip(&self.0).zip(chosen).for_each(|((output, ladder), ix)| output.to = ladder[ix].dtype);
        true
    }
}

fn ladder(
    archive: &Archive,
    plan: &Plan,
    output: &Output,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Vec<Rung>> {
    let rung = |dtype| -> Result<Rung> {
        let squares = squares(archive, output, dtype, progress)?;
        let noise = squares.relative_error().powi(2);
        Ok(Rung { dtype, bytes: plan.padded_bytes(output, dtype), noise })
    };
    types(output).into_iter().map(rung).collect::<Result<Vec<_>>>().map(hull)
}

/// Rungs that lie on the lower convex hull of (bytes, noise), fewest bytes first.
fn hull(mut rungs: Vec<Rung>) -> Vec<Rung> {
    rungs.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.noise.total_cmp(&b.noise)));
    let mut hull: Vec<Rung> = Vec::new();
    for rung in rungs {
        if hull.last().is_some_and(|last| rung.noise >= last.noise) {
            continue; // not smaller, not better
        }
        while let [.., before, last] = hull[..]
            && gain(&last, &rung) >= gain(&before, &last)
        {
            hull.pop();
        }
        hull.push(rung);
    }
    hull
}

/// Noise that a step removes per byte.
fn gain(from: &Rung, to: &Rung) -> f64 {
    (from.noise - to.noise) / (to.bytes - from.bytes).max(1) as f64
}

/// (gain, ladder, its rung before) of all steps, those that remove most noise per byte first. Gains fall along a hull, so
/// this order never asks for a ladder's later step before an earlier one.
fn steps(ladders: &[Vec<Rung>]) -> Vec<(f64, usize, usize)> {
    let mut steps: Vec<(f64, usize, usize)> = Vec::new();
    for (ix, ladder) in ladders.iter().enumerate() {
        let pairs = ladder.windows(2).enumerate();
        steps.extend(pairs.map(|(at, pair)| (gain(&pair[0], &pair[1]), ix, at)));
    }
    steps.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    steps
}

/// For each ladder the rung to take, together within `room` bytes; `None` where even the first rungs are more.
fn allocate(ladders: &[Vec<Rung>], room: u64) -> Option<Vec<usize>> {
    let mut chosen = vec![0; ladders.len()];
    let mut used: u64 = ladders.iter().map(|ladder| ladder[0].bytes).sum();
    if used > room {
        return None;
    }
    for (_, ix, at) in steps(ladders) {
        let cost = ladders[ix][at + 1].bytes - ladders[ix][at].bytes;
        // A step that does not fit ends its ladder; a smaller one elsewhere may still.
        if chosen[ix] == at && used + cost <= room {
            (chosen[ix], used) = (at + 1, used + cost);
        }
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rungs(rows: &[(u64, f64)]) -> Vec<Rung> {
        rows.iter().map(|&(bytes, noise)| Rung { dtype: DType::F16, bytes, noise }).collect()
    }

    #[test]
    fn only_the_convex_hull_counts() {
        let hull = hull(rungs(&[(10, 8.0), (10, 9.0), (20, 7.5), (30, 1.0), (40, 1.0), (50, 0.0)]));
        assert_eq!(hull, rungs(&[(10, 8.0), (30, 1.0), (50, 0.0)]));
    }

    #[test]
    fn the_steps_that_remove_most_noise_per_byte_come_first() {
        // A small matrix and a large one of the same noise: the small one gets the finer type.
        let ladders =
            [rungs(&[(10, 4.0), (20, 1.0), (40, 0.0)]), rungs(&[(100, 4.0), (200, 1.0), (400, 0.0)])];
        for (room, want) in [
            (109, None),
            (110, Some([0, 0])),
            (120, Some([1, 0])),
            (140, Some([2, 0])),
            (239, Some([2, 0])),
            (240, Some([2, 1])),
            (440, Some([2, 2])),
        ] {
            assert_eq!(allocate(&ladders, room), want.map(Vec::from), "{room}");
        }
    }

    /// At every size that the steps reach, no other choice of that size has less noise.
    #[test]
    fn no_other_choice_is_better() {
        let ladders = [
            rungs(&[(3, 5.0), (5, 2.0), (9, 0.5)]),
            rungs(&[(4, 7.0), (6, 3.5), (10, 0.1)]),
            rungs(&[(8, 1.0), (9, 0.4)]),
        ];
        let sum = |chosen: &[usize]| {
            let taken = || ladders.iter().zip(chosen).map(|(ladder, &ix)| ladder[ix]);
            (taken().map(|r| r.bytes).sum::<u64>(), taken().map(|r| r.noise).sum::<f64>())
        };
        for room in 15..=28 {
            let (used, noise) = sum(&allocate(&ladders, room).expect("15 bytes suffice"));
            for other in (0..18).map(|n| [n % 3, n / 3 % 3, n / 9]) {
                let (bytes, other_noise) = sum(&other);
                assert!(bytes > used || other_noise >= noise - 1e-12, "{room}: {other:?} beats {noise}");
            }
        }
    }
}
