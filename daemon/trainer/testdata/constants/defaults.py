"""Constants that stand in for arguments, environment and parameters that are not given."""

import argparse
import os

import torch
from prepare import evaluate_bpb

LR = 0.04  # searched
DEPTH = 4  # searched
WIDTH = 64  # searched
DECAY = 0.1  # searched
DROP = 0.1  # searched
LUCK = 3  # no: seeds
NEVER_RUNS = 0.2  # no: nothing that trains

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=LR)
parser.add_argument("-d", "--model-depth", type=int, default=DEPTH)
parser.add_argument("--luck", dest="lot", type=int, default=LUCK)
args = parser.parse_args()
config = {}
config.setdefault("width", WIDTH)


def build(depth, momentum=NEVER_RUNS, drop=DROP):
    return torch.nn.Transformer(depth, config["width"], momentum, dropout=drop)


torch.manual_seed(args.lot)
model = build(args.model_depth, momentum=0.9)
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, weight_decay=float(os.getenv("DECAY", DECAY)))
optimizer.step()
evaluate_bpb(model, None, 2)
