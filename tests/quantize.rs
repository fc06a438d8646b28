//! `anygpu quantize`: what is written is what `--quant` makes while loading, readable again, or nothing at all.

mod common;
#[path = "common/engine.rs"]
mod engine;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anygpu::base::DType;
use anygpu::convert::{self, ConvertError, Source, Wish, mix};
use anygpu::engine::{LoadOptions, Model};
use anygpu::formats::Archive;
use anygpu::formats::gguf::GgufWriter;
use anygpu::model::ModelSpec;
use anygpu::quant;
use anygpu::tokenizer::{GgufVocab, HfFiles, Tokenizer};
use engine::{exact, last_logits, max_difference};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model/model");
const FAMILIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/families");

/// A folder of one small model whose rows are whole blocks of every type.
fn small_model(dir: &Path, change: impl Fn(&str, &mut Vec<f32>)) -> PathBuf {
    let folder = dir.join("small");
    std::fs::create_dir_all(&folder).expect("a folder");
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "intermediate_size": 256,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64,
        "max_position_embeddings": 64, "tie_word_embeddings": false,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("written");
    let layer = "model.layers.0.";
    let shapes = [
        ("model.embed_tokens.weight".to_owned(), vec![64, 256]),
        (format!("{layer}input_layernorm.weight"), vec![256]),
        (format!("{layer}self_attn.q_proj.weight"), vec![256, 256]),
        (format!("{layer}self_attn.k_proj.weight"), vec![128, 256]),
        (format!("{layer}self_attn.v_proj.weight"), vec![128, 256]),
        (format!("{layer}self_attn.o_proj.weight"), vec![256, 256]),
        (format!("{layer}post_attention_layernorm.weight"), vec![256]),
        (format!("{layer}mlp.gate_proj.weight"), vec![256, 256]),
        (format!("{layer}mlp.up_proj.weight"), vec![256, 256]),
        (format!("{layer}mlp.down_proj.weight"), vec![256, 256]),
        ("model.norm.weight".to_owned(), vec![256]),
        ("lm_head.weight".to_owned(), vec![64, 256]),
    ];
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, shape) in shapes {
        let mut values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| 0.2 * random()).collect();
        change(&name, &mut values);
        let start = data.len();
        values.iter().for_each(|v| data.extend(v.to_le_bytes()));
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name, entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    std::fs::write(folder.join("model.safetensors"), file).expect("written");
    folder
}

fn unchanged(_: &str, _: &mut Vec<f32>) {}

/// Quantizes with the library; the written file.
fn quantize(from: &Path, to: &Path, dtype: DType) -> convert::Result<Archive> {
    let archive = Archive::open(from)?;
    let plan = convert::plan(&archive, "test", &Wish { quant: dtype, requantize: false })?;
    convert::write(&archive, &plan, to, true, &mut |_| true)?;
    Ok(Archive::open(to)?)
}

/// Type and bytes of every tensor.
fn tensors(archive: &Archive) -> BTreeMap<String, (DType, Vec<u8>)> {
    let bytes = |t: &anygpu::formats::TensorInfo| (t.name.clone(), (t.dtype, archive.bytes(t).to_vec()));
    archive.tensors.values().map(bytes).collect()
}

#[test]
fn every_type_from_every_source_is_what_the_loader_makes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let folder = small_model(dir.path(), unchanged);
    let source = Archive::open(&folder).expect("opens");
    let own = dir.path().join("own.gguf");
    quantize(&folder, &own, DType::F32).expect("converts");
    for dtype in convert::TYPES {
        let outer = anygpu::plan::weights::output_type(dtype);
        let plan = convert::plan(&source, "test", &Wish { quant: dtype, requantize: false }).expect("plan");
        let written = quantize(&folder, &dir.path().join("a.gguf"), dtype).expect("writes");
        ModelSpec::from_archive(&written).expect("is a model");
        for output in &plan.outputs {
            let Source::Stored(name) = &output.source else { panic!("{} is stored", output.name) };
            let info = source.tensor(name).expect("there");
            let got = written.tensor(&output.name).expect("there");
            let want = match (info.shape.len(), name.as_str()) {
                (1, _) => DType::F32,
                (_, "model.embed_tokens.weight" | "lm_head.weight") => outer,
                _ => dtype,
            };
            assert_eq!((got.dtype, &got.shape), (want, &info.shape), "{dtype} {name}");
            let values: &[f32] = bytemuck_floats(source.bytes(info));
            let cols = *info.shape.last().expect("a shape");
            for (row, bytes) in written.bytes(got).chunks(want.row_bytes(cols).expect("blocks")).enumerate() {
                let from = output.order.source(row) * cols;
                let mut expected = vec![0; bytes.len()];
                quant::encode(want, &values[from..from + cols], &mut expected).expect("encodes");
                assert!(bytes == expected, "{dtype} {name}: row {row} has other bytes");
            }
        }
        let again = quantize(&own, &dir.path().join("b.gguf"), dtype).expect("writes");
        assert!(tensors(&again) == tensors(&written), "{dtype}: from GGUF other bytes than from safetensors");
    }
}

