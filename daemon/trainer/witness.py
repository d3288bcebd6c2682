"""What a trial says of its score, for the notary, which believes none of it unproven.

The official evaluation runs as prepare.py has it, on the rows that the notary gives. The loss of every token is kept
and handed over; then the model answers for rows that the notary has drawn. Files lie in a folder that both can reach:

    rows, audit, fresh   int32 (rows, tokens + 1), the notary's
    losses               float32 (rows, tokens), of those in their order
    logits               float32 (row of the challenge, position, vocabulary)
"""

import contextlib
import ctypes
import json
import os
import sys

import _autoresearchd
import _autoresearchd_weights as weights

host = _autoresearchd.host


def begin(order):
    """The Proof of an evaluation that begins; None where scores are not proven here. order: the trial's."""
    told = _say(op="rows")
    return Proof(order, told) if "rows" in told else None


def _say(**said):
    return json.loads(host("prove", json.dumps(said).encode()) or b"{}")


class Proof:
    """One evaluation: its rows, its losses, and the answers to the challenge."""

    def __init__(self, order, told):
        self.folder = os.path.join(os.path.dirname(order["directory"]), told["folder"])
        self.device = order.get("device") or ("cuda" if _torch().cuda.is_available() else "cpu")
        self.count, self.length, self.audit = told["rows"], told["length"], told.get("audit", 0)
        self.rows = Rows(self._load("rows", self.count))
        self.witness = None

    def stand_in(self, args, kwargs):
        """evaluate_bpb's arguments with a witness for the model."""
        if args:
            self.witness = Witness(args[0], self.rows)
            return (self.witness, *args[1:]), kwargs
        name = "model" if "model" in kwargs else next(iter(kwargs))
        self.witness = Witness(kwargs[name], self.rows)
        return args, kwargs | {name: self.witness}

    def audit_rows(self):
        """The rows for an audit; None where there are none."""
        return Rows(self._load("audit", self.audit)) if self.audit else None

    def give(self, value):
        """Commits to the losses, answers the challenge, and returns the score as it was computed: a float or None.

        value: what evaluate_bpb returned, a float.
        """
        torch = _torch()
        try:
            with torch.no_grad():
                losses = self.witness.losses()[: self.count]
                if len(losses) < self.count:
                    losses = torch.cat([losses, self.witness.score(self.rows.tokens[len(losses) :])])
                self._store("losses", [losses])
                told = _say(
                    op="commit", whole=min(self.rows.at, self.count), value=repr(value), moved=self.witness.moved()
                )
                while "challenge" in told or "fresh" in told:
                    if "fresh" in told:
                        self._store("losses", [self.witness.score(self._load("fresh", told["fresh"]))])
                        told = _say(op="fresh")
                    else:
                        wide = self._store("logits", self._answers(told))
                        told = _say(op="answer", wide=wide, moved=self.witness.moved(now=True))
        except Exception as fault:
            told = _say(op="none", why=f"{type(fault).__name__}: {fault}"[:400])
        return float(told["score"]) if told.get("score") else None

    def save(self, path):
        """Writes the weights for an audit in a fresh process, with the batch size that was evaluated: see fresh.py."""
        torch, model = _torch(), self.witness._model
        try:
            state = getattr(model, "_orig_mod", model).state_dict()
            torch.save({"state": state, "batch": self.witness._kept[0].shape[0]}, path)
        except Exception as fault:  # the score stands, whatever becomes of the audit
            print(f"its weights cannot be saved for an audit: {type(fault).__name__}: {fault}", file=sys.stderr)

    def _answers(self, told):
        """The logits of each batch of a challenge, (rows, positions, vocabulary)."""
        torch = _torch()
        for batch in told["challenge"]:
            x = torch.tensor(batch["rows"], device=self.device)
            at = torch.tensor(batch["positions"], device=self.device)
            try:
                logits = self.witness.logits(x, told["vocabulary"])
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                logits = torch.cat([self.witness.logits(row, told["vocabulary"]) for row in x.split(1)])
            yield logits[torch.arange(len(x), device=logits.device).unsqueeze(1), at].float()

    def _load(self, name, count):
        torch = _torch()
        with open(os.path.join(self.folder, name), "rb") as file:
            data = bytearray(file.read())
        return torch.frombuffer(data, dtype=torch.int32).view(count, self.length + 1).to(self.device)

    def _store(self, name, tensors):
        """Writes tensors one after another; returns the last one's width."""
        wide = 0
        with open(os.path.join(self.folder, name), "wb") as file:
            for tensor in tensors:
                wide = tensor.shape[-1]
                tensor = tensor.float().contiguous().cpu()
                size = tensor.numel() * tensor.element_size()
                file.write((ctypes.c_char * size).from_address(tensor.data_ptr()))
        return wide


class Rows:
    """Rows on the device, handed out as make_dataloader hands them out: (inputs, targets, epoch), int64 (B, T)."""

    def __init__(self, tokens):
        self.tokens, self.at, self.batches = tokens, 0, 0

    def loader(self, args, kwargs):
        """args, kwargs: make_dataloader's, of which the first whole number is B."""
        size = next(a for a in (*args, *kwargs.values()) if type(a) is int)
        while self.at < len(self.tokens):
            part = self.tokens[self.at : self.at + size]
            self.at += len(part)
            self.batches += 1
            yield *_halves(part), 1


