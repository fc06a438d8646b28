//! Hugging Face folder → [`Plan`]: the keys and tensor names of a GGUF file of architecture `llama`, `qwen2`
//! or `qwen3`, as llama.cpp reads them.

use super::output::{Kind, Output, RowOrder, Source};
use super::{ConvertError, Plan, Result, vocab};
use crate::base::DType;
use crate::formats::gguf::WriteValue;
use crate::formats::gguf::value::ValueType;
use crate::formats::{Archive, HfFolder};
use crate::model::spec::{Activation, LayerTensors, RopeStyle};
use crate::model::{ModelSpec, RopeParts, Scaling, build_rope, hf, yarn_mscale};

/// YaRN's bounds where a file does not state them (Peng et al. 2023, §3.2).
const YARN_BETA_FAST: f64 = 32.0;
const YARN_BETA_SLOW: f64 = 1.0;

pub(super) fn plan(archive: &Archive, folder: &HfFolder, spec: &ModelSpec, name: &str) -> Result<Plan> {
    let arch = architecture(spec);
    check(arch, spec)?;
    let rope = hf::rope_parts(&folder.config, spec.head_dim)?;
    let mut plan = Plan { metadata: Vec::new(), outputs: Vec::new(), notices: Vec::new() };
    general(&mut plan, arch, spec, name);
    rotary(&mut plan, arch, &rope)?;
    window(&mut plan, arch, spec);
    vocab::add(&mut plan, folder, spec.vocab, arch)?;
    tensors(&mut plan, archive, arch, spec, &rope)?;
    Ok(plan)
}

/// `general.architecture` for a supported model; Mistral is a `llama`.
fn architecture(spec: &ModelSpec) -> &'static str {
    match spec.architecture.as_str() {
        "Qwen2ForCausalLM" => "qwen2",
        "Qwen3ForCausalLM" => "qwen3",
        _ => "llama",
    }
}

/// What the architecture's graph in llama.cpp does not compute.
fn check(architecture: &'static str, spec: &ModelSpec) -> Result<()> {
    let wrong = |what, found: &dyn ToString, expected| {
        Err(ConvertError::Inexpressible { what, found: found.to_string(), architecture, expected })
    };
    match spec.activation {
        Activation::Silu => {}
        Activation::GeluTanh => return wrong("hidden_act", &"gelu_pytorch_tanh", "silu only"),
        Activation::GeluErf => return wrong("hidden_act", &"gelu", "silu only"),
    }
    if architecture == "llama" {
        return Ok(());
    }
    let layer = spec.tensors.layers.first();
    if layer.is_some_and(|layer| layer.o_bias.is_some()) {
        return wrong("attention_bias", &true, "no bias on the attention's output");
    }
    if spec.rotary_dim() != spec.head_dim {
        return wrong("partial_rotary_factor", &"below 1", "whole heads are rotated");
    }
    if architecture == "qwen2" && spec.n_heads * spec.head_dim != spec.hidden {
        return wrong("head_dim", &spec.head_dim, "hidden_size / num_attention_heads");
    }
    Ok(())
}

fn general(plan: &mut Plan, arch: &str, spec: &ModelSpec, name: &str) {
    let mut set = |key: &str, value: WriteValue| plan.metadata.push((key.to_owned(), value));
    set("general.architecture", arch.into());
    set("general.type", "model".into());
    set("general.name", name.into());
    // Sizes are far below 2³² (`model::check::limits`).
    let numbers = [
        ("block_count", spec.n_layers),
        ("embedding_length", spec.hidden),
        ("feed_forward_length", spec.intermediate),
        ("attention.head_count", spec.n_heads),
        ("attention.head_count_kv", spec.n_kv_heads),
        ("attention.key_length", spec.head_dim),
        ("attention.value_length", spec.head_dim),
        ("vocab_size", spec.vocab),
    ];
    for (key, number) in numbers {
        set(&format!("{arch}.{key}"), (number as u32).into());
    }
    set(&format!("{arch}.attention.layer_norm_rms_epsilon"), spec.rms_eps.into());
}

fn rotary(plan: &mut Plan, arch: &'static str, rope: &RopeParts) -> Result<()> {
    let mut set = |key: &str, value: WriteValue| plan.metadata.push((format!("{arch}.{key}"), value));
    // Both are stored with 32 bits, as everywhere in such files.
    set("context_length", (rope.trained as u32).into());
    set("rope.dimension_count", (rope.rotary_dim as u32).into());
    set("rope.freq_base", (rope.theta as f32).into());
    match rope.scaling {
        Scaling::None => {}
        Scaling::Linear { factor } => {
            set("rope.scaling.type", "linear".into());
            set("rope.scaling.factor", (factor as f32).into());
        }
        // Its frequencies are the tensor `rope_freqs.weight`.
        Scaling::Llama3 { .. } => {}
        Scaling::Yarn { truncate: false, .. } => {
            return Err(ConvertError::Inexpressible {
                what: "rope_scaling.truncate",
                found: "false".into(),
                architecture: arch,
                expected: "true only",
            });
        }
        Scaling::Yarn { factor, original, beta_fast, beta_slow, truncate: true } => {
            set("rope.scaling.type", "yarn".into());
            set("rope.scaling.factor", (factor as f32).into());
            set("rope.scaling.original_context_length", (original as u32).into());
            // Readers multiply the paper's factor by this one.
            let extra = rope.scale / yarn_mscale(factor, 1.0);
            if (extra - 1.0).abs() > 1e-9 {
                set("rope.scaling.attn_factor", (extra as f32).into());
            }
            if (beta_fast, beta_slow) != (YARN_BETA_FAST, YARN_BETA_SLOW) {
                set("rope.scaling.yarn_beta_fast", (beta_fast as f32).into());
                set("rope.scaling.yarn_beta_slow", (beta_slow as f32).into());
            }
        }
    }
    Ok(())
}

