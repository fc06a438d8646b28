"""Tiny seeded random models of every supported family, as Hugging Face folder and GGUF, with their logits.

    python tests/data/make_families.py            # writes tests/data/families/
    python tests/data/make_families.py OTHER_DIR

Needs torch, transformers, safetensors, gguf (PyPI; versions used: families/README.md). The logits come
from transformers, loaded from the very folder that is written. Every weight is exact in bf16 and f16, so
all stored element types describe the same model.
"""

import json
import math
import shutil
import sys
from pathlib import Path

import gguf
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

N_PROMPT = 48
POSITIONS = [0, 15, 31, N_PROMPT - 1]
ROPE_LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}
ROPE_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}

# Shared dimensions; keys as in config.json.
BASE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 96, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
    "hidden_act": "silu", "rope_theta": 10000.0, "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2,
}


def fixture(name, architecture, hf_type, gguf_type, without, head_gain=4.0, **config):
    """One row. `head_gain`: standard deviation of the logits, about. `without`: config changes that switch the tested feature off; logits must change by it."""
    model_type = architecture.removesuffix("ForCausalLM").lower()
    config = {"architectures": [architecture], "model_type": model_type} | BASE | config
    return {"name": name, "config": {k: v for k, v in config.items() if v is not None or k == "rope_scaling"},
            "hf_type": hf_type, "gguf_type": gguf_type, "without": without,
            "head_gain": head_gain}


FIXTURES = [
    fixture("mistral-window", "MistralForCausalLM", torch.bfloat16, "F32", {"sliding_window": None},
            sliding_window=20),
    fixture("qwen2", "Qwen2ForCausalLM", torch.float32, "F16", {"rope_theta": 10000.0},
            tie_word_embeddings=True, rope_theta=1e6, use_sliding_window=False, sliding_window=16,
            max_window_layers=1, rms_norm_eps=1e-6),
    fixture("qwen2-window", "Qwen2ForCausalLM", torch.float16, "F32", {"use_sliding_window": False},
            tie_word_embeddings=True, use_sliding_window=True, sliding_window=16, max_window_layers=1),
    fixture("qwen2-yarn", "Qwen2ForCausalLM", torch.bfloat16, "F32", {"rope_parameters": {"rope_type": "default"}},
            rope_theta=None, rope_parameters=ROPE_YARN),
    fixture("qwen3", "Qwen3ForCausalLM", torch.float16, "F32", {"rope_theta": 10000.0},
            head_dim=16, rope_theta=1e6, attention_bias=False, rms_norm_eps=1e-6),
    fixture("llama3", "LlamaForCausalLM", torch.float32, "F16", {"rope_scaling": None},
            head_dim=16, rope_scaling=ROPE_LLAMA3),
    fixture("llama-linear", "LlamaForCausalLM", torch.bfloat16, "F32", {"rope_scaling": None},
            rope_scaling={"type": "linear", "factor": 4.0}),
    fixture("llama-head-dim", "LlamaForCausalLM", torch.bfloat16, "F32", {"rope_theta": 500.0},
            head_dim=24, tie_word_embeddings=True, num_key_value_heads=1, rope_scaling=None),
    fixture("llama-bias", "LlamaForCausalLM", torch.float16, "F32", {"attention_bias": False, "mlp_bias": False},
            attention_bias=True, mlp_bias=True),
    # GGUF has no key for the activation: Hugging Face only. The two GELUs differ by 5e-4 at most: large
    # logits make that show.
    fixture("llama-gelu", "LlamaForCausalLM", torch.float16, None, {"hidden_act": "gelu_pytorch_tanh"},
            head_gain=24.0, hidden_act="gelu"),
    fixture("llama-gelu-tanh", "LlamaForCausalLM", torch.float16, None, {"hidden_act": "gelu"},
            head_gain=24.0, hidden_act="gelu_pytorch_tanh"),
]


def exact(tensor):
    """Rounded to what bf16 and f16 both hold."""
    tensor = tensor.to(torch.bfloat16).to(torch.float32)
    return torch.where(tensor.abs() < 2.0**-14, 0.0, tensor).to(torch.float16).to(torch.float32)


def random_weight(name, shape, head_gain, generator):
    """Gains that give logits of a few units and attention that is neither flat nor one-hot."""
    values = torch.randn(shape, generator=generator)
    if name.endswith("norm.weight"):
        return exact(1.2 + 0.25 * values)
    if name.endswith(".bias"):
        return exact(0.5 * values)
    gain = {"embed_tokens": 0.7 * math.sqrt(shape[-1]), "lm_head": head_gain, "q_proj": 1.5, "k_proj": 1.5}
    role = name.split(".")[-2]
    return exact(values * gain.get(role, 1.2) / math.sqrt(shape[-1]))


