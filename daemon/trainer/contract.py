"""Finds what a script decides itself although the study decides it: when training ends, and what the score is.

A claim is {"name", "line", "what", "module"}: the name of prepare's that is not
taken from it, where, in words, and the module that it is taken from instead;
"" where the script is itself to blame.
"""

import ast
import re


def claims(tree):
    """The claims of a parsed script."""
    names = _Names(tree)
    return _evaluation(tree, names) + _budget(tree, names, "TIME_BUDGET") + _budget(tree, names, "STEP_BUDGET")


def _claim(name, node, what, module=""):
    return {"name": name, "line": node.lineno, "what": what, "module": module}


def evaluates(tree):
    """Whether a script calls an evaluate_bpb, or does something else with prepare's."""
    names = _Names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="evaluate_bpb") | ast.Attribute(attr="evaluate_bpb")):
                return True
        if isinstance(getattr(node, "ctx", None), (ast.Load, type(None))) and names.is_taken(node, "evaluate_bpb"):
            return True
    return False


def is_prepare(module):
    return "prepare" in (module or "").split(".")


class _Names:
    """What a script knows of prepare, and of the other modules that it imports."""

    def __init__(self, tree):
        self.modules = {"prepare"}  # names of prepare itself
        self.others = {}  # names of other modules: {name: module}
        self.taken = {}  # names of prepare's names: {name: prepare's}
        self.foreign = {}  # names from other modules: {name: (node, module)}
        self.all = False  # of prepare's names are taken
        self.stars = []  # (node, module) of which all names are taken
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    bound = alias.asname or alias.name
                    if is_prepare(alias.name):
                        self.modules.add(bound)
                    else:
                        self.others[bound] = alias.name
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                for alias in node.names:
                    bound = alias.asname or alias.name
                    if alias.name == "prepare":
                        self.modules.add(bound)
                    elif is_prepare(node.module) and alias.name == "*":
                        self.all = True
                    elif is_prepare(node.module):
                        self.taken[bound] = alias.name
                    elif alias.name == "*":
                        self.stars.append((node, module))
                    else:
                        self.foreign[bound] = node, module
        for node in ast.walk(tree):  # ours = prepare.theirs
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                for theirs in ("evaluate_bpb", "TIME_BUDGET", "STEP_BUDGET"):
                    if name != theirs and self.is_taken(node.value, theirs):
                        self.taken[name] = theirs

    def is_taken(self, node, name):
        """Whether an expression is prepare's name, and nothing else."""
        match node:
            case ast.Name(id=bound):
                return self.taken.get(bound) == name or self.all and bound == name
            case ast.Attribute(attr=attr, value=value):
                return attr == name and ast.unparse(value) in self.modules
            case ast.Call(func=ast.Name(id="getattr"), args=[module, ast.Constant(value=text), *_]):
                return text == name and ast.unparse(module) in self.modules
        return False

    def speaks_of(self, node, name):
        """Whether prepare's name is anywhere in a piece of code."""
        return any(self.is_taken(n, name) for n in ast.walk(node))


def _bound(node, name):
    """Whether a statement binds a name."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name == name
        case ast.Import() | ast.ImportFrom():
            return any((alias.asname or alias.name) == name for alias in node.names)
        case ast.Assign(targets=targets):
            return any(isinstance(n, ast.Name) and n.id == name for t in targets for n in ast.walk(t))
        case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr()) | ast.AugAssign(target=ast.Name(id=target)):
            return target == name
    return False


def _bindings(tree, name):
    """The statements that decide what a script's global name is: the last at the top, else all in branches."""
    top = [node for node in tree.body if _bound(node, name)]
    if top:
        return top[-1:]
    found, left = [], list(tree.body)
    while left:
        node = left.pop()
        if _bound(node, name):
            found.append(node)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            left += ast.iter_child_nodes(node)
        elif any(isinstance(n, ast.Global) and name in n.names for n in ast.walk(node)):
            left += ast.iter_child_nodes(node)
    return found


def _own(tree, names, name):
    """Claims on a name of prepare's that the script binds itself."""
    found = []
    for node in _bindings(tree, name):
        if isinstance(node, ast.ImportFrom):
            if name not in names.foreign or names.foreign[name][0] is not node:
                return []
            module = names.foreign[name][1]
            found.append(_claim(name, node, f"{name} comes from {module} (line {node.lineno})", module))
        elif names.speaks_of(getattr(node, "value", node), name):
            return []
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(_claim(name, node, f"{name} is defined in line {node.lineno}"))
        else:
            found.append(_claim(name, node, f"{name} is set in line {node.lineno} ({_short(node)})"))
    return found


