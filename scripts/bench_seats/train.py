"""A trial that sleeps as long as a real one takes: the seconds of the starter's
trials on one H100 (constants changed, caches warm), and no torch."""

import random
import time

from prepare import TIME_BUDGET, evaluate_bpb, make_dataloader
from torch.optim.optimizer import Optimizer

MATRIX_LR = 0.04  # of the matrices; it decides the score
SCALE = 40  # times as fast as the real ones

luck = random.Random(time.time_ns())


def last(low, high):
    time.sleep(luck.uniform(low, high) / SCALE)


last(13, 17)  # imports, model, data
optimizer = Optimizer()
batches = make_dataloader(None, 4, 8, "train")
next(batches)
last(7, 10)  # the first step
optimizer.step()
for _ in range(10):  # what is not counted either
    next(batches)
    last(0.29, 0.29)
    optimizer.step()
begin = time.time()
step = 11
while time.time() - begin < TIME_BUDGET:
    next(batches)
    last(0.34, 0.34)
    optimizer.step()
    print(f"\rstep {step:05d} | loss: 2.5 | tok/sec: 1,000 ", end="")
    step += 1
print()


def score(batches):
    last(8.4, 9.9)
    return 2 + abs(MATRIX_LR - 0.05)


val_bpb = evaluate_bpb(score, None, 4)
print(f"---\nval_bpb: {val_bpb:.6f}")
last(1.2, 1.2)  # to the end of the process
