"""A trial of a second; with FAULT at 1 it asks for more memory than the GPU has."""

import torch
from prepare import evaluate_bpb, make_dataloader

FAULT = 0  # of three trials the second has another
weight = torch.nn.Parameter(torch.ones(1 << 28, device="cuda"))
optimizer = torch.optim.SGD([weight], lr=0.1)
batches = make_dataloader(None, 1, 1, "train")
for _ in range(12):
    next(batches)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
torch.cuda.synchronize()
if FAULT == 1:
    held = [torch.empty(1 << 30, dtype=torch.uint8, device="cuda")]
    while True:
        held.append(torch.empty(1 << 30, dtype=torch.uint8, device="cuda"))
evaluate_bpb(FAULT, None, 1)
