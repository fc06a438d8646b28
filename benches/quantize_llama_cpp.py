"""Files of `anygpu quantize` in llama.cpp: every type, from safetensors and from GGUF, same ids and windows.

    python quantize_llama_cpp.py --anygpu target/release/anygpu --text FILE.txt --out results.json MODEL...

Needs llama-cpp-python, numpy and tokenizers (PyPI). A MODEL is a Hugging Face folder (then a GGUF file in its
own float type is made of it, and quantized, too) or a GGUF file. For each file both programs compute the
perplexity of the text as llama-perplexity does: windows of CTX tokens, of which the second half counts, KV
cache in f16. A difference above TOLERANCE, other ids, or a file that does not load is a failure: exit code 1.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np

TYPES = ["f32", "f16", "bf16", "q8_0", "q6_k", "q5_1", "q5_k", "q5_0", "q4_1", "q4_k", "q4_0"]
TOLERANCE = 0.005


def anygpu(args, *rest):
    done = subprocess.run([args.anygpu, *map(str, rest)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"anygpu {' '.join(map(str, rest))}: exit code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout) if "--json" in rest else done.stdout


def expected_ids(folder, text):
    """Ids that the folder's tokenizer.json gives, without what is put around a text."""
    from tokenizers import Tokenizer
    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids


def theirs(path, text, args):
    """llama.cpp's ids of the text, and its perplexity."""
    model = llama_cpp.Llama(str(path), n_ctx=args.ctx, n_batch=args.ctx, logits_all=True, verbose=False,
                            n_threads=args.threads, n_threads_batch=args.threads)
    ids = model.tokenize(text.encode(), add_bos=True, special=False)
    plain = model.tokenize(text.encode(), add_bos=False, special=False)
    bos = model.token_bos() if len(ids) > len(plain) else None
    nll, n = 0.0, 0
    for start in range(0, len(ids) - args.ctx + 1, args.ctx)[:args.limit]:
        window = ids[start:start + args.ctx]
        if bos is not None:
            window[0] = bos
        model.reset()
        model.eval(window)
        logits = model.scores[:args.ctx].astype(np.float64)
        for at in range(args.ctx // 2, args.ctx - 1):
            top = logits[at].max()
            nll += math.log(np.exp(logits[at] - top).sum()) + top - logits[at][window[at + 1]]
            n += 1
    model.close()
    return plain, math.exp(nll / n), n


def compare(args, text, name, source, quant, folder, want_ids, failures):
    path = folder / f"{name.replace(chr(47), chr(45))}-{quant}.gguf"
    try:
        made = anygpu(args, "quantize", source, "-o", path, "--quant", quant, "--json", "--force")
        ours = anygpu(args, "perplexity", path, "--file", args.text, "--windows", "llama", "--ctx", args.ctx,
                      "--limit", args.limit, "--json")
        ids, ppl, n = theirs(path, text, args)
    except Exception as error:  # whatever it is, it belongs into the table
        failures.append(f"{name} {quant}: {error}")
        print(f"{name:28} {quant:5} FAILED: {str(error).splitlines()[-1]}", flush=True)
        return None
    ratio = ppl / ours["ppl"]
    row = {"model": name, "quant": quant, "bytes": made["file_bytes"], "bits_per_weight": made["bits_per_weight"],
           "anygpu": ours["ppl"], "llama_cpp": ppl, "ratio": ratio, "tokens": [ours["tokens"], n],
           "same_ids": None if want_ids is None else ids == want_ids}
    if not abs(ratio - 1) <= TOLERANCE or ours["tokens"] != n or row["same_ids"] is False:
        failures.append(f"{name} {quant}: {row}")
    print(f"{name:28} {quant:5} {made['file_bytes']:>10} {ours['ppl']:10.5f} {ppl:10.5f} {100 * (ratio - 1):+8.4f} % "
          f"ids {row['same_ids']}", flush=True)
    path.unlink()
    return row


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    ap.add_argument("--anygpu", default="anygpu", metavar="PATH")
    ap.add_argument("--text", required=True, metavar="FILE")
    ap.add_argument("--types", default=",".join(TYPES))
    ap.add_argument("--ctx", type=int, default=256)
    ap.add_argument("--limit", type=int, default=8, metavar="N", help="most windows")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--out", type=Path, metavar="FILE.json")
    args = ap.parse_args()
    text = Path(args.text).read_text()
    rows, failures = [], []
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        for model in args.models:
            sources = [(model.resolve().stem if model.is_file() else "/".join(model.resolve().parts[-2:]), model)]
            ids = None
            if model.is_dir():
                ids = expected_ids(model, text)
                own = folder / "own.gguf"
                anygpu(args, "quantize", model, "-o", own, "--quant", "f32", "--force")
                sources.append((sources[0][0] + " by GGUF", own))
            for name, source in sources:
                for quant in args.types.split(","):
                    rows.append(compare(args, text, name, source, quant, folder, ids, failures))
    rows = [row for row in rows if row]
    if args.out:
        args.out.write_text(json.dumps({"llama_cpp_python": llama_cpp.__version__, "ctx": args.ctx,
                                        "limit": args.limit, "rows": rows, "failures": failures}, indent=1) + "\n")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
