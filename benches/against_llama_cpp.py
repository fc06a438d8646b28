#!/usr/bin/env python3
"""Decoding, anygpu against llama.cpp's Vulkan backend: the same adapter, the same GGUF files, in turn.

    python against_llama_cpp.py --make MODELS     # once: six files, 2.8 GB (5 GB meanwhile)
    python against_llama_cpp.py --models MODELS --anygpu target/release/anygpu --out FILE.json

Shapes of SmolLM2-135M and TinyLlama-1.1B with random weights, quantized by llama.cpp itself to Q4_0, Q8_0 and
Q4_K_M (SmolLM2's rows of 576 are no whole K blocks: llama.cpp falls back to other types there). Their vocabularies
are made up too: tokens are numbers here.

A sample is one untimed token and then N timed ones, at an empty cache or behind 1024 positions. Loading and compiling
do not count; waiting for each token does: anygpu reads back the best token, llama.cpp the logits. KV cache f16, 1152
positions. What fills the 1024 does not change the time: anygpu pretends, llama.cpp's CPU backend computed them.
  anygpu      one process per sample: `anygpu bench FILE -p 0 -n N -d DEPTH -r 1 --ctx 1152 --no-plan -o json`
  llama.cpp   one process per file, asleep while anygpu runs (the processor time that it uses meanwhile is in the
              results), all layers on the adapter, without and with flash attention; the faster median is compared
A round is, for each depth: anygpu, llama.cpp, llama.cpp with flash attention.

Needs numpy, gguf (PyPI; for --make) and llama-cpp-python built with Vulkan. On Debian 12:

    apt install glslc libvulkan-dev spirv-headers    # Vulkan headers >= 1.3.280: from trixie, the .debs unpacked
    # those of the CPU for AVX-512; -DVulkan_INCLUDE_DIR=... for headers unpacked aside
    export CMAKE_ARGS="-DGGML_VULKAN=on -DGGML_NATIVE=OFF -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON"
    pip install --no-binary llama-cpp-python llama-cpp-python gguf

(GGML_NATIVE's AMX code crashes when gcc 12 compiles it.) Software adapters have to be asked for: --vk-device, the
index that becomes GGML_VK_VISIBLE_DEVICES. Progress goes to stderr.
"""
import argparse, ctypes, datetime, json, os, platform, re, statistics, subprocess, sys, tempfile, time
from pathlib import Path

N_CTX, DEPTHS, THREADS, BATCH = 1152, (0, 1024), 2, 64
TOKEN = 13  # which one does not change the time
FTYPES = {"q4_0": 2, "q8_0": 7, "q4_k_m": 15}  # llama_ftype
SHAPES = {
    # as in the models' config.json; tokens: timed per sample, anygpu's and llama.cpp's
    "smollm2-135m": dict(hidden=576, layers=30, heads=9, kv_heads=3, inter=1536, vocab=49152, tied=True,
                         theta=100000.0, tokens=(16, 4)),
    "tinyllama-1.1b": dict(hidden=2048, layers=22, heads=32, kv_heads=4, inter=5632, vocab=32000, tied=False,
                           theta=10000.0, tokens=(6, 3)),
}


def say(*what):
    print(*what, file=sys.stderr, flush=True)


# Making the files.

def write_f16(path, shape):
    """Random weights of `shape`, streamed; uniform, with the spread that keeps the size of activations."""
    import gguf
    import numpy as np
    hidden, inter, vocab = shape["hidden"], shape["inter"], shape["vocab"]
    head = hidden // shape["heads"]
    kv = head * shape["kv_heads"]
    tensors = {"token_embd": (vocab, hidden), "output_norm": (hidden,)}
    if not shape["tied"]:
        tensors["output"] = (vocab, hidden)
    for i in range(shape["layers"]):
        layer = {"attn_norm": (hidden,), "attn_q": (hidden, hidden), "attn_k": (kv, hidden), "attn_v": (kv, hidden),
                 "attn_output": (hidden, hidden), "ffn_norm": (hidden,), "ffn_gate": (inter, hidden),
                 "ffn_up": (inter, hidden), "ffn_down": (hidden, inter)}
        tensors |= {f"blk.{i}.{name}": dims for name, dims in layer.items()}
    w = gguf.GGUFWriter(path, "llama")
    for key, n in {"block_count": shape["layers"], "context_length": 2048, "embedding_length": hidden,
                   "feed_forward_length": inter, "attention.head_count": shape["heads"], "vocab_size": vocab,
                   "attention.head_count_kv": shape["kv_heads"], "rope.dimension_count": head}.items():
        w.add_uint32(f"llama.{key}", n)
    w.add_rope_freq_base(shape["theta"])
    w.add_layer_norm_rms_eps(1e-5)
    w.add_file_type(1)  # mostly f16
    # A vocabulary that both accept: SentencePiece's special tokens and bytes, then names.
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    tokens += [f"token{i}" for i in range(len(tokens), vocab)]
    types = gguf.TokenType
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores([-float(i) for i in range(vocab)])
    w.add_token_types([types.UNKNOWN] + [types.CONTROL] * 2 + [types.BYTE] * 256 + [types.NORMAL] * (vocab - 259))
    kind = lambda dims: np.dtype(np.float32 if len(dims) == 1 else np.float16)
    for name, dims in tensors.items():
        size = int(np.prod(dims)) * kind(dims).itemsize
        w.add_tensor_info(f"{name}.weight", dims, kind(dims), size)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    rng = np.random.default_rng(1)
    for dims in tensors.values():
        values = np.ones(dims, np.float32)
        if len(dims) == 2:
            values = (rng.random(dims, np.float32) * 2 - 1) * np.float32((3 / dims[1]) ** 0.5)
        w.write_tensor_data(values.astype(kind(dims)))
    w.close()


