#!/usr/bin/env python3
"""Sweeps a modelled language model's quality in the portfolio.

  modelled.py [--seeds 100] [--trials 100] [--tasks hopper cpu code] [--qualities 0 0.1 0.25 0.5 0.75 1]

For each task and quality: mean normalised regret at 25, 50 and 100 trials, and
its mean difference to the portfolio without a model on the same seeds, with a
95 % interval of the paired differences. "noise" is the standard deviation of
one measurement on the scale of regret: a difference below it cannot be seen in
a study. "share" is the model's share of the trials.
"""

import argparse
import json
import math
import statistics
import subprocess

MARKS = (25, 50, 100)


def simulate(args, *more):
    command = [args.binary, "simulate", "--strategy", args.strategy, "--judge", args.judge, "--json", *more]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def noise(args, task):
    """Returns the deviation of a measurement in parts of the scale of regret."""
    told = [json.loads(simulate(args, "--task", task, "--seed", str(s), "--describe")) for s in range(1, 6)]
    return statistics.fmean(t["noise"] / (t["middling"] - t["best"]) for t in told)


def studies(args, task, quality):
    """Returns {seed: regrets} of the studies with a model, or without for None."""
    more = [] if quality is None else ["--modelled-llm", str(quality)]
    out = simulate(args, "--task", task, "--seeds", str(args.seeds), "--trials", str(args.trials), *more)
    return {f["seed"]: f for f in map(json.loads, out.splitlines())}


def interval(values):
    half = math.nan
    if len(values) > 1:
        half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), half


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="bin/autoresearchd")
    parser.add_argument("--strategy", default="portfolio")
    parser.add_argument("--judge", default="greedy")
    parser.add_argument("--tasks", nargs="+", default=["hopper", "cpu", "code"])
    parser.add_argument("--qualities", nargs="+", type=float, default=[0, 0.1, 0.25, 0.5, 0.75, 1])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--trials", type=int, default=100)
    args = parser.parse_args()
    marks = [m for m in MARKS if m <= args.trials]
    for task in args.tasks:
        print(f"{task}, {args.seeds} seeds, judge {args.judge}, noise {noise(args, task):.4f}")
        head = "".join(f"{f'{m} trials':>9}  {'difference':<19}" for m in marks)
        print(f"  {'model':<10}{head}{'share':>6}")
        alone = studies(args, task, None)
        for quality in [None, *args.qualities]:
            have = alone if quality is None else studies(args, task, quality)
            row = f"  {'none' if quality is None else f'{quality:g}':<10}"
            for m in marks:
                at = {seed: f["regret"][m - 1] for seed, f in have.items()}
                row += f"{statistics.fmean(at.values()):9.4f}  "
                mean, half = interval([at[s] - alone[s]["regret"][m - 1] for s in at])
                row += f"{'' if quality is None else f'{mean:+.4f} ± {half:.4f}':<19}"
            share = statistics.fmean(f.get("shares", {}).get("llm", 0) for f in have.values())
            print(f"{row}{share:6.2f}", flush=True)
        print()


if __name__ == "__main__":
    main()
