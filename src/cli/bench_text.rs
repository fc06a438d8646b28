//! Results of `anygpu bench`: llama-bench's columns and JSON keys, and ours behind them.

use std::fmt::Write;

use serde::Serialize;

use super::about::{Adapter, Program, System};
use super::columns::{WIDTH, shortened};
use super::open::bytes;
use super::plan_text::count;
use super::subject::Subject;
use crate::bench::speed::{Samples, Test};
use crate::engine::Model;
use crate::plan::choose::figure;
use crate::plan::machine::Machine;
use crate::plan::memory;

/// One test as llama-bench writes it (its keys first), and what it does not tell.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    build_commit: &'static str,
    build_number: u32,
    cpu_info: String,
    gpu_info: String,
    backends: String,
    model_filename: String,
    model_type: String,
    model_size: u64,
    model_n_params: u64,
    n_batch: usize,
    n_ubatch: usize,
    n_threads: usize,
    type_k: &'static str,
    type_v: &'static str,
    n_gpu_layers: usize,
    flash_attn: bool,
    devices: String,
    n_prompt: usize,
    n_gen: usize,
    n_depth: usize,
    test_time: String,
    avg_ns: u64,
    stddev_ns: u64,
    avg_ts: f64,
    stddev_ts: f64,
    samples_ns: Vec<u64>,
    samples_ts: Vec<f64>,
    // From here on ours.
    backend_api: String,
    driver: String,
    anygpu_version: &'static str,
    anygpu_kernels: &'static str,
    anygpu_build: &'static str,
    os: &'static str,
    os_version: Option<String>,
    arch: &'static str,
    system_memory: u64,
    adapter_kind: String,
    adapter_features: String,
    adapter_memory: Option<u64>,
    max_buffer: u64,
    max_binding: u64,
    n_sequences: usize,
    activations: &'static str,
    median_ts: f64,
    bytes_per_step: u64,
    avg_gbs: f64,
    peak_gbs: Option<f64>,
    pct_peak: Option<f64>,
    pct_arithmetic: Option<f64>,
    pred_ts: Option<f64>,
    pred_ratio: Option<f64>,
    dispatches: usize,
    host_us: f64,
    compile_s: f64,
    pipelines_s: f64,
}

