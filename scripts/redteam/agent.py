"""An agent that proposes what was laid out for it: agent.py FILE…

Each FILE is a whole train.py, named after what it does. The first that history.tsv does not speak of is proposed.
"""

import csv
import pathlib
import sys

with open("history.tsv", newline="") as file:
    tried = {row["description"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
for path in map(pathlib.Path, sys.argv[1:]):
    if path.stem not in tried:
        pathlib.Path("train.py").write_text(path.read_text())
        print(path.stem)
        break
