#!/usr/bin/env python3
"""How many more trials a search needs when several run at once.

  pending.py [--seeds 20] [--trials 130] [--tasks hopper cpu ackley levy]
             [--strategies portfolio evolution ...] [--pending 4 16] [--rules]

For each strategy and number of trials that run at once: the trials that it
takes to come down to the mean normalised regret which one at a time has after
50 to 100 trials (those of the study's half to the whole, where it has fewer),
as a ratio, averaged over these and geometrically over the tasks; with the 90 %
interval of a bootstrap over seeds, of which all settings have the same.
"equal" trials all take the same time, "drawn" ones half to one and a half of
it. 1.05 is five per cent more trials.

--rules instead compares what becomes of trials that had begun when another
became the champion: kept, re-based onto it, or dropped for a new proposal, as
if that took no time. Two at once is what one seat has that begins the next
trial while one is evaluated.

Studies are kept under --out, a file for five seeds, so that a run goes on where
it was stopped.
"""

import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import random
import subprocess
import time

CHUNK = 5
RULES = ("keep", "rebase", "drop")


def name(task, strategy, pending, drawn, rule):
    kind = ("drawn" if drawn else "equal") if pending > 1 else "one"
    return f"{task}-{strategy}-{pending}-{kind}-{rule}"


def play(args, setting, first):
    """Plays the studies of CHUNK seeds, or finds them."""
    task, strategy, pending, drawn, rule = setting
    path = args.out / f"{name(*setting)}-{args.trials}-{first}.jsonl"
    if path.exists():
        return [json.loads(line) for line in path.read_text().splitlines()]
    count = min(CHUNK, args.seeds - first + 1)
    command = [args.binary, "simulate", "--json", "--jobs", "1", "--strategy", strategy, "--task", task]
    command += ["--trials", str(args.trials), "--seed", str(first), "--seeds", str(count)]
    command += ["--pending", str(pending), "--stale", rule, *(["--drawn"] if drawn else [])]
    if count == 1:
        raise SystemExit("give a number of seeds that leaves no single one over")
    env = dict(os.environ, GOMAXPROCS="1")
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(out)
    if count == CHUNK:
        part.rename(path)
    else:
        part.unlink()
    return [json.loads(line) for line in out.splitlines()]


def curve(studies, seeds):
    """Returns the mean regret after each trial, of these seeds (with repeats)."""
    trials = len(next(iter(studies.values())))
    return [sum(studies[s][t] for s in seeds) / len(seeds) for t in range(trials)]


def reach(regrets, level):
    """Returns after how many trials a falling curve is at a level, in parts of one."""
    for t, now in enumerate(regrets):
        if now <= level:
            before = regrets[t - 1] if t else now
            if not before > now or level <= 0:
                return t + 1.0
            return t + (before - level) / (before - now)
    # Beyond the end it is believed to fall on as it did in the last quarter.
    n = len(regrets)
    a, b = regrets[n * 3 // 4 - 1], regrets[-1]
    if not 0 < b < a or level <= 0:
        return 2.0 * n
    slope = (math.log(a) - math.log(b)) / (math.log(n) - math.log(n * 3 // 4))
    return n * math.exp(min(math.log(2), (math.log(b) - math.log(level)) / slope))


def more(one, many, seeds, marks):
    """Returns the ratio of trials, over tasks, of these seeds."""
    logs = []
    for task in one:
        alone, crowd = curve(one[task], seeds), curve(many[task], seeds)
        logs += [math.log(reach(crowd, alone[m - 1]) / reach(alone, alone[m - 1])) for m in marks]
    return math.exp(sum(logs) / len(logs))


def interval(one, many, marks, draws=400):
    seeds = sorted(next(iter(one.values())))
    r = random.Random(1)
    values = sorted(more(one, many, r.choices(seeds, k=len(seeds)), marks) for _ in range(draws))
    return more(one, many, seeds, marks), values[draws // 20], values[-draws // 20]


def gather(args, settings):
    """Plays all settings; returns {setting: {seed: regrets}} and the seconds of a proposal."""
    jobs = [(s, first) for first in range(1, args.seeds + 1, CHUNK) for s in settings]
    studies, begin, said = {s: {} for s in settings}, time.monotonic(), 0.0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = {pool.submit(play, args, *job): job for job in jobs}
        for n, future in enumerate(concurrent.futures.as_completed(futures), 1):
            for f in future.result():
                studies[futures[future][0]][f["seed"]] = f["regret"]
            if time.monotonic() - said > 30:
                said = time.monotonic()
                print(f"  {n} of {len(jobs)} parts, {said - begin:.0f} s", flush=True)
    return studies


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="bin/autoresearchd")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(".build/bench_pending"))
    parser.add_argument("--tasks", nargs="+", default=["hopper", "cpu", "ackley", "levy"])
    parser.add_argument("--strategies", nargs="+", default=["portfolio"])
    parser.add_argument("--pending", nargs="+", type=int, default=[4, 16])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=130)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--equal", action="store_true", help="no drawn durations")
    parser.add_argument("--rules", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    last = min(100, args.trials)
    marks = range(last // 2, last + 1, max(1, last // 10))
    for strategy in args.strategies:
        settings = {}  # what is printed: (pending, drawn, rule)
        if args.rules:
            for pending in args.pending:
                for rule in RULES:
                    settings[pending, True, rule] = f"{pending} at once, {rule}"
        else:
            for pending in args.pending:
                for drawn in (False,) if args.equal else (False, True):
                    settings[pending, drawn, "keep"] = f"{pending} at once, {'drawn' if drawn else 'equal'}"
        every = [(task, strategy, *s) for task in args.tasks for s in [(1, False, "keep"), *settings]]
        studies = gather(args, every)
        one = {task: studies[task, strategy, 1, False, "keep"] for task in args.tasks}
        print(
            f"{strategy}, {args.seeds} seeds of {', '.join(args.tasks)}: trials for the same regret, one at a time = 1"
        )
        for setting, words in settings.items():
            many = {task: studies[(task, strategy, *setting)] for task in args.tasks}
            ratio, low, high = interval(one, many, marks)
            each = "  ".join(f"{t} {more({t: one[t]}, {t: many[t]}, sorted(one[t]), marks):.2f}" for t in args.tasks)
            print(f"  {words:<20} {ratio:.3f}  [{low:.3f}, {high:.3f}]   {each}", flush=True)


if __name__ == "__main__":
    main()
