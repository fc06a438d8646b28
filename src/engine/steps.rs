//! Steps of graphs as they are listed, and what the kernel of each has to pass before it runs: [`first_use`] verifies that.
//!
//! [`first_use`]: crate::engine::first_use

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::first_use::Need;
use crate::gpu::{Graph, Step};
use crate::kernels::check::Check;

/// What kernels have to pass before they run a model, by the label of the kernel.
pub type Checks = BTreeMap<String, Vec<Check>>;

/// Steps of graphs on the way, and what their kernels have to pass.
#[derive(Default)]
pub struct Steps {
    steps: Vec<Step>,
    /// Of all graphs that were taken, too.
    pub checks: Checks,
}

impl Steps {
    /// Adds a step, and what its kernel has to pass.
    pub fn push(&mut self, step: Step, checks: impl FnOnce() -> Vec<Check>) {
        self.checks.entry(step.kernel.label.clone()).or_insert_with(checks);
        self.steps.push(step);
    }

    /// The graph of the steps so far.
    pub fn take(&mut self) -> Graph {
        Graph::new(std::mem::take(&mut self.steps))
    }
}

/// What the kernels of these graphs have to pass, each once.
pub fn needs<'a>(checks: &'a Checks, graphs: &[&Graph]) -> Vec<Need<'a>> {
    let labels: BTreeSet<&String> =
        graphs.iter().flat_map(|graph| graph.kernels()).map(|kernel| &kernel.label).collect();
    let of = |label: &String| checks.get_key_value(label);
    labels.into_iter().filter_map(of).map(|(kernel, checks)| Need { kernel, checks }).collect()
}
