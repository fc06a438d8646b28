//! `probe`, `plan`, `bench` and the closed loop of `run`, as people use them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anygpu::plan::profile::Profile;
use serde_json::Value;

/// (exit code, stdout, stderr); `cache` keeps what runs of one test share.
fn run(cache: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let cache: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(cache);
    let mut command = Command::new(env!("CARGO_BIN_EXE_anygpu"));
    let output = command.args(arguments).stdin(Stdio::null()).env("ANYGPU_CACHE", cache).output();
    let output = output.expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The cache that the other command-line tests use too: the adapter is verified once.
const SHARED: &str = "cli-cache";

fn json(cache: &str, arguments: &[&str]) -> Value {
    let (code, out, err) = run(cache, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    serde_json::from_str(&out).expect("one JSON document")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got / want - 1.0).abs() <= tolerance, "{got}, expected {want} ± {tolerance}");
}

#[test]
fn llama_2_70b_on_two_a100_as_published() {
    let arguments = ["plan", "shape:Llama-2-70B:f16", "--spec", "a100-80g*2"];
    let (code, out, err) = run(SHARED, &arguments);
    assert_eq!(code, Some(0), "{err}");
    for part in ["138 GB", "320 KiB", "69.0 B parameters", "$0.423 per million prompt", "at batch 8"] {
        assert!(out.contains(part), "{part} is missing in\n{out}");
    }
    let got = json(SHARED, &[&arguments[..], &["--json"]].concat());
    let cell = &got["table"]["cells"][0];
    close(number(&cell["memory"]["weights"]), 140e9, 0.02);
    close(number(&cell["ridge_batch"]), 156.0, 0.03);
    assert_eq!(number(&got["table"]["kv_bytes_per_token"]), 327_680.0);
    // Cursor: $0.42 per million prompt tokens and $66 per million generated at batch 1, without overheads.
    close(number(&cell["usd_per_million_prompt"]), 420.0 / 1000.0, 0.08);
    close(number(&cell["usd_per_million_completion"]), 66.0, 0.04);
    let doubled = json(SHARED, &[&arguments[..], &["--json", "--price", "8.84"]].concat());
    close(number(&doubled["table"]["cells"][0]["usd_per_million_completion"]), 132.0, 0.04);
}

