//! The program as people use it: arguments and pipes in; stdout, stderr and exit code out.

mod common;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model/model");

/// The program with a cache of its own, in which the adapter is verified already.
fn program(arguments: &[&str]) -> Command {
    static WARM: OnceLock<()> = OnceLock::new();
    WARM.get_or_init(|| {
        let output =
            bare(&["run", "demo", "Hello", "--max-tokens", "1"]).output().expect("the program starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
    });
    bare(arguments)
}

fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anygpu"));
    command.args(arguments).stdin(Stdio::null());
    command.env("ANYGPU_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-cache"));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8")
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    ended(program(arguments).output().expect("the program starts"))
}

fn ended(output: Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// stdout of a run that must succeed.
fn good(arguments: &[&str]) -> String {
    let (code, out, err) = run(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    out
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&good(arguments)).expect("one JSON document")
}

/// The demo model as a folder of its own, with a chat template.
fn chat_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    for file in std::fs::read_dir(DEMO).expect("demo model") {
        let path = file.expect("demo model").path();
        std::fs::copy(&path, folder.path().join(path.file_name().expect("a file"))).expect("copied");
    }
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<answer>";
    std::fs::write(folder.path().join("chat_template.jinja"), template).expect("written");
    folder
}

#[test]
fn greedy_text_equals_llama2_c() {
    let Some(shared) = common::shared() else { return };
    let data = shared.join("data");
    let want =
        std::fs::read_to_string(data.join("expected/stories260K.runc.t0.n200.txt")).expect("expected text");
    for model in ["hf", "gguf/stories260K-f32.gguf"] {
        let model = data.join("models/stories260K").join(model).display().to_string();
        // Nothing is given: the text begins at BOS, as in llama2.c's run without a prompt.
        assert_eq!(good(&["run", &model, "", "--temperature", "0", "--max-tokens", "200"]), want, "{model}");
    }
}

#[test]
fn a_story_with_figures() {
    let arguments = ["run", "Once upon a time", "--seed", "7", "--max-tokens", "12", "--ignore-eos"];
    let (code, out, err) = run(&arguments);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("Once upon a time") && out.ends_with('\n'), "{out:?}");
    // Beside the answer one line, and those that say that this is the demo model on a CPU.
    let own = |line: &&str| !line.contains("runs on the CPU") && !line.contains("no model is named");
    let lines: Vec<&str> = err.lines().filter(own).collect();
    assert!(matches!(lines[..], [one] if one.starts_with("12 tokens, ") && one.contains(" tok/s")), "{err}");
    let quiet = run(&[&arguments[..], &["--quiet"]].concat());
    assert_eq!(quiet, (Some(0), out.clone(), String::new()), "nothing but errors");
    let (code, _, err) = run(&["run", "missing.gguf", "x", "-q"]);
    assert!(code == Some(2) && err.contains("missing.gguf"), "errors are told all the same: {err}");
    let (_, _, err) = run(&[&arguments[..], &["--stats"]].concat());
    for part in ["load", "compiling", "first token", "prompt of", "tok/s", "GB/s", "12 tokens", "--seed 7"] {
        assert!(err.contains(part), "{part} is missing in {err}");
    }
    assert_eq!(good(&arguments), out, "same seed, same text");
}