def write_folder(folder, row, seed):
    """config.json and model.safetensors; returns the weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(row["config"], indent=2) + "\n")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    shapes = {name: tuple(p.shape) for name, p in sorted(model.named_parameters())}
    generator = torch.Generator().manual_seed(seed)
    weights = {name: random_weight(name, shape, row["head_gain"], generator) for name, shape in shapes.items()}
    stored = {name: w.to(row["hf_type"]).contiguous() for name, w in weights.items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return weights


def load(folder, changes=None, dtype=torch.float64):
    config = AutoConfig.from_pretrained(folder)
    if changes:
        text = json.loads((folder / "config.json").read_text()) | changes
        config = type(config).from_dict(text)
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    assert changes or not (info["missing_keys"] or info["unexpected_keys"]), info
    return model.eval()


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].to(torch.float64)


def interleave(weight, n_heads):
    """Rows of each head from halves (i, i + d/2) to neighbours (2i, 2i + 1), as GGUF `llama` files have them."""
    d = weight.shape[0] // n_heads
    return weight.reshape(n_heads, 2, d // 2, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{GGUF_NAMES[stem]}.{kind}"
    layer, role = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{GGUF_NAMES[role]}.{kind}"


def llama3_factors(head_dim, theta, scaling):
    """Divisors of the rotary frequencies, stored as rope_freqs.weight in f32."""
    factors = []
    for i in range(head_dim // 2):
        wave = 2 * math.pi * theta ** (2 * i / head_dim)
        turns = scaling["original_max_position_embeddings"] / wave
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        keep = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1.0 / (keep + (1.0 - keep) / scaling["factor"]))
    return torch.tensor(factors, dtype=torch.float32)


def write_gguf(path, row, weights):
    c = row["config"]
    arch = {"mistral": "llama"}.get(c["model_type"], c["model_type"])
    heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
    head_dim = c.get("head_dim", c["hidden_size"] // heads)
    scaling = c.get("rope_scaling") or c.get("rope_parameters") or {}
    theta = c.get("rope_theta") or scaling["rope_theta"]
    w = gguf.GGUFWriter(path, arch)
    w.add_name(row["name"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(theta)
    if "head_dim" in c:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    w.add_vocab_size(c["vocab_size"])
    if arch == "llama":
        w.add_rope_dimension_count(head_dim)
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(scaling["factor"])
    if kind == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(scaling["factor"])
        w.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    if kind == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(head_dim, theta, scaling).numpy())
    # llama.cpp's converter drops the windows of these families; the keys are those of its other ones.
    if c["model_type"] == "mistral":
        w.add_sliding_window(c["sliding_window"])
    if c.get("use_sliding_window"):
        w.add_sliding_window(c["sliding_window"])
        full = c["max_window_layers"]
        w.add_sliding_window_pattern([layer >= full for layer in range(c["num_hidden_layers"])])
    for name, tensor in weights.items():
        if arch == "llama" and ("q_proj" in name or "k_proj" in name):
            tensor = interleave(tensor, heads if "q_proj" in name else kv_heads)
        half = row["gguf_type"] == "F16" and tensor.dim() == 2
        w.add_tensor(gguf_name(name), tensor.to(torch.float16 if half else torch.float32).contiguous().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "families"
    entries = []
    for seed, row in enumerate(FIXTURES, start=1):
        name = row["name"]
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        weights = write_folder(folder, row, seed)
        if row["gguf_type"]:
            write_gguf(folder / "model.gguf", row, weights)
        ids = torch.randint(3, row["config"]["vocab_size"], (N_PROMPT,), generator=torch.Generator().manual_seed(100 + seed)).tolist()
        full = logits(load(folder), ids)
        single = (logits(load(folder, dtype=torch.float32), ids) - full).abs().max().item()
        off = (logits(load(folder, row["without"]), ids) - full).abs().amax(dim=1)
        kib = sum(f.stat().st_size for f in folder.iterdir()) / 1024
        print(f"{name:16} {kib:6.1f} KiB  std {full.std():.2f}  max |logit| {full.abs().max():.1f}  "
              f"f32 differs {single:.1e}  without {row['without']}: {off[-1]:.3f}")
        assert torch.isfinite(full).all() and single < 1e-3, single
        assert kib <= 195, kib
        assert off[-1] > 0.01, "the tested feature must show in the last logits"
        entries.append({"name": name, "hf_dir": name, "gguf": f"{name}/model.gguf" if row["gguf_type"] else None,
                        "ids": ids, "logits": {str(p): [round(x, 7) for x in full[p].tolist()] for p in POSITIONS}})
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (out / "families.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
