//! One set of names for what converters store differently: matrices stacked into one tensor become their
//! parts, names without the outer `model.` get it, an output matrix equal to a tied embedding is dropped.

use super::archive::{TensorInfo, Tensors, UnsupportedTensor};
use super::source::Source;

/// Names of a stacked tensor within a layer, and of its parts from the first row on.
struct Stack {
    stacked: &'static str,
    parts: &'static [&'static str],
    /// Rows of the first part are the columns of this matrix; the others share the rest evenly.
    first_rows: Option<&'static str>,
}

const GGUF_STACKS: [Stack; 1] =
    [Stack { stacked: "attn_qkv", parts: &["attn_q", "attn_k", "attn_v"], first_rows: Some("attn_output") }];

const HF_STACKS: [Stack; 2] = [
    Stack {
        stacked: "self_attn.qkv_proj",
        parts: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        first_rows: Some("self_attn.o_proj"),
    },
    Stack { stacked: "mlp.gate_up_proj", parts: &["mlp.gate_proj", "mlp.up_proj"], first_rows: None },
];

/// Names in GGUF files.
pub(super) fn unify_gguf(tensors: &mut Tensors) {
    GGUF_STACKS.iter().for_each(|stack| unstack(tensors, stack));
}

/// Names in Hugging Face folders; `tied` is what the configuration says.
pub(super) fn unify_hf(tensors: &mut Tensors, tied: bool, sources: &[Source]) {
    add_prefix(tensors);
    HF_STACKS.iter().for_each(|stack| unstack(tensors, stack));
    if tied {
        drop_equal_output(tensors, sources);
    }
}

/// Checkpoints saved from the inner model lack the prefix in all names but the output's.
fn add_prefix(tensors: &mut Tensors) {
    const PREFIX: &str = "model.";
    let inner =
        |name: &str| ["embed_tokens.", "layers.", "norm."].iter().any(|start| name.starts_with(start));
    if tensors.contains("model.embed_tokens.weight") || !tensors.contains("embed_tokens.weight") {
        return;
    }
    let rename = |name: &str| if inner(name) { format!("{PREFIX}{name}") } else { name.to_owned() };
    let supported = std::mem::take(&mut tensors.supported);
    for (name, info) in supported {
        let name = rename(&name);
        tensors.supported.insert(name.clone(), TensorInfo { name, ..info });
    }
    let unsupported = std::mem::take(&mut tensors.unsupported);
    for (name, tensor) in unsupported {
        let name = rename(&name);
        tensors.unsupported.insert(name.clone(), UnsupportedTensor { name, ..tensor });
    }
}

/// Replaces each stacked tensor by its parts. One that cannot be divided, or whose parts are stored too,
/// stays: the model's description then refuses it as unused.
fn unstack(tensors: &mut Tensors, stack: &Stack) {
    let suffixes = [".weight", ".bias"].map(|kind| format!(".{}{kind}", stack.stacked));
    let is_stacked = |name: &&String| suffixes.iter().any(|suffix| name.ends_with(suffix.as_str()));
    let names = tensors.supported.keys().chain(tensors.unsupported.keys());
    let names: Vec<String> = names.filter(is_stacked).cloned().collect();
    for name in names {
        let (layer, kind) = match name.rsplit_once(&format!("{}.", stack.stacked)) {
            Some((layer, kind)) => (layer, kind),
            None => continue,
        };
        let part_names: Vec<String> =
            stack.parts.iter().map(|part| format!("{layer}{part}.{kind}")).collect();
        if part_names.iter().any(|part| tensors.contains(part)) {
            continue;
        }
        let Some(&rows) = tensors.shape(&name).and_then(|shape| shape.first()) else { continue };
        let first = match stack.first_rows {
            Some(matrix) => {
                let shape = tensors.shape(&format!("{layer}{matrix}.weight"));
                match shape.and_then(|shape| shape.get(1)) {
                    Some(&cols) => cols,
                    None => continue,
                }
            }
            None => rows / stack.parts.len(),
        };
        let n_rest = stack.parts.len() - 1;
        let Some(rest) = rows.checked_sub(first).filter(|rest| rest.is_multiple_of(n_rest)) else {
            continue;
        };
        if first == 0 || rest == 0 {
            continue;
        }
        let heights = std::iter::once(first).chain(std::iter::repeat_n(rest / n_rest, n_rest));
        replace(tensors, &name, part_names.into_iter().zip(heights).collect());
    }
}

/// Puts (name, rows) of `parts`, which together are the rows of tensor `name`, in its place.
fn replace(tensors: &mut Tensors, name: &str, parts: Vec<(String, usize)>) {
    let of_rows = |shape: &[usize], rows| std::iter::once(rows).chain(shape[1..].iter().copied()).collect();
    if let Some(whole) = tensors.supported.remove(name) {
        // A row is whole blocks: the reader has checked the tensor's size.
        let row_bytes = whole.range.len() / whole.shape[0];
        let mut start = whole.range.start;
        for (name, rows) in parts {
            let range = start..start + rows * row_bytes;
            start = range.end;
            let shape = of_rows(&whole.shape, rows);
            let part = TensorInfo { name: name.clone(), shape, range, ..whole };
            tensors.supported.insert(name, part);
        }
    } else if let Some(whole) = tensors.unsupported.remove(name) {
        for (name, rows) in parts {
            let shape = of_rows(&whole.shape, rows);
            let part = UnsupportedTensor { name: name.clone(), shape, ..whole.clone() };
            tensors.unsupported.insert(name, part);
        }
    }
}

/// A tied output matrix that was stored all the same is the embedding; a different one is kept, and used.
fn drop_equal_output(tensors: &mut Tensors, sources: &[Source]) {
    const OUTPUT: &str = "lm_head.weight";
    let both = (tensors.supported.get("model.embed_tokens.weight"), tensors.supported.get(OUTPUT));
    let (Some(embedding), Some(output)) = both else { return };
    let bytes = |info: &TensorInfo| sources[info.file].bytes().get(info.range.clone());
    let same_kind = embedding.dtype == output.dtype && embedding.shape == output.shape;
    if same_kind && bytes(embedding) == bytes(output) {
        tensors.supported.remove(OUTPUT);
    }
}