#[test]
fn choices_and_their_reasons() {
    let plan = |more: &[&str]| run(SHARED, &[&["plan", "shape:Llama-3.1-8B", "--spec", "m2"], more].concat());
    let (code, out, err) = plan(&["--min-tps", "12", "--memory", "64GiB"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("* q6_k at batch 1: q8_0 would fit but predicts") && out.contains("under your 12"),
        "{out}"
    );
    let (code, out, _) = plan(&["--memory", "6GiB", "--ctx", "2048"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("would not fit (weights of"), "{out}");
    let (code, out, _) = plan(&["--goal", "throughput", "--memory", "64GiB", "--batch", "1,4,16"]);
    assert_eq!(code, Some(0));
    assert!(out.lines().any(|line| line.starts_with("* q4_") && line.contains(" 16 ")), "{out}");
    let (code, out, _) = plan(&["--quant", "q8_0", "--memory", "64GiB", "--batch", "2", "--json"]);
    assert_eq!(code, Some(0));
    let got: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(got["choice"]["cell"]["name"], "q8_0");
    assert_eq!(got["choice"]["cell"]["batch"], 2);
    // Nothing fits, and nothing is fast enough: a negative answer with the nearest.
    let (code, out, err) = plan(&["--memory", "2GiB"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(err.contains("nothing fits") && err.contains("weights of"), "{err}");
    let (code, _, err) = plan(&["--min-tps", "500", "--memory", "64GiB"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nothing that fits gives 500 tok/s") && err.contains("The nearest: q4_0"), "{err}");
}

#[test]
fn too_large_for_this_adapter() {
    let (code, _, err) = run(SHARED, &["plan", "demo", "--memory", "100MiB"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nothing fits") && err.contains("available"), "{err}");
    // 129.5 MiB: the weights fit only with a short context.
    let (code, _, err) =
        run(SHARED, &["plan", "demo", "--memory", "134MiB", "--quant", "q4_0", "--batch", "16"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nothing fits"), "{err}");
}

#[test]
fn absurd_wishes_are_refused() {
    for (arguments, complaint) in [
        (&["plan", "shape:Llama-9"][..], "Llama"),
        (&["plan", "shape:Llama-2-7B", "--spec", "rtx-9999"], "unknown hardware"),
        (&["plan", "shape:Llama-2-7B", "--spec", "bandwidth=-1"], "bandwidth"),
        (&["plan", "demo", "--spec", "m1", "--min-tps", "0"], "--min-tps"),
        (&["plan", "demo", "--spec", "m1", "--max-ttft", "nan"], "--max-ttft"),
        (&["plan", "demo", "--spec", "m1", "--users", "0"], "--users"),
        (&["plan", "demo", "--spec", "m1", "--batch", "0"], "--batch"),
        (&["plan", "demo", "--spec", "m1", "--ctx", "-5"], "--ctx"),
        (&["plan", "demo", "--spec", "m1", "--ctx", "1000000"], "--ctx"),
        (&["plan", "demo", "--spec", "m1", "--prompt", "512"], "--prompt"),
        (&["plan", "demo", "--spec", "m1", "--price", "-3"], "--price"),
        (&["plan", "demo", "--spec", "m1", "--watts", "30"], "--kwh"),
        (&["plan", "demo", "--spec", "m1", "--chunk", "0"], "--chunk"),
        (&["plan", "demo", "--chunk", "99999999999"], "--chunk"),
        (&["plan", "demo", "--batch", "17"], "at most 16 together"),
        (&["plan", "demo", "--spec", "m1", "--kwh", "0.3", "--price", "1"], "--kwh"),
        (&["bench", "demo", "-d", "18446744073709551615"], "positions"),
        (&["bench", "plan", "demo", "-b", "17"], "1 to 16 sequences"),
        (&["plan", "demo", "--profile", "Cargo.toml"], "no profile"),
        (&["plan", "demo", "--profile", "not/there.json"], "not/there.json"),
        (&["plan", "not-there.gguf"], "not-there.gguf"),
        (&["bench", "demo", "-p", "0", "-n", "0"], "nothing to measure"),
        (&["bench", "demo", "-r", "0"], "--repetitions"),
        (&["bench", "demo", "-n", "8", "-b", "99", "-p", "0", "--no-plan"], "1 to 16 sequences"),
        (&["bench", "plan", "demo", "--quants", "q9"], "q9"),
        (&["bench", "load", "demo"], "reading a file is measured here: give a model folder"),
        (&["bench", "load", "shape:SmolLM2-135M:q4_0"], "has no weights"),
        (&["bench", "load", "not-there.gguf"], "no such file or folder 'not-there.gguf'"),
        (&["run", "A fox", "--min-tps", "-1"], "--min-tps"),
    ] {
        let (code, out, err) = run(SHARED, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {out}{err}");
        assert!(err.contains(complaint), "{arguments:?}: {err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}

#[test]
fn a_profile_travels_and_its_damage_is_noticed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("profile.json");
    let path = file.display().to_string();
    // What `plan demo` measures is kept; the file in the cache is a profile like any other. Earlier builds may have left
    // theirs there.
    let here = json("cli-plan-cache", &["plan", "demo", "--batch", "1,2", "--json"]);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-plan-cache");
    let kept = std::fs::read_dir(cache).expect("the cache").filter_map(Result::ok).map(|e| e.path());
    let kept = kept.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("profile-")));
    let written = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).expect("a time");
    let kept = kept.max_by_key(written);
    let text = std::fs::read_to_string(kept.expect("a kept profile")).expect("readable");
    let profile: Profile = serde_json::from_str(&text).expect("a profile");
    assert!(
        profile.read_bytes_s.value > 1e8
            && profile.reference_s > 0.0
            && profile.conditions.unix_time > 1_700_000_000
    );
    std::fs::write(&file, &text).expect("written");
    let there = json(SHARED, &["plan", "demo", "--batch", "1,2", "--profile", &path, "--json"]);
    assert_eq!(
        there["table"]["cells"][1]["step"], here["table"]["cells"][1]["step"],
        "the same numbers elsewhere"
    );
    // Types that were not measured are named, not guessed.
    let mut poor = profile.clone();
    poor.matrices.retain(|m| m.dtype.is_float());
    std::fs::write(&file, serde_json::to_string(&poor).expect("JSON")).expect("written");
    let (code, _, err) = run(SHARED, &["plan", "demo", "--profile", &path]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no reading of q8_0") && err.contains("anygpu probe"), "{err}");
    let mut dead = profile.clone();
    dead.matrices[0].bytes_s.value = 0.0;
    std::fs::write(&file, serde_json::to_string(&dead).expect("JSON")).expect("written");
    let (code, _, err) = run(SHARED, &["plan", "demo", "--profile", &path]);
    assert_eq!(code, Some(2));
    assert!(err.contains("matrices is no measurement"), "{err}");
    for (from, to, complaint) in
        [("\"version\": 4", "\"version\": 99", "format 99"), ("\"version\"", "\"verzion\"", "no profile")]
    {
        assert!(text.contains(from));
        std::fs::write(&file, text.replacen(from, to, 1)).expect("written");
        let (code, _, err) = run(SHARED, &["plan", "demo", "--profile", &path]);
        assert_eq!(code, Some(2));
        assert!(err.contains(complaint), "{err}");
    }
}

/// Profiles of the first format lacked a field.
#[test]
fn an_old_profile_is_told_by_its_format() {
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results/2026-11-24-llvmpipe-profile-1.json");
    let (code, _, err) = run(SHARED, &["plan", "demo", "--profile", old]);
    assert_eq!(code, Some(2));
    assert!(err.contains("profile format 1, expected 4") && err.contains("anygpu probe"), "{err}");
}

#[test]
fn benchmarks_speak_like_llama_bench() {
    let arguments = ["bench", "shape:demo:q8_0", "-p", "6", "-n", "3", "-d", "0,40", "-b", "1,2", "-r", "2"];
    let got = json("cli-plan-cache", &[&arguments[..], &["-o", "json"]].concat());
    let rows = got.as_array().expect("a list");
    assert_eq!(rows.len(), 6, "pp6, tg3 and tg3 × 2 at two depths");
    for row in rows {
        for key in [
            "avg_ts",
            "avg_ns",
            "median_ts",
            "bytes_per_step",
            "avg_gbs",
            "pct_peak",
            "pred_ts",
            "pred_ratio",
        ] {
            assert!(number(&row[key]) > 0.0, "{key} in {row}");
        }
        for key in
            ["build_commit", "cpu_info", "gpu_info", "backends", "model_filename", "test_time", "type_k"]
        {
            assert!(row[key].is_string(), "{key} in {row}");
        }
        // Anything wilder than this is a prediction of something else.
        assert!((0.05..20.0).contains(&number(&row["pred_ratio"])), "{row}");
        assert_eq!(row["samples_ts"].as_array().map(Vec::len), Some(2));
        let tokens = number(&row["n_prompt"]) + number(&row["n_gen"]) * number(&row["n_sequences"]);
        close(number(&row["samples_ts"][0]), tokens / number(&row["samples_ns"][0]) * 1e9, 1e-3);
    }
    assert_eq!(rows[0]["n_prompt"], 6);
    assert_eq!(rows[5]["n_depth"], 40);
    let short = ["bench", "demo", "-p", "0", "-n", "2", "-r", "1", "--no-plan", "-o"];
    let (code, out, err) = run(SHARED, &[&short[..], &["md"]].concat());
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("| model") && out.contains(" tg2 |") && out.contains("t/s"), "{out}");
    let (_, out, _) = run(SHARED, &[&short[..], &["csv"]].concat());
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("build_commit,build_number,cpu_info"), "{out}");
    let (_, out, _) = run(SHARED, &[&short[..], &["jsonl"]].concat());
    assert_eq!(out.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 1);
}

#[test]
fn runs_teach_the_next_prediction() {
    let cache = "cli-loop-cache";
    let _ = std::fs::remove_dir_all(Path::new(env!("CARGO_TARGET_TMPDIR")).join(cache));
    let story = ["run", "A fox", "--json", "--temperature", "0", "--max-tokens", "24", "--ignore-eos"];
    let first = json(cache, &story);
    let prediction = &first["prediction"];
    assert_eq!(number(&prediction["correction"]), 1.0, "nothing was learnt yet");
    close(
        number(&prediction["ratio"]),
        number(&prediction["achieved_tok_s"]) / number(&prediction["predicted_tok_s"]),
        1e-9,
    );
    let parts = &prediction["residual_s"];
    let sum = ["weights_and_launches", "kv", "sampling_and_output"]
        .map(|part| number(&parts[part]))
        .iter()
        .sum::<f64>();
    let achieved = 1.0 / number(&prediction["achieved_tok_s"]);
    assert!((sum - number(&parts["total"])).abs() < 0.02 * achieved, "the parts are the whole: {prediction}");
    json(cache, &story);
    let third = json(cache, &story);
    let correction = number(&third["prediction"]["correction"]);
    assert!(correction > 0.0 && correction != 1.0, "two runs correct the third: {}", third["prediction"]);
    let (_, _, err) =
        run(cache, &["run", "A fox", "--temperature", "0", "--max-tokens", "24", "--ignore-eos"]);
    for part in
        ["plan: bf16 (as stored)", "learnt from", "predicted", "achieved", "KV", "sampling and output"]
    {
        assert!(err.contains(part), "{part} is missing in {err}");
    }
    let with = json(cache, &["plan", "demo", "--batch", "1", "--json"]);
    let without = json(cache, &["plan", "demo", "--batch", "1", "--json", "--no-history"]);
    assert!(without["table"]["cells"][0]["correction"].is_null());
    close(
        number(&with["table"]["cells"][0]["decode_tok_s"]),
        number(&without["table"]["cells"][0]["decode_tok_s"])
            * number(&with["table"]["cells"][0]["correction"]["ratio"]),
        1e-9,
    );
    let (_, _, err) = run(cache, &["run", "A fox", "--max-tokens", "12", "--no-plan"]);
    assert!(!err.contains("plan:") && !err.contains("predicted"), "{err}");
}

#[test]
fn names_and_rows_are_those_one_can_type() {
    let (code, out, _) = run(SHARED, &["plan", "--spec", "list"]);
    assert_eq!(code, Some(0));
    assert!(out.lines().any(|name| name == "m2-max") && out.lines().count() > 40, "{out}");
    // Rows of 576 are no multiple of 256: some wishes become finer types, but rows are named by the wish.
    let got = json(SHARED, &["plan", "shape:SmolLM2-135M", "--spec", "m1", "--batch", "1", "--json"]);
    let cells = got["table"]["cells"].as_array().expect("cells");
    let names: Vec<&str> = cells.iter().filter_map(|cell| cell["name"].as_str()).collect();
    assert_eq!(names, ["f16", "q8_0", "q6_k", "q5_k", "q4_k", "q4_0"]);
    for name in names {
        let (code, _, err) = run(SHARED, &["plan", "shape:SmolLM2-135M", "--spec", "m1", "--quant", name]);
        assert_eq!(code, Some(0), "{err}");
    }
    // Much of a machine's memory is not for models.
    let got = json(SHARED, &["plan", "shape:Llama-3.1-8B", "--spec", "m2", "--json"]);
    assert_ne!(got["choice"]["cell"]["name"], "f16", "15 of 16 GiB would leave nothing for the rest");
    // A long prompt does not need buffers for all of it at once.
    let long = ["--spec", "rtx-4090", "--ctx", "131072", "--prompt", "100000", "--batch", "1"];
    let (code, _, err) = run(SHARED, &[&["plan", "shape:Llama-3.1-8B:q4_0"], &long[..]].concat());
    assert_eq!(code, Some(0), "{err}");
}