def make(folder, only):
    import llama_cpp
    folder.mkdir(parents=True, exist_ok=True)
    log = keep_log()
    for name, shape in SHAPES.items():
        missing = {path: f for path, f in paths(folder, name, only).items() if not path.exists()}
        source = folder / f"{name}-f16.gguf"
        if missing:
            say(f"making {source}")
            write_f16(source, shape)
        for path, f in missing.items():
            say(f"making {path}")
            params = llama_cpp.llama_model_quantize_default_params()
            params.ftype, params.nthread = FTYPES[f], THREADS
            part = path.with_suffix(".part")
            if llama_cpp.llama_model_quantize(bytes(source), bytes(part), ctypes.byref(params)):
                sys.exit("".join(log))
            part.rename(path)
        source.unlink(missing_ok=True)


def paths(folder, name, only):
    """The files of a shape, those that are wanted, with their types."""
    names = {f"{name}-{f}": f for f in FTYPES}
    return {folder / f"{n}.gguf": f for n, f in names.items() if not only or any(part in n for part in only)}


# llama.cpp, in processes of its own: `--child prefill FILE STATES` and `--child serve FILE STATES`.

def keep_log():
    """What llama.cpp logs from now on."""
    import llama_cpp
    log = []
    keep = llama_cpp.llama_log_callback(lambda _level, text, _data: log.append(text.decode(errors="replace")))
    llama_cpp.llama_log_set(keep, None)
    keep_log.alive = keep
    return log


class Llama:
    """A model with two contexts: flash attention off (0) and on (1)."""

    def __init__(self, path, adapter):
        import llama_cpp as api
        self.api = api
        self.log = keep_log()
        api.llama_backend_init()
        params = api.llama_model_default_params()
        params.n_gpu_layers = 999 if adapter else 0
        self.model = self.check(api.llama_model_load_from_file(os.fsencode(path), params))
        self.contexts = [self.context(flash, adapter) for flash in (0, 1)]

    def check(self, result):
        return result or sys.exit("llama.cpp failed:\n" + "".join(self.log)[-20000:])

    def context(self, flash, adapter):
        params = self.api.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = N_CTX, BATCH, BATCH
        params.n_threads = params.n_threads_batch = THREADS
        params.type_k = params.type_v = self.api.GGML_TYPE_F16
        params.flash_attn_type = flash
        params.offload_kqv = params.op_offload = adapter
        return self.check(self.api.llama_init_from_model(self.model, params))

    def feed(self, context, tokens):
        """Decodes tokens behind what is in the cache, and waits until the logits are there."""
        ids = (self.api.llama_token * len(tokens))(*tokens)
        self.check(self.api.llama_decode(context, self.api.llama_batch_get_one(ids, len(tokens))) == 0)
        return self.api.llama_get_logits(context)[0]

    def save(self, folder, depth):
        """Writes the state behind `depth` made-up tokens, of each context: they lay V out differently."""
        vocab = self.api.llama_vocab_n_tokens(self.api.llama_model_get_vocab(self.model))
        made_up = [(i * 7919 + TOKEN) % vocab for i in range(depth)]
        for flash, context in enumerate(self.contexts):
            for begin in range(0, depth, BATCH):
                self.feed(context, made_up[begin:begin + BATCH])
            ids = (self.api.llama_token * depth)(*made_up)
            self.check(self.api.llama_state_save_file(context, state(folder, flash), ids, depth))

    def sample(self, folder, flash, depth, n):
        """Seconds of each of `n` tokens at `depth`."""
        api, context = self.api, self.contexts[flash]
        memory = api.llama_get_memory(context)
        api.llama_memory_clear(memory, True)
        if depth:
            ids, count = (api.llama_token * N_CTX)(), ctypes.c_size_t()
            self.check(api.llama_state_load_file(context, state(folder, flash), ids, N_CTX, ctypes.byref(count)))
        self.feed(context, [TOKEN])
        self.check(api.llama_memory_seq_rm(memory, 0, depth, -1))
        seconds = []
        for _ in range(n):
            started = time.perf_counter()
            self.feed(context, [TOKEN])
            seconds.append(time.perf_counter() - started)
        self.check(api.llama_memory_seq_pos_max(memory, 0) == depth + n - 1)
        return seconds

    def facts(self):
        """Where the weights, the cache and the work are, as the log tells."""
        log = "".join(self.log)
        facts = {key: list(dict.fromkeys(re.findall(pattern, log))) for key, pattern in {
            "devices": r"ggml_vulkan: (\d+ = .*)", "offloaded": r"offloaded (\d+/\d+ layers)",
            "buffers": r"(\S+ +(?:model|KV|compute) buffer size.*)", "graph": r"graph: (nodes = .*)",
            "tensors": r"- type +(.*)"}.items()}
        there = [n.split()[0].split("/") for n in facts["offloaded"]]
        self.check(there and all(a == b for a, b in there) and re.search(r"Vulkan0 +KV buffer", log))
        return facts


