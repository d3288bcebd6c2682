"""Reads train.py without running it: its constants, what it takes from prepare, whether it is scored."""

import ast
import io
import json
import re
import tokenize


def read(source):
    """Reads train.py without running it.

    Returns JSON {"error", "constants", "imports", "modules", "evaluates"}; spans
    are byte offsets into the source.
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
    evaluates = "evaluate_bpb" in names or bool(renamed & names)
    return _answer(constants=constants, imports=imports, modules=_modules(tree), evaluates=evaluates)


def _modules(tree):
    """What a script imports, as [{"name", "optional"}].

    The names are dotted, with a leading dot for each level of a relative import,
    and include what may be a module or a name in one: `from a import b` gives a
    and a.b. Optional is what the script goes on without: an import whose
    ImportError it catches, or that only a type checker sees.
    """
    found = {}
    left = [(tree, False)]  # no recursion: a long sum is a deep tree
    while left:
        node, optional = left.pop()
        names, guarded = [], []
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom():
                base = "." * node.level + (node.module or "")
                dot = "" if base.endswith(".") else "."
                names = [base] + [base + dot + alias.name for alias in node.names if alias.name != "*"]
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name))],
            ):
                names = [name]
            case ast.Try() if any(map(_catches, node.handlers)):
                guarded = node.body
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                guarded = node.body
        for name in names:
            found[name] = found.get(name, True) and optional
        left += [(child, optional or child in guarded) for child in ast.iter_child_nodes(node)]
    return [{"name": name, "optional": optional} for name, optional in sorted(found.items())]


def _catches(handler):
    """Whether an except clause takes a missing module."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    wide = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
    return any(kind is None or isinstance(kind, ast.Name) and kind.id in wide for kind in kinds)


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


def _answer(error="", constants=(), imports=(), modules=(), evaluates=False):
    answer = {
        "error": error,
        "constants": list(constants),
        "imports": list(imports),
        "modules": list(modules),
        "evaluates": evaluates,
    }
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
