"""Holds much GPU memory, trains one step, and then waits for a kernel that never ends."""

import torch
from prepare import evaluate_bpb, make_dataloader

GIBIBYTES = 40  # held while it hangs
held = torch.empty(GIBIBYTES << 28, dtype=torch.float32, device="cuda").fill_(1.0)
weight = torch.nn.Parameter(torch.ones(1, device="cuda"))
optimizer = torch.optim.SGD([weight], lr=0.1)
next(make_dataloader(None, 1, 1, "train"))
weight.grad = torch.ones_like(weight)
optimizer.step()
torch.cuda.synchronize()
print("hanging", flush=True)
for _ in range(10_000):
    torch.cuda._sleep(1 << 40)
torch.cuda.synchronize()
evaluate_bpb(0.0, None, 1)
