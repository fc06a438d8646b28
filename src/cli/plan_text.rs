//! A plan as text for people.

use std::fmt::Write;

use super::columns::wrapped;
use super::plan::Target;
use super::plan_instead::Alternative;
use super::subject::Subject;
use crate::engine::quality::QualityReport;
use crate::plan::choose::{self, Choice, Goal, bytes, figure};
use crate::plan::hardware::Hardware;
use crate::plan::machine::Machine;
use crate::plan::memory::Budget;
use crate::plan::table::{Cell, Table};
use crate::plan::{formulas, published};

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
        out.push('\n');
        out += &wrapped("* ", &choice.reason);
        out += &memory(cell, table);
    }
    out
}

fn head(subject: &Subject, target: &Target, table: &Table) -> String {
    let first = &table.cells[0];
    let (bandwidth, arithmetic) = (table.read_bytes_s, target.machine.ops_s());
    let mut out = wrapped("", &format!("{} on {}", subject.described.name, table.machine));
    out += &wrapped(
        "  ",
        &format!(
            "{} parameters, weights {} in {}, KV cache {} per token",
            count(table.params as f64),
            gb(first.memory.weights as f64),
            first.name,
            bytes(table.kv_bytes_per_token)
        ),
    );
    let known = match &target.machine {
        Machine::Measured(profile) => format!("measured, {}", when(profile.conditions.unix_time)),
        Machine::Spec(hardware) => hardware.source.clone(),
    };
    let arithmetic =
        if arithmetic.is_finite() { format!(", {}FLOPS", si(arithmetic)) } else { String::new() };
    out += &wrapped("  ", &format!("bandwidth {}/s{arithmetic} ({known})", gb(bandwidth)));
    if let Machine::Spec(hardware) = &target.machine {
        out += &of_data_sheet(hardware, table);
    }
    out += &wrapped(
        "  ",
        &format!(
            "{} positions per sequence (--ctx); speeds behind a prompt of {} tokens",
            table.context, table.prompt
        ),
    );
    out
}

/// Source of a budget that the user set.
pub(super) const MEMORY_FLAG: &str = "--memory";

/// What a data sheet does not settle: how much of it counts, which memory, what it costs.
fn of_data_sheet(hardware: &Hardware, table: &Table) -> String {
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    let mut out = wrapped(
        "  ",
        &format!(
            "kernels are assumed to reach {} and {} of these",
            percent(hardware.usable_bandwidth),
            percent(hardware.usable_ops)
        ),
    );
    let gib = hardware.memory_bytes as f64 / (1u64 << 30) as f64 / f64::from(hardware.count);
    let others: Vec<u64> = hardware.sizes_gib.iter().copied().filter(|size| *size as f64 != gib).collect();
    let counted = |gib: &u64| (*gib as f64 * hardware.usable_memory * f64::from(hardware.count)) as u64;
    let others = others.iter().map(|gib| format!("--memory {}GiB for {gib} GiB", counted(gib)));
    let others = others.collect::<Vec<_>>().join(", ");
    let told = match (others.is_empty(), hardware.shares_main_memory()) {
        _ if table.budget.source == MEMORY_FLAG => None,
        (false, _) => Some(others),
        (true, true) => Some("--memory counts on another amount".to_owned()),
        (true, false) => None,
    };
    if let Some(told) = told {
        let assumed = bytes(hardware.memory_bytes);
        let part = percent(hardware.usable_memory);
        out += &wrapped("  ", &format!("memory: {assumed} assumed, {part} of it for models; {told}"));
    }
    if let Some(price) = table.price_per_hour {
        // What the rates alone allow, as such figures are usually published: no overheads, an empty cache.
        let constants = hardware.constants();
        let ops = formulas::flops_per_token(table.params as f64);
        let prompt = formulas::usd_per_million(price, constants.ops_s / ops);
        let decode = constants.weight_bytes_s / table.cells[0].memory.weights as f64;
        out += &wrapped(
            "  ",
            &format!(
                "cost at ${}/h from usable rates alone: ${} per million prompt tokens, ${} per million generated at \
                 batch 1, ${} at batch 8",
                figure(price),
                figure(prompt),
                figure(formulas::usd_per_million(price, decode)),
                figure(formulas::usd_per_million(price, 8.0 * decode))
            ),
        );
    }
    out
}

