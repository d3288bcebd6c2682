"""Says what a value of train.py does, from where it flows: into the model and its training, or beside them.

A value is followed through assignments, attributes and keys, parameters and
results of the script's own functions, and through what it decides: whatever
stands under an `if` or in a loop depends on the test. It is not followed into
other modules: their names, and those of the arguments, tell what they do.
"""

import ast
import re

# What a use can be. A value of a kind in DECISIVE is no hyperparameter
# whatever else it does: a search could gain by it without a better model.
TRAINS = "trains"
CLOCK, SEED, TIME, BOUND, EVERY = "clock", "seed", "time", "bound", "every"
EVALUATES, PAUSES, LOADS, FILES, RUNS, CHECKS, PRINTS = (
    "evaluates",
    "pauses",
    "loads",
    "files",
    "runs",
    "checks",
    "prints",
)
DECISIVE = (CLOCK, SEED, TIME, BOUND, EVERY)
HELD = (CLOCK, SEED, TIME, EVALUATES)  # a proposal that changes them changes what a score means
BESIDE = (EVALUATES, PAUSES, LOADS, FILES, RUNS, CHECKS, PRINTS)

_WORDS = {
    CLOCK: "it decides which steps the clock leaves out",
    SEED: "it seeds the random numbers, which the host does",
    TIME: "it is a time that the run is held to",
    BOUND: "it bounds the training, which the budget does",
    EVERY: "it is how often the run prints, scores or saves",
    EVALUATES: "it is used where the model is scored",
    PAUSES: "it is used to pause or to watch the machine",
    LOADS: "it is used to find and to load the data",
    FILES: "it names files",
    RUNS: "it says how the code is run, not what is trained",
    CHECKS: "it is only checked",
    PRINTS: "it is only printed or logged",
}

# Names of functions, by their last part. Anything else that is not the script's own trains.
_FUNCTIONS = {
    PRINTS: r"print\w*|log|log_\w+|log0|info|debug|warning|warn|error|exception|critical|add_scalars?|add_text|writerow"
    r"|writelines?|write|dumps?|pprint|set_description|set_postfix|secho|echo|notify|report|track|log_metrics?",
    SEED: r"(manual_)?seed(_all|_everything)?|set_seed|Random|RandomState|default_rng|PRNGKey|initial_seed|SeedSequence"
    r"|PCG64(DXSM)?|MT19937|Philox|SFC64",
    PAUSES: r"sleep|alarm|setitimer|nvidia_smi|wait",
    FILES: r"open|exists|isfile|isdir|makedirs|mkdir|listdir|glob|rglob|Path|expanduser|expandvars|abspath|dirname"
    r"|basename|load|save|savez?|memmap|fromfile|tofile|loadtxt|savetxt|read_\w+|to_csv|to_json|remove|unlink|rename"
    r"|copyfile|copy2|rmtree|from_pretrained|from_file|from_directory|load_dataset|hf_hub_download"
    r"|snapshot_download|urlopen|urlretrieve|run_command|ParquetFile|read_table|get_kernel",
    RUNS: r"device|set_device|compile|jit|set_num_threads|set_num_interop_threads|set_float32_matmul_precision"
    r"|init_process_group|getenv|putenv|setdefault|setenv|setrlimit|nice|set_default_device|set_memory_limit"
    r"|set_cache_limit|set_per_process_memory_fraction|set_wired_limit|signal|setLevel|basicConfig|check_call|check_output"
    r"|Popen|profile|add_argument|freeze|cuda|exit|_exit|quit|abort",
    LOADS: r"list_\w*files|iter_parquet|download\w*|Thread|ThreadPoolExecutor|ProcessPoolExecutor|Pool|Queue",
}
_EVALUATION = (
    r"_*(evaluate|evaluation|estimate_loss|validat(e|ion)|valid|test)(_\w+)?|_*eval_\w+|_*val_\w+|run_\w*(eval|val)\w*"
    r"|compute_\w*bpb|\w+_(eval|evaluate|evaluation|validation)|(\w+_)?(bpb|val)(_(loss|bpb|score))?"
)
_REPORT = r"_*(print|log|plot|report|summar\w+|format|save|dump|write|describe|banner)\w*"
_KEYWORDS = {
    SEED: r"(random_)?seed|random_state|generator_seed",
    LOADS: r"num_workers|workers|prefetch\w*|pin_memory|persistent_workers|num_proc|buffer_size"
    r"|cache_size|(num_)?shards?",
    FILES: r"\w*(path|dir|file|filename|folder|url)|repo|repo_id|repo_type|revision|project|entity|name|tags|group",
    RUNS: r"device|devices|device_type|accelerator|port|host|world_size|backend|dynamic|fullgraph|mode|verbose|timeout"
    r"|non_blocking|local_rank|num_threads|n_jobs|max_workers|gpu|daemon",
    EVALUATES: r"(eval|val|valid|test)_\w+|num_eval\w*|n_eval\w*",
    EVERY: r"(log|logging|eval|evaluation|val|save|print|report|checkpoint)_(every|interval|freq|frequency|steps)"
    r"(_\w+)?|\w+_period|\w*_every_n_steps",
    PRINTS: r"desc|description|title|label|end|sep|flush|ncols|unit|help|metavar",
    BOUND: r"(max|num|n|total|train)_(steps|epochs|iters|iterations|train_steps|train_epochs)|epochs|max_time",
}
# Names of constants, word by word: what such a value is, where its uses alone would say that it trains.
_NAMES = {
    CLOCK: r"UNTIMED|UNCOUNTED|EXCLUDED?_STEPS|STEPS_EXCLUDED?|COMPIL(E|ATION)_(WARMUP_)?(STEPS|ITERS)|TIMED_STEPS",
    SEED: r"SEEDS?",
    TIME: r"BUDGET|MINUTES|SECONDS|SECS|TIMEOUT|DEADLINE|HOURS",
    BOUND: r"EPOCHS|(MAX|NUM|TOTAL|TRAIN|TRAINING)_((TRAIN|TRAINING|SCHEDULED|EXTENSION)_)?(STEPS|ITERS|ITERATIONS)"
    r"|EARLY_STOP\w*|PATIENCE|(MIN_DELTA|STOP_\w+)",
    EVERY: r"(LOG|PRINT|EVAL|VAL|SAVE|CHECKPOINT|CKPT|REPORT|CHECK|SYNC|GC)_(EVERY|INTERVAL|FREQ|STEPS|PERIOD)",
    EVALUATES: r"EVAL|EVALUATION|VALID|VALIDATION|TEST"
    r"|VAL_(BATCH\w*|TOKENS|STEPS|ITERS|SPLIT|FRAC\w*|SIZE|SAMPLES|SEQ\w*)",
    PAUSES: r"SLEEP|THERMAL|TEMP_(LIMIT|MAX|PAUSE|RESUME|ABORT)|(GPU|MAX)_TEMP|WATTS?|POWER_LIMIT|VRAM"
    r"|MEMORY_(LIMIT|FRACTION|GB|MB)",
    LOADS: r"SHARDS?|WORKERS|PREFETCH|DOWNLOAD|DATASET|CACHE|VOCAB|BOS|EOS|PAD|UNK|TOKENIZER",
    FILES: r"SAVE|CHECKPOINT|CKPT|FILES?",
    RUNS: r"PORT|(LOCAL|GLOBAL|DDP|NODE)_RANK|WORLD_SIZE|THREADS|PROCS|RETRY|RETRIES|ATTEMPTS|VERSION|PROFILER?"
    r"|BENCHMARK|DEBUG|VERBOSE|AUTOTUNE|COMPILE|TORCH_COMPILE|DEVICE(_ID|_INDEX|_COUNT|$)|NUM_(GPUS|DEVICES)",
    PRINTS: r"FLOPS|TFLOPS|PRINT|WANDB",
}
_LENGTH = r"SEQ|SEQUENCE|SEQLEN|CONTEXT|CTX|BLOCK_SIZE|BLOCK"
_PASSED = (
    "min max int float abs round len range sum str repr bool tuple list dict set frozenset sorted divmod pow "
    "zip enumerate map filter reversed iter next getattr format vars asdict deepcopy copy replace "
    "SimpleNamespace namedtuple ceil floor sqrt log2 log10 exp cos sin isclose isinstance partial any all "
    "hasattr type Namespace update items values get keys lower upper split strip startswith endswith item "
    "clamp prod gcd lcm isnan isfinite isinf next_multiple_of_n"
).split()
_TIMES = r"(time|perf_counter|monotonic|process_time)(_ns)?|default_timer|elapsed_time|now|utcnow|total_seconds"
_ENDS = r"exit|_exit|quit|abort"
_STEPS = r"step|minimize|apply_gradients|fit|optimizer_step|train_step"
_QUIET = (
    r"eval|train|synchronize|collect|empty_cache|disable|enable|flush|append|extend|add|pop|clear|barrier|item|cpu|keys"
    r"|values|items|get|state_dict|(named_)?parameters|modules|numel|size|dim|detach|float|clone|to|tolist|numpy|no_grad"
    r"|inference_mode|autocast|mean|is_available|(max_)?memory_\w+|reset_peak_memory_stats|strftime|read|strip"
)


