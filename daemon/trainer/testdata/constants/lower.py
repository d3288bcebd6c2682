"""No name in capitals: found, and searched where it is asked for."""

import torch
from prepare import evaluate_bpb

n_layer = 6  # no: not in capitals
learning_rate = 6e-4  # no: not in capitals
log_interval = 10  # no: how often
best = 1e9
step = 0

model = torch.nn.Transformer(n_layer)
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
while True:
    optimizer.step()
    step += 1
    if step % log_interval == 0:
        print(step)
        best = min(best, 1.0)
evaluate_bpb(model, None, 2)
