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

/// The words of a text, however its lines are broken.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn llama_2_70b_on_two_a100_as_published() {
    // The published figures are those of tensor cores at Cursor's measured fraction, which no kernel here uses.
    let tensor_cores = "a100-80g*2,flops=312TFLOPS,usable-flops=0.6410256410256411";
    let arguments = ["plan", "shape:Llama-2-70B:f16", "--spec", tensor_cores];
    let (code, out, err) = run(SHARED, &arguments);
    assert_eq!(code, Some(0), "{err}");
    let out = words(&out);
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
        out.contains("* q6_k at batch 1: q8_0 would fit but predicts")
            && words(&out).contains("under your 12"),
        "{out}"
    );
    let (code, out, _) = plan(&["--memory", "6GiB", "--ctx", "2048"]);
    assert_eq!(code, Some(0), "{out}");
    // The needs stand against the same number as in the last line: all that is available.
    assert!(out.contains("would not fit (needs 6.7 GiB of 6 GiB, weights alone 6.1 GiB)"), "{out}");
    assert!(out.contains("of 6 GiB available (--memory)"), "{out}");
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
    assert!(err.contains("nothing fits") && err.contains("needs 5.2 GiB of 2 GiB, weights alone"), "{err}");
    let (code, _, err) = plan(&["--min-tps", "500", "--memory", "64GiB"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nothing that fits gives 500 tok/s") && err.contains("The nearest: q4_k"), "{err}");
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
        (&["plan", "Llama-3.1-8B", "--spec", "m1"], "did you mean shape:Llama-3.1-8B?"),
        (&["plan", "llama 3.1 8b:q4_0", "--spec", "m1"], "did you mean shape:Llama-3.1-8B:q4_0?"),
        (&["plan", "Qwen3-8", "--spec", "m1"], "did you mean shape:Qwen3-8B?"),
        (&["bench", "llama-2-7b"], "did you mean shape:Llama-2-7B?"),
        (&["plan", "shape:Gemma-7B", "--spec", "m1"], "there are shapes of SmolLM2, TinyLlama"),
        (&["bench", "shape:list"], "`anygpu plan shape:list` lists all"),
        (&["plan", "shape:Llama-2-7B", "--spec", "m7"], "--spec (list: all machines known by name)"),
        (&["plan", "demo", "--spec", "m1,colour=red"], "unknown key `colour`"),
        (&["bench", "demo", "-p", "600"], "-p 600 behind -d 0: expected at most 512 positions together"),
        (&["bench", "demo", "-p", "0", "-n", "1", "-d", "512"], "-n 1 behind -d 512: expected at most 512"),
        (&["bench", "demo", "-d", "5000"], "-d 5000: expected at most 512"),
        (&["bench", "kernels", "demo", "-d", "512"], "expected 0 to 511"),
        (&["bench", "plan", "demo", "-d", "64,512"], "expected 1 to 511"),
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
        assert_eq!(row["n_gpu_layers"], 4);
        assert!(number(&row["system_memory"]) > 1e8 && number(&row["max_binding"]) >= 1e8, "{row}");
        for key in [
            "build_commit",
            "cpu_info",
            "gpu_info",
            "backends",
            "model_filename",
            "test_time",
            "type_k",
            "driver",
            "anygpu_version",
            "anygpu_kernels",
            "os",
            "arch",
            "adapter_kind",
            "adapter_features",
        ] {
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
    assert!(out.contains("| demo bf16 ") && out.contains(" 4.46 M "), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    let (_, wide, _) = run(SHARED, &[&short[..], &["wide"]].concat());
    let columns = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let cells: Vec<Vec<String>> = wide.lines().map(columns).collect();
    let at = |name: &str| cells[0].iter().position(|cell| cell == name).expect(name);
    // The demo model has four layers.
    assert_eq!((&cells[2][at("ngl")], &cells[2][at("test")]), (&"4".to_owned(), &"tg2".to_owned()), "{wide}");
    for llama_bench in ["model", "size", "params", "backend", "ngl", "test", "t/s"] {
        at(llama_bench);
    }
    let (_, out, _) = run(SHARED, &[&short[..], &["csv"]].concat());
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("build_commit,build_number,cpu_info"), "{out}");
    let (_, out, _) = run(SHARED, &[&short[..], &["jsonl"]].concat());
    assert_eq!(out.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 1);
}

/// Says of the kept profile how calm the machine was.
fn set_drift(cache: &str, drift: f64) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(cache);
    let files = std::fs::read_dir(folder).expect("the cache").map(|file| file.expect("a file").path());
    let is_profile =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("profile-"));
    let path = files.filter(is_profile).last().expect("a profile");
    let text = std::fs::read_to_string(&path).expect("read");
    let mut profile: Value = serde_json::from_str(&text).expect("JSON");
    profile["conditions"]["drift"] = drift.into();
    std::fs::write(&path, profile.to_string()).expect("written");
}

