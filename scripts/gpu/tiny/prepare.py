"""A prepare.py without data, for drills that are about processes and memory."""

TIME_BUDGET = 300


def make_dataloader(tokenizer, B, T, split):
    while True:
        yield None


def evaluate_bpb(model, tokenizer, batch_size: int):
    return 1.0 + float(model)
