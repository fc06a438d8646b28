//! What could be had instead, when a plan has no choice: a nearer cell, a shorter context, a smaller model.

use super::plan::{Setting, Target};
use super::subject::Subject;
use crate::base::DType;
use crate::model::shapes;
use crate::plan::choose::{self, Choice, Goal};
use crate::plan::memory::{self as plan_memory, Budget, Sizes};
use crate::plan::table::{QUANTS, Request, Table, table};
use crate::plan::weights::Matrices;

/// Shortest context that is offered when nothing else fits.
const SHORTEST_CONTEXT: usize = 256;

/// What could be had instead.
pub(super) struct Alternative {
    /// Positions per sequence.
    pub(super) context: usize,
    /// Which, and what it gives.
    pub(super) reason: String,
}

/// When nothing meets the goal: the nearest that fits, with a shorter context if it must be.
pub(super) fn alternative(
    make: &dyn Fn(&Setting) -> anyhow::Result<Table>,
    setting: &Setting,
    made: &Table,
    goal: &Goal,
) -> anyhow::Result<Option<Alternative>> {
    if let Some(Choice { reason, .. }) = choose::nearest(made, goal) {
        return Ok(Some(Alternative { context: setting.context, reason }));
    }
    let mut shorter = setting.clone();
    // Fewer sequences before a shorter context.
    shorter.batches.insert(0, 1);
    shorter.batches.dedup();
    if let Some(Choice { reason, .. }) =
        choose::nearest(&make(&shorter)?, &Goal { users: goal.users, ..Goal::default() })
    {
        return Ok(Some(Alternative { context: shorter.context, reason }));
    }
    while shorter.context / 2 >= SHORTEST_CONTEXT {
        shorter.context /= 2;
        shorter.prompt = shorter.prompt.min(shorter.context / 2);
        let goal = Goal { users: goal.users, ..Goal::default() };
        if let Some(Choice { reason, .. }) = choose::nearest(&make(&shorter)?, &goal) {
            return Ok(Some(Alternative { context: shorter.context, reason }));
        }
    }
    Ok(None)
}

/// The largest published shape that is fast enough here, with its best quantization that is. `None` also where the
/// machine was not measured for it.
pub(super) fn usable_shape(
    subject: &Subject,
    target: &Target,
    setting: &Setting,
    goal: &Goal,
) -> Option<String> {
    let specs = shapes::names().filter_map(|name| Some((name, shapes::find(name).ok()?)));
    let mut smaller: Vec<_> = specs.filter(|(_, spec)| spec.n_params() < subject.spec().n_params()).collect();
    smaller.sort_by_key(|(_, spec)| std::cmp::Reverse(spec.n_params()));
    smaller.into_iter().find_map(|(name, spec)| {
        let context = setting.context.min(spec.max_context);
        let request = Request {
            spec: &spec,
            stored: &|_| DType::F16,
            quants: QUANTS.map(Some).into(),
            batches: vec![goal.users.unwrap_or(1)],
            context,
            prompt: setting.prompt.min(context / 2).max(1),
            chunk: target.chunk,
            kv: setting.kv,
            budget: target.budget.clone(),
            price_per_hour: None,
            history: target.history.as_ref(),
        };
        let table = table(&target.machine, &request).ok()?;
        let cell = &table.cells[choose::choose(&table, goal)?.index];
        Some(format!("shape:{name}:{}, {} tok/s", cell.name, choose::figure(cell.decode_tok_s)))
    })
}

/// The largest published shape that would fit, with its best quantization that does.
pub(super) fn smaller_shape(
    subject: &Subject,
    budget: &Budget,
    setting: &Setting,
    chunk: usize,
) -> anyhow::Result<Option<String>> {
    let mut best: Option<(u64, String)> = None;
    for name in shapes::names() {
        let spec = shapes::find(name)?;
        if spec.n_params() >= subject.spec().n_params() {
            continue;
        }
        let context = setting.context.min(spec.max_context);
        let sizes = Sizes { context, chunk, sequences: 1, kv: setting.kv };
        let fits = QUANTS.into_iter().find(|quant| {
            let matrices = Matrices::of(&spec, &|_| DType::F16, Some(*quant));
            let needs = plan_memory::needs(&spec, &matrices, sizes);
            plan_memory::misfit(&spec, &matrices, sizes, &needs, budget).is_none()
        });
        let Some(quant) = fits else { continue };
        if best.as_ref().is_none_or(|(params, _)| spec.n_params() > *params) {
            best = Some((spec.n_params(), format!("shape:{name}:{quant} with --ctx {context}")));
        }
    }
    Ok(best.map(|(_, text)| text))
}
