"""A class of settings, and one that is filled in."""

from dataclasses import dataclass, field

import torch
from prepare import evaluate_bpb

CACHE = "/tmp/x"  # no: names files


@dataclass
class Settings:
    lr: float = 0.04  # searched as Settings.lr
    weight_decay: float = field(default=0.1)  # searched as Settings.weight_decay
    betas: tuple = (0.9, 0.95)  # searched as Settings.betas
    layers: int = 8  # other as Settings.layers: line 37 gives another value
    width: int = 256  # other as Settings.width: line 40 sets it again
    val_every: int = 125  # no as Settings.val_every: how often
    val_tokens: int = 10485760  # no as Settings.val_tokens: scored
    num_iterations: int = 1750  # no as Settings.num_iterations: bounds the training
    seed: int = 7  # no as Settings.seed: seeds


class Shape:
    heads = 4  # searched as Shape.heads
    kernel = 3  # searched as Shape.kernel


class Block(torch.nn.Module):
    scale = 2.0

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(Shape.heads, Shape.kernel)


s = Settings(layers=12)
open(CACHE)
torch.manual_seed(s.seed)
s.width = 512
model = torch.nn.Transformer(s.layers, s.width)
optimizer = torch.optim.AdamW(model.parameters(), lr=s.lr, betas=s.betas, weight_decay=s.weight_decay)
for step in range(s.num_iterations):
    optimizer.step()
    if step % s.val_every == 0:
        print(evaluate_bpb(model, None, s.val_tokens))
evaluate_bpb(model, None, 2)
