"""A prepare.py for tests of the notary: upstream's evaluation, on text that a formula writes."""

import math

import torch

TIME_BUDGET = 300
MAX_SEQ_LEN = 32
EVAL_TOKENS = 64 * 32
VOCAB = 48


class Tokenizer:
    @classmethod
    def from_directory(cls):
        return cls()


def get_token_bytes(device="cpu"):
    return (torch.arange(VOCAB) % 4).to(torch.int32).to(device)


def row(number, width, split):
    """Words of a small language: each token is one of two that may follow the one before."""
    seed = torch.Generator().manual_seed(number + (split == "val") * 10**6)
    steps = torch.randint(0, 2, (width,), generator=seed)
    tokens = [int(torch.randint(0, VOCAB, (1,), generator=seed))]
    for step in steps[1:].tolist():
        tokens.append((5 * tokens[-1] + 7 + 11 * step) % VOCAB)
    return torch.tensor(tokens)


def make_dataloader(tokenizer, B: int, T: int, split: str, buffer_size: int = 1000):
    number = 0
    while True:
        rows = torch.stack([row((number + n) % 400, T + 1, split) for n in range(B)])
        number += B
        yield rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), 1 + (number - 1) // 400


@torch.no_grad()
def evaluate_bpb(model, tokenizer, batch_size: int):
    sizes = get_token_bytes()
    loader = make_dataloader(tokenizer, batch_size, MAX_SEQ_LEN, "val")
    nats, total = 0.0, 0
    for _ in range(EVAL_TOKENS // (batch_size * MAX_SEQ_LEN)):
        x, y, _ = next(loader)
        losses = model(x, y, reduction="none").view(-1)
        size = sizes[y.view(-1)]
        nats += (losses * (size > 0)).sum().item()
        total += size.sum().item()
    return nats / (math.log(2) * total)
