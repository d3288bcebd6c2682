#!/usr/bin/env python3
"""One model scored by upstream's evaluate_bpb and by the starter's, in alternation, on the same prepared data.

    evaluation.py STARTER UPSTREAM [ROUNDS]

Prints seconds and scores. Exit 1: a score differs by more than 1e-6, or ours takes more than AT_MOST (0.4) of
upstream's time.
"""

import importlib.util
import os
import statistics
import sys
import time


def load(name, folder):
    spec = importlib.util.spec_from_file_location(name, os.path.join(folder, f"{name.split('_')[-1]}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(starter, upstream, rounds=2):
    import torch

    ours = load("prepare", starter)
    theirs = load("upstream_prepare", upstream)
    for name in ("MAX_SEQ_LEN", "EVAL_TOKENS", "VOCAB_SIZE"):
        assert getattr(ours, name) == getattr(theirs, name), name
    train = load("train", starter)
    torch.manual_seed(1)
    torch.set_float32_matmul_precision(precision="high")
    tokenizer = ours.Tokenizer.from_directory()
    with torch.device(train.device):
        model = train.GPT(tokenizer.get_vocab_size())
    model.init_weights()
    with torch.no_grad():
        model.head.weight.normal_(0, 0.1)
    sequences, _ = train.micro_batches()
    x = torch.zeros((sequences, ours.MAX_SEQ_LEN), dtype=torch.long, device=train.device)
    with torch.no_grad():
        model(x, x.clone(), reduction="none")  # compiled before the clock runs, for both
    sides = {"upstream": (theirs, theirs.Tokenizer.from_directory()), "starter": (ours, tokenizer)}
    seconds, scores = {name: [] for name in sides}, {}
    for turn in range(int(rounds)):
        for name in sides if turn % 2 == 0 else reversed(sides):
            module, its = sides[name]
            train.synchronize()
            begun = time.perf_counter()
            scores[name] = module.evaluate_bpb(model, its, sequences)
            train.synchronize()
            seconds[name].append(time.perf_counter() - begun)
            print(f"{name}: {seconds[name][-1]:.2f} s, val_bpb {scores[name]:.9f}", flush=True)
    ratio = statistics.median(seconds["starter"]) / statistics.median(seconds["upstream"])
    print(f"starter / upstream, seconds of an evaluation of {ours.EVAL_TOKENS:,} tokens: {ratio:.3f}")
    if abs(scores["starter"] - scores["upstream"]) > 1e-6 or ratio > float(os.environ.get("AT_MOST", "0.4")):
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
