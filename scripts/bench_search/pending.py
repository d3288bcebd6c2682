#!/usr/bin/env python3
"""How many more trials a search needs when several run at once.

  pending.py [--seeds 20] [--marks 50 100 200 400] [--tasks hopper ackley levy rastrigin]
             [--strategies portfolio evolution ...] [--pending 4 16] [--rounds 24 96] [--drawn] [--rules]

For each strategy, number of trials that run at once and N of --marks, or as many
times that number as --rounds says (a night has about 96 trials a seat): the
trials that it takes to come down to the mean normalised regret which one at a
time has after N, as a ratio; 1.05 is five per cent more trials. A ratio is the
geometric mean over the tasks and over five levels, those of 0.8 N to N trials,
with its standard error by a bootstrap over seeds, of which all settings have
the same. Trials take the same time each, "drawn" ones half to one and a half
of it. What learns nothing, sobol, shows what the measure makes of luck.

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
import statistics
import subprocess
import time

CHUNK = 5
RULES = ("keep", "rebase", "drop")


def name(task, strategy, pending, drawn, rule):
    kind = ("drawn" if drawn else "equal") if pending > 1 else "one"
    return f"{task}-{strategy}-{pending}-{kind}-{rule}"


def marks(args, pending):
    """Returns the numbers of trials one at a time that so many at once are held against."""
    return [rounds * pending for rounds in args.rounds] if args.rounds else args.marks


def length(args, pending):
    """Returns how many trials a study has: with several at once there are more to come down in."""
    if pending == 1:
        return max(max(marks(args, k)) for k in args.pending)
    last = max(marks(args, pending))
    return last + last // 8 + 2 * pending


def play(args, setting, first):
    """Plays the studies of CHUNK seeds, or finds them."""
    task, strategy, pending, drawn, rule = setting
    trials = length(args, pending)
    path = args.out / f"{name(*setting)}-{args.judge}-{trials}-{first}.jsonl"
    if path.exists():
        return [json.loads(line) for line in path.read_text().splitlines()]
    count = min(CHUNK, args.first + args.seeds - first)
    command = [args.binary, "simulate", "--json", "--jobs", "1", "--strategy", strategy, "--task", task]
    command += ["--trials", str(trials), "--seed", str(first), "--seeds", str(count), "--judge", args.judge]
    command += ["--pending", str(pending), "--stale", rule, *(["--drawn"] if drawn else [])]
    if count == 1:
        raise SystemExit("give a number of seeds that leaves no single one over")
    env = dict(os.environ, GOMAXPROCS="1", GOGC="off", GOMEMLIMIT="1GiB")
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
    """Returns the ratio of trials at each of the marks, over tasks, of these seeds."""
    logs = [[] for _ in marks]
    for task in one:
        alone, crowd = curve(one[task], seeds), curve(many[task], seeds)
        for at, mark in zip(logs, marks, strict=True):
            for part in (0.8, 0.85, 0.9, 0.95, 1):
                level = alone[round(part * mark) - 1]
                at.append(math.log(reach(crowd, level) / reach(alone, level)))
    return [math.exp(sum(at) / len(at)) for at in logs]


def errors(one, many, marks, draws=200):
    """Returns the standard errors of the ratios, by a bootstrap over seeds."""
    seeds = sorted(next(iter(one.values())))
    r = random.Random(1)
    values = [more(one, many, r.choices(seeds, k=len(seeds)), marks) for _ in range(draws)]
    return [statistics.stdev(at) for at in zip(*values, strict=True)]


def gather(args, settings):
    """Plays all settings; returns {setting: {seed: regrets}} and the seconds of a proposal."""
    jobs = [(s, first) for first in range(args.first, args.first + args.seeds, CHUNK) for s in settings]
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
    parser.add_argument("--tasks", nargs="+", default=["hopper", "ackley", "levy", "rastrigin"])
    parser.add_argument("--strategies", nargs="+", default=["portfolio"])
    parser.add_argument("--pending", nargs="+", type=int, default=[4, 16])
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--marks", nargs="+", type=int, default=[50, 100, 200, 400])
    parser.add_argument("--rounds", nargs="+", type=int, help="marks, in trials a seat")
    parser.add_argument("--judge", default="greedy")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--drawn", action="store_true")
    parser.add_argument("--rules", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for strategy in args.strategies:
        settings = {}  # what is printed: (pending, drawn, rule)
        for pending in args.pending:
            for rule in RULES if args.rules else RULES[:1]:
                words = f"{pending} at once" + (", drawn" if args.drawn else "") + (f", {rule}" if args.rules else "")
                settings[pending, args.drawn, rule] = words
        every = [(task, strategy, *s) for task in args.tasks for s in [(1, False, "keep"), *settings]]
        studies = gather(args, every)
        one = {task: studies[task, strategy, 1, False, "keep"] for task in args.tasks}
        print(
            f"{strategy} under {args.judge}, {args.seeds} seeds of {', '.join(args.tasks)}: trials, one at a time = 1"
        )
        for setting, words in settings.items():
            at = marks(args, setting[0])
            if args.rounds or setting == next(iter(settings)):
                print(f"  {'':<22}" + "".join(f"{mark:>14}" for mark in at))
            many = {task: studies[(task, strategy, *setting)] for task in args.tasks}
            ratios = more(one, many, sorted(next(iter(one.values()))), at)
            row = (f"{a:>7.2f} ± {b:.2f}" for a, b in zip(ratios, errors(one, many, at), strict=True))
            print(f"  {words:<22}" + " ".join(f"{x:>13}" for x in row), flush=True)
            for t in args.tasks if len(args.tasks) > 1 else []:
                row = more({t: one[t]}, {t: many[t]}, sorted(one[t]), at)
                print(f"    {t:<20}" + "".join(f"{x:>14.2f}" for x in row), flush=True)


if __name__ == "__main__":
    main()
