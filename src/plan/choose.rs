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
    } else {
        None
    }
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
            figure(rival.decode_tok_s),
            figure(goal.min_tok_s.unwrap_or(0.0))
        ),
        Some(Flaw::TooLate) => format!(
            "{name} would fit but predicts {} s to the first token, over your {}",
            figure(rival.first_token_s),
            figure(goal.max_first_token_s.unwrap_or(0.0))
        ),
        Some(Flaw::TooFew) | None => format!("{name} is no better"),
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
        Aim::Latency => format!("the fastest for one sequence, {} tok/s", figure(chosen.decode_tok_s)),
        Aim::Throughput => format!("the most together, {} tok/s", figure(chosen.together_tok_s)),
        Aim::Cost => match chosen.usd_per_million_completion {
            Some(usd) => format!("the cheapest, ${} per million tokens", figure(usd)),
            None => {
                format!("the cheapest per token: the most together, {} tok/s", figure(chosen.together_tok_s))
            }
        },
    }
}

/// `weights of 13.5 GB, 7.2 GB available for them`
pub fn misfit_text(cell: &Cell) -> String {
    cell.misfit.as_ref().map_or_else(String::new, |misfit| {
        format!("{} of {}, {} available", misfit.part, bytes(misfit.bytes), bytes(misfit.available))
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
    let enough = fitting.filter(|(_, cell)| cell.batch >= users);
    let (index, cell) = match (goal.min_tok_s, goal.max_first_token_s) {
        (None, Some(_)) => enough.min_by(|a, b| a.1.first_token_s.total_cmp(&b.1.first_token_s)),
        (Some(_), _) => enough.max_by(|a, b| a.1.decode_tok_s.total_cmp(&b.1.decode_tok_s)),
        (None, None) => best(enough, Aim::Quality),
    }?;
    let reason = format!(
        "{}: {} tok/s, first token after {} s",
        cell_name(cell),
        figure(cell.decode_tok_s),
        figure(cell.first_token_s)
    );
    Some(Choice { index, reason })
}

/// Three significant digits.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => format!("{value}"),
        0.0 => "0".to_owned(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        v => {
            let digits = (2.0 - v.log10().floor()).clamp(0.0, 12.0) as usize;
            format!("{value:.digits$}")
        }
    }
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