fn bytemuck_floats(bytes: &[u8]) -> &'static [f32] {
    let floats = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    floats.collect::<Vec<f32>>().leak()
}

#[test]
fn written_files_compute_what_quantizing_while_loading_computes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let folder = small_model(dir.path(), unchanged);
    let gpu = engine::gpu();
    let ids = [1, 5, 9, 33, 60, 2, 7];
    let logits = |path: &Path, quant| {
        let options = LoadOptions { quant, ..exact() };
        let archive = Archive::open(path).expect("opens");
        last_logits(
            &Model::from_archive(&gpu, archive, &options, &mut |_, _| true).expect("loads"),
            &ids,
            false,
        )
    };
    for dtype in [DType::F16, DType::Q8_0, DType::Q6K, DType::Q4K, DType::Q4_0] {
        let file = dir.path().join("a.gguf");
        quantize(&folder, &file, dtype).expect("writes");
        let want: Vec<f64> = logits(&folder, Some(dtype)).into_iter().map(f64::from).collect();
        // The rows of Q and K stand in another order, so sums are rounded otherwise.
        let worst = max_difference(&logits(&file, None), &want);
        assert!(worst <= 1e-4, "{dtype}: logits differ by {worst}");
        let other = max_difference(&logits(&folder, None), &want);
        assert!(
            dtype == DType::F16 || other > 5e-4,
            "{dtype}: the check would not see a wrong type: {other}"
        );
    }
}

/// Fixtures whose GGUF was written by ggml's own Python package.
#[test]
fn families_become_the_files_that_gguf_py_writes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut seen = 0;
    for entry in std::fs::read_dir(FAMILIES).expect("fixtures") {
        let folder = entry.expect("fixtures").path();
        let reference = folder.join("model.gguf");
        if !reference.is_file() {
            continue;
        }
        seen += 1;
        let what = folder.display();
        let written = quantize(&folder, &dir.path().join("a.gguf"), DType::F32)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let reference = Archive::open(&reference).expect("fixture");
        let [got, want] = [&written, &reference].map(|a| ModelSpec::from_archive(a).expect("a model"));
        assert_eq!(got, want, "{what}");
        let values = |archive: &Archive, name: &str| {
            let info = archive.tensor(name).unwrap_or_else(|e| panic!("{what}: {e}"));
            let mut values = vec![0f32; info.n_elements()];
            quant::decode(info.dtype, archive.bytes(info), &mut values).expect("decodes");
            values
        };
        assert_eq!(
            written.tensors.keys().collect::<Vec<_>>(),
            reference.tensors.keys().collect::<Vec<_>>(),
            "{what}"
        );
        for name in reference.tensors.keys() {
            assert!(values(&written, name) == values(&reference, name), "{what}: {name} has other values");
        }
    }
    assert!(seen >= 9, "only {seen} fixtures");
    for (folder, want) in [("llama-gelu", "hidden_act"), ("llama-gelu-tanh", "hidden_act")] {
        let error = quantize(&Path::new(FAMILIES).join(folder), &dir.path().join("b.gguf"), DType::F16);
        let error = error.expect_err("GGUF has no key for it").to_string();
        assert!(error.contains(want), "{error}");
    }
}

/// Texts that tokenizers disagree on.
const TEXTS: [&str; 14] = [
    "",
    " ",
    "  a  b ",
    "\n\n \t\r\n",
    "It's 12345 o'clock, they'LL say 3.14",
    "naïve Straße ŁÓDŹ",
    "e\u{301}t decomposed",
    "Привет мир",
    "你好，世界 日本語",
    "🦙👩‍👩‍👧‍👦🇩🇪",
    "def f(x):\n    return [x]*2  # y",
    "<s> </s> <|endoftext|> [INST] ▁▁",
    "\u{a0}a\u{3000}b\u{200b}",
    "a\u{0}b\u{7f}",
];

