#!/usr/bin/env python3
"""Times how long strategies and Optuna's samplers take to propose, side by side.

  ask.py [--binary bin/autoresearchd] [--history 1000] [--asks 60] [--slow-asks 5] [--only …]

On the synthetic task with upstream's 15 constants (16 dimensions, since one is a
pair). Each has a study of its own; measured are the asks after so many trials,
by the wall clock: of ours the strategy's Ask, of Optuna's samplers ask and the
suggestions of a trial. Optuna's GP would take hours to come so far: it is asked
for a few trials after a history of random ones.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench
import tasks

TASK = "hopper"
# Ours, its namesake at Optuna, and the most milliseconds that it may take.
ROWS = [
    ("random", "optuna-random", 10),
    ("sobol", None, 10),
    ("evolution", None, 10),
    ("tpe", "optuna-tpe", 10),
    ("cmaes", "optuna-cmaes", 10),
    ("gp", "optuna-gp", 250),
    ("portfolio", None, None),
]


def ours(args, strategy):
    """Returns the seconds of the asks after the history."""
    command = [args.binary, "simulate", "--task", TASK, "--strategy", strategy, "--json"]
    command += ["--trials", str(args.history + args.asks)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line)["ask_seconds"] for line in out.splitlines()][args.history :]


def optunas(args, method):
    import optuna

    task = tasks.load(f"built-in/{TASK}", args.binary)
    slow = method == "optuna-gp"
    study = optuna.create_study(sampler=bench.sampler("optuna-random" if slow else method, 1))
    study.enqueue_trial(bench.started(task.space))
    rng = random.Random(1)
    seconds = []
    for n in range(args.history + (args.slow_asks if slow else args.asks)):
        if slow and n == args.history:
            study.sampler = bench.sampler(method, 1)
        begin = time.perf_counter()
        trial = study.ask()
        constants = {name: bench.suggest(trial, name, axis) for name, axis in task.space.items()}
        seconds.append(time.perf_counter() - begin)
        value = task.evaluate(constants, rng)
        if isinstance(value, str):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
    return seconds[args.history :]


def summary(seconds):
    """Returns the median and the 95th percentile, milliseconds."""
    ordered = sorted(1000 * s for s in seconds)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="bin/autoresearchd")
    parser.add_argument("--history", type=int, default=1000)
    parser.add_argument("--asks", type=int, default=60)
    parser.add_argument("--slow-asks", type=int, default=5, help="of Optuna's GP")
    parser.add_argument("--only", nargs="*", help="of our strategies")
    args = parser.parse_args()
    args.binary = os.path.abspath(args.binary)
    load = f"load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores"
    print(f"milliseconds for a proposal after {args.history} trials; {load}")
    print(f"{'strategy':<11}{'median':>9}{'p95':>9}{'goal':>7}   {'Optuna':<15}{'median':>10}{'p95':>10}{'ratio':>8}")
    for strategy, namesake, goal in ROWS:
        if args.only and strategy not in args.only:
            continue
        mine, late = summary(ours(args, strategy))
        row = f"{strategy:<11}{mine:9.2f}{late:9.2f}{goal or '':>7}   "
        if namesake:
            theirs, their_late = summary(optunas(args, namesake))
            row += f"{namesake:<15}{theirs:10.2f}{their_late:10.2f}{mine / theirs:8.3f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
