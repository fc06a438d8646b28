//! The same model as different converters store it, and files that must not run.

use anygpu::base::DType;
use anygpu::formats::Archive;
use anygpu::formats::gguf::GgufWriter;
use anygpu::model::ModelSpec;

type Tensors = Vec<(String, Vec<usize>, Vec<u8>)>;

/// Width 32, 2 heads of 16, 1 KV head, biases: every byte of a row tells where it belongs.
fn model() -> Tensors {
    let shapes: [(&str, &[usize]); 14] = [
        ("token_embd.weight", &[48, 32]),
        ("output_norm.weight", &[32]),
        ("blk.0.attn_norm.weight", &[32]),
        ("blk.0.attn_q.weight", &[32, 32]),
        ("blk.0.attn_q.bias", &[32]),
        ("blk.0.attn_k.weight", &[16, 32]),
        ("blk.0.attn_k.bias", &[16]),
        ("blk.0.attn_v.weight", &[16, 32]),
        ("blk.0.attn_v.bias", &[16]),
        ("blk.0.attn_output.weight", &[32, 32]),
        ("blk.0.ffn_norm.weight", &[32]),
        ("blk.0.ffn_gate.weight", &[64, 32]),
        ("blk.0.ffn_up.weight", &[64, 32]),
        ("blk.0.ffn_down.weight", &[32, 64]),
    ];
    let bytes = |name: &str, n: usize| {
        let seed = name.bytes().fold(7u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        (0..n * 4).map(|i| seed.wrapping_add((i % 251) as u8)).collect()
    };
    let tensor = |&(name, shape): &(&str, &[usize])| {
        (name.to_owned(), shape.to_vec(), bytes(name, shape.iter().product()))
    };
    shapes.iter().map(tensor).collect()
}

fn gguf(tensors: &Tensors) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "qwen2");
    for (key, value) in [
        ("block_count", 1u32),
        ("context_length", 64),
        ("embedding_length", 32),
        ("feed_forward_length", 64),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ] {
        writer.set(&format!("qwen2.{key}"), value);
    }
    writer.set("qwen2.attention.layer_norm_rms_epsilon", 1e-5f32);
    for (name, shape, _) in tensors {
        writer.tensor(name, DType::F32, shape).unwrap();
    }
    let mut body = writer.begin(Vec::new()).unwrap();
    for (_, _, bytes) in tensors {
        body.write(bytes).unwrap();
    }
    body.finish().unwrap()
}

fn open(tensors: &Tensors) -> Archive {
    Archive::from_memory([("model.gguf", gguf(tensors))]).unwrap()
}

fn take(tensors: &mut Tensors, name: &str) -> (String, Vec<usize>, Vec<u8>) {
    let at = tensors.iter().position(|tensor| tensor.0 == name).unwrap();
    tensors.remove(at)
}

/// The tensors with Q, K and V in one, weights and biases.
fn fused() -> Tensors {
    let mut tensors = model();
    for kind in ["weight", "bias"] {
        let parts = ["q", "k", "v"].map(|p| take(&mut tensors, &format!("blk.0.attn_{p}.{kind}")));
        let mut shape = parts[0].1.clone();
        shape[0] = 64;
        let bytes = parts.map(|part| part.2).concat();
        tensors.push((format!("blk.0.attn_qkv.{kind}"), shape, bytes));
    }
    tensors
}

#[test]
fn stacked_matrices_are_their_parts() {
    let archive = open(&fused());
    let spec = ModelSpec::from_archive(&archive).unwrap();
    assert_eq!(spec, ModelSpec::from_archive(&open(&model())).unwrap());
    for (name, shape, bytes) in model() {
        let tensor = archive.tensor(&name).unwrap();
        assert_eq!((&tensor.shape, archive.bytes(tensor)), (&shape, &bytes[..]), "{name}");
    }
}

#[test]
fn unused_tensors_are_refused() {
    let check = |name: &str, shape: &[usize], is_fine: bool| {
        let mut tensors = model();
        tensors.push((name.to_owned(), shape.to_vec(), vec![0; shape.iter().product::<usize>() * 4]));
        match (ModelSpec::from_archive(&open(&tensors)), is_fine) {
            (Ok(_), true) => {}
            (Err(error), false) => {
                let message = error.to_string();
                assert!(message.contains(name) && message.contains("does not use"), "{message}");
            }
            (found, _) => panic!("{name}: {:?}", found.map(|_| ())),
        }
    };
    check("blk.0.attn_rot_embd.weight", &[16], true);
    for name in ["ffn_down.scale", "attn_q.input_scale", "attn_sinks.weight", "attn_q_norm.weight"] {
        check(&format!("blk.0.{name}"), &[1], false);
    }
    check("blk.0.attn_qkv.weight", &[64, 32], false); // beside its parts
    check("blk.1.ffn_up.weight", &[64, 32], false);
    check("output.bias", &[48], false);
}

#[test]
fn a_norm_may_be_a_matrix_of_one_row() {
    let mut tensors = model();
    for tensor in tensors.iter_mut().filter(|tensor| tensor.0.ends_with("norm.weight")) {
        tensor.1.insert(0, 1);
    }
    ModelSpec::from_archive(&open(&tensors)).unwrap();
}

