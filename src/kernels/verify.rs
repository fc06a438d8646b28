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
    /// Nothing failed, and something ran.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && !self.rows.is_empty()
    }
}

/// Runs `checks`; `progress` is called before each with the number done. Stops at a lost device.
pub fn run(gpu: &Gpu, checks: &[Check], mut progress: impl FnMut(usize, &Check)) -> Result<Report, GpuError> {
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    let mut report = Report { adapter: gpu.facts().id(), ..Report::default() };
    for (done, check) in checks.iter().enumerate() {
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
