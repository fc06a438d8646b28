//! Measurements → [`Constants`]: decode rates and times to first token of one model on one machine, at several batches
//! and lengths, to four constants; the rate of weight bytes is taken from the data sheet and not fitted.

use super::error::PlanError;
use super::form::{self, Constants, Work};
use super::formulas;
use super::least_squares;

/// Constants that [`fit`] finds: fixed time, time per position, rate of K/V bytes, rate of operations.
pub const FITTED: usize = 4;

/// Factor on the residual of a decode rate: decode is a mean over hundreds of steps, a time to first token is one event.
const DECODE_WEIGHT: f64 = 3.0;

/// One measured run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Sequences at once.
    pub batch: f64,
    /// Prompt tokens per sequence.
    pub prompt: f64,
    /// Tokens made per sequence.
    pub completion: f64,
    /// Tokens per second of one sequence, after the first token.
    pub decode_tok_s: f64,
    /// Seconds until the first token of all sequences.
    pub first_token_s: f64,
}

/// What the costs of a model depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    /// Weights read per step.
    pub params: f64,
    /// Bytes per weight, scales included.
    pub bytes_per_weight: f64,
    /// Transformer layers.
    pub layers: f64,
    /// Query heads · head width.
    pub query_width: f64,
    /// Bytes of K and V per position in all layers.
    pub kv_bytes_per_token: f64,
}

/// What [`predict`] says of a run; fields as in [`Row`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Tokens per second of one sequence.
    pub decode_tok_s: f64,
    /// Seconds until the first token.
    pub first_token_s: f64,
}

impl Counts {
    /// The work of one decode step of `batch` sequences that each see `positions` positions. Launches and small steps
    /// are left to the caller (0).
    pub fn decode(&self, batch: f64, positions: f64) -> Work {
        let attention = formulas::attention_ops(self.query_width, self.layers, positions);
        Work {
            weight_bytes: formulas::weight_bytes(self.params, self.bytes_per_weight),
            ops: batch * (formulas::flops_per_token(self.params) + attention),
            positions,
            kv_bytes: batch * positions * self.kv_bytes_per_token,
            dispatches: 0.0,
            small_s: 0.0,
        }
    }

    /// The work of one pass over `batch` prompts of `tokens` tokens. A token sees half the prompt on average; K and V
    /// come from the pass itself, and attention within it is arithmetic.
    pub fn prompt(&self, batch: f64, tokens: f64) -> Work {
        let attention = formulas::attention_ops(self.query_width, self.layers, tokens / 2.0);
        Work {
            weight_bytes: formulas::weight_bytes(self.params, self.bytes_per_weight),
            ops: batch * tokens * (formulas::flops_per_token(self.params) + attention),
            positions: 0.0,
            kv_bytes: 0.0,
            dispatches: 0.0,
            small_s: 0.0,
        }
    }
}

/// A run of `batch` sequences with `prompt` and `completion` tokens each: the rate at the mean position (prompt plus
/// half the completion), and the time to the first token.
pub fn predict(
    counts: &Counts,
    constants: &Constants,
    batch: f64,
    prompt: f64,
    completion: f64,
) -> Predicted {
    let step = form::time(&counts.decode(batch, prompt + completion / 2.0), constants);
    let first = form::time(&counts.prompt(batch, prompt), constants);
    Predicted { decode_tok_s: formulas::tok_s(1.0, step.total()), first_token_s: first.total() }
}

/// Logarithms of predicted over measured, in every row the time of a token (weighted) and the time to the first token.
pub fn residuals(rows: &[Row], counts: &Counts, constants: &Constants) -> Vec<f64> {
    let of_row = |row: &Row| {
        let predicted = predict(counts, constants, row.batch, row.prompt, row.completion);
        let decode = (row.decode_tok_s / predicted.decode_tok_s).ln();
        [DECODE_WEIGHT * decode, (predicted.first_token_s / row.first_token_s).ln()]
    };
    rows.iter().flat_map(of_row).collect()
}

