#!/usr/bin/env python3
"""Compares the search strategies with Optuna's samplers, side by side in one run.

  bench.py --out DIR [--methods …] [--tasks …] [--seeds 30] [--trials 100] [--jobs 2]
  bench.py --out DIR --report

--tasks surrogates: networks fitted to trainings of LCBench and XGBoost, which
need YAHPO, see tasks.Surrogate.

Every study is a line of JSON in DIR/<method>.jsonl, so that a run that was
stopped goes on. Ours run as `autoresearchd simulate --space … --exec …`, in the
loop that the daemon has; Optuna's run by ask and tell in this process. Both
begin with the same start as trial 1, and are scored by the value without noise
of the point that looked best so far.
"""

import argparse
import concurrent.futures
import functools
import json
import math
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import tasks

OURS = ["random", "sobol", "evolution", "tpe", "cmaes", "gp", "portfolio"]
OPTUNA = ["optuna-random", "optuna-tpe", "optuna-cmaes", "optuna-gp"]
SLOW = {"optuna-gp": (["HPOLib/naval_propulsion", "NASBench201/cifar10", "function/rosenbrock", "built-in/hopper"], 5)}
MARKS = (25, 50, 100)


@functools.cache
def load(name, binary):
    return tasks.load(name, binary)


def serve(task, orders, answers):
    """Is the objective behind simulate --exec: a line in, a line out."""
    with open(orders) as lines, open(answers, "w", buffering=1) as out:
        for line in lines:
            order = json.loads(line)
            value = task.evaluate(order["constants"], random.Random(order["seed"]))
            answer = {"id": order["id"], "value": value}
            if isinstance(value, str):
                answer = {"id": order["id"], "status": value}
            print(json.dumps(answer), file=out)


def ours(method, task, seed, args):
    """Returns [(constants, observed value or None, seconds of asking)] of one study.

    The objective stays in this process, which has loaded the task: what
    simulate starts only hands the lines over, through two pipes with names.
    """
    with tempfile.TemporaryDirectory() as folder:
        space, orders, answers = (f"{folder}/{name}" for name in ("space.json", "orders", "answers"))
        Path(space).write_text(json.dumps(task.space))
        os.mkfifo(orders)
        os.mkfifo(answers)
        threading.Thread(target=serve, args=(task, orders, answers), daemon=True).start()
        relay = f"exec 3<&0; cat <&3 >{orders} & exec cat {answers}"
        command = [args.binary, "simulate", "--strategy", method, "--trials", str(args.trials), "--seed", str(seed)]
        command += ["--space", space, "--exec", shlex.join(["sh", "-c", relay]), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr[-500:]}")
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        (t["constants"], t["value"] if t["status"] == "completed" else None, t.get("ask_seconds", 0)) for t in trials
    ]


def sampler(method, seed):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore")
    return {
        "optuna-random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "optuna-tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
        "optuna-cmaes": lambda: optuna.samplers.CmaEsSampler(seed=seed, with_margin=True),
        "optuna-gp": lambda: optuna.samplers.GPSampler(seed=seed, deterministic_objective=False),
    }[method]()


def suggest(trial, name, axis):
    """An axis as Optuna likes it: numbers with an order are given one."""
    if "choices" in axis:
        if all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in axis["choices"]):
            return axis["choices"][trial.suggest_int(name, 0, len(axis["choices"]) - 1)]
        return trial.suggest_categorical(name, axis["choices"])
    if axis.get("integer"):
        return trial.suggest_int(name, axis["low"], axis["high"], log=axis.get("log", False))
    return trial.suggest_float(name, axis["low"], axis["high"], log=axis.get("log", False))


def started(space):
    """The start in Optuna's own coordinates."""
    point = {}
    for name, axis in space.items():
        point[name] = axis["start"]
        if "choices" in axis and not isinstance(axis["start"], str) and not isinstance(axis["start"], bool):
            point[name] = axis["choices"].index(axis["start"])
    return point


def optunas(method, task, seed, args):
    """The same as ours, by Optuna."""
    import optuna

    study = optuna.create_study(direction="minimize", sampler=sampler(method, seed))
    study.enqueue_trial(started(task.space))
    rng = random.Random(seed * 1000003 + 7)
    out = []
    for _ in range(args.trials):
        begin = time.perf_counter()
        trial = study.ask()
        constants = {name: suggest(trial, name, axis) for name, axis in task.space.items()}
        seconds = time.perf_counter() - begin
        value = task.evaluate(constants, rng)
        if isinstance(value, str):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            value = None
        else:
            study.tell(trial, value)
        out.append((constants, value, seconds))
    return out


