#!/usr/bin/env python3
"""Runs a train.py under `python train.py` and inside autoresearchd, in
alternation, and compares speed (medians) and losses.

  embed_vs_python.py --binary bin/autoresearchd --python VENV/bin/python \
      --workspace DIR [--cache DIR] [--seconds 20 | --steps 60] [--pairs 3]

The workspace's train.py and prepare.py are copied; prepare.py's TIME_BUDGET
and STEP_BUDGET are set to the same values for both. Tokens/s is the median over
a run's progress lines after the steps that are not counted; the figure that is
reported is the ratio of the medians over runs. Exit status 1: the ratio is
below --at-least, or losses differ though --same-losses asks for equality.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOCOL = 3  # of daemon/trainer
PROGRESS = re.compile(r"step (\d+) .*?loss: ([0-9.naif]+).*?tok/sec: ([0-9,]+)")


def frame(message):
    body = json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


def run_python(args, work, env):
    """Returns what train.py printed as a script of its own."""
    done = subprocess.run(
        [args.python, "train.py"], cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode(errors="replace")


def run_embedded(args, work, env):
    """Returns what train.py printed in a seat of the daemon's own kind."""
    order = {
        "path": str(work / "train.py"),
        "directory": str(work),
        "argv": ["train.py"],
        "last": True,
        "seed": args.seed,
        "seconds": float(args.seconds),
        "steps": args.steps,
        "cache": args.cache or "",
        "log_fd": -1,
    }
    with tempfile.TemporaryFile() as log:
        seat = subprocess.Popen(
            [args.binary, "trainer"], cwd=work, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log
        )
        request = {"protocol": PROTOCOL, "op": "order", "python": args.python, "order": order}
        seat.stdin.write(frame(request))
        seat.stdin.close()
        code = seat.wait()
        log.seek(0)
        return code, log.read().decode(errors="replace")


def read(text):
    """Returns {step: (loss as printed, tokens/s)} and the printed val_bpb."""
    steps = {}
    for line in re.split(r"[\r\n]", text):
        if m := PROGRESS.search(line):
            steps[int(m[1])] = (m[2], float(m[3].replace(",", "")))
    score = re.search(r"^val_bpb:\s+(\S+)", text, re.M)
    return steps, score[1] if score else None


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--binary", default="bin/autoresearchd")
    p.add_argument("--python", required=True)
    p.add_argument("--workspace", required=True)
    p.add_argument("--cache")
    p.add_argument("--seconds", type=int, default=20)
    p.add_argument("--steps", type=int, default=0)
    p.add_argument("--eval-tokens", type=int, help="of prepare.py: the evaluation is not what is compared")
    p.add_argument("--pairs", type=int, default=3)
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--at-least", type=float, default=0.0)
    p.add_argument("--same-losses", action="store_true")
    p.add_argument("--warm-up", action="store_true", help="one run first that is not measured (compile caches)")
    args = p.parse_args()
    args.binary = os.path.abspath(args.binary)
    args.python = os.path.abspath(args.python)

    env = dict(os.environ)
    if args.cache:
        args.cache = os.path.abspath(args.cache)
        env["AUTORESEARCH_CACHE"] = args.cache
    speeds = {"python": [], "embedded": []}
    losses = {"python": [], "embedded": []}
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        for file in Path(args.workspace).glob("*.py"):
            shutil.copy(file, work)
        prepare = (work / "prepare.py").read_text()
        prepare = re.sub(r"(?m)^TIME_BUDGET = [^#\n]*", f"TIME_BUDGET = {args.seconds} ", prepare)
        prepare = re.sub(r"(?m)^STEP_BUDGET = [^#\n]*", f"STEP_BUDGET = {args.steps} ", prepare)
        if args.eval_tokens:
            prepare = re.sub(r"(?m)^EVAL_TOKENS = [^#\n]*", f"EVAL_TOKENS = {args.eval_tokens} ", prepare)
        (work / "prepare.py").write_text(prepare)
        runs = {"python": run_python, "embedded": run_embedded}
        if args.warm_up:
            run_python(args, work, env)
        for pair in range(args.pairs):
            # Which one goes first changes too: neighbours drift.
            for name in ("python", "embedded") if pair % 2 == 0 else ("embedded", "python"):
                code, text = runs[name](args, work, env)
                steps, score = read(text)
                counted = [speed for step, (_, speed) in steps.items() if step > 10]
                if code != 0 or not counted:
                    print(text[-3000:], file=sys.stderr)
                    sys.exit(f"the {name} run ended with status {code} and {len(counted)} counted steps")
                speeds[name].append(statistics.median(counted))
                losses[name].append([steps[s][0] for s in sorted(steps)])
                print(
                    f"pair {pair + 1} {name:9s} {len(steps):5d} steps {speeds[name][-1]:12,.0f} tok/s  val_bpb {score}",
                    flush=True,
                )
    ratio = statistics.median(speeds["embedded"]) / statistics.median(speeds["python"])
    common = min(len(run) for runs in losses.values() for run in runs)
    same = len({tuple(run[:common]) for runs in losses.values() for run in runs}) == 1
    print(f"embedded / python, tokens/s: {ratio:.4f} (medians of {args.pairs} runs each, in alternation)")
    print(f"losses of the first {common} steps are {'the same' if same else 'not the same'} in all runs")
    if ratio < args.at_least or args.same_losses and not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
