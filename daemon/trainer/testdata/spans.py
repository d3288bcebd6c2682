"""Compares the places of constants with ast, on random scripts: python spans.py COUNT SEED.

Each literal's bytes are cut out, replaced by another number, and the whole is
parsed again: the tree must be the old one with that number in it.
"""

import ast
import importlib.util
import json
import pathlib
import random
import sys

here = pathlib.Path(__file__).parent.parent
for name in ("uses", "constants"):
    spec = importlib.util.spec_from_file_location("_autoresearchd_" + name, here / (name + ".py"))
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
constants = sys.modules["_autoresearchd_constants"]

PIECES = [
    "{n} = {v}",
    "{n}: float = {v}",
    "{n} = {v}; {m} = {w}",
    "{n} = \\{e}  {v}",
    "{n} = ({v},{e}    # über\u2028\x1c\u0085{e}\t{w})",
    "s = '''a{e}ß{e}\x0c'''; {n} = {v}",
    "é, {n} = 'ö', {v}",
    "{n} = {v}  # ende\u2029\x0b",
    "if True:{e}\tx = 1",
    "# {v}\x0c",
    "\x0c{n} = {v}",
    "f'{{1}}ä{{2}}'; {n} = {v}",
    "{n}\t=\t{v} \x0c",
    "x = [{e}  1,{e}]",
    "",
]
VALUES = ["4", "0.04", "2**19", "-1.5e-3", "1_000", "(0.8, 0.95)", "0x1F", "1 << 10", "1.", "64 * 1024"]


def script(r):
    ends = r.choice([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"]])
    lines, count = [], 0
    for _ in range(r.randrange(1, 12)):
        piece = r.choice(PIECES)
        names = {"n": f"A{count}", "m": f"B{count}", "v": r.choice(VALUES), "w": r.choice(VALUES), "e": r.choice(ends)}
        count += 1
        lines.append(piece.format(**names) + r.choice(ends))
    encoding = r.choice(["utf-8", "utf-8", "utf-8-sig", "latin-1", "cp1252", "shift_jis", "gbk"])
    text = "".join(lines)
    if encoding not in ("utf-8", "utf-8-sig"):
        text = f"# -*- coding: {encoding} -*-" + r.choice(ends) + text
    if r.random() < 0.3:
        text = text.rstrip("\r\n\x0c \t")
    return text.encode(encoding, "ignore"), encoding


def main(count, seed):
    r = random.Random(seed)
    done = {"Scripts": 0, "Constants": 0, "Encoded": 0}
    for at in range(count):
        source, encoding = script(r)
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        done["Scripts"] += 1
        done["Encoded"] += encoding not in ("utf-8", "utf-8-sig")
        found, others = constants.find(tree, source)
        unplaced = [o for o in others if "placed" in o["why"]]
        if unplaced and encoding in ("utf-8", "utf-8-sig"):
            raise SystemExit(f"script {at}: {unplaced} in {source!r}")
        for c in found:
            done["Constants"] += 1
            patched = source[: c["start"]] + b"12345" + source[c["end"] :]
            want = ast.parse(source)
            [(_, value)] = [(s, v) for s, v in values(want) if s == c["name"]]
            old = ast.dump(want)
            new = old.replace(ast.dump(value), ast.dump(ast.Constant(12345)))
            if old == new or not swapped(ast.parse(patched), want, c["name"]):
                raise SystemExit(f"script {at}: {c} in {source!r}")
    print(json.dumps(done))


def values(tree):
    """The (name, value) that top-level statements set."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            yield node.target.id, node.value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple):
                    yield from zip((t.id for t in target.elts), node.value.elts, strict=True)
                else:
                    yield target.id, node.value


def swapped(new, old, name):
    """Whether new is old with 12345 as name's value, and nothing else."""
    for tree in (new, old):
        for key, value in values(tree):
            if key == name:
                if tree is new and ast.dump(value) != ast.dump(ast.Constant(12345)):
                    return False
                for parent in ast.walk(tree):
                    for field, child in ast.iter_fields(parent):
                        if child is value:
                            setattr(parent, field, ast.Constant(0))
                        elif isinstance(child, list) and value in child:
                            child[child.index(value)] = ast.Constant(0)
    return ast.dump(new) == ast.dump(old)


main(int(sys.argv[1]), int(sys.argv[2]))