def _short(node):
    text = ast.unparse(node).split("\n")[0]
    return text if len(text) <= 60 else text[:57] + "..."


def _replaced(tree, names, name):
    """Claims on a name that the script sets in prepare itself."""
    found, functions = [], {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            functions[node.name] = node
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Attribute(attr=attr, value=module)], value=value):
                pass
            case ast.AugAssign(target=ast.Attribute(attr=attr, value=module), value=value):
                pass
            case ast.Call(func=ast.Name(id="setattr"), args=[module, ast.Constant(value=attr), value]):
                pass
            case _:
                continue
        if attr != name or ast.unparse(module) not in names.modules:
            continue
        made = functions.get(value.id, value) if isinstance(value, ast.Name) else value
        if not names.speaks_of(made, name):
            found.append(_claim(name, node, f"prepare's {name} is replaced in line {node.lineno}"))
    return found


def _reads(tree, name):
    """Every read of a name, with what binds it: a function, or the script; None if it is a parameter."""
    found, left = [], [(tree, tree)]  # no recursion: a long sum is a deep tree
    while left:
        node, scope = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            parameters = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}
            shared = any(isinstance(n, ast.Global) and name in n.names for n in ast.walk(node))
            if name in parameters:
                scope = None
            elif not shared and _bindings(node, name):
                scope = node
        elif isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            found.append((node, scope))
        left += [(child, scope) for child in ast.iter_child_nodes(node)]
    return found


def _evaluation(tree, names):
    name = "evaluate_bpb"
    found = _replaced(tree, names, name)
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    reads = _reads(tree, name)
    own = {scope: _own(scope, names, name) for _, scope in reads if scope is not None}
    others = {id(read) for read, scope in reads if scope is None or own[scope]}
    for node in ast.walk(tree):
        read = isinstance(node, ast.Call) or isinstance(getattr(node, "ctx", None), ast.Load)
        if read and id(node) not in others and names.is_taken(node, name):
            return found  # prepare's own is used somewhere
    called = {scope for read, scope in reads if read in calls and scope is not None}
    for scope in called:
        found += own[scope]
    if tree in called and len(names.stars) == 1 and not names.all and not _bindings(tree, name):
        node, module = names.stars[0]
        found.append(_claim(name, node, f"{name} comes from {module} (line {node.lineno})", module))
    methods = [f for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for f in c.body if _bound(f, name)]
    inherited = any(ast.unparse(f) == "super().evaluate_bpb" for f in calls if isinstance(f, ast.Attribute))
    for f in calls:
        match f:
            case ast.Attribute(attr="evaluate_bpb", value=module) if ast.unparse(module) in names.others:
                module = names.others[ast.unparse(module)]
                found.append(_claim(name, f, f"evaluate_bpb comes from {module} (line {f.lineno})", module))
            case ast.Attribute(attr="evaluate_bpb") if methods and not inherited:
                found.append(_claim(name, methods[0], f"{name} is defined in line {methods[0].lineno}"))
            case ast.Name(id=bound) if bound != name and bound in names.foreign:
                node, module = names.foreign[bound]
                if any(alias.name == name and alias.asname == bound for alias in node.names):
                    found.append(_claim(name, node, f"{name} comes from {module} (line {node.lineno})", module))
    return found


_LIMIT = {"MAX", "LIMIT", "TOTAL", "TRAIN", "TRAINING", "WALL", "WALLCLOCK", "BUDGET", "NUM", "RUN", "N"}
_TIME = {"TIME", "SECONDS", "SECS", "SEC", "MINUTES", "MINS", "HOURS", "DURATION", "BUDGET"}
_COUNT = {"ITERS", "ITER", "ITERATIONS", "STEPS", "UPDATES", "EPOCHS"}
_OTHER = {"STEP", "TOKEN", "TOKENS", "PARAM", "PARAMS", "MEMORY", "FLOPS", "FLOP", "VRAM", "EVAL", "WARMUP", "LOG"}


