#!/usr/bin/env python3
"""Seconds beside the counted training, under the daemon and as `python train.py`.

    overhead.py plain RESULTS NAME RUNS WORKSPACE CONSTANT START STEP    runs train.py, each time with another value
    overhead.py report RESULTS NAME STATE                                compares, once the study in STATE has run
    overhead.py pairs ALONE BESIDE                                       the same trials twice, once with standbys
    overhead.py compare LEAST ONE OTHER                                  the same trials twice, tokens a second

RESULTS is a file of JSON lines that is added to: what stands in it is not run again. A plain run's overhead is its wall
time less what it says that it trained. A trial's is the time from the end of the one before it to its own, less its
counted training: what the daemon adds or hides is in it.
"""

import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path


def kept(results, name):
    lines = Path(results).read_text().splitlines() if os.path.exists(results) else []
    return [r for r in map(json.loads, lines) if r["name"] == name]


def plain(results, name, runs, workspace, constant, start, step):
    for run in range(len(kept(results, name)), int(runs)):
        value = float(start) + run * float(step)
        source = Path(workspace, "train.py")
        text, count = re.subn(rf"(?m)^{constant} = [^#\n]*", f"{constant} = {value:.6g}  ", source.read_text())
        assert count == 1, f"{constant} is set {count} times"
        source.write_text(text)
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "train.py"], cwd=workspace, capture_output=True, text=True, check=False)
        wall = time.monotonic() - begun
        trained = re.search(r"(?m)^training_seconds: +(\S+)", done.stdout)
        if done.returncode or not trained:
            sys.exit(
                f"{name}: python train.py ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        result = {"name": name, "overhead": wall - float(trained[1]), "wall": wall}
        with open(results, "a", encoding="utf-8") as f:
            f.write(json.dumps(result) + "\n")
        print(f"{name} python run {run + 1}: {result['overhead']:.1f} s beside {trained[1]} s", flush=True)


def runs_of(state):
    command = ["bin/autoresearchd", "--state", state, "trials", "--runs", "--json"]
    runs = sorted(json.loads(subprocess.check_output(command)), key=lambda r: r["id"])
    for run in runs:
        began = datetime.datetime.fromisoformat(run["started_at"])
        run["end"] = (began + datetime.timedelta(seconds=run["wall_seconds"])).timestamp()
    return runs


def show(run):
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in run["phases"].items())
    print(f"  trial {run['id']} {run['status']} {run['val_bpb']}: {phases}; gate {json.dumps(run.get('gate'))}")


def report(results, name, state):
    """Exit 1 unless at least four trials after the first two were scored, and cost less than python."""
    runs = runs_of(state)
    beside = []
    for before, run in zip(runs, runs[1:], strict=False):
        show(run)
        if run["status"] == "completed":
            beside.append(run["end"] - before["end"] - run["training_seconds"])
    # The second trial began without a standby: the first had entered training before the daemon knew its imports.
    settled, python = beside[1:], [r["overhead"] for r in kept(results, name)]
    print(f"{name}: between ends of trials {', '.join(f'{s:.1f}' for s in beside)} s", end="; ")
    print(f"python train.py {', '.join(f'{s:.1f}' for s in python)} s (the first with cold caches)")
    if len(settled) < 4 or len(python) < 2:
        print(f"{name}: {len(settled)} settled trials and {len(python)} plain runs are too few")
        sys.exit(1)
    ours, theirs = statistics.median(settled), statistics.median(python[1:])
    duty = [300 / (300 + s) for s in (ours, theirs)]
    print(f"{name}: median {ours:.1f} s against {theirs:.1f} s; duty at 300 s {duty[0]:.3f} against {duty[1]:.3f}")
    limit = float(os.environ.get("AT_MOST", "inf"))
    if ours > min(theirs, limit):
        sys.exit(1)


def pairs(alone, beside):
    """Exit 1 where training beside a standby is slower than 0.995 of training alone, or a gate opened too early."""
    alone, beside = runs_of(alone), runs_of(beside)
    speeds, differences, early = {"alone": [], "beside": []}, [], 0
    for a, b in zip(alone, beside, strict=False):
        for name, run in (("alone", a), ("beside", b)):
            speeds[name].append(run["tokens"] / run["training_seconds"])
        differences.append(b["val_bpb"] - a["val_bpb"])
        gate = b.get("gate")
        early += bool(gate and gate.get("scored") and gate["opened"] < gate["scored"])
        print(
            f"trial {a['id']}: {speeds['alone'][-1]:,.0f} and {speeds['beside'][-1]:,.0f} tokens a counted second",
            end="; ",
        )
        print(f"val_bpb {a['val_bpb']:.6f} and {b['val_bpb']:.6f}; gate {json.dumps(gate)}")
    # By turns two trials each: beside the first of the two a standby gets ready.
    ratio = statistics.median(b / a for a, b in list(zip(*speeds.values(), strict=True))[::2])
    spread = statistics.stdev(r["val_bpb"] for r in alone)
    print(f"beside a standby / alone, tokens a second: {ratio:.4f}")
    print(
        f"val_bpb with overlap less without: {statistics.mean(differences):+.6f}; deviation of the trials {spread:.6f}"
    )
    if ratio < 0.995 or early:
        sys.exit(1)


def compare(least, one, other):
    """Exit 1 where the other study does not score, or trains at less than LEAST of the speed of the first."""
    ratios, walls = [], []
    for a, b in zip(runs_of(one), runs_of(other), strict=True):
        speeds = [run["tokens"] / run["training_seconds"] if run["training_seconds"] else 0 for run in (a, b)]
        ratios.append(speeds[1] / speeds[0])
        walls.append([run["wall_seconds"] - run["training_seconds"] for run in (a, b)])
        phases = [{name: round(seconds, 1) for name, seconds in run["phases"].items()} for run in (a, b)]
        print(
            f"trial {a['id']}: {speeds[0]:,.0f} and {speeds[1]:,.0f} tokens a counted second; {b['status']}", end="; "
        )
        print(f"val_bpb {a['val_bpb']:.6f} and {b['val_bpb']:.6f}; phases {phases[0]} and {phases[1]}")
    print(f"other / one, tokens a second: {statistics.median(ratios):.4f} (each {[round(r, 4) for r in ratios]})")
    print(f"seconds beside the counted ones: {[[round(w, 1) for w in pair] for pair in walls]}")
    scored = ratios and all(run["status"] == "completed" for run in runs_of(other))
    if not scored or statistics.median(ratios) < float(least):
        sys.exit(1)


if __name__ == "__main__":
    {"plain": plain, "report": report, "pairs": pairs, "compare": compare}[sys.argv[1]](*sys.argv[2:])
