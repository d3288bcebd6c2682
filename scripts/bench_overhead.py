#!/usr/bin/env python3
"""What a trial costs beside its counted training, under the daemon and as plain
`python train.py`, both with the same train.py and budget, in alternation.

  bench_overhead.py --binary bin/autoresearchd --study .build/study [--steps 200] [--trials 4] [--rounds 3]
      [--devices cpu] [--keep FILE] [--set KEY=VALUE …] [--below 1.0]

The budget is in steps, so that a busy machine makes no trial miss it. A round is
one run of the daemon and as many plain runs; which goes first changes from round
to round. A trial of the daemon lasts from the end of the one before it to its
own, so that what the daemon does between two trials counts; the first of each
run is left out, since nothing could get ready beside another. With
--keep, what is measured is written there, and a run that was ended goes on.
Exit status 1: the ratio of the means is not below --below.
"""

import argparse
import hashlib
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "bench_seats"))
from rate import trials


def counted(text):
    """The seconds of counted training that train.py printed."""
    found = re.search(r"^training_seconds:\s+(\S+)", text, re.M)
    return float(found[1]) if found else sys.exit("a run did not print its training_seconds:\n" + text[-2000:])


def plain(args, python, work, env):
    """Runs train.py by itself; returns the seconds beside the counted ones."""
    begin = time.monotonic()
    done = subprocess.run([python, "train.py"], cwd=work, env=env, capture_output=True, text=True, check=False)
    took = time.monotonic() - begin
    if done.returncode:
        sys.exit(f"python train.py ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [took - counted(done.stdout)]


def daemon(args, workspace, state, settings):
    """Runs a study; returns the seconds beside the counted ones of every trial but the first."""
    command = [args.binary, "--config", str(args.study / "autoresearch.toml"), "--state", str(state), "run"]
    command += ["--trials", str(args.trials + 1)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value if key in args.given else json.dumps(value)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the daemon ended with {done.returncode}:\n{done.stderr[-2000:]}")
    record = trials(args.binary, state)
    if any(trial["status"] != "completed" for trial in record):
        sys.exit("a trial has no score:\n" + done.stderr[-2000:])
    logs = [(state / "trials" / str(trial["id"]) / "run.log").read_text(errors="replace") for trial in record]
    return [
        after["ended"] - before["ended"] - counted(log)
        for (before, after), log in zip(itertools.pairwise(record), logs[1:], strict=True)
    ]


def fixed(args, state):
    """Settings that leave one learning rate to search: every trial does the same work."""
    command = [args.binary, "--config", str(args.study / "autoresearch.toml"), "--state", str(state), "check", "--json"]
    names = [axis["name"] for axis in json.loads(subprocess.check_output(command))["space"]["searched"]]
    rates = [name for name in names if name.endswith("_LR")]
    return {f"search.space.{json.dumps(name)}": "fixed" for name in names if name != rates[0]}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--binary", default="bin/autoresearchd")
    p.add_argument("--study", type=Path, required=True)
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("--trials", type=int, default=4)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--devices", default="cpu")
    p.add_argument("--keep", type=Path)
    p.add_argument("--set", action="append", default=[])
    p.add_argument("--below", type=float, default=float("inf"))
    args = p.parse_args()
    args.binary, args.study = os.path.abspath(args.binary), args.study.absolute()
    args.given = dict(pair.split("=", 1) for pair in args.set)

    binary = hashlib.sha256(Path(args.binary).read_bytes()).hexdigest()
    asked = [args.steps, args.trials, args.rounds, args.devices, args.given, binary]
    rounds = []
    if args.keep and args.keep.exists():
        was, *kept = [json.loads(line) for line in args.keep.read_text().splitlines()]
        rounds = kept if was == json.loads(json.dumps(asked)) else []
    if args.keep and not rounds:
        args.keep.write_text(json.dumps(asked) + "\n")

    python = args.study / "workspace/.venv/bin/python"
    env = {**os.environ, "AUTORESEARCH_CACHE": str(args.study / "cache")}
    if args.devices == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        workspace, alone = scratch / "workspace", scratch / "alone"
        subprocess.run(["git", "clone", "-q", args.study / "workspace", workspace], check=True)
        subprocess.run(["git", "clone", "-q", args.study / "workspace", alone], check=True)
        prepare = (alone / "prepare.py").read_text()
        prepare = re.sub(r"(?m)^STEP_BUDGET = [^#\n]*", f"STEP_BUDGET = {args.steps} ", prepare)
        (alone / "prepare.py").write_text(prepare)
        settings = {
            "study.workspace": str(workspace),
            "study.cache": str(args.study / "cache"),
            "trial.python": str(python),
            "trial.devices": args.devices,
            "trial.budget": f"{args.steps} steps",
            **{f"watchdog.{phase}": "30m" for phase in ("startup", "compile", "stall", "evaluate", "exit")},
            "watchdog.total": "2h",
            "judge.rule": "greedy",
            "search.strategy": "random",
            "http.listen": "",
            **fixed(args, scratch / "none"),
            **args.given,
        }
        plain(args, python, alone, env)  # fills the caches of files and of compilers
        for n in range(len(rounds), args.rounds):
            times = {}
            for side in ("daemon", "plain") if n % 2 == 0 else ("plain", "daemon"):
                if side == "daemon":
                    state = scratch / f"state{n}"
                    times[side] = daemon(args, workspace, state, {**settings, "study.tag": f"round{n}"})
                else:
                    times[side] = sum((plain(args, python, alone, env) for _ in range(args.trials)), [])
            rounds.append(times)
            if args.keep:
                with args.keep.open("a") as f:
                    f.write(json.dumps(times) + "\n")
            words = [f"{side} " + " ".join(f"{s:.1f}" for s in times[side]) for side in ("plain", "daemon")]
            print(f"round {n + 1}, seconds beside the counted training: " + "; ".join(words), flush=True)
    means = {side: statistics.mean(s for r in rounds for s in r[side]) for side in ("plain", "daemon")}
    errors = {side: statistics.stdev(s for r in rounds for s in r[side]) for side in means}
    many = sum(len(r["plain"]) for r in rounds)
    print(
        f"seconds beside the counted training: python train.py {means['plain']:.2f} (s {errors['plain']:.2f}), "
        f"a trial of the daemon {means['daemon']:.2f} (s {errors['daemon']:.2f}), {many} each: the daemon's own are "
        f"{means['daemon'] - means['plain']:+.2f} s, ratio {means['daemon'] / means['plain']:.3f}"
    )
    if args.keep:
        args.keep.unlink()
    if not means["daemon"] / means["plain"] < args.below:
        sys.exit(1)


if __name__ == "__main__":
    main()
