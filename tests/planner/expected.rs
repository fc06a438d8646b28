//! What the planner's formulas say for every row of `worked_examples.csv`, in the unit of the row.

use anygpu::model::{ModelSpec, hf};
use anygpu::plan::formulas::*;
use serde_json::json;

use super::measured::llama2_70b;

/// A100: f16 operations and bytes per second (NVIDIA), as the texts round them.
const A100_OPS: f64 = 312e12;
const KIPPLY_BYTES_S: f64 = 1.5e12;
const FINBARR_BYTES_S: f64 = 1935e9;
const M1_BYTES_S: f64 = 68.25e9;
/// RTX 4090.
const ADA_BYTES_S: f64 = 1008e9;
/// Cursor's two A100-80GB as measured, their price per hour, and the 70e9 parameters they count with.
const PAIR_OPS: f64 = 2.0 * 200e12;
const PAIR_BYTES_S: f64 = 2.0 * 1.3e12;
const PAIR_USD: f64 = 4.42;
const LLAMA_70B: f64 = 70e9;

const GIB: f64 = (1u64 << 30) as f64;

fn mistral_7b() -> ModelSpec {
    let config = json!({"architectures": ["MistralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000,
        "sliding_window": null});
    hf::parse(&config, &|_| true).expect("a published configuration")
}

fn llama_7b() -> ModelSpec {
    let config = json!({"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000});
    hf::parse(&config, &|_| true).expect("a published configuration")
}

/// Elements of the matrices whose names contain one of `words`; norms are none.
fn matrix_params(spec: &ModelSpec, words: &[&str]) -> f64 {
    let all = spec.expected_tensors();
    let of_words =
        all.iter().filter(|(name, shape)| shape.len() == 2 && words.iter().any(|w| name.contains(w)));
    of_words.map(|(_, shape)| (shape[0] * shape[1]) as f64).sum()
}

/// Matrices read per token: all but the input embedding.
fn active_params(spec: &ModelSpec) -> f64 {
    matrix_params(spec, &["layers", "lm_head"])
}

fn command_r_kv(bytes: f64) -> f64 {
    kv_bytes_per_token(40.0, 64.0, 128.0, bytes)
}

/// The planner's value for the row of that id; `None` for an id it does not know.
pub(crate) fn value(id: &str) -> Option<f64> {
    let (source, row) = id.split_once('-')?;
    match source {
        "kipply" => kipply(row),
        "finbarr" => finbarr(row),
        "cursor" => cursor(row),
        "zeux" => zeux(row),
        "sol" => sol(row),
        _ => None,
    }
}

fn kipply(row: &str) -> Option<f64> {
    let (layers, d) = (64.0, 8192.0);
    let params = dense_params(layers, d); // "52B"
    let sixteen = 16.0;
    Some(match row {
        "01" => kv_ops_per_token(layers, d),
        "02" => ridge_batch(A100_OPS, KIPPLY_BYTES_S, 2.0),
        "03" => 1e3 * decode_s(weight_bytes(params, 2.0), KIPPLY_BYTES_S),
        "04" => kv_bytes_per_token(layers, 64.0, 128.0, 2.0),
        "05" => kv_tokens(16e9, 0.002e9), // the text's rounding of row 04
        "06" => kv_tokens(56e9, 0.002e9),
        "08a" => 1e3 * decode_s(weight_bytes(260e9, 2.0), sixteen * KIPPLY_BYTES_S),
        // Communication is no part of this planner, so its two rows are computed here: latency, and bytes.
        "08b" => 1e3 * 4.0 * 80.0 * 8e-6,
        "09a" => 1e3 * prompt_s(512.0, 260e9, sixteen * A100_OPS),
        "09b" => 1e3 * decode_s(512.0 * 2.0 * 80.0 * 4.0 * 16384.0, 300e9),
        "10a" => params,
        "10b" => params + embedding_params(65536.0, d),
        "11" => flops_per_token(params),
        "12a" => 1e3 * decode_s(weight_bytes(dense_params(40.0, 5120.0), 2.0), KIPPLY_BYTES_S),
        "12b" => 1e3 * decode_s(weight_bytes(dense_params(40.0, 5120.0), 2.0), 2.0 * KIPPLY_BYTES_S),
        "14a" => 1e6 * arithmetic_s(matrix_ops(512.0, 4.0 * 5120.0, 5120.0), A100_OPS),
        "14b" => 1e6 * arithmetic_s(matrix_ops(512.0, 5120.0, 5120.0), A100_OPS),
        "15" => 1e3 * prompt_s(256.0, 52e9, 4.0 * A100_OPS),
        _ => return None,
    })
}

/// Ids `w-7-f16` (GB) and `t-7-f16` (ms), and single figures. Times and rates are half and twice what is printed.
fn finbarr(row: &str) -> Option<f64> {
    let rate = |params: f64, bytes_s: f64| tok_s(1.0, decode_s(weight_bytes(params, 0.5), bytes_s));
    Some(match row {
        "19a" => rate(65.2e9, FINBARR_BYTES_S),
        "19b" => rate(7e9, FINBARR_BYTES_S),
        "20a" => rate(7e9, M1_BYTES_S),
        "20b" => rate(65.2e9, M1_BYTES_S),
        "21" => rate(65.2e9, 400e9),
        "22" => rate(7e9, 4e9),
        "23" => ridge_batch(A100_OPS, FINBARR_BYTES_S, 2.0),
        table => {
            let mut parts = table.split('-');
            let kind = parts.next()?;
            let params = 1e9 * parts.next()?.parse::<f64>().ok()?;
            let bytes_per_weight = match parts.next()? {
                "f32" => 4.0,
                "f16" => 2.0,
                "i8" => 1.0,
                "i4" => 0.5,
                _ => return None,
            };
            let bytes = weight_bytes(params, bytes_per_weight);
            match kind {
                "w" => bytes / 1e9,
                "t" => 1e3 * decode_s(bytes, FINBARR_BYTES_S),
                _ => return None,
            }
        }
    })
}

fn cursor(row: &str) -> Option<f64> {
    let prompt_tok_s = tok_s(512.0, prompt_s(512.0, LLAMA_70B, PAIR_OPS));
    let decode = decode_s(weight_bytes(LLAMA_70B, 2.0), PAIR_BYTES_S);
    // Cursor's $0.066 per thousand at batch 1, as the price per hour of a machine that makes one token per second.
    let rounded_price = 0.066 / 1e3 * 3600.0;
    Some(match row {
        "25" => llama2_70b().kv_bytes_per_token(2) as f64,
        "26" => attention_ops(8192.0, 80.0, 1.0) / 1e6,
        "27" => ridge_batch(A100_OPS, 2e12, 2.0),
        "28" => prompt_tok_s,
        "29" => usd_per_million(PAIR_USD, prompt_tok_s) / 1e3,
        "30a" => 1e3 * prompt_s(512.0, LLAMA_70B, PAIR_OPS),
        "30b" => 1e3 * prompt_s(1536.0, LLAMA_70B, PAIR_OPS),
        "31a" => tok_s(1.0, decode),
        "31b" => usd_per_million(PAIR_USD, tok_s(1.0, decode)) / 1e3,
        "32a" => usd_per_million(rounded_price, 8.0) / 1e3,
        "32b" => usd_per_million(rounded_price, 32.0) / 1e3,
        "33" => 4096.0 * 3.2e5 / 1e9,
        "34" => tok_s(1.0, decode_s(1.0 / 18.6, 4.0)), // four times the bandwidth of the pair that makes 18.6
        _ => return None,
    })
}

fn zeux(row: &str) -> Option<f64> {
    let mistral = mistral_7b();
    let millions = |words: &[&str]| matrix_params(&mistral, words) / 1e6;
    let active = active_params(&mistral);
    let weights_35b = weight_bytes(35e9, 4.5 / 8.0);
    let kv_100k = 100e3 * command_r_kv(1.0);
    Some(match row {
        "35a" => millions(&["embed_tokens"]),
        "35b" => millions(&["self_attn"]),
        "35c" => millions(&["mlp"]),
        "35d" => active / 1e6,
        "36a" => 1e3 * decode_s(weight_bytes(active, 2.0), ADA_BYTES_S),
        "36b" => 1e3 * decode_s(weight_bytes(active, 1.0), ADA_BYTES_S),
        "37" => mistral.kv_bytes_per_token(2) as f64,
        "41a" => 4096.0 * mistral.kv_bytes_per_token(2) as f64 / GIB,
        "41b" => 4096.0 * llama_7b().kv_bytes_per_token(2) as f64 / GIB,
        "42a" => command_r_kv(2.0) / 1e6,
        "42b" => 200e3 * command_r_kv(2.0) / 1e9,
        "43a" => weights_35b / 1e9,
        "43b" => kv_100k / 1e9,
        "43c" => kv_100k / (kv_100k + weights_35b),
        // One model's rates on a 4080 and a 4090.
        "44" => decode_s(1.0, ADA_BYTES_S) / decode_s(1.0, 716e9),
        _ => return None,
    })
}

fn sol(row: &str) -> Option<f64> {
    let billions = |spec: &ModelSpec| matrix_params(spec, &[""]) / 1e9;
    Some(match row {
        "46a" => billions(&llama_7b()),
        "46b" => billions(&llama2_70b()),
        "46c" => billions(&mistral_7b()),
        "47a" => 4096.0 * llama_7b().kv_bytes_per_token(1) as f64,
        "47b" => 4096.0 * mistral_7b().kv_bytes_per_token(1) as f64,
        _ => return None,
    })
}
