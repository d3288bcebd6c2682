"""What happens before train.py's first line, and beside it.

`prepare` is wrapped when train.py imports it: the budget is set, training
batches are counted, and evaluate_bpb's value goes to the host directly. When
torch is imported, the trial's seed is imposed and every optimizer step is
reported. The host stamps all of it on its own clock; nothing that train.py
prints or patches is believed.
"""

import ast
import functools
import importlib.abc
import importlib.util
import inspect
import json
import os
import sys

import _autoresearchd

host = _autoresearchd.host
order = {}


def begin(data):
    """Gets ready for one trial. data: the host's order as JSON."""
    order.clear()
    order.update(json.loads(data))
    if order["log_fd"] >= 0:
        os.chdir(order["directory"])
        sys.stdout = open(os.dup(order["log_fd"]), "w", encoding="utf-8", errors="replace")
        sys.stderr = open(os.dup(order["log_fd"]), "w", encoding="utf-8", errors="replace")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="replace")
    for name in ("prepare", "train"):
        sys.modules.pop(name, None)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Hooks)]
    hooks = {"prepare": (_prepare_source, _wrap_prepare), "torch": (None, _wrap_torch), "numpy": (None, _wrap_numpy)}
    sys.meta_path.insert(0, _Hooks(hooks))
    for name in ("torch", "numpy"):
        if name in sys.modules:
            hooks[name][1](sys.modules[name])
    _impose("random", "seed", int(order["seed"]))


def end(data):
    """Gives back what a trial held, where the interpreter lives on."""
    import gc

    torch = sys.modules.get("torch")
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None:
        dynamo.reset()
    gc.unfreeze()
    gc.enable()
    gc.collect()
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    if order["log_fd"] >= 0:
        sys.stdout.close()
        sys.stderr.close()
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        os.chdir("/")


class _Hooks(importlib.abc.MetaPathFinder):
    """Wraps the loaders of a few modules: {name: (compile or None, after)}."""

    def __init__(self, hooks):
        self.hooks = hooks
        self.busy = set()

    def find_spec(self, name, path=None, target=None):
        if name not in self.hooks or name in self.busy:
            return None
        self.busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy.discard(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, *self.hooks[name])
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, real, compiler, after):
        self.real, self.compiler, self.after = real, compiler, after

    def __getattr__(self, name):
        return getattr(self.real, name)

    def create_module(self, spec):
        return self.real.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.real
        if self.compiler is None:
            self.real.exec_module(module)
        else:
            exec(self.compiler(module), module.__dict__)
        self.after(module)


def _prepare_source(module):
    """prepare.py's code with the trial's budget and cache in its constants.

    They are set in the source, since functions take them as defaults.
    """
    path = module.__spec__.origin
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    values = {"TIME_BUDGET": order["seconds"], "STEP_BUDGET": order["steps"]}
    if float(values["TIME_BUDGET"]).is_integer():
        values["TIME_BUDGET"] = int(values["TIME_BUDGET"])
    if order["steps"]:
        del values["TIME_BUDGET"]
    if order["cache"]:
        values["CACHE_DIR"] = order["cache"]
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id in values:
                node.value = ast.copy_location(ast.Constant(values[node.targets[0].id]), node.value)
    return compile(tree, path, "exec")


def _wrap_prepare(module):
    if hasattr(module, "make_dataloader"):
        module.make_dataloader = _count_batches(module.make_dataloader)
    if hasattr(module, "evaluate_bpb"):
        module.evaluate_bpb = _report_score(module, module.evaluate_bpb)


def _count_batches(real):
    signature = inspect.signature(real)

    @functools.wraps(real)
    def make_dataloader(*args, **kwargs):
        batches = real(*args, **kwargs)
        given = signature.bind(*args, **kwargs).arguments
        if given.get("split") != "train":
            return batches
        return _counted(batches, str(given["B"] * given["T"]).encode())

    return make_dataloader


def _counted(batches, tokens):
    for batch in batches:
        host("batch", tokens)
        yield batch


def _report_score(module, real):
    @functools.wraps(real)
    def evaluate_bpb(*args, **kwargs):
        host("evaluate")
        value = real(*args, **kwargs)
        cuda = getattr(sys.modules.get("torch"), "cuda", None)
        peak = cuda.max_memory_allocated() if cuda is not None and cuda.is_available() else 0
        host("score", json.dumps({"val_bpb": repr(float(value)), "peak": peak}).encode())
        if order["audit"]:
            host("evaluate")
            try:
                audit = repr(float(_audit(module, real, args, kwargs)))
            except Exception as fault:  # the score stands, whatever becomes of the audit
                audit = f"{type(fault).__name__}: {fault}"
            host("audit", json.dumps({"audit": audit[:500]}).encode())
        return value

    return evaluate_bpb


def _audit(module, real, args, kwargs):
    """The same metric on the part of the validation shard that lies behind what is scored, and is as long."""
    whole = module.make_dataloader
    signature = inspect.signature(whole)

    def behind(*args, **kwargs):
        batches = whole(*args, **kwargs)
        given = signature.bind(*args, **kwargs).arguments
        if given.get("split") != "val":
            return batches
        return _behind(batches, module.EVAL_TOKENS // (given["B"] * given["T"]))

    module.make_dataloader = behind
    try:
        return real(*args, **kwargs)
    finally:
        module.make_dataloader = whole


def _behind(batches, scored):
    """Batches after the first ones, while the shard has not come to its end: (inputs, targets, epoch)."""
    first = next(batches)[2]
    for _ in range(scored - 1):
        next(batches)
    for batch in batches:
        if batch[2] != first:
            raise ValueError("the validation shard is too short for an audit: it begins again within it")
        yield batch


def _wrap_torch(torch):
    seed = int(order["seed"])
    _seed_with(torch, "manual_seed", seed)
    torch.random.manual_seed = torch.manual_seed
    _seed_with(torch.cuda, "manual_seed", seed)
    _seed_with(torch.cuda, "manual_seed_all", seed)
    torch.manual_seed(seed)
    optimizer = sys.modules["torch.optim.optimizer"]
    if not hasattr(optimizer, "_autoresearchd"):
        optimizer._autoresearchd = optimizer.register_optimizer_step_post_hook(lambda *_: host("step") and None)


def _wrap_numpy(numpy):
    _impose("numpy.random", "seed", int(order["seed"]) & 0xFFFFFFFF)


def _impose(module, function, seed):
    """Seeds a module now, and again whenever the script seeds it."""
    module = importlib.import_module(module)
    _seed_with(module, function, seed)
    getattr(module, function)()


def _seed_with(module, function, seed):
    real = getattr(module, function)
    real = getattr(real, "_autoresearchd", real)

    @functools.wraps(real)
    def imposed(*_, **__):
        return real(seed)

    imposed._autoresearchd = real
    setattr(module, function, imposed)
