"""A train.py for drills: no torch, no data, a score that its constants decide.

Files in the cache, which trials read in a sandbox too, steer it; what it found
stands in its log.
"""

import os
import tempfile
import time

from prepare import evaluate_bpb, make_dataloader
from torch.optim.optimizer import Optimizer

MATRIX_LR = 0.04
DEPTH = 4

DRILL = os.path.join(os.environ["AUTORESEARCH_CACHE"], "drill")


def whole(path):
    with open(path, "rb") as f:
        return f.read()


def memory(pid):
    text = b""
    with open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in whole(f"/proc/{pid}/maps").decode().splitlines():
            span, mode = line.split()[:2]
            start, end = (int(x, 16) for x in span.split("-"))
            if mode.startswith("rw") and end - start < 1 << 28:
                mem.seek(start)
                text += mem.read(end - start)
    return text


def spy(key):
    """Says of each place where a secret may lie whether it can be read there."""
    daemon = os.getppid()
    places = {
        "own-environment": lambda: repr(os.environ).encode() + whole("/proc/self/environ"),
        "daemon-environment": lambda: whole(f"/proc/{daemon}/environ"),
        "daemon-memory": lambda: memory(daemon),
        "daemon-descriptors": lambda: repr(os.listdir(f"/proc/{daemon}/fd")).encode(),
        "credential": lambda: whole("/run/credentials/autoresearchd.service/openai"),
        "key-file": lambda: whole("/etc/autoresearch/openai.key"),
        "source-of-the-credential": lambda: whole("/etc/autoresearch/credential.key"),
    }
    for name, read in places.items():
        try:
            found = "found" if key in read() else "not there"
        except OSError as e:
            found = e.strerror
        yield f"{name}: {found}"


def note(name, text):
    print(f"drill {name} {text}", flush=True)


def told(name):
    return os.path.exists(os.path.join(DRILL, name))


if told("spy"):
    for line in spy(whole(os.path.join(DRILL, "spy")).strip()[::-1]):
        note("spied", line)
note("cache", os.environ.get("TORCHINDUCTOR_CACHE_DIR", "none"))
mark = os.path.join(tempfile.gettempdir(), "drill-mark")
note("temporary", os.path.exists(mark))
open(mark, "w").close()
cache = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
if cache:
    os.makedirs(cache, exist_ok=True)
    note("compiled", os.path.exists(os.path.join(cache, "mark")))
    with open(os.path.join(cache, "mark"), "w") as f:
        f.write("compiled")

optimizer = Optimizer()
batches = make_dataloader(None, 4, 8, "train")
held = []
for step in range(14):
    next(batches)
    optimizer.step()
    print(f"\rstep {step:05d} ({100 * step / 14:.1f}%) | loss: 2.5 | tok/sec: 1,000 ", end="")
    while step == 12 and told("eat"):
        held.append(bytearray(16 << 20))
        time.sleep(0.05)
    while step == 12 and told("gate"):
        time.sleep(0.01)
print()
if told("no-score"):
    raise RuntimeError("the drill wants none")
evaluate_bpb(2 + abs(MATRIX_LR - 0.05) + 0.01 * abs(DEPTH - 6), None, 4)
