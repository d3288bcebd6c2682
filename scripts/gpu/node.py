"""Watches a study on a node's GPU: node.py METRICS PID BINARY STATE.

While the daemon PID lives, reads its page of metrics once a second; then looks
at what its trials were. Fails where a node's GPU is not as one of this machine.
"""

import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

USED = re.compile(r'^autoresearch_gpu_memory_used_bytes\{gpu="\d+",host="n1"\} (\S+)', re.M)


def read(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.read().decode()
    except OSError:
        return ""  # it has just ended


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def main():
    url, pid, binary, state = sys.argv[1:]
    memory, info = 0.0, ""
    while alive(pid):
        page = read(url)
        info = next((line for line in page.splitlines() if line.startswith("autoresearch_seat_info{")), info)
        memory = max([memory, *map(float, USED.findall(page))])
        time.sleep(1)
    runs = json.loads(subprocess.check_output([binary, "--state", state, "trials", "--runs", "--json"]))
    for run in runs:
        phases = " ".join(f"{phase} {seconds:.1f}" for phase, seconds in run["phases"].items())
        peak = (run["peak_vram_bytes"] or 0) >> 20
        print(
            f"trial {run['id']}: {run['status']}, val_bpb {run['val_bpb']}, peak {peak} MiB by NVML; seconds: {phases}"
        )
    print(f"{info}; at most {memory / 2**20:.0f} MiB on the node's page")
    assert runs and all(run["status"] == "completed" for run in runs), "a trial failed"
    assert 'device="cuda:0",host="n1",seat="slurm:0"' in info, "the seat is not on the node's GPU"
    assert memory > 1 << 30, "the node's figures are not on /metrics"
    assert all(run["peak_vram_bytes"] > 1 << 30 for run in runs), "a peak is not the GPU's"
    beside = [run["id"] for run in runs if "gate" in run["phases"]]
    print(f"beside an evaluation began: {beside}")
    assert len(runs) < 4 or beside, "no trial began beside an evaluation"
    starts = [run["phases"]["startup"] for run in runs]
    assert len(runs) < 3 or min(starts[1:]) < starts[0] / 2, "no standby was used"


main()