def _is(pattern, name):
    return re.fullmatch(pattern, name) is not None


def _kind(table, name):
    return next((kind for kind, pattern in table.items() if _is(pattern, name)), None)


def named(name):
    """What a constant's name alone says that it does; None where it says nothing."""
    name = re.sub(r"[^A-Z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()).strip("_")
    if re.search(r"(^|_)(GRAD|GRADIENT)_", name):  # gradient checkpointing
        return None
    return next((kind for kind, p in _NAMES.items() if re.search(rf"(^|_)({p})\d*(_|$)", name)), None)


class Scope:
    """A module, function, class or comprehension, and the names that it binds."""

    def __init__(self, node, parent):
        self.node, self.parent = node, parent
        self.bound, self.globals = set(), set()

    def find(self, name):
        """The scope that a name read here belongs to: the module's where none binds it."""
        scope, first = self, True
        while scope.parent is not None:
            if name in scope.globals:
                break
            if name in scope.bound and (first or not isinstance(scope.node, ast.ClassDef)):
                return scope
            scope, first = scope.parent, False
        while scope.parent is not None:
            scope = scope.parent
        return scope


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Program:
    """A parsed script: scopes, and where each of its names is bound and read."""

    def __init__(self, tree):
        self.tree = tree
        self.parent, self.scope = {}, {}
        self.module = Scope(tree, None)
        self.bindings = {}  # (scope, name): [node that binds it]
        self.loads = {}  # (scope, name): [Name]
        self.labels = {}  # attribute or key: [expression that reads it]
        self.methods = {}  # name: [FunctionDef in a class]
        self.definitions = {}  # (scope, name): FunctionDef or ClassDef
        self.imported = set()  # (scope, name) of modules and of what comes from them
        self._scopes()
        self._names()
        self.inner = {scope.node: scope for scope in self.scope.values()}
        self._effects = {}
        self._times()
        self._plains()

    # ---- names ----

    def _scopes(self):
        left = [(self.tree, self.module)]
        while left:
            node, scope = left.pop()
            self.scope[node] = scope
            for child in ast.iter_child_nodes(node):
                self.parent[child] = node
            inner = scope
            if isinstance(node, (*FUNCTIONS, ast.ClassDef, *COMPREHENSIONS)):
                inner = Scope(node, scope)
            self._bind(node, scope, inner)
            for name, value in ast.iter_fields(node):
                children = value if isinstance(value, list) else [value]
                for child in children:
                    if isinstance(child, ast.AST):
                        left.append((child, self._within(node, name, child, scope, inner)))

    @staticmethod
    def _within(node, field, child, scope, inner):
        """Decorators, defaults and the first iterable belong to the scope outside."""
        if inner is scope or field in ("decorator_list", "bases", "keywords", "returns"):
            return scope
        return inner

    def _bind(self, node, scope, inner):
        def bind(name, where=scope):
            if name:
                where.bound.add(name)
                self.bindings.setdefault((where, name), []).append(node)

        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bind(name)
                self.definitions[scope, name] = node
                if isinstance(scope.node, ast.ClassDef) and not isinstance(node, ast.ClassDef):
                    self.methods.setdefault(name, []).append(node)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                where = scope
                if isinstance(self.parent.get(node), ast.NamedExpr):
                    while isinstance(where.node, COMPREHENSIONS):
                        where = where.parent
                bind(name, where)
            case ast.Global(names=names):
                scope.globals.update(names)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for alias in names:
                    name = alias.asname or alias.name.partition(".")[0]
                    bind(name)
                    self.imported.add((scope, name))
            case ast.ExceptHandler(name=name) | ast.MatchAs(name=name) | ast.MatchStar(name=name):
                bind(name)
            case ast.MatchMapping(rest=name):
                bind(name)
            case ast.arg(arg=name):
                bind(name)
        if inner is not scope and isinstance(node, FUNCTIONS):
            for arg in parameters(node.args):
                inner.bound.add(arg.arg)

    def _names(self):
        moved = [(key, nodes) for key, nodes in self.bindings.items() if key[1] in key[0].globals]
        for (scope, name), nodes in moved:
            del self.bindings[scope, name]
            scope.bound.discard(name)
            self.module.bound.add(name)
            self.bindings.setdefault((self.module, name), []).extend(nodes)
        for nodes in self.bindings.values():
            nodes.sort(key=lambda n: (n.lineno, n.col_offset) if hasattr(n, "lineno") else (0, 0))
        for node in ast.walk(self.tree):
            match node:
                case ast.Name(id=name, ctx=ast.Load()):
                    self.loads.setdefault((self.scope[node].find(name), name), []).append(node)
                case ast.Attribute(attr=label, ctx=ast.Load()):
                    root = self.root(node.value)
                    if root is None or root not in self.imported:
                        self.labels.setdefault(label, []).append(node)
                case ast.Subscript(slice=ast.Constant(value=str(label)), ctx=ast.Load()):
                    self.labels.setdefault(label, []).append(node)
                case ast.Call(func=ast.Attribute(attr="get" | "pop"), args=[ast.Constant(value=str(label)), *_]):
                    self.labels.setdefault(label, []).append(node)
                case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(label)), *_]):
                    self.labels.setdefault(label, []).append(node)

    def root(self, node):
        """The variable that an attribute or element belongs to: (scope, name)."""
        while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
            node = node.func if isinstance(node, ast.Call) else node.value
        if isinstance(node, ast.Name):
            return self.scope[node].find(node.id), node.id
        return None

    def function(self, node):
        """The function that a node stands in; None in none."""
        while node is not None and not isinstance(node, FUNCTIONS):
            node = self.parent.get(node)
        return node

    # ---- time ----

    def _times(self):
        """Finds what holds a time, and the clocks among them: what adds times up, or was read off a clock."""
        self.timed, self.clocks = set(), set()
        stores = []  # (variable or label, the value that it is set to or that is added to it, whether it adds up)
        for node in ast.walk(self.tree):
            match node:
                case ast.Assign(targets=targets, value=value):
                    pairs = [pair for target in targets for pair in self._pairs(target, value)]
                    stores += [(self._key(part), v, v and self._reads(v, self._key(part))) for part, v in pairs]
                case ast.AnnAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
                    stores.append((self._key(target), value, False))
                case ast.AugAssign(target=target, op=ast.Add() | ast.Sub(), value=value):
                    stores.append((self._key(target), value, True))
                case ast.Call(func=ast.Attribute(value=of, attr="append"), args=[value]):
                    stores.append((self._key(of), value, False))
                case ast.Call():
                    for arg, value in self.passed(node):
                        stores.append(((self.inner[self.function(arg)], arg.arg), value, False))
        stores = [store for store in stores if store[0] is not None and store[1] is not None]
        size = -1
        while size != len(self.timed):
            size = len(self.timed)
            self.timed |= {key for key, value, _ in stores if self.is_time(value)}
        self.clocks = {k for k, value, adds in stores if k in self.timed and (adds or self._ticks(value))}

    def _stored(self, node):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [key for t in targets for part, _ in self._pairs(t, None) if (key := self._key(part)) is not None]

    def _key(self, node):
        match node:
            case ast.Name(id=name):
                return self.scope[node].find(name), name
            case ast.Attribute(attr=label) | ast.Subscript(slice=ast.Constant(value=str(label))):
                return "", label
        return None

    def _reads(self, expression, key):
        return any(self._key(n) == key for n in ast.walk(expression))

    def _ticks(self, node):
        """Whether a value is read off a clock: the time, or a time from now on."""
        match node:
            case ast.BinOp(left=a, op=ast.Add(), right=b):
                return self._ticks(a) or self._ticks(b)
        return isinstance(node, ast.Call) and _is(_TIMES, last(node.func)) and not node.args

    def is_time(self, node):
        match node:
            case ast.Subscript(value=of, slice=ast.Slice()):
                return self.is_time(of)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._key(node) in self.timed
            case ast.Call(func=f, args=args):
                if _is(_TIMES, last(f)):
                    return True
                return last(f) in ("min", "max", "abs", "round", "float", "int", "sum") and any(map(self.is_time, args))
            case ast.BinOp(left=a, op=ast.Add() | ast.Sub(), right=b):
                return self.is_time(a) or self.is_time(b)
            case ast.BinOp(left=a, op=ast.Mult(), right=b):
                return self.is_time(a) and self._counts(b) or self._counts(a) and self.is_time(b)
            case ast.BinOp(left=a, op=ast.Div() | ast.FloorDiv(), right=ast.Constant()):
                return self.is_time(a)
            case ast.IfExp(body=a, orelse=b):
                return self.is_time(a) or self.is_time(b)
        return False

    def _counts(self, node):
        """Whether a time that is multiplied by a value is still one: by a number, or by whether it counts."""
        match node:
            case ast.Constant() | ast.Compare():
                return True
            case ast.UnaryOp(op=ast.Not(), operand=a) | ast.Call(func=ast.Name(id="int" | "float" | "bool"), args=[a]):
                return self._counts(a)
            case ast.BoolOp(values=several):
                return all(map(self._counts, several))
            case ast.Name(id=name):
                found = [self.parent.get(n) for n in self.bindings.get((self.scope[node].find(name), name), [])]
                return bool(found) and all(
                    isinstance(getattr(n, "value", None), (ast.Compare, ast.Constant)) for n in found
                )
        return False

    # ---- plain values ----

    def _plains(self):
        """Finds what holds numbers that the script works out itself: counts, times. A loss is none of them."""
        values = {}  # variable or label: [expression, or None for what is not known]
        for node in ast.walk(self.tree):
            match node:
                case ast.Assign() | ast.AugAssign() | ast.AnnAssign() | ast.NamedExpr() if node.value is not None:
                    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                        for part, value in self._pairs(target, node.value):
                            if (key := self._key(part)) is not None:
                                values.setdefault(key, []).append(value)
                case ast.For(target=target, iter=iterable) | ast.comprehension(target=target, iter=iterable):
                    counts = isinstance(iterable, ast.Call) and last(iterable.func) in ("range", "count", "trange")
                    first = isinstance(iterable, ast.Call) and last(iterable.func) == "enumerate"
                    parts = target.elts if isinstance(target, ast.Tuple) else [target]
                    for at, part in enumerate(parts):
                        for name in ast.walk(part):
                            if (key := self._key(name)) is not None:
                                known = counts or first and at == 0
                                values.setdefault(key, []).append(ast.Constant(0) if known else None)
                case ast.withitem(optional_vars=target) if target is not None:
                    for part in ast.walk(target):
                        if (key := self._key(part)) is not None:
                            values.setdefault(key, []).append(None)
                case ast.Call():
                    for arg, value in self.passed(node):
                        values.setdefault((self.inner[self.function(arg)], arg.arg), []).append(value)
        self.plain = set(values)
        size = -1
        while size != len(self.plain):
            size = len(self.plain)
            self.plain -= {k for k in self.plain if any(v is None or not self.is_plain(v) for v in values[k])}

    def _pairs(self, target, value):
        """The (part, value) of an assignment; None for a value that is not written down."""
        if not isinstance(target, (ast.Tuple, ast.List)):
            return [(target, value)]
        if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
            return [p for t, v in zip(target.elts, value.elts, strict=True) for p in self._pairs(t, v)]
        return [(part, None) for part in ast.walk(target)]

    def is_plain(self, node):
        match node:
            case ast.Constant():
                return True
            case ast.Name() | ast.Attribute():
                return self._key(node) in self.plain
            case ast.Call(func=ast.Name(id=name), args=args) if name in _PASSED and name != "next":
                return all(map(self.is_plain, args))
            case ast.Call(func=f):
                return _is(_TIMES, last(f))
            case ast.BinOp(left=a, right=b):
                return self.is_plain(a) and self.is_plain(b)
            case ast.UnaryOp(operand=a):
                return self.is_plain(a)
            case ast.BoolOp(values=several) | ast.Compare(comparators=several):
                return all(map(self.is_plain, several)) and (isinstance(node, ast.BoolOp) or self.is_plain(node.left))
            case ast.IfExp(body=a, orelse=b, test=c):
                return self.is_plain(a) and self.is_plain(b) and self.is_plain(c)
        return False

    def passed(self, call):
        """The script's own parameters that a call sets: [(arg, expression)]."""
        out = []
        for definition in self.own(call):
            bound = 0
            if isinstance(definition, ast.ClassDef):
                definition, bound = constructor(definition), 1
                if definition is None:
                    continue
            elif isinstance(self.scope[definition].node, ast.ClassDef) and isinstance(call.func, ast.Attribute):
                bound = 0 if any(dotted(d) == "staticmethod" for d in definition.decorator_list) else 1
            args = definition.args
            out += zip([*args.posonlyargs, *args.args][bound:], call.args, strict=False)
            named = {a.arg: a for a in parameters(args)}
            out += [(named[k.arg], k.value) for k in call.keywords if k.arg in named]
        return out

    # ---- what statements do ----

    def effects(self, statements, seen=()):
        """What statements do, their calls of the script's own functions included: a set of kinds, and "steps", "ends"
        (the run), "leaves" (the loop), "returns", "raises" and "restores" (a model's state) besides."""
        out = set()
        for statement in statements:
            for node in self._inside(statement):
                match node:
                    case ast.Break():
                        out.add("leaves")
                    case ast.Return():
                        out.add("returns")
                    case ast.Raise():
                        out.add("ends" if "SystemExit" in ast.dump(node) else "raises")
                    case ast.Assign() | ast.AugAssign() | ast.AnnAssign():
                        if any(key in self.clocks for key in self._stored(node)):
                            out.add(CLOCK)
                    case ast.Call(func=f):
                        name = last(f)
                        if _is(_ENDS, name):
                            out.add("ends")
                        elif self.steps(node):
                            out |= {"steps", TRAINS}
                        elif own := self.own(node):
                            if _is(_EVALUATION, name):
                                out.add(EVALUATES)
                            for definition in own:
                                if definition in seen or isinstance(definition, ast.ClassDef):
                                    continue
                                if definition not in self._effects:
                                    found = self.effects(definition.body, (*seen, definition))
                                    self._effects[definition] = found - {"returns", "leaves", CLOCK}
                                out |= self._effects[definition]
                        elif name == "append" and node.args and self.is_time(node.args[0]):
                            out.add(CLOCK)
                        elif name == "load_state_dict":
                            out.add("restores")
                        elif not self.passes(node) and not _is(_QUIET, name) and not _is(_TIMES, name):
                            out.add(self.foreign(node))
        return out

    def _inside(self, statement):
        """The nodes of a statement that run where it runs."""
        left = [statement]
        while left:
            node = left.pop()
            yield node
            if not isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Raise)):
                left += ast.iter_child_nodes(node)

    def own(self, call):
        """The script's functions, methods or class that a call may mean."""
        f = call.func
        if isinstance(f, ast.Name):
            found = self.definitions.get((self.scope[f].find(f.id), f.id))
            return [found] if found is not None else []
        if isinstance(f, ast.Attribute) and self.root(f.value) not in self.imported:
            return self.methods.get(f.attr, [])
        return []

    @staticmethod
    def steps(call):
        """Whether a call takes an optimizer's step, or trains as a whole."""
        name, of = last(call.func), dotted(call.func).lower()
        if name == "update":
            return bool(call.args) and "opt" in of
        return _is(_STEPS, name) and not re.search(r"sched|prof|env\.|progress|bar\.|self\.step", of)

    def foreign(self, call):
        """What a call of somebody else's function does."""
        whole, name = dotted(call.func), last(call.func)
        if _is(_EVALUATION, name):
            return EVALUATES
        if whole.startswith(("wandb.", "mlflow.")):
            return PRINTS
        if whole.startswith("subprocess.") or whole == "os.system":
            return RUNS
        if whole.endswith("random.key"):
            return SEED
        if name == "join":
            return FILES
        return _kind(_FUNCTIONS, name) or TRAINS

    def passes(self, call):
        """Whether a call's result is its arguments in another form."""
        whole, name = dotted(call.func), last(call.func)
        if name == "log":  # a logarithm, or a logger's
            return self.root(call.func) in self.imported and not whole.startswith(("wandb.", "mlflow."))
        return name in _PASSED or name == "join" and "path" not in whole