/// Stands before a speed that earlier runs corrected.
const CORRECTED: &str = "~";
/// Stands for a speed that cannot be.
const ABOVE_LIGHT: &str = "?";

fn rows(table: &Table, choice: Option<&Choice>, quality: Option<&QualityReport>) -> String {
    let priced = table.price_per_hour.is_some();
    let mut out = format!(
        "  {:7} {:>5} {:>9} {:>9} {:>9} {:>7} {:>7}  {:10}",
        "weights", "batch", "memory", "tok/s", "together", "prompt", "first s", "binds"
    );
    out += &match priced {
        true => format!(" {:>8} {:>8}", "$/M in", "$/M out"),
        false => format!(" {:>9} {:>6}", "light t/s", "ridge"),
    };
    let _ = writeln!(out, " {:>8}", "quality");
    for (i, cell) in table.cells.iter().enumerate() {
        let mark = if choice.is_some_and(|choice| choice.index == i) { '*' } else { ' ' };
        let corrected = if cell.correction.is_some() { CORRECTED } else { "" };
        let learnt = |value: f64| match cell.is_above_light() {
            true => ABOVE_LIGHT.to_owned(),
            false => format!("{corrected}{}", figure(value)),
        };
        let _ = write!(
            out,
            "{mark} {:7} {:>5} {:>9} {:>9} {:>9} {:>7} {:>7}  {:10}",
            cell.name,
            cell.batch,
            bytes(cell.memory.total()),
            learnt(cell.decode_tok_s),
            learnt(cell.together_tok_s),
            figure(cell.prompt_tok_s),
            figure(cell.first_token_s),
            if cell.misfit.is_some() { "memory".to_owned() } else { cell.binds.to_string() },
        );
        let ridge = if cell.ridge_batch.is_finite() { figure(cell.ridge_batch) } else { "–".to_owned() };
        out += &match priced {
            true => format!(
                " {:>8} {:>8}",
                cell.usd_per_million_prompt.map_or_else(|| "–".to_owned(), figure),
                cell.usd_per_million_completion.map_or_else(|| "–".to_owned(), learnt)
            ),
            false => format!(" {:>9} {ridge:>6}", figure(cell.light_tok_s)),
        };
        let _ = writeln!(out, " {:>8}", quality_text(cell, quality));
    }
    out + &notes(table, quality)
}

/// What a cell's weights cost in quality: perplexity above that of 16 bits.
fn quality_text(cell: &Cell, quality: Option<&QualityReport>) -> String {
    let dtype = cell.quant.unwrap_or(cell.main_dtype);
    let ratio = match quality {
        _ if dtype.is_float() => Some(1.0),
        Some(report) => report.rows.iter().find(|row| row.quant == dtype).map(|row| row.ppl_ratio),
        None => published::find(dtype).map(|row| row.ppl_ratio()),
    };
    let percent = |ratio: f64| match (ratio - 1.0) * 100.0 {
        0.0 => "0 %".to_owned(),
        p if p.abs() < 0.995 => format!("{p:+.2} %"),
        p => format!("{p:+.1} %"),
    };
    ratio.map_or_else(|| "–".to_owned(), percent)
}

/// What signs and columns of the table mean.
fn notes(table: &Table, quality: Option<&QualityReport>) -> String {
    let mut out = String::new();
    if table.cells.iter().any(Cell::is_above_light) {
        let text = "would be faster than the bandwidth allows, so what was measured is too low: run `anygpu probe` \
                    while nothing else runs";
        out += &wrapped("  ? ", text);
    }
    let mut learnt: Vec<String> = Vec::new();
    for cell in &table.cells {
        let Some(correction) = cell.correction else { continue };
        let from = cell.correction_of.as_ref().unwrap_or(&cell.name);
        let of = cell.correction_of.as_ref().map_or(String::new(), |_| format!(" from {from}"));
        let text = format!("{}{of} × {:.2} ({} runs)", cell.name, correction.ratio, correction.runs);
        let known = learnt.iter().any(|other| other.starts_with(&format!("{} ", cell.name)));
        if !known {
            learnt.push(text);
        }
    }
    if !learnt.is_empty() {
        let text = format!(
            "corrected by what earlier runs here achieved: {}; prompt and first s are not (--no-history: none is)",
            learnt.join(", ")
        );
        out += &wrapped("  ~ ", &text);
    }
    let quality = match quality {
        Some(report) => format!(
            "quality: perplexity above that of 16 bits, measured over {} tokens of {} (all figures: --json)",
            report.tokens, report.text
        ),
        None => format!(
            "quality: perplexity above that of 16 bits as llama.cpp published it for {}; other models lose more or \
             less, and `anygpu quality` measures yours",
            published::MODEL
        ),
    };
    out + &wrapped("  ", &quality)
}

