"""The boundary between prepare and train.py.

What a study must know of a trial passes here: prepare's constants are settled,
the batches that it hands out are counted, and the value of evaluate_bpb goes to
the host. Nothing is assumed of the signatures, nor of what comes back, but the
names: a prepare.py is the user's own.
"""

import ast
import collections.abc
import dataclasses
import datetime
import functools
import inspect
import json
import os
import re
import sys
import threading

import _autoresearchd
import _autoresearchd_witness as witness

host = _autoresearchd.host
order = {}
here = threading.local()  # .evaluation, .drawing: what this thread is in the middle of

_SETTLE = "__autoresearchd_settle__"
_VALIDATION = {"val", "valid", "validation", "eval", "evaluation", "test", "dev", "holdout"}
_LOADER = re.compile(r"(?i)[a-z]\w*?(loaders?|batches|_iterator|_stream)(_\w+)?|loaders?|batches")
_BATCH = re.compile(r"(?i)(\w+_)?(get|next|sample|fetch|load|make)_?batch")
_SCORES = ("val_bpb", "bpb", "bits_per_byte", "val_bits_per_byte", "validation_bpb", "eval_bpb", "test_bpb")


class Unscored(ValueError):
    """What evaluate_bpb returned holds no score that can be told from the rest."""


def covers(name, path):
    """Whether a module is prepare, a part of it, or prepare within a package, in the trial's own folder."""
    return "prepare" in name.split(".") and bool(path) and _own(path)


def _own(path):
    return os.path.realpath(path).startswith(os.path.realpath(order["directory"]) + os.sep)


# ---- constants -----------------------------------------------------------------------------------------------------


def wanted():
    """The constants that a trial settles: {name: seconds, steps, or a folder's path}."""
    values = {"STEP_BUDGET": order["steps"]} if order["steps"] else {"TIME_BUDGET": order["seconds"], "STEP_BUDGET": 0}
    if order["cache"]:
        values["CACHE_DIR"] = order["cache"]
    return values


def execute(module):
    """Runs prepare's source with the wanted constants, and wraps its functions.

    Each binding of such a name is settled as it happens, for functions take the
    constants as defaults and other constants are made of them.
    """
    path = module.__spec__.origin
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    values = wanted()
    tree.body = _settled(tree.body, set(values))
    module.__dict__[_SETTLE] = functools.partial(_settle, module.__name__, values)
    exec(compile(ast.fix_missing_locations(tree), path, "exec"), module.__dict__)
    if module.__name__ == "prepare":
        for name in ("TIME_BUDGET", "STEP_BUDGET"):
            if name not in module.__dict__ and values.get(name):
                setattr(module, name, _like(0, values[name]))
    _wrap(module, _place(tree))


def _settled(body, names):
    """Statements in which every binding of one of the names, in either case, is settled."""
    out = []
    for node in body:
        out.append(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            declared = {name for n in ast.walk(node) if isinstance(n, ast.Global) for name in n.names}
            budgets = {name for name in declared if name.upper() in names - {"CACHE_DIR"}}
            if budgets:
                node.body = _settled(node.body, {name.upper() for name in budgets})
            continue
        for part in ("body", "orelse", "finalbody"):
            if isinstance(getattr(node, part, None), list):
                setattr(node, part, _settled(getattr(node, part), names))
        for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            part.body = _settled(part.body, names)
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) if name.upper() in names:
                node.value = _call(name, node.value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()) if name.upper() in names:
                node.value = _call(name, node.value)
            case ast.Assign() | ast.AugAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                bound = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
                out += [_again(node, name) for name in bound if name.upper() in names]
            case ast.Import() | ast.ImportFrom():
                bound = [alias.asname or alias.name for alias in node.names]
                out += [_again(node, name) for name in bound if name.upper() in names]
                if bound == ["*"]:
                    for name in sorted(names):
                        test = ast.parse(f"{name!r} in globals()", mode="eval").body
                        out.append(ast.copy_location(ast.If(test, [_again(node, name)], []), node))
    return out


def _call(name, value):
    call = ast.Call(ast.Name(_SETTLE, ast.Load()), [ast.Constant(name), value], [])
    return ast.copy_location(call, value)


def _again(node, name):
    value = _call(name, ast.copy_location(ast.Name(name, ast.Load()), node))
    return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), node)


def _settle(module, values, name, own):
    if name.upper() not in values:
        return own
    try:
        return _like(own, values[name.upper()])
    except Exception:
        words = f"{module}'s {name} is of type {type(own).__name__}, which cannot be set: write a number or a path"
        host("fault", json.dumps({"fault": words}).encode())
        raise SystemExit(words) from None