#[test]
fn runs_teach_the_next_prediction() {
    let cache = "cli-loop-cache";
    let _ = std::fs::remove_dir_all(Path::new(env!("CARGO_TARGET_TMPDIR")).join(cache));
    let story = ["run", "A fox", "--json", "--temperature", "0", "--max-tokens", "24", "--ignore-eos"];
    // Nobody waits for a prediction: without a profile there is none.
    assert!(json(cache, &story)["prediction"].is_null());
    json(cache, &["plan", "demo", "--batch", "1", "--json"]);
    // Neither is there one from a profile that a busy machine gave.
    set_drift(cache, 0.5);
    assert!(json(cache, &story)["prediction"].is_null());
    set_drift(cache, 0.0);
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
        run(cache, &["run", "A fox", "--temperature", "0", "--max-tokens", "24", "--ignore-eos", "--stats"]);
    for part in ["bf16 (as stored)", "learnt from", "predicted", "achieved", "KV", "sampling and output"] {
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
    assert!(!err.contains("predicted"), "{err}");
}

#[test]
fn names_and_rows_are_those_one_can_type() {
    let (code, out, _) = run(SHARED, &["plan", "--spec", "list"]);
    assert_eq!(code, Some(0));
    assert!(out.lines().any(|line| line.starts_with("m2-max ")) && out.lines().count() > 40, "{out}");
    let (code, out, _) = run(SHARED, &["plan", "shape:list"]);
    assert_eq!(code, Some(0));
    assert!(out.lines().any(|line| line.starts_with("shape:Llama-3.1-8B ")), "{out}");
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

/// Numbers of a column of a plan's table, by the name in its head; rows in order.
fn column(text: &str, name: &str) -> Vec<String> {
    let head = text.lines().find(|line| line.starts_with("  weights ")).expect("a table");
    // Columns are right-aligned under their names.
    let end = head.find(name).expect(name) + name.len();
    let rows = text.lines().skip_while(|line| *line != head).skip(1);
    let rows = rows.take_while(|line| line.chars().nth(9).is_some_and(|c| c == ' ') && line.len() > end);
    let cell = |line: &str| {
        let line: String = line.chars().take(end).collect();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    rows.filter(|line| line.starts_with("  ") || line.starts_with("* ")).map(cell).collect()
}

#[test]
fn every_line_of_a_plan_fits_a_terminal() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let long = folder
        .path()
        .join(format!("{}.json", "a-very-long-name-of-a-model-that-somebody-trained-".repeat(4)));
    let config = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 5632,
        "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 32000,
        "max_position_embeddings": 2048, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16"}"#;
    std::fs::write(&long, config).expect("written");
    let long = long.display().to_string();
    for arguments in [
        &["plan", "shape:Llama-3.1-70B", "--spec", "h200*1024"][..],
        &["plan", "shape:Llama-2-70B", "--spec", "a100-80g*2", "--ctx", "4096"],
        &["plan", "shape:SmolLM2-135M", "--spec", "m2-ultra", "--watts", "1", "--kwh", "0.01"],
        &[
            "plan",
            "shape:Llama-3.1-70B",
            "--spec",
            "raspberry-pi-4",
            "--memory",
            "1000GiB",
            "--price",
            "1000",
        ],
        &["plan", "shape:Qwen2.5-32B", "--spec", "m4-max", "--memory", "20GiB"],
        &["plan", "shape:Qwen2.5-7B", "--spec", "iris-xe", "--users", "7", "--batch", "7,4096"],
        &["plan", &long, "--spec", "bandwidth=68.123456789GB/s,flops=2.6TFLOPS,memory=16GiB,price=3"],
        &["plan", "demo", "--spec", "m1"],
        &["plan", "--spec", "list"],
        &["plan", "shape:list"],
    ] {
        let (_, out, err) = run(SHARED, arguments);
        assert!(out.lines().count() > 5, "{arguments:?}: {err}");
        for line in out.lines() {
            assert!(line.chars().count() <= 100, "{arguments:?}: {line}");
        }
    }
}

#[test]
fn what_is_too_slow_to_use_is_not_chosen() {
    let plan = |more: &[&str]| run(SHARED, &[&["plan"], more].concat());
    // f16 fits, but gives 3.5 tok/s.
    let iris = ["shape:Llama-3.1-8B", "--spec", "iris-xe", "--memory", "32GiB", "--batch", "1"];
    let (code, out, err) = plan(&iris);
    assert_eq!(code, Some(0), "{err}");
    let reason = "* q8_0 at batch 1: f16 would fit but is too slow to use (3.51 tok/s, under 5)";
    assert!(words(&out).contains(reason), "{out}");
    // A target of one's own sets the least aside.
    let (code, out, _) = plan(&[&iris[..], &["--min-tps", "3"]].concat());
    assert_eq!(code, Some(0));
    assert!(out.contains("* f16 at batch 1"), "{out}");
    // Nothing is fast enough: said plainly, with the fastest, a smaller model, and exit code 1.
    let slow = ["shape:Llama-3.1-70B", "--spec", "m2", "--memory", "128GiB"];
    let (code, out, err) = plan(&slow);
    assert_eq!(code, Some(1), "{err}");
    assert!(!out.lines().any(|line| line.starts_with('*')), "{out}");
    for part in
        ["too slow to use on m2", "5 tok/s", "The nearest: q4_k at batch 1", "Fast enough is shape:Qwen2.5-"]
    {
        assert!(err.contains(part), "{part} is missing in {err}");
    }
    let (_, out, _) = plan(&[&slow[..], &["--json"]].concat());
    let got: Value = serde_json::from_str(&out).expect("JSON");
    assert!(got["choice"].is_null() && got["goal"]["usable"] == true, "{got}");
    assert!(got["smaller"].as_str().is_some_and(|name| name.starts_with("shape:Qwen2.5-14B")), "{got}");
    // Slow prompts are no use either, however fast the rest.
    let spec = "bandwidth=1TB/s,flops=0.1TFLOPS,memory=64GiB";
    let (code, _, err) = plan(&["shape:Llama-3.1-8B", "--spec", spec, "--batch", "1"]);
    assert_eq!(code, Some(1), "{err}");
}

#[test]
fn qualities_are_told_apart() {
    let (_, out, _) = run(SHARED, &["plan", "shape:Llama-3.1-8B", "--spec", "m2-max", "--batch", "1"]);
    let quality: Vec<String> = out
        .lines()
        .filter(|line| line.ends_with(" %") && (line.starts_with("  ") || line.starts_with("* ")))
        .filter_map(|line| line.trim_end_matches(" %").rsplit(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(quality, ["0", "+0.04", "+0.35", "+1.7", "+4.3", "+7.5"], "{out}");
    assert!(words(&out).contains("as llama.cpp published it for Llama-3-8B"), "{out}");
    let got = json(SHARED, &["plan", "shape:Llama-3.1-8B", "--spec", "m2-max", "--batch", "1", "--json"]);
    assert!(got["published_quality"]["source"].as_str().is_some_and(|text| text.contains("llama.cpp")));
    assert_eq!(got["published_quality"]["rows"].as_array().map(Vec::len), Some(7));
}

/// The same units count on every machine, so that prompt speeds compare: f32 without matrix units.
#[test]
fn prompt_speeds_of_machines_compare_by_their_f32_rates() {
    let prompt = |spec: &str| {
        let (_, out, err) = run(SHARED, &["plan", "shape:Llama-3.1-8B:q4_0", "--spec", spec, "--batch", "1"]);
        column(&out, "prompt")
            .first()
            .and_then(|cell| cell.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("{out}{err}"))
    };
    let [m2_max, ada, ampere] = ["m2-max", "rtx-4090", "rtx-3090"].map(prompt);
    close(ada / ampere, 82.6 / 35.6, 0.03);
    close(ada / m2_max, 82.6 / 13.6, 0.05);
}

#[test]
fn the_memory_assumed_is_named_with_the_others() {
    let head = |more: &[&str]| {
        let (_, out, _) =
            run(SHARED, &[&["plan", "shape:Llama-3.1-8B", "--batch", "1", "--spec"], more].concat());
        words(&out)
    };
    let part =
        "memory: 32 GiB assumed, 70 % of it for models; --memory 44GiB for 64 GiB, --memory 67GiB for 96 GiB";
    assert!(head(&["m2-max"]).contains(part));
    assert!(head(&["780m"]).contains("memory: 32 GiB assumed, 70 % of it for models; --memory counts on"));
    assert!(!head(&["m2-max", "--memory", "44GiB"]).contains("assumed, 70 %"));
    assert!(!head(&["rtx-4090"]).contains("assumed, 95 %"));
}

/// What a fault report needs stands in front of every result.
#[test]
fn every_result_names_program_system_and_adapter() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model/model");
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "Once upon a time there was a little girl who lived in a house. ".repeat(4))
        .expect("written");
    let text = text.display().to_string();
    for arguments in [
        &["devices", "--json"][..],
        &["run", "A fox", "--json", "--max-tokens", "2", "--no-plan"],
        &["plan", "demo", "--spec", "m1", "--json"],
        &["logits", "demo", "--text", "A fox", "--json"],
        &["perplexity", "demo", "--file", &text, "--ctx", "32", "--json"],
        &["quality", model, "--file", &text, "--ctx", "32", "--quant", "q8_0", "--json"],
        &["bench", "load", model, "-r", "1", "--json"],
        &["verify", "--quick", "--as-is", "--json"],
    ] {
        let got = json(SHARED, arguments);
        let keys: Vec<&String> = got.as_object().expect("an object").keys().take(3).collect();
        assert_eq!(keys, ["program", "system", "adapter"], "{arguments:?}");
        for path in ["/program/version", "/program/kernels", "/program/build", "/system/os", "/system/arch"] {
            assert!(got.pointer(path).is_some_and(|value| !value.is_null()), "{path}: {arguments:?}");
        }
        let opened = !arguments.contains(&"--spec");
        for path in
            ["/adapter/id", "/adapter/driver_info", "/adapter/subgroup_sizes", "/adapter/max_binding_bytes"]
        {
            assert_eq!(
                got.pointer(path).is_some_and(|value| !value.is_null()),
                opened,
                "{path}: {arguments:?}"
            );
        }
    }
}

/// Numbers that are f32 are not printed with the digits of an f64.
#[test]
fn numbers_are_as_short_as_they_were_typed() {
    let got =
        json(SHARED, &["run", "A fox", "--json", "--max-tokens", "1", "--no-plan", "--temperature", "0.7"]);
    assert_eq!(got["sampling"]["temperature"].to_string(), "0.7");
    for key in ["top_p", "min_p", "repeat_penalty"] {
        assert!(got["sampling"][key].to_string().len() <= 6, "{key}: {}", got["sampling"]);
    }
    let got = json(SHARED, &["logits", "demo", "--ids", "1,5", "--json"]);
    let logits = got["logits"].as_array().expect("a list");
    assert!(logits.iter().all(|logit| logit.to_string().len() <= 14), "{:?}", logits.first());
}