/// Memory of the chosen cell by part, each with its source.
fn memory(cell: &Cell, table: &Table) -> String {
    let m = &cell.memory;
    let mut out = String::new();
    let mut row = |name: &str, n: u64, source: String| {
        out += &wrapped(&format!("  {name:12} {:>10}  ", bytes(n)), &source);
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
        Some(n) => format!("of {} available ({})", bytes(n), budget.source),
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
            "nothing fits: even {} {}; {} are available ({})",
            choose::cell_name(cell),
            choose::misfit_text(cell),
            table.budget.bytes.map_or("unknown bytes".to_owned(), bytes),
            table.budget.source
        ),
        _ if goal.usable => format!(
            "too slow to use on {}: nothing that fits gives {} tok/s and reads {} prompt tokens per second{}, the least \
             where neither --min-tps nor --max-ttft says otherwise",
            table.machine,
            choose::USABLE_TOK_S,
            choose::USABLE_PROMPT_TOK_S,
            goal.users.map_or(String::new(), |n| format!(" for {n} sequences at once"))
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
        Some(Alternative { reason, .. }) => match smaller {
            Some(smaller) => format!("{what}. The nearest: {reason}. Fast enough is {smaller}"),
            None => format!("{what}. The nearest: {reason}"),
        },
        None => match smaller {
            Some(smaller) => format!("{what}. The nearest that fits is a smaller model, such as {smaller}"),
            None => format!("{what}. No published shape fits either: a machine with more memory"),
        },
    }
}

/// `16.1 GB`, `8.92 MB`
pub(super) fn gb(n: f64) -> String {
    if n < 1e9 { format!("{} MB", figure(n / 1e6)) } else { format!("{} GB", figure(n / 1e9)) }
}

/// `6.74 B`
pub(super) fn count(n: f64) -> String {
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

#[cfg(test)]
mod tests {
    use super::super::columns::WIDTH;
    use super::super::plan::{Setting, table_of};
    use super::*;
    use crate::base::{DType, KvType};
    use crate::plan::history::Correction;

    #[test]
    fn speeds_that_cannot_be_are_not_printed_and_corrected_ones_are_marked() {
        let subject = Subject::of("shape:Llama-3.2-1B").unwrap();
        let budget = Budget { bytes: Some(1 << 40), source: "test".to_owned(), binding_bytes: None };
        let target = Target::unpriced(budget, 256).unwrap();
        let setting = Setting {
            quants: vec![Some(DType::F16), Some(DType::Q8_0)],
            batches: vec![1],
            context: 1024,
            prompt: 256,
            kv: KvType::F16,
            chunk: None,
        };
        let mut table = table_of(&subject, &target, &setting).unwrap();
        let plain = rows(&table, None, None);
        assert!(!plain.contains('?') && !plain.contains('~'), "{plain}");
        (table.cells[0].decode_tok_s, table.cells[0].together_tok_s) = (366.0, 366.0);
        table.cells[0].light_tok_s = 343.0;
        for cell in &mut table.cells {
            cell.correction = Some(Correction { ratio: 0.71, runs: 14 });
        }
        table.cells[1].correction_of = Some("f16".to_owned());
        let text = rows(&table, None, None);
        assert!(!text.contains("366") && text.contains("? would be faster"), "{text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("run `anygpu probe`"), "{text}");
        assert!(words.contains("f16 × 0.71 (14 runs), q8_0 from f16 × 0.71 (14 runs)"), "{text}");
        let second = text.lines().find(|line| line.starts_with("  q8_0")).unwrap();
        assert_eq!(second.matches('~').count(), 2, "tok/s and together: {second}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
