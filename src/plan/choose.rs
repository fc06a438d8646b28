//! The choice among a table's cells, by a goal, and the reason in one sentence.

use serde::{Deserialize, Serialize};

use crate::plan::table::{Cell, Table};

/// What matters most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aim {
    /// The best quantization that fits and meets the targets.
    #[default]
    Quality,
    /// The most tokens per second for one sequence.
    Latency,
    /// The most tokens per second together.
    Throughput,
    /// The least money per generated token.
    Cost,
}

/// Wishes and limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// What matters most.
    pub aim: Aim,
    /// Fewest tokens per second for every sequence.
    pub min_tok_s: Option<f64>,
    /// Longest wait for the first token, seconds.
    pub max_first_token_s: Option<f64>,
    /// Sequences to be served at once: fewer is no choice.
    pub users: Option<usize>,
    /// Is what is too slow to use no choice? See [`Goal::or_usable`].
    #[serde(default)]
    pub usable: bool,
}

/// Fewest tokens per second for every sequence that are of use when nobody named a target: as fast as people read.
pub const USABLE_TOK_S: f64 = 5.0;
/// Fewest tokens per second of a prompt that are of use when nobody named a target: 512 tokens within 26 s.
pub const USABLE_PROMPT_TOK_S: f64 = 20.0;

impl Goal {
    /// With the least speeds of use as limits, unless the goal names a speed or a time of its own.
    pub fn or_usable(self) -> Goal {
        Goal { usable: self.min_tok_s.is_none() && self.max_first_token_s.is_none(), ..self }
    }
}

/// A choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Index into the table's cells.
    pub index: usize,
    /// One sentence.
    pub reason: String,
}

/// Why a cell is no choice.
#[derive(Clone, Debug, PartialEq)]
enum Flaw {
    Misfit,
    TooSlow,
    TooLate,
    TooFew,
    Unusable,
}

fn flaw(cell: &Cell, goal: &Goal) -> Option<Flaw> {
    // Written so that a number that is none fails.
    let meets = |value: f64, limit: Option<f64>| limit.is_none_or(|limit| value >= limit);
    if !(cell.decode_tok_s > 0.0 && cell.decode_tok_s.is_finite() && cell.first_token_s.is_finite()) {
        Some(Flaw::TooSlow)
    } else if cell.misfit.is_some() {
        Some(Flaw::Misfit)
    } else if cell.batch < goal.users.unwrap_or(1) {
        Some(Flaw::TooFew)
    } else if !meets(cell.decode_tok_s, goal.min_tok_s) {
        Some(Flaw::TooSlow)
    } else if !meets(-cell.first_token_s, goal.max_first_token_s.map(|s| -s)) {
        Some(Flaw::TooLate)
    } else if goal.usable && !is_usable(cell) {
        Some(Flaw::Unusable)
    } else {
        None
    }
}

/// Is it fast enough for a conversation, whatever else is wished?
pub fn is_usable(cell: &Cell) -> bool {
    cell.decode_tok_s >= USABLE_TOK_S && cell.prompt_tok_s >= USABLE_PROMPT_TOK_S
}

/// A cell's speed for people; none where it would be above the speed of light.
fn rate(cell: &Cell, tok_s: f64) -> String {
    if cell.is_above_light() { "?".to_owned() } else { figure(tok_s) }
}

/// How good a cell is, the larger the better, compared in order.
fn score(cell: &Cell, aim: Aim) -> [f64; 3] {
    let quality = -(cell.rank as f64);
    let small = -(cell.batch as f64);
    match aim {
        Aim::Quality => [quality, small, cell.decode_tok_s],
        Aim::Latency => [cell.decode_tok_s, quality, small],
        Aim::Throughput | Aim::Cost => [cell.together_tok_s, quality, small],
    }
}

fn best<'t>(cells: impl Iterator<Item = (usize, &'t Cell)>, aim: Aim) -> Option<(usize, &'t Cell)> {
    cells.max_by(|a, b| {
        let (a, b) = (score(a.1, aim), score(b.1, aim));
        a.iter().zip(&b).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    })
}

