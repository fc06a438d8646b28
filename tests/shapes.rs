//! Model shapes by name: the published parameter counts, and what can be typed.

use anygpu::base::DType;
use anygpu::model::shapes::{self, ShapeRef};
use anygpu::model::{ModelError, ModelSpec, hf};

/// (name, parameters, KV bytes per token in f16, positions). Parameters as the models' repositories
/// count them, tied matrices once; KV bytes are 4 · layers · KV heads · head width.
const PUBLISHED: [(&str, u64, u64, usize); 26] = [
    ("demo", 4_458_752, 4096, 512),
    ("SmolLM2-135M", 134_515_008, 23_040, 8192),
    ("SmolLM2-360M", 361_821_120, 40_960, 8192),
    ("SmolLM2-1.7B", 1_711_376_384, 196_608, 8192),
    ("TinyLlama-1.1B", 1_100_048_384, 22_528, 2048),
    ("Llama-3.2-1B", 1_235_814_400, 32_768, 131_072),
    ("Llama-3.2-3B", 3_212_749_824, 114_688, 131_072),
    ("Llama-3.1-8B", 8_030_261_248, 131_072, 131_072),
    ("Llama-3.1-70B", 70_553_706_496, 327_680, 131_072),
    ("Llama-2-7B", 6_738_415_616, 524_288, 4096),
    ("Llama-2-13B", 13_015_864_320, 819_200, 4096),
    ("Llama-2-70B", 68_976_648_192, 327_680, 4096),
    ("Mistral-7B", 7_248_023_552, 131_072, 32_768),
    ("Qwen2.5-0.5B", 494_032_768, 12_288, 32_768),
    ("Qwen2.5-1.5B", 1_543_714_304, 28_672, 131_072),
    ("Qwen2.5-3B", 3_085_938_688, 36_864, 32_768),
    ("Qwen2.5-7B", 7_615_616_512, 57_344, 131_072),
    ("Qwen2.5-14B", 14_770_033_664, 196_608, 131_072),
    ("Qwen2.5-32B", 32_763_876_352, 262_144, 131_072),
    ("Qwen2.5-72B", 72_706_203_648, 327_680, 131_072),
    ("Qwen3-0.6B", 596_049_920, 114_688, 40_960),
    ("Qwen3-1.7B", 1_720_574_976, 114_688, 40_960),
    ("Qwen3-4B", 4_022_468_096, 147_456, 40_960),
    ("Qwen3-8B", 8_190_735_360, 147_456, 40_960),
    ("Qwen3-14B", 14_768_307_200, 163_840, 40_960),
    ("Qwen3-32B", 32_762_123_264, 262_144, 40_960),
];

#[test]
fn published_counts() {
    assert!(shapes::names().eq(PUBLISHED.iter().map(|row| row.0)));
    for (name, n_params, kv_bytes, positions) in PUBLISHED {
        let spec = shapes::find(name).expect(name);
        assert_eq!(
            (spec.n_params(), spec.kv_bytes_per_token(2), spec.max_context),
            (n_params, kv_bytes, positions),
            "{name}"
        );
        assert_eq!((spec.sliding_window, spec.rotary_dim()), (None, spec.head_dim), "{name}");
    }
}

#[test]
fn the_demo_row_is_the_demo_model() {
    let (_, config) = anygpu::engine::model::DEMO_FILES[0];
    let config = serde_json::from_slice(config).expect("JSON");
    assert_eq!(shapes::find("demo"), hf::parse(&config, &|name| name != "lm_head.weight"));
}

