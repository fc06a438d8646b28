#!/usr/bin/env python3
"""Trains the demo model: a small Llama that tells fairy tales. Two CPU cores, about an hour and a half.

Muon for the 2-D matrices, AdamW for the tied embedding and the norm gains, a warm-up / constant /
linear-decay-to-zero schedule counted in steps, all in float32 (faster here than bf16 without AMX).
Writes a Hugging Face folder (LlamaForCausalLM, bf16, tied embedding) and the loss curve as CSV.
"""
import argparse, csv, lzma, math, os, sys, time
from pathlib import Path
import numpy as np
import torch
import torch.nn.functional as F
from hf import CTX, DIM, EOT, EPS, FFN, HEAD_DIM, HEADS, LAYERS, THETA, VOCAB, export, train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
SEP = f"\n{EOT}\n"                             # how the corpus separates documents


# ---------------------------------------------------------------- text and tokenizer
def read_docs(path):
    text = lzma.open(path, "rt", encoding="utf-8", newline="\n").read()
    return [d for d in text.split(SEP) if d]


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
    return p


def rope_tables():
    freq = THETA ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
    a = torch.outer(torch.arange(CTX).float(), freq)
    return torch.cat([a.cos(), a.cos()], -1), torch.cat([-a.sin(), a.sin()], -1)


def norm(x, gain):
    return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * gain)


