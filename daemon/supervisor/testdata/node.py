"""A host on a node that only seems to train: it speaks the frames of one.

node.py NAME CLASS SHORT: trials tell of three steps a second, of what a script
prints of them, and of their use every second. Of trials
with a number up to SHORT, a step jumps to the budget's end after that share of
300 seconds, so that not all end at once.
"""

import base64
import json
import struct
import sys
import threading
import time

NAME, CLASS, SHORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
STEPS, FIRST, SECONDS = 900, 11, 300.0

writing = threading.Lock()


def tell(**message):
    body = json.dumps(message).encode() + b"\n"
    with writing:
        sys.stdout.buffer.write(struct.pack(">I", len(body)) + body)
        sys.stdout.buffer.flush()


def hear():
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        return None
    return json.loads(sys.stdin.buffer.read(struct.unpack(">I", head)[0]))


def train(trainer, trial, over):
    begun = time.monotonic()

    def event(kind, **more):
        tell(kind="event", id=trainer, event={"kind": kind, "at": time.monotonic() - begun, **more})

    event("phase", phase="train")
    last = SECONDS * trial / SHORT if trial <= SHORT else SECONDS
    step = 0
    while not over.wait(1 / 3):
        counted = time.monotonic() - begun
        step = step + 1 if counted < last else STEPS + FIRST
        event("step", step=step, batches=2 * step, tokens=step << 19, counted=counted)
        share, loss = 100 * counted / SECONDS, 3 + 6 / step
        text = f"\rstep {step:05d} ({share:.1f}%) | loss: {loss:.6f} | tok/sec: 1,600,000 | mfu: 40.0% "
        tell(kind="print", id=trainer, data=base64.b64encode(text.encode()).decode())
        if step % 3 == 0:
            tell(kind="use", id=trainer, use={"device": 45 << 30, "limit": 0, "over": False, "written": 0})
        if step > STEPS:
            break
    if over.is_set():
        return
    event("phase", phase="evaluate")
    event("score", val_bpb=f"{1 + trial / 1e5!r}", peak=45 << 30)
    event("phase", phase="exit")
    event("exit", exit={"code": 0})
    tell(kind="ended", id=trainer)
    tell(kind="silent", id=trainer)


def main():
    trials, overs = {}, {}
    began = False
    while (m := hear()) is not None:
        op, trainer = m["op"], m.get("id", 0)
        if op == "begin":
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            tell(
                kind="hello",
                hello={
                    "protocol": m["setup"]["protocol"],
                    "host": NAME,
                    "python": "3.12.1",
                    "job": "1",
                    "step": "0",
                    "now": now,
                    "device": "cuda:0",
                    "kind": CLASS,
                    "memory": 141 << 30,
                    "calm": True,
                    "faults": [],
                },
            )
            began = True
        elif op == "alive" and began:
            reading = {
                "Device": 0,
                "Label": "0",
                "MemoryUsed": 45e9,
                "MemoryTotal": 141e9,
                "Utilization": 0.99,
                "Power": 600.0,
            }
            tell(kind="alive", gpus=[reading])
        elif op == "start":
            trials[trainer], overs[trainer] = m["job"]["id"], threading.Event()
            tell(
                kind="event",
                id=trainer,
                event={"kind": "hello", "at": 0, "hello": {"protocol": 3, "python": "3.12.1", "pid": 1}},
            )
        elif op == "ask" and m["request"]["op"] == "order":
            threading.Thread(target=train, args=(trainer, trials[trainer], overs[trainer]), daemon=True).start()
        elif op == "end":
            overs[trainer].set()
            tell(
                kind="gone",
                id=trainer,
                gone={
                    "left": [],
                    "took": 0.01,
                    "code": 0,
                    "signal": "",
                    "out_of_memory": False,
                    "freed": 0.01,
                    "unfit": "",
                    "lost": False,
                },
            )


main()
