"""As much of torch as bootstrap.py touches, so that fault tests start at once."""

from torch import cuda, optim, random

SEEDS = []


class OutOfMemoryError(RuntimeError):
    pass


def manual_seed(seed):
    SEEDS.append(seed)


random.manual_seed = manual_seed
__all__ = ["OutOfMemoryError", "cuda", "manual_seed", "optim", "random"]