def forward(p, x, y, cos, sin):
    """Summed cross entropy. x, y: [batch, time]."""
    B, T = x.shape
    A, M, g = p["attn"].unbind(), p["mlp"].unbind(), p["gain"].unbind()
    cos, sin = cos[:T], sin[:T]
    h = F.embedding(x, p["embed"])
    for i in range(LAYERS):
        (wqkv, wo), (wgu, wd) = A[i].split((3, 1)), M[i].split((2, 1))
        qkv = F.linear(norm(h, g[2 * i]), wqkv.flatten(0, 1))
        qk = qkv[..., :2 * DIM].view(B, T, 2 * HEADS, HEAD_DIM).transpose(1, 2)
        qk = (qk * cos + torch.cat([qk[..., HEAD_DIM // 2:], qk[..., :HEAD_DIM // 2]], -1) * sin)
        v = qkv[..., 2 * DIM:].reshape(B, T, HEADS, HEAD_DIM).transpose(1, 2)
        o = F.scaled_dot_product_attention(qk[:, :HEADS], qk[:, HEADS:], v, is_causal=True)
        h = h + F.linear(o.transpose(1, 2).reshape(B, T, DIM), wo[0])
        gu = F.linear(norm(h, g[2 * i + 1]), wgu.flatten(0, 1))
        h = h + (F.silu(gu[..., :FFN]) * gu[..., FFN:]) @ wd[0]
    logits = F.linear(norm(h, g[-1]), p["embed"])
    return F.cross_entropy(logits.view(B * T, VOCAB), y.reshape(-1), reduction="sum")


def windows(rows, ctx):
    """Rows of CTX+1 tokens as (input, target) rows of ctx tokens."""
    return rows[:, :-1].reshape(-1, ctx), rows[:, 1:].reshape(-1, ctx)


# ---------------------------------------------------------------- optimiser
def orthogonalise(x):
    """Newton-Schulz iteration of Muon on a stack of matrices with rows >= columns."""
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x.mT @ x
        x = 3.4445 * x + x @ (-4.7750 * a + 2.0315 * (a @ a))
    return x


class Optimiser:
    """Each worker updates its share of the rows of every (shared) tensor, from the summed gradients."""
    def __init__(self, p, args):
        new = lambda k: torch.zeros_like(p[k], requires_grad=False).share_memory_()
        self.p, self.a = p, args
        self.muon = {k: new(k) for k in ("attn", "mlp")}
        self.adam = {k: (new(k), new(k)) for k in ("embed", "gain")}
        self.grads = [{k: new(k) for k in p} for _ in range(args.workers)]

    @torch.no_grad()
    def step(self, t, scale, rank):
        beta, lr, n = 0.85 + 0.10 * min(t / 300, 1), self.a.lr_muon * scale, self.a.workers
        part = lambda x: x.view(-1, *x.shape[-2:] if x.dim() == 4 else x.shape[-1:]).tensor_split(n)[rank]
        for k, buf in self.muon.items():
            w, buf, grad = part(self.p[k]), part(buf), sum(part(g[k]) for g in self.grads)
            buf.lerp_(grad, 1 - beta)
            u = orthogonalise(grad.lerp(buf, beta))
            w.mul_(1 - lr * self.a.wd).add_(u, alpha=-lr * max(1, w.shape[-2] / w.shape[-1]) ** 0.5)
        for k, (m, v) in self.adam.items():
            w, m, v, grad = part(self.p[k]), part(m), part(v), sum(part(g[k]) for g in self.grads)
            m.lerp_(grad, 0.1)
            v.lerp_(grad * grad, 0.05)
            u = (m / (1 - 0.9 ** t)) / ((v / (1 - 0.95 ** t)).sqrt() + 1e-10)
            w.add_(u, alpha=-self.a.lr_adam * scale)


# ---------------------------------------------------------------- training
def work(rank, args, p, opt, data, valid, ctl, sums, barrier, start):
    """One worker: a single thread over its share of every batch. ctl: step, steps, decay_from."""
    torch.set_num_threads(1)
    if rank:
        os.setsid()                          # a scheduler group of its own
    leaf = {k: w.detach().requires_grad_() for k, w in p.items()}
    tables, fwd = rope_tables(), torch.compile(forward, dynamic=False) if args.compile else forward
    rows, micro, first = args.batch // args.workers, args.micro, int(ctl[0])
    v_rows, v_bytes = valid
    t0, loss_sum, count = time.time(), 0.0, 0
    for k, w in leaf.items():
        w.grad = opt.grads[rank][k]
    while ctl[0] < min(int(ctl[1]), args.until or 10 ** 9):
        step, steps, decay_from = ctl.tolist()
        ctx = args.short if step < decay_from else CTX
        batch = data.batch(step * args.batch + rank * rows, rows)
        for g in opt.grads[rank].values():
            g.zero_()
        sums[rank] = 0
        for i in range(0, rows, micro):
            loss = fwd(leaf, *windows(batch[i:i + micro], ctx), *tables) / (args.batch * CTX)
            loss.backward()
            sums[rank] += loss.item()
        barrier.wait()
        loss_sum, count, step = loss_sum + sums.sum().item(), count + 1, step + 1
        scale = min(step / args.warmup, (steps - step + 1) / max(steps - decay_from, 1), 1.0)
        opt.step(step, scale, rank)
        trigger = args.work / "decay-now"    # holds a number of steps: decay begins at once, over that many
        if rank == 0:
            ctl[0] = step
            if trigger.exists():
                ctl[1], ctl[2] = step + int(trigger.read_text()), step
                trigger.unlink()
                print(f"DECAY: --steps {ctl[1]} --decay-from {ctl[2]}", flush=True)
        barrier.wait()
        last = step in (int(ctl[1]), args.until)
        if step % args.eval_every == 0 or last:
            with torch.no_grad():
                sums[rank] = sum(fwd(leaf, *windows(v_rows[i:i + micro], ctx), *tables).double()
                                 for i in range(rank * micro, len(v_rows), args.workers * micro))
            barrier.wait()
        if rank == 0 and (step % 25 == 0 or last):
            bpb = ""
            if step % args.eval_every == 0 or last:
                bpb = f"{sums.sum().item() / math.log(2) / v_bytes:.4f}"
            row = [step, step * args.batch * CTX, round(start + time.time() - t0), ctx, f"{scale:.4f}",
                   f"{loss_sum / count:.4f}", bpb]
            with (args.work / "loss.csv").open("a", newline="") as f:
                csv.writer(f, lineterminator="\n").writerow(row)
            print(*row, f"{(step - first) * args.batch * CTX / (time.time() - t0):.0f} tok/s", flush=True)
            loss_sum, count = 0.0, 0
        if rank == 0 and (step % args.save_every == 0 or last):
            torch.save({"step": step, "seconds": round(start + time.time() - t0), "muon": opt.muon,
                        "adam": opt.adam, "p": p}, args.work / "tmp.pt")
            os.replace(args.work / "tmp.pt", args.work / "checkpoint.pt")
            export(p, args.out)
        barrier.wait()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--corpus", type=Path, default=ROOT / "../shared/data/corpus")
    ap.add_argument("--out", type=Path, default=Path(__file__).parent / "model")
    ap.add_argument("--work", type=Path, default=Path("demo-model-work"), help="checkpoints and the log")
    ap.add_argument("--steps", type=int, default=3600)
    ap.add_argument("--decay-from", type=int, default=2000)
    ap.add_argument("--until", type=int, help="stop at this step, to go on later, maybe with another --steps")
    ap.add_argument("--warmup", type=int, default=50)
    ap.add_argument("--batch", type=int, default=16, help="rows of 512 tokens per step")
    ap.add_argument("--micro", type=int, default=2, help="rows per forward pass")
    ap.add_argument("--short", type=int, default=256, help="window length before the decay (then 512)")
    ap.add_argument("--lr-muon", type=float, default=0.02)
    ap.add_argument("--lr-adam", type=float, default=0.004)
    ap.add_argument("--wd", type=float, default=0.1, help="weight decay of the Muon matrices")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    ap.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    ap.add_argument("--eval-every", type=int, default=250)
    ap.add_argument("--save-every", type=int, default=250)
    args = ap.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)

    from tokenizers import Tokenizer
    docs = read_docs(args.corpus / "train.txt.xz")
    if not (args.out / "tokenizer.json").exists():
        train_tokenizer(docs, args.out / "tokenizer.json")
    tok = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    data = Windows(encode_docs(tok, docs), args.seed)
    v_bytes = len(lzma.open(args.corpus / "valid.txt.xz").read())
    stream = eval_stream(tok, read_docs(args.corpus / "valid.txt.xz"))
    # For the curve: whole rows only; the text of the short last row is taken to cost the average.
    n = (len(stream) - 1) // (CTX * args.micro) * args.micro
    v_rows = stream.unfold(0, CTX + 1, CTX)[:n]
    v_bytes *= n * CTX / (len(stream) - 1)

    p = {k: w.share_memory_() for k, w in init_params(args.seed).items()}
    print(f"{len(docs)} documents, {data.total} tokens, validation {len(stream) - 1} tokens, "
          f"{sum(w.numel() for w in p.values())} parameters", flush=True)
    opt, ctl, seconds = Optimiser(p, args), torch.tensor([0, args.steps, args.decay_from]).share_memory_(), 0
    if (args.work / "checkpoint.pt").exists():
        c = torch.load(args.work / "checkpoint.pt")
        ctl[0], seconds = c["step"], c["seconds"]
        for new, old in ((p, c["p"]), (opt.muon, c["muon"])):
            for k in new:
                new[k].copy_(old[k])
        for k in opt.adam:
            opt.adam[k][0].copy_(c["adam"][k][0]), opt.adam[k][1].copy_(c["adam"][k][1])
    else:
        (args.work / "loss.csv").write_text("step,tokens,seconds,window,lr_scale,train_loss,valid_bpb\n")
    mp = torch.multiprocessing.get_context("fork")
    sums, barrier = torch.zeros(args.workers, dtype=torch.float64).share_memory_(), mp.Barrier(args.workers)
    shared = (args, p, opt, data, (v_rows, v_bytes), ctl, sums, barrier, seconds)
    others = [mp.Process(target=work, args=(r, *shared), daemon=True) for r in range(1, args.workers)]
    for o in others:
        o.start()
    work(0, *shared)
    for o in others:
        o.join()


if __name__ == "__main__":
    for k, v in (("MALLOC_MMAP_THRESHOLD_", "4000000000"), ("MALLOC_TRIM_THRESHOLD_", "8000000000"),
                 ("TORCHINDUCTOR_COMPILE_THREADS", "1")):
        if k not in os.environ:              # keep glibc from returning big buffers after every operation
            os.environ[k] = v
            os.execv(sys.executable, [sys.executable, *sys.argv])
    main()
