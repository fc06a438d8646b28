//! A plan as text for people.

use std::fmt::Write;

use super::plan::{Alternative, Target};
use super::subject::Subject;
use crate::engine::quality::QualityReport;
use crate::plan::choose::{self, Choice, Goal, bytes, figure};
use crate::plan::formulas;
use crate::plan::machine::Machine;
use crate::plan::memory::Budget;
use crate::plan::table::{Cell, Table};

/// The whole answer.
pub(super) fn text(
    subject: &Subject,
    target: &Target,
    table: &Table,
    choice: Option<&Choice>,
    quality: Option<&QualityReport>,
) -> String {
    let mut out = head(subject, target, table);
    out.push('\n');
    out += &rows(table, choice, quality);
    let shown = choice.map_or(0, |choice| choice.index);
    if let (Some(choice), Some(cell)) = (choice, table.cells.get(shown)) {
        let _ = write!(out, "\n* {}\n", choice.reason);
        out += &memory(cell, table);
    }
    out
}

fn head(subject: &Subject, target: &Target, table: &Table) -> String {
    let first = &table.cells[0];
    let (bandwidth, arithmetic) = (table.read_bytes_s, target.machine.ops_s());
    let mut out = format!(
        "{} on {}\n  {} parameters, weights {} in {}, KV cache {} per token\n",
        subject.described.name,
        table.machine,
        count(table.params as f64),
        gb(first.memory.weights as f64),
        first.name,
        bytes(table.kv_bytes_per_token)
    );
    let known = match &target.machine {
        Machine::Measured(profile) => format!("measured, {}", when(profile.conditions.unix_time)),
        Machine::Spec(hardware) => hardware.source.clone(),
    };
    let arithmetic =
        if arithmetic.is_finite() { format!(", {}FLOPS", si(arithmetic)) } else { String::new() };
    let _ = writeln!(out, "  bandwidth {}/s{arithmetic} ({known})", gb(bandwidth));
    if let (Machine::Spec(hardware), Some(price)) = (&target.machine, table.price_per_hour) {
        // What the rates alone allow, as such figures are usually published: no overheads, an empty cache.
        let constants = hardware.constants();
        let ops = formulas::flops_per_token(table.params as f64);
        let prompt = formulas::usd_per_million(price, constants.ops_s / ops);
        let decode = constants.weight_bytes_s / first.memory.weights as f64;
        let _ = writeln!(
            out,
            "  cost at ${}/h from usable rates alone: ${} per million prompt tokens, ${} per million generated at \
             batch 1, ${} at batch 8",
            figure(price),
            figure(prompt),
            figure(formulas::usd_per_million(price, decode)),
            figure(formulas::usd_per_million(price, 8.0 * decode))
        );
    }
    let _ = writeln!(
        out,
        "  {} positions per sequence (--ctx); speeds behind a prompt of {} tokens",
        table.context, table.prompt
    );
    if let Some(cell) = table.cells.iter().find(|cell| cell.correction.is_some())
        && let Some(correction) = cell.correction
    {
        let _ = writeln!(
            out,
            "  decode speeds corrected by earlier runs here, {}: × {:.2} from {} runs (--no-history ignores them)",
            cell.name, correction.ratio, correction.runs
        );
    }
    out
}

fn rows(table: &Table, choice: Option<&Choice>, quality: Option<&QualityReport>) -> String {
    let priced = table.price_per_hour.is_some();
    let mut out = format!(
        "  {:7} {:>5} {:>10} {:>9} {:>9} {:>9} {:>9} {:>8}  {:10} {:>6}",
        "weights", "batch", "memory", "light t/s", "tok/s", "together", "prompt", "first s", "binds", "ridge"
    );
    if priced {
        let _ = write!(out, " {:>9} {:>9}", "$/M in", "$/M out");
    }
    if quality.is_some() {
        let _ = write!(out, " {:>8} {:>7}", "KL", "top-1");
    }
    out.push('\n');
    for (i, cell) in table.cells.iter().enumerate() {
        let mark = if choice.is_some_and(|choice| choice.index == i) { '*' } else { ' ' };
        let ridge = if cell.ridge_batch.is_finite() { figure(cell.ridge_batch) } else { "–".to_owned() };
        let _ = write!(
            out,
            "{mark} {:7} {:>5} {:>10} {:>9} {:>9} {:>9} {:>9} {:>8}  {:10} {ridge:>6}",
            cell.name,
            cell.batch,
            bytes(cell.memory.total()),
            figure(cell.light_tok_s),
            figure(cell.decode_tok_s),
            figure(cell.together_tok_s),
            figure(cell.prompt_tok_s),
            figure(cell.first_token_s),
            if cell.misfit.is_some() { "memory".to_owned() } else { cell.binds.to_string() },
        );
        if priced {
            let usd = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), figure);
            let _ = write!(
                out,
                " {:>9} {:>9}",
                usd(cell.usd_per_million_prompt),
                usd(cell.usd_per_million_completion)
            );
        }
        if let Some(report) = quality {
            let found = report.rows.iter().find(|row| row.quant.name() == cell.name);
            let _ = match found {
                Some(row) => write!(out, " {:>8.5} {:>5.1} %", row.kl_mean, row.top1 * 100.0),
                None => write!(out, " {:>8} {:>7}", "–", "–"),
            };
        }
        out.push('\n');
    }
    if let Some(report) = quality {
        let _ = writeln!(
            out,
            "  KL divergence from f16 in nats per token and agreement on the likeliest token, over {} tokens of {}",
            report.tokens, report.text
        );
    }
    out
}

