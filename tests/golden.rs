//! Real trained models against numbers that others computed (shared/data/expected): logits, perplexities; by default variants and
//! by others, as the tuner might find.

mod common;
#[path = "common/engine.rs"]
mod engine;
#[path = "common/ways.rs"]
mod ways;

use std::path::Path;

use anygpu::engine::perplexity::{Windows, perplexity};
use anygpu::engine::{Model, Session};
use anygpu::formats::Archive;
use anygpu::gpu::Gpu;
use engine::{exact, last_logits, max_difference};
use serde_json::Value;
use ways::{SETS, prefer_others};

const MODELS: [&str; 3] = ["stories260K", "TinyStories-656K", "BabyLlama-tok105"];
/// f32 weights and cache against f64.
const LOGITS_TOLERANCE: f64 = 2e-3;

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn load(gpu: &Gpu, path: &Path) -> Model {
    let archive = Archive::open(path).unwrap_or_else(|e| panic!("{e}"));
    Model::from_archive(gpu, archive, &exact(), &mut |_, _| true).unwrap_or_else(|e| panic!("{e}"))
}

/// The adapter with its default variants, and with sets of others.
fn gpus() -> Vec<(String, Gpu)> {
    let tuned = (0..SETS).map(|set| {
        let gpu = engine::gpu();
        prefer_others(&gpu, set);
        (format!("set {set} of other variants"), gpu)
    });
    std::iter::once(("default variants".to_owned(), engine::gpu())).chain(tuned).collect()
}

/// The HF folder and the GGUF file of one type.
fn paths(shared: &Path, model: &str) -> [std::path::PathBuf; 2] {
    let folder = shared.join("data/models").join(model);
    [folder.join("hf"), folder.join(format!("gguf/{model}-f32.gguf"))]
}

#[test]
fn differences_are_found() {
    assert_eq!(max_difference(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
    assert!(max_difference(&[1.0, 2.0], &[2.0, 1.0]) > LOGITS_TOLERANCE);
    for (got, want) in [(vec![f32::NAN], vec![1.0]), (vec![], vec![]), (vec![1.0], vec![1.0, 1.0])] {
        let close = max_difference(&got, &want) <= LOGITS_TOLERANCE; // false for NaN
        assert!(!close, "{got:?} {want:?}");
    }
}

#[test]
fn logits_of_all_prompts() {
    let Some(shared) = common::shared() else { return };
    let golden = json(&shared.join("data/expected/golden.json"));
    for (ways, gpu) in gpus() {
        for (name, path) in MODELS.iter().flat_map(|name| paths(&shared, name).map(|path| (*name, path))) {
            let model = load(&gpu, &path);
            for prompt in golden[name]["prompts"].as_array().expect("prompts") {
                let text = prompt["text"].as_str().expect("text");
                let ids: Vec<u32> = serde_json::from_value(prompt["ids"].clone()).expect("ids");
                let tokenizer = model.tokenizer().expect("tokenizer");
                assert_eq!(tokenizer.encode(text, true, false).expect("encodes"), ids, "{name}: {text}");
                let want: Vec<f64> = serde_json::from_value(prompt["last_logits"].clone()).expect("logits");
                for one_by_one in [false, true] {
                    let worst = max_difference(&last_logits(&model, &ids, one_by_one), &want);
                    println!("{} {text:?} one by one {one_by_one}, {ways}: {worst:.1e}", path.display());
                    assert!(worst <= LOGITS_TOLERANCE, "{}: {text}, {ways}: off by {worst}", path.display());
                }
            }
        }
    }
}

/// golden.json's own way of cutting the text, and llama.cpp's.
const PLAIN: (Windows, usize) = (Windows::Plain(255), 24);
const HALVES: (Windows, usize) = (Windows::Half(256), 16);

/// Perplexity over the evaluation text.
fn perplexity_of(gpu: &Gpu, shared: &Path, path: &Path, (windows, limit): (Windows, usize)) -> f64 {
    let model = load(gpu, path);
    let text = std::fs::read_to_string(shared.join("data/text-share-alike/tinystories_eval_ascii.txt"))
        .expect("evaluation text");
    let tokenizer = model.tokenizer().expect("tokenizer");
    let ids = tokenizer.encode(&text, true, false).expect("encodes");
    let mut session = Session::new(&model).expect("session");
    let result = perplexity(&mut session, &ids, tokenizer.bos(), windows, limit, &mut |_, _| true);
    result.expect("perplexity").ppl
}

fn check_perplexity(what: &str, got: f64, want: f64, tolerance: f64) {
    let error = (got / want - 1.0).abs();
    println!("{what}: {got:.5}, expected {want:.5}: {:.4} %", 100.0 * error);
    assert!(error <= tolerance, "{what}: {got}, expected {want} ± {} %", 100.0 * tolerance);
}

#[test]
fn perplexity_of_float_models() {
    let Some(shared) = common::shared() else { return };
    let golden = json(&shared.join("data/expected/golden.json"));
    let gpus = gpus();
    for (i, name) in MODELS.iter().enumerate() {
        for (ways, gpu) in [&gpus[0], &gpus[1 + i % SETS]] {
            let plain = golden[name]["eval"]["ppl"].as_f64().expect("ppl");
            let half = golden[name]["llama_perplexity_style"]["ppl"].as_f64().expect("ppl");
            let [hf, gguf] = paths(&shared, name);
            let f16 = gguf.with_file_name(format!("{name}-f16.gguf"));
            for (path, windows, want, tolerance) in
                [(hf, PLAIN, plain, 1e-3), (gguf, HALVES, half, 1e-3), (f16, PLAIN, plain, 5e-3)]
            {
                let got = perplexity_of(gpu, &shared, &path, windows);
                check_perplexity(&format!("{}, {ways}", path.display()), got, want, tolerance);
            }
        }
    }
}

#[test]
fn perplexity_of_quantized_models() {
    let Some(shared) = common::shared() else { return };
    let expected = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/quantized_perplexity.json"));
    let gpus = gpus();
    // llama.cpp quantizes activations too, so it differs more than float64 over the same weights.
    for (source, windows, tolerance) in [("float64", PLAIN, 1e-3), ("llamacpp", HALVES, 1e-2)] {
        for (i, (file, want)) in expected[source].as_object().expect("an object").iter().enumerate() {
            for (ways, gpu) in [&gpus[0], &gpus[1 + i % SETS]] {
                let path = shared.join("data/models/TinyStories-656K/gguf").join(file);
                let got = perplexity_of(gpu, &shared, &path, windows);
                let what = format!("{file} against {source}, {ways}");
                check_perplexity(&what, got, want.as_f64().expect("a number"), tolerance);
            }
        }
    }
}
