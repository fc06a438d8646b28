//! `config.json` and GGUF metadata → `ModelSpec`: published models, variants, and what is refused.

use std::collections::BTreeMap;

use anygpu::base::DType;
use anygpu::formats::archive::TensorInfo;
use anygpu::model::spec::{Activation, RopeStyle};
use anygpu::model::{ModelError, ModelSpec, check, gguf, hf};
use serde_json::{Value, json};

/// A config.json with every tensor stored.
fn from_config(config: &Value) -> Result<ModelSpec, ModelError> {
    hf::parse(config, &|_| true)
}

/// GGUF metadata (a flat JSON object) of a file that stores the tensors in `stored` and the embedding.
fn from_gguf(keys: &Value, stored: &[(&str, &[usize])]) -> Result<ModelSpec, ModelError> {
    let shape = |name: &str| stored.iter().find(|row| row.0 == name).map(|row| row.1.to_vec());
    gguf::parse(&|key| keys.get(key).cloned(), &shape)
}

/// `base` with the members of `changes` set, or removed where they are the string "absent".
fn with(base: &Value, changes: Value) -> Value {
    let mut all = base.as_object().expect("an object").clone();
    for (key, value) in changes.as_object().expect("an object") {
        match value.as_str() {
            Some("absent") => all.remove(key),
            _ => all.insert(key.clone(), value.clone()),
        };
    }
    Value::Object(all)
}