def _halves(rows):
    """Inputs and targets of rows."""
    return rows[:, :-1].long().contiguous(), rows[:, 1:].long().contiguous()


class Witness:
    """Stands for the model in all but that it keeps the losses."""

    def __init__(self, model, rows):
        self.__dict__.update(_model=model, _rows=rows, _kept=[], _call=None, _first=None, _last=None)

    def __call__(self, *args, **kwargs):
        result = self._model(*args, **kwargs)
        torch = _torch()
        given = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor) and a.dim() == 2]
        if len(given) > 1 and isinstance(result, torch.Tensor) and result.numel() == given[0].numel():
            self.__dict__["_call"] = args, kwargs
            self._kept.append(result.detach().reshape(given[0].shape).to(torch.float32, copy=True))
            if len(self._kept) == 1:  # the first call may settle them: an average that is taken up, a length of one
                self.__dict__["_first"] = weights.sketch(self._model)
            elif self._rows.at + len(given[0]) > len(self._rows.tokens):  # the last batch
                self.__dict__["_last"] = weights.sketch(self._model)
        return result

    def moved(self, now=False):
        """What weights.moved says of them from the first batch to the last, or to now."""
        return weights.moved(self._first, weights.sketch(self._model) if now else self._last)

    def losses(self):
        """float32 (rows, tokens), of all that was evaluated."""
        if not self._kept:
            raise ValueError("the model gave evaluate_bpb no loss for every token")
        return _torch().cat(self._kept)

    def score(self, rows):
        """float32 (rows, tokens): the losses of further rows, in batches of the shape that was evaluated."""
        torch = _torch()
        size, out = self._kept[0].shape[0], []
        for at in range(0, len(rows), size):
            part = rows[at : at + size]
            fill = [part[n % len(part)] for n in range(len(part), size)]
            x, y = _halves(torch.stack([*part, *fill]) if fill else part)
            out.append(self._again(self._model, x, y).reshape(x.shape).to(torch.float32, copy=True)[: len(part)])
        return torch.cat(out)

    def _again(self, model, x, y):
        """Calls the model as evaluate_bpb did, with other inputs and targets."""
        torch = _torch()
        fresh = iter((x, y))

        def other(value):
            return next(fresh, value) if isinstance(value, torch.Tensor) and value.dim() == 2 else value

        args, kwargs = self._call
        args = [other(a) for a in args]
        return model(*args, **{k: other(a) for k, a in kwargs.items()})

    def logits(self, x, vocabulary):
        """(B, T, vocabulary or more) for inputs x alone, eagerly: nothing is compiled for so few rows."""
        torch = _torch()
        model = getattr(self._model, "_orig_mod", self._model)
        stance = getattr(torch.compiler, "set_stance", None)
        with stance("force_eager") if stance else contextlib.nullcontext():
            taken = _Taken(torch, vocabulary)
            with taken.mode:
                self._again(model, x, torch.zeros_like(x))
            if len(taken.parts) > 1 and len(x) > 1:  # parts of several rows may be in any order, those of one are not
                return torch.cat([self.logits(row, vocabulary) for row in x.split(1)])
            logits = taken.logits(x)
            if logits is None:
                logits = _logits_in(model(x), x, vocabulary)
        if logits is None:
            raise ValueError("its model gives no logits: model(tokens) must return them, (rows, tokens, vocabulary)")
        return logits

    def eval(self):
        self._model.eval()
        return self

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __setattr__(self, name, value):
        setattr(self._model, name, value)

    @property
    def __class__(self):
        return type(self._model)


class _Taken:
    """What goes into the functions that make losses out of logits."""

    NAMES = ("cross_entropy", "log_softmax")

    def __init__(self, torch, vocabulary):
        self.parts, parts = [], []
        self.parts = parts

        class Mode(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, function, types, args=(), kwargs=None):
                kwargs = kwargs or {}
                if getattr(function, "__name__", "") in _Taken.NAMES:
                    logits = args[0] if args else kwargs.get("input")
                    if isinstance(logits, torch.Tensor) and logits.shape[-1] >= vocabulary:
                        parts.append(logits.detach().reshape(-1, logits.shape[-1]))
                return function(*args, **kwargs)

        self.mode = Mode()

    def logits(self, x):
        """(B, T, vocabulary), if all of it went through there once; else None."""
        if sum(map(len, self.parts)) != x.numel():
            return None
        return _torch().cat(self.parts).view(*x.shape, -1)


def _logits_in(result, x, vocabulary):
    """The one tensor in what a model returned that can be logits; None if none or several can."""
    torch = _torch()
    if isinstance(result, dict):
        result = list(result.values())
    parts = result if isinstance(result, (tuple, list)) else [result]
    found = [
        p
        for p in parts
        if isinstance(p, torch.Tensor) and p.is_floating_point() and p.shape[-1:] and p.shape[-1] >= vocabulary
    ]
    found = [p for p in found if p.numel() == x.numel() * p.shape[-1]]
    return found[0].view(*x.shape, -1) if len(found) == 1 else None


def _torch():
    return sys.modules["torch"]
