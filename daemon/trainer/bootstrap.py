"""What happens before train.py's first line, and beside it.

When train.py imports `prepare`, boundary.py takes it over. When torch is
imported, the trial's seed is imposed and every optimizer step is reported. The
host stamps all of it on its own clock; nothing that train.py prints or patches
is believed.
"""

import functools
import importlib.abc
import importlib.util
import json
import os
import sys

import _autoresearchd
import _autoresearchd_boundary as boundary

host = _autoresearchd.host
order = boundary.order


def begin(data):
    """Gets ready for one trial. data: the host's order as JSON."""
    forget(order.get("directory"))
    get_ready(json.loads(data))


def get_ready(trial):
    """Settles the streams and seeds of a trial, or of one to come, and hooks what is imported from now on."""
    first = not order
    order.clear()
    order.update(trial)
    if order["log_fd"] >= 0:
        os.chdir(order["directory"])
        sys.stdout = open(os.dup(order["log_fd"]), "w", encoding="utf-8", errors="replace")
        sys.stderr = open(os.dup(order["log_fd"]), "w", encoding="utf-8", errors="replace")
    if order["log_fd"] >= 0 or first:  # an import may have put its own there since
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True, errors="replace")
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Hooks)]
    hooks = {"torch": _wrap_torch, "numpy": _wrap_numpy}
    sys.meta_path.insert(0, _Hooks(hooks))
    for name, after in hooks.items():
        if name in sys.modules:
            after(sys.modules[name])
    _impose("random", "seed")


def forget(directory):
    """Drops the modules of an earlier trial's folder."""
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__dict__", {}).get("__file__")
        if directory and isinstance(path, str) and path.startswith(directory + os.sep):
            del sys.modules[name]


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
    """Takes prepare over, and calls {name: after} when such a module is imported."""

    def __init__(self, hooks):
        self.hooks = hooks
        self.busy = set()

    def find_spec(self, name, path=None, target=None):
        if name in self.busy or name not in self.hooks and "prepare" not in name.split("."):
            return None
        self.busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy.discard(name)
        if spec is None or spec.loader is None:
            return spec
        if name in self.hooks:
            spec.loader = _Loader(spec.loader, self.hooks[name])
        elif boundary.covers(name, spec.origin):
            spec.loader = _Loader(spec.loader, None)
        return spec


class _Loader(importlib.abc.Loader):
    """A module's own loader, with something to be done after it; None: the module is executed by the boundary."""

    def __init__(self, real, after):
        self.real, self.after = real, after

    def __getattr__(self, name):
        return getattr(self.real, name)

    def create_module(self, spec):
        return self.real.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.real
        if self.after is None:
            boundary.execute(module)
        else:
            self.real.exec_module(module)
            self.after(module)


def _wrap_torch(torch):
    _seed_with(torch, "manual_seed")
    torch.random.manual_seed = torch.manual_seed
    _seed_with(torch.cuda, "manual_seed")
    _seed_with(torch.cuda, "manual_seed_all")
    torch.manual_seed()
    optimizer = sys.modules["torch.optim.optimizer"]
    if not hasattr(optimizer, "_autoresearchd"):
        optimizer._autoresearchd = optimizer.register_optimizer_step_post_hook(_stepped)


def _stepped(optimizer, *_):
    host("step", str(id(optimizer)).encode())


def _wrap_numpy(numpy):
    _impose("numpy.random", "seed", 0xFFFFFFFF)


def _impose(module, function, mask=-1):
    """Seeds a module now, and again whenever the script seeds it."""
    module = importlib.import_module(module)
    _seed_with(module, function, mask)
    getattr(module, function)()


def _seed_with(module, function, mask=-1):
    """Has a function that seeds take the trial's seed, the order's at that moment."""
    real = getattr(module, function)
    real = getattr(real, "_autoresearchd", real)

    @functools.wraps(real)
    def imposed(*_, **__):
        return real(int(order["seed"]) & mask)

    imposed._autoresearchd = real
    setattr(module, function, imposed)