def _like(own, value):
    """A value in the kind of the one that prepare has itself."""
    if isinstance(value, str):
        if own is None or isinstance(own, str):
            return value
        return os.fsencode(value) if isinstance(own, bytes) else type(own)(value)
    whole = int(value) if float(value).is_integer() else value
    if isinstance(own, datetime.timedelta):
        return datetime.timedelta(seconds=value)
    if isinstance(own, (float, str)):
        return type(own)(value if isinstance(own, float) else whole)
    if own is None or isinstance(own, int):
        return whole
    return type(own)(whole)


# ---- functions -----------------------------------------------------------------------------------------------------


def _wrap(module, place):
    for name, value in list(module.__dict__.items()):
        if hasattr(value, "_autoresearchd") or not callable(value):
            continue
        if name == "evaluate_bpb":
            setattr(module, name, _scored(module, value, place))
        elif name == "make_dataloader" or not name.startswith("_") and _is_ours(value):
            if _BATCH.fullmatch(name):
                setattr(module, name, _each(value))
            elif _LOADER.fullmatch(name):
                setattr(module, name, _loader(name, value))


def _is_ours(value):
    """Whether a function or class was written beside train.py."""
    if inspect.isfunction(value):
        return _own(value.__code__.co_filename)
    return inspect.isclass(value) and _own(getattr(sys.modules.get(value.__module__), "__file__", None) or "/")


def _loader(name, real):
    if inspect.isclass(real):
        return _loader_class(name, real)
    signature = _signature(real)

    @functools.wraps(real)
    def loader(*args, **kwargs):
        evaluation = getattr(here, "evaluation", None)
        if name == "make_dataloader" and evaluation is not None and evaluation.rows is not None:
            return evaluation.rows.loader(args, kwargs)
        return _watched(_inside(real, args, kwargs), _validates(name, signature, args, kwargs))

    loader._autoresearchd = real
    return loader


def _loader_class(name, real):
    """A class of loaders whose instances count what they hand out."""
    signature = _signature(real)

    def __init__(self, *args, **kwargs):
        super(counting, self).__init__(*args, **kwargs)
        self.__dict__["_validates"] = _validates(name, signature, args, kwargs)

    def __iter__(self):
        batches = super(counting, self).__iter__()
        return self if batches is self else _watched(batches, self._validates)

    def __next__(self):
        return _draw(super(counting, self).__next__, self._validates)

    body = {
        "__init__": __init__,
        "__module__": real.__module__,
        "__qualname__": real.__qualname__,
        "__doc__": real.__doc__,
    }
    for method in (__iter__, __next__):
        if hasattr(real, method.__name__):
            body[method.__name__] = method
    try:
        counting = type(real)(real.__name__, (real,), body)
    except TypeError:  # it cannot be derived from
        return real
    counting._autoresearchd = real
    return counting


def _each(real):
    """A function that returns a batch whenever it is called."""
    signature = _signature(real)

    @functools.wraps(real)
    def batch(*args, **kwargs):
        return _draw(functools.partial(real, *args, **kwargs), _validates("", signature, args, kwargs))

    batch._autoresearchd = real
    return batch


def _signature(real):
    try:
        return inspect.signature(real)
    except (TypeError, ValueError):
        return None


def _validates(name, signature, args, kwargs):
    """Whether a loader is for validation: by what it is called with, else by who calls it."""
    if getattr(here, "evaluation", None) is not None:
        return True
    given = {str(n): value for n, value in enumerate(args)} | kwargs
    if signature is not None:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            pass
    for key, value in given.items():
        if isinstance(value, str) and value.lower() in _VALIDATION:
            return True
        if isinstance(value, bool) and key.lower() in ("train", "is_train", "training"):
            return not value
    return bool(_VALIDATION & set(name.lower().split("_")))


def _watched(value, validates):
    """What a loader returned, with every batch in it seen."""
    evaluation = getattr(here, "evaluation", None)
    if validates and evaluation is None:
        return value
    if isinstance(value, tuple):
        items = [_watched(item, validates) if _hands_out(item) else item for item in value]
        return value._make(items) if hasattr(value, "_make") else tuple(items)
    if isinstance(value, dict):
        return {
            key: item if not _hands_out(item) else _watched(item, validates or str(key).lower() in _VALIDATION)
            for key, item in value.items()
        }
    if hasattr(value, "__anext__"):
        return _awaited(value, validates)
    if hasattr(value, "__next__"):
        return _Iterator(value, validates, evaluation)
    if inspect.isfunction(value) or inspect.ismethod(value):
        return _each(value)
    return _Iterable(value, validates, evaluation) if _hands_out(value) else value


def _hands_out(value):
    """Whether batches can be drawn from a value: it is no array, no text and no plain number."""
    if (
        isinstance(value, (str, bytes, list, tuple, dict, set, type))
        or hasattr(value, "shape")
        or hasattr(value, "numel")
    ):
        return False
    return hasattr(value, "__next__") or hasattr(value, "__iter__") or hasattr(value, "__anext__")