#[test]
fn families_differ_where_they_should() {
    let spec = |name: &str| -> ModelSpec { shapes::find(name).expect(name) };
    let tied: Vec<&str> = shapes::names().filter(|name| spec(name).is_tied()).collect();
    let small = ["demo", "SmolLM2", "Llama-3.2", "Qwen2.5-0.5B", "Qwen2.5-1.5B", "Qwen2.5-3B"];
    let small = [&small[..], &["Qwen3-0.6B", "Qwen3-1.7B", "Qwen3-4B"]].concat();
    let expected: Vec<&str> =
        shapes::names().filter(|name| small.iter().any(|start| name.starts_with(start))).collect();
    assert_eq!(tied, expected);
    let (qwen2, qwen3) = (spec("Qwen2.5-7B"), spec("Qwen3-8B"));
    assert!(qwen2.tensors.layers[0].q_bias.is_some() && qwen2.tensors.layers[0].q_norm.is_none());
    assert!(qwen3.tensors.layers[0].q_bias.is_none() && qwen3.tensors.layers[0].q_norm.is_some());
    // Llama 3's scaling divides the lowest frequency by the factor.
    let last = |name: &str| *spec(name).rope.inv_freq.last().expect("frequencies");
    let plain = |base: f64, width: f64| base.powf(-(width - 2.0) / width);
    for (name, base, width, factor) in [
        ("Llama-3.1-8B", 5e5, 128.0, 8.0),
        ("Llama-3.2-1B", 5e5, 64.0, 32.0),
        ("SmolLM2-1.7B", 1.3e5, 64.0, 1.0),
        ("Llama-2-7B", 1e4, 128.0, 1.0),
        ("Qwen3-0.6B", 1e6, 128.0, 1.0),
    ] {
        assert!((last(name) * factor / plain(base, width) - 1.0).abs() <= 1e-12, "{name}");
    }
}

#[test]
fn names_as_people_type_them() {
    let parse = |text: &str| ShapeRef::parse(text).map(|shape| shape.map(|s| (s.name, s.quant)));
    for (text, expected) in [
        ("shape:Llama-3.1-8B", ("Llama-3.1-8B", None)),
        ("shape:llama 3.1 8b:Q4_0", ("Llama-3.1-8B", Some(DType::Q4_0))),
        ("SHAPE:smollm2_135m:q6_k", ("SmolLM2-135M", Some(DType::Q6K))),
        ("shape:qwen3-0.6b:f16", ("Qwen3-0.6B", Some(DType::F16))),
    ] {
        assert_eq!(parse(text), Some(Ok(expected)), "{text}");
    }
    for path in ["", "model.gguf", "shape", "shapes/llama", "sh\u{e4}pe:x", "./shape:demo"] {
        assert_eq!(parse(path), None, "{path}");
    }
    for text in ["shape:Llama-3.1-8B:q4_0", "shape:demo"] {
        assert_eq!(ShapeRef::parse(text).expect("a shape").expect("known").to_string(), text);
    }
}

#[test]
fn unknown_names_get_the_nearest_ones() {
    let check = |text: &str, parts: &[&str]| {
        let error = ShapeRef::parse(text).expect("a shape").expect_err("unknown");
        let message = error.to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
        error
    };
    check("shape:Lama-3.1-8B", &["'Lama-3.1-8B'", "did you mean Llama-3.1-8B"]);
    check("shape:mistral", &["did you mean Mistral-7B"]);
    let ModelError::UnknownShape { nearest, .. } = check("shape:qwen3", &["'qwen3'"]) else { panic!() };
    assert!(nearest.len() == 3 && nearest.iter().all(|name| name.starts_with("Qwen3-")), "{nearest:?}");
    for foreign in ["shape:", "shape:Gemma-7B", "shape:phi-4"] {
        check(foreign, &["shapes of SmolLM2, TinyLlama, Llama-3.2", "Mistral", "`anygpu plan shape:list`"]);
    }
    check(&format!("shape:{}", "\u{1F600}x".repeat(10_000)), &["there are shapes of"]);
    check("shape:Qwen3-8B:q9", &["quantization of shape:Qwen3-8B is 'q9'", "f16, q8_0", "q4_0"]);
    check("shape:Qwen3-8B:q2_k", &["'q2_k'", "expected one of"]);
    check("shape:Qwen3-8B:", &["''"]);
}
