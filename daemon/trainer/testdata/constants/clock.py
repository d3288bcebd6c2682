"""Counts that decide what the clock sees, against counts that shape the schedule."""

import time

import torch
from prepare import TIME_BUDGET, evaluate_bpb, make_dataloader

UNCLOCKED = 10  # no: the clock leaves out
RAMP = 200  # searched
SETTLE = 7  # no: the clock leaves out
PAUSE_AT = 83.0  # no: to pause
PAUSE_FOR = 5  # no: to pause
SHOW = 50  # no: how often
LOOK = 250  # no: how often
GIVE_UP = 100.0  # no: bounds the training
ROUNDS = 5000  # no: bounds the training
MINUTES_LEFT = 4.5  # no: a time that the run is held to
ACCUMULATE = 4  # searched
BATCH = 32  # searched
WIDTH = 256  # searched
LR = 3e-4  # searched
BETAS = (0.9, 0.95)  # searched
CLIP = 1.0  # searched
PEAK = 312e12  # no: printed
NEVER = 3  # no: nothing uses it


def temperature():
    return torch.cuda.temperature()


def cool():
    while temperature() > PAUSE_AT:
        time.sleep(PAUSE_FOR)


def rate(step):
    return LR * min(1.0, (step + 1) / RAMP)


class Stopwatch:
    def __init__(self, skip):
        self.skip = skip
        self.spent = 0.0

    def lap(self, step, begun):
        if step >= self.skip:
            self.spent += time.time() - begun


model = torch.nn.Linear(WIDTH, WIDTH)
optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS)
batches = make_dataloader(None, BATCH, 8, "train")
watch = Stopwatch(SETTLE)
spent, step = 0.0, 0
start = time.time()
for step in range(ROUNDS):
    begun = time.time()
    for _ in range(ACCUMULATE):
        loss = model(next(batches)) / ACCUMULATE
        loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    for part in optimizer.param_groups:
        part["lr"] = rate(step)
    optimizer.step()
    counted = step >= UNCLOCKED
    if counted:
        spent += time.time() - begun
    watch.lap(step, begun)
    if float(loss) > GIVE_UP:
        raise SystemExit(1)
    if step % SHOW == 0:
        print(f"step {step} loss {float(loss):.3f} mfu {6 * WIDTH * BATCH / PEAK:.2f}")
    if step % LOOK == 0:
        print("bpb", evaluate_bpb(model, None, 2))
    cool()
    if spent > TIME_BUDGET or time.time() - start > 60 * MINUTES_LEFT:
        break
evaluate_bpb(model, None, 2)
