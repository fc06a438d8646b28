//! Runs the checks on a device and sums them up per kernel.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::gpu::{Gpu, GpuError};
use crate::kernels::check::{Check, Want};

/// Results of one kernel × variant class.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Kernel name.
    pub kernel: String,
    /// Variant class.
    pub class: String,
    /// Checks run.
    pub checks: usize,
    /// Elements compared.
    pub elements: usize,
    /// Largest error ÷ tolerance.
    pub worst: f64,
    /// The case where that was.
    pub worst_case: String,
    /// Checks failed.
    pub failed: usize,
}

/// Results of all checks on one device.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Adapter id.
    pub adapter: String,
    /// Per kernel and class.
    pub rows: Vec<Row>,
    /// One line per failed check: what, where, found, expected.
    pub failures: Vec<String>,
    /// Classes with a failed check.
    pub failed_classes: BTreeSet<String>,
}

impl Report {
    /// One row per kernel: its classes together, the worst of them.
    pub fn kernels(&self) -> Vec<Row> {
        let mut kernels: Vec<Row> = Vec::new();
        for row in &self.rows {
            let Some(kernel) = kernels.iter_mut().find(|kernel| kernel.kernel == row.kernel) else {
                kernels.push(row.clone());
                continue;
            };
            kernel.checks += row.checks;
            kernel.elements += row.elements;
            kernel.failed += row.failed;
            // NaN is the worst of all.
            if row.worst.total_cmp(&kernel.worst).is_gt() {
                (kernel.worst, kernel.worst_case) = (row.worst, row.worst_case.clone());
                kernel.class.clone_from(&row.class);
            }
        }
        kernels
    }

    /// Names of the kernels with a failed check.
    pub fn wrong_kernels(&self) -> Vec<String> {
        self.kernels().into_iter().filter(|row| row.failed > 0).map(|row| row.kernel).collect()
    }

    /// Nothing failed, and something ran.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && !self.rows.is_empty()
    }
}

/// Runs `checks`; `progress` is called before each with the number done. Stops at a lost device.
pub fn run<'c>(
    gpu: &Gpu,
    checks: impl IntoIterator<Item = &'c Check>,
    mut progress: impl FnMut(usize, &Check),
) -> Result<Report, GpuError> {
    let mut rows: BTreeMap<(&str, &'c str), Row> = BTreeMap::new();
    let mut report = Report { adapter: gpu.facts().id(), ..Report::default() };
    for (done, check) in checks.into_iter().enumerate() {
        progress(done, check);
        let row = rows.entry((check.kernel, &check.class)).or_insert_with(|| Row {
            kernel: check.kernel.to_owned(),
            class: check.class.clone(),
            ..Row::default()
        });
        row.checks += 1;
        let failure = match check.run(gpu) {
            Ok(outcome) => {
                row.elements += outcome.elements;
                if outcome.worst >= row.worst {
                    row.worst = outcome.worst;
                    row.worst_case = check.case.clone();
                }
                (!outcome.passed()).then(|| {
                    let first = outcome.first_bad.map(|(i, got, want)| match want {
                        Want::Near { value, tolerance } => {
                            format!("first at element {i}: {got}, expected {value} ± {tolerance:.1e}")
                        }
                        Want::Untouched => {
                            format!("first at element {i}: {got} written where nothing belongs")
                        }
                    });
                    format!(
                        "{} of {} elements wrong; {}",
                        outcome.bad,
                        outcome.elements,
                        first.unwrap_or_default()
                    )
                })
            }
            Err(error @ GpuError::Lost { .. }) => return Err(error),
            Err(error) => Some(error.to_string()),
        };
        if let Some(failure) = failure {
            row.failed += 1;
            report.failed_classes.insert(check.class.clone());
            report.failures.push(format!("{} ({}) {}: {failure}", check.kernel, check.class, check.case));
        }
    }
    report.rows = rows.into_values().collect();
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, GpuOptions};
    use crate::kernels::variants;

    #[test]
    fn rows_of_a_kernel_are_summed_and_the_worst_is_kept() {
        let row = |kernel: &str, class: &str, worst: f64, failed| Row {
            kernel: kernel.into(),
            class: class.into(),
            checks: 2,
            elements: 10,
            worst,
            worst_case: format!("{class} {worst}"),
            failed,
        };
        let rows = vec![row("a", "a/x", 0.5, 0), row("a", "a/y", 0.7, 1), row("b", "b", 0.1, 0)];
        let report = Report { rows, ..Report::default() };
        let found = report.kernels();
        assert_eq!(found.len(), 2);
        let Row { checks, elements, worst, worst_case, failed, .. } = &found[0];
        assert_eq!((*checks, *elements, *worst, *failed), (4, 20, 0.7, 1));
        assert_eq!(worst_case, "a/y 0.7");
        assert_eq!(report.wrong_kernels(), ["a"]);
    }

    /// Cases are named for people: no Rust text, and no two alike.
    #[test]
    fn cases_have_names_that_people_read() {
        let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default()).expect("an adapter");
        let checks = variants::checks(&gpu);
        let mut seen = BTreeSet::new();
        for check in &checks {
            let case = &check.case;
            for word in ["{", "}", "::", "Run", "Each(", "Some(", "None", "true", "false", "\""] {
                assert!(!case.contains(word), "{}: {case}", check.kernel);
            }
            assert!(seen.insert((check.kernel, &check.class, case)), "{} {case} stands twice", check.kernel);
        }
        assert!(checks.len() > 500, "{}", checks.len());
        let named = |kernel: &str, part: &str| {
            checks.iter().any(|check| check.kernel == kernel && check.case.contains(part))
        };
        assert!(
            named("attend_decode", "attention, heads 9/3 of 64, rotary 64, q8_0 cache")
                || named("attend_decode", "attention, heads 9/3 of 64, rotary 64, interleaved, q8_0 cache")
        );
        assert!(named("attend_prefill", "70 tokens from 100, window 37"));
    }
}