fn tiny_llama() -> Value {
    json!({"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
        "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 128})
}

fn tiny_gguf() -> Value {
    json!({"general.architecture": "llama", "llama.block_count": 4, "llama.context_length": 128,
        "llama.embedding_length": 64, "llama.feed_forward_length": 96, "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 2, "llama.attention.layer_norm_rms_epsilon": 1e-6})
}

const EMBEDDING: (&str, &[usize]) = ("token_embd.weight", &[100, 64]);

/// Row: (config, parameters, KV bytes per token in f16). The figures are the models' published ones,
/// KV bytes are 4 · layers · KV heads · head width.
#[track_caller]
fn check_size(config: Value, n_params: u64, kv_bytes: u64) {
    let spec = from_config(&config).unwrap();
    assert_eq!((spec.n_params(), spec.kv_bytes_per_token(2)), (n_params, kv_bytes), "{config}");
    assert_eq!(spec.rms_eps, config["rms_norm_eps"].as_f64().unwrap() as f32);
    assert_eq!(spec.tensors.layers.len(), spec.n_layers);
}

fn published(architecture: &str, dims: [usize; 6], more: Value) -> Value {
    let [hidden, inner, layers, heads, kv_heads, vocab] = dims;
    let base = json!({"architectures": [architecture], "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "vocab_size": vocab, "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": "bfloat16"});
    with(&base, more)
}

#[test]
fn published_sizes() {
    let llama3 = json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"});
    let llama = "LlamaForCausalLM";
    check_size(
        published(llama, [4096, 11008, 32, 32, 32, 32000], json!({"rope_scaling": null})),
        6_738_415_616,
        524_288,
    );
    let more = json!({"rope_scaling": llama3, "rope_theta": 500000.0, "max_position_embeddings": 131072});
    check_size(published(llama, [4096, 14336, 32, 32, 8, 128_256], more), 8_030_261_248, 131_072);
    let more = json!({"tie_word_embeddings": true, "rope_scaling": with(&llama3, json!({"factor": 32.0})), "head_dim": 64});
    check_size(published(llama, [2048, 8192, 16, 32, 8, 128_256], more), 1_235_814_400, 32_768);
    check_size(published(llama, [2048, 5632, 22, 32, 4, 32000], json!({})), 1_100_048_384, 22_528);
    let smol = json!({"tie_word_embeddings": true, "rope_theta": 100000, "rope_interleaved": false});
    check_size(published(llama, [576, 1536, 30, 9, 3, 49152], smol), 134_515_008, 23_040);
    let more = json!({"sliding_window": 4096, "max_position_embeddings": 32768});
    check_size(
        published("MistralForCausalLM", [4096, 14336, 32, 32, 8, 32000], more),
        7_241_732_096,
        131_072,
    );
    let qwen2 = json!({"tie_word_embeddings": true, "sliding_window": 32768, "use_sliding_window": false,
        "max_window_layers": 21, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0});
    check_size(published("Qwen2ForCausalLM", [896, 4864, 24, 14, 2, 151_936], qwen2), 494_032_768, 12_288);
    let qwen3 = json!({"tie_word_embeddings": true, "head_dim": 128, "attention_bias": false, "sliding_window": null,
        "use_sliding_window": false, "max_window_layers": 28, "rope_theta": 1000000, "rms_norm_eps": 1e-6});
    check_size(published("Qwen3ForCausalLM", [1024, 3072, 28, 16, 8, 151_936], qwen3), 596_049_920, 114_688);
}

#[test]
fn missing_keys_take_the_class_defaults() {
    let dims =
        |s: ModelSpec| (s.intermediate, s.n_kv_heads, s.head_dim, s.vocab, s.max_context, s.sliding_window);
    let check = |architecture: &str, expected| {
        let spec = from_config(&json!({"architectures": [architecture]})).unwrap();
        assert_eq!((spec.hidden, spec.n_layers, spec.n_heads, spec.rms_eps), (4096, 32, 32, 1e-6));
        assert_eq!(spec.rope.inv_freq[1], 10000f64.powf(-2.0 / spec.head_dim as f64));
        assert!(!spec.is_tied());
        assert_eq!(dims(spec), expected, "{architecture}");
    };
    check("LlamaForCausalLM", (11008, 32, 128, 32000, 2048, None));
    check("MistralForCausalLM", (14336, 8, 128, 32000, 131_072, Some(4096)));
    check("Qwen2ForCausalLM", (22016, 32, 128, 151_936, 32768, None));
    check("Qwen3ForCausalLM", (22016, 32, 128, 151_936, 32768, None));
    let by_type = from_config(&json!({"model_type": "mistral"})).unwrap();
    assert_eq!(by_type.architecture, "MistralForCausalLM");
    let no_kv = from_config(&with(&tiny_llama(), json!({"num_key_value_heads": null}))).unwrap();
    assert_eq!(no_kv.n_kv_heads, 8);
}

/// Row: config changes → (window, layers with it).
#[test]
fn windows() {
    let check = |architecture: &str, changes: Value, expected: (Option<usize>, &[bool])| {
        let config = with(
            &with(&tiny_llama(), json!({"architectures": [architecture], "head_dim": 8})),
            changes.clone(),
        );
        let spec = from_config(&config).unwrap();
        assert_eq!((spec.sliding_window, &spec.sliding_layers[..]), expected, "{architecture} {changes}");
        assert_eq!(spec.window_of(3), expected.0.filter(|_| expected.1[3]));
    };
    let (yes, no) = (true, false);
    check("LlamaForCausalLM", json!({"sliding_window": 16}), (None, &[]));
    check("MistralForCausalLM", json!({"sliding_window": 16}), (Some(16), &[yes; 4]));
    check("MistralForCausalLM", json!({"sliding_window": null}), (None, &[]));
    for qwen in ["Qwen2ForCausalLM", "Qwen3ForCausalLM"] {
        check(qwen, json!({"sliding_window": 16}), (None, &[]));
        let on = json!({"sliding_window": 16, "use_sliding_window": true});
        check(qwen, on.clone(), (None, &[])); // max_window_layers is 28: all four see everything
        check(qwen, with(&on, json!({"max_window_layers": 3})), (Some(16), &[no, no, no, yes]));
        check(qwen, with(&on, json!({"max_window_layers": 0})), (Some(16), &[yes; 4]));
        let (full, sliding) = ("full_attention", "sliding_attention");
        check(
            qwen,
            with(&on, json!({"layer_types": [sliding, full, full, sliding]})),
            (Some(16), &[yes, no, no, yes]),
        );
        check(qwen, with(&on, json!({"layer_types": [full, full, full, full]})), (None, &[]));
    }
}

#[test]
fn optional_tensors() {
    let layer =
        |changes: Value| from_config(&with(&tiny_llama(), changes)).unwrap().tensors.layers[3].clone();
    let plain = layer(json!({}));
    assert_eq!(plain.q, "model.layers.3.self_attn.q_proj.weight");
    assert_eq!((&plain.q_bias, &plain.o_bias, &plain.gate_bias, &plain.q_norm), (&None, &None, &None, &None));
    let biased = layer(json!({"attention_bias": true, "mlp_bias": true}));
    assert_eq!(biased.o_bias.as_deref(), Some("model.layers.3.self_attn.o_proj.bias"));
    assert_eq!(biased.down_bias.as_deref(), Some("model.layers.3.mlp.down_proj.bias"));
    let qwen2 = layer(json!({"architectures": ["Qwen2ForCausalLM"]}));
    assert!(
        qwen2.q_bias.is_some() && qwen2.v_bias.is_some() && qwen2.o_bias.is_none() && qwen2.q_norm.is_none()
    );
    let qwen3 = layer(json!({"architectures": ["Qwen3ForCausalLM"], "attention_bias": true}));
    assert_eq!(qwen3.k_norm.as_deref(), Some("model.layers.3.self_attn.k_norm.weight"));
    assert!(qwen3.q_bias.is_some() && qwen3.o_bias.is_some() && qwen3.gate_bias.is_none());
}

/// Row: (tie_word_embeddings, stored matrices) → (embedding, output).
#[test]
fn tied_and_untied_matrices() {
    const EMBED: &str = "model.embed_tokens.weight";
    const HEAD: &str = "lm_head.weight";
    let check = |tie: Value, stored: &[&str], expected: [&str; 2]| {
        let config = with(&tiny_llama(), json!({"tie_word_embeddings": tie}));
        let names = hf::parse(&config, &|name| stored.contains(&name)).unwrap().tensors;
        assert_eq!([names.embedding, names.output], expected, "{tie} {stored:?}");
    };
    check(json!(true), &[EMBED], [EMBED, EMBED]);
    check(json!(true), &[HEAD], [HEAD, HEAD]);
    // Copies were taken out when the files were opened: what is left differs.
    check(json!(true), &[EMBED, HEAD], [EMBED, HEAD]);
    check(json!(false), &[EMBED, HEAD], [EMBED, HEAD]);
    check(json!(false), &[EMBED], [EMBED, HEAD]); // the missing matrix is reported by the tensor check
    check(json!("absent"), &[EMBED, HEAD], [EMBED, HEAD]);
    check(json!("absent"), &[EMBED], [EMBED, EMBED]);
}

/// Row: config changes → (rotated width, last inverse frequency of base 10000, scale, context).
#[test]
fn rotary_parameters() {
    let check = |changes: Value, expected: (usize, f64, f64, usize)| {
        let spec = from_config(&with(&tiny_llama(), changes.clone())).unwrap();
        let last = *spec.rope.inv_freq.last().unwrap();
        assert_eq!((spec.rotary_dim(), spec.max_context), (expected.0, expected.3), "{changes}");
        assert!((last / expected.1 - 1.0).abs() <= 1e-12, "{changes}: {last}");
        assert!((spec.rope.scale - expected.2).abs() <= 1e-12, "{changes}: {}", spec.rope.scale);
    };
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32});
    let yarn_with = |changes: Value| json!({"rope_parameters": with(&yarn, changes)});
    let paper_scale = 0.1 * 4f64.ln() + 1.0;
    check(json!({}), (8, 1e-3, 1.0, 128));
    check(json!({"rope_theta": 1e8}), (8, 1e-6, 1.0, 128));
    check(
        json!({"rope_scaling": {}, "rope_parameters": {"rope_theta": 1e8, "rope_type": "default"}}),
        (8, 1e-6, 1.0, 128),
    );
    check(json!({"partial_rotary_factor": 0.5}), (4, 1e-2, 1.0, 128));
    check(json!({"rope_parameters": {"partial_rotary_factor": 0.5}}), (4, 1e-2, 1.0, 128));
    check(json!({"rope_scaling": {"type": "linear", "factor": 4}}), (8, 2.5e-4, 1.0, 512));
    check(json!({"rope_scaling": {"type": "dynamic", "factor": 4}}), (8, 1e-3, 1.0, 128));
    let llama3 = json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4});
    check(json!({"rope_scaling": llama3}), (8, 1e-3 / 8.0, 1.0, 128));
    check(yarn_with(json!({})), (8, 2.5e-4, paper_scale, 128));
    check(yarn_with(json!({"original_max_position_embeddings": 64})), (8, 2.5e-4, paper_scale, 256));
    check(yarn_with(json!({"factor": "absent"})), (8, 2.5e-4, paper_scale, 128));
    check(yarn_with(json!({"attention_factor": 1.25})), (8, 2.5e-4, 1.25, 128));
    let both = 1.0 + 0.1 * 0.5 * 4f64.ln();
    check(yarn_with(json!({"mscale": 1.0, "mscale_all_dim": 0.5})), (8, 2.5e-4, paper_scale / both, 128));
    check(yarn_with(json!({"mscale": 2.0})), (8, 2.5e-4, paper_scale, 128));
}

#[test]
fn activations() {
    let act = |name: &str| {
        from_config(&with(&tiny_llama(), json!({"hidden_act": name}))).map(|spec| spec.activation)
    };
    assert_eq!(act("silu"), Ok(Activation::Silu));
    assert_eq!(act("gelu"), Ok(Activation::GeluErf));
    assert_eq!(act("gelu_new"), Ok(Activation::GeluTanh));
    assert_eq!(act("gelu_pytorch_tanh"), Ok(Activation::GeluTanh));
    assert!(act("relu2").is_err());
}

/// The message names the key, what was found and what would do.
#[track_caller]
fn check_refused(result: Result<ModelSpec, ModelError>, parts: &[&str]) {
    let message = result.expect_err("must be refused").to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn neighbouring_architectures_are_refused() {
    for name in [
        "GemmaForCausalLM",
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "Phi3ForCausalLM",
        "MixtralForCausalLM",
        "Qwen2MoeForCausalLM",
        "Qwen3MoeForCausalLM",
        "MambaForCausalLM",
        "DeepseekV3ForCausalLM",
        "GPT2LMHeadModel",
        "SmolLM3ForCausalLM",
        "LlamaForSequenceClassification",
    ] {
        check_refused(from_config(&json!({"architectures": [name]})), &[name, "supported: LlamaForCausalLM"]);
    }
    check_refused(from_config(&json!({"model_type": "gemma2"})), &["gemma2", "supported:"]);
    for name in ["gemma2", "phi3", "qwen2moe", "qwen3moe", "mamba", "deepseek2", "gpt2", "mistral3"] {
        check_refused(from_gguf(&json!({"general.architecture": name}), &[]), &[name, "supported:"]);
    }
    let mixtral = with(&tiny_gguf(), json!({"llama.expert_count": 8}));
    check_refused(from_gguf(&mixtral, &[EMBEDDING]), &["8 experts", "supported:"]);
}

#[test]
fn bad_configurations_are_refused() {
    let check =
        |changes: Value, parts: &[&str]| check_refused(from_config(&with(&tiny_llama(), changes)), parts);
    check(json!({"hidden_size": 0}), &["hidden_size is 0", "1 to 1048576"]);
    check(json!({"hidden_size": 1u64 << 40}), &["hidden_size is 1099511627776"]);
    check(json!({"hidden_size": -64}), &["hidden_size is -64"]);
    check(json!({"hidden_size": "64"}), &["hidden_size is \"64\""]);
    check(json!({"hidden_size": 64.5}), &["hidden_size is 64.5"]);
    check(json!({"num_hidden_layers": 20000}), &["num_hidden_layers is 20000", "10000"]);
    check(
        json!({"num_attention_heads": 7, "num_key_value_heads": 1}),
        &["num_attention_heads is 7", "divisor", "64"],
    );
    check(json!({"num_key_value_heads": 3}), &["num_key_value_heads is 3", "divisor of the 8 query heads"]);
    check(json!({"head_dim": 0}), &["head_dim is 0"]);
    check(json!({"head_dim": 7}), &["head_dim", "is 7", "even"]);
    check(json!({"partial_rotary_factor": 1.5}), &["partial_rotary_factor is 1.5"]);
    check(json!({"partial_rotary_factor": 0.4}), &["is 3", "even"]);
    check(json!({"rms_norm_eps": "x".repeat(200)}), &["rms_norm_eps is \"xxx", "…"]);
    check(json!({"rope_theta": 0}), &["rope_theta is 0"]);
    check(json!({"tie_word_embeddings": 1}), &["tie_word_embeddings is 1", "true or false"]);
    check(json!({"architectures": "Llama"}), &["architecture Llama is not supported"]);
    check(json!({"architectures": "absent"}), &["architectures is missing"]);
    check(json!({"quantization_config": {"bits": 4}}), &["quantization_config", "GGUF"]);
    check(json!({"rope_scaling": {"type": "longrope"}}), &["rope_scaling.type is \"longrope\"", "yarn"]);
    check(json!({"rope_scaling": {"rope_type": "linear"}}), &["rope_scaling.factor is missing"]);
    check(json!({"rope_scaling": {"rope_type": "linear", "factor": 0}}), &["rope_scaling.factor is 0"]);
    check(
        json!({"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 4, "high_freq_factor": 1}}),
        &["high_freq"],
    );
    check(
        json!({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}),
        &["one set of rotary parameters"],
    );
    check(json!({"rope_scaling": 2}), &["rope_scaling is 2"]);
    let mistral = |window: u64| json!({"architectures": ["MistralForCausalLM"], "sliding_window": window});
    check(mistral(0), &["sliding_window is 0"]);
    let types = json!({"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": true, "layer_types": ["full_attention"]});
    check(types, &["layer_types is [\"full_attention\"]", "4 layers"]);
    check_refused(from_config(&json!([1])), &["architectures is missing"]);

    let check = |changes: Value, parts: &[&str]| {
        check_refused(from_gguf(&with(&tiny_gguf(), changes), &[EMBEDDING]), parts)
    };
    check(json!({"general.architecture": "absent"}), &["general.architecture is missing"]);
    check(json!({"llama.block_count": "absent"}), &["llama.block_count is missing"]);
    check(json!({"llama.attention.head_count_kv": [2, 2, 1, 2]}), &["same number in every layer"]);
    check(json!({"llama.attention.head_count_kv": []}), &["same number in every layer"]);
    check(json!({"llama.attention.head_count_kv": [0, 0]}), &["head_count_kv is [0,0]"]);
    check(json!({"llama.attention.value_length": 4}), &["value_length is 4", "8"]);
    check(json!({"llama.attention.layer_norm_rms_epsilon": "absent"}), &["epsilon is missing"]);
    check(json!({"llama.attention.causal": false}), &["attention.causal is false"]);
    check(json!({"llama.rope.dimension_count": 16}), &["rope.dimension_count is 16", "8"]);
    check(json!({"llama.rope.scaling.type": "longrope"}), &["rope.scaling.type is \"longrope\""]);
    check(json!({"llama.rope.scaling.type": "yarn"}), &["rope.scaling.factor is missing"]);
    check(
        json!({"llama.attention.sliding_window": 9, "llama.attention.sliding_window_pattern": [true]}),
        &["4 layers"],
    );
    check_refused(from_gguf(&tiny_gguf(), &[]), &["token_embd.weight is missing"]);
    check_refused(from_gguf(&tiny_gguf(), &[("token_embd.weight", &[64])]), &["token_embd.weight is [64]"]);
}

#[test]
#[should_panic(expected = "does not say")]
fn the_refusal_check_can_fail() {
    check_refused(from_config(&with(&tiny_llama(), json!({"head_dim": 7}))), &["hidden_size"]);
}

#[test]
fn gguf_says_the_same_as_hugging_face() {
    let hf = from_config(&with(&tiny_llama(), json!({"tie_word_embeddings": true}))).unwrap();
    let gguf = from_gguf(&tiny_gguf(), &[EMBEDDING]).unwrap();
    assert_eq!(gguf.rope.style, RopeStyle::Interleaved);
    assert_eq!(gguf.tensors.layers[3].down, "blk.3.ffn_down.weight");
    assert_eq!(without_names(gguf), without_names(hf));
}

/// What must agree between a model's two files.
fn without_names(mut spec: ModelSpec) -> (ModelSpec, u64) {
    let n_params = spec.n_params();
    spec.tensors = Default::default();
    spec.architecture.clear();
    spec.rope.style = RopeStyle::Half;
    (spec, n_params)
}

#[test]
fn gguf_variants() {
    let spec = |changes: Value| from_gguf(&with(&tiny_gguf(), changes), &[EMBEDDING]).unwrap();
    let last = |spec: &ModelSpec| *spec.rope.inv_freq.last().unwrap();
    assert_eq!(spec(json!({"llama.attention.head_count_kv": [2, 2, 2, 2]})).n_kv_heads, 2);
    assert_eq!(spec(json!({"llama.attention.head_count_kv": "absent"})).n_kv_heads, 8);
    assert_eq!(
        spec(json!({"llama.attention.key_length": 16, "llama.attention.value_length": 16})).head_dim,
        16
    );
    assert_eq!(spec(json!({"llama.rope.dimension_count": 4})).rotary_dim(), 4);
    assert_eq!(last(&spec(json!({"llama.rope.freq_base": 1e8}))), 1e-6);
    for linear in [
        json!({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}),
        json!({"llama.rope.scaling.factor": 4.0}),
        json!({"llama.rope.scale_linear": 4.0}),
    ] {
        assert_eq!(last(&spec(linear)), 2.5e-4);
    }
    let none = json!({"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0});
    assert_eq!(last(&spec(none)), 1e-3);
    let yarn = spec(json!({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0,
        "llama.rope.scaling.original_context_length": 32, "llama.rope.scaling.attn_factor": 0.5}));
    assert!((last(&yarn) / 2.5e-4 - 1.0).abs() <= 1e-12);
    assert_eq!((yarn.rope.scale, yarn.max_context), (0.5 * (1.0 + 0.1 * 4f64.ln()), 128));

    let window = json!({"llama.attention.sliding_window": 9});
    assert_eq!(spec(window.clone()).sliding_layers, [true; 4]);
    let layers = |pattern: Value| {
        spec(with(&window, json!({"llama.attention.sliding_window_pattern": pattern}))).sliding_layers
    };
    assert_eq!(layers(json!(2)), [true, false, true, false]);
    assert_eq!(layers(json!([false, false, true, false])), [false, false, true, false]);
    assert_eq!(layers(json!(1)), [false; 0]);
    assert_eq!(spec(json!({"llama.attention.sliding_window": 0})).sliding_window, None);

    let stored =
        [EMBEDDING, ("output.weight", &[100, 64]), ("rope_freqs.weight", &[4]), ("blk.1.attn_q.bias", &[64])];
    let spec = from_gguf(&tiny_gguf(), &stored).unwrap();
    assert!(!spec.is_tied());
    assert_eq!(spec.tensors.rope_factors.as_deref(), Some("rope_freqs.weight"));
    assert_eq!(spec.tensors.layers[1].q_bias.as_deref(), Some("blk.1.attn_q.bias"));
    assert_eq!(spec.tensors.layers[0].q_bias, None);
    assert_eq!(spec.expected_tensors().iter().find(|row| row.0 == "rope_freqs.weight").unwrap().1, [4]);
}

/// The tensors a spec expects, as an archive would list them.
fn stored(spec: &ModelSpec) -> BTreeMap<String, TensorInfo> {
    let info = |name: &str, shape| TensorInfo {
        name: name.to_owned(),
        dtype: DType::F32,
        shape,
        file: 0,
        range: 0..0,
    };
    spec.expected_tensors().into_iter().map(|(name, shape)| (name.to_owned(), info(name, shape))).collect()
}

#[test]
fn every_tensor_is_checked() {
    let config = with(&tiny_llama(), json!({"architectures": ["Qwen3ForCausalLM"], "attention_bias": true}));
    let spec = from_config(&config).unwrap();
    let all = stored(&spec);
    assert_eq!(all.len(), 4 * 15 + 3);
    assert_eq!(check::tensors(&spec, &all), Ok(()));
    for name in all.keys() {
        let mut fewer = all.clone();
        fewer.remove(name);
        assert_eq!(check::tensors(&spec, &fewer), Err(ModelError::MissingTensor { tensor: name.clone() }));
        let mut other = all.clone();
        let shape = &mut other.get_mut(name).unwrap().shape;
        let expected = shape.clone();
        shape.insert(0, 2);
        let found = shape.clone();
        assert_eq!(
            check::tensors(&spec, &other),
            Err(ModelError::Shape { tensor: name.clone(), expected, found })
        );
    }
    let mut more = all.clone();
    let mut extra = more["model.norm.weight"].clone();
    extra.name = "model.layers.0.mlp.up_proj.bias".to_owned();
    more.insert(extra.name.clone(), extra.clone());
    let message = check::unused(&spec, more.keys(), false).unwrap_err().to_string();
    assert!(message.contains("mlp.up_proj.bias") && message.contains("Qwen3ForCausalLM"), "{message}");
    more.remove(&extra.name);
    extra.name = "model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(); // of no consequence
    more.insert(extra.name.clone(), extra);
    assert_eq!(check::unused(&spec, more.keys(), false), Ok(()));
}

/// Any value under any key gives a model or an error, and both can be asked for their sizes or text.
#[test]
fn odd_values_never_panic() {
    let rope = json!({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 1, "beta_fast": 1e300});
    let qwen = json!({"architectures": ["Qwen3ForCausalLM"], "use_sliding_window": true, "sliding_window": 4,
        "max_window_layers": 1, "rope_scaling": rope, "partial_rotary_factor": 0.5, "head_dim": 8, "rope_theta": 1.5});
    let config = with(&tiny_llama(), qwen);
    let more = json!({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 2.0, "llama.rope.dimension_count": 8,
        "llama.attention.sliding_window": 4, "llama.attention.sliding_window_pattern": 2, "llama.expert_count": 0});
    let keys = with(&tiny_gguf(), more);
    let odd = [
        json!(null),
        json!(0),
        json!(1),
        json!(-1),
        json!(3),
        json!(u64::MAX),
        json!(1e308),
        json!(-0.0),
        json!(1e-300),
        json!(""),
        json!("\u{1F600}".repeat(100)),
        json!([]),
        json!([0]),
        json!([[]]),
        json!({}),
        json!({"a": {}}),
        json!(true),
        json!({"rope_type": "linear", "factor": 1e-300}),
        json!({"type": "llama3"}),
        json!(1 << 20),
        json!(10_000),
    ];
    let use_it = |result: Result<ModelSpec, ModelError>| match result {
        Ok(spec) => drop((spec.n_params(), spec.kv_bytes_per_token(4), spec.window_of(usize::MAX))),
        Err(error) => drop(error.to_string()),
    };
    for value in &odd {
        config
            .as_object()
            .unwrap()
            .keys()
            .for_each(|key| use_it(from_config(&with(&config, json!({key: value})))));
        keys.as_object()
            .unwrap()
            .keys()
            .for_each(|key| use_it(from_gguf(&with(&keys, json!({key: value})), &[EMBEDDING])));
        use_it(from_config(value));
    }
}