impl Record {
    /// Puts together what is known of a test.
    pub(super) fn new(
        subject: &Subject,
        model: &Model,
        samples: Samples,
        machine: Option<&Machine>,
        predicted_s: Option<f64>,
    ) -> Record {
        let (facts, sizes, spec) = (model.gpu().facts(), model.sizes(), model.spec());
        let Test { n_prompt, n_gen, n_depth, batch } = samples.test;
        let rates = samples.rates();
        let (avg_ts, stddev_ts) = mean_and_deviation(&rates);
        let ns: Vec<f64> = samples.seconds.iter().map(|s| s * 1e9).collect();
        let (avg_ns, stddev_ns) = mean_and_deviation(&ns);
        let median_s = samples.median_s();
        let median_ts = samples.tokens() as f64 / median_s;
        let weights = model.step_weight_bytes();
        let kv = memory::kv_bytes_per_token(spec, sizes.kv);
        // Reads of one step: the weights once, K and V of every sequence; of a prompt: the weights per chunk.
        let (bytes_per_step, steps) = match n_gen {
            0 => (weights, n_prompt.div_ceil(sizes.chunk)),
            n => (weights + kv * (batch * (n_depth + n / 2)) as u64, n),
        };
        let avg_gbs = bytes_per_step as f64 * steps as f64 / median_s / 1e9;
        let peak_gbs = machine.map(|machine| machine.read_bytes_s() / 1e9);
        let ops = 2.0 * spec.n_params() as f64 * samples.tokens() as f64 / median_s;
        let peak_ops = machine.map(Machine::ops_s).filter(|ops| ops.is_finite());
        let pred_ts = predicted_s.map(|s| samples.tokens() as f64 / s);
        let (program, system, adapter) = (Program::this(), System::this(), Adapter::of(model.gpu()));
        Record {
            build_commit: program.commit.unwrap_or("unknown"),
            build_number: 0,
            cpu_info: system.cpu,
            gpu_info: facts.name.clone(),
            backends: "wgpu".to_owned(),
            model_filename: subject.described.name.clone(),
            model_type: format!("{} {}", spec.architecture, model.main_dtype()),
            model_size: model.needs().weights,
            model_n_params: spec.n_params(),
            n_batch: sizes.chunk,
            n_ubatch: sizes.chunk,
            n_threads: system.cpu_threads,
            type_k: sizes.kv.name(),
            type_v: sizes.kv.name(),
            n_gpu_layers: spec.n_layers,
            flash_attn: true,
            devices: facts.id(),
            n_prompt,
            n_gen,
            n_depth,
            test_time: utc_now(),
            avg_ns: avg_ns as u64,
            stddev_ns: stddev_ns as u64,
            avg_ts,
            stddev_ts,
            samples_ns: ns.iter().map(|v| *v as u64).collect(),
            samples_ts: rates,
            backend_api: facts.backend.clone(),
            driver: adapter.driver(),
            anygpu_version: program.version,
            anygpu_kernels: program.kernels,
            anygpu_build: program.build,
            os: system.os,
            os_version: system.os_version,
            arch: system.arch,
            system_memory: system.memory_bytes,
            adapter_kind: facts.kind.to_string(),
            adapter_features: adapter.features(),
            adapter_memory: facts.memory_bytes,
            max_buffer: facts.max_buffer_bytes,
            max_binding: facts.max_binding_bytes,
            n_sequences: batch,
            activations: sizes.activations.name(),
            median_ts,
            bytes_per_step,
            avg_gbs,
            peak_gbs,
            pct_peak: peak_gbs.map(|peak| 100.0 * avg_gbs / peak),
            pct_arithmetic: peak_ops.map(|peak| 100.0 * ops / peak),
            pred_ts,
            pred_ratio: pred_ts.map(|pred| median_ts / pred),
            dispatches: samples.dispatches,
            host_us: samples.host_s * 1e6,
            compile_s: samples.compile_s,
            pipelines_s: samples.pipelines_s,
        }
    }
}

/// Mean and sample standard deviation, as llama-bench computes them.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, if values.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 })
}

/// `pp512`, `tg128 @ d1024`, `tg128 × 4`
pub(super) fn test_name(test: &Test) -> String {
    let mut name = match test.n_gen {
        0 => format!("pp{}", test.n_prompt),
        n => format!("tg{n}"),
    };
    if test.batch > 1 {
        let _ = write!(name, " × {}", test.batch);
    }
    if test.n_depth > 0 {
        let _ = write!(name, " @ d{}", test.n_depth);
    }
    name
}

/// Fewest columns of a model's name in [`markdown`].
const LEAST_NAME: usize = 12;

/// The table for people, of at most [`WIDTH`] columns: names of models are shortened to what is left.
pub(super) fn markdown(records: &[Record]) -> String {
    let head = ["model", "size", "params", "test", "t/s", "GB/s", "% bw", "predicted"];
    let mut rows: Vec<Vec<String>> = records
        .iter()
        .map(|r| {
            vec![
                r.name(),
                bytes(r.model_size),
                count(r.model_n_params as f64),
                r.test_name(),
                r.speed(),
                figure(r.avg_gbs),
                optional(r.pct_peak),
                optional(r.pred_ts),
            ]
        })
        .collect();
    let line =
        |rows: &[Vec<String>]| table(&head, rows).lines().next().map_or(0, |line| line.chars().count());
    let name = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
    let room = name.saturating_sub(line(&rows).saturating_sub(WIDTH)).max(LEAST_NAME);
    rows.iter_mut().for_each(|row| row[0] = shortened(&row[0], room));
    table(&head, &rows)
}

