//! The 28 measured rows, and how well a fit to some of them predicts the others.

use anygpu::model::{ModelSpec, hf};
use anygpu::plan::fit::{self, Counts, Row};
use anygpu::plan::form::Constants;
use serde_json::json;

/// Memory bandwidth of two A100-80GB, bytes per second (NVIDIA data sheet, 2 039 GB/s each); not fitted.
pub(crate) const WEIGHT_BYTES_S: f64 = 2.0 * 2.039e12;

pub(crate) fn llama2_70b() -> ModelSpec {
    let config = json!({"architectures": ["LlamaForCausalLM"], "hidden_size": 8192, "intermediate_size": 28672,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 32000,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5});
    hf::parse(&config, &|_| true).expect("a published configuration")
}

pub(crate) fn counts() -> Counts {
    let spec = llama2_70b();
    Counts {
        params: spec.n_params() as f64,
        bytes_per_weight: 2.0,
        layers: spec.n_layers as f64,
        query_width: (spec.n_heads * spec.head_dim) as f64,
        kv_bytes_per_token: spec.kv_bytes_per_token(2) as f64,
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let mut lines = include_str!("../data/planner/llama2_70b_measured.csv").lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let row = |line: &str| {
        let number = |name: &str| -> f64 {
            let ix = names.iter().position(|n| *n == name).expect("a column of that name");
            line.split(',').nth(ix).and_then(|text| text.parse().ok()).expect("a number")
        };
        Row {
            batch: number("batch"),
            prompt: number("prompt_tokens"),
            completion: number("completion_tokens"),
            decode_tok_s: number("tok_s_per_seq"),
            first_token_s: number("ttft_s_corrected"),
        }
    };
    lines.map(row).collect()
}

pub(crate) fn fit_all(rows: &[Row]) -> Constants {
    fit::fit(rows, &counts(), WEIGHT_BYTES_S).expect("measured rows")
}

/// Every row a group of its own: leave one out.
pub(crate) fn single_rows(rows: &[Row]) -> Vec<Vec<usize>> {
    (0..rows.len()).map(|ix| vec![ix]).collect()
}

/// Rows of the same batch and lengths together: no repetition of a row helps to predict it.
pub(crate) fn same_shape(rows: &[Row]) -> Vec<Vec<usize>> {
    let shape = |row: &Row| (row.batch, row.prompt, row.completion);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (ix, row) in rows.iter().enumerate() {
        match groups.iter_mut().find(|group| shape(&rows[group[0]]) == shape(row)) {
            Some(group) => group.push(ix),
            None => groups.push(vec![ix]),
        }
    }
    groups
}

/// Median and worst |predicted / measured − 1|.
#[derive(Debug)]
pub(crate) struct Errors {
    pub(crate) decode: (f64, f64),
    pub(crate) first_token: (f64, f64),
}

impl Errors {
    /// Are median and worst within the limits? Not where one is NaN.
    pub(crate) fn within(&self, decode: (f64, f64), first_token: (f64, f64)) -> bool {
        let pairs = [(self.decode, decode), (self.first_token, first_token)];
        pairs.iter().all(|(found, limit)| found.0 <= limit.0 && found.1 <= limit.1)
    }
}

fn median_and_worst(mut errors: Vec<f64>) -> (f64, f64) {
    errors.sort_by(f64::total_cmp); // NaN comes last, so it is the worst
    let middle = errors.len() / 2;
    let median = match errors.len() % 2 {
        0 => (errors[middle - 1] + errors[middle]) / 2.0,
        _ => errors[middle],
    };
    (median, errors[errors.len() - 1])
}

/// Fits without each group in turn and predicts its rows.
pub(crate) fn leave_out(rows: &[Row], groups: &[Vec<usize>], fit_to: &dyn Fn(&[Row]) -> Constants) -> Errors {
    let counts = counts();
    let (mut decode, mut first_token) = (Vec::new(), Vec::new());
    for group in groups {
        let others: Vec<Row> =
            rows.iter().enumerate().filter(|(ix, _)| !group.contains(ix)).map(|(_, row)| *row).collect();
        let constants = fit_to(&others);
        for &ix in group {
            let row = rows[ix];
            let predicted = fit::predict(&counts, &constants, row.batch, row.prompt, row.completion);
            decode.push((predicted.decode_tok_s / row.decode_tok_s - 1.0).abs());
            first_token.push((predicted.first_token_s / row.first_token_s - 1.0).abs());
        }
    }
    assert_eq!(decode.len(), rows.len());
    Errors { decode: median_and_worst(decode), first_token: median_and_worst(first_token) }
}