/// Containers, ssh and su set no such folder.
#[test]
fn nobody_complains_without_a_runtime_folder() {
    for arguments in [&["devices"][..], &["devices", "--json"]] {
        let mut command = program(arguments);
        command.env_remove("XDG_RUNTIME_DIR");
        let (code, _, err) = ended(command.output().expect("the program starts"));
        assert!(code == Some(0) && !err.contains("XDG_RUNTIME_DIR"), "{arguments:?}: {err}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_said_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").expect("written");
    let mut command = program(&["run", "demo", "A fox", "--max-tokens", "2"]);
    command.env("ANYGPU_CACHE", &file);
    let (code, _, err) = ended(command.output().expect("the program starts"));
    assert!(code == Some(0) && err.matches("nothing is kept").count() == 1, "{err}");
}

#[test]
fn prompt_from_a_pipe() {
    let mut child = program(&["run", "--temperature", "0", "--max-tokens", "5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("piped").write_all("The old k\u{ef}ng\n".as_bytes()).expect("written");
    let (code, out, _) = ended(child.wait_with_output().expect("ends"));
    assert_eq!(code, Some(0));
    assert_eq!(out, good(&["run", "demo", "The old k\u{ef}ng", "--temperature", "0", "--max-tokens", "5"]));
    assert!(out.starts_with("The old k\u{ef}ng") && !out.starts_with("The old k\u{ef}ng\n"), "{out:?}");
}

#[test]
fn one_object_with_everything() {
    let got =
        json(&["run", DEMO, "A fox", "--json", "--temperature", "0", "--max-tokens", "9", "--ignore-eos"]);
    assert_eq!(got["ids"].as_array().map(Vec::len), Some(9), "{got}");
    assert_eq!(got["finish"], "length");
    assert_eq!(got["timeline"].as_array().map(Vec::len), Some(8), "a step per token after the first: {got}");
    let layers = got["model"]["layers"].as_u64().expect("layers");
    let dispatches = |of: &Value| of["per_token"]["dispatches"].as_f64().expect("dispatches");
    let per_token = (5 * layers + 4) as f64;
    assert_eq!(dispatches(&got), per_token, "{layers} layers, and one to lead to the next step");
    for rate in ["load_s", "compile_s", "first_token_s", "prompt_tok_s", "decode_tok_s", "gb_s"] {
        assert!(got["timings"][rate].as_f64().is_some_and(|v| v > 0.0), "{rate} in {got}");
    }
    let weights = got["per_token"]["weight_bytes"].as_u64().expect("bytes");
    assert!(got["timings"]["bytes_per_token"].as_u64().is_some_and(|all| all > weights));
    assert!(got["adapter"]["name"].is_string());
    assert_eq!(got["shader_checks"], false);
    let checked = json(&["run", DEMO, "A fox", "--json", "--checked", "--max-tokens", "1", "--no-plan"]);
    assert_eq!(checked["shader_checks"], true);
    // What was measured needs no prediction; one step at a time the GPU waits for the host.
    let unplanned = json(&["run", DEMO, "A fox", "--json", "--max-tokens", "9", "--no-plan", "--no-ahead"]);
    assert!(unplanned["prediction"].is_null(), "{unplanned}");
    for time in ["host_s", "submit_s", "gpu_idle_s"] {
        assert!(unplanned["timings"][time].as_f64().is_some_and(|v| v > 0.0), "{time} in {unplanned}");
    }
    assert_eq!(
        dispatches(&unplanned),
        per_token,
        "{layers} layers, and the best for the host to choose from"
    );
    let submits = unplanned["per_token"]["submits"].as_f64();
    assert!(submits.is_some_and(|n| n >= 1.0), "a submit for every step: {unplanned}");
    let plain = good(&["run", DEMO, "A fox", "--temperature", "0", "--max-tokens", "9", "--ignore-eos"]);
    assert_eq!(
        plain.trim_end_matches('\n'),
        format!("A fox{}", got["text"].as_str().expect("text")).trim_end_matches('\n')
    );
}

#[test]
fn stop_strings_end_the_text() {
    let arguments = ["run", "--json", "--temperature", "0", "--max-tokens", "40", "--ignore-eos", "The king"];
    let whole = json(&arguments);
    let whole = whole["text"].as_str().expect("text");
    let middle: String = whole.chars().skip(20).take(6).collect();
    let got = json(&[&arguments[..], &["--stop", "not in there", "--stop", &middle]].concat());
    assert_eq!(got["finish"], "stop_string");
    assert_eq!(got["text"].as_str(), whole.split(middle.as_str()).next());
}

#[test]
fn a_template_makes_a_conversation() {
    let folder = chat_model();
    let path = folder.path().display().to_string();
    let ids = |extra: &[&str]| {
        let got = json(&[&["run", &path, "Hi", "--json", "--max-tokens", "1"][..], extra].concat());
        got["prompt_ids"].as_array().expect("ids").len()
    };
    let (raw, chat, system) = (ids(&["--raw"]), ids(&[]), ids(&["--system", "Be brief."]));
    assert!(raw < chat && chat < system, "{raw} {chat} {system}");
    let out = good(&["run", &path, "Hi", "--max-tokens", "2"]);
    assert!(!out.starts_with("Hi"), "an answer does not repeat the question: {out:?}");
}

#[test]
fn errors_say_what_and_where_once() {
    let empty = tempfile::tempdir().expect("temporary folder");
    let no_config = tempfile::tempdir().expect("temporary folder");
    std::fs::copy(Path::new(DEMO).join("model.safetensors"), no_config.path().join("model.safetensors"))
        .expect("copied");
    let long = "word ".repeat(600);
    let (empty, no_config) = (empty.path().display().to_string(), no_config.path().display().to_string());
    for (arguments, parts) in [
        (vec!["run", DEMO, "x", "--ctx", "-2"], vec!["--ctx", "1 or more", "-2"]),
        (vec!["run", DEMO, "x", "--ctx", "99999999"], vec!["--ctx", "1 to 512"]),
        (vec!["run", DEMO, "x", "--chunk", "0"], vec!["--chunk", "1 to"]),
        (vec!["run", "demo", "x", "--temperature", "nan"], vec!["--temperature", "nan"]),
        (vec!["run", "demo", "x", "--temperature", "-1"], vec!["--temperature", "-1"]),
        (vec!["run", "demo", "x", "--top-p", "1.5"], vec!["--top-p", "0 to 1"]),
        (vec!["run", "demo", "x", "--min-p", "-1"], vec!["--min-p", "0 to 1"]),
        (vec!["run", "demo", "x", "--repeat-penalty", "0"], vec!["--repeat-penalty"]),
        (vec!["run", "demo", "x", "--adapter", "no such thing"], vec!["no such thing", "anygpu devices"]),
        (vec!["run", "demo", "x", "--adapter", "77"], vec!["77", "anygpu devices"]),
        (vec!["run", "demo", "x", "--system", "y"], vec!["--system", "template"]),
        (vec!["run", "demo", "x", "--memory", "1MiB"], vec!["1 MiB", "weights", "KV cache", "headroom"]),
        (vec!["run", "missing.gguf", "x"], vec!["missing.gguf", "no such file"]),
        (vec!["run", &empty, "x"], vec![&empty, "no model here"]),
        (vec!["run", &no_config, "x"], vec!["model.safetensors", "config.json"]),
        (vec!["run", &long], vec!["tokens", "512", "shorten it", "no more"]),
        (vec!["run", &long, "--ctx", "64"], vec!["tokens", "64", "--ctx", "up to 512"]),
        (vec!["logits", DEMO, "--ids", "1,99999"], vec!["99999", "4096"]),
        (vec!["perplexity", DEMO, "--file", "missing.txt"], vec!["missing.txt", "No such file"]),
        (vec!["perplexity", DEMO, "--file", DEMO], vec![DEMO]),
        (vec!["verify", "--break", "nothing"], vec!["--break", "matvec", "nothing"]),
    ] {
        let (code, out, err) = run(&arguments);
        let shown: String = format!("{arguments:?}").chars().take(80).collect();
        assert_eq!((code, out.as_str()), (Some(2), ""), "{shown}: {err}");
        let last = err.lines().last().unwrap_or_default();
        assert!(last.starts_with("anygpu: "), "{shown}: {err}");
        for part in parts {
            assert!(last.contains(part), "{shown}: {part} is missing in {last}");
            assert_eq!(last.matches("anygpu: ").count(), 1, "{shown}: {last}");
        }
    }
}

#[test]
fn arguments_that_do_not_parse_are_errors_and_help_is_none() {
    for (arguments, code, part) in [
        (&["--help"][..], 0, "perplexity"),
        (&["run", "--help"], 0, "--temperature"),
        (&["verify", "--help"], 0, "--break"),
        (&["verify", "--help"], 0, "--quick"),
        // Not every shape was verified before.
        (&["run", "--help"], 0, "on a few shapes"),
        (&["--version"], 0, env!("CARGO_PKG_VERSION")),
        (&["run", "--no-such-flag"], 2, "--no-such-flag"),
        (&["run", "demo", "x", "--ctx", "many"], 2, "--ctx"),
        (&["run", "demo", "x", "--kv", "f64"], 2, "f16, f32 or q8_0"),
        (&["run", "demo", "x", "--activations", "int4"], 2, "f32 or int8"),
        (&["run", "demo", "x", "--quant", "q9"], 2, "q4_k"),
        (&["run", "demo", "x", "--memory", "much"], 2, "512MiB"),
        (&["run", "demo", "x", "--stop", ""], 2, "--stop"),
        (&["logits", DEMO], 2, "--ids"),
        (&["logits", DEMO, "--ids", "1,x"], 2, "--ids"),
        (&["logits", DEMO, "--ids", "1", "--text", "x"], 2, "--text"),
    ] {
        let (found, out, err) = ended(bare(arguments).output().expect("the program starts"));
        assert_eq!(found, Some(code), "{arguments:?}: {err}");
        assert!(format!("{out}{err}").contains(part), "{arguments:?}: {part} is missing in {out}{err}");
    }
}

/// The end of a run that may open no adapter: there is a backend that this system does not have.
fn without_adapter(arguments: &[&str]) -> (Option<i32>, String, String) {
    let other = if cfg!(target_os = "macos") { "dx12" } else { "metal" };
    ended(bare(arguments).env("WGPU_BACKEND", other).output().expect("the program starts"))
}

#[test]
fn what_needs_no_adapter_is_refused_before_one_is_opened() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("written");
    write("page.gguf", "<!doctype html>");
    write("short.txt", "A fox.");
    let no_tokenizer = chat_model();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::remove_file(no_tokenizer.path().join(name)).expect("removed");
    }
    let no_tokenizer = no_tokenizer.path().display().to_string();
    let (page, short, long) = (path("page.gguf"), path("short.txt"), "word ".repeat(600));
    for (arguments, part) in [
        (&["run", "missing.gguf", "x"][..], "no such file or folder 'missing.gguf'"),
        (&["run", "zebra"], "anygpu run demo \"zebra\""),
        (&["run", "acme/zebra", "x"], "hf download acme/zebra --local-dir zebra"),
        (&["run", "shape:Qwen3-8B", "x"], "no weights"),
        (&["run", &page, "x"], "page.gguf"),
        (&["run", "demo", "hi", "--ctx", "1"], "the context holds 1"),
        (&["run", "demo", &long], "the context holds 512"),
        (&["run", "demo", "hi", "--ctx", "513"], "1 to 512"),
        (&["run", "demo", "hi", "--chunk", "1000000"], "1 to 4096 tokens"),
        (&["run", "demo", "hi", "--system", "x"], "--system needs a model with a chat template"),
        (&["run", "demo", "hi", "--no-think"], "--no-think needs a model with a chat template"),
        (&["run", "demo", "hi", "--min-tps", "0"], "--min-tps"),
        (&["run", "demo", "-f", "missing.txt"], "missing.txt"),
        (&["run", &no_tokenizer, "hi"], "no tokenizer"),
        (&["logits", &page, "--text", "x"], "page.gguf"),
        (&["logits", "--ids", "1,99999"], "99999"),
        (&["logits", &no_tokenizer, "--text", "x"], "no tokenizer"),
        (&["perplexity", "-f", &short], "at least one window of 511 tokens"),
        (&["perplexity", "zebra", "-f", &short], "no such file or folder 'zebra'"),
        (&["perplexity", "-f", "missing.txt"], "missing.txt"),
        (&["quality", "-f", &short], "at least one window"),
        (&["quality", "zebra", "-f", &short], "no such file or folder 'zebra'"),
        (&["bench", "-m", "missing.gguf"], "missing.gguf"),
        (&["bench", "-p", "0", "-n", "0"], "nothing to measure"),
        (&["bench", "-p", "64", "--ctx", "8"], "the tests need"),
        (&["bench", "plan", "missing.gguf"], "missing.gguf"),
        (&["bench", "load", "missing.gguf"], "missing.gguf"),
        (&["bench", "kernels", "missing.gguf"], "missing.gguf"),
        (&["tune", "missing.gguf"], "missing.gguf"),
        (&["plan", "llama-3.1-8b"], "shape:Llama-3.1-8B"),
    ] {
        let (code, out, err) = without_adapter(arguments);
        let shown: String = format!("{arguments:?}").chars().take(80).collect();
        assert_eq!((code, out.as_str()), (Some(2), ""), "{shown}: {err}");
        assert!(err.contains(part), "{shown}: {part} is missing in {err}");
        assert_eq!(err.lines().count(), 1, "{shown}: {err}");
    }
    // The check that the backend is missing: a prompt that nothing is wrong with.
    let (_, _, err) = without_adapter(&["run", "demo", "hi"]);
    assert!(err.contains("no GPU adapter found"), "{err}");
}

#[test]
fn words_and_commands_of_other_programs() {
    for (arguments, code, part) in [
        (&["list"][..], 2, "anygpu info"),
        (&["pull", "qwen"], 2, "hf download"),
        (&["serve"], 2, "there is no server"),
        (&["bnech"], 2, "`anygpu bench`"),
        (&["zebra"], 2, "anygpu run demo"),
        (&["version"], 0, env!("CARGO_PKG_VERSION")),
        (&["run", ""], 2, "MODEL is empty"),
        (&["run", "demo", "a", "-p", "b"], 2, "two prompts"),
        (&["run", "demo", "--seed", "-2"], 2, "0 or more; -1: a random one"),
        (&["run", "demo", "--quant", "q4"], 2, "q4_k or q4_0"),
        (&["run", "demo", "--adapter", ""], 2, "--adapter"),
        (&["bench", "demo", "-b", "2048"], 2, "1 to 16 sequences"),
        (&["plan", "demo", "--users", "-1"], 2, "--users"),
        (&["quality", "demo", "--limit", "0", "-f", "x"], 2, "--limit"),
    ] {
        let (found, out, err) = ended(bare(arguments).output().expect("the program starts"));
        assert_eq!(found, Some(code), "{arguments:?}: {err}");
        assert!(format!("{out}{err}").contains(part), "{arguments:?}: {part} is missing in {out}{err}");
        assert_eq!(format!("{out}{err}").lines().count(), 1, "{arguments:?}: {out}{err}");
    }
}

#[test]
fn options_of_llama_cpp_and_ollama() {
    let want = good(&["run", "demo", "A fox", "--temperature", "0", "--max-tokens", "5"]);
    for arguments in [
        &["-m", DEMO, "-p", "A fox", "--temp", "0", "-n", "5"][..],
        &[DEMO, "A fox", "--temp", "0", "-n", "5"],
        &["A fox", "--temp", "0", "-n", "5"],
        &["chat", "demo", "A", "fox", "--temp=0", "--n-predict", "5"],
        &["run", "-m", DEMO, "A fox", "--temp", "0", "-n", "5", "-c", "0", "-s", "-1", "--top-k", "-1"],
        &["run", DEMO, "A fox", "--top_k", "1", "--predict", "5", "-ngl", "99", "-fa", "on", "-t", "8"],
        // One token is left to choose from.
        &["run", DEMO, "A fox", "-n", "5", "--top-p", "0"],
        &["run", DEMO, "A fox", "-n", "5", "--min-p", "1", "--ctx-size", "-1", "-no-cnv", "--mlock"],
    ] {
        assert_eq!(good(arguments), want, "{arguments:?}");
    }
    let (code, _, err) = run(&["run", "demo", "A fox", "-n", "1", "-ngl", "99", "--threads=4"]);
    assert_eq!(code, Some(0), "{err}");
    let told: Vec<&str> = err.lines().filter(|line| line.contains("without effect")).collect();
    assert!(told.len() == 1 && told[0].contains("-ngl (") && told[0].contains("--threads ("), "{err}");
    let (code, _, err) = run(&["run", "demo", "A fox", "-n", "1", "--quant", "Q4_K_M", "--no-plan"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err.matches("--quant Q4_K_M is taken as q4_k").count(), 1, "{err}");
    let (code, _, err) = run(&["A fox", "-n", "1"]);
    assert_eq!((code, err.matches("the demo model continues the text").count()), (Some(0), 1), "{err}");
    // Without a limit the context ends it.
    let (code, _, err) = run(&["run", "demo", "A fox", "-n", "-1", "--ignore-eos", "--ctx", "16"]);
    assert!(code == Some(0) && err.contains("context of 16 tokens is full"), "{err}");
}

/// The text that follows the prompt of a run to which `input` comes through a pipe.
fn piped(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = program(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    ended(child.wait_with_output().expect("ends"))
}

#[test]
fn prompts_come_from_arguments_files_and_pipes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("letter.txt");
    std::fs::write(&file, "from a file\r\n").expect("written");
    let file = file.display().to_string();
    for (arguments, input, want) in [
        (&["-p", "Hello"][..], "the pipe\n", "Hello\n\nthe pipe"),
        (&["Hello"], "", "Hello"),
        (&["-"], "the pipe", "the pipe"),
        (&["-f", "-"], "the pipe", "the pipe"),
        (&["-f", &file], "", "from a file"),
        (&["Hello", "-f", &file], "the pipe", "Hello\n\nfrom a file\n\nthe pipe"),
        (&["-f", "-", "-f", &file], "the pipe", "the pipe\n\nfrom a file"),
        (&[], "the pipe\n\n", "the pipe\n"),
    ] {
        let all = [&["run", "demo", "-n", "0"][..], arguments].concat();
        let (code, out, err) = piped(&all, input);
        assert_eq!(code, Some(0), "{arguments:?}: {err}");
        assert_eq!(out.trim_end_matches('\n'), want.trim_end_matches('\n'), "{arguments:?}: {err}");
    }
    let (code, _, err) = piped(&["run", "demo"], "");
    assert!(code == Some(2) && err.contains("nothing came through stdin"), "{err}");
    let (code, _, err) = piped(&["run", "demo", "-", "-f", "-"], "x");
    assert!(code == Some(2) && err.contains("only once"), "{err}");
}

#[cfg(unix)]
#[test]
fn an_idle_socket_on_stdin_does_not_stop_a_prompt() {
    // Programs that start programs often leave one open and send nothing.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    let mut command = program(&["run", "demo", "Hello", "-n", "0"]);
    let output = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).output();
    let (code, out, err) = ended(output.expect("the program ends"));
    drop(ours);
    assert_eq!((code, out.as_str()), (Some(0), "Hello\n"), "{err}");
}

#[test]
fn a_repository_in_the_cache_of_hugging_face_runs_by_its_name() {
    let home = tempfile::tempdir().expect("temporary folder");
    let repository = home.path().join("hub/models--acme--story");
    let snapshot = repository.join("snapshots/0123abc");
    std::fs::create_dir_all(&snapshot).expect("created");
    std::fs::create_dir_all(repository.join("refs")).expect("created");
    std::fs::write(repository.join("refs/main"), "0123abc").expect("written");
    for file in std::fs::read_dir(DEMO).expect("demo model") {
        let path = file.expect("demo model").path();
        std::fs::copy(&path, snapshot.join(path.file_name().expect("a file"))).expect("copied");
    }
    let rest = ["A fox", "--temp", "0", "-n", "5"];
    let mut command = program(&[&["run", "acme/story"][..], &rest].concat());
    command.env("HF_HOME", home.path()).env_remove("HF_HUB_CACHE").env_remove("HUGGINGFACE_HUB_CACHE");
    let (code, out, err) = ended(command.output().expect("the program starts"));
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out, good(&[&["run", DEMO][..], &rest].concat()));
    assert_eq!(err.matches("from the Hugging Face cache").count(), 1, "{err}");
}

