#!/usr/bin/env python3
"""Trains the demo model: a small Llama that tells fairy tales. Two CPU cores, about an hour and a half.

Muon for the 2-D matrices, AdamW for the tied embedding and the norm gains, a warm-up / constant /
linear-decay-to-zero schedule counted in steps, bf16 matrix products over fp32 master weights.
Writes a Hugging Face folder (LlamaForCausalLM, bf16, tied embedding) and the loss curve as CSV.
"""
import argparse, csv, json, lzma, math, os, time
from pathlib import Path
import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
EOT = "<|endoftext|>"
SEP = "\n" + EOT + "\n"                      # how the corpus separates documents
VOCAB, DIM, FFN, LAYERS, HEADS, HEAD_DIM, CTX = 4096, 256, 768, 4, 4, 64, 512
EPS, THETA = 1e-5, 10000.0


# ---------------------------------------------------------------- text and tokenizer
def read_docs(path):
    text = lzma.open(path, "rt", encoding="utf-8", newline="\n").read()
    return [d for d in text.split(SEP) if d]


def train_tokenizer(docs, out):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(docs, trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=[EOT], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tok.post_processor = processors.TemplateProcessing(
        single=f"{EOT} $A", pair=f"{EOT} $A {EOT} $B", special_tokens=[(EOT, tok.token_to_id(EOT))])
    assert tok.get_vocab_size() == VOCAB and tok.token_to_id(EOT) == 0
    tok.save(str(out))


def encode_docs(tok, docs):
    """Each document as (title with its blank line, body); the title may be missing."""
    out = []
    for d in docs:
        cut = d.find("\n\n") + 2
        cut = cut if 2 <= cut <= 102 else 0  # a first paragraph of up to 100 characters is a title
        t, b = (tok.encode(x, add_special_tokens=False).ids for x in (d[:cut], d[cut:]))
        out.append((np.array(t, np.int16), np.array(b, np.int16)))
    return out


class Windows:
    """Windows of CTX+1 tokens over `EOT doc EOT doc ...`, documents reshuffled every epoch.
    With probability 0.3 a document goes without its title, so that a story may open with its
    first sentence. A window is a function of (seed, index) alone, so a run can be resumed."""
    def __init__(self, docs, seed):
        self.docs, self.seed, self.epoch = docs, seed, -1
        self.total = sum(len(t) + len(b) + 1 for t, b in docs)
        self.per_epoch = int(self.total * 0.995) // CTX

    def get(self, i):
        epoch, k = divmod(i, self.per_epoch)
        if epoch != self.epoch:
            rng, eot = np.random.default_rng([self.seed, epoch]), np.zeros(1, np.int16)
            parts = []
            for j in rng.permutation(len(self.docs)):
                title, body = self.docs[j]
                parts += [eot, body] if rng.random() < 0.3 else [eot, title, body]
            self.stream = np.concatenate(parts + [eot])
            spare = len(self.stream) - self.per_epoch * CTX - 1
            self.start = int(rng.integers(0, spare + 1)) if spare > 0 else 0
            self.order, self.epoch = rng.permutation(self.per_epoch), epoch
        a = self.start + int(self.order[k]) * CTX
        return self.stream[a:a + CTX + 1]

    def batch(self, first, n):
        return torch.from_numpy(np.stack([self.get(first + i) for i in range(n)]).astype(np.int64))


def eval_stream(tok, docs):
    """The validation text as one stream, EOT before each document and after the last one."""
    ids = [0]
    for d in docs:
        ids += tok.encode(d, add_special_tokens=False).ids + [0]
    return torch.tensor(ids)


# ---------------------------------------------------------------- model
def init_params(seed):
    g = torch.Generator().manual_seed(seed)
    n = lambda *s, std: torch.randn(*s, generator=g) * std
    p = {"embed": n(VOCAB, DIM, std=0.02),
         "attn": n(LAYERS, 4, DIM, DIM, std=0.5 * DIM ** -0.5),      # q, k, v, o as [out, in]
         "mlp": n(LAYERS, 3, FFN, DIM, std=0.5 * DIM ** -0.5),       # gate, up, down transposed
         "gain": torch.ones(2 * LAYERS + 1, DIM)}                    # norm before attn, before mlp; last
    p["attn"][:, 3] = 0
    p["mlp"][:, 2] = 0
    return {k: v.requires_grad_() for k, v in p.items()}


def rope_tables():
    freq = THETA ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
    a = torch.outer(torch.arange(CTX).float(), freq)
    return torch.cat([a.cos(), a.cos()], -1), torch.cat([-a.sin(), a.sin()], -1)


def norm(x, gain):
    x = x.float()
    return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * gain)


