"""Packs the exported trials of recorded studies: one line of JSON a trial, gzipped, to standard output.

    python record_curves.py STUDY…    folders with trials.jsonl, as scripts/record_curves.sh makes them

A line has the study's name, the trial's id, parent, strategy, status and val_bpb (null: none), whether it is
another run of its parent, and "loss", the smoothed training loss that train.py printed after each optimizer step.
"""

import gzip
import json
import pathlib
import sys


def trial(study, record):
    """A line's object; ValueError for a curve that does not have every step."""
    steps = [point["step"] for point in record["curve"]]
    if steps != list(range(len(steps))):
        raise ValueError(f"{study}: the curve of trial {record['id']} leaves out steps")
    return {
        "study": study,
        "id": record["id"],
        "parent": record["parent"],
        "strategy": record["strategy"],
        "status": record["status"],
        "val_bpb": record["val_bpb"],
        "again": record["strategy"] == "confirm",
        "loss": [round(point["loss"], 4) for point in record["curve"]],
    }


def main():
    lines = []
    for folder in map(pathlib.Path, sys.argv[1:]):
        for line in (folder / "trials.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["status"] != "interrupted":
                lines.append(json.dumps(trial(folder.name, record), separators=(",", ":")))
    sys.stdout.buffer.write(gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0))


if __name__ == "__main__":
    main()
