"""Reads train.py without running it: its constants, what it takes from prepare, whether it is scored."""

import ast
import json

import _autoresearchd_boundary
import _autoresearchd_constants
import _autoresearchd_contract


def read(source):
    """Reads train.py without running it.

    Returns JSON {"error", "constants", "others", "imports", "modules",
    "evaluates", "claims", "unscored", "uncounted", "unplaced"}; spans are byte offsets into the source. Of
    prepare.py only the last three are of interest, and what it imports.
    """
    try:
        tree = ast.parse(source)
        compile(tree, "train.py", "exec")
    except (SyntaxError, ValueError, RecursionError) as fault:
        line = getattr(fault, "lineno", None)
        message = getattr(fault, "msg", None) or str(fault)
        return _answer(error=f"line {line}: {message}" if line else message)
    constants, others = _autoresearchd_constants.find(tree, source)
    imports = _taken(tree)
    return _answer(
        constants=constants,
        others=others,
        imports=imports,
        modules=_modules(tree),
        evaluates=_autoresearchd_contract.evaluates(tree),
        claims=_autoresearchd_contract.claims(tree),
        unscored=_autoresearchd_contract.prepare_fault(tree, _autoresearchd_boundary.score_name),
        uncounted=_autoresearchd_contract.uncounted(tree),
        unplaced=_autoresearchd_contract.unplaced(tree),
    )


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
            prepares = [alias for alias in node.names if _autoresearchd_contract.is_prepare(alias.name)]
            modules |= {alias.asname for alias in prepares if alias.asname}
        elif isinstance(node, ast.ImportFrom) and _autoresearchd_contract.is_prepare(node.module):
            names += [alias.name for alias in node.names]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            names.append(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            match node.args:
                case [ast.Name(id=module), ast.Constant(value=str(name)), *_] if module in modules:
                    names.append(name)
    return list(dict.fromkeys(names))


def _answer(
    error="",
    constants=(),
    others=(),
    imports=(),
    modules=(),
    evaluates=False,
    claims=(),
    unscored="",
    uncounted=0,
    unplaced="",
):
    answer = {
        "error": error,
        "constants": list(constants),
        "others": list(others),
        "imports": list(imports),
        "modules": list(modules),
        "evaluates": evaluates,
        "claims": list(claims),
        "unscored": unscored,
        "uncounted": uncounted,
        "unplaced": unplaced,
    }
    return json.dumps(answer).encode()
