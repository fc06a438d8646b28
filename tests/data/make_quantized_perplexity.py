"""Perplexity of TinyStories-656K from its quantized GGUF files, by a float64 forward pass over the
dequantized weights. Writes quantized_perplexity.json beside this script.

    python tests/data/make_quantized_perplexity.py SHARED     # needs numpy, gguf, tokenizers, safetensors

SHARED is the folder with shared test data; its reference/llama_f64.py is the forward pass, and the text is
cut as expected/golden.json says (255 tokens and BOS, 24 windows).
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import Tokenizer

shared = Path(sys.argv[1])
sys.path.insert(0, str(shared / "data/reference"))
import llama_f64  # noqa: E402

folder = shared / "data/models/TinyStories-656K"
hf = json.loads((folder / "hf/config.json").read_text())
tokenizer = Tokenizer.from_file(str(folder / "hf/tokenizer.json"))
text = (shared / "data/text-share-alike/tinystories_eval_ascii.txt").read_text()
ids = tokenizer.encode(text, add_special_tokens=False).ids
bos = hf["bos_token_id"]


def load(path):
    tensors = {}
    for t in GGUFReader(path).tensors:
        shape = [int(n) for n in reversed(t.shape)]
        tensors[t.name] = dequantize(t.data, t.tensor_type).astype(np.float64).reshape(shape)
    heads = hf["num_attention_heads"]
    head_dim = hf["hidden_size"] // heads
    cfg = dict(dim=hf["hidden_size"], L=hf["num_hidden_layers"], H=heads, KV=hf["num_key_value_heads"],
               hs=head_dim, eps=hf["rms_norm_eps"], theta=hf.get("rope_theta", 10000.0),
               S=hf["max_position_embeddings"], rope="interleaved")  # GGUF llama rows are permuted
    names = dict(an="attn_norm", wq="attn_q", wk="attn_k", wv="attn_v", wo="attn_output", fn="ffn_norm",
                 w1="ffn_gate", w2="ffn_down", w3="ffn_up")
    layers = [{k: tensors[f"blk.{i}.{v}.weight"] for k, v in names.items()} for i in range(cfg["L"])]
    emb = tensors["token_embd.weight"]
    out = tensors.get("output.weight", emb)
    return cfg, dict(emb=emb, layers=layers, on=tensors["output_norm.weight"], out=out)


def perplexity(path):
    cfg, weights = load(path)
    windows = [[bos] + ids[255 * i:255 * (i + 1)] for i in range(24)]
    nll = np.concatenate([llama_f64.nll(cfg, weights, w) for w in windows])
    return float(np.exp(nll.mean()))


result = {}
for kind in ["Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"]:
    name = f"TinyStories-656K-{kind}.gguf"
    result[name] = round(perplexity(folder / "gguf" / name), 6)
    print(name, result[name])
path = Path(__file__).with_name("quantized_perplexity.json")
out = json.loads(path.read_text()) if path.exists() else {}  # llama.cpp's figures stay
out |= {"how": "python tests/data/make_quantized_perplexity.py SHARED", "float64": result}
path.write_text(json.dumps(out, indent=1) + "\n")
