#!/usr/bin/env python3
"""What decoding steps cost, in turn: the demo model's tokens before and after, eight sequences against one, loading.

    python decode.py --binary after=PATH@COMMIT [--binary before=PATH@COMMIT] [--models MODEL ...] [--load FILE ...]
                     [--rounds N] [--adapter NAME] --out FILE.json

A round of each part, one process per sample, all parts one after the other:
  demo    every binary: `anygpu run "A fox" --temperature 0 --max-tokens 200 --ignore-eos --no-plan --json`, and the same
          with `--no-ahead` where the binary has it. What it printed is kept whole, but for text and ids.
  batch   the first binary, every model and `demo`: `anygpu bench MODEL -p 0 -n N -b 1|8 -r 2 --no-plan -o json`
  load    the first binary, every file: `anygpu bench load FILE --json`
The demo part begins with a run of each binary that does not count: first uses verify kernels. Needs nothing but Python.
Progress goes to stderr, a summary to stdout.
"""
import argparse, datetime, json, platform, statistics, subprocess, sys

N = {"demo": 128}  # tokens of a sample; others 24


def say(*what):
    print(*what, file=sys.stderr, flush=True)


def ask(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def median(values):
    values = list(values)
    return statistics.median(values) if values else float("nan")


def demo(binaries, adapter, rounds):
    ways = []
    for name, path in binaries.items():
        help_text = subprocess.run([path, "run", "--help"], capture_output=True, text=True).stdout
        ways += [(name, path, [])] + [(f"{name}, one at a time", path, ["--no-ahead"])] * ("--no-ahead" in help_text)
    command = lambda path, more: [path, "run", "A fox", "--temperature", "0", "--max-tokens", "200", "--ignore-eos",
                                  "--no-plan", "--json", *adapter, *more]
    runs = {name: [] for name, _, _ in ways}
    for i in range(-1, rounds):
        for name, path, more in ways:
            run = ask(command(path, more))
            if i >= 0:
                keep = ("timings", "per_token", "timeline")
                runs[name].append({key: run[key] for key in keep if key in run})
                runs[name][-1]["text_sha"] = hash_of(run["ids"])
            say("demo", name, i + 1, f"{run['timings']['decode_tok_s']:.0f} tok/s")
    return runs


def hash_of(ids):
    import hashlib
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


def batch(path, models, adapter, rounds):
    runs = {model: {"1": [], "8": []} for model in models}
    for i in range(rounds):
        for model, of in runs.items():
            for n in of:
                row = ask([path, "bench", model, "-p", "0", "-n", str(N.get(model, 24)), "-b", n, "-r", "2", "--ctx", "256",
                           "--no-plan", "-o", "json", *adapter])[-1]
                of[n].append(row)
                say("batch", model, n, i + 1, f"{row['avg_ts']:.1f} tok/s")
    return runs


def load(path, files, adapter, rounds):
    runs = {file: [] for file in files}
    for i in range(rounds):
        for file, of in runs.items():
            of.append(ask([path, "bench", "load", file, "--json", *adapter]))
            say("load", file, i + 1)
    return runs


def late_submits(timeline):
    """How many submits began when nothing was on the way any more, and of how many; steps of one submit share a moment."""
    submits = [step for i, step in enumerate(timeline) if i == 0 or step != timeline[i - 1]]
    return sum(b[0] >= a[2] for a, b in zip(submits, submits[1:])), len(submits) - 1


def step_s(row, n):
    """Seconds of a step: llama-bench's tokens per second count all sequences."""
    return n / row["avg_ts"]


def summary(result):
    for name, runs in result["demo"].items():
        tok_s = [run["timings"]["decode_tok_s"] for run in runs]
        line = f"{name}: {median(tok_s):.0f} tok/s ({min(tok_s):.0f} to {max(tok_s):.0f}), " \
               f"{median(run['per_token']['dispatches'] for run in runs):.0f} dispatches, {median(run['per_token']['submits'] for run in runs):.2f} submits per token"
        if "submit_s" in runs[0]["timings"]:
            share = lambda key: [run["timings"][key] * run["timings"]["decode_tok_s"] * 100 for run in runs]
            micro = lambda key: [run["timings"][key] * 1e6 for run in runs]
            for key, what in (("host_s", "recording"), ("submit_s", "in submit"), ("gpu_idle_s", "GPU idle")):
                line += f"; {what} {median(micro(key)):.0f} µs, {median(share(key)):.1f} % (at most {max(share(key)):.1f})"
            if runs[0]["timings"].get("processor_s"):
                line += f"; the host's thread at work {median(micro('processor_s')):.0f} µs, " \
                        f"{median(share('processor_s')):.1f} % (at most {max(share('processor_s')):.1f})"
            late = [late_submits(run["timeline"]) for run in runs]
            line += f"; {sum(n for n, _ in late)} of {sum(of for _, of in late)} submits began after the steps ahead of theirs " \
                    "were seen done"
        print(line)
    print("texts equal:", len({run["text_sha"] for runs in result["demo"].values() for run in runs}) == 1)
    for model, runs in result["batch"].items():
        ratios = [step_s(eight, 8) / step_s(one, 1) for one, eight in zip(runs["1"], runs["8"])]
        best = min(step_s(row, 8) for row in runs["8"]) / min(step_s(row, 1) for row in runs["1"])
        print(f"{model.split('/')[-1]}: a step of eight costs {median(ratios):.2f} steps of one ({min(ratios):.2f} to "
              f"{max(ratios):.2f}; of the fastest {best:.2f})")
    for file, runs in result["load"].items():
        share = [run["pct_of_allowed"] for run in runs]
        print(f"{file.split('/')[-1]}: loading at {median(share):.0f} % of what reading and writing allow "
              f"({min(share):.0f} to {max(share):.0f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", action="append", required=True, metavar="NAME=PATH@COMMIT")
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--load", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--adapter")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    binaries, commits = {}, {}
    for text in args.binary:
        name, _, rest = text.partition("=")
        binaries[name], _, commits[name] = rest.rpartition("@")
    adapter = ["--adapter", args.adapter] if args.adapter else []
    first = next(iter(binaries.values()))
    devices = ask([first, "devices", "--json"])
    result = {
        "commits": commits,
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {"processor": processor(), "system": f"{platform.system()} {platform.machine()}"},
        "adapters": devices,
        "demo": demo(binaries, adapter, args.rounds),
        "batch": batch(first, [*args.models, "demo"], adapter, args.rounds),
        "load": load(first, args.load, adapter, args.rounds),
    }
    with open(args.out, "w") as file:
        json.dump(named(result), file, indent=1)
    summary(result)


def named(value):
    """The same with names of files instead of their paths, which are nobody's business."""
    if isinstance(value, dict):
        return {named(key): named(item) for key, item in value.items()}
    if isinstance(value, list):
        return [named(item) for item in value]
    return value.split("/")[-1] if isinstance(value, str) and value.endswith(".gguf") else value


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
