//! `anygpu quality` and what is behind it, on the demo model: quantizations rank as they should, and the
//! figures are those of the plain formulas.

#[expect(dead_code, reason = "shared with tests that use all of it")]
#[path = "common/engine.rs"]
mod engine;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anygpu::base::DType;
use anygpu::engine::quality::{self, Divergence, Progress, QualityReport, Text};
use anygpu::engine::{EngineError, LoadOptions, Model, Session};
use anygpu::formats::Archive;
use anygpu::formats::gguf::GgufWriter;
use anygpu::gpu::Gpu;
use anygpu::model::ModelSpec;
use serde_json::Value;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model/model");
const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/quality_text.txt");
/// Tokens that a session holds here.
const CONTEXT: usize = 96;

fn text() -> String {
    std::fs::read_to_string(TEXT).expect("the text")
}

fn load(gpu: &Gpu, quant: DType) -> Result<Model, EngineError> {
    // A chunk that is no divisor of the window.
    let options =
        LoadOptions { quant: Some(quant), context: Some(CONTEXT), chunk: Some(40), ..LoadOptions::default() };
    Model::demo(gpu, &options)
}

fn measure(gpu: &Gpu, text: &Text<'_>, quants: &[DType]) -> Result<QualityReport, EngineError> {
    quality::measure(&mut |quant| load(gpu, quant), text, quants, &mut |_| true)
}

/// Windows of BOS and text as `quality` cuts them.
fn windows(model: &Model) -> Vec<Vec<u32>> {
    let tokenizer = model.tokenizer().expect("a tokenizer");
    let ids = tokenizer.encode(&text(), true, false).expect("ids");
    let bos = tokenizer.bos().expect("a BOS");
    assert_eq!(ids[0], bos);
    ids[1..].chunks_exact(CONTEXT - 1).map(|chunk| [&[bos], chunk].concat()).collect()
}

#[test]
fn quantizations_rank_by_their_bits() {
    let gpu = engine::gpu();
    let part = Text { text: &text(), name: "tale.txt", limit: 5 };
    let quants = [DType::Q8_0, DType::Q6K, DType::Q4_0];
    let report = measure(&gpu, &part, &quants).expect("measured");
    println!("{report:#?}");
    let model = load(&gpu, DType::F16).expect("model");
    assert_eq!((report.text.as_str(), report.window), ("tale.txt", CONTEXT - 1));
    assert_eq!(report.tokens, 5 * report.window);
    let found: Vec<DType> = report.rows.iter().map(|row| row.quant).collect();
    assert_eq!(found, [&[DType::F16], &quants[..]].concat());
    let [f16, q8, q6, q4] = &report.rows[..] else { panic!("four rows") };
    assert_eq!((f16.ppl_ratio, f16.kl_mean, f16.kl_p99, f16.top1), (1.0, 0.0, 0.0, 1.0));
    assert_eq!(f16.weight_bytes, model.needs().weights);
    assert!(f16.weight_bytes > q8.weight_bytes && q8.weight_bytes > q6.weight_bytes);
    assert!(q6.weight_bytes > q4.weight_bytes);
    assert!(q8.kl_mean < q6.kl_mean && q6.kl_mean < q4.kl_mean, "{report:?}");
    assert!(q8.top1 > 0.95 && q4.top1 < q8.top1, "{report:?}");
    for row in &report.rows[1..] {
        assert!(row.kl_mean > 0.0 && row.kl_p99 > row.kl_mean && row.ppl > 1.0, "{row:?}");
        assert!((row.ppl / f16.ppl / row.ppl_ratio - 1.0).abs() <= 1e-12, "{row:?}");
        assert!((row.ppl_ratio - 1.0).abs() < 0.1, "{row:?}");
    }
}