def constructor(definition):
    """A class's own __init__; None without."""
    return next((n for n in definition.body if isinstance(n, FUNCTIONS[:2]) and n.name == "__init__"), None)


def parameters(args):
    return [
        *args.posonlyargs,
        *args.args,
        *([args.vararg] if args.vararg else []),
        *args.kwonlyargs,
        *([args.kwarg] if args.kwarg else []),
    ]


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def last(node):
    """The last part of a function's name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def option(call):
    """The (option, attribute) of an add_argument; empty texts where it names none."""
    names = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    name = next((n for n in names if n.startswith("--")), names[0] if names else "")
    given = next((k.value for k in call.keywords if k.arg == "dest"), None)
    return name, given.value if isinstance(given, ast.Constant) else name.lstrip("-").replace("-", "_")


class Use:
    """One thing that a value is used for: its kind, empty for none that is known, and the line where."""

    def __init__(self, kind, line):
        self.kind, self.line = kind, line

    def words(self):
        if self.kind:
            return f"{_WORDS[self.kind]} (line {self.line})"
        return f"it is used for nothing that trains (line {self.line})" if self.line else "nothing uses it"


def judge(program, start, name):
    """Why the value that stands in the items of start is no hyperparameter, as a Use; None where it is one.

    start: [("name", scope, name)], [("label", name)] or both. name: the constant's.
    """
    flow = Flow(program)
    uses = flow.follow(start)
    for kind in DECISIVE:
        if found := [u for u in uses if u.kind == kind]:
            return min(found, key=lambda u: u.line)
    trains = [u for u in uses if u.kind == TRAINS]
    for kind in BESIDE:
        found = [u for u in uses if u.kind == kind]
        if found and (not trains or kind == EVALUATES and re.search(rf"(^|_)({_LENGTH})(_|$)", name.upper())):
            return min(found, key=lambda u: u.line)
    if trains and (kind := named(name)):
        return Use(kind, min(u.line for u in trains))
    return None if trains else Use("", min((site.lineno for item in start for site in flow.sites(item)), default=0))


class Flow:
    """Follows values through a program.

    A value that has gone through what is not plain, such as a tensor, is faint:
    a test of the loss says nothing of what the loss was scaled by.
    """

    def __init__(self, program):
        self.p = program
        self.uses = []

    def follow(self, start):
        """Everything that the items are used for: [Use]."""
        self.left, self.seen = [(item, False) for item in start], {}
        while self.left:
            item, self.faint = self.left.pop()
            if not self.seen.get(item, True) or self.faint and item in self.seen:
                continue
            self.seen[item] = self.faint
            for site in self.sites(item):
                faint = self.faint
                self.climb(site, item)
                self.faint = faint
        return self.uses

    def note(self, kind, node):
        if not self.faint or kind not in DECISIVE:
            self.uses.append(Use(kind, getattr(node, "lineno", 0)))

    def sites(self, item):
        match item:
            case ("name" | "whole", scope, name):
                return self.p.loads.get((scope, name), [])
            case ("label", name):
                return self.p.labels.get(name, [])
            case ("result", function):
                return self.results(function)
        return []

    def results(self, function):
        """The calls of a function whose result is in question. One that is handed on may be called anywhere."""
        if isinstance(function, ast.Lambda):
            return [function]
        name, scope = function.name, self.p.scope[function]
        if not isinstance(scope.node, ast.ClassDef):
            reads = self.p.loads.get((scope, name), [])
        elif name.startswith("__") or name == "forward":
            self.note(TRAINS, function)
            return []
        else:
            reads = self.p.labels.get(name, [])
        out = []
        for read in reads:
            call = self.p.parent[read]
            if isinstance(call, ast.Call) and call.func is read:
                out.append(call)
            elif isinstance(call, ast.Call):
                self.argument(call, read, None)
            else:
                out.append(read)
        return out

    def zone(self, node):
        """What everything in a function is for, by the function's name; None for most."""
        f = self.p.function(node)
        while f is not None:
            if not isinstance(f, ast.Lambda):
                if _is(_EVALUATION, f.name):
                    return EVALUATES
                if _is(_REPORT, f.name):
                    return PRINTS
            f = self.p.function(self.p.parent.get(f))
        return None

    def add(self, *items):
        self.left += [(item, self.faint) for item in items]

    def climb(self, node, item):
        """Goes from where a value is read to what becomes of it. whole: it is a container that has the value in it."""
        if zone := self.zone(node):
            self.note(zone, node)
            return
        whole = item[0] == "whole"
        compared = False
        while True:
            child, node = node, self.p.parent.get(node)
            if isinstance(child, ast.expr):
                tested = child
            match node:
                case ast.Call():
                    if child is node.func:
                        continue
                    if not self.argument(node, child, None, whole):
                        return
                    whole = whole or last(node.func) in ("dict", "SimpleNamespace", "Namespace", "asdict", "vars")
                case ast.keyword():
                    call = self.p.parent[node]
                    if not isinstance(call, ast.Call):
                        return
                    if not self.argument(call, child, node, whole):
                        return
                    whole = whole or last(call.func) in (
                        "dict",
                        "SimpleNamespace",
                        "Namespace",
                        "asdict",
                        "vars",
                        "replace",
                    )
                    node = call
                case ast.Attribute():
                    grand = self.p.parent[node]
                    if isinstance(grand, ast.Call) and grand.func is node:
                        if node.attr in ("backward", "step"):
                            self.note(TRAINS, node)
                            return
                    elif whole:
                        return
                case ast.Subscript():
                    if whole and child is node.value and isinstance(node.slice, ast.Constant):
                        return
                    if isinstance(node.ctx, ast.Store):
                        if root := self.p.root(node):
                            self.add(("name", *root))
                        return
                case ast.Compare():
                    compared = True
                    if any(self.p.is_time(side) for side in (node.left, *node.comparators) if side is not child):
                        self.note(TIME, node)
                case ast.BinOp(op=ast.Div() | ast.FloorDiv(), left=a) if child is node.right and self.p.is_time(a):
                    if isinstance(child, (ast.Name, ast.Attribute)) and not whole and len(self.seen) == 1:
                        self.note(TIME, node)
                case ast.Dict():
                    if child in node.values:
                        key = node.keys[node.values.index(child)]
                        if isinstance(key, ast.Constant) and isinstance(key.value, str):
                            self.add(("label", key.value))
                            whole = True
                case ast.BinOp():
                    other = node.left if child is node.right else node.right
                    self.faint = self.faint or not self.p.is_plain(other)
                case ast.IfExp() | ast.BoolOp() | ast.UnaryOp() | ast.JoinedStr() | ast.FormattedValue():
                    pass
                case ast.Slice(lower=lower):
                    of = self.p.parent[node]
                    total = self.p.parent[of]
                    if child is lower and isinstance(total, ast.Call) and last(total.func) == "sum":
                        if self.p.is_time(of.value):
                            self.note(CLOCK, node)
                case ast.Tuple() | ast.List() | ast.Set() | ast.Starred() | ast.Await() | ast.Lambda():
                    pass
                case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                    pass
                case ast.comprehension():
                    made = self.p.parent[node]
                    if self.counts(child) and FILES in self.p.effects([ast.Expr(made)]):
                        self.note(FILES, made)  # so many names of files
                        return
                    self.each(node.target)
                    node = made
                case ast.NamedExpr():
                    self.targets(node.target, whole)
                case ast.Assign() | ast.AugAssign() | ast.AnnAssign():
                    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                        self.targets(target, whole)
                    return
                case ast.arguments():
                    self.default(node, child)
                    return
                case ast.Return() | ast.Yield() | ast.YieldFrom():
                    if function := self.p.function(node):
                        self.add(("result", function))
                    return
                case ast.For() | ast.AsyncFor():
                    self.each(node.target)
                    self.loop(node)
                    return
                case ast.withitem():
                    if node.optional_vars:
                        self.targets(node.optional_vars, whole)
                    return
                case ast.If():
                    self.decides(node, compared, tested)
                    return
                case ast.While():
                    self.loop(node)
                    return
                case ast.Match():
                    self.decides(node, compared, tested)
                    return
                case ast.match_case():
                    pass
                case ast.Assert() | ast.Raise():
                    self.note(CHECKS, node)
                    return
                case _:
                    return

    def each(self, target):
        """A loop's variable: how far it goes says nothing of what it decides."""
        faint, self.faint = self.faint, True
        self.targets(target, False)
        self.faint = faint

    def targets(self, target, whole):
        """A value is stored in a target."""
        match target:
            case ast.Name(id=name):
                scope = self.p.scope[target].find(name)
                if (scope, name) in self.p.clocks:
                    self.note(CLOCK, target)
                self.add(("whole" if whole else "name", scope, name))
                if isinstance(scope.node, ast.ClassDef):
                    self.add(("label", name))
            case ast.Tuple(elts=items) | ast.List(elts=items):
                for item in items:
                    self.targets(item, whole)
            case ast.Starred(value=item):
                self.targets(item, whole)
            case ast.Attribute(attr=label) | ast.Subscript(slice=ast.Constant(value=str(label))):
                if ("", label) in self.p.clocks:
                    self.note(CLOCK, target)
                root = self.p.root(target)
                if root in self.p.imported:
                    self.note(RUNS, target)
                    return
                self.add(("label", label))
                if isinstance(target, ast.Subscript) and root and self.made_here(root):
                    self.add(("whole", *root))
                elif not self.p.labels.get(label) or isinstance(target, ast.Subscript):
                    self.note(TRAINS, target)  # whoever has the object reads it
            case ast.Subscript():
                root = self.p.root(target)
                if root in self.p.imported:
                    self.note(RUNS, target)
                elif root:
                    self.add(("name", *root))

    def made_here(self, key):
        """Whether a variable holds a dict or list that the script writes down."""
        for node in self.p.bindings.get(key, []):
            parent = self.p.parent.get(node)
            value = getattr(parent, "value", None)
            if (
                isinstance(value, (ast.Dict, ast.List))
                or isinstance(value, ast.Call)
                and last(value.func) in ("dict", "list", "defaultdict")
            ):
                return True
        return False

    def default(self, args, child):
        inner = self.p.inner[self.p.parent[args]]
        plain = [*args.posonlyargs, *args.args]
        late = plain[len(plain) - len(args.defaults) :]
        for arg, value in zip([*late, *args.kwonlyargs], [*args.defaults, *args.kw_defaults], strict=True):
            if value is child and not self.always_given(inner.node, arg):
                self.add(("name", inner, arg.arg))

    def always_given(self, function, arg):
        """Whether each call of a function sets a parameter, so that its default never runs."""
        if isinstance(function, ast.Lambda) or isinstance(self.p.scope[function].node, ast.ClassDef):
            return False
        reads = self.p.loads.get((self.p.scope[function], function.name), [])
        calls = [self.p.parent[read] for read in reads]
        return bool(calls) and all(
            isinstance(call, ast.Call) and call.func is read and any(a is arg for a, _ in self.p.passed(call))
            for call, read in zip(calls, reads, strict=True)
        )

    def argument(self, call, child, keyword, whole=False):
        """A value is an argument of a call. Reports whether the call's result depends on it as a value does."""
        name = last(call.func)
        if (
            name in ("dict", "SimpleNamespace", "Namespace", "replace", "_replace")
            and keyword is not None
            and keyword.arg
        ):
            self.add(("label", keyword.arg))
            return True
        if own := self.p.own(call):
            return self.enter(call, child, keyword, own, whole)
        if name == "add_argument" and keyword is not None and keyword.arg == "default":
            self.add(("label", option(call)[1]))
            return False
        if (
            name in ("getenv", "setdefault")
            and child in call.args[1:]
            and not dotted(call.func).endswith("environ." + name)
        ):
            if name == "setdefault" and isinstance(call.args[0], ast.Constant):
                self.add(("label", call.args[0].value))
            return True  # what stands in for a setting that is not given
        if self.p.passes(call):
            if name == "update" and (root := self.p.root(call.func)):
                self.add(("name", *root))
            return True
        if name in ("append", "extend", "insert", "add", "put"):
            if root := self.p.root(call.func):
                self.add(("whole" if whole else "name", *root))
            return False
        if keyword is not None and keyword.arg and (kind := _kind(_KEYWORDS, keyword.arg)):
            if not (kind == BOUND and self.p.foreign(call) == TRAINS and _is(r".*(LR|Lr|Scheduler|schedule).*", name)):
                self.note(kind, call)
                return False
        kind = self.p.foreign(call)
        if kind == EVALUATES and call.args and call.args[0] is child:
            kind = TRAINS  # the model that is scored
        self.note(kind, call)
        return False

    def enter(self, call, child, keyword, own, whole):
        """Follows an argument into the script's own functions and classes."""
        kind = "whole" if whole else "name"
        passes = False
        for definition in own:
            bound = 0
            if isinstance(definition, ast.ClassDef):
                made = constructor(definition)
                if made is None:
                    passes |= self.field(definition, call, child, keyword)
                    continue
                definition, bound = made, 1
            elif isinstance(self.p.scope[definition].node, ast.ClassDef) and isinstance(call.func, ast.Attribute):
                bound = 0 if any(dotted(d) == "staticmethod" for d in definition.decorator_list) else 1
            if _is(_EVALUATION, definition.name) and call.args and call.args[0] is child:
                self.note(TRAINS, call)
                continue
            args = definition.args
            plain = [*args.posonlyargs, *args.args][bound:]
            scope = self.p.inner[definition]
            if keyword is None:
                at = next((i for i, a in enumerate(call.args) if a is child), len(plain))
                chosen = plain[at : at + 1] or ([args.vararg] if args.vararg else [])
                if isinstance(child, ast.Starred):
                    chosen = plain[at:] or chosen
            elif keyword.arg is None:
                chosen = [a for a in parameters(args) if ("label", a.arg) in self.known()]
            else:
                chosen = [a for a in parameters(args) if a.arg == keyword.arg] or ([args.kwarg] if args.kwarg else [])
            for arg in chosen:
                self.add((kind, scope, arg.arg))
        return passes

    def known(self):
        return {*self.seen, *(item for item, _ in self.left)}

    def field(self, definition, call, child, keyword):
        """An argument of a class without __init__: a field of a dataclass, or the base's business."""
        fields = [
            n.target.id for n in definition.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
        ]
        if keyword is not None and keyword.arg:
            self.add(("label", keyword.arg))
            return True
        at = next((i for i, a in enumerate(call.args) if a is child), len(fields))
        if at < len(fields):
            self.add(("label", fields[at]))
            return True
        if not fields and definition.bases:
            self.note(TRAINS, call)
        return True

    def decides(self, node, compared, test):
        """A value stands in the test of an if, or in the subject or a guard of a match."""
        blocks = [c.body for c in node.cases] if isinstance(node, ast.Match) else [node.body, node.orelse]
        governed = [statement for block in blocks for statement in block]
        done = self.p.effects(governed)
        rest = self.rest(node) if self.passed_by(node, blocks) else []
        after = self.p.effects(rest)
        seen = "steps" in after and "steps" not in done  # no step is taken that the clock does not see
        every = self.modulus(test)
        if seen and "returns" in done and not every and not self.faint:
            self.note(BOUND, node)
            return
        done |= after - {CLOCK} if seen else after
        if "restores" in done:
            if FILES in done and "steps" not in done:
                self.note(RUNS, node)  # it goes on from an earlier run's file
                return
            done.add(TRAINS)
        derived = len(self.seen) > 1 and not self.faint
        counted = (
            derived
            or compared
            and any(isinstance(n, (ast.Name, ast.Attribute)) and not dotted(n).isupper() for n in ast.walk(test))
        )
        training = any(self.trains_in(loop) for loop in self.loops(node))
        beside = done & {PRINTS, FILES, EVALUATES, PAUSES}
        if every and beside and "steps" not in done:
            self.note(EVERY, node)
        elif CLOCK in done and counted:
            self.note(CLOCK, node)
        elif "leaves" in done and training and not done & {TRAINS, "steps"}:
            self.note(BOUND, node)
        elif "ends" in done and not done & {TRAINS, "steps"}:
            self.note(BOUND if training else CHECKS, node)
        elif "raises" in done and not done & {TRAINS, "steps"}:
            self.note(CHECKS, node)
        elif TRAINS in done or "steps" in done:
            self.note(TRAINS, node)
        else:
            for kind in (PAUSES, EVALUATES, FILES, LOADS, RUNS, PRINTS):
                if kind in done:
                    self.note(kind, node)
                    break
        if done & {TRAINS, "steps"} or not done & {PAUSES, EVALUATES, RUNS}:
            self.depends(governed)
            faint, self.faint = self.faint, self.faint or seen
            self.depends(rest)
            self.faint = faint
        if "leaves" in done and not training:
            self.faint = True
            for loop in self.loops(node)[:1]:
                self.depends(loop.body)

    def passed_by(self, node, blocks):
        """Whether an if or a match only guards what comes after it, by continue or by return."""
        ends = [block[-1] for block in blocks if block]
        if any(isinstance(n, ast.Continue) for n in ends):
            return True
        return any(isinstance(n, ast.Return) for n in ends) and not self.loops(node)

    def rest(self, node):
        """The statements after an if that a continue or return in it leaves out."""
        out = []
        while isinstance(node, (ast.If, ast.With, ast.Try, ast.Match, ast.match_case)):
            parent = self.p.parent[node]
            for _, block in ast.iter_fields(parent):
                if isinstance(node, ast.stmt) and isinstance(block, list) and node in block:
                    out += block[block.index(node) + 1 :]
            node = parent
        return out

    def modulus(self, test):
        """Whether a test asks for every n-th step."""
        return any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mod) for n in ast.walk(test))

    def loops(self, node):
        out = []
        while node is not None and not isinstance(node, FUNCTIONS):
            node = self.p.parent.get(node)
            if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
                out.append(node)
        return out

    def counts(self, node):
        """Whether a loop goes over numbers up to a bound, and not over what a list holds."""
        return any(
            isinstance(n, ast.Call) and last(n.func) in ("range", "count", "trange", "islice") for n in ast.walk(node)
        )

    def trains_in(self, loop):
        return "steps" in self.p.effects(loop.body)

    def loop(self, node):
        """A value bounds a loop."""
        done = self.p.effects(node.body)
        if not isinstance(node, ast.While) and not self.counts(node.iter):
            return
        if "steps" in done or isinstance(node, ast.While) and CLOCK in done:
            self.note(BOUND, node)
            return
        for kind in (EVALUATES, FILES):
            if kind in done:
                self.note(kind, node)
                return
        self.depends(node.body)
        for kind in (PAUSES, TRAINS):
            if kind in done:
                self.note(kind, node)
                return

    def depends(self, statements):
        """What is stored or returned in statements depends on the value that decides whether they run."""
        for statement in statements:
            for node in self.p._inside(statement):
                match node:
                    case ast.Assign(targets=targets, value=value):
                        for target in targets:
                            self.control(target, value)
                    case ast.AugAssign(target=target):
                        self.control(target, None)  # how often it is counted says nothing of what the count decides
                    case ast.AnnAssign(target=target, value=value):
                        self.control(target, value)
                    case ast.Return(value=value) if value is not None:
                        if function := self.p.function(node):
                            self.control(("result", function), value)
                    case ast.Call(func=ast.Attribute(attr="append" | "extend" | "add")):
                        if root := self.p.root(node.func):
                            self.add(("name", *root))

    def control(self, target, value):
        """A stored value depends on a test: a clock that is read within it alone is not decided by it."""
        faint, self.faint = self.faint, self.faint or value is None or not self.p.is_plain(value)
        if isinstance(target, tuple):
            self.add(target)
        elif self.p._key(target) not in self.p.clocks:
            self.targets(target, False)
        self.faint = faint