def _budget(tree, names, name):
    own = _replaced(tree, names, name) + _own(tree, names, name)
    if own or name == "STEP_BUDGET" or any(names.is_taken(node, name) for node in ast.walk(tree)):
        return own
    # It does not take the budget at all: what else does it stop by?
    stops = _stops(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Compare(comparators=[limit]) if node in stops and isinstance(limit, ast.Constant):
                if type(limit.value) in (int, float) and _clock(tree, node.left):
                    return [_claim(name, limit, f"training ends by {ast.unparse(node)} (line {node.lineno})")]
                continue
            case ast.Compare():
                wanted = _TIME | _COUNT if node in stops else _TIME
            case ast.For(iter=ast.Call(func=ast.Name(id="range" | "trange" | "count"))) if _trains(node):
                wanted = _COUNT
            case _:
                continue
        for part in ast.walk(node if isinstance(node, ast.Compare) else node.iter):
            words = _word(part)
            tokens = set(re.split(r"[_\d]+", words.upper()))
            limits = tokens & wanted and tokens & _LIMIT and not tokens & _OTHER
            if limits and isinstance(getattr(part, "ctx", None), ast.Load) and _set_here(tree, names, part, words):
                what = f"training ends by {ast.unparse(part)} (line {part.lineno})"
                return [_claim(name, part, what)]
    return []


def _word(part):
    match part:
        case ast.Name(id=word) | ast.Attribute(attr=word) | ast.Subscript(slice=ast.Constant(value=str(word))):
            return word
    return ""


def _stops(tree):
    """The comparisons that a loop which trains ends by."""
    tests = []
    for loop in ast.walk(tree):
        if isinstance(loop, (ast.While, ast.For)) and _trains(loop):
            tests += [loop.test] if isinstance(loop, ast.While) else []
            for n in ast.walk(loop):
                if isinstance(n, ast.If) and any(isinstance(b, (ast.Break, ast.Return)) for b in n.body):
                    tests.append(n.test)
    return {n for test in tests for n in ast.walk(test) if isinstance(n, ast.Compare)}


_CLOCKS = {"time", "perf_counter", "monotonic"}


def _clock(tree, node):
    """Whether a value is read off a clock: a call of one, or a name that is bound to what speaks of one."""
    parts = list(ast.walk(node))
    for name in [n.id for n in parts if isinstance(n, ast.Name)]:
        parts += [n for b in ast.walk(tree) if isinstance(b, ast.Assign) and _bound(b, name) for n in ast.walk(b.value)]
    return any(isinstance(n, ast.Call) and _word(n.func) in _CLOCKS for n in parts)


def _trains(loop):
    """Whether the body of a loop takes optimizer steps, or draws batches for them."""
    return any(isinstance(n, ast.Call) and _word(n.func) in ("step", "backward", "next") for n in ast.walk(loop))


def _set_here(tree, names, part, words):
    """Whether a limit is a value of the script, of its command line, of its environment, or of a file that it reads."""
    nodes = list(ast.walk(tree))
    if any(isinstance(n, ast.AugAssign) and _word(n.target) == words for n in nodes):
        return False  # it counts, and is no limit
    if isinstance(part, ast.Name):
        bound = [n for n in nodes if not isinstance(n, (ast.Import, ast.ImportFrom)) and _bound(n, words)]
        return any(not _clock(tree, n) and not _leaves(names, n) for n in bound) or _defaults(nodes, words)
    root = part
    while isinstance(root, (ast.Attribute, ast.Subscript)):
        root = root.value
    if isinstance(root, ast.Name) and (root.id in names.foreign or root.id in names.others):
        return False
    if isinstance(part, ast.Subscript):
        return isinstance(root, ast.Name)
    flags = {"--" + words, "--" + words.replace("_", "-")}
    for n in nodes:
        match n:
            case ast.Call(args=args) if any(isinstance(a, ast.Constant) and a.value in flags for a in args):
                return True
            case ast.Call(keywords=given) if any(
                k.arg == "dest" and getattr(k.value, "value", "") == words for k in given
            ):
                return True
            case ast.ClassDef() if any(_bound(b, words) for b in n.body):
                return True
    return False


def _leaves(names, node):
    """Whether a statement binds what another module of the repository may have from prepare."""
    return any(isinstance(n, ast.Name) and n.id in names.foreign for n in ast.walk(node))


def _defaults(nodes, word):
    """Whether a function has a parameter of that name with a number by default."""
    for n in nodes:
        if isinstance(n, ast.arguments):
            plain = [*n.posonlyargs, *n.args]
            given = [
                *zip(plain[len(plain) - len(n.defaults) :], n.defaults, strict=True),
                *zip(n.kwonlyargs, n.kw_defaults, strict=True),
            ]
            if any(a.arg == word and isinstance(d, ast.Constant) and d.value is not None for a, d in given):
                return True
    return False


# ---- prepare -------------------------------------------------------------------------------------------------------


def prepare_fault(tree, score_name):
    """Why a prepare.py cannot give a score, as far as it can be read; "" if it may."""
    node = _uncounted(tree)
    if node is not None and not uncounted(tree):
        return f"UNCOUNTED_STEPS (line {node.lineno}) must be a whole number from 1 to {_MOST_UNCOUNTED}, as it stands"
    found = _bindings(tree, "evaluate_bpb")
    if not found:
        dynamic = any(
            isinstance(n, ast.ImportFrom) and n.names[0].name == "*" or _bound(n, "__getattr__") for n in ast.walk(tree)
        )
        text = any(isinstance(n, ast.Constant) and n.value == "evaluate_bpb" for n in ast.walk(tree))
        return "" if dynamic or text else "it has no evaluate_bpb, which gives every trial its score"
    for node in found:
        if isinstance(node, ast.AsyncFunctionDef):
            return f"evaluate_bpb (line {node.lineno}) is asynchronous: it must return bits per byte when it is called"
        if isinstance(node, ast.FunctionDef):
            if words := _unscored(node, score_name):
                return f"evaluate_bpb (line {node.lineno}) {words}"
    return ""


_MOST_UNCOUNTED = 1000


def uncounted(tree):
    """A prepare.py's UNCOUNTED_STEPS: how many optimizer steps come before the counted ones; 0 if it has none, or no
    number that may be one."""
    match _uncounted(tree):
        case (
            ast.Assign(targets=[ast.Name()], value=ast.Constant(value=int(number)))
            | ast.AnnAssign(value=ast.Constant(value=int(number)))
        ) if number is not True and 1 <= number <= _MOST_UNCOUNTED:
            return number
    return 0


def _uncounted(tree):
    """The last statement at a script's top that binds UNCOUNTED_STEPS; None if there is none."""
    bound = [node for node in tree.body if "UNCOUNTED_STEPS" in _binds(node)]
    return bound[-1] if bound else None


_PLACE = re.compile(r"(?i)_?(data|cache|corpus|shards?|tokenizer)_?(dir|path|root|folder|home)")


def unplaced(tree):
    """How a prepare.py says where its data lies, if a cache that it is given does not reach it; "" if it does.

    It reaches a CACHE_DIR that is bound where _autoresearchd_boundary settles it, and whoever reads the
    environment. A prepare.py that names no place has none to be told.
    """
    if any(isinstance(n, ast.Constant) and n.value == "AUTORESEARCH_CACHE" for n in ast.walk(tree)):
        return ""
    elsewhere = ""
    left = [(tree, None)]  # a node, and the function that it is in
    while left:
        node, function = left.pop()
        bound = [name for name in _binds(node) if name == "*" or _PLACE.fullmatch(name)]
        for name in bound:
            if name == "*" and function is None:
                return ""
            if name.upper() == "CACHE_DIR" and function is None and not isinstance(node, ast.NamedExpr):
                return ""
            words = f"{name} (line {getattr(node, 'lineno', 0)}"
            if function is not None:
                words += f", within {function}"
            elif isinstance(node, ast.NamedExpr):
                words += ", by :="
            if not elsewhere or name.upper() == "CACHE_DIR":
                elsewhere = words + ")"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        left += [(child, function) for child in reversed(list(ast.iter_child_nodes(node)))]
    return elsewhere


def _binds(node):
    """The names that a statement, or a walrus, binds."""
    match node:
        case ast.Assign(targets=targets):
            return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return [name]
        case ast.AugAssign(target=ast.Name(id=name)) | ast.NamedExpr(target=ast.Name(id=name)):
            return [name]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name for alias in node.names]
    return []


def _unscored(function, score_name):
    inner = {n for f in ast.walk(function) if f is not function and _scope(f) for n in ast.walk(f)}
    body = [n for n in ast.walk(function) if n not in inner]
    if any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in body):
        return "is a generator: it must return bits per byte"
    returns = [n for n in body if isinstance(n, ast.Return)]
    raises = any(isinstance(n, ast.Raise) for n in body)
    if not any(n.value is not None for n in returns):
        return "" if raises else "returns nothing: it must return bits per byte"
    for node in returns:
        match node.value:
            case ast.Dict(keys=[*keys]) if all(isinstance(k, ast.Constant) for k in keys):
                parts = [str(k.value) for k in keys]
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=[*keywords]) if all(k.arg for k in keywords):
                parts = [k.arg for k in keywords]
            case ast.JoinedStr() | ast.Constant(value=str() | bytes() | bool()):
                return f"returns {ast.unparse(node.value)} (line {node.lineno}): it must return bits per byte, a number"
            case _:
                continue
        if score_name(parts) is None:
            return f"returns a dict of {', '.join(parts) or 'nothing'}: none of these is named val_bpb or bpb"
    return ""


def _scope(node):
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef))
