#!/usr/bin/env python3
"""A scripted agent: it does what the agent strategy asks of a coding agent, without a model.

It turns one number at the top of train.py up or down by a quarter, one that
history.tsv does not show to have been tried.
"""

import csv
import re
from pathlib import Path

source = Path("train.py").read_text()
with open("history.tsv", newline="") as file:
    tried = {row["changed"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}

for name, text in re.findall(r"^([A-Z][A-Z0-9_]*) = (\d+\.\d+)", source, re.M):
    for factor, verb in ((0.75, "lower"), (1.25, "raise")):
        value = float(f"{float(text) * factor:.3g}")
        if value == float(text) or f"{name}={value}" in tried:
            continue
        Path("train.py").write_text(source.replace(f"{name} = {text}", f"{name} = {value}", 1))
        print(f"{verb} {name} to {value}, as nobody has tried it")
        raise SystemExit
print("every number has been tried")