/// Memory of the chosen cell by part, each with its source.
fn memory(cell: &Cell, table: &Table) -> String {
    let m = &cell.memory;
    let mut out = String::new();
    let mut row = |name: &str, n: u64, source: String| {
        let _ = writeln!(out, "  {name:12} {:>10}  {source}", bytes(n));
    };
    row(
        "weights",
        m.weights,
        format!(
            "{} parameters as {} in their planes{}",
            count(table.params as f64),
            cell.main_dtype,
            match cell.quant {
                Some(wish) if wish != cell.main_dtype => format!(" (rows are no whole blocks of {wish})"),
                _ => String::new(),
            }
        ),
    );
    row(
        "KV cache",
        m.kv,
        format!(
            "{} × {} positions × {} sequences",
            bytes(table.kv_bytes_per_token),
            table.context,
            cell.batch
        ),
    );
    row("activations", m.activations, "every buffer of a run, and the rotary table".to_owned());
    row("headroom", m.headroom, "staging and the driver, reserved".to_owned());
    row("in all", m.total(), available(&table.budget));
    out
}

fn available(budget: &Budget) -> String {
    match budget.bytes {
        Some(n) => format!("of {} ({})", bytes(n), budget.source),
        None => "how much there is nobody tells; --memory sets what to count on".to_owned(),
    }
}

/// Why there is no choice.
pub(super) fn refusal(
    table: &Table,
    goal: &Goal,
    alternative: Option<&Alternative>,
    smaller: Option<&str>,
) -> String {
    let fits = table.cells.iter().any(|cell| cell.misfit.is_none());
    let smallest = table.cells.iter().min_by_key(|cell| cell.memory.total());
    let what = match (fits, smallest) {
        (false, Some(cell)) => format!(
            "nothing fits: even {} needs {} {}; too large are {}",
            choose::cell_name(cell),
            bytes(cell.memory.total()),
            available(&table.budget),
            choose::misfit_text(cell)
        ),
        _ => {
            let mut wishes = Vec::new();
            wishes.extend(goal.min_tok_s.map(|v| format!("{} tok/s", figure(v))));
            wishes.extend(goal.max_first_token_s.map(|v| format!("a first token within {} s", figure(v))));
            wishes.extend(goal.users.map(|n| format!("{n} sequences at once")));
            format!("nothing that fits gives {}", wishes.join(" and "))
        }
    };
    match alternative {
        Some(Alternative { context, reason }) if *context != table.context => {
            format!("{what}. The nearest that fits: --ctx {context}, {reason}")
        }
        Some(Alternative { reason, .. }) => format!("{what}. The nearest: {reason}"),
        None => match smaller {
            Some(smaller) => format!("{what}. The nearest that fits is a smaller model, such as {smaller}"),
            None => format!("{what}. No published shape fits either: a machine with more memory"),
        },
    }
}

fn gb(n: f64) -> String {
    format!("{} GB", figure(n / 1e9))
}

/// `6.74 B`
fn count(n: f64) -> String {
    match n {
        n if n >= 1e9 => format!("{} B", figure(n / 1e9)),
        n => format!("{} M", figure(n / 1e6)),
    }
}

/// `312 T`
fn si(n: f64) -> String {
    if n >= 1e12 { format!("{} T", figure(n / 1e12)) } else { format!("{} G", figure(n / 1e9)) }
}

/// How long ago.
fn when(unix_time: u64) -> String {
    match super::unix_time().saturating_sub(unix_time) {
        s if s < 120 => "just now".to_owned(),
        s if s < 7200 => format!("{} minutes ago", s / 60),
        s if s < 172_800 => format!("{} hours ago", s / 3600),
        s => format!("{} days ago", s / 86_400),
    }
}
