"""Scrape /metrics beside nvidia-smi, compare, and keep the record.

    scrape.py URL RECORD [--interval SECONDS] [--count N]

Asks URL and nvidia-smi in turn until URL answers no more (or N times), writes
every scrape to RECORD as one OpenMetrics file with timestamps, and says how the
two agree. `promtool tsdb create-blocks-from openmetrics RECORD DIR` makes
blocks of it that Prometheus and Grafana read. Exit status 1: they differ.
"""

import argparse
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

# Of each figure: its metric, nvidia-smi's name for it, nvidia-smi's unit in the
# metric's, how far the two may be apart (a part of the figure, and at least so
# much), and the share of samples in which they must agree. They are read one
# after the other, a moment apart, while a trial allocates and computes.
FIGURES = (
    ("autoresearch_gpu_memory_used_bytes", "memory.used", 2**20, 0.02, 512 * 2**20, 0.9),
    ("autoresearch_gpu_memory_total_bytes", "memory.total", 2**20, 0.0, 2**20, 1.0),
    ("autoresearch_gpu_utilization_ratio", "utilization.gpu", 0.01, 0.0, 0.15, 0.8),
    ("autoresearch_gpu_power_watts", "power.draw", 1.0, 0.15, 25.0, 0.8),
    ("autoresearch_gpu_temperature_celsius", "temperature.gpu", 1.0, 0.0, 3.0, 0.9),
)

SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{((?:[^\"}]|\"(?:\\.|[^\"\\])*\")*)\})? (\S+)")
LABEL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=\"((?:\\.|[^\"\\])*)\"")


def parse(page):
    """Return {family: (lines that begin with #, [(name, labels as text, value as text)])}."""
    families, current = {}, None
    for line in page.splitlines():
        if line.startswith("# EOF") or not line:
            continue
        if line.startswith("#"):
            family = line.split(" ")[2]
            current = families.setdefault(family, ([], []))
            current[0].append(line)
        elif (match := SAMPLE.match(line)) and current:
            current[1].append((match[1], match[2] or "", match[3]))
    return families


def gpu_figures(families):
    """Return {metric: {gpu: value}} of the figures that nvidia-smi has too."""
    out = {}
    for metric, *_ in FIGURES:
        for name, labels, value in families.get(metric, ([], []))[1]:
            gpu = dict(LABEL.findall(labels)).get("gpu", "")
            if name == metric and ":" not in gpu:  # nvidia-smi lists no MIG instances so
                out.setdefault(metric, {})[gpu] = float(value)
    return out


def smi():
    """Return {metric: {gpu: value}} as nvidia-smi has it, in the metrics' units."""
    query = ",".join(["index", *(field for _, field, *_ in FIGURES)])
    text = subprocess.run(
        ["nvidia-smi", "--query-gpu=" + query, "--format=csv,noheader,nounits"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    out = {}
    for line in text.strip().splitlines():
        index, *values = (cell.strip() for cell in line.split(","))
        for (metric, _, unit, *_), value in zip(FIGURES, values, strict=True):
            try:
                out.setdefault(metric, {})[index] = float(value) * unit
            except ValueError:  # [N/A]
                pass
    return out


def compare(pairs):
    """Compare [(ours, nvidia-smi's)] of each moment; return (whether they agree, lines that say so)."""
    agree, lines = True, []
    for metric, field, _, part, least, share in FIGURES:
        known = [(a.get(metric, {}), b.get(metric, {})) for a, b in pairs]
        for gpu in sorted({gpu for _, b in known for gpu in b}):
            both = [(a[gpu], b[gpu]) for a, b in known if gpu in a and gpu in b]
            missing = sum(gpu in b and gpu not in a for a, b in known)
            near = sum(abs(a - b) <= max(least, part * abs(b)) for a, b in both)
            fine = bool(both) and missing <= len(known) // 10 and near >= share * len(both)
            worst = max((abs(a - b) for a, b in both), default=float("nan"))
            agree = agree and fine
            lines.append(
                f"{'agrees' if fine else 'DIFFERS'}: gpu {gpu} {metric} and {field}: "
                f"{near} of {len(both)} samples within bounds, at most {worst:.4g} apart, {missing} missing"
            )
    if not lines:
        agree, lines = False, ["DIFFERS: nvidia-smi lists no GPU"]
    return agree, lines


def openmetrics(scrapes):
    """Return [(time, families)] as one OpenMetrics text: by family, then by metric, then by time."""
    order, heads, samples = [], {}, {}
    for when, families in scrapes:
        for family, (head, rows) in families.items():
            if family not in heads:
                order.append(family)
                heads[family] = head
            for row in rows:
                metric = tuple(kv for kv in LABEL.findall(row[1]) if kv[0] not in ("le", "quantile"))
                samples.setdefault(family, {}).setdefault(metric, []).append((when, row))
    out = []
    for family in order:
        out += heads[family]
        for rows in samples.get(family, {}).values():
            for when, (name, labels, value) in rows:
                out.append(f"{name}{{{labels}}} {value} {when:.3f}" if labels else f"{name} {value} {when:.3f}")
    return "\n".join([*out, "# EOF", ""])


def scrape(url):
    """Return the page, or None when nobody answers."""
    request = urllib.request.Request(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return None


def main():
    """Run the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url")
    arguments.add_argument("record")
    arguments.add_argument("--interval", type=float, default=1.0)
    arguments.add_argument("--count", type=int, default=0)
    a = arguments.parse_args()
    scrapes, pairs = [], []
    while not a.count or len(scrapes) < a.count:
        begin = time.monotonic()
        when, page = time.time(), scrape(a.url)
        if page is None:
            break
        families = parse(page)
        scrapes.append((when, families))
        pairs.append((gpu_figures(families), smi()))
        time.sleep(max(0.0, a.interval - (time.monotonic() - begin)))
    with open(a.record, "w", encoding="utf-8") as f:
        f.write(openmetrics(scrapes))
    agree, lines = compare(pairs)
    print("\n".join([f"{len(scrapes)} scrapes in {a.record}", *lines]))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
