//! The formulas of transformer inference, each with its source; a planner prints nothing that is not one of these or
//! [`super::form::time`]. `tests/planner.rs` compares them with the figures their sources print.
//!
//! Sources by name: **kipply** ("Transformer inference arithmetic", "Transformer parameter counting"), **zeux** ("LLM
//! inference speed of light" and calm's `sol.ipynb`), **Cursor** ("Inference characteristics of Llama"), **finbarr**
//! ("How is LLaMa.cpp possible?"; its memory times have a factor of 2 that no machine has, and are not followed).

/// Seconds per hour.
const HOUR_S: f64 = 3600.0;

/// Bytes that K and V of one position take in all layers: 2 · layers · K/V heads · head width · bytes per element
/// (kipply; with grouped queries: zeux, Cursor).
pub fn kv_bytes_per_token(layers: f64, kv_heads: f64, head_dim: f64, bytes: f64) -> f64 {
    2.0 * layers * kv_heads * head_dim * bytes
}

/// Whole positions whose K and V fit into `free_bytes` (kipply).
pub fn kv_tokens(free_bytes: f64, kv_bytes_per_token: f64) -> f64 {
    (free_bytes / kv_bytes_per_token).floor()
}

/// Operations that make K and V of one position in all layers, without grouped queries: 2 · 2 · layers · d² (kipply).
pub fn kv_ops_per_token(layers: f64, d: f64) -> f64 {
    4.0 * layers * d * d
}

/// Bytes of `params` weights.
pub fn weight_bytes(params: f64, bytes_per_weight: f64) -> f64 {
    params * bytes_per_weight
}

/// Parameters of the layers of a transformer of width `d` with full attention and a plain MLP of width 4·d:
/// 12 · layers · d² (kipply). A real model is counted by [`crate::model::ModelSpec::n_params`].
pub fn dense_params(layers: f64, d: f64) -> f64 {
    12.0 * layers * d * d
}

/// Parameters of an embedding or output matrix (kipply).
pub fn embedding_params(vocab: f64, d: f64) -> f64 {
    vocab * d
}

/// Operations per token through `params` weights, one multiplication and one addition each: 2 · params (kipply).
/// Attention comes on top: [`attention_ops`].
pub fn flops_per_token(params: f64) -> f64 {
    2.0 * params
}

/// Operations of `tokens` columns times a `[rows, cols]` matrix (kipply).
pub fn matrix_ops(tokens: f64, rows: f64, cols: f64) -> f64 {
    tokens * flops_per_token(rows * cols)
}

/// Operations of attention for one token that sees `n` positions: scores and weighted sum, 2 · 2 · d · layers · n,
/// `d` = query heads · head width (Cursor, which prints it for d = 4096 where Llama-2-70B has 8192).
pub fn attention_ops(d: f64, layers: f64, n: f64) -> f64 {
    4.0 * d * layers * n
}

/// Tokens per step from which arithmetic takes longer than the weights' bytes: ops/s ÷ bytes/s · bytes per weight ÷ 2
/// (kipply prints 208, Cursor 156, finbarr 161 for A100s of different bandwidth).
pub fn ridge_batch(ops_s: f64, bytes_s: f64, bytes_per_weight: f64) -> f64 {
    ops_s / bytes_s * bytes_per_weight / 2.0
}

/// Seconds in which `weight_bytes` are read at `bytes_s` bytes per second: the least time of a decode step (kipply,
/// zeux). Every weight is read once: there is no factor of 2.
pub fn decode_s(weight_bytes: f64, bytes_s: f64) -> f64 {
    weight_bytes / bytes_s
}

/// Seconds of arithmetic for `tokens` tokens through `params` weights at `ops_s` operations per second (kipply).
pub fn prompt_s(tokens: f64, params: f64, ops_s: f64) -> f64 {
    arithmetic_s(tokens * flops_per_token(params), ops_s)
}

/// Seconds of `ops` operations at `ops_s` operations per second.
pub fn arithmetic_s(ops: f64, ops_s: f64) -> f64 {
    ops / ops_s
}

/// Tokens per second when `tokens` come every `seconds`.
pub fn tok_s(tokens: f64, seconds: f64) -> f64 {
    tokens / seconds
}

/// US dollars per million tokens on a machine of `price_per_hour` dollars that makes `tok_s` tokens per second over
/// all sequences (Cursor, which prints it per thousand).
pub fn usd_per_million(price_per_hour: f64, tok_s: f64) -> f64 {
    price_per_hour / HOUR_S / tok_s * 1e6
}

/// US dollars per hour of electricity for a machine that draws `watts`.
pub fn price_from_watts(watts: f64, usd_per_kwh: f64) -> f64 {
    watts / 1000.0 * usd_per_kwh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kilowatt_costs_a_kilowatt_hour_per_hour() {
        assert_eq!(price_from_watts(1000.0, 0.30), 0.30);
        assert_eq!(price_from_watts(500.0, 0.20), 0.10);
    }

    #[test]
    fn at_the_ridge_bytes_and_arithmetic_take_equally_long() {
        let (params, ops, bytes, per_weight) = (7e9, 2.6e12, 68e9, 0.5625);
        let batch = ridge_batch(ops, bytes, per_weight);
        let ratio = prompt_s(batch, params, ops) / decode_s(weight_bytes(params, per_weight), bytes);
        assert!((ratio - 1.0).abs() < 1e-12, "{ratio}");
    }
}