def state(folder, flash):
    return os.fsencode(Path(folder) / f"flash-{flash}.state")


def child(mode, path, folder):
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # nothing else gets among the answers
    llama = Llama(path, adapter=mode == "serve")
    if mode == "prefill":
        return llama.save(folder, DEPTHS[-1])
    print(json.dumps(llama.facts()), file=answers)
    slept_from = time.process_time()
    for line in sys.stdin:
        awake = time.process_time()
        token_s = llama.sample(folder, **json.loads(line))
        print(json.dumps({"token_s": token_s, "cpu_s_asleep": round(awake - slept_from, 4)}), file=answers)
        slept_from = time.process_time()


def spawn(mode, path, folder, visible):
    """A child; `visible`: index of the Vulkan device that it sees, or None: then it works on the CPU."""
    env = os.environ | {"GGML_VK_VISIBLE_DEVICES": str(visible)}
    if visible is None:
        hidden = {"VK_ICD_FILENAMES": os.devnull, "VK_DRIVER_FILES": os.devnull}
        env |= hidden | {"OMP_WAIT_POLICY": "passive"}  # spinning threads crawl on a busy machine
    command = [sys.executable, __file__, "--child", mode, str(path), str(folder)]
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(process):
    return json.loads(process.stdout.readline() or sys.exit("llama.cpp's process ended"))


# Measuring.

