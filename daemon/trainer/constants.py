"""Finds the constants of train.py, where each stands, and what keeps others from being searched.

A constant is a literal number, text or tuple that a name in capitals is set to
once, at the top of the module. Where a class of settings or argparse holds more
of what can be searched, their defaults are constants too. Where there is nothing
else, literals of other names are found, but not searched unasked: such a name may
as well be a count or a result.
"""

import ast
import io
import re
import tokenize

import _autoresearchd_uses as uses


def find(tree, source):
    """Returns (constants, others) in the order of train.py.

    constants: [{"name", "value", "text", "line", "start", "end", "comment", "why",
    "held"}], as search.Constant has them in JSON; start and end are byte offsets.
    others: [{"name", "line", "why"}], what looks like a constant and is none.
    """
    finder = Finder(tree, Source(source))
    finder.module(lambda name: re.fullmatch(r"[A-Z][A-Z0-9_]*", name))
    settings = Finder(tree, finder.source, finder.program)
    settings.settings()
    if settings.searched() > finder.searched() or not finder.searched():
        finder.constants += settings.constants
        finder.others += settings.others
    if not finder.constants:
        finder.lower()
    order = lambda c: c["line"]  # noqa: E731
    return sorted(finder.constants, key=lambda c: c["start"]), sorted(finder.others, key=order)


def number(value):
    """Whether a value is a number or a tuple that holds one."""
    return any(map(number, value)) if isinstance(value, list) else not isinstance(value, str)


class Source:
    """Where the nodes of a parsed source lie in its bytes.

    ast counts lines as Python's tokenizer does, by \\n, \\r\\n and \\r alone, and
    columns in bytes of the line's UTF-8, whatever the encoding of the file.
    """

    def __init__(self, source):
        self.bytes = source
        plain = re.sub(rb"\r\n?", b"\n", source)
        self.encoding = tokenize.detect_encoding(io.BytesIO(plain).readline)[0].replace("utf-8-sig", "utf-8")
        self.bom = 3 if source.startswith(b"\xef\xbb\xbf") else 0
        self.lines, at = [], 0
        for line in re.split(rb"(?<=\n)|(?<=\r)(?!\n)", source):
            self.lines.append((at, line))
            at += len(line)
        self.text = plain[self.bom :].decode(self.encoding)
        self.comments = self._comments()

    def offset(self, line, column):
        start, raw = self.lines[line - 1]
        if line == 1:
            start, raw = start + self.bom, raw[self.bom :]
        if self.encoding == "utf-8":
            return start + column
        before = raw.decode(self.encoding).encode()[:column].decode()
        return start + len(before.encode(self.encoding))

    def place(self, node):
        """The (start, end, text) of an expression; ValueError where the bytes there are not the expression."""
        start = self.offset(node.lineno, node.col_offset)
        end = self.offset(node.end_lineno, node.end_col_offset)
        text = self.bytes[start:end].decode()  # what comes after it reads UTF-8 alone
        again = ast.parse("(" + re.sub("\r\n?", "\n", text) + "\n)", mode="eval").body
        if ast.dump(again) != ast.dump(node):
            raise ValueError(text)
        return start, end, text

    def _comments(self):
        """Trailing comments by line."""
        found = {}
        try:
            for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
                if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
                    found[token.start[0]] = token.string.lstrip("#").strip()
        except (tokenize.TokenError, SyntaxError):
            pass
        return found


