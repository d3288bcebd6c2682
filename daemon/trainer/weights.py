"""Whether a model's weights stay as they are.

Each parameter is sketched: its product with random signs, whose square is on average the square of its length (the
sketch of Alon, Matias and Szegedy). What two sketches differ by tells how far the parameter has moved, and nothing of
it is kept. A checksum would tell that one bit has changed, as it may where a model sets its weights to length one each
time that it is called.

Buffers are left out: an evaluation may fill caches. So are parameters that torch itself scales down when it looks
rows up in them (max_norm).
"""

import sys

PART = 1 << 20  # elements that are looked at together
ROUNDING = 8.0  # times what rounding moves: no change
COARSEST = 1e-3  # of a parameter's length, by rounding to few bits


def sketch(model):
    """float64 (parameters, 3): product, length and rounding, where they lie; None where it has none to look at.

    Nothing waits for the device.
    """
    torch = sys.modules["torch"]
    try:
        with torch.no_grad():
            rows = [_sketch(torch, weight) for weight in _weights(model)]
            return torch.stack(rows) if rows else None
    except Exception:  # not of a kind that can be looked at: no word of it
        return None


def moved(before, after):
    """How many parameters two sketches tell to have moved, of how many, and the most that one has, of its length.

    (0, 0, 0.0) where they do not compare.
    """
    if before is None or after is None or before.shape != after.shape:
        return 0, 0, 0.0
    before, after = before.double().cpu(), after.double().cpu()
    by = (after[:, 0] - before[:, 0]).abs()
    length = before[:, 1].sqrt()
    far = by > ROUNDING * before[:, 2] * length
    share = (by / length)[far]
    return int(far.sum()), len(by), share.max().item() if len(share) else 0.0


def _weights(model):
    seen = set()
    for module in model.modules():
        for weight in module._parameters.values() if getattr(module, "max_norm", None) is None else ():
            if weight is not None and weight.is_floating_point() and id(weight) not in seen:
                seen.add(id(weight))
                yield weight


def _sketch(torch, weight):
    product = torch.zeros((), dtype=torch.float64, device=weight.device)
    square = torch.zeros_like(product)
    signs = _signs(torch, weight.device)
    for n, part in enumerate(weight.detach().reshape(-1).split(PART)):
        part = part.float()
        product += (part * signs[: len(part)]).sum(dtype=torch.float64) * (1 if n * 0x9E3779B1 >> 16 & 1 else -1)
        square += part.square().sum(dtype=torch.float64)
    rounding = min(torch.finfo(weight.dtype).eps, COARSEST)
    return torch.stack([product, square, torch.full_like(product, rounding)])


_kept = {}  # signs by device


def _signs(torch, device):
    if str(device) not in _kept:
        generator = torch.Generator().manual_seed(1)
        signs = torch.randint(0, 2, (PART,), generator=generator, dtype=torch.int8)
        _kept[str(device)] = (2.0 * signs.float() - 1.0).to(device)
    return _kept[str(device)]