/// The [`FITTED`] constants that describe `rows` best, at `weight_bytes_s` bytes of weights per second, by least squares
/// of the [`residuals`]. Fitted are logarithms, so every constant is positive; `dispatch_s` is 0 (its part is in
/// `fixed_s`).
pub fn fit(rows: &[Row], counts: &Counts, weight_bytes_s: f64) -> Result<Constants, PlanError> {
    check(rows, counts, weight_bytes_s)?;
    let least = |value: fn(&Row) -> f64| rows.iter().map(value).fold(f64::INFINITY, f64::min);
    let longest = rows.iter().map(|row| row.prompt + row.completion).fold(0.0, f64::max);
    let ops_s = |row: &Row| counts.prompt(row.batch, row.prompt).ops / row.first_token_s;
    let start = [
        0.1 * least(|row| row.first_token_s),
        0.1 * least(|row| 1.0 / row.decode_tok_s) / longest,
        weight_bytes_s,
        rows.iter().map(ops_s).fold(0.0, f64::max),
    ];
    let constants = |logs: &[f64]| Constants {
        fixed_s: logs[0].exp(),
        dispatch_s: 0.0,
        weight_bytes_s,
        ops_s: logs[3].exp(),
        position_s: logs[1].exp(),
        kv_bytes_s: logs[2].exp(),
    };
    let found =
        least_squares::minimise(&start.map(f64::ln), &|logs| residuals(rows, counts, &constants(logs)));
    match found {
        Some(logs) if logs.iter().all(|x| x.is_finite()) => Ok(constants(&logs)),
        _ => Err(PlanError::NoFit { rows: rows.len() }),
    }
}

/// Are there rows enough, and is every number positive and finite?
fn check(rows: &[Row], counts: &Counts, weight_bytes_s: f64) -> Result<(), PlanError> {
    if rows.len() < FITTED {
        return Err(PlanError::TooFewRows { needed: FITTED, found: rows.len() });
    }
    let good = |value: f64| value.is_finite() && value > 0.0;
    let fields = [
        ("params", counts.params),
        ("bytes_per_weight", counts.bytes_per_weight),
        ("layers", counts.layers),
        ("query_width", counts.query_width),
        ("kv_bytes_per_token", counts.kv_bytes_per_token),
        ("weight_bytes_s", weight_bytes_s),
    ];
    if let Some(&(field, value)) = fields.iter().find(|field| !good(field.1)) {
        return Err(PlanError::NotPositive { field, value });
    }
    for (ix, row) in rows.iter().enumerate() {
        let fields = [
            ("batch", row.batch),
            ("prompt", row.prompt),
            ("completion", row.completion),
            ("decode_tok_s", row.decode_tok_s),
            ("first_token_s", row.first_token_s),
        ];
        if let Some(&(field, value)) = fields.iter().find(|field| !good(field.1)) {
            return Err(PlanError::BadRow { row: ix, field, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: Counts = Counts {
        params: 7e9,
        bytes_per_weight: 2.0,
        layers: 32.0,
        query_width: 4096.0,
        kv_bytes_per_token: 524_288.0,
    };
    const MACHINE: Constants = Constants {
        fixed_s: 0.003,
        dispatch_s: 0.0,
        weight_bytes_s: 9e11,
        ops_s: 7e13,
        position_s: 1.5e-6,
        kv_bytes_s: 4e11,
    };

    fn made_rows() -> Vec<Row> {
        let shapes = [(1.0, 100.0), (4.0, 500.0), (16.0, 2000.0), (1.0, 8000.0), (64.0, 300.0), (2.0, 30.0)];
        let row = |(batch, prompt)| {
            let is = predict(&COUNTS, &MACHINE, batch, prompt, 256.0);
            let Predicted { decode_tok_s, first_token_s } = is;
            Row { batch, prompt, completion: 256.0, decode_tok_s, first_token_s }
        };
        shapes.into_iter().map(row).collect()
    }

    #[test]
    fn constants_that_made_the_rows_are_found_again() {
        let found = fit(&made_rows(), &COUNTS, MACHINE.weight_bytes_s).unwrap();
        let pairs = [
            (found.fixed_s, MACHINE.fixed_s),
            (found.ops_s, MACHINE.ops_s),
            (found.position_s, MACHINE.position_s),
            (found.kv_bytes_s, MACHINE.kv_bytes_s),
        ];
        assert!(pairs.iter().all(|(f, w)| (f / w - 1.0).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let rows = made_rows();
        let rate = MACHINE.weight_bytes_s;
        assert_eq!(fit(&rows[..3], &COUNTS, rate), Err(PlanError::TooFewRows { needed: 4, found: 3 }));
        for bad in [0.0, -1.0, f64::INFINITY] {
            let mut broken = rows.clone();
            broken[2].first_token_s = bad;
            let want = PlanError::BadRow { row: 2, field: "first_token_s", value: bad };
            assert_eq!(fit(&broken, &COUNTS, rate), Err(want));
            let want = PlanError::NotPositive { field: "weight_bytes_s", value: bad };
            assert_eq!(fit(&rows, &COUNTS, bad), Err(want));
        }
        assert!(fit(&rows, &COUNTS, f64::NAN).is_err());
        assert!(fit(&rows, &Counts { params: f64::NAN, ..COUNTS }, rate).is_err());
    }
}