class _Iterable:
    """Stands for what a loader returned, in all but that it sees the batches."""

    def __init__(self, real, validates, evaluation):
        self.__dict__.update(_real=real, _validates=validates, _evaluation=evaluation)

    def __iter__(self):
        batches = iter(self._real)
        return self if batches is self._real else _Iterator(batches, self._validates, self._evaluation)

    def __getattr__(self, name):
        return getattr(self._real, name)

    def __setattr__(self, name, value):
        setattr(self._real, name, value)

    def __len__(self):
        return len(self._real)

    def __bool__(self):
        return bool(self._real)

    def __getitem__(self, key):
        return self._real[key]

    @property
    def __class__(self):
        return type(self._real)


class _Iterator(_Iterable):
    def __next__(self):
        if self._evaluation is None:
            return _draw(self._real.__next__, self._validates)
        return _draw(functools.partial(self._evaluation.draw, self._real), True)


async def _awaited(batches, validates):
    async for batch in batches:
        if not validates:
            _count(batch)
        yield batch


def _inside(real, args, kwargs):
    """Calls a function whose own loaders are parts of what it returns."""
    outer = getattr(here, "drawing", False)
    here.drawing = True
    try:
        return real(*args, **kwargs)
    finally:
        here.drawing = outer


def _draw(draw, validates):
    """Draws a batch, and counts it unless it is a part of one that is being drawn."""
    if getattr(here, "drawing", False):
        return draw()
    here.drawing = True
    try:
        batch = draw()
    finally:
        here.drawing = False
    if not validates:
        _count(batch)
    return batch


def _count(batch):
    if "device" not in order:
        order["device"] = _device(batch)
    if host("batch", str(_tokens(batch)).encode()) and not _steps():
        host("stand in")


def _device(batch):
    """Where the first array of a batch lies; "" where it does not say."""
    if isinstance(batch, collections.abc.Mapping):
        batch = list(batch.values())
    first = batch[0] if isinstance(batch, (list, tuple)) and batch else batch
    return str(getattr(first, "device", ""))


def _tokens(batch):
    """The elements of a batch's first array of integers; of its first array where there is none; else 0."""
    rest = 0
    for size, integer in _arrays(batch, 0):
        if integer:
            return size
        rest = rest or size
    return rest


def _arrays(value, depth):
    """(elements, whether they are integers) of each array in a batch."""
    if hasattr(value, "shape") or hasattr(value, "numel"):
        size = value.numel() if callable(getattr(value, "numel", None)) else getattr(value, "size", 0)
        yield int(size() if callable(size) else size), "int" in str(getattr(value, "dtype", "int"))
    elif isinstance(value, (list, tuple)) and value and type(value[0]) is int and isinstance(value, list):
        yield len(value), True
    elif isinstance(value, (list, tuple, collections.abc.Mapping)) and depth < 4:
        rows = isinstance(value, list) and value and isinstance(value[0], list)
        if rows:
            yield sum(size for row in value for size, _ in _arrays(row, depth + 1)), True
        else:
            for item in value.values() if isinstance(value, collections.abc.Mapping) else value:
                yield from _arrays(item, depth + 1)


def _steps():
    """Whether there is an optimizer whose steps are seen. A look at all objects: once in a trial, if at all."""
    import gc

    module = sys.modules.get("torch.optim.optimizer")
    kind = getattr(module, "Optimizer", None)
    return kind is not None and any(issubclass(type(each), kind) for each in gc.get_objects())


# ---- the score -----------------------------------------------------------------------------------------------------


class _Evaluation:
    """The batches that one call of evaluate_bpb draws: those of `rows`, else after the first `skip` of each loader."""

    def __init__(self, rows=None, skip=0):
        self.rows, self.skip, self.drawn, self.begun, self.inside = rows, skip, 0, {}, False

    def draw(self, batches):
        """The next batch of a loader, or of a part of one that is drawn already."""
        if self.inside:
            return next(batches)
        self.inside = True
        try:
            return self._draw(batches)
        finally:
            self.inside = False

    def _draw(self, batches):
        if self.skip and id(batches) not in self.begun:
            self.begun[id(batches)] = batches, _epoch(next(batches))
            for _ in range(self.skip - 1):
                next(batches)
        batch = next(batches)
        if self.skip and _epoch(batch) != self.begun[id(batches)][1]:
            raise ValueError("the validation shard is too short for an audit: it begins again within it")
        self.drawn += 1
        return batch


def _epoch(batch):
    if isinstance(batch, (tuple, list)) and len(batch) > 2 and isinstance(batch[2], int):
        return batch[2]
    raise ValueError("the batches do not say when the validation shard begins again: (inputs, targets, epoch) would")


