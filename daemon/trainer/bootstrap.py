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
import io
import json
import os
import re
import sys
import tokenize

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


def read(source):
    """Reads train.py without running it.

    Returns JSON {"error", "constants", "imports", "evaluates"}; spans are byte
    offsets into the source.
    """
    try:
        tree = ast.parse(source)
        compile(tree, "train.py", "exec")
    except (SyntaxError, ValueError, RecursionError) as fault:
        line = getattr(fault, "lineno", None)
        message = getattr(fault, "msg", None) or str(fault)
        return _answer(error=f"line {line}: {message}" if line else message)
    found, assigned = {}, {}
    for node in tree.body:
        for name in _targets(node):
            assigned[name] = assigned.get(name, 0) + 1
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            names = _targets(node)
            if len(names) == 1 and re.fullmatch(r"[A-Z][A-Z0-9_]*", names[0]):
                value = _literal(node.value)
                if value is not None:
                    found[names[0]] = (node, value)
    starts = [0]
    for line in source.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    comments = _comments(source)
    constants = []
    for name, (node, value) in found.items():
        if assigned[name] > 1:
            continue
        at = node.value
        start = starts[at.lineno - 1] + at.col_offset
        stop = starts[at.end_lineno - 1] + at.end_col_offset
        constants.append(
            {
                "name": name,
                "value": value,
                "text": source[start:stop].decode(),
                "line": at.lineno,
                "start": start,
                "end": stop,
                "comment": comments.get(at.end_lineno, ""),
            }
        )
    imports = _taken(tree)
    names = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    names |= {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
    renamed = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "prepare"
        for alias in node.names
        if alias.name == "evaluate_bpb" and alias.asname
    }
    return _answer(constants=constants, imports=imports, evaluates="evaluate_bpb" in names or bool(renamed & names))


def _taken(tree):
    """The names that a script takes from prepare, in whichever way it takes them."""
    modules = {"prepare"}
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname for alias in node.names if alias.name == "prepare" and alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module == "prepare":
            names += [alias.name for alias in node.names]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            names.append(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            match node.args:
                case [ast.Name(id=module), ast.Constant(value=str(name)), *_] if module in modules:
                    names.append(name)
    return list(dict.fromkeys(names))


def _answer(error="", constants=(), imports=(), evaluates=False):
    answer = {"error": error, "constants": list(constants), "imports": list(imports), "evaluates": evaluates}
    return json.dumps(answer).encode()


def _targets(node):
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    if isinstance(node, (ast.AnnAssign, ast.AugAssign)) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _literal(node):
    """The value of a literal, of a sum of literals such as 2**19, or of a
    tuple of them; None for all else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
        value = node.value
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        if type(value) not in (int, float):
            return None
        value = -value
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _literal(node.left), _literal(node.right)
        if type(left) not in (int, float) or type(right) not in (int, float):
            return None
        if isinstance(node.op, ast.Pow) and (abs(left) > 1e6 or abs(right) > 64):
            return None
        try:
            value = _OPERATIONS[type(node.op)](left, right)
        except (ArithmeticError, ValueError):
            return None
    elif isinstance(node, ast.Tuple):
        value = [_literal(item) for item in node.elts]
        return None if None in value or not value else value
    else:
        return None
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return None
    return value if isinstance(value, (bool, int, float, str)) else None


_OPERATIONS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Pow: lambda a, b: a**b,
    ast.LShift: lambda a, b: a << b if 0 <= b < 64 else None,
}


def _comments(source):
    """Trailing comments by line."""
    found = {}
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
                found[token.start[0]] = token.string.lstrip("#").strip()
    except (tokenize.TokenError, SyntaxError, IndentationError):
        pass
    return found