#[test]
fn figures_are_those_of_the_plain_formulas() {
    let gpu = engine::gpu();
    let (f16, q4) = (load(&gpu, DType::F16).expect("model"), load(&gpu, DType::Q4_0).expect("model"));
    let windows = &windows(&f16)[..2];
    let compare = |other: &Model| {
        let (mut a, mut b) = (Session::new(&f16).expect("session"), Session::new(other).expect("session"));
        quality::compare(&mut a, &mut b, windows, &mut |_, _, _| true).expect("compared")
    };
    let itself = compare(&f16).summary().expect("tokens");
    assert!(itself.kl_mean.abs() < 1e-9 && itself.kl_p99.abs() < 1e-9, "{itself:?}");
    assert_eq!((itself.top1, itself.ppl, itself.ppl_ratio), (1.0, itself.ppl_reference, 1.0));

    // All logits of every window held, then compared one after the other.
    let logits = |model: &Model| {
        let mut session = Session::new(model).expect("session");
        let mut rows = Vec::new();
        for window in windows {
            session.truncate(0);
            for chunk in window[..window.len() - 1].chunks(session.chunk()) {
                session.feed_all_logits(chunk, 0, &mut |_, row| rows.push(row.to_vec())).expect("fed");
            }
        }
        rows
    };
    let mut plain = Divergence::default();
    let next = windows.iter().flat_map(|window| &window[1..]);
    for ((p, q), next) in logits(&f16).iter().zip(&logits(&q4)).zip(next) {
        plain.push(p, q, *next).expect("finite");
    }
    assert_eq!(plain.tokens(), 2 * (CONTEXT - 1));
    assert_eq!(compare(&q4), plain);
    assert_ne!(compare(&f16), plain, "another model gives other figures");
}

#[test]
fn progress_limit_and_cancelling() {
    let gpu = engine::gpu();
    let two = Text { text: &text(), name: "tale.txt", limit: 2 };
    let mut seen = Vec::new();
    let mut progress = |p: &Progress| {
        seen.push((p.quant, p.quant_ix, p.n_quants, p.windows, p.n_windows, p.so_far.tokens));
        p.quant_ix == 0
    };
    let quants = [DType::Q8_0, DType::Q4_0];
    let stopped = quality::measure(&mut |quant| load(&gpu, quant), &two, &quants, &mut progress);
    assert!(matches!(stopped, Err(EngineError::Cancelled)), "{stopped:?}");
    let n = CONTEXT - 1;
    let expected =
        [(DType::Q8_0, 0, 2, 1, 2, n), (DType::Q8_0, 0, 2, 2, 2, 2 * n), (DType::Q4_0, 1, 2, 1, 2, n)];
    assert_eq!(seen, expected);
    for (text, limit) in [("Once upon a time.", usize::MAX), (two.text, 0)] {
        let short = Text { text, name: "short.txt", limit };
        let message = measure(&gpu, &short, &quants).expect_err("too short").to_string();
        assert!(message.contains("--file") && message.contains("one window of 95 tokens"), "{message}");
    }
}

#[test]
fn two_models_must_fit() {
    let gpu = engine::gpu();
    let archive = Archive::open(Path::new(DEMO)).expect("demo model");
    let spec = ModelSpec::from_archive(&archive).expect("a model");
    let one = load(&gpu, DType::F16).expect("model").needs();
    let check = |memory: u64| {
        let options = LoadOptions {
            context: Some(CONTEXT),
            chunk: Some(40),
            memory: Some(memory),
            ..Default::default()
        };
        quality::check_memory(&gpu, &archive, &spec, &[DType::Q4_0, DType::Q8_0], &options)
    };
    let q8 = load(&gpu, DType::Q8_0).expect("model").needs();
    let both = one.total() + q8.total() - q8.headroom;
    assert!(check(both).is_ok());
    for memory in [both - 1, one.total()] {
        let message = check(memory).expect_err("too much").to_string();
        assert!(message.contains("f16 and q8_0 are compared side by side"), "{message}");
    }
}

/// The program with a cache of its own.
fn program(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anygpu"));
    command.args(arguments).stdin(Stdio::null()).env("ANYGPU_CACHE", cache());
    let output = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("quality-cache")
}

