//! Every quantization × batch of a model on a machine: memory, speed of light, predicted times, cost.

use serde::{Deserialize, Serialize};

use crate::base::{DType, KvType};
use crate::model::ModelSpec;
use crate::plan::form::{self, Bound, Time};
use crate::plan::history::{Correction, History};
use crate::plan::machine::{Load, Machine};
use crate::plan::memory::{self, Budget, Memory, Misfit, Sizes};
use crate::plan::weights::Matrices;
use crate::plan::{PlanError, formulas};

pub use crate::model::shapes::QUANTS;

/// What to plan.
pub struct Request<'a> {
    /// The model.
    pub spec: &'a ModelSpec,
    /// Type of each tensor in the file.
    pub stored: &'a dyn Fn(&str) -> DType,
    /// Wishes for float weights, best quality first; `None`: as stored.
    pub quants: Vec<Option<DType>>,
    /// Sequences decoded together.
    pub batches: Vec<usize>,
    /// Positions per sequence.
    pub context: usize,
    /// Tokens of the prompt; decoding is priced at this position.
    pub prompt: usize,
    /// Tokens of a prompt at once.
    pub chunk: usize,
    /// Element type of the KV cache.
    pub kv: KvType,
    /// Memory there is.
    pub budget: Budget,
    /// US dollars per hour.
    pub price_per_hour: Option<f64>,
    /// Runs to learn from.
    pub history: Option<&'a History>,
}

/// A plan's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The machine's name.
    pub machine: String,
    /// Trained parameters.
    pub params: u64,
    /// Bytes of K and V per position, all layers.
    pub kv_bytes_per_token: u64,
    /// Bytes per second read at best.
    pub read_bytes_s: f64,
    /// Positions per sequence that memory is counted for.
    pub context: usize,
    /// Position at which decoding is priced, and length of the prompt.
    pub prompt: usize,
    /// Memory there is.
    pub budget: Budget,
    /// US dollars per hour behind the costs.
    pub price_per_hour: Option<f64>,
    /// Quantizations, best quality first, with the batches of each.
    pub cells: Vec<Cell>,
}

/// One quantization × batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Wish for float weights; `None`: as stored.
    pub quant: Option<DType>,
    /// Name of the wish, or of the type stored.
    pub name: String,
    /// The type that most matrices get: where rows are no whole blocks of the wish, a finer one.
    pub main_dtype: DType,
    /// Place in the order of quality: 0 is best.
    pub rank: usize,
    /// Sequences together.
    pub batch: usize,
    /// Bytes by part.
    pub memory: Memory,
    /// Why it does not fit, if it does not.
    pub misfit: Option<Misfit>,
    /// Bytes that one step reads: weights once, K and V of every sequence.
    pub step_bytes: f64,
    /// Tokens per second and sequence if nothing but these bytes took time.
    pub light_tok_s: f64,
    /// Seconds of a decode step, by parts, uncorrected.
    pub step: Time,
    /// Predicted tokens per second of one sequence.
    pub decode_tok_s: f64,
    /// Of all sequences together.
    pub together_tok_s: f64,
    /// Predicted prompt tokens per second.
    pub prompt_tok_s: f64,
    /// Seconds until every sequence has its first token, prompts fed one after the other.
    pub first_token_s: f64,
    /// What takes most of a step.
    pub binds: Bound,
    /// Batch from which arithmetic costs more than reading the weights.
    pub ridge_batch: f64,
    /// US dollars per million prompt tokens.
    pub usd_per_million_prompt: Option<f64>,
    /// US dollars per million generated tokens.
    pub usd_per_million_completion: Option<f64>,
    /// What earlier runs taught; it is part of every predicted decode speed and cost of a cell.
    pub correction: Option<Correction>,
    /// Type of the weights of those runs, where it is another one.
    #[serde(default)]
    pub correction_of: Option<String>,
}

impl Cell {
    /// Is the prediction faster than its bytes can be read? Then what was measured of the machine is too low.
    pub fn is_above_light(&self) -> bool {
        self.decode_tok_s > self.light_tok_s * LIGHT_TOLERANCE
    }
}

/// Readings of one rate differ by as much on a calm machine.
const LIGHT_TOLERANCE: f64 = 1.02;

/// Prices every cell.
pub fn table(machine: &Machine, request: &Request<'_>) -> Result<Table, PlanError> {
    if request.quants.is_empty() || request.batches.is_empty() {
        let what =
            if request.quants.is_empty() { "the list of quantizations" } else { "the list of batches" };
        return Err(PlanError::Empty { what });
    }
    let spec = request.spec;
    let mut cells = Vec::new();
    let mut seen: Vec<Matrices> = Vec::new();
    for (rank, quant) in request.quants.iter().enumerate() {
        let matrices = Matrices::of(spec, request.stored, *quant);
        // Another wish that comes to the same, because no blocks of it fit the rows, is no further choice.
        if seen.contains(&matrices) {
            continue;
        }
        for batch in &request.batches {
            cells.push(cell(machine, request, &matrices, (rank, *quant), *batch)?);
        }
        seen.push(matrices);
    }
    Ok(Table {
        machine: machine.name(),
        params: spec.n_params(),
        kv_bytes_per_token: memory::kv_bytes_per_token(spec, request.kv),
        read_bytes_s: machine.read_bytes_s(),
        context: request.context,
        prompt: request.prompt,
        budget: request.budget.clone(),
        price_per_hour: request.price_per_hour,
        cells,
    })
}