/// Every column of llama-bench, and all of ours.
pub(super) fn wide(records: &[Record]) -> String {
    let head = [
        "model",
        "size",
        "params",
        "backend",
        "ngl",
        "test",
        "t/s",
        "MB/step",
        "GB/s",
        "% bw",
        "% arith",
        "predicted",
        "ratio",
        "dispatches",
        "host µs",
        "compile s",
    ];
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|r| {
            vec![
                r.name(),
                bytes(r.model_size),
                count(r.model_n_params as f64),
                r.backend_api.clone(),
                r.n_gpu_layers.to_string(),
                r.test_name(),
                r.speed(),
                figure(r.bytes_per_step as f64 / 1e6),
                figure(r.avg_gbs),
                optional(r.pct_peak),
                optional(r.pct_arithmetic),
                optional(r.pred_ts),
                optional(r.pred_ratio),
                r.dispatches.to_string(),
                figure(r.host_us),
                figure(r.compile_s),
            ]
        })
        .collect();
    table(&head, &rows)
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), figure)
}

impl Record {
    /// `Llama-3.2-1B q4_k`
    fn name(&self) -> String {
        let dtype = self.model_type.rsplit(' ').next().unwrap_or_default();
        format!("{} {dtype}", self.model_filename.trim_end_matches(" model"))
    }

    fn test_name(&self) -> String {
        let (n_prompt, n_gen, n_depth, batch) = (self.n_prompt, self.n_gen, self.n_depth, self.n_sequences);
        test_name(&Test { n_prompt, n_gen, n_depth, batch })
    }

    fn speed(&self) -> String {
        format!("{:.2} ± {:.2}", self.avg_ts, self.stddev_ts)
    }
}

/// A markdown table with aligned columns; numbers to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |i: usize| {
        rows.iter().map(|row| row[i].chars().count()).chain([head[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(i, (cell, width))| match i {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().enumerate().map(|(i, width)| match i {
        0 => format!("{:-<width$}", ""),
        _ => format!("{:-<width$}:", "", width = width - 1),
    });
    let mut out = line(head.to_vec());
    out += &format!("| {} |\n", rule.collect::<Vec<_>>().join(" | "));
    for row in rows {
        out += &line(row.iter().map(String::as_str).collect());
    }
    out
}

/// One line.
pub(super) fn jsonl(record: &Record) -> serde_json::Result<String> {
    Ok(serde_json::to_string(record)? + "\n")
}

/// Comma-separated, all keys but the lists of samples, quoted as llama-bench does.
pub(super) fn csv(records: &[Record]) -> serde_json::Result<String> {
    let mut out = String::new();
    for record in records {
        let serde_json::Value::Object(fields) = serde_json::to_value(record)? else { continue };
        let fields: Vec<(String, serde_json::Value)> =
            fields.into_iter().filter(|(_, value)| !value.is_array()).collect();
        if out.is_empty() {
            let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
            let _ = writeln!(out, "{}", names.join(","));
        }
        let cell = |value: &serde_json::Value| match value {
            serde_json::Value::Null => "\"\"".to_owned(),
            serde_json::Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
            other => format!("\"{other}\""),
        };
        let _ =
            writeln!(out, "{}", fields.iter().map(|(_, value)| cell(value)).collect::<Vec<_>>().join(","));
    }
    Ok(out)
}

/// `2026-11-24T14:00:00Z`
pub(super) fn utc_now() -> String {
    utc(super::unix_time())
}

/// Civil date of a day count (Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
fn utc(unix_time: u64) -> String {
    let (days, rest) = (unix_time as i64 / 86_400 + 719_468, unix_time % 86_400);
    let era = days / 146_097;
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (unix_time, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_528_799, "2026-11-24T13:59:59Z"),
        ] {
            assert_eq!(utc(unix_time), expected);
        }
    }

    #[test]
    fn means() {
        assert_eq!(mean_and_deviation(&[2.0, 4.0, 6.0]), (4.0, 2.0));
        assert_eq!(mean_and_deviation(&[3.0]), (3.0, 0.0));
    }
}
