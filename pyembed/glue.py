"""The Python half of pyembed: bytes in and out, and running a file as __main__."""

import atexit
import builtins
import importlib
import json
import sys
import threading
import traceback
import types


def load(name, source, filename):
    """Makes a module `name` out of source text and registers it."""
    module = types.ModuleType(name)
    module.__file__ = filename
    sys.modules[name] = module
    exec(compile(source, filename, "exec"), module.__dict__)


def call(module, function, data):
    """Calls module.function(bytes) -> bytes | None.

    Returns b"+" and the answer, or b"-" and a traceback: nothing is raised
    into the host.
    """
    try:
        answer = getattr(importlib.import_module(module), function)(data)
        return b"+" + (answer or b"")
    except BaseException:
        return b"-" + traceback.format_exc().encode("utf-8", "replace")


def run_file(data):
    """Runs a file as `python FILE` would, and says how it ended.

    data: JSON {"path": file to read, "argv": sys.argv, "directory": sys.path[0],
    "last": whether the process ends after this file}.
    Returns JSON {"code": exit status, "exception": type name or "", "message":
    str, "traceback": text}.
    """
    spec = json.loads(data)
    main = types.ModuleType("__main__")
    main.__file__ = spec["path"]
    main.__builtins__ = builtins
    main.__dict__.update(__cached__=None)
    before = sys.modules.get("__main__")
    sys.modules["__main__"] = main
    sys.argv = list(spec["argv"])
    sys.path.insert(0, spec["directory"])
    register, leaving = atexit.register, []
    if not spec["last"]:
        atexit.register = _collector(register, leaving)
    result = {"code": 0, "exception": "", "message": "", "traceback": ""}
    try:
        with open(spec["path"], "rb") as file:
            code = compile(file.read(), spec["path"], "exec")
        exec(code, main.__dict__)
    except SystemExit as leave:
        result["code"] = _exit_code(leave.code)
    except BaseException as fault:
        # The first frame is this function's own.
        own = fault.__traceback__.tb_next if fault.__traceback__ else None
        lines = traceback.format_exception(type(fault), fault, own)
        sys.stderr.write("".join(lines))
        result.update(code=1, exception=type(fault).__name__, message=str(fault)[:2000])
        result["traceback"] = "".join(lines)[-8000:]
        del fault
    finally:
        atexit.register = register
        _leave(spec["last"], leaving)
        sys.path[:1] = []
        sys.modules["__main__"] = before
    return json.dumps(result).encode()


def _exit_code(code):
    """sys.exit's argument as an exit status, as CPython has it."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _collector(register, leaving):
    """A stand-in for atexit.register that keeps apart what __main__ registers:
    the rest belongs to libraries that live on."""

    def collect(function, *args, **kwargs):
        if sys._getframe(1).f_globals.get("__name__") != "__main__":
            return register(function, *args, **kwargs)
        leaving.append((function, args, kwargs))
        return function

    return collect


def _leave(last, leaving):
    """What CPython does at exit, without tearing the interpreter down.

    Shutting threading down can be done once; before the last file the threads
    that the script started are joined instead, pools of libraries aside.
    """
    try:
        if last:
            threading._shutdown()
            atexit._run_exitfuncs()
        else:
            futures = sys.modules.get("concurrent.futures.thread")
            pools = getattr(futures, "_threads_queues", {})
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and not thread.daemon and thread not in pools:
                    thread.join()
            for function, args, kwargs in reversed(leaving):
                function(*args, **kwargs)
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            continue
