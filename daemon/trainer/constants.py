"""Finds the constants of train.py: literals that stand at the top of the module and are set once."""

import ast
import io
import re
import tokenize


def find(tree, source):
    """The constants of a parsed train.py, in its order, as search.Constant has them in JSON."""
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
    return constants


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
