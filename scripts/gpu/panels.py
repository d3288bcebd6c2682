"""Draw panels of the Grafana dashboard over a record of scrapes.

    panels.py RECORD PICTURE.png --prometheus DIR [--dashboard FILE] [--panels TITLE …]

RECORD is what scrape.py left (OpenMetrics with timestamps). It is made into
blocks by DIR/promtool and served by DIR/prometheus on loopback; each panel's
own queries are asked there, variables filled in, and drawn over the record's
time, so that the picture shows what Grafana would.
"""

import argparse
import json
import math
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

PANELS = [
    "Phases",
    "Training loss",
    "Best so far",
    "GPU memory",
    "GPU use",
    "GPU power and temperature",
    "Throughput and MFU",
    "Score of every candidate",
    "Tokens",
]
LABELS = 'job="autoresearchd",instance="h200"'
SAMPLE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (\S+ [0-9.]+)$")


def labelled(text):
    """Return the record with the labels that Prometheus gives to what it scrapes, and its first and last time."""
    out, times = [], []
    for line in text.splitlines():
        if match := SAMPLE.match(line):
            name, labels, value = match.groups()
            line = f"{name}{{{LABELS},{labels}}} {value}" if labels else f"{name}{{{LABELS}}} {value}"
            times.append(float(value.split(" ")[1]))
        out.append(line)
    return "\n".join([*out, ""]), min(times), max(times)


def free_port():
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(base, query, start, end, step):
    """Return [(labels, times in seconds from start, values)] of a range query."""
    asked = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{base}/api/v1/query_range?{asked}", timeout=30) as answer:
        result = json.load(answer)["data"]["result"]
    return [
        (series["metric"], [t - start for t, _ in series["values"]], [float(v) for _, v in series["values"]])
        for series in result
    ]


def broken(seconds, values):
    """Return a series with a gap where it had no value for more than two seconds."""
    out_seconds, out_values = [], []
    for t, v in zip(seconds, values, strict=True):
        if out_seconds and t - out_seconds[-1] > 2:
            out_seconds.append(t)
            out_values.append(math.nan)
        out_seconds.append(t)
        out_values.append(v)
    return out_seconds, out_values


def unit(name):
    """Return how a panel's numbers are written."""
    if name == "bytes":
        return lambda v, _: f"{v / 2**30:.0f} GiB"
    if name == "percentunit":
        return lambda v, _: f"{v:.0%}"
    if name == "watt":
        return lambda v, _: f"{v:.0f} W"
    return lambda v, _: f"{v / 1e6:.4g} M" if abs(v) >= 1e5 else f"{v:.5g}"


def draw(axis, panel, base, start, end):
    """Draw one panel; return how many of its series have data."""
    drawn = 0
    defaults = panel["fieldConfig"]["defaults"]
    alone = axis
    for number, target in enumerate(panel["targets"]):
        query = target["expr"]
        for name, value in (
            ("$instance", ".*"),
            ("$seat", ".*"),
            ("$gpu", ".*"),
            ("$__rate_interval", "10s"),
            ("$__interval", "1s"),
        ):
            query = query.replace(name, value)
        series = ask(base, query, start, end, 1)
        # Two quantities on one panel, as tokens/s and MFU, have an axis each.
        legend = target.get("legendFormat", "")
        apart = number and any(word in legend for word in ("MFU", "temperature"))
        if apart and series:
            axis = alone.twinx()
            axis.tick_params(labelsize=7)
        for labels, seconds, values in series:
            label = re.sub(r"\{\{(\w+)\}\}", lambda m, have=labels: have.get(m[1], ""), legend)
            label = label.replace("h200", "").strip()
            marks = panel["title"] == "Score of every candidate"
            style = {"linestyle": "", "marker": "o", "markersize": 4} if marks else {"linewidth": 1.1}
            if apart:
                style["color"] = "tab:orange"
            if not marks:
                seconds, values = broken(seconds, values)
            axis.plot([s / 60 for s in seconds], values, label=label or None, **style)
            drawn += 1
    alone.set_title(panel["title"], fontsize=9, loc="left")
    alone.yaxis.set_major_formatter(FuncFormatter(unit(defaults.get("unit", ""))))
    alone.tick_params(labelsize=7)
    alone.grid(alpha=0.25, linewidth=0.5)
    alone.set_xlim(0, (end - start) / 60)
    lines = [line for a in {alone, axis} for line in a.get_lines() if not line.get_label().startswith("_")]
    if lines:
        alone.legend(lines, [line.get_label() for line in lines], fontsize=6, frameon=False, loc="best")
    return drawn


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record")
    parser.add_argument("picture")
    parser.add_argument("--prometheus", required=True, help="folder of promtool and prometheus")
    parser.add_argument("--dashboard", default="configs/grafana/dashboards/autoresearchd.json")
    parser.add_argument("--panels", nargs="+", default=PANELS)
    a = parser.parse_args()
    panels = {p["title"]: p for p in json.loads(Path(a.dashboard).read_text())["panels"]}
    missing = [title for title in a.panels if title not in panels]
    if missing:
        sys.exit(f"{a.dashboard} has no panel {', '.join(missing)}: it has {', '.join(panels)}")
    text, start, end = labelled(Path(a.record).read_text())
    with tempfile.TemporaryDirectory() as scratch:
        record, data = f"{scratch}/record.om", f"{scratch}/data"
        Path(record).write_text(text)
        Path(f"{scratch}/prometheus.yml").write_text("global: {}\n")
        make = [f"{a.prometheus}/promtool", "tsdb", "create-blocks-from", "openmetrics", record, data]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        command = [f"{a.prometheus}/prometheus", f"--config.file={scratch}/prometheus.yml"]
        command += [f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}"]
        command += ["--storage.tsdb.retention.time=100y", "--log.level=error"]
        # The record has no marks for series that ended: what was not there a moment ago is gone.
        command += ["--query.lookback-delta=2s"]
        server = subprocess.Popen(command)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"{base}/-/ready", timeout=5).close()
                    break
                except (urllib.error.URLError, ConnectionError):
                    if server.poll() is not None or time.monotonic() > deadline:
                        sys.exit("prometheus did not become ready")
                    time.sleep(0.1)
            across = 3
            down = -(-len(a.panels) // across)
            figure, axes = plt.subplots(down, across, figsize=(12, 2.5 * down), layout="constrained", squeeze=False)
            for spare in axes.flat[len(a.panels) :]:
                spare.set_visible(False)
            empty = []
            for axis, title in zip(axes.flat, a.panels, strict=False):
                if not draw(axis, panels[title], base, start, end):
                    empty.append(title)
            for axis in axes[-1]:
                axis.set_xlabel("minutes", fontsize=7)
            figure.savefig(a.picture, dpi=110)
        finally:
            server.terminate()
            server.wait()
    if empty:
        sys.exit(f"without data: {', '.join(empty)}")


if __name__ == "__main__":
    main()
