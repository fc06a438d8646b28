//! Families without a trained model here: tiny seeded models against Hugging Face transformers
//! (`tests/data/make_families.py`), as HF folder and as GGUF.

#[path = "common/engine.rs"]
mod engine;

use std::path::Path;

use anygpu::engine::Model;
use anygpu::formats::Archive;
use engine::{exact, last_logits, max_difference};
use serde_json::Value;

/// f32 weights and cache against transformers in f64.
const TOLERANCE: f64 = 2e-3;

#[test]
fn every_family_computes_what_transformers_computes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families");
    let text = std::fs::read_to_string(folder.join("families.json")).expect("fixtures");
    let families: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    assert!(families.len() >= 7);
    let gpu = engine::gpu();
    let mut failures = Vec::new();
    for family in &families {
        let ids: Vec<u32> = serde_json::from_value(family["ids"].clone()).expect("ids");
        for path in [&family["hf_dir"], &family["gguf"]].into_iter().filter_map(Value::as_str) {
            let archive = Archive::open(&folder.join(path)).unwrap_or_else(|e| panic!("{e}"));
            let model = Model::from_archive(&gpu, archive, &exact(), &mut |_, _| true)
                .unwrap_or_else(|e| panic!("{path}: {e}"));
            for (position, want) in family["logits"].as_object().expect("positions") {
                let want: Vec<f64> = serde_json::from_value(want.clone()).expect("logits");
                let n = position.parse::<usize>().expect("a position") + 1;
                for one_by_one in [false, true] {
                    let worst = max_difference(&last_logits(&model, &ids[..n], one_by_one), &want);
                    println!("{path} at {position}, one by one {one_by_one}: {worst:.1e}");
                    let close = worst <= TOLERANCE; // false for NaN
                    if !close {
                        failures
                            .push(format!("{path} at {position}, one by one {one_by_one}: off by {worst}"));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