class Finder:
    def __init__(self, tree, source, program=None):
        self.program, self.source = program or uses.Program(tree), source
        self.constants, self.others = [], []
        self.nodes = list(ast.walk(tree))
        self.meddling = self._meddling()

    # ---- what is found ----

    def searched(self):
        """How many numbers have been found that nothing keeps from being searched."""
        return sum(c["why"] == "" and number(c["value"]) for c in self.constants)

    def keep(self, name, value, line, items):
        """A literal is a constant: it is judged by its uses."""
        try:
            start, end, text = self.source.place(value)
        except (ValueError, SyntaxError):
            self.leave(name, line, "its literal cannot be placed in the file's bytes: save train.py as UTF-8")
            return
        use = uses.judge(self.program, items, name)
        self.constants.append(
            {
                "name": name,
                "value": literal(value),
                "text": text,
                "line": value.lineno,
                "start": start,
                "end": end,
                "comment": self.source.comments.get(value.end_lineno, ""),
                "why": "" if use is None else use.words(),
                "held": use is not None and use.kind in uses.HELD,
            }
        )

    def leave(self, name, line, why):
        if len(name) == 1:
            return  # B, T, X: no setting
        self.others.append({"name": name, "line": line, "why": why})

    # ---- names of the module ----

    def module(self, fits):
        """The literals that names of the module are set to."""
        module = self.program.module
        for (scope, name), bindings in list(self.program.bindings.items()):
            if scope is not module or not fits(name):
                continue
            sets = [b for b in bindings if not self.bare(b)]
            defined = next((b for b in sets if isinstance(b, ast.Name) and self.definition(b)), None)
            if defined is None:
                self.undefined(name, sets)
                continue
            statement, value = self.definition(defined)
            line = defined.lineno
            if again := next((b for b in sets if b is not defined), None):
                self.leave(name, line, self.again(again))
            elif meddler := self.meddled(name, defined):
                self.leave(name, line, meddler)
            elif isinstance(statement, ast.Assign) and len(statement.targets) > 1:
                self.leave(name, line, "one literal is set to several names at once: write a line for each")
            elif literal(value) is None:
                self.leave(name, line, self.unread(value))
            else:
                self.keep(name, value, line, [("name", module, name)])

    def lower(self):
        """Literals of names that are not in capitals."""
        known = len(self.others)
        self.module(lambda name: not name.startswith("_") and not re.fullmatch(r"[A-Z][A-Z0-9_]*", name))
        self.others[known:] = [o for o in self.others[known:] if "may set it" in o["why"]]
        for c in self.constants:
            c["why"] = c["why"] or "its name is not in capitals: it is searched where [search.space] names it"

    def bare(self, binding):
        """An annotation without a value."""
        parent = self.program.parent.get(binding)
        return isinstance(parent, ast.AnnAssign) and parent.value is None

    def definition(self, name):
        """The (statement, value) that sets a name whenever the script runs; None where nothing does so."""
        parent = self.program.parent[name]
        statement, value = parent, getattr(parent, "value", None)
        if isinstance(parent, (ast.Tuple, ast.List)):
            statement = self.program.parent[parent]
            value = getattr(statement, "value", None)
            if not isinstance(value, (ast.Tuple, ast.List)) or len(value.elts) != len(parent.elts):
                return None
            if any(isinstance(n, ast.Starred) for n in (*value.elts, *parent.elts)):
                return None
            value = value.elts[parent.elts.index(name)]
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or value is None or not self.always(statement):
            return None
        return statement, value

    def always(self, statement):
        """Whether a statement runs whenever the script does."""
        parent = self.program.parent[statement]
        if isinstance(parent, ast.If):
            return statement in parent.body and is_main(parent.test) and self.always(parent)
        return isinstance(parent, ast.Module)

    def undefined(self, name, sets):
        """A name that no statement of the module sets to something for certain."""
        first = sets[0] if sets else None
        if not isinstance(first, ast.Name) or isinstance(first.ctx, ast.Del):
            return  # an import, a function or a class
        scope = self.program.scope[first].node
        if isinstance(scope, uses.FUNCTIONS):
            why = f"only {getattr(scope, 'name', 'a function')} sets it"
        elif isinstance(self.program.parent[first], (ast.Tuple, ast.List)):
            why = "it is unpacked from something else"
        else:
            why = "it is set where a test, a loop or a fault decides: set it once at the top of the module"
        self.leave(name, first.lineno, why)

    def again(self, node):
        """What another binding of a constant does."""
        where = ""
        scope = self.program.scope[node].node
        if isinstance(scope, uses.FUNCTIONS) and not isinstance(scope, ast.Lambda):
            where = f", in {scope.name}"
        match node:
            case ast.Import() | ast.ImportFrom():
                does = "imports it"
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                does = "defines it again"
            case ast.Name(ctx=ast.Del()):
                does = "deletes it"
            case _ if isinstance(self.program.parent.get(node), ast.AugAssign):
                does = "changes it"
            case _:
                does = "sets it again"
        return f"line {node.lineno}{where} {does}, so the value here need not be the one that runs"

    def unread(self, value):
        """Why an expression is no constant."""
        names = sorted({n.id for n in ast.walk(value) if isinstance(n, ast.Name)})
        if any(uses.last(n) in ("environ", "getenv") for n in ast.walk(value)):
            return "it comes from the environment: write the value itself to have it searched"
        if any(isinstance(n, ast.Name) and n.id.startswith("env") for n in ast.walk(value)):
            return "it comes from the environment: write the value itself to have it searched"
        match value:
            case ast.List():
                return "it is a list: a tuple would be searched"
            case ast.Dict() | ast.Set():
                return "it is a dict or a set"
            case ast.Constant(value=None):
                return "it is None"
            case ast.Constant(value=int() | float()) | ast.BinOp() if not names:
                return "it is no finite number of 64 bits"
            case ast.Constant():
                return "it is no number, text or tuple"
        if capitals := [n for n in names if n.isupper()]:
            return "it is computed from " + ", ".join(capitals[:3])
        return "it is computed"

    # ---- what sets names from behind ----

    def _meddling(self):
        """What may set names of the module by other means: [(name or None for any, node, words)]."""
        found = []
        mains = {"__main__"} | {
            alias.asname or alias.name
            for n in self.nodes
            if isinstance(n, ast.Import)
            for alias in n.names
            if alias.name == "__main__"
        }
        dicts, modules = set(), set(mains)  # variables that hold the module's dictionary, or the module
        for node in self.nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                if self.is_namespace(node.value, dicts, modules):
                    dicts.add(node.targets[0].id)
                elif self.is_module(node.value, modules):
                    modules.add(node.targets[0].id)
        for node in self.nodes:
            match node:
                case ast.ImportFrom(names=[ast.alias(name="*")], module=module):
                    found.append((None, node, f"takes all names from {module or '.'}, which may set it"))
                case ast.Call(func=ast.Name(id="exec"), args=args):
                    if len(args) < 2 or self.is_namespace(args[1], dicts, modules):
                        found.append((None, node, "runs code that may set it"))
                case ast.Subscript(value=v, slice=key, ctx=ast.Store() | ast.Del()) if self.is_namespace(
                    v, dicts, modules
                ):
                    name = key.value if isinstance(key, ast.Constant) else None
                    found.append((name, node, "sets it by globals()" if name else "may set it by globals()"))
                case ast.Call(
                    func=ast.Attribute(value=v, attr="update" | "setdefault" | "pop" | "__setitem__" | "clear")
                ):
                    if self.is_namespace(v, dicts, modules):
                        if node.keywords and not node.args and all(k.arg for k in node.keywords):
                            found += [(k.arg, node, "sets it by globals()") for k in node.keywords]
                        else:
                            found.append((None, node, "may set it by globals()"))
                case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[of, key, *_]) if self.is_module(
                    of, modules
                ):
                    name = key.value if isinstance(key, ast.Constant) else None
                    found.append((name, node, "sets it by setattr()" if name else "may set it by setattr()"))
                case ast.Attribute(value=v, attr=name, ctx=ast.Store() | ast.Del()) if self.is_module(v, modules):
                    found.append((name, node, "sets it in the module"))
                case ast.Call(func=f, args=args) if uses.last(f) not in (
                    "exec",
                    "eval",
                    "len",
                    "sorted",
                    "list",
                    "dict",
                    "print",
                ):
                    if any(self.is_namespace(a, set(), modules) for a in args):
                        found.append((None, node, "hands on globals(), which may set it"))
        return found

    def is_namespace(self, node, dicts, modules):
        match node:
            case ast.Call(func=ast.Name(id="globals"), args=[]):
                return True
            case ast.Call(func=ast.Name(id="vars" | "locals"), args=[]):
                return self.program.scope[node] is self.program.module
            case ast.Call(func=ast.Name(id="vars"), args=[of]) | ast.Attribute(value=of, attr="__dict__"):
                return self.is_module(of, modules)
            case ast.Name(id=name):
                return name in dicts
        return False

    def is_module(self, node, modules):
        match node:
            case ast.Subscript(
                value=ast.Attribute(attr="modules"), slice=ast.Name(id="__name__") | ast.Constant(value="__main__")
            ):
                return True
            case ast.Call(func=f, args=[ast.Name(id="__name__") | ast.Constant(value="__main__")]):
                return uses.last(f) in ("import_module", "__import__")
            case ast.Name(id=name):
                return name in modules
        return False

    def meddled(self, name, defined):
        """How a name that is set here is set again by other means; "" where it is not."""
        for target, node, words in self.meddling:
            before = self.program.scope[node] is self.program.module and node.lineno < defined.lineno
            looped = any(isinstance(a, (ast.For, ast.While)) for a in self.above(node))
            if target in (None, name) and (not before or looped):
                return f"line {node.lineno} {words}, so the value here need not be the one that runs"
        return ""

    def above(self, node):
        while (node := self.program.parent.get(node)) is not None:
            yield node

    # ---- settings ----

    def settings(self):
        """Defaults of classes of settings and of argparse, where nothing gives another value."""
        stored = {}  # attribute: the first line that sets it
        loose = None  # a setattr whose attribute is not written down
        for node in self.nodes:
            match node:
                case ast.Attribute(attr=label, ctx=ast.Store() | ast.Del()):
                    stored.setdefault(label, node.lineno)
                case ast.Call(
                    func=ast.Name(id="setattr") | ast.Attribute(attr="__setattr__"),
                    args=[*_, ast.Constant(value=str(label)), _],
                ):
                    stored.setdefault(label, node.lineno)
                case ast.Subscript(value=of, slice=key, ctx=ast.Store() | ast.Del()) if self.attributes(of):
                    if isinstance(key, ast.Constant):
                        stored.setdefault(key.value, node.lineno)
                    else:
                        loose = loose or node.lineno
                case ast.Call(func=ast.Attribute(value=of, attr="update"), args=args, keywords=keywords) if (
                    self.attributes(of)
                ):
                    if args or any(k.arg is None for k in keywords):
                        loose = loose or node.lineno
                    for k in keywords:
                        stored.setdefault(k.arg, node.lineno)
                case ast.Call(func=ast.Name(id="setattr"), args=[of, *_]) if self.holds_settings(of):
                    loose = loose or node.lineno
                case ast.Call(func=f, keywords=keywords) if uses.last(f) in ("replace", "_replace", "set_defaults"):
                    for k in keywords:
                        if k.arg:
                            stored.setdefault(k.arg, node.lineno)
                        else:
                            loose = loose or node.lineno
        self.fields(stored, loose)
        self.arguments(stored, loose)

    @staticmethod
    def gives(call):
        """Whether a parse_args is given arguments, or an object that may hold values already."""
        given = [*call.args, *(k.value for k in call.keywords)]
        return any(
            not (isinstance(v, ast.List) and not v.elts) and not (isinstance(v, ast.Constant) and v.value is None)
            for v in given
        )

    def attributes(self, node):
        """The object whose attributes an expression is the dictionary of; None for all else."""
        match node:
            case ast.Call(func=ast.Name(id="vars"), args=[of]) | ast.Attribute(value=of, attr="__dict__"):
                return of if self.holds_settings(of) else None
        return None

    def holds_settings(self, node):
        """Whether an object may be one of settings: by its name, or since it is made of a class or by argparse."""
        if re.fullmatch(r"\w*(args?|cfg|config|conf|opts?|options|hparams|hp|params|settings|self)", uses.last(node)):
            return True
        for name in self.program.bindings.get(self.program.root(node), []):
            value = getattr(self.program.parent.get(name), "value", None)
            if isinstance(value, ast.Call) and (uses.last(value.func) == "parse_args" or self.program.own(value)):
                return True
        return False

    def fields(self, stored, loose):
        for node in self.program.tree.body:
            if not isinstance(node, ast.ClassDef):
                continue
            fields = self.defaults(node)
            if not fields or any(isinstance(n, uses.FUNCTIONS[:2]) and n.name == "__init__" for n in node.body):
                continue
            names = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
            given, handed = self.instances(node, names)
            for field, value in fields:
                name = f"{node.name}.{field}"
                inner = self.program.inner[node]
                if len(self.program.bindings.get((inner, field), [])) != 1:
                    self.leave(name, value.lineno, "the class sets it more than once")
                elif field in given:
                    self.leave(name, value.lineno, f"line {given[field]} gives another value")
                elif field in stored:
                    self.leave(name, value.lineno, f"line {stored[field]} sets it again")
                elif handed or loose:
                    self.leave(name, value.lineno, f"line {handed or loose} may give another value")
                elif literal(value) is None:
                    self.leave(name, value.lineno, self.unread(value))
                else:
                    self.keep(name, value, value.lineno, [("label", field), ("name", inner, field)])

    def defaults(self, node):
        """The (field, value) of a class that only lists settings."""
        out = []
        for n in node.body:
            match n:
                case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
                    if isinstance(value, ast.Call) and uses.last(value.func) in ("field", "Field", "ib"):
                        value = next((k.value for k in value.keywords if k.arg == "default"), None)
                    if value is not None and literal(value) is not None or self.from_environment(value):
                        out.append((name, value))
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    if literal(value) is not None or self.from_environment(value):
                        out.append((name, value))
        return out

    def from_environment(self, value):
        return value is not None and any(uses.last(n) in ("environ", "getenv") for n in ast.walk(value))

    def instances(self, node, names):
        """What the calls of a class set, as {field: line}, and the line that hands the class on to what may set any."""
        given, handed = {}, None
        for read in self.program.loads.get((self.program.module, node.name), []):
            parent = self.program.parent[read]
            if isinstance(parent, ast.Call) and parent.func is read:
                for field, _ in zip(names, parent.args, strict=False):
                    given.setdefault(field, read.lineno)
                for k in parent.keywords:
                    if k.arg is None:
                        handed = handed or read.lineno
                    else:
                        given.setdefault(k.arg, read.lineno)
                if any(isinstance(a, ast.Starred) for a in parent.args):
                    handed = handed or read.lineno
            elif isinstance(parent, ast.Call):
                reads = (
                    "cli",
                    "parse",
                    "HfArgumentParser",
                    "ArgumentParser",
                    "fields",
                    "isinstance",
                    "asdict",
                    "add_arguments",
                )
                if uses.last(parent.func) not in reads:
                    handed = handed or read.lineno
            elif isinstance(parent, (ast.ClassDef, ast.Dict, ast.List, ast.Tuple, ast.Return)):
                handed = handed or read.lineno
        return given, handed

    def arguments(self, stored, loose):
        parsed = [
            n for n in self.nodes if isinstance(n, ast.Call) and uses.last(n.func) in ("parse_args", "parse_known_args")
        ]
        own = next((n for n in parsed if self.gives(n)), None)
        seen = {}
        for node in self.nodes:
            if isinstance(node, ast.Call) and uses.last(node.func) == "add_argument" and parsed:
                default = next((k.value for k in node.keywords if k.arg == "default"), None)
                name, dest = uses.option(node)
                if dest and default is not None:
                    seen.setdefault(dest, []).append((name, default, node.lineno))
        for dest, found in seen.items():
            name, value, line = found[0]
            if len(found) > 1:
                self.leave(name, line, f"line {found[1][2]} defines it again")
            elif dest in stored:
                self.leave(name, line, f"line {stored[dest]} sets it again")
            elif own or loose:
                self.leave(name, line, f"line {own.lineno if own else loose} may give another value")
            elif literal(value) is None:
                self.leave(name, line, self.unread(value))
            else:
                self.keep(name, value, line, [("label", dest), ("name", self.program.module, dest)])


def is_main(test):
    match test:
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")]):
            return True
    return False


def literal(node):
    """The value of a literal, of a sum of literals such as 2**19, or of a
    tuple of them; None for all else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
        value = node.value
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = literal(node.operand)
        if type(value) not in (int, float):
            return None
        value = -value
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = literal(node.left), literal(node.right)
        if type(left) not in (int, float) or type(right) not in (int, float):
            return None
        if isinstance(node.op, ast.Pow) and (abs(left) > 1e6 or abs(right) > 64):
            return None
        try:
            value = _OPERATIONS[type(node.op)](left, right)
        except (ArithmeticError, ValueError):
            return None
    elif isinstance(node, ast.Tuple):
        value = [literal(item) for item in node.elts]
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