def run(job):
    method, name, seed, args = job
    task = load(name, args.binary)
    trials = (optunas if method.startswith("optuna-") else ours)(method, task, seed, args)
    best, regret, curve = math.inf, 1.0, []
    for constants, value, _ in trials:
        if value is not None and value < best:
            best = value
            regret = min((task.true(constants) - task.best) / (task.middling - task.best), 1.0)
        curve.append(round(regret, 6))
    asks = sorted(seconds for _, _, seconds in trials)
    failed = sum(value is None for _, value, _ in trials)
    return {
        "method": method,
        "task": name,
        "seed": seed,
        "regret": curve,
        "failed": failed,
        "ask": asks[len(asks) // 2],
    }


def read(out):
    rows = []
    for file in sorted(Path(out).glob("*.jsonl")):
        for line in file.read_text().splitlines():
            rows.append(json.loads(line))
    return rows


def interval(means):
    """Mean and half of its 95 % interval over seeds."""
    if len(means) < 2:
        return (means[0] if means else math.nan), math.nan
    return statistics.mean(means), 1.96 * statistics.stdev(means) / math.sqrt(len(means))


def report(out):
    """Prints mean normalised regret by family, over the tasks and seeds that all methods of a block have in common."""
    rows = read(out)
    methods = [m for m in OURS + OPTUNA if any(r["method"] == m for r in rows)]
    blocks = [("all but the slow", [m for m in methods if m not in SLOW])]
    blocks += [(f"where {m} ran", methods) for m in methods if m in SLOW]
    for title, members in blocks:
        common = None
        for m in members:
            have = {(r["task"], r["seed"]) for r in rows if r["method"] == m}
            common = have if common is None else common & have
        if not common:
            continue
        names = sorted({task for task, _ in common})
        print(f"\n{title}: {len(names)} tasks, {len(common)} studies of each method")
        print(f"{'method':15s} " + " ".join(f"{'trial ' + str(m):>17s}" for m in MARKS) + "   failed  ask ms")
        for m in members:
            mine = [r for r in rows if r["method"] == m and (r["task"], r["seed"]) in common]
            cells = []
            for mark in MARKS:
                by_seed = {}
                for r in mine:
                    by_seed.setdefault(r["seed"], []).append(r["regret"][min(mark, len(r["regret"])) - 1])
                mean, half = interval([statistics.mean(v) for v in by_seed.values()])
                cells.append(f"{mean:8.4f} ±{half:7.4f}")
            failed = statistics.mean(r["failed"] / len(r["regret"]) for r in mine)
            ask = statistics.median(r["ask"] for r in mine) * 1000
            print(f"{m:15s} " + " ".join(cells) + f"  {failed:6.1%}  {ask:6.2f}")
        print("by family at the last mark:")
        families = sorted({n.split("/")[0] for n in names})
        print(f"{'method':15s} " + " ".join(f"{f:>12s}" for f in families))
        for m in members:
            mine = [r for r in rows if r["method"] == m and (r["task"], r["seed"]) in common]
            cells = [statistics.mean(r["regret"][-1] for r in mine if r["task"].startswith(f + "/")) for f in families]
            print(f"{m:15s} " + " ".join(f"{c:12.4f}" for c in cells))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--binary", default="bin/autoresearchd")
    p.add_argument("--out")
    p.add_argument("--methods", nargs="+", default=OURS + OPTUNA)
    p.add_argument("--tasks", nargs="+", default=tasks.NAMES)
    p.add_argument("--seeds", type=int, default=30)
    p.add_argument("--trials", type=int, default=100)
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    p.add_argument("--report", action="store_true")
    args = p.parse_args()
    args.binary = os.path.abspath(args.binary)
    if args.tasks == ["surrogates"]:
        args.tasks = tasks.SURROGATES
    if not args.report:
        Path(args.out).mkdir(parents=True, exist_ok=True)
        there = {(r["method"], r["task"], r["seed"]) for r in read(args.out)}
        todo = []
        for seed in range(1, args.seeds + 1):  # seed by seed, so that a part of a run is already balanced
            for name in args.tasks:
                for method in args.methods:
                    slow = SLOW.get(method)
                    if slow and (name not in slow[0] or seed > slow[1]):
                        continue
                    if (method, name, seed) not in there:
                        todo.append((method, name, seed, args))
        with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
            for n, row in enumerate(pool.map(run, todo), 1):
                with open(Path(args.out) / f"{row['method']}.jsonl", "a") as file:
                    file.write(json.dumps(row) + "\n")
                print(
                    f"{n}/{len(todo)} {row['method']} {row['task']} seed {row['seed']}: {row['regret'][-1]:.4f}",
                    flush=True,
                )
    return report(args.out)


if __name__ == "__main__":
    sys.exit(main())