fn same_ids(what: &str, files: &HfFiles<'_>, texts: &[String]) {
    let want = Tokenizer::from_hf(files).unwrap_or_else(|e| panic!("{what}: {e}"));
    let (mut vocab, _) = GgufVocab::from_hf(files).unwrap_or_else(|e| panic!("{what}: {e}"));
    // Files of that architecture say so; its tokens take white space along, which no other key tells.
    vocab.architecture = (what == "phi-3").then(|| "phi3".to_owned());
    let got = Tokenizer::from_gguf(&vocab).unwrap_or_else(|e| panic!("{what}: {e}"));
    for text in texts.iter().map(String::as_str).chain(TEXTS) {
        // Phi-3's `</s>` is an ordinary token in tokenizer.json; in a GGUF file, as in llama.cpp, a text that
        // ends generation is a control token. Read as such, both are the same.
        let parse = what == "phi-3" && text.contains("</s>");
        for special in [false, true] {
            let ids = |t: &Tokenizer| t.encode(text, special, parse).expect("encodes");
            assert_eq!(ids(&got), ids(&want), "{what}: {text:?}");
        }
        let ids = want.encode(text, true, false).expect("encodes");
        let skip_special = !parse;
        assert_eq!(got.decode(&ids, skip_special), want.decode(&ids, skip_special), "{what}: {text:?}");
    }
    if want.bos().is_some() {
        assert_eq!((got.bos(), got.adds_bos()), (want.bos(), want.adds_bos()), "{what}");
    }
    // Texts of GGUF files end as in llama.cpp, which takes further tokens by their texts.
    assert!(want.eos_ids().is_subset(got.eos_ids()), "{what}: {:?}", got.eos_ids());
}

#[test]
fn tokenizers_give_the_same_ids_as_gguf() {
    let read = |path: &Path| std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let demo = Archive::open(Path::new(DEMO)).expect("opens");
    let anygpu::formats::Metadata::HuggingFace(folder) = &demo.metadata else { panic!("a folder") };
    same_ids("demo", &HfFiles::from_folder(folder).expect("a tokenizer"), &[]);
    let Some(shared) = common::shared() else { return };
    let data = shared.join("data");
    for name in ["gpt-2", "qwen2", "falcon", "phi-3"] {
        let file = data.join("tokenizers").join(match name {
            "phi-3" => "phi-3-mini.tokenizer.json".to_owned(),
            name => format!("{name}.tokenizer.json"),
        });
        let cases = data.join(format!("tokenizers/vocab-tests/ggml-vocab-{name}.gguf.inp"));
        let cases = String::from_utf8(read(&cases)).expect("text");
        let texts: Vec<String> = cases.split("\n__ggml_vocab_test__\n").map(str::to_owned).collect();
        same_ids(name, &HfFiles { tokenizer: &read(&file), ..HfFiles::default() }, &texts);
    }
    same_ids(
        "minimind",
        &HfFiles { tokenizer: &read(&data.join("tokenizers/minimind.tokenizer.json")), ..HfFiles::default() },
        &[],
    );
    for model in ["stories260K", "TinyStories-656K", "BabyLlama-tok105"] {
        let archive = Archive::open(&data.join("models").join(model).join("hf")).expect("opens");
        let anygpu::formats::Metadata::HuggingFace(folder) = &archive.metadata else { panic!("a folder") };
        same_ids(model, &HfFiles::from_folder(folder).expect("a tokenizer"), &[]);
    }
}

