#!/usr/bin/env python3
"""Bits per byte of a Hugging Face Llama folder on the validation text, in float32 on the CPU, and samples.

The text becomes one stream of tokens, `EOT doc EOT doc ... EOT`, where EOT stands for the separator
line; every token after the first is predicted once and the bits are divided by the bytes of the file.
  plain    windows of the model's context laid end to end: a token sees only its own window
  strided  windows that advance by half a context; each scores its second half (the first one all of it)
"""
import argparse, hashlib, lzma, math
from pathlib import Path
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, LlamaForCausalLM

HERE = Path(__file__).resolve().parent


@torch.no_grad()
def bits(model, ids, ctx, stride):
    total, done = 0.0, 0                     # targets ids[1..done] have been scored
    while done < len(ids) - 1:
        end = min(done + (ctx if done == 0 else stride), len(ids) - 1)
        begin = max(0, end - ctx) if stride < ctx else done
        logits = model(ids[None, begin:end]).logits[0, done - begin:]
        total += F.cross_entropy(logits, ids[done + 1:end + 1], reduction="sum").item()
        done = end
    return total / math.log(2)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model", type=Path, nargs="?", default=HERE / "model")
    ap.add_argument("--text", type=Path, default=HERE / "../../../shared/data/corpus/valid.txt.xz")
    ap.add_argument("--prompt", default="Once upon a time")
    ap.add_argument("--tokens", type=int, default=150)
    ap.add_argument("--seeds", type=int, default=3, help="samples at temperature 0.7 after the greedy one")
    ap.add_argument("--threads", type=int, default=2)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    tok = AutoTokenizer.from_pretrained(args.model)
    model = LlamaForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    eot, ctx = tok.eos_token_id, model.config.max_position_embeddings
    assert tok("a").input_ids[0] == model.config.bos_token_id == eot

    raw = lzma.open(args.text).read()
    ids = [eot]
    for doc in raw.decode().split("\n<|endoftext|>\n"):
        if doc:
            ids += tok(doc, add_special_tokens=False, verbose=False).input_ids + [eot]
    print(f"text: {len(raw)} bytes, sha256 {hashlib.sha256(raw).hexdigest()}, {len(ids) - 1} tokens")
    ids = torch.tensor(ids)
    for name, stride in (("plain", ctx), ("strided", ctx // 2)):
        print(f"{name}: {bits(model, ids, ctx, stride) / len(raw):.4f} bits per byte", flush=True)

    x = tok(args.prompt, return_tensors="pt")
    for seed in range(args.seeds + 1):
        torch.manual_seed(seed)
        how = dict(do_sample=False, temperature=None, top_k=None, top_p=None) if seed == 0 else \
            dict(do_sample=True, temperature=0.7, top_k=40, top_p=0.95)
        y = model.generate(**x, max_new_tokens=args.tokens, pad_token_id=eot, **how)
        print(f"\n--- {'greedy' if seed == 0 else f'temperature 0.7, seed {seed}'}\n"
              + tok.decode(y[0], skip_special_tokens=True))


if __name__ == "__main__":
    main()
