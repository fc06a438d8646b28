#!/usr/bin/env python3
"""Seconds from the start of the program to its first word, from an empty and from a warm cache in turn.

    python3 benches/first_word.py target/release/anygpu [--model FOLDER_OR_FILE] [--rounds 5] [--json]
        [--keep-driver-cache] [--arguments "--no-plan"]

The cache that is emptied is the program's own (ANYGPU_CACHE) and, unless --keep-driver-cache, Mesa's cache of compiled
shaders: a new user has neither. The first word is the first byte on stdout beyond the prompt, which the program shows
when it begins. Lines on stderr are counted for the same answer.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import tempfile
import threading
import time

PROMPT = "Once upon a time"


def once(arguments, environment):
    """(seconds to the first byte behind the prompt, lines on stderr) of one run."""
    started = time.monotonic()
    process = subprocess.Popen(
        arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    text = b""
    while len(text) <= len(PROMPT) or not text.startswith(PROMPT.encode()):
        byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            break
        text += byte
        if not PROMPT.encode().startswith(text[: len(PROMPT)]):
            break
    seconds = time.monotonic() - started
    process.stdout.read()
    code = process.wait()
    reader.join()
    told = errors[0].decode()
    if code != 0 or not text:
        raise SystemExit(f"{shlex.join(arguments)}: exit code {code}: {told}")
    return seconds, len(told.splitlines())


def measure(options):
    """Seconds and lines by cache and command, one list per kind."""
    raw = shlex.split(options.arguments)
    commands = {"bare command": [options.program]}
    model = options.model or "demo"
    commands[f"run {os.path.basename(model)}"] = [options.program, "run", model, PROMPT, "-n", "8", *raw]
    results = {}
    for name, arguments in commands.items():
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                environment = dict(os.environ, ANYGPU_CACHE=os.path.join(folder, "anygpu"))
                if not options.keep_driver_cache:
                    environment["MESA_SHADER_CACHE_DIR"] = os.path.join(folder, "mesa")
                for cache in ("empty", "warm"):
                    seconds, lines = once(arguments, environment)
                    row = results.setdefault(f"{name}, {cache}", {"seconds": [], "stderr_lines": []})
                    row["seconds"].append(round(seconds, 3))
                    row["stderr_lines"].append(lines)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--model", help="a folder or file instead of the demo model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--arguments", default="", help="more arguments for `run`")
    parser.add_argument("--keep-driver-cache", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = measure(options)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'command, cache':40} {'min s':>8} {'median':>8} {'max':>8} {'lines on stderr':>16}")
    for name, row in results.items():
        seconds = row["seconds"]
        values = min(seconds), statistics.median(seconds), max(seconds)
        numbers = " ".join(f"{value:8.2f}" for value in values)
        print(f"{name:40} {numbers} {max(row['stderr_lines']):16}")


if __name__ == "__main__":
    main()
