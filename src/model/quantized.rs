//! Hugging Face folders whose weights other programs have quantized: what they are, for messages.

use serde_json::Value;

/// What to take instead.
pub(super) const NEXT: &str = "take the original model (safetensors in F32, F16 or BF16) or a GGUF file \
                               of it, which may be quantized";

/// (`quant_method`, what the model is)
const METHODS: [(&str, &str); 10] = [
    ("awq", "a model quantized with AWQ"),
    ("gptq", "a model quantized with GPTQ"),
    ("fp8", "a model in FP8"),
    ("fbgemm_fp8", "a model in FP8 (FBGEMM)"),
    ("bitsandbytes", "a model quantized with bitsandbytes"),
    ("bnb", "a model quantized with bitsandbytes"),
    ("compressed-tensors", "a model quantized with compressed-tensors"),
    ("modelopt", "a model quantized with ModelOpt"),
    ("mxfp4", "a model in MXFP4"),
    ("hqq", "a model quantized with HQQ"),
];

/// (part of a tensor's name that only such models have, what the model is)
const TENSORS: [(&str, &str); 6] = [
    (".qweight", "a model quantized with AWQ or GPTQ"),
    (".weight_packed", "a model quantized with compressed-tensors"),
    (".weight.absmax", "a model quantized with bitsandbytes"),
    (".weight_scale_inv", "a model in FP8"),
    (".SCB", "a model quantized with bitsandbytes"),
    (".lora_A.", "an adapter (LoRA), which must be merged into its base model first"),
];

/// What `config.json` says, if it speaks of quantization.
pub(super) fn by_config(config: &Value) -> Option<String> {
    let object = |key: &str| config.get(key).filter(|value| !value.is_null());
    let stated = object("quantization_config");
    if let Some(method) = stated.and_then(|q| q.get("quant_method")).and_then(Value::as_str) {
        let known = METHODS.iter().find(|(name, _)| name.eq_ignore_ascii_case(method));
        return Some(known.map_or_else(
            || format!("a model quantized with {method} (quantization_config in config.json)"),
            |(_, what)| format!("{what} (quantization_config in config.json)"),
        ));
    }
    let (key, found) =
        object("quantization").map(|q| ("quantization", q)).or(stated.map(|q| ("quantization_config", q)))?;
    let flag = |key: &str| found.get(key).and_then(Value::as_bool) == Some(true);
    if flag("load_in_4bit") || flag("load_in_8bit") {
        return Some(format!("a model quantized with bitsandbytes ({key} in config.json)"));
    }
    let bits = found.get("bits").and_then(Value::as_u64);
    Some(match (bits, found.get("group_size")) {
        (Some(bits), Some(_)) => format!("a model quantized for MLX, {bits}-bit ({key} in config.json)"),
        _ => format!("a quantized model ({key} in config.json)"),
    })
}

/// What the names of the tensors say.
pub(super) fn by_names<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let mut found = None;
    let (mut scales, mut biases) = (None, false);
    for name in names {
        let row = TENSORS.iter().find(|(part, _)| name.contains(part));
        found = found.or(row.map(|(_, what)| format!("{what} (tensor {name})")));
        if name.ends_with(".scales") {
            scales = scales.or(Some(name));
        }
        biases |= name.ends_with(".biases");
    }
    found.or(scales.filter(|_| biases).map(|name| format!("a model quantized for MLX (tensor {name})")))
}

/// What a matrix of this type says.
pub(super) fn by_type(tensor: &str, type_name: &str) -> Option<String> {
    let what = match type_name {
        "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => "a model in FP8",
        "U8" | "I8" | "I32" | "U32" => {
            "a model quantized in whole numbers (as MLX, AWQ, GPTQ and bitsandbytes do)"
        }
        "F4" | "F6_E2M3" | "F6_E3M2" => "a model in fewer than 8 bits per weight",
        _ => return None,
    };
    Some(format!("{what}: tensor {tensor} is stored as {type_name}"))
}