def _scored(module, real, place):
    @functools.wraps(real)
    def evaluate_bpb(*args, **kwargs):
        if getattr(here, "evaluation", None) is not None:
            return real(*args, **kwargs)
        if order["overlap"]:
            _make_room()
        host("evaluate")
        proof = witness.begin(order)
        if proof is None:
            evaluation = _Evaluation()
            value = _evaluate(real, args, kwargs, evaluation)
            drawn = evaluation.drawn
        else:
            value = _evaluate(real, *proof.stand_in(args, kwargs), _Evaluation(proof.rows))
            drawn = proof.rows.batches
        try:
            score = bits(value, place)
        except Unscored as fault:
            host("fault", json.dumps({"fault": f"{module.__name__}.evaluate_bpb {fault}"[:500]}).encode())
            return value
        if proof is not None:
            proven = proof.give(score)
            if proven is not None:
                score, value = proven, proven if isinstance(value, float) else value
        host("score", json.dumps({"val_bpb": repr(score), "peak": _peak()}).encode())
        if proof is not None and order.get("weights") and score <= order["bar"]:
            proof.save(order["weights"])
        if order["audit"]:
            host("evaluate")
            try:
                if not drawn:
                    raise ValueError("evaluate_bpb draws no batches from make_dataloader")
                rows = proof.audit_rows() if proof is not None else None
                audit = repr(bits(_evaluate(real, args, kwargs, _Evaluation(rows, 0 if rows else drawn)), place))
            except Exception as fault:  # the score stands, whatever becomes of the audit
                audit = f"{type(fault).__name__}: {fault}"
            host("audit", json.dumps({"audit": audit[:500]}).encode())
        return value

    evaluate_bpb._place = place
    evaluate_bpb._autoresearchd = real
    return evaluate_bpb


def _make_room():
    """Gives back what torch keeps of the GPU's memory: another trial is to get ready beside the evaluation."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_available() and cuda.is_initialized():
        cuda.empty_cache()


def _evaluate(real, args, kwargs, evaluation):
    here.evaluation = evaluation
    try:
        return real(*args, **kwargs)
    finally:
        here.evaluation = None


def _peak():
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda.max_memory_allocated() if cuda is not None and cuda.is_available() else 0


def bits(value, place=0):
    """The score in what evaluate_bpb returned: by its name where parts have names, else by its place.

    Unscored if there is none.
    """
    if isinstance(value, (bool, str, bytes)):
        raise Unscored(f"returned a {type(value).__name__}: it must return bits per byte, a number")
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, collections.abc.Mapping):
        named = {str(key): item for key, item in value.items()}
    elif hasattr(value, "_asdict"):
        named = value._asdict()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, (tuple, list)):
        if value:
            return bits(value[place if place < len(value) else 0])
        raise Unscored(f"returned a {type(value).__name__} of no parts: it must return bits per byte, a number")
    elif hasattr(value, "item"):
        try:
            return float(value.item())
        except (TypeError, ValueError, RuntimeError):
            shape = tuple(getattr(value, "shape", ()))
            raise Unscored(f"returned a {type(value).__name__} of shape {shape}: it must return one number") from None
    else:
        named = {name: item for name, item in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
        if not named:
            try:
                return float(value)
            except (TypeError, ValueError):
                raise Unscored(f"returned a {type(value).__name__}: it must return bits per byte, a number") from None
    key = score_name(named)
    if key is None:
        names = ", ".join(map(str, named)) or "nothing"
        raise Unscored(f"returned a {type(value).__name__} of {names}: none of these is named val_bpb or bpb")
    return bits(named[key])


def score_name(names):
    """Which of several names is the score's; None if none, or more than one, can be."""
    plain = {re.sub(r"\W+", "_", str(name)).strip("_").lower(): name for name in names}
    for name in _SCORES:
        if name in plain:
            return plain[name]
    found = [name for key, name in plain.items() if "bpb" in key or "bits_per_byte" in key]
    return found[0] if len(found) == 1 else None


def _place(tree):
    """Where in a tuple evaluate_bpb returns its score, by what the parts are called; 0 where nothing tells."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "evaluate_bpb":
            parts = list(ast.walk(node))
            results = {n.value.id for n in parts if isinstance(n, ast.Return) and isinstance(n.value, ast.Name)}
            for n in parts:
                named = isinstance(n, ast.Assign) and any(
                    isinstance(t, ast.Name) and t.id in results for t in n.targets
                )
                if (named or isinstance(n, ast.Return)) and isinstance(n.value, ast.Tuple):
                    for place, part in enumerate(n.value.elts):
                        if re.search(r"(?i)bpb|bits|log\(2|log2|ln2", ast.unparse(part)):
                            return place
    return 0
