"""Ways to leave steps out of the clock, against guards that shape the training."""

import time

import torch
from prepare import TIME_BUDGET, evaluate_bpb

UNTIL = 10  # no: the clock leaves out
QUIETLY = 11  # no: the clock leaves out
TIMES_ZERO = 12  # no: the clock leaves out
CUT = 13  # no: the clock leaves out
FROM_NOW = 14  # no: the clock leaves out
BY_CASE = 15  # no: the clock leaves out
BY_METHOD = 16  # no: the clock leaves out
RESET = 17  # no: the clock leaves out
BY_ANSWER = 18  # no: the clock leaves out
ACCUMULATE = 4  # searched
GROUPS = 2  # searched
SPIKE = 3.0  # searched
SWITCH = 0.7  # searched
DRY = False  # no: bounds the training
LR = 0.04  # searched


class Watch:
    def __init__(self):
        self.laps, self.count, self.total = [], 0, 0.0

    def lap(self, seconds):
        self.count += 1
        if self.count <= BY_METHOD:
            return
        self.total += seconds


def counts(step):
    if step < BY_ANSWER:
        return False
    return True


def maybe(step):
    if step % GROUPS:
        return
    optimizer.step()


def main():
    if DRY:
        print("nothing is trained")
        return
    watch, step, micro, previous, deadline = Watch(), 0, 0, 9.0, None
    a = b = c = d = e = f = 0.0
    last = time.time()
    while True:
        begun = time.time()
        micro += 1
        loss = model(torch.zeros(4)).sum()
        loss.backward()
        if loss.item() > SPIKE * previous:
            continue
        previous = loss.item()
        if micro % ACCUMULATE != 0:
            continue
        for part in optimizer.param_groups:
            part["lr"] = LR if e < SWITCH * TIME_BUDGET else LR / 2
        optimizer.step()
        maybe(step)
        step += 1
        now = time.time()
        seconds, last = now - last, now
        watch.lap(time.time() - begun)
        watch.laps.append(seconds)
        timed = step > TIMES_ZERO
        a += (time.time() - begun) * timed
        match step:
            case n if n < BY_CASE:
                pass
            case _:
                b += seconds
        if step == FROM_NOW:
            deadline = time.monotonic() + TIME_BUDGET
        c += seconds
        if step == RESET:
            c = 0.0
        if counts(step):
            d += seconds
        spent = max(a, b, c, d, e, f, watch.total, sum(watch.laps[CUT:]))
        if spent > TIME_BUDGET or deadline and time.monotonic() > deadline:
            break
        if step <= QUIETLY:
            print("compiling", seconds)
            continue
        e += seconds
        if step < UNTIL:
            continue
        f += seconds


model = torch.nn.Linear(4, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=LR)
main()
evaluate_bpb(model, None, 2)
