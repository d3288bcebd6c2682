"""Imports beforehand what a train.py imports, for a trial that is still to come.

What the script's first lines import is imported as they stand, up to the first
line that does anything else. The trial must not be able to tell, so whatever
an import did that would have come out otherwise under `python train.py` is a
reason not to use this process for a trial.
"""

import ast
import json
import os
import random
import sys
import tempfile
import types

import _autoresearchd_bootstrap as bootstrap

# What may ask for the working directory while it is imported: multiprocessing and settings of torch keep it, see _move;
# inspect makes names of files absolute that have no folder, such as <string>; tempfile has it as its last resort.
_SETTINGS = ("torch._dynamo.config", "torch._inductor.config")
_MAY_ASK = {"multiprocessing.process", "inspect", "tempfile", *_SETTINGS}

done = []  # the statements that were run, as text


def warm(data):
    """Imports what a trial will import. data: JSON {"source", "prepare", "beside", "directory"}, the text of train.py
    and of prepare.py, the modules that lie beside them, and the folder of such a trial, which is the working directory.

    Returns why no trial can use what is imported, as UTF-8; nothing if one can.
    """
    spec = json.loads(data)
    bootstrap.get_ready({"seed": 0, "directory": spec["directory"], "log_fd": -1})
    main = types.ModuleType("__main__")
    main.__file__ = os.path.join(spec["directory"], "train.py")
    own, sys.modules["__main__"] = sys.modules["__main__"], main
    sys.argv = ["train.py"]
    path, asked, real = list(sys.path), [], (os.getcwd, os.getcwdb)
    os.getcwd, os.getcwdb = (_asking(function, asked) for function in real)
    try:
        for node in _prefix(spec):
            text = ast.unparse(node)
            try:
                exec(compile(ast.Module([node], []), main.__file__, "exec", dont_inherit=True), main.__dict__)
            except BaseException as fault:
                return f"`{text}` fails: {type(fault).__name__}: {fault}"[:500].encode()
            done.append(text)
    finally:
        os.getcwd, os.getcwdb = real
        sys.modules["__main__"] = own
    return _oddity(spec, path, asked).encode()


def check(data):
    """Whether a trial can use what is imported: as warm, with what this trial has.

    Where it can, the working directory is the trial's from here on.
    """
    spec = json.loads(data)
    if [ast.unparse(node) for node in _prefix(spec)] != done:
        return b"its train.py or prepare.py imports something else"
    beside = sorted(set(spec["beside"]) & set(sys.modules))
    if beside:
        return f"{beside[0]} lies beside train.py, and was imported from elsewhere".encode()
    before = os.getcwd()
    os.chdir(spec["directory"])
    _move(before, os.getcwd())
    return b""


def _move(before, after):
    """Changes the working directory in what has noted it."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.ORIGINAL_DIR = after
    for entry in _settings():
        value = getattr(entry, "default", None)
        if isinstance(value, str) and (value + os.sep).startswith(before + os.sep):
            entry.default = after + value[len(before) :]


def _settings():
    """The settings of torch that were imported, each an object with its default."""
    return [entry for name in _SETTINGS for entry in getattr(sys.modules.get(name), "_config", {}).values()]


def _prefix(spec):
    """The statements that can be run beforehand, of train.py and, where it imports prepare next, of that."""
    tree = ast.parse(spec["source"])
    found, rest = _leading(tree, spec["beside"])
    match rest[:1]:
        case [ast.ImportFrom(module="prepare", level=0)] if "prepare" in spec["beside"]:
            found += _leading(ast.parse(spec["prepare"]), spec["beside"])[0]
        case [ast.Import(names=[ast.alias(name="prepare")])] if "prepare" in spec["beside"]:
            found += _leading(ast.parse(spec["prepare"]), spec["beside"])[0]
    return found


def _leading(tree, beside):
    """(the first statements of a script that import from elsewhere or set the environment, what follows them)."""
    local = set(beside) | {"prepare"}
    found = []
    for at, node in enumerate(tree.body):
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.ImportFrom(module="__future__"):
                continue
            case ast.Import() | ast.ImportFrom() | ast.Try() if _elsewhere(node, local):
                pass
            case ast.If(test=test, body=body, orelse=[]) if ast.unparse(test) == "torch.cuda.is_available()" and all(
                _elsewhere(each, local) for each in body
            ):
                pass  # what a GPU needs
            case ast.Assign(
                targets=[ast.Subscript(value=environ, slice=ast.Constant(value=str()))], value=ast.Constant(value=str())
            ) if ast.unparse(environ) == "os.environ":
                pass
            case ast.Expr(
                value=ast.Call(
                    func=setdefault, args=[ast.Constant(value=str()), ast.Constant(value=str())], keywords=[]
                )
            ) if ast.unparse(setdefault) == "os.environ.setdefault":
                pass
            case _:
                return found, tree.body[at:]
        found.append(node)
    return found, []


def _elsewhere(node, local):
    """Whether a statement imports, perhaps what may be missing, and nothing that lies beside train.py."""
    match node:
        case ast.Try(
            body=body,
            handlers=[ast.ExceptHandler(type=ast.Name(id="ImportError"), body=[ast.Pass()])],
            orelse=[],
            finalbody=[],
        ):
            return all(_elsewhere(each, local) for each in body)
        case ast.Import(names=names):
            return not any(name.name.split(".")[0] in local for name in names)
        case ast.ImportFrom(module=str(module), level=0):
            return module.split(".")[0] not in local
    return False


def _asking(real, asked):
    """A stand-in for os.getcwd that notes which module asks."""

    def getcwd():
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals.get("__name__") == "posixpath":
            frame = frame.f_back
        name = frame.f_globals.get("__name__", "")
        if name not in _MAY_ASK and name not in asked:
            asked.append(name)
        return real()

    return getcwd


def _oddity(spec, path, asked):
    """What an import did that a trial could tell; "" if nothing."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    cuda = getattr(torch, "cuda", None)
    beside = sorted((set(spec["beside"]) | {"prepare"}) & set(sys.modules))
    drawn = [name for name, drew in _drawn(torch, numpy) if drew]
    if not asked and not all(hasattr(entry, "default") for entry in _settings()):
        asked = [_SETTINGS[0]]  # of another torch
    if tempfile.tempdir is not None and os.path.realpath(tempfile.tempdir) == os.getcwd():
        asked = asked or ["tempfile"]
    if asked:
        return f"{asked[0]} asks for the working directory while it is imported"
    if os.path.realpath(os.getcwd()) != os.path.realpath(spec["directory"]):
        return "an import changes the working directory"
    if sys.path[: len(path)] != path:
        return "an import puts something before the script's own folder in sys.path"
    if beside:
        return f"{beside[0]} lies beside train.py, and is imported by a module from elsewhere"
    if drawn:
        return f"an import draws random numbers from {drawn[0]}, or seeds it"
    if cuda is not None and getattr(cuda, "is_initialized", bool)():
        return "an import initialises CUDA, which takes memory of the GPU"
    return ""


def _drawn(torch, numpy):
    """(a module, whether its random numbers went on since they were seeded with 0)."""
    yield "random", random.getstate() != random.Random(0).getstate()
    if hasattr(numpy, "random"):
        now, fresh = (state.get_state() for state in (numpy.random, numpy.random.RandomState(0)))
        yield "numpy", repr(now[2:]) != repr(fresh[2:]) or now[1].tobytes() != fresh[1].tobytes()
    if hasattr(torch, "Generator"):
        yield "torch", not torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(0).get_state())
