"""The notary: it computes the score of a trial, and challenges what the trial says of it.

It lives in a process of its own, which runs the workspace's committed prepare.py and never a line of train.py. A trial
commits itself to its loss on every validation token; the score is computed here, of these. Only then some rows are
drawn, of which the trial has to give logits, the targets withheld:

    intact    official rows: the losses of the logits are the committed ones
    changed   official rows, other tokens from some place on: so are they before that place, or the model sees ahead
    shown     the same of fresh rows, of which it gives the losses too: it is as good there, against the reference
    unseen    rows of whose losses it has not been asked, as they stand: so it is on these
    blinded   others of them, in which some tokens are others: so it is where it cannot see the next token

Losses are in nats, float32 (rows, tokens); rows are int32 (rows, tokens + 1): the last column has no input.
"""

import contextlib
import ctypes
import hashlib
import inspect
import json
import math
import os
import random
import secrets
import stat
import sys

import _autoresearchd_bootstrap as bootstrap
import _autoresearchd_boundary as boundary

POOL = 512  # fresh rows that are kept, at most
HELD = 72  # of them are not shown before the challenge
DRAWN = {"intact": 20, "changed": 20, "shown": 12, "unseen": HELD // 2, "blinded": HELD // 2}  # rows, by kind
COMPARED = {  # the kinds whose losses it gives too, and what these are held against
    "intact": "its own logits give",
    "changed": "where later tokens are others: it sees ahead",
    "shown": "where later tokens are others: it sees ahead",
}
TOGETHER = 4  # rows of one call of the model, at most
POSITIONS = 64  # of a row, whose logits are asked for, at most
ANSWER = 192 << 20  # bytes of all logits, at most
IMPOSSIBLE = 100.0  # nats beyond which a loss is taken for an infinite one
SIGMAS = 6.0  # standard errors beyond which a difference is no chance
# Nats by which half of the losses may differ from those of the logits, for rounding: of the first trial, and of later
# ones by where they run. See also Reference.middle.
RANDOM = {"first": 0.1, "cpu": 2e-3, "cuda": 0.01}
COARSE = 1e-4  # nats by which half of them differ only if the logits are coarser than float32


class Unprovable(Exception):
    """Why the scores of this workspace cannot be proven."""


class Unproven(Exception):
    """Why this score is not proven, though that is no evidence of a lie."""


class Tampered(Exception):
    """Evidence that a score is a lie."""


def answer(data):
    """data: a request as JSON, {"op": "learn", "rows", "say" or "leave", …}. Returns the reply as JSON."""
    request = json.loads(data)
    return json.dumps(_finite(_OPS[request["op"]](request))).encode()


def _finite(value):
    """A reply without the numbers that JSON cannot say."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items() if not isinstance(v, float) or math.isfinite(v)}
    if isinstance(value, list):
        return [_finite(v) for v in value if not isinstance(v, float) or math.isfinite(v)]
    return value


# ---- what there is to prove ----------------------------------------------------------------------------------------


class Official:
    """What decides a score: the validation rows, and the bytes of each token."""

    def __init__(self, rows, sizes, pool=None, audit=None):
        self.rows = rows
        self.sizes = sizes  # (vocabulary,)
        self.pool = pool  # rows that no trial has seen; None: there are none
        self.audit = audit  # rows for a second evaluation
        self.count, self.length = rows.shape[0], rows.shape[1] - 1
        self.counted, self.bytes = self.targets(rows)
        self.hashes = {}
        self.alone = []  # files that nothing but the validation split reads

    def targets(self, rows):
        """Of the targets of rows: whether each has bytes, bool (rows, tokens), and the bytes of each row."""
        import torch

        sizes = [self.sizes[some[:, 1:].long()] for some in rows.split(256)]
        return torch.cat([some > 0 for some in sizes]), torch.cat([some.sum(1) for some in sizes])

    def score(self, losses, rows=None):
        """Bits per byte of the losses of the official rows, or the first of them; of `rows` where these are given."""
        import torch

        counted, sizes = (self.counted, self.bytes) if rows is None else self.targets(rows)
        parts = zip(losses.split(256), counted[: len(losses)].split(256), strict=True)
        nats = sum((some * told).sum(dtype=torch.float64).item() for some, told in parts)
        return nats / (math.log(2) * sizes[: len(losses)].sum().item())


class Reference:
    """The study's first proven trial: its losses on the official rows and the pool, and how its logits agree."""

    def __init__(self, losses, fresh, middle, error):
        self.losses, self.fresh, self.middle, self.error = losses, fresh, middle, error
        self.means = losses.double().mean(1)  # (rows,)
        self.path, self.about = "", None  # the file in which it is kept, and what that was then

    def mend(self):
        """Writes its file again where that is another than was written. Returns whether it did."""
        if not self.path or self.about == _about(self.path):
            return False
        with contextlib.suppress(OSError):  # it is here all the same
            _store(self)
            return True
        return False


official = None  # Official, once it is learned
reference = None  # Reference, once there is one
proofs = {}  # by id


def _learn(request):
    """Runs prepare's own evaluation of a model that is a table, and takes down what it evaluates.

    request: {"directory": where prepare.py lies, "cache": "" for its own, "audit": whether rows for audits are wanted,
    "reference": file, "sha256": its hash or "", "middle", "error": see Reference}. Replies {"rows", "length", "pool",
    "referred", "hashes", "alone"} or {"why"}.
    """
    global official
    try:
        official = _study(request)
    except Unprovable as why:
        return {"why": str(why)}
    except BaseException as fault:
        return {"why": f"prepare.py cannot be run apart from a trial: {type(fault).__name__}: {fault}"[:500]}
    _recall(request)
    return {
        "rows": official.count,
        "length": official.length,
        "pool": 0 if official.pool is None else official.pool.shape[0],
        "referred": reference is not None,
        "hashes": official.hashes,
        "alone": official.alone,
    }


def _study(request):
    directory = request["directory"]
    order = {"seed": 0, "steps": 0, "seconds": 1.0, "log_fd": -1, "audit": False, "overlap": False}
    bootstrap.get_ready(order | {"directory": directory, "cache": request["cache"]})
    sys.path.insert(0, directory)
    os.chdir(directory)
    try:
        import torch
    except ImportError:
        raise Unprovable("there is no torch here") from None
    if not hasattr(torch, "overrides"):
        raise Unprovable("there is no torch here")
    torch.set_num_threads(max(1, min(4, len(os.sched_getaffinity(0)) // 4)))  # trials need the others
    real_load = torch.load
    torch.load = lambda *args, **kwargs: real_load(*args, **kwargs | {"map_location": "cpu"})
    with _on_cpu(torch):
        import prepare

        return _take_down(prepare, torch, request["audit"])


def _on_cpu(torch):
    """Has what asks for CUDA get the CPU's: an evaluation's rows are the same on both."""

    class OnCPU(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            name = getattr(function, "__name__", "")
            if name in ("cuda", "pin_memory") and args:
                return args[0]
            kwargs.pop("pin_memory", None)
            if "device" in kwargs:
                kwargs["device"] = here(kwargs["device"])
            if name == "to":
                args = tuple(here(a) if isinstance(a, (str, torch.device)) else a for a in args)
            return function(*args, **kwargs)

    def here(device):
        return "cpu" if str(device).startswith("cuda") else device

    return OnCPU()


class _Files:
    """The files that are read since begin, while they are noted or left open."""

    def __init__(self):
        self.on = False
        self.begin()
        sys.addaudithook(self.hook)

    def begin(self):
        self.seen, self.before = set(), self.held()

    @staticmethod
    def held():
        """The files that are open: libraries open some out of Python's sight."""
        paths = set()
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                path = os.readlink(f"/proc/self/fd/{fd}")
                if path.startswith("/") and stat.S_ISREG(os.stat(path).st_mode):
                    paths.add(path)
        return paths

    def hook(self, event, args):
        if self.on and event == "open" and args and isinstance(args[0], (str, bytes, os.PathLike)):
            self.seen.add(os.path.realpath(os.fsdecode(args[0])))

    @contextlib.contextmanager
    def noted(self):
        self.on = True
        try:
            yield
            self.seen |= self.held() - self.before
        finally:
            self.on = False


class _Recorder:
    """Stands for make_dataloader, and takes down the rows that it gives."""

    def __init__(self, real, torch, files):
        self.real, self.torch, self.files = real, torch, files
        self.rows, self.batch, self.batches, self.epoch, self.asked = [], None, None, None, None

    def __call__(self, *args, **kwargs):
        if self.batches is not None:
            raise Unprovable("evaluate_bpb makes several loaders")
        self.asked = args, kwargs
        with self.files.noted():
            self.batches = iter(self.real(*args, **kwargs))
        return self.drawn()

    def drawn(self):
        while True:
            yield self.next()

    def next(self):
        look = len(self.rows) < 4 or len(self.rows) % 256 == 0
        with self.files.noted() if look else contextlib.nullcontext():
            batch = next(self.batches)
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise Unprovable("make_dataloader's batches are not (inputs, targets, …)")
        x, y = batch[0], batch[1]
        for each in (x, y):
            if not isinstance(each, self.torch.Tensor) or each.dim() != 2 or each.is_floating_point():
                raise Unprovable("make_dataloader's inputs and targets are no integers (rows, tokens)")
        if x.shape != y.shape or not self.torch.equal(x[:, 1:], y[:, :-1]):
            raise Unprovable("make_dataloader's targets are not its inputs, one token on")
        if self.epoch is None and len(batch) > 2 and isinstance(batch[2], int):
            self.epoch = batch[2]
        self.begun_again = self.epoch is None or batch[2] != self.epoch
        self.batch = x, y
        self.rows.append(self.torch.cat([x, y[:, -1:]], 1).to(self.torch.int32))
        return batch


def _take_down(prepare, torch, audit):
    wrapped = getattr(prepare, "evaluate_bpb", None)
    real = getattr(wrapped, "_autoresearchd", None)
    world = getattr(inspect.unwrap(real), "__globals__", {}) if real is not None else {}
    if not callable(world.get("make_dataloader")):
        raise Unprovable("its evaluate_bpb draws no batches from make_dataloader")
    if not hasattr(getattr(prepare, "Tokenizer", None), "from_directory") or not hasattr(prepare, "get_token_bytes"):
        raise Unprovable("prepare has no Tokenizer.from_directory or no get_token_bytes")
    tokenizer = prepare.Tokenizer.from_directory()
    sizes = prepare.get_token_bytes("cpu").long().cpu()
    loader = getattr(world["make_dataloader"], "_autoresearchd", world["make_dataloader"])
    files = _Files()
    generator = torch.Generator().manual_seed(secrets.randbits(62))
    table = torch.rand(4099, dtype=torch.float64, generator=generator) * 8

    def evaluate(batch_size):
        """The rows that prepare evaluates, and their recorder; Unprovable if it scores them unlike Official."""
        recorder, seen = _Recorder(loader, torch, files), []

        class Table(torch.nn.Module):
            def forward(self, *args, **kwargs):
                given = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
                x, y = recorder.batch or (None, None)
                if len(given) != 2 or x is None or not torch.equal(given[0], x) or not torch.equal(given[1], y):
                    raise Unprovable(
                        "evaluate_bpb does not give the model (inputs, targets) as make_dataloader gives them"
                    )
                if kwargs.get("reduction", "none") != "none":
                    raise Unprovable("evaluate_bpb does not ask the model for the loss of every token")
                place = torch.arange(x.numel()).view_as(x)
                losses = table[(x * 7919 + y * 1009 + place * 31 + len(seen) * 17) % len(table)]
                seen.append(losses)
                return losses.reshape(-1)

        world["make_dataloader"] = recorder
        value = boundary.bits(real(Table(), tokenizer, batch_size), wrapped._place)
        if len(seen) != len(recorder.rows) or not seen:
            raise Unprovable("evaluate_bpb does not call the model once for each batch")
        rows, found = torch.cat(recorder.rows), torch.cat(seen)
        if rows.min() < 0 or rows.max() >= len(sizes):
            raise Unprovable("get_token_bytes does not know every token")
        ours = Official(rows, sizes).score(found)
        if not abs(value - ours) <= 1e-9 * abs(ours):
            words = f"nats / (ln 2 x bytes) of the tokens that have bytes: it gives {value!r} for {ours!r}"
            raise Unprovable(f"evaluate_bpb is not {words}")
        return rows, recorder

    try:
        rows, recorder = evaluate(1)
        again, _ = evaluate(4)
    finally:
        world["make_dataloader"] = loader
    if len(rows) - len(again) not in range(4) or not torch.equal(again, rows[: len(again)]):
        raise Unprovable("evaluate_bpb evaluates other rows with another batch size")
    if len(rows) < 2:
        raise Unprovable("evaluate_bpb evaluates one row only")
    more, wanted = [], POOL + (len(rows) if audit else 0)
    while len(more) < wanted and not recorder.begun_again:
        recorder.next()
        more.append(recorder.rows[-1])
    if recorder.begun_again and more:
        more.pop()
    more = torch.cat(more) if more else rows[:0]
    found = Official(rows, sizes)
    if audit and len(more) >= len(rows):
        found.audit, more = more[: len(rows)], more[len(rows) :]
    found.pool = more if len(more) > 1 else None
    found.hashes = _hashes(prepare, sizes, rows)
    validation = set(files.seen)
    with contextlib.suppress(Exception):  # without this, nothing is known to be the validation split's alone
        args, kwargs = recorder.asked
        args = ["train" if a == "val" else a for a in args]
        kwargs = {k: "train" if a == "val" else a for k, a in kwargs.items()}
        files.begin()
        with files.noted():
            batches = iter(loader(*args, **kwargs))
            next(batches)
        found.alone = _alone(validation, files.seen)
    return found


def _alone(validation, training):
    """Files of data that the validation split reads and the training split does not."""
    apart = (os.path.realpath(boundary.order["directory"]), sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev")
    return sorted(
        p for p in validation - training if os.path.isfile(p) and not any(p.startswith(a + os.sep) for a in apart)
    )


def _hashes(prepare, sizes, rows):
    with open(prepare.__file__, "rb") as file:
        source = file.read()
    return {
        "prepare.py": hashlib.sha256(source).hexdigest(),
        "token_bytes": hashlib.sha256(_bytes(sizes)).hexdigest(),
        "rows": hashlib.sha256(_bytes(rows)).hexdigest(),
    }


def _bytes(tensor):
    """A contiguous tensor's memory, as a copy."""
    tensor = tensor.contiguous()
    return ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())


# ---- files that a trial shares -------------------------------------------------------------------------------------


def _inside(folder):
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _write(folder, name, data):
    """Makes a file that was not there. The folder is the trial's too, so nothing in it is followed."""
    at = _inside(folder)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=at)
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=at)
    finally:
        os.close(at)
    with open(fd, "wb") as file:
        file.write(data)


def _read(folder, name, shape):
    """float32 of a shape, as they stand in a file of the trial's now; what becomes of it later is no matter."""
    import torch

    size = 4 * math.prod(shape)
    try:
        at = _inside(folder)
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        finally:
            os.close(at)
        with open(fd, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size != size:
                raise Unproven(f"it gave {about.st_size} bytes where {size} were asked for")
            found = torch.empty(shape, dtype=torch.float32)
            if file.readinto((ctypes.c_char * size).from_address(found.data_ptr())) != size:
                raise Unproven("what it gave became shorter")
    except OSError as fault:
        raise Unproven(f"what it was to give cannot be read: {fault.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, name))
    return found


# ---- the reference -------------------------------------------------------------------------------------------------


def _recall(request):
    """Takes the reference up again that an earlier notary has kept, if it is the one of the record."""
    global reference
    path, known = request.get("reference"), request.get("sha256")
    pool = 0 if official.pool is None else official.pool.shape[0]
    if reference is not None or not path or not known:
        return
    with contextlib.suppress(OSError, Unproven):
        losses = _read_kept(path, (official.count + pool, official.length))
        if hashlib.sha256(_bytes(losses)).hexdigest() == known:
            reference = Reference(
                losses[: official.count], losses[official.count :], request["middle"], request["error"]
            )
            reference.path, reference.about = path, _about(path)


def _about(path):
    """What tells a file from another; None where there is none."""
    try:
        about = os.lstat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def _read_kept(path, shape):
    import torch

    with open(path, "rb") as file:
        data = bytearray(file.read())
    if len(data) != 4 * math.prod(shape):
        raise Unproven("the reference is of other rows")
    return torch.frombuffer(data, dtype=torch.float32).view(shape)


def _keep(path, kept):
    """Makes a trial the reference, and keeps its losses. Returns their hash."""
    global reference
    reference, kept.path = kept, path
    return _store(kept)


def _store(kept):
    """Writes a reference to its file. Returns the hash."""
    import torch

    data = _bytes(torch.cat([kept.losses, kept.fresh]))
    part = f"{kept.path}.part"
    with open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, kept.path)
    kept.about = _about(kept.path)
    return hashlib.sha256(data).hexdigest()


# ---- a proof -------------------------------------------------------------------------------------------------------


class Piece:
    """A row of a challenge: its kind, which row of its source it is, the inputs that are asked, and where."""

    def __init__(self, kind, row, inputs, positions, targets, told):
        import torch

        where = torch.tensor(positions)
        self.kind, self.row, self.inputs, self.positions, self.targets = kind, row, inputs, positions, targets
        self.where, self.told = where, told  # positions as a tensor, and which of them count


class Proof:
    """One trial's evaluation, from the rows that it gets to the verdict on it."""

    def __init__(self, request):
        self.folder, self.keep, self.device = request["folder"], request.get("keep", ""), request["device"]
        self.committed = self.fresh = self.pieces = self.score = None
        self.shown = self.held = []  # rows of the pool
        self.draw = random.Random(
            secrets.randbits(256)
        )  # of this proof alone: what one shows tells nothing of the next
        self.record = {"verdict": "", "hashes": official.hashes}

    def say(self, told):
        """What the trial says, answered: what it is told, and the record once there is a verdict."""
        try:
            if told["op"] == "commit":
                return self.commit(told)
            if told["op"] == "answer" and self.pieces is not None:
                return self.judge(told)
            if told["op"] == "fresh" and self.shown and self.fresh is None:
                self.fresh = _losses_in(self.folder, len(self.shown))
                return self.challenge()
            if told["op"] == "fresh" and self.record["verdict"] == "proven":
                return self.refer()
            raise Unproven(f"it gives no proof: {told.get('why', 'it said nothing that could be one')}"[:500])
        except Tampered as evidence:
            return self.conclude("tampered", str(evidence))
        except Unproven as why:
            return self.conclude("unproven", str(why))

    def conclude(self, verdict, evidence=""):
        self.record |= {"verdict": verdict, "evidence": evidence}
        self.pieces = None
        return {"tell": {"score": repr(self.score) if self.score is not None else ""}, "record": self.record}

    def commit(self, told):
        """The trial's losses: the score is theirs. Replies with the challenge."""
        if self.committed is not None:
            raise Unproven("it committed itself twice")
        self.committed = losses = _losses_in(self.folder, official.count)
        if not losses.isfinite().all():
            self.score = math.nan
            return self.conclude("proven")
        self.score = official.score(losses)
        self.record |= {"val_bpb": self.score, "tokens": losses.numel()}
        count = min(max(int(told["whole"]), 0), official.count)
        if count:
            value = float(told["value"])
            here = self.score if count == official.count else official.score(losses[:count])
            if not abs(value - here) <= 5e-3 * here:
                raise Tampered(f"evaluate_bpb returned {value:.6f} where its own losses come to {here:.6f}")
        self.still(told, "between the first batch of its evaluation and the last")
        pool = 0 if official.pool is None else official.pool.shape[0]
        if pool < 8:
            return self.challenge()
        order = self.draw.sample(range(pool), pool)
        self.held, self.shown = order[: min(HELD, pool // 2)], order[min(HELD, pool // 2) :]
        _write(self.folder, "fresh", _bytes(official.pool[self.shown]))
        return {"tell": {"fresh": len(self.shown)}}

    def challenge(self):
        self.pieces = self.drawn()
        batches, rest = [], list(self.pieces)
        while rest:
            size = self.draw.randint(1, TOGETHER)
            batch, rest = rest[:size], rest[size:]
            batches.append({"rows": [p.inputs for p in batch], "positions": [p.positions for p in batch]})
        return {"tell": {"challenge": batches, "vocabulary": len(official.sizes)}}

    def judge(self, told):
        pieces, wide = self.pieces, int(told.get("wide", 0))
        self.pieces = None
        if not len(official.sizes) <= wide <= 2 * len(official.sizes):
            raise Unproven(f"its logits are of {wide} tokens, of which there are {len(official.sizes)}")
        asked = len(pieces[0].positions)
        logits = _read(self.folder, "logits", (len(pieces), asked, wide))
        from_logits = []
        for each, piece in zip(logits, pieces, strict=True):
            from_logits.append(_losses(each, piece.targets))
        self.compare(pieces, from_logits)
        self.still(told, "between its evaluation and its logits")
        if reference is None and self.keep and self.shown:
            self.record["verdict"] = "proven"
            _write(self.folder, "fresh", _bytes(official.pool[self.held]))
            return {"tell": {"score": repr(self.score), "fresh": len(self.held)}}
        return self.conclude("proven")

    def still(self, told, when):
        """Holds against a trial what it says itself of its weights, which is no proof that they stayed as they were."""
        match told.get("moved"):
            case [int(count), int(every), int(share) | float(share)] if every > 0:
                if count > 0:
                    words = f"{count} of its {every} weights moved, by up to {share:.1e} of their length"
                    raise Tampered(f"{words}, {when}: an evaluation must leave them as they are")
                self.record["weights"] = every

    def compare(self, pieces, from_logits):
        """Holds the losses of the logits against the committed ones, and against the reference."""
        gaps, losses, beyond, impossible = {k: [] for k in COMPARED}, {k: [] for k in COMPARED}, {}, 0
        for piece, loss in zip(pieces, from_logits, strict=True):
            where, loss = piece.where[piece.told], loss[piece.told]
            if piece.kind not in COMPARED:
                loss = loss.clamp(max=IMPOSSIBLE)
                over = loss - reference.fresh[piece.row, where].double() if reference else loss
                beyond.setdefault(piece.kind, []).append(over)
                continue
            impossible += int((loss > IMPOSSIBLE).sum())
            committed = self.fresh[self.shown.index(piece.row)] if piece.kind == "shown" else self.committed[piece.row]
            gaps[piece.kind].append(loss - committed[where].double())
            losses[piece.kind].append(loss)
        if impossible:
            raise Tampered(f"its own logits rule out {impossible} tokens that it committed itself to losses of")
        self.honest(gaps, losses)
        if beyond:
            self.general(beyond)

    def honest(self, gaps, losses):
        """Holds the committed losses against the model's own logits. gaps, losses: {kind: [nats of each row]}."""
        import torch

        every, loss = (torch.cat([row for kind in each.values() for row in kind]) for each in (gaps, losses))
        size = every.abs()
        middle, mean = size.median().item(), every.mean().item()
        by_row = _error([row.mean().item() for kind in gaps.values() for row in kind])
        error = max(by_row, (every.std() / math.sqrt(len(every))).item())
        shares = torch.tensor([0.5, 0.9, 0.99, 0.999], dtype=size.dtype)
        self.record |= {
            "positions": len(every),
            "gap_mean": mean,
            "gap_error": error,
            "gap_largest": size.max().item(),
            "gap_quantiles": torch.quantile(size, shares).tolist(),
        }
        most = RANDOM["first"]
        if reference:  # what a trial adds to its losses by chance must not widen what is allowed
            most = max(5 * reference.middle, RANDOM[self.device])
            error = min(error, 3 * reference.error + 1e-5)
        random, middle = middle > most, min(middle, most)
        limit = SIGMAS * error + 2e-4 + 0.1 * middle
        if random and abs(mean) <= limit:
            words = f"half of them by more than {most:.4f} nats: a model must not be random when it is evaluated"
            raise Unproven(f"its losses and its logits differ either way, {words}: call model.eval()")
        for kind, words in COMPARED.items():
            if not gaps[kind]:
                continue
            gap, loss = torch.cat(gaps[kind]), torch.cat(losses[kind])
            far = gap > _allowed(loss, middle)
            # Where the next token is the first that is another; what is so of all tokens is said below.
            ends = torch.stack([row[-1] for row in gaps[kind]]) - max(mean, 0.0)
            edge = ends.mean().item()
            if kind != "intact" and edge > SIGMAS * _error(ends.tolist()) + 2e-4 + 0.1 * middle:
                raise Tampered(
                    f"its losses on the last {len(ends)} tokens before were {edge:.4f} nats lower than {words}"
                )
            if far.any():
                by = gap[far].mean().item()
                raise Tampered(
                    f"its loss on {int(far.sum())} of {len(gap)} tokens was {by:.2f} nats lower than {words}"
                )
        if mean > limit:
            words = f"over {len(every)} tokens (standard error {error:.4f})"
            raise Tampered(f"its losses were {mean:.4f} nats a token lower than its own logits give, {words}")

    def general(self, beyond):
        """How much better it is on the official rows than on fresh ones, against the reference."""
        import torch

        known = self.committed.mean(1, dtype=torch.float64) - (reference.means if reference else 0.0)
        fresh = (self.fresh - reference.fresh[self.shown] if reference else self.fresh).mean(1, dtype=torch.float64)
        for name, slack, values, words in (
            ("fresh", 2e-3, fresh, "than on fresh text of its kind"),
            (
                "unseen",
                2e-3,
                torch.stack([row.mean() for row in beyond["unseen"]]),
                "than on text that it was not shown",
            ),
            ("blind", 5e-3, torch.cat(beyond["blinded"]), "than on fresh text whose next token cannot be seen"),
        ):
            value = (values.mean() - known.mean()).item()
            error = math.sqrt(sum(v.var().item() / len(v) for v in (values, known)))
            self.record |= {name: value, name + "_error": error}
            limit = SIGMAS * error + slack
            if reference is None:  # some text is harder than other text
                limit = 2 * SIGMAS * error + 0.25 * self.committed.mean().item()
            if value > limit:
                words = f"{value:.3f} nats a token better on the official validation text {words}"
                against = ", against the study's first trial" if reference else ""
                raise Tampered(f"it is {words}{against} (standard error {error:.3f}): it knows that text")

    def refer(self):
        import torch

        held = _losses_in(self.folder, len(self.held))
        fresh = torch.empty(len(self.shown) + len(self.held), official.length)
        fresh[self.shown], fresh[self.held] = self.fresh, held
        if reference is None and fresh.isfinite().all():
            kept = Reference(self.committed, fresh, self.record["gap_quantiles"][0], self.record["gap_error"])
            self.record["reference"] = _keep(self.keep, kept)
        return self.conclude("proven")

    def drawn(self):
        """Pieces in random order, as many positions in each."""
        wide, every = len(official.sizes), range(official.count)
        half = len(self.held) // 2
        rows = {"intact": every, "changed": every, "shown": self.shown}
        if half:
            rows |= {"unseen": self.held[:half], "blinded": self.held[half:]}
        wanted = {kind: min(DRAWN[kind], len(rows[kind])) for kind in rows}
        asked = min(POSITIONS, official.length // 2, max(4, ANSWER // (4 * wide * sum(wanted.values()))))
        pieces = []
        for kind, n in wanted.items():
            source = official.rows if kind in ("intact", "changed") else official.pool
            pieces += [_piece(self.draw, kind, row, source, asked) for row in self.draw.sample(rows[kind], n)]
        self.draw.shuffle(pieces)
        return pieces


def _losses_in(folder, count):
    """A trial's losses of so many rows, (rows, tokens); they may be no numbers."""
    losses = _read(folder, "losses", (count, official.length))
    if losses.min() < -1e-3:
        raise Tampered(f"{int((losses < -1e-3).sum())} of its losses are below zero")
    return losses.clamp_(min=0)


def _losses(logits, targets):
    """float64 nats of each position's target; Unproven where the logits are no distribution."""

    top = logits.amax(1, keepdim=True)  # not a number, if one of them is none
    if top.isnan().any() or (top == math.inf).any():
        raise Unproven("its logits are not finite")
    if (top == -math.inf).any():
        raise Unproven("its logits allow no token")
    whole = (logits - top).exp_().sum(1).double().log_() + top[:, 0].double()
    return whole - logits.gather(1, targets.view(-1, 1))[:, 0].double()


def _allowed(loss, middle):
    """Nats by which a loss may be lower than its logits give, where half of them are off by no more than middle.

    A logit in bfloat16 has steps of a sixteenth between 8 and 16, of an eighth above: few losses are off by so much,
    and the middle does not tell.
    """
    return (0.01 + 25 * middle + 0.002 * loss).clamp(min=0.3 if middle > COARSE else 0.0, max=1.0)


def _error(values):
    """The standard error of a mean."""
    if len(values) < 2:
        return math.inf
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def _piece(draw, kind, row, source, asked):
    import torch

    tokens, length = source[row], official.length
    inputs = tokens[:-1].tolist()
    others = source[draw.randrange(source.shape[0])][:-1].tolist()
    good = None
    if kind in ("intact", "unseen"):
        positions = draw.sample(range(length), asked)
    elif kind in ("changed", "shown"):
        first = draw.randrange(length // 8, length)
        step = draw.choice((1, 1, draw.randint(2, 9)))
        for at in range(first, length, step):
            inputs[at] = _other(draw, inputs[at], others)
        before = draw.sample(range(first - 1), min(first - 1, asked - 1))
        rest = draw.sample(range(first, length), max(0, min(length - first, asked - 1 - len(before))))
        positions = [first - 1, *before, *rest]
        good = set(positions) - set(rest)
    else:
        gap = max(24, length // 32)
        places = range(draw.randrange(8, gap), length, gap)
        places = [min(length - 1, p + draw.randrange(gap // 4)) for p in places]
        for at in places:
            inputs[at] = _other(draw, inputs[at], others)
        unseen = {p - 1 for p in places} | {length - 1}
        good = set(draw.sample(sorted(unseen), min(len(unseen), asked)))
        rest = draw.sample(sorted(set(range(length)) - good), asked - len(good))
        positions = [*good, *rest]
    while len(positions) < asked:
        positions.append(draw.choice(positions[:1]))
    positions.sort()
    told = torch.tensor([good is None or p in good for p in positions])
    return Piece(kind, row, inputs, positions, tokens[1:].long()[positions], told)


def _other(draw, token, others):
    """A token of the same kind of text that is not this one."""
    for _ in range(16):
        other = draw.choice(others)
        if other != token:
            return other
    return (token + 1) % len(official.sizes)


# ---- requests ------------------------------------------------------------------------------------------------------


def _rows(request):
    """A trial is to be evaluated: it gets the official rows. request: {"proof": id, "folder", "keep": path or ""}."""
    if official is None:
        return {"why": "nothing is learned yet"}
    mended = reference is not None and reference.mend()
    proof = proofs[request["proof"]] = Proof(request)
    tell = {"rows": official.count, "length": official.length}
    _write(proof.folder, "rows", _bytes(official.rows))
    if request.get("audit") and official.audit is not None:
        tell["audit"] = official.audit.shape[0]
        _write(proof.folder, "audit", _bytes(official.audit))
    return {"tell": tell, "mended": mended}


def _say(request):
    return proofs[request["proof"]].say(request["said"])


def _leave(request):
    proofs.pop(request["proof"], None)
    return {}


_OPS = {"learn": _learn, "rows": _rows, "say": _say, "leave": _leave}
