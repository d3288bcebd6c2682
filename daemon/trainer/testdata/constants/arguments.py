"""Defaults of argparse: the host gives no arguments."""

import argparse

import torch
from prepare import evaluate_bpb

parser = argparse.ArgumentParser()
parser.add_argument("--matrix-lr", type=float, default=0.02)  # searched as --matrix-lr
parser.add_argument("-d", "--depth", type=int, default=12)  # searched as --depth
parser.add_argument("--width", dest="model_width", type=int, default=768)  # searched as --width
parser.add_argument("--eval-every", type=int, default=250)  # no as --eval-every: how often
parser.add_argument("--out", default="runs/")  # no as --out: names files
parser.add_argument("--tag", default=None)  # other as --tag: it is None
parser.add_argument("--steps", type=int, default=10)  # other as --steps: line 18 sets it again
parser.add_argument("--compile", action="store_true")
args = parser.parse_args()
args.steps = 20
model = torch.nn.Transformer(args.depth, args.model_width)
optimizer = torch.optim.SGD(model.parameters(), lr=args.matrix_lr)
for step in range(args.steps):
    optimizer.step()
    if step % args.eval_every == 0:
        torch.save(model, args.out)
evaluate_bpb(model, None, 2)
