"""A prepare.py for tests: no data, no torch, a score that the script names."""

import os

CACHE_DIR = os.path.expanduser("~/.cache/autoresearch")
TIME_BUDGET = 300
STEP_BUDGET = 0


def make_dataloader(tokenizer, B, T, split, where=CACHE_DIR):
    number = 0
    while True:
        number += 1
        yield where, number, split


def evaluate_bpb(model, tokenizer, batch_size):
    return model