fn cell(
    machine: &Machine,
    request: &Request<'_>,
    matrices: &Matrices,
    (rank, quant): (usize, Option<DType>),
    batch: usize,
) -> Result<Cell, PlanError> {
    let spec = request.spec;
    let sizes = Sizes { context: request.context, chunk: request.chunk, sequences: batch, kv: request.kv };
    let needs = memory::needs(spec, matrices, sizes);
    let load = Load { spec, matrices, kv: request.kv, chunk: request.chunk };
    let (work, constants) = machine.decode(&load, batch, request.prompt)?;
    let step = form::time(&work, &constants);
    let (prompt_work, prompt_constants) = machine.prompt(&load, 0, request.prompt)?;
    let prompt_s = form::time(&prompt_work, &prompt_constants).total();
    let stored_as = matrices.main_dtype();
    let name = quant.unwrap_or(stored_as).name().to_owned();
    let (correction, correction_of) =
        request.history.and_then(|history| learnt(history, &name, step.shares())).unzip();
    let factor = correction.map_or(1.0, |c| c.ratio);
    let decode_tok_s = factor / step.total();
    let step_bytes = work.weight_bytes + work.kv_bytes;
    let bytes_per_weight = work.weight_bytes / (matrices.ops() as f64 / 2.0);
    let prompt_tok_s = request.prompt as f64 / prompt_s;
    let usd = |tok_s: f64| request.price_per_hour.map(|price| formulas::usd_per_million(price, tok_s));
    Ok(Cell {
        quant,
        name,
        main_dtype: stored_as,
        rank,
        batch,
        misfit: memory::misfit(spec, matrices, sizes, &needs, &request.budget),
        memory: needs,
        step_bytes,
        light_tok_s: machine.read_bytes_s_of(step_bytes) / step_bytes,
        step,
        decode_tok_s,
        together_tok_s: decode_tok_s * batch as f64,
        prompt_tok_s,
        first_token_s: batch as f64 * prompt_s,
        binds: step.binds(),
        ridge_batch: formulas::ridge_batch(machine.ops_s(), machine.read_bytes_s(), bytes_per_weight),
        usd_per_million_prompt: usd(prompt_tok_s),
        usd_per_million_completion: usd(decode_tok_s * batch as f64),
        correction,
        correction_of: correction_of.flatten(),
    })
}

/// The correction for weights of type `name`: from runs of that type, else of the type whose runs are the most, so
/// that all rows of a table are corrected by something or none is. Beside it the other type's name.
fn learnt(history: &History, name: &str, shares: [f64; 3]) -> Option<(Correction, Option<String>)> {
    if let Some(own) = history.correction(name, shares) {
        return Some((own, None));
    }
    let mut others: Vec<&str> = history.runs.iter().map(|run| run.quant.as_str()).collect();
    others.sort_unstable();
    others.dedup();
    let corrections = others.iter().filter_map(|other| Some((*other, history.correction(other, shares)?)));
    let (other, correction) = corrections.max_by_key(|(_, correction)| correction.runs)?;
    Some((correction, Some(other.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shapes;
    use crate::plan::hardware;
    use crate::plan::history::Run;

    fn request<'a>(spec: &'a ModelSpec, history: Option<&'a History>) -> Request<'a> {
        Request {
            spec,
            stored: &|_| DType::F16,
            quants: QUANTS.map(Some).into(),
            batches: vec![1],
            context: 1024,
            prompt: 256,
            chunk: 256,
            kv: KvType::F16,
            budget: Budget { bytes: None, source: String::new(), binding_bytes: None },
            price_per_hour: None,
            history,
        }
    }

    #[test]
    fn all_rows_are_corrected_or_none_is() {
        let spec = shapes::find("Llama-3.2-1B").unwrap();
        let machine = Machine::Spec(hardware::find("m1").unwrap());
        let plain = table(&machine, &request(&spec, None)).unwrap();
        assert!(plain.cells.iter().all(|cell| cell.correction.is_none() && !cell.is_above_light()));
        let mut history = History::default();
        for (quant, ratio, runs) in [("f16", 0.5, 2), ("q8_0", 0.7, 5)] {
            let shares = plain.cells.iter().find(|cell| cell.name == quant).unwrap().step.shares();
            for _ in 0..runs {
                history.push(Run {
                    model: "m".into(),
                    quant: quant.into(),
                    batch: 1,
                    shares,
                    tokens: 100,
                    predicted_tok_s: 10.0,
                    achieved_tok_s: 10.0 * ratio,
                    unix_time: 0,
                });
            }
        }
        let corrected = table(&machine, &request(&spec, Some(&history))).unwrap();
        for (before, after) in plain.cells.iter().zip(&corrected.cells) {
            let (ratio, of) = match after.name.as_str() {
                "f16" => (0.5, None),
                "q8_0" => (0.7, None),
                // The type with the most runs stands in.
                _ => (0.7, Some("q8_0".to_owned())),
            };
            assert_eq!(
                (after.correction.map(|c| c.ratio), &after.correction_of),
                (Some(ratio), &of),
                "{}",
                after.name
            );
            assert_eq!(after.decode_tok_s, ratio / before.step.total(), "{}", after.name);
        }
    }

    #[test]
    fn a_prediction_above_the_speed_of_light_is_seen() {
        let spec = shapes::find("Llama-3.2-1B").unwrap();
        let machine = Machine::Spec(hardware::find("m1").unwrap());
        let mut cell = table(&machine, &request(&spec, None)).unwrap().cells.remove(0);
        for (share, above) in [(0.99, false), (1.0, false), (1.01, false), (1.03, true), (3.0, true)] {
            cell.decode_tok_s = cell.light_tok_s * share;
            assert_eq!(cell.is_above_light(), above, "{share}");
        }
    }
}