/// Exit code and stderr of the program.
fn program(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anygpu"));
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Names in a folder.
fn list(dir: &Path) -> Vec<String> {
    let name =
        |e: std::io::Result<std::fs::DirEntry>| e.expect("entry").file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = std::fs::read_dir(dir).expect("folder").map(name).collect();
    names.sort();
    names
}

#[test]
fn what_must_not_be_written_is_one_error_and_no_file() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let good = small_model(dir.path(), unchanged).display().to_string();
    let nan_dir = dir.path().join("nan");
    let nan = small_model(&nan_dir, |name, values| {
        if name.ends_with("up_proj.weight") {
            values[3 * 256 + 7] = f32::NAN;
        }
    });
    let q4 = at("q4.gguf");
    let (code, _, err) = program(&["quantize", &good, "-o", &q4, "--quant", "Q4_K_M"]);
    assert_eq!(code, Some(0), "{err}");
    let before = std::fs::read(&q4).expect("written");
    let names = list(dir.path());
    let new = at("new.gguf");
    let nowhere = at("nowhere/new.gguf");
    let nan = nan.display().to_string();
    for (arguments, expected) in [
        (vec![&*good, "-o", &new, "--quant", "q3_k"], "q4_k"),
        (vec![&*good, "-o", &new], "--quant"),
        (vec![&*good, "-o", &q4, "--quant", "q8_0"], "exists"),
        (vec![&*q4, "-o", &q4, "--quant", "q8_0", "--force"], "of the model itself"),
        (vec![&*q4, "-o", &new, "--quant", "q8_0"], "--allow-requantize"),
        (vec![&*nan, "-o", &new, "--quant", "q8_0"], "up_proj.weight': element [3, 7] is NaN"),
        (vec![&*good, "-o", &nowhere, "--quant", "q8_0"], "make the folder"),
        (vec![&*good, "-o", &*at(""), "--quant", "q8_0", "--force"], "directory"),
        (vec![&*good, "-o", &new, "--mix", "1KiB"], "the least is"),
        (vec![&*at("no-such-model"), "-o", &new, "--quant", "q8_0"], "no such file"),
    ]
    .map(|(arguments, expected)| (arguments.into_iter().map(str::to_owned).collect::<Vec<_>>(), expected))
    {
        let all: Vec<&str> = ["quantize"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let (code, out, err) = program(&all);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{all:?}: {err}");
        assert!(err.contains(expected), "{all:?}: {err}");
        assert_eq!(list(dir.path()), names, "{all:?} left something behind");
    }
    assert!(std::fs::read(&q4).expect("still there") == before, "an existing file was changed");
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_replaced() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| dir.path().join(name);
    let good = small_model(&at("model"), unchanged).display().to_string();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");
    std::fs::write(at("other"), "kept").expect("written");
    std::os::unix::fs::symlink(at("other"), at("link")).expect("linked");
    std::os::unix::fs::symlink(at("nothing"), at("dangling")).expect("linked");
    for name in ["socket", "link", "dangling"] {
        let kind = || std::fs::symlink_metadata(at(name)).expect("still there").file_type();
        let (before, names) = (kind(), list(dir.path()));
        let to = at(name).display().to_string();
        let (code, out, err) = program(&["quantize", &good, "-o", &to, "--quant", "q8_0", "--force"]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{name}: {err}");
        assert!(err.contains("no regular file"), "{name}: {err}");
        assert_eq!((kind(), list(dir.path())), (before, names), "{name} was replaced");
    }
    assert_eq!(std::fs::read_to_string(at("other")).expect("read"), "kept");
}

#[test]
fn requantizing_on_demand_says_what_it_costs() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let good = small_model(dir.path(), unchanged).display().to_string();
    let (q8, q4) =
        (dir.path().join("q8.gguf").display().to_string(), dir.path().join("q4.gguf").display().to_string());
    assert_eq!(program(&["quantize", &good, "-o", &q8, "--quant", "q8_0"]).0, Some(0));
    let (code, out, err) =
        program(&["quantize", &q8, "-o", &q4, "--quant", "q4_k", "--allow-requantize", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("second time"), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let bytes = std::fs::metadata(&q4).expect("written").len();
    assert_eq!(report["file_bytes"].as_u64(), Some(bytes));
}

#[test]
fn cancelling_and_failing_leave_nothing_behind() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let folder = small_model(dir.path(), unchanged);
    let archive = Archive::open(&folder).expect("opens");
    let plan =
        convert::plan(&archive, "test", &Wish { quant: DType::Q8_0, requantize: false }).expect("plan");
    let to = dir.path().join("a.gguf");
    let mut calls = 0;
    let stopped = convert::write(&archive, &plan, &to, false, &mut |_| {
        calls += 1;
        calls < 5
    });
    assert!(matches!(stopped, Err(ConvertError::Cancelled)), "{stopped:?}");
    assert_eq!(list(dir.path()), ["small"]);
}

#[test]
fn split_files_become_one() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let whole = dir.path().join("whole.gguf");
    quantize(&small_model(dir.path(), unchanged), &whole, DType::F16).expect("writes");
    let archive = Archive::open(&whole).expect("opens");
    let anygpu::formats::Metadata::Gguf(metadata) = &archive.metadata else { panic!("GGUF") };
    let all: Vec<_> = archive.tensors.values().collect();
    for (part, tensors) in all.chunks(all.len().div_ceil(2)).enumerate() {
        let mut writer = GgufWriter::new();
        if part == 0 {
            for (key, ty, bytes) in metadata.encoded() {
                writer.set(key, anygpu::formats::gguf::WriteValue::Encoded(ty, bytes.to_vec()));
            }
        }
        writer.set("split.no", part as u32);
        writer.set("split.count", 2u32);
        writer.set("split.tensors.count", all.len() as u32);
        tensors.iter().for_each(|t| writer.tensor(&t.name, t.dtype, &t.shape).expect("fits"));
        let name = dir.path().join(format!("part-{:05}-of-00002.gguf", part + 1));
        let mut body = writer.begin(std::fs::File::create(name).expect("created")).expect("header");
        tensors.iter().for_each(|t| body.write(archive.bytes(t)).expect("written"));
        body.finish().expect("complete");
    }
    let joined =
        quantize(&dir.path().join("part-00002-of-00002.gguf"), &dir.path().join("joined.gguf"), DType::Q8_0);
    let want = quantize(&whole, &dir.path().join("want.gguf"), DType::Q8_0).expect("writes");
    assert!(tensors(&joined.expect("writes")) == tensors(&want));
}

#[test]
fn a_mix_keeps_to_its_size_and_is_finer_where_that_is_cheap() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let folder = small_model(dir.path(), unchanged);
    let archive = Archive::open(&folder).expect("opens");
    let mut last = f64::INFINITY;
    for budget in [256 << 10, 300 << 10, 400 << 10, 600 << 10, 2 << 20] {
        let mut plan =
            convert::plan(&archive, "test", &Wish { quant: mix::FINEST, requantize: false }).expect("plan");
        let ladders = mix::measure(&archive, &plan, &mut |_| true).expect("measured");
        ladders.choose(&mut plan, mix::Budget::Bytes(budget)).expect("fits");
        let to = dir.path().join("a.gguf");
        let report = convert::write(&archive, &plan, &to, true, &mut |_| true).expect("writes");
        assert!(report.file_bytes <= budget, "{} > {budget}", report.file_bytes);
        let noise: f64 = report.tensors.iter().map(|t| t.relative_rms_error.powi(2)).sum();
        assert!(noise < last, "{budget}: {noise} after {last}");
        last = noise;
        ModelSpec::from_archive(&Archive::open(&to).expect("opens")).expect("a model");
    }
}