#[test]
fn template_arguments_reach_the_template() {
    let folder = chat_model();
    let template = "{% if enable_thinking is defined and not enable_thinking %}N{% endif %}{{ tone }}\
                    {% for m in messages %}{{ m.content }}{% endfor %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).expect("written");
    let path = folder.path().display().to_string();
    let ids = |extra: &[&str]| {
        let got = json(&[&["run", &path, "Hi", "--json", "-n", "1", "--no-plan"][..], extra].concat());
        got["prompt_ids"].as_array().expect("ids").clone()
    };
    let tone = ids(&["--template-arg", "tone=\"dry\""]);
    assert_eq!(tone, ids(&["--template-arg", "tone=dry"]));
    assert_eq!(tone, ids(&["--chat-template-kwargs", r#"{"tone": "dry"}"#]));
    let plain = ids(&["--template-arg", "tone="]);
    assert_ne!(tone, plain);
    let unthinking = ids(&["--template-arg", "tone=", "--no-think"]);
    assert_ne!(unthinking, plain);
    assert_eq!(unthinking, ids(&["--template-arg", "tone=", "--template-arg", "enable_thinking=false"]));
}

#[test]
fn completions_and_manual_come_from_the_definition() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, script, err) = ended(bare(&["completions", shell]).output().expect("starts"));
        assert_eq!(code, Some(0), "{err}");
        assert!(script.contains("perplexity") && script.contains("repeat-penalty"), "{shell}");
    }
    let (code, _, err) = ended(bare(&["completions", "tcsh"]).output().expect("starts"));
    assert!(code == Some(2) && err.contains("expected one of bash"), "{err}");
    let (_, page, _) = ended(bare(&["man"]).output().expect("starts"));
    assert!(page.contains(".TH anygpu") && page.contains("perplexity"), "{page}");
    let (_, page, _) = ended(bare(&["man", "run"]).output().expect("starts"));
    assert!(page.contains(".TH anygpu\\-run") || page.contains(".TH anygpu-run"), "{page}");
    let (code, _, err) = ended(bare(&["man", "zebra"]).output().expect("starts"));
    assert!(code == Some(2) && err.contains("no command 'zebra'"), "{err}");
}

