#!/usr/bin/env python3
"""What a study's record says of its speed.

  rate.py BINARY STATE [STATE…]     trials an hour of each, and their ratios to the first's

A trial counts from the end of the first one on, which all seats but one wait
for, to the end of the last.
"""

import json
import re
import subprocess
import sys
from datetime import datetime


def trials(binary, state):
    """The finished trials of a state directory, in the order of their ends (s since the epoch)."""
    record = json.loads(subprocess.check_output([binary, "--state", state, "trials", "--runs", "--json"]))
    for trial in record:
        begun = re.sub(r"(\.\d{6})\d+", r"\1", trial["started_at"]).replace("Z", "+00:00")
        trial["ended"] = datetime.fromisoformat(begun).timestamp() + trial["wall_seconds"]
    return sorted(record, key=lambda trial: trial["ended"])


def rate(record):
    """Trials an hour. All of them must have a score: a crash takes no time."""
    failed = [trial["id"] for trial in record if trial["status"] != "completed"]
    if failed or len(record) < 3:
        sys.exit(f"of {len(record)} trials, {failed} have no score: no rate can be told")
    return 3600 * (len(record) - 1) / (record[-1]["ended"] - record[0]["ended"])


def main():
    binary, first, *states = sys.argv[1:]
    one = rate(trials(binary, first))
    print(f"{one:.1f} trials an hour in {first}")
    for state in states:
        several = rate(trials(binary, state))
        print(f"{several:.1f} in {state}: {several / one:.3f} times as many")


if __name__ == "__main__":
    main()
