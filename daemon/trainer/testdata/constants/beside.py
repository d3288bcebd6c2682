"""Data, files, seeds, devices and scoring."""

import logging
import os
import random
import subprocess
import sys

import jax
import numpy as np
import torch
from prepare import evaluate_bpb, make_dataloader
from torch import nn
from torch.utils.data import DataLoader

PIECES = 6542  # no: files
HANDS = 8  # no: load the data
LUCK = 1337  # no: seeds
OTHER_LUCK = 7  # no: seeds
ROOT = "/data/text"  # no: names files
PLACE = "cuda"  # no: how the code is run
CORES = 4  # no: how the code is run
LISTEN_PORT = 29500  # no: how the code is run
SCORE_BATCH = 64  # no: scored
SCORE_TOKENS = 3 * 524288  # no: scored
WINDOW = 1024  # no: scored
REPEATS = 3  # no: scored
MAX_SEQ_LEN = 512  # no: scored
VERSION = "2"  # no: printed
HEADS = 4  # searched
DROP = 0.1  # searched
TIED = True  # searched
GATED = False  # searched
SCALE = 1.5  # searched
KERNEL = (3, 5)  # searched
FUSE = True  # no: how the code is run
GO_ON = False  # no: how the code is run
KEEP_MEAN = True  # searched
FETCHED = 12  # no: how the code is run
STATUS = 3  # no: how the code is run
DRAW = 5  # no: seeds
STREAM = 6  # no: seeds

torch.manual_seed(LUCK)
random.Random(OTHER_LUCK)
torch.set_num_threads(CORES)
os.environ["MASTER_PORT"] = str(LISTEN_PORT)
log = logging.getLogger()
log.info("version %s", VERSION)
paths = [os.path.join(ROOT, f"piece_{i:05d}.bin") for i in range(PIECES)]
device = torch.device(PLACE)


def validate(model):
    total = 0.0
    for _ in range(SCORE_TOKENS // WINDOW):
        total += float(model(torch.zeros(SCORE_BATCH, WINDOW)))
    return total


def own_val_loss(model):
    return sum(model(torch.zeros(2)) for _ in range(REPEATS))


class Block(nn.Module):
    def __init__(self, heads, drop):
        super().__init__()
        self.heads = heads
        self.drop = nn.Dropout(drop)
        self.conv = [nn.Conv1d(1, 1, k) for k in KERNEL]

    def forward(self, x):
        if GATED:
            x = x * torch.sigmoid(x)
        return self.drop(x).view(-1, self.heads) * SCALE


settings = {"heads": HEADS, "drop": DROP}
model = Block(**settings)
if TIED:
    model.head = model.body
if FUSE:
    model = torch.compile(model)
loader = DataLoader(paths, batch_size=2, num_workers=HANDS)
batches = make_dataloader(None, 2, MAX_SEQ_LEN, "train")
subprocess.run(["python", "prepare.py", "--pieces", str(FETCHED)], check=True)
model.noise = jax.random.normal(jax.random.key(DRAW)), np.random.Generator(np.random.PCG64(STREAM))
mean = Block(**settings)
if GO_ON:
    model.load_state_dict(torch.load("last.pt"))
if KEEP_MEAN:
    model.load_state_dict(mean.state_dict())
if not paths:
    sys.exit(STATUS)
print("bpb", evaluate_bpb(model, None, MAX_SEQ_LEN), validate(model), own_val_loss(model))