def forward(p, x, y, cos, sin, dtype):
    """Summed cross entropy. x, y: [batch, time]."""
    B, T = x.shape
    E, A, M, g = p["embed"].to(dtype), p["attn"].unbind(), p["mlp"].unbind(), p["gain"].unbind()
    cos, sin = cos[:T], sin[:T]
    h = F.embedding(x, p["embed"]).float()
    for i in range(LAYERS):
        (wqkv, wo), (wgu, wd) = A[i].to(dtype).split((3, 1)), M[i].to(dtype).split((2, 1))
        qkv = F.linear(norm(h, g[2 * i]).to(dtype), wqkv.flatten(0, 1))
        qk = qkv[..., :2 * DIM].view(B, T, 2 * HEADS, HEAD_DIM).transpose(1, 2).float()
        qk = (qk * cos + torch.cat([qk[..., HEAD_DIM // 2:], qk[..., :HEAD_DIM // 2]], -1) * sin).to(dtype)
        v = qkv[..., 2 * DIM:].reshape(B, T, HEADS, HEAD_DIM).transpose(1, 2)
        o = F.scaled_dot_product_attention(qk[:, :HEADS], qk[:, HEADS:], v, is_causal=True)
        h = h + F.linear(o.transpose(1, 2).reshape(B, T, DIM), wo[0])
        gu = F.linear(norm(h, g[2 * i + 1]).to(dtype), wgu.flatten(0, 1))
        h = h + (F.silu(gu[..., :FFN].float()) * gu[..., FFN:]).to(dtype) @ wd[0]
    logits = F.linear(norm(h, g[-1]).to(dtype), E)
    return F.cross_entropy(logits.view(B * T, VOCAB).float(), y.reshape(-1), reduction="sum")


@torch.no_grad()
def validate(fwd, p, stream, n_bytes, tables, dtype, rows=4):
    """Bits per byte over non-overlapping windows of CTX tokens."""
    n, total = len(stream) - 1, 0.0
    full = n // CTX
    x, y = stream[:full * CTX].view(full, CTX), stream[1:full * CTX + 1].view(full, CTX)
    for i in range(0, full, rows):
        total += fwd(p, x[i:i + rows], y[i:i + rows], *tables, dtype).item()
    if n % CTX:
        total += forward(p, stream[None, full * CTX:n], stream[None, full * CTX + 1:], *tables, dtype).item()
    return total / math.log(2) / n_bytes


# ---------------------------------------------------------------- optimiser
def orthogonalise(m, dtype):
    """Newton-Schulz iteration of Muon on a stack of matrices with rows >= columns."""
    x = m.to(dtype)
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(dtype)
    for _ in range(5):
        a = x.mT @ x
        x = 3.4445 * x + x @ (-4.7750 * a + 2.0315 * (a @ a))
    return x.float()


class Optimiser:
    def __init__(self, p, args):
        self.p, self.a = p, args
        self.muon = {k: torch.zeros_like(p[k]) for k in ("attn", "mlp")}
        self.adam = {k: (torch.zeros_like(p[k]), torch.zeros_like(p[k])) for k in ("embed", "gain")}
        self.t = 0

    @torch.no_grad()
    def step(self, scale, dtype):
        self.t += 1
        beta = 0.85 + 0.10 * min(self.t / 300, 1)
        lr = self.a.lr_muon * scale
        for k, buf in self.muon.items():
            w, grad = self.p[k], self.p[k].grad
            buf.lerp_(grad, 1 - beta)
            u = orthogonalise(grad.lerp(buf, beta).flatten(0, 1), dtype).view_as(w)
            w.mul_(1 - lr * self.a.wd).add_(u, alpha=-lr * max(1, w.shape[-2] / w.shape[-1]) ** 0.5)
        for k, (m, v) in self.adam.items():
            w, grad = self.p[k], self.p[k].grad
            m.lerp_(grad, 0.1)
            v.lerp_(grad * grad, 0.05)
            u = (m / (1 - 0.9 ** self.t)) / ((v / (1 - 0.95 ** self.t)).sqrt() + 1e-10)
            w.add_(u, alpha=-self.a.lr_adam * scale)
        for w in self.p.values():
            w.grad = None


# ---------------------------------------------------------------- export
def export(p, out):
    from safetensors.torch import save_file
    b = lambda t: t.detach().to(torch.bfloat16).contiguous().clone()
    sd = {"model.embed_tokens.weight": b(p["embed"]), "model.norm.weight": b(p["gain"][-1])}
    for i in range(LAYERS):
        l = f"model.layers.{i}."
        for j, n in enumerate("qkvo"):
            sd[f"{l}self_attn.{n}_proj.weight"] = b(p["attn"][i, j])
        sd[l + "mlp.gate_proj.weight"], sd[l + "mlp.up_proj.weight"] = b(p["mlp"][i, 0]), b(p["mlp"][i, 1])
        sd[l + "mlp.down_proj.weight"] = b(p["mlp"][i, 2].T)
        sd[l + "input_layernorm.weight"] = b(p["gain"][2 * i])
        sd[l + "post_attention_layernorm.weight"] = b(p["gain"][2 * i + 1])
    tmp = out / "model.safetensors.tmp"
    save_file(sd, tmp, metadata={"format": "pt"})
    os.replace(tmp, out / "model.safetensors")
    assert (out / "model.safetensors").stat().st_size <= 9_000_000
    dump = lambda name, d: (out / name).write_text(json.dumps(d, indent=2) + "\n")
    dump("config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "vocab_size": VOCAB, "hidden_size": DIM, "intermediate_size": FFN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "head_dim": HEAD_DIM,
        "max_position_embeddings": CTX, "rms_norm_eps": EPS, "rope_theta": THETA, "hidden_act": "silu",
        "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "initializer_range": 0.02,
        "tie_word_embeddings": True, "use_cache": True, "bos_token_id": 0, "eos_token_id": 0})
    dump("generation_config.json", {"bos_token_id": 0, "eos_token_id": 0, "do_sample": True,
                                    "temperature": 0.7, "top_k": 40, "top_p": 0.95})
    dump("tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": EOT, "eos_token": EOT,
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False,
        "model_max_length": CTX})


# ---------------------------------------------------------------- training
def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--corpus", type=Path, default=ROOT / "../shared/data/corpus")
    ap.add_argument("--out", type=Path, default=Path(__file__).parent / "model")
    ap.add_argument("--work", type=Path, default=Path("demo-model-work"), help="checkpoints and the log")
    ap.add_argument("--steps", type=int, default=6000)
    ap.add_argument("--decay-from", type=int, default=3000)
    ap.add_argument("--warmup", type=int, default=50)
    ap.add_argument("--batch", type=int, default=16, help="windows per step")
    ap.add_argument("--micro", type=int, default=4, help="windows per forward pass")
    ap.add_argument("--lr-muon", type=float, default=0.02)
    ap.add_argument("--lr-adam", type=float, default=0.004)
    ap.add_argument("--wd", type=float, default=0.1, help="weight decay of the Muon matrices")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    ap.add_argument("--no-compile", action="store_true")
    ap.add_argument("--eval-every", type=int, default=250)
    ap.add_argument("--save-every", type=int, default=250)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    args.work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)

    from tokenizers import Tokenizer
    docs = read_docs(args.corpus / "train.txt.xz")
    if not (args.out / "tokenizer.json").exists():
        train_tokenizer(docs, args.out / "tokenizer.json")
    tok = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    data = Windows(encode_docs(tok, docs), args.seed)
    n_bytes = len(lzma.open(args.corpus / "valid.txt.xz").read())
    valid = eval_stream(tok, read_docs(args.corpus / "valid.txt.xz"))
    print(f"{len(docs)} documents, {data.total} tokens; validation {n_bytes} bytes, {len(valid) - 1} tokens", flush=True)

    p, tables = init_params(args.seed), rope_tables()
    opt, step = Optimiser(p, args), 0
    fwd = forward if args.no_compile else torch.compile(forward)
    ckpt, log = args.work / "checkpoint.pt", args.work / "loss.csv"
    if ckpt.exists():
        c = torch.load(ckpt)
        step, opt.t, opt.muon, opt.adam = c["step"], c["t"], c["muon"], c["adam"]
        args.steps, args.decay_from = max(args.steps, step), args.decay_from
        for k in p:
            p[k].data.copy_(c["p"][k])
    else:
        log.write_text("step,tokens,seconds,lr_scale,train_loss,valid_bpb\n")
    start, seen, loss_sum, n_params = time.time(), 0, 0.0, sum(w.numel() for w in p.values())
    print(f"{n_params} parameters, start at step {step}", flush=True)

    while step < args.steps:
        trigger = args.work / "decay-now"    # holds a number of steps: decay begins at once, over that many
        if trigger.exists():
            args.decay_from, args.steps = step, step + int(trigger.read_text())
            trigger.unlink()
            print(f"DECAY: --decay-from {args.decay_from} --steps {args.steps}", flush=True)
        scale = min((step + 1) / args.warmup, (args.steps - step) / max(args.steps - args.decay_from, 1), 1.0)
        batch = data.batch(step * args.batch, args.batch)
        for i in range(0, args.batch, args.micro):
            b = batch[i:i + args.micro]
            loss = fwd(p, b[:, :-1], b[:, 1:], *tables, dtype) / (args.batch * CTX)
            loss.backward()
            loss_sum += loss.item()
        opt.step(scale, dtype)
        step, seen = step + 1, seen + 1
        if step % 25 == 0 or step == args.steps:
            bpb = ""
            if step % args.eval_every == 0 or step == args.steps:
                bpb = f"{validate(fwd, p, valid, n_bytes, tables, dtype):.4f}"
            rate = seen * args.batch * CTX / (time.time() - start)
            row = [step, step * args.batch * CTX, round(time.time() - start), f"{scale:.4f}", f"{loss_sum / min(seen, 25):.4f}", bpb]
            csv.writer(log.open("a")).writerow(row)
            print(*row, f"{rate:.0f} tok/s", flush=True)
            loss_sum = 0.0
        if step % args.save_every == 0 or step == args.steps:
            torch.save({"step": step, "t": opt.t, "muon": opt.muon, "adam": opt.adam, "p": {k: w.detach() for k, w in p.items()}}, ckpt)
            export(p, args.out)


if __name__ == "__main__":
    main()