fn window(plan: &mut Plan, arch: &str, spec: &ModelSpec) {
    let Some(window) = spec.sliding_window else { return };
    let set = |plan: &mut Plan, key: &str, value: WriteValue| {
        plan.metadata.push((format!("{arch}.attention.{key}"), value));
    };
    set(plan, "sliding_window", (window as u32).into());
    if spec.sliding_layers.contains(&false) {
        let flags = spec.sliding_layers.iter().map(|&flag| WriteValue::Bool(flag)).collect();
        set(plan, "sliding_window_pattern", WriteValue::Array(ValueType::Bool, flags));
    }
    plan.notices.push(format!(
        "the model attends to the last {window} tokens only; llama.cpp ignores that for architecture {arch} and \
         differs on longer texts"
    ));
}

/// Role → GGUF's name for it, without `blk.N.` and the ending.
fn layer_roles(layer: &LayerTensors) -> Vec<(&'static str, Option<&String>, Kind)> {
    use Kind::{Matrix, Vector};
    vec![
        ("attn_norm.weight", Some(&layer.attn_norm), Vector),
        ("attn_q.weight", Some(&layer.q), Matrix),
        ("attn_q.bias", layer.q_bias.as_ref(), Vector),
        ("attn_k.weight", Some(&layer.k), Matrix),
        ("attn_k.bias", layer.k_bias.as_ref(), Vector),
        ("attn_v.weight", Some(&layer.v), Matrix),
        ("attn_v.bias", layer.v_bias.as_ref(), Vector),
        ("attn_output.weight", Some(&layer.o), Matrix),
        ("attn_output.bias", layer.o_bias.as_ref(), Vector),
        ("attn_q_norm.weight", layer.q_norm.as_ref(), Vector),
        ("attn_k_norm.weight", layer.k_norm.as_ref(), Vector),
        ("ffn_norm.weight", Some(&layer.mlp_norm), Vector),
        ("ffn_gate.weight", Some(&layer.gate), Matrix),
        ("ffn_gate.bias", layer.gate_bias.as_ref(), Vector),
        ("ffn_up.weight", Some(&layer.up), Matrix),
        ("ffn_up.bias", layer.up_bias.as_ref(), Vector),
        ("ffn_down.weight", Some(&layer.down), Matrix),
        ("ffn_down.bias", layer.down_bias.as_ref(), Vector),
    ]
}

fn tensors(plan: &mut Plan, archive: &Archive, arch: &str, spec: &ModelSpec, rope: &RopeParts) -> Result<()> {
    let stored = |name: &str, source: &str, kind: Kind| -> Result<Output> {
        let info = archive.tensor(source)?;
        Ok(Output::stored(name, source, &info.shape, info.dtype, kind))
    };
    let names = &spec.tensors;
    plan.outputs.push(stored("token_embd.weight", &names.embedding, Kind::Outer)?);
    if let Some(divisors) = divisors(rope) {
        let shape = vec![divisors.len()];
        let constant = Source::Constant(divisors);
        let empty = Output::stored("rope_freqs.weight", "", &shape, DType::F32, Kind::Vector);
        plan.outputs.push(Output { source: constant, ..empty });
    }
    for (ix, layer) in names.layers.iter().enumerate() {
        for (role, source, kind) in layer_roles(layer) {
            let Some(source) = source else { continue };
            let mut output = stored(&format!("blk.{ix}.{role}"), source, kind)?;
            let rotated = ["attn_q.", "attn_k."].iter().any(|start| role.starts_with(start));
            if arch == "llama" && rotated {
                let (head_dim, rotary_dim) = (spec.head_dim, spec.rotary_dim());
                output.order = RowOrder::Interleaved { head_dim, rotary_dim };
            }
            plan.outputs.push(output);
        }
    }
    plan.outputs.push(stored("output_norm.weight", &names.output_norm, Kind::Vector)?);
    if !spec.is_tied() {
        plan.outputs.push(stored("output.weight", &names.output, Kind::Outer)?);
    }
    Ok(())
}

/// What each rotary frequency is divided by, where no key can say it (Llama 3.1's scaling).
fn divisors(rope: &RopeParts) -> Option<Vec<f32>> {
    let Scaling::Llama3 { .. } = rope.scaling else { return None };
    let of = |scaling| build_rope(RopeStyle::Half, rope.theta, rope.rotary_dim, scaling, 1.0).inv_freq;
    let (plain, scaled) = (of(Scaling::None), of(rope.scaling));
    // f32 as in every such file.
    Some(plain.iter().zip(scaled).map(|(plain, scaled)| (plain / scaled) as f32).collect())
}
