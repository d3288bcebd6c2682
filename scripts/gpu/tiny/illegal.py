"""A trial of a second; with FAULT at 1 it writes to an address that nobody gave it."""

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
    size = 1 << 20
    far = torch._C._construct_storage_from_data_pointer(weight.data_ptr() + (1 << 44), weight.device, size)
    torch.empty(0, dtype=torch.uint8, device="cuda").set_(far, 0, (size,), (1,)).fill_(1)
    torch.cuda.synchronize()
evaluate_bpb(FAULT, None, 1)