const HF_CONFIG: &str = r#"{"architectures":["Qwen2ForCausalLM"],"model_type":"qwen2","hidden_size":32,
    "intermediate_size":64,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,
    "vocab_size":48,"max_position_embeddings":64,"tie_word_embeddings":true}"#;

const HF_NAMES: [(&str, &str); 10] = [
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("blk.0", "model.layers.0"),
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_", "self_attn."),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_", "mlp."),
];

/// `tensors` under the names of a Hugging Face folder.
fn renamed(tensors: Tensors) -> Tensors {
    let rename = |name: &str| {
        let name = HF_NAMES.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to));
        let projections = ["attn.q.", "attn.k.", "attn.v.", "mlp.up.", "mlp.down."];
        projections
            .iter()
            .fold(name, |name, part| name.replace(part, &format!("{}_proj.", part.trim_end_matches('.'))))
    };
    tensors.into_iter().map(|(name, shape, bytes)| (rename(&name), shape, bytes)).collect()
}

fn open_hf(config: &str, tensors: &Tensors) -> Archive {
    let (mut header, mut data) = (Vec::new(), Vec::<u8>::new());
    for (name, shape, bytes) in tensors {
        let (start, end) = (data.len(), data.len() + bytes.len());
        header
            .push(format!(r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#));
        data.extend(bytes);
    }
    let header = format!("{{{}}}", header.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(data);
    Archive::from_memory([("config.json", config.as_bytes().to_vec()), ("model.safetensors", file)]).unwrap()
}

#[test]
fn folders_of_other_names() {
    let sound = ModelSpec::from_archive(&open_hf(HF_CONFIG, &renamed(model()))).unwrap();
    assert!(sound.is_tied());
    let prefixless: Tensors = renamed(model())
        .into_iter()
        .map(|(name, shape, bytes)| (name.replacen("model.", "", 1), shape, bytes))
        .collect();
    for tensors in [renamed(fused()), prefixless] {
        let archive = open_hf(HF_CONFIG, &tensors);
        assert_eq!(ModelSpec::from_archive(&archive).unwrap(), sound);
        for (name, _, bytes) in renamed(model()) {
            assert_eq!(archive.bytes(archive.tensor(&name).unwrap()), bytes, "{name}");
        }
    }
    let class = "[\"Qwen2ForCausalLM\"]";
    for (other, is_fine) in [
        ("[]", true),
        ("[\"QWen2ForCausalLM\"]", true),
        ("[\"SomeoneElsesForCausalLM\"]", true),
        ("[\"Qwen2ForSequenceClassification\"]", false),
        ("[\"Qwen2MoeForCausalLM\"]", false),
        ("[\"GPT2LMHeadModel\"],\"auto_map\":{}", false),
    ] {
        let archive = open_hf(&HF_CONFIG.replace(class, other), &renamed(model()));
        let found = ModelSpec::from_archive(&archive);
        assert_eq!(found.is_ok(), is_fine, "{other}: {:?}", found.err());
    }
}

#[test]
fn an_output_matrix_beside_a_tied_embedding() {
    for (change, is_tied) in [(0, true), (1, false)] {
        let mut tensors = renamed(model());
        let (_, shape, mut bytes) = tensors[0].clone();
        bytes[5] = bytes[5].wrapping_add(change);
        tensors.push(("lm_head.weight".into(), shape, bytes));
        let spec = ModelSpec::from_archive(&open_hf(HF_CONFIG, &tensors)).unwrap();
        assert_eq!(spec.is_tied(), is_tied);
    }
}

#[test]
fn weights_of_other_programs_are_named() {
    let with = |config: &str, extra: &str| {
        let mut tensors = renamed(model());
        if !extra.is_empty() {
            tensors.push((extra.into(), vec![1], vec![0; 4]));
        }
        let config = HF_CONFIG.replacen('{', &format!("{{{config}"), 1);
        ModelSpec::from_archive(&open_hf(&config, &tensors)).expect_err("refused").to_string()
    };
    let q = "model.layers.0.self_attn.q_proj";
    for (config, extra, expected) in [
        (r#""quantization":{"group_size":64,"bits":4},"#, "", "MLX, 4-bit"),
        (r#""quantization_config":{"quant_method":"awq","bits":4},"#, "", "AWQ"),
        (r#""quantization_config":{"quant_method":"gptq"},"#, "", "GPTQ"),
        (r#""quantization_config":{"quant_method":"fp8"},"#, "", "in FP8"),
        (r#""quantization_config":{"load_in_4bit":true},"#, "", "bitsandbytes"),
        ("", &format!("{q}.qweight"), "AWQ or GPTQ"),
        ("", &format!("{q}.lora_A.weight"), "an adapter (LoRA)"),
        ("", &format!("{q}.weight_scale"), "does not use"),
    ] {
        let message = with(config, extra);
        assert!(message.contains(expected), "{config}{extra}: {message}");
    }
}