def anygpu_json(args, *rest):
    adapter = ["--adapter", args.adapter] if args.adapter else []
    done = subprocess.run([args.anygpu, *rest, *adapter], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"anygpu {' '.join(map(str, rest))}: exit code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def measure(args, path, shape):
    """All samples of one file, and what they come to."""
    records, index = [], 0

    def record(engine, depth, n, load, seconds, **more):
        rate = n / seconds
        records.append({"engine": engine, "depth": depth, "counts": index >= 0, "tokens": n, "seconds": seconds,
                        "tokens_per_s": rate, "load_average_before": load, **more})
        say(f"  {engine:16} at {depth:4}: {rate:7.3f} tok/s   (load {load[0]:.2f})")

    ours_n, theirs_n = shape["tokens"]
    with tempfile.TemporaryDirectory() as folder:
        say(f"{path.name}: {DEPTHS[-1]} positions on the CPU")
        if spawn("prefill", path, folder, None).wait():
            sys.exit(f"{path.name}: computing the context failed")
        server = spawn("serve", path, folder, args.vk_device)
        facts = answer(server)
        say("  " + "; ".join(facts["devices"] + facts["offloaded"] + facts["graph"]))
        for index in range(-args.warm_up, args.rounds):
            say(f"  round {index + 1} of {args.rounds}" if index >= 0 else "  a round that does not count")
            for depth in DEPTHS:
                load = os.getloadavg()
                got, = anygpu_json(args, "bench", path, "-p", "0", "-n", str(ours_n), "-d", str(depth), "-r", "1",
                                   "--ctx", str(N_CTX), "--no-plan", "-o", "json")
                record("anygpu", depth, ours_n, load, got["samples_ns"][0] / 1e9, compile_s=got["compile_s"])
                for flash in (0, 1):
                    load = os.getloadavg()
                    print(json.dumps({"flash": flash, "depth": depth, "n": theirs_n}), file=server.stdin, flush=True)
                    got = answer(server)
                    engine = "llama.cpp flash" if flash else "llama.cpp"
                    record(engine, depth, theirs_n, load, sum(got["token_s"]), **got)
        server.stdin.close()
        server.wait()
    return {"file": path.name, "bytes": path.stat().st_size, "llama_cpp": facts, "samples": records,
            "summary": [summary(records, depth) for depth in DEPTHS]}


def summary(records, depth):
    rates = {}
    for r in records:
        if r["depth"] == depth and r["counts"]:
            rates.setdefault(r["engine"], []).append(r["tokens_per_s"])
    of = {engine: {"median": statistics.median(v), "min": min(v), "max": max(v), "n": len(v)}
          for engine, v in rates.items()}
    theirs = max((e for e in of if e != "anygpu"), key=lambda e: of[e]["median"])
    in_pairs = [a / b for a, b in zip(rates["anygpu"], rates[theirs])]
    return {"depth": depth, "tokens_per_s": of, "compared": theirs,
            "ratio_of_medians": of["anygpu"]["median"] / of[theirs]["median"],
            "ratios_in_pairs": in_pairs, "ratio_min": min(in_pairs), "ratio_max": max(in_pairs)}


def versions(args):
    import llama_cpp
    info = Path("/proc/cpuinfo")
    cpu = re.search(r"model name\s*:\s*(.*)", info.read_text())[1] if info.exists() else platform.processor()
    told_by = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.strip()
    here = "git", "-C", Path(__file__).parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"

    def told(library, name):
        path = Path(llama_cpp.__file__).parent / "lib" / f"lib{library}.so"
        function = getattr(ctypes.CDLL(str(path)), name, None)
        if function:
            function.restype = ctypes.c_char_p
        return function and function().decode()

    devices = anygpu_json(args, "devices", "--json")
    return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "anygpu": told_by(args.anygpu, "--version"), "anygpu_commit": args.commit or told_by(*here),
            "llama_cpp_python": llama_cpp.__version__, "llama_cpp": told("llama", "llama_version"),
            "ggml": told("ggml-base", "ggml_version"), "ggml_commit": told("ggml-base", "ggml_commit"),
            "adapter": devices["adapters"][devices["used"]]["facts"], "cpu": cpu, "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}"}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--make", type=Path, metavar="DIR", help="make the files there, and stop")
    ap.add_argument("--models", type=Path, metavar="DIR", help="where the files are")
    ap.add_argument("--anygpu", default="anygpu", metavar="PATH", help="the program")
    ap.add_argument("--commit", help="what it was built from (default: the commit checked out here)")
    ap.add_argument("--adapter", help="for anygpu, as in its --adapter")
    ap.add_argument("--vk-device", type=int, default=0, help="llama.cpp's index of the same adapter")
    ap.add_argument("--only", action="append", metavar="PART", help="only files whose names contain this; repeatable")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--warm-up", type=int, default=1, metavar="N", help="rounds before those that count")
    ap.add_argument("--out", type=Path, help="instead of stdout; rewritten after every file")
    ap.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = ap.parse_args()
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())  # Mesa complains when it is not set
    if args.child:
        return child(*args.child)
    if args.make:
        return make(args.make, args.only)
    if not args.models:
        ap.error("--make DIR or --models DIR")
    files = [(path, shape) for name, shape in SHAPES.items() for path in paths(args.models, name, args.only)]
    for path, _ in files:
        if not path.exists():
            ap.error(f"{path} is missing: --make {args.models}")
    settings = {"n_ctx": N_CTX, "kv": "f16", "rounds": args.rounds, "warm_up_rounds": args.warm_up,
                "llama_threads": THREADS, "llama_batch": BATCH, "GGML_VK_VISIBLE_DEVICES": args.vk_device}
    result = versions(args) | {"settings": settings, "models": []}
    for path, shape in files:
        result["models"].append(measure(args, path, shape))
        for s in result["models"][-1]["summary"]:
            theirs = s["tokens_per_s"][s["compared"]]
            say(f"{path.name} at {s['depth']}: anygpu {s['tokens_per_s']['anygpu']['median']:.3f}, {s['compared']} "
                f"{theirs['median']:.3f} tok/s: {s['ratio_of_medians']:.2f} times "
                f"({s['ratio_min']:.2f} to {s['ratio_max']:.2f})")
        if args.out:
            args.out.write_text(json.dumps(result, indent=1) + "\n")
    if not args.out:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