/// What `plan` says of the file is what was asked for, and a finer choice would be slower.
#[test]
fn a_mix_for_a_speed_is_as_fine_as_that_allows() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let planned = |file: &str| -> f64 {
        let (code, out, err) = program(&["plan", file, "--spec", "m1", "--batch", "1", "--json"]);
        assert_eq!(code, Some(0), "{err}");
        let plan: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        plan["choice"]["cell"]["decode_tok_s"].as_f64().expect("a speed")
    };
    let mut before = u64::MAX;
    for (name, wanted) in [("a.gguf", 2.0), ("b.gguf", 3000.0), ("c.gguf", 3400.0), ("d.gguf", 3800.0)] {
        let (file, speed) = (path(name), format!("{wanted}tps"));
        let (code, _, err) = program(&["quantize", "demo", "-o", &file, "--mix", &speed, "--spec", "m1"]);
        assert_eq!(code, Some(0), "{err}");
        let (found, bytes) = (planned(&file), std::fs::metadata(&file).expect("written").len());
        assert!(found >= wanted && err.contains("tok/s predicted on m1"), "{wanted}: {found}, {err}");
        assert!(wanted < 3000.0 || found < wanted * 1.05, "{wanted}: {found}: finer types would do");
        assert!(bytes < before, "{wanted}: {bytes}, after {before}");
        before = bytes;
    }
    let never = path("never.gguf");
    for (arguments, said) in [
        (
            &["--mix", "99999tps", "--spec", "m1"][..],
            "99999 tokens per second cannot be had on m1: the most is",
        ),
        (&["--mix", "30tps", "--spec", "abacus"], "abacus"),
        (&["--mix", "4.8bpw", "--spec", "m1"], "--mix 30tps"),
        (&["--quant", "q8_0", "--spec", "m1"], "--mix 30tps"),
    ] {
        let (code, _, err) = program(&[&["quantize", "demo", "-o", &never], arguments].concat());
        assert!(code == Some(2) && err.contains(said) && err.lines().count() == 1, "{arguments:?}: {err}");
        assert!(!Path::new(&never).exists());
    }
}