#[cfg(unix)]
#[test]
fn bash_takes_the_completions() {
    let (_, script, _) = ended(bare(&["completions", "bash"]).output().expect("starts"));
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), script).expect("written");
    // The words after `anygpu perp` as bash itself would ask for them.
    let ask = "source \"$0\" && COMP_WORDS=(anygpu perp) COMP_CWORD=1 && _anygpu anygpu perp anygpu && \
               echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", ask]).arg(file.path()).output();
    let Ok(output) = output else {
        eprintln!("no bash here: not tested");
        return;
    };
    let (code, out, err) = ended(output);
    assert_eq!((code, out.trim()), (Some(0), "perplexity"), "{err}");
}

#[test]
fn info_says_what_a_report_needs_and_clears_the_cache() {
    let cache = tempfile::tempdir().expect("temporary folder");
    let info = |arguments: &[&str]| {
        let all = [&["info"][..], arguments].concat();
        let output = bare(&all).env("ANYGPU_CACHE", cache.path()).output().expect("the program starts");
        let (code, out, err) = ended(output);
        assert_eq!(code, Some(0), "{err}");
        out
    };
    std::fs::write(cache.path().join("quality-0.json"), "12345").expect("written");
    std::fs::write(cache.path().join("letter.txt"), "mine").expect("written");
    let out = info(&[]);
    for part in [env!("CARGO_PKG_VERSION"), "wgpu", "system", "adapter 0", "cache", "costs of quantizing"] {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    let got: Value = serde_json::from_str(&info(&["--json"])).expect("JSON");
    assert_eq!(got["cache"]["kept"][0]["bytes"], 5, "{got}");
    assert!(
        got["adapters"][0]["name"].is_string() && got["system"]["memory_bytes"].as_u64() > Some(0),
        "{got}"
    );
    assert!(got["program"]["wgpu"].as_str().is_some_and(|version| version.starts_with("30.")), "{got}");
    assert!(info(&["--clear-cache"]).starts_with("removed 5 B in 1 file"));
    let left: Vec<_> = std::fs::read_dir(cache.path()).expect("there").filter_map(Result::ok).collect();
    assert!(left.len() == 1 && left[0].file_name() == "letter.txt");
}

#[test]
fn no_tokens_are_asked_for() {
    assert_eq!(good(&["run", "demo", "Hello", "--max-tokens", "0"]), "Hello\n");
}

#[test]
fn a_full_context_ends_the_text() {
    let (code, out, err) = run(&["run", "demo", "Hello", "--ctx", "16", "--ignore-eos"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("Hello"));
    assert!(err.contains("context of 16 tokens is full"), "{err}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = program(&["run", "demo", "Hello", "--max-tokens", "40", "--ignore-eos"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let (code, _, err) = ended(child.wait_with_output().expect("ends"));
    assert_eq!(code, Some(0), "{err}");
    assert!(!err.contains("Broken pipe"), "{err}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_text() {
    let mut child = program(&["run", "demo", "Hello", "--max-tokens", "400", "--ignore-eos"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut first = [0; 8];
    child.stdout.as_mut().expect("piped").read_exact(&mut first).expect("text comes");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    let (code, _, err) = ended(child.wait_with_output().expect("ends"));
    assert_eq!(code, Some(130), "{err}");
    assert!(err.contains("tok/s"), "figures of what was done: {err}");
}

#[test]
fn devices_are_listed_with_the_one_that_is_used() {
    let text = good(&["devices"]);
    for part in ["0  ", "type", "f16", "subgroups", "binding", "memory", "used"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let got = json(&["devices", "--json"]);
    let used = got["used"].as_u64().expect("one is used") as usize;
    assert!(
        got["adapters"][used]["facts"]["max_binding_bytes"].as_u64().is_some_and(|n| n >= 128 << 20),
        "{got}"
    );
    assert!(got["why"].as_str().is_some_and(|why| !why.is_empty()), "{got}");
}

#[test]
fn without_an_adapter_the_error_says_what_to_do() {
    // A backend that this system does not have.
    let other = if cfg!(target_os = "macos") { "dx12" } else { "metal" };
    for arguments in [&["devices"][..], &["run", "demo", "x"], &["verify"], &["verify", "--adapter", "all"]] {
        let output = bare(arguments).env("WGPU_BACKEND", other).output().expect("the program starts");
        let (code, _, err) = ended(output);
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
        assert!(err.contains("no GPU adapter found") && err.contains(other), "{arguments:?}: {err}");
    }
}

#[test]
fn compiled_pipelines_are_kept_and_damage_to_them_is_harmless() {
    let cache = tempfile::tempdir().expect("temporary folder");
    let story = || {
        let arguments =
            ["run", "A fox", "--temperature", "0", "--max-tokens", "9", "--ignore-eos", "--no-plan"];
        let output = bare(&arguments).env("ANYGPU_CACHE", cache.path()).output().expect("the program starts");
        let (code, out, err) = ended(output);
        assert_eq!(code, Some(0), "{err}");
        out
    };
    let first = story();
    let files = std::fs::read_dir(cache.path()).expect("the cache").map(|file| file.expect("a file").path());
    let kept = files.filter(|path| path.extension().is_some_and(|extension| extension == "bin"));
    let Some(kept) = kept.last() else {
        let devices = json(&["devices", "--json"]);
        let used = devices["used"].as_u64().expect("one is used") as usize;
        assert_ne!(devices["adapters"][used]["facts"]["backend"], "vulkan", "Vulkan has pipeline caches");
        return;
    };
    let whole = std::fs::read(&kept).expect("kept");
    assert_eq!(story(), first, "with kept pipelines");
    let half = whole[..whole.len() / 2].to_vec();
    for damaged in [half, vec![], b"something else".to_vec()] {
        std::fs::write(&kept, &damaged).expect("written");
        assert_eq!(story(), first, "with damaged ones");
        assert_ne!(std::fs::read(&kept).expect("kept anew"), damaged);
    }
}

#[test]
fn verify_passes_and_finds_a_broken_kernel() {
    let (code, out, err) = run(&["verify", "--quick", "--as-is"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("matvec") && out.contains("checks passed"), "{out}");
    assert!(out.contains("shaders without runtime checks"), "{out}");
    let last = out.lines().last().unwrap_or_default();
    assert!(last.starts_with("everything computes correctly on "), "{out}");
    assert_eq!(
        out.lines().filter(|line| line.starts_with("  matvec ")).count(),
        1,
        "a line per kernel: {out}"
    );
    let checked = json(&["verify", "--quick", "--as-is", "--checked", "--json"]);
    let one = &checked["runs"][0];
    let yes = Value::Bool(true);
    assert_eq!((&one["checked"], &one["passed"], &checked["passed"]), (&yes, &yes, &yes));
    for path in ["/program/version", "/system/os_version", "/adapter/driver", "/adapter/used/shader_checks"] {
        assert!(checked.pointer(path).is_some_and(|value| !value.is_null()), "{path} is missing");
    }
    let (code, out, err) = run(&["verify", "--quick", "--as-is", "--break", "matvec"]);
    assert_eq!(code, Some(1), "{out}{err}");
    let failed: Vec<&str> = out.lines().filter(|line| line.contains("elements wrong")).collect();
    assert!(!failed.is_empty() && failed.iter().all(|line| line.contains("matvec")), "{out}");
    assert!(out.contains("1 kernel computes wrongly on") && out.contains("anygpu verify --json"), "{out}");
}

#[test]
fn logits_do_not_depend_on_how_the_prompt_is_fed() {
    let prompt = "There was once a miller who had three sons, and nothing to leave them but his mill.";
    let logits = |kv: &str, path: &str| -> Vec<f64> {
        let got = json(&["logits", DEMO, "--text", prompt, "--json", "--kv", kv, "--prompt-path", path]);
        got["logits"].as_array().expect("logits").iter().filter_map(Value::as_f64).collect()
    };
    let apart = |a: &[f64], b: &[f64]| {
        assert_eq!((a.len(), b.len()), (4096, 4096));
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let exact = logits("f32", "single");
    // A number close to the middle between two steps of a cache's type may fall on either side.
    for (kv, of_path, of_type) in [("f32", 2e-3, 2e-3), ("f16", 4e-3, 1e-2), ("q8_0", 4e-2, 1e-1)] {
        let (chunked, single) = (logits(kv, "chunked"), logits(kv, "single"));
        let (path, rounded) = (apart(&chunked, &single), apart(&single, &exact));
        assert!(path <= of_path && rounded <= of_type, "{kv}: {path} between paths, {rounded} from f32");
        assert!(kv == "f32" || rounded > 0.0, "{kv} is not what the cache holds");
    }
    let table = good(&["logits", DEMO, "--ids", "0,5,6", "--top", "3"]);
    assert_eq!(table.lines().count(), 4, "{table}");
}

#[test]
fn perplexity_of_a_text() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file: PathBuf = folder.path().join("text.txt");
    std::fs::write(&file, "Once upon a time there was a king who had a golden apple tree. ".repeat(40))
        .expect("written");
    let file = file.display().to_string();
    for windows in ["plain", "llama"] {
        let arguments =
            ["perplexity", DEMO, "--file", &file, "--ctx", "64", "--limit", "3", "--windows", windows];
        let got = json(&[&arguments[..], &["--json"]].concat());
        assert_eq!(got["windows"], 3);
        assert_eq!(got["tokens"], if windows == "plain" { 3 * 63 } else { 3 * 31 });
        let ppl = got["ppl"].as_f64().expect("perplexity");
        assert!(ppl > 1.0 && ppl < 4096.0, "{ppl}");
        assert!(good(&arguments).starts_with(&format!("perplexity {ppl:.4}")));
    }
    let (code, _, err) = run(&["perplexity", DEMO, "--file", &file, "--ctx", "512", "--limit", "0"]);
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn tuning_is_kept_checked_and_forgotten() {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tune-cache");
    let _ = std::fs::remove_dir_all(&cache);
    let with = |arguments: &[&str]| {
        let mut command = bare(arguments);
        ended(command.env("ANYGPU_CACHE", &cache).output().expect("the program starts"))
    };
    let story = ["run", "A fox", "--temperature", "0", "--max-tokens", "8", "--kv", "f32", "--no-plan"];
    let (code, untuned, err) = with(&story);
    assert_eq!(code, Some(0), "{err}");
    for (arguments, message) in [
        (&["tune", "--types", "q9_9"][..], "expected some of f32,f16"),
        (&["tune", "--check"], "nothing of this was tuned yet"),
        (&["tune", "nowhere.gguf"], "nowhere.gguf"),
        (&["tune", "--untuned"], "--untuned ignores"),
        (&["tune", "--check", "--forget"], "cannot be used with"),
    ] {
        let (code, _, err) = with(arguments);
        assert!(code == Some(2) && err.contains(message), "{arguments:?}: {code:?} {err}");
    }
    // As the tuner would have written it, with one variant that is none, and one class that is none.
    let names =
        std::fs::read_dir(&cache).expect("the cache").map(|entry| entry.expect("an entry").file_name());
    let names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    let verdict = names.iter().find(|name| name.starts_with("verified-")).expect("a verdict");
    let tuned = cache.join(verdict.replacen("verified-", "tuned-", 1));
    let kept =
        r#"{"matvec f16 × 1": "workgroup 64 × 1", "matvec q8_0 × 1": "lane 7 × 99", "nonsense": "lane"}"#;
    std::fs::write(&tuned, kept).expect("the cache is writable");
    let (code, text, err) = with(&story);
    assert_eq!((code, &text), (Some(0), &untuned), "{err}");
    let (code, _, err) = with(&["tune", "--check", "--types", "f16,q5_1"]);
    assert!(code == Some(2) && err.contains("q5_1 was never tuned"), "{err}");
    let (code, out, err) = with(&["tune", "--check", "--types", "f16,q8_0", "--json"]);
    assert!(err.contains("lane 7 × 99 cannot be used here"), "{err}");
    let found: Value = serde_json::from_str(&out).expect("JSON");
    let classes = found[0]["classes"].as_array().expect("classes");
    assert_eq!(classes.iter().map(|c| c["tuned"].as_str()).collect::<Vec<_>>()[0], Some("workgroup 64 × 1"));
    let slower = classes.iter().any(|c| c["gain"].as_f64().expect("a number") < 1.0 / 1.05);
    assert_eq!((classes.len(), code), (2, Some(i32::from(slower))), "{out}");
    std::fs::write(&tuned, "[1, 2").expect("the cache is writable");
    assert_eq!(with(&story).1, untuned);
    assert_eq!(with(&["tune", "--forget"]).0, Some(0));
    assert!(!tuned.exists());
}