/// The best cell without a flaw; `None` when every cell has one ([`nearest`] tells what to give up).
pub fn choose(table: &Table, goal: &Goal) -> Option<Choice> {
    let cells = || table.cells.iter().enumerate();
    let (index, chosen) = best(cells().filter(|(_, cell)| flaw(cell, goal).is_none()), goal.aim)?;
    // The cell that would be better were it not for its flaw: the next one by the same order.
    let better = |cell: &Cell| {
        let better = score(cell, goal.aim) > score(chosen, goal.aim);
        // Of better qualities those at the same batch: another one has other reasons.
        let alike = goal.aim != Aim::Quality || cell.batch == chosen.batch;
        better && alike && cell.batch >= goal.users.unwrap_or(1)
    };
    let rivals = cells().filter(|(_, cell)| better(cell));
    let rival = rivals.min_by(|a, b| {
        score(a.1, goal.aim).partial_cmp(&score(b.1, goal.aim)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let name = cell_name(chosen);
    let reason = match rival {
        Some((_, rival)) => format!("{name}: {}", but(rival, goal)),
        None => format!("{name}: {}", praise(chosen, table, goal)),
    };
    Some(Choice { index, reason })
}

/// `q4_k at batch 1`
pub fn cell_name(cell: &Cell) -> String {
    format!("{} at batch {}", cell.name, cell.batch)
}

fn but(rival: &Cell, goal: &Goal) -> String {
    let name = if rival.batch == 1 { rival.name.clone() } else { cell_name(rival) };
    match flaw(rival, goal) {
        Some(Flaw::Misfit) => format!("{name} would not fit ({})", misfit_text(rival)),
        Some(Flaw::TooSlow) => format!(
            "{name} would fit but predicts {} tok/s, under your {}",
            rate(rival, rival.decode_tok_s),
            figure(goal.min_tok_s.unwrap_or(0.0))
        ),
        Some(Flaw::TooLate) => format!(
            "{name} would fit but predicts {} s to the first token, over your {}",
            figure(rival.first_token_s),
            figure(goal.max_first_token_s.unwrap_or(0.0))
        ),
        Some(Flaw::Unusable) => format!("{name} would fit but is too slow to use ({})", slow_text(rival)),
        Some(Flaw::TooFew) | None => format!("{name} is no better"),
    }
}

/// `2.1 tok/s, under 5`; of a prompt's speed where that is what is too slow.
pub fn slow_text(cell: &Cell) -> String {
    match cell.decode_tok_s >= USABLE_TOK_S {
        true => format!("{} prompt tok/s, under {USABLE_PROMPT_TOK_S}", figure(cell.prompt_tok_s)),
        false => format!("{} tok/s, under {USABLE_TOK_S}", figure(cell.decode_tok_s)),
    }
}

fn praise(chosen: &Cell, table: &Table, goal: &Goal) -> String {
    let all_fit = table.cells.iter().all(|cell| cell.misfit.is_none());
    let known = table.budget.bytes.is_some();
    match goal.aim {
        Aim::Quality if !known => {
            "the best quality there is; whether it fits nobody tells (--memory)".to_owned()
        }
        Aim::Quality if all_fit => "the best quality there is, and it fits".to_owned(),
        Aim::Quality => "the best quality that fits".to_owned(),
        Aim::Latency => format!("the fastest for one sequence, {} tok/s", rate(chosen, chosen.decode_tok_s)),
        Aim::Throughput => format!("the most together, {} tok/s", rate(chosen, chosen.together_tok_s)),
        Aim::Cost => match chosen.usd_per_million_completion {
            Some(usd) => format!("the cheapest, ${} per million tokens", figure(usd)),
            None => {
                let together = rate(chosen, chosen.together_tok_s);
                format!("the cheapest per token: the most together, {together} tok/s")
            }
        },
    }
}

/// `needs 15.2 GiB of 11.2 GiB, weights alone 14 GiB`
pub fn misfit_text(cell: &Cell) -> String {
    cell.misfit.as_ref().map_or_else(String::new, |misfit| {
        let [part, needed, available] = [misfit.bytes, misfit.needed, misfit.available].map(bytes);
        match misfit.is_of_binding() {
            true => format!("{} of {part}, and the adapter binds at most {available} at once", misfit.part),
            false => format!("needs {needed} of {available}, {} alone {part}", misfit.part),
        }
    })
}

/// When nothing meets the goal: the cell that comes nearest, and what it misses.
pub fn nearest(table: &Table, goal: &Goal) -> Option<Choice> {
    let cells = || table.cells.iter().enumerate();
    let fits = |cell: &&Cell| cell.misfit.is_none();
    let fitting = cells().filter(|(_, cell)| fits(cell));
    // As many users as can be: all of them, or the largest batch that fits.
    let most = fitting.clone().map(|(_, cell)| cell.batch).max().unwrap_or(1);
    let users = goal.users.unwrap_or(1).min(most);
    // Backwards, because of equals the last is taken: the best quality.
    let enough = fitting.filter(|(_, cell)| cell.batch >= users).rev();
    let (index, cell) = match (goal.min_tok_s, goal.max_first_token_s) {
        (None, Some(_)) => enough.min_by(|a, b| a.1.first_token_s.total_cmp(&b.1.first_token_s)),
        (Some(_), _) => enough.max_by(|a, b| a.1.decode_tok_s.total_cmp(&b.1.decode_tok_s)),
        (None, None) if goal.usable => enough.max_by(|a, b| usability(a.1).total_cmp(&usability(b.1))),
        (None, None) => best(enough, Aim::Quality),
    }?;
    let reason = format!(
        "{}: {} tok/s, first token after {} s",
        cell_name(cell),
        rate(cell, cell.decode_tok_s),
        figure(cell.first_token_s)
    );
    Some(Choice { index, reason })
}

/// How near a cell comes to being of use: 1 or more is.
fn usability(cell: &Cell) -> f64 {
    (cell.decode_tok_s / USABLE_TOK_S).min(cell.prompt_tok_s / USABLE_PROMPT_TOK_S)
}

/// Smaller numbers are written with their exponent.
const LEAST_EXPONENT: i32 = -4;

/// Three significant digits.
pub fn figure(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return format!("{value}");
    }
    // The exponent after rounding, so that 9.997 has as many digits as 10.
    let rounded = format!("{value:.2e}");
    let exponent: i32 = rounded.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    if exponent < LEAST_EXPONENT {
        return rounded;
    }
    let digits = (2 - exponent).max(0) as usize;
    format!("{value:.digits$}")
}

/// `1.5 GiB`, `320 KiB`
pub fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0 && value.fract() > 0.05);
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (9.997, "10.0"),
            (99.96, "100"),
            (0.9999, "1.00"),
            (0.09996, "0.100"),
            (12345.6, "12346"),
            (-1.234, "-1.23"),
            (1e-4, "0.000100"),
            (7.97e-8, "7.97e-8"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn a_goal_of_ones_own_sets_the_least_speed_aside() {
        let none = Goal::default();
        assert!(none.or_usable().usable);
        assert!(Goal { users: Some(4), aim: Aim::Throughput, ..none }.or_usable().usable);
        assert!(!Goal { min_tok_s: Some(0.1), ..none }.or_usable().usable);
        assert!(!Goal { max_first_token_s: Some(600.0), ..none }.or_usable().usable);
    }
}