#[test]
fn the_command_prints_and_keeps_a_report() {
    let arguments = ["quality", DEMO, "--file", TEXT, "--ctx", "64", "--limit", "2", "--quant"];
    let (code, out, err) = program(&[&arguments[..], &["q4_0,Q8_0", "--json"]].concat());
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("q8_0 (1 of 2): 2/2 windows") && err.contains("q4_0 (2 of 2)"), "{err}");
    let json: Value = serde_json::from_str(&out).expect("one JSON document");
    let report: QualityReport = serde_json::from_value(json.clone()).expect("a report");
    assert_eq!((report.text.as_str(), report.tokens, report.window), ("quality_text.txt", 126, 63));
    assert_eq!(json["rows"][1]["quant"], "q8_0");
    assert!(json["adapter"]["id"].is_string() && json["n_params"].as_u64().is_some_and(|n| n == 4_458_752));
    let fingerprint = quality::fingerprint(&Archive::open(Path::new(DEMO)).expect("demo model"));
    let file = cache().join(format!("quality-{fingerprint:016x}.json"));
    let kept: QualityReport = serde_json::from_slice(&std::fs::read(file).expect("kept")).expect("a report");
    assert_eq!(kept.rows[..3], report.rows, "what another run measured may follow");

    let (code, out, err) = program(&[&arguments[..], &["q6_k"]].concat());
    assert_eq!(code, Some(0), "{err}");
    for part in ["quality_text.txt: 126 tokens in windows of 63", "KL 99 %", "\nf16 ", "\nq6_k ", "MiB"] {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
}

/// A one-layer GGUF model with quantized weights.
fn quantized() -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "llama");
    for key in ["block_count", "attention.head_count"] {
        writer.set(&format!("llama.{key}"), 1u32);
    }
    for key in ["context_length", "embedding_length", "feed_forward_length"] {
        writer.set(&format!("llama.{key}"), 32u32);
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    let norms = ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"];
    let matrices = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let mut bytes = Vec::new();
    writer.tensor("token_embd.weight", DType::F16, &[32, 32]).expect("sound");
    bytes.push(32 * 64);
    for name in norms {
        writer.tensor(&format!("{name}.weight"), DType::F32, &[32]).expect("sound");
        bytes.push(128);
    }
    for name in matrices {
        writer.tensor(&format!("blk.0.{name}.weight"), DType::Q4_0, &[32, 32]).expect("sound");
        bytes.push(32 * 18);
    }
    let mut body = writer.begin(Vec::new()).expect("sound");
    bytes.into_iter().for_each(|n| body.write(&vec![0; n]).expect("written"));
    body.finish().expect("complete")
}

#[test]
fn errors_say_what_and_what_next() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (gguf, short) = (path("small-q4_0.gguf"), path("short.txt"));
    std::fs::write(&gguf, quantized()).expect("written");
    std::fs::write(&short, "Once upon a time.").expect("written");
    for (arguments, parts) in [
        (
            vec![&gguf, "--file", TEXT],
            vec!["small-q4_0.gguf", "is stored as q4_0", "give the unquantized model"],
        ),
        (vec![DEMO, "--file", "missing.txt"], vec!["missing.txt", "No such file"]),
        (vec!["missing.gguf", "--file", TEXT], vec!["missing.gguf", "no such file"]),
        (vec![DEMO, "--file", &short], vec!["--file", "511 tokens", "short.txt", "--ctx"]),
        (vec![DEMO, "--file", TEXT, "--ctx", "513"], vec!["--ctx", "1 to 512", "513"]),
        (vec![DEMO, "--file", TEXT, "--memory", "1MiB"], vec!["1 MiB", "weights", "side by side"]),
    ] {
        let (code, out, err) = program(&[&["quality"], &arguments[..]].concat());
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        let last = err.lines().last().unwrap_or_default();
        assert!(last.starts_with("anygpu: "), "{arguments:?}: {err}");
        parts.iter().for_each(|part| assert!(last.contains(part), "{arguments:?}: no {part} in {last}"));
    }
    for (arguments, part) in [
        (vec!["quality", DEMO], "--file"),
        (vec!["quality", DEMO, "--file", TEXT, "--quant", "q9"], "q8_0,q6_k,q5_k,q4_k,q4_0"),
        (vec!["quality", DEMO, "--file", TEXT, "--quant", "q8_0,f16"], "expected some of"),
    ] {
        let (code, out, err) = program(&arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(part), "{arguments:?}: {part} is missing in {err}");
    }
}
