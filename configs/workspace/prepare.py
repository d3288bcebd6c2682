"""Data, tokenizer, batches and the metric. A trial never changes this file.

    python prepare.py                          # 10 training shards of the hub's data set, and the validation shard
    python prepare.py --corpus python          # the text of this Python installation: nothing to download
    python prepare.py --corpus ~/my/text       # the text files of a folder

Everything lands in the cache, $AUTORESEARCH_CACHE or ~/.cache/autoresearch, laid out as
karpathy/autoresearch lays it out, so that what either prepares serves both:

    data/shard_NNNNN.parquet    one string column, text; a row is a document; shard_06542 is the validation split
    tokenizer/tokenizer.pkl     a pickled tiktoken.Encoding
    tokenizer/token_bytes.pt    int32 (vocabulary,): bytes per token as the legacy metric counts them, 0 for specials
    packed/SPLIT-WIDTH.tokens   ours: the rows that the loader gives, tokenised and packed once, 2 bytes a token
    packed/SPLIT-WIDTH.json     ours: how many, what they were made from, sha256; what does not fit is not read
    manifest.json               ours: what was prepared, counts, sha256 of the files that decide the score

The packed validation rows take 4 x EVAL_TOKENS bytes (80 MiB), the training rows at most 2 x PACKED_TOKENS (2 GiB).
"""

import argparse
import bisect
import collections
import hashlib
import json
import math
import os
import pickle
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tiktoken
import torch

# What every trial of a study shares. Scores compare only where these agree.
MAX_SEQ_LEN = 2048  # tokens of context
TIME_BUDGET = 300  # counted training seconds
UNCOUNTED_STEPS = 2  # optimizer steps before the counted ones: the first compiles, the next one warms up
STEP_BUDGET = 0  # counted optimizer steps; not 0: train.py stops after these and ignores TIME_BUDGET
EVAL_TOKENS = 40 * 524288  # validation tokens that are scored
VOCAB_SIZE = 8192  # tokens in the vocabulary, the four special ones included

PACKED_TOKENS = 2**30  # the training stream's first epoch is packed on disk up to here; 0: not at all
TOKENIZER_CHARS = 1_000_000_000  # the tokenizer is trained on at most this much text
TOKENIZER_DOC_CHARS = 10_000  # and on no more than this of one document
VAL_PERCENT = 10  # share of a local corpus, in whole files, that becomes the validation shard
MIN_CORPUS_BYTES = 200_000  # a local corpus with less text is refused
DOWNLOAD_ATTEMPTS = 5  # tries per shard, each resuming where the last one broke off
RETRY_SECONDS = 1.0  # wait after the first failure; doubled after each further one

CACHE_DIR = os.environ.get("AUTORESEARCH_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "autoresearch")
DATA_DIR = f"{CACHE_DIR}/data"
TOKENIZER_DIR = f"{CACHE_DIR}/tokenizer"
PACKED_DIR = f"{CACHE_DIR}/packed"
MANIFEST = f"{CACHE_DIR}/manifest.json"
HUB_DATASET = "karpathy/climbmix-400b-shuffle"
BASE_URL = os.environ.get("AUTORESEARCH_BASE_URL") or f"https://huggingface.co/datasets/{HUB_DATASET}/resolve/main"
VAL_SHARD = 6542  # the hub's last shard
SHARD_BYTES = 128 << 20  # text per training shard of a local corpus

# GPT-4's split pattern with at most two digits a piece, one alternative a line.
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)"
    r"|[^\r\n\p{L}\p{N}]?+\p{L}+"
    r"|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]"
    r"|\s+(?!\S)"
    r"|\s+"
)
BOS_TOKEN = "<|reserved_0|>"
SPECIAL_TOKENS = [BOS_TOKEN, "<|reserved_1|>", "<|reserved_2|>", "<|reserved_3|>"]

# The last evaluation's bits per true byte; evaluate_bpb itself returns the legacy number.
last_corrected_bpb = None


class PrepareError(Exception):
    """What the user has to know and can mend; the command line prints it without a traceback."""


# ---- batches -------------------------------------------------------------------------------------------------------


class Tokenizer:
    """A tiktoken encoding and its beginning-of-sequence token."""

    def __init__(self, enc):
        self.enc = enc
        self.bos_token_id = self.enc.encode_single_token(BOS_TOKEN)

    @classmethod
    def from_directory(cls, tokenizer_dir=None):
        """Load the cache's tokenizer. PrepareError if there is none or its size is not VOCAB_SIZE."""
        folder = tokenizer_dir or TOKENIZER_DIR
        path = os.path.join(folder, "tokenizer.pkl")
        if not os.path.exists(path):
            raise PrepareError(f"no tokenizer at {path}: run `python prepare.py` first, or set AUTORESEARCH_CACHE")
        with open(path, "rb") as f:
            enc = pickle.load(f)
        if enc.n_vocab != VOCAB_SIZE:
            raise PrepareError(
                f"{folder} was prepared with a vocabulary of {enc.n_vocab} tokens, but prepare.py says VOCAB_SIZE = "
                f"{VOCAB_SIZE}: set it to {enc.n_vocab}, or prepare another cache (AUTORESEARCH_CACHE)"
            )
        return cls(enc)

    def get_vocab_size(self):
        return self.enc.n_vocab

    def get_bos_token_id(self):
        return self.bos_token_id

    def encode(self, text, prepend=None, num_threads: int = 8):
        """Token ids of a string, or a list of them for a list of strings; `prepend` is a token id or a special's name.

        Text that spells a special token is encoded as ordinary text. TypeError for anything else.
        """
        if not isinstance(text, (str, list)):
            raise TypeError(f"encode takes a string or a list of strings, not {type(text).__name__}")
        first = self.enc.encode_single_token(prepend) if isinstance(prepend, str) else prepend
        docs = [text] if isinstance(text, str) else text
        many = len(docs) > 1
        rows = (
            self.enc.encode_ordinary_batch(docs, num_threads=num_threads)
            if many
            else map(self.enc.encode_ordinary, docs)
        )
        rows = list(rows) if first is None else [[first, *row] for row in rows]
        return rows[0] if isinstance(text, str) else rows

    def decode(self, ids):
        return self.enc.decode(ids)


def get_token_bytes(device="cpu"):
    """int32 (vocabulary,): each token's bytes as the legacy metric counts them; specials have 0."""
    return torch.load(os.path.join(TOKENIZER_DIR, "token_bytes.pt"), map_location=device, weights_only=True)


def true_token_bytes(enc, device="cpu"):
    """int32 (vocabulary,): the bytes each token stands for; specials have 0.

    The legacy table decodes every token by itself; a token that is a part of a character becomes U+FFFD there and
    counts 3 bytes for each bad sequence (upstream issue 384).
    """
    special = {enc.encode_single_token(name) for name in enc.special_tokens_set}
    sizes = [0 if i in special else len(enc.decode_single_token_bytes(i)) for i in range(enc.n_vocab)]
    return torch.tensor(sizes, dtype=torch.int32, device=device)


def shard_name(index):
    return f"shard_{index:05d}.parquet"


def list_shards():
    """Paths of all shards in the cache, in name order."""
    if not os.path.isdir(DATA_DIR):
        return []
    return [os.path.join(DATA_DIR, name) for name in sorted(os.listdir(DATA_DIR)) if name.endswith(".parquet")]


def split_shards(split):
    """Paths of the "train" or "val" split. PrepareError where it is empty."""
    if split not in ("train", "val"):
        raise ValueError(f'a split is "train" or "val", not {split!r}')
    held_out = shard_name(VAL_SHARD)
    paths = [p for p in list_shards() if (os.path.basename(p) == held_out) == (split == "val")]
    if not paths:
        raise PrepareError(f"no {split} shard in {DATA_DIR}: run `python prepare.py` first, or set AUTORESEARCH_CACHE")
    return paths


def read_documents(paths):
    """One pass over the shards: a list of documents for each row group."""
    for path in paths:
        shard = pq.ParquetFile(path)
        for group in range(shard.num_row_groups):
            yield shard.read_row_group(group, columns=["text"]).column("text").to_pylist()


def document_batches(split, size=128, skip=0):
    """Endless (documents, epoch), at most `size` documents, never across a row group; the first epoch is 1.

    The first `skip` batches are left out, for the price of the shards' footers.
    """
    shards = [pq.ParquetFile(path) for path in split_shards(split)]
    groups = [(shard, n, shard.metadata.row_group(n).num_rows) for shard in shards for n in range(shard.num_row_groups)]
    epoch = 0
    while True:
        epoch += 1
        for shard, group, count in groups:
            batches = -(-count // size)
            if skip >= batches:
                skip -= batches
                continue
            documents = shard.read_row_group(group, columns=["text"]).column("text").to_pylist()
            for start in range(skip * size, len(documents), size):
                yield documents[start : start + size], epoch
            skip = 0


class BestFit:
    """Documents waiting to be packed, taken by length.

    Among documents of one length the oldest goes first. That is the order in which upstream's scan over its whole
    buffer finds them, for a bisection instead of a thousand comparisons.
    """

    def __init__(self):
        self.count = 0
        self.lengths = []  # ascending, each once
        self.queues = {}  # length -> documents, oldest first

    def add(self, document):
        size = len(document)
        if size not in self.queues:
            bisect.insort(self.lengths, size)
            self.queues[size] = collections.deque()
        self.queues[size].append(document)
        self.count += 1

    def take(self, room):
        """The longest document of at most `room` tokens, else the shortest of all, cut to `room`."""
        at = max(0, bisect.bisect_right(self.lengths, room) - 1)
        size = self.lengths[at]
        queue = self.queues[size]
        document = queue.popleft()
        if not queue:
            del self.queues[size], self.lengths[at]
        self.count -= 1
        return document if size <= room else document[:room]


class Packer:
    """Rows of `width` token ids with no padding, documents packed best fit, each opened by BOS.

    `rest` is what an earlier packer left when it stopped: this one goes on from there.
    """

    def __init__(self, tokenizer, width, split, buffer_size=1000, rest=None):
        self.tokenizer, self.width, self.buffer_size = tokenizer, width, buffer_size
        self.drawn, self.epoch, self.waiting = 0, 1, BestFit()
        if rest is not None:
            self.drawn, self.epoch = rest["drawn"], rest["epoch"]
            for document in rest["waiting"]:
                self.waiting.add(document)
        self.batches = document_batches(split, skip=self.drawn)

    def row(self):
        row = []
        while len(row) < self.width:
            while self.waiting.count < self.buffer_size:
                documents, self.epoch = next(self.batches)
                self.drawn += 1
                for document in self.tokenizer.encode(documents, prepend=self.tokenizer.get_bos_token_id()):
                    self.waiting.add(document)
            row += self.waiting.take(self.width - len(row))
        return row

    def rest(self):
        waiting = [document for queue in self.waiting.queues.values() for document in queue]
        return {"drawn": self.drawn, "epoch": self.epoch, "waiting": waiting}


class Rows:
    """A split's rows in their one order: out of the packed file as far as it goes, then packed on the fly."""

    def __init__(self, tokenizer, width, split, buffer_size=1000):
        self.packed = Packed.open(tokenizer, width, split, buffer_size)
        self.at = 0
        self.packer = None
        self.arguments = (tokenizer, width, split, buffer_size)

    def take(self, count):
        """The next `count` rows, integers (count, width), and the epoch, from 1, of the last one's newest document."""
        parts = []
        if self.packed is not None and self.at < len(self.packed.rows):
            parts.append(self.packed.rows[self.at : self.at + count])
            self.at += len(parts[0])
            count -= len(parts[0])
        if count:
            if self.packer is None:
                self.packer = Packer(*self.arguments, rest=self.packed and self.packed.rest())
            parts.append(np.array([self.packer.row() for _ in range(count)], dtype=np.int64))
            epoch = self.packer.epoch
        else:
            epoch = self.packed.epoch(self.at - 1)
        return parts[0] if len(parts) == 1 else np.concatenate([p.astype(np.int64) for p in parts]), epoch


def make_dataloader(tokenizer, B: int, T: int, split, buffer_size: int = 1000):
    """Endless (inputs, targets, epoch); both int64 (B, T), targets one token ahead, on the GPU if there is one.

    The order of tokens depends on the data, T and buffer_size alone, not on B: row after row.
    """
    rows = Rows(tokenizer, T + 1, split, buffer_size)
    cuda = torch.cuda.is_available()
    # Two pinned blocks in turn: a copy that still waits in the stream must not see the next batch written over it.
    blocks = [torch.empty((2, B, T), dtype=torch.long, pin_memory=cuda) for _ in range(2 if cuda else 1)]
    copied = [torch.cuda.Event() if cuda else None for _ in blocks]
    turn = 0
    while True:
        tokens, epoch = rows.take(B)
        if cuda:
            copied[turn].synchronize()
        block = blocks[turn]
        block[0].numpy()[:] = tokens[:, :-1]
        block[1].numpy()[:] = tokens[:, 1:]
        if cuda:
            batch = block.to("cuda", non_blocking=True)
            copied[turn].record()
        else:
            batch = block.clone()
        turn = (turn + 1) % len(blocks)
        yield batch[0], batch[1], epoch


# ---- rows packed once ----------------------------------------------------------------------------------------------


class Packed:
    """A packed file that was proven whole: `rows`, (count, width), mapped from the disk."""

    def __init__(self, meta, tokens):
        self.meta = meta
        count = meta["rows"] * meta["width"]
        self.rows = tokens[:count].reshape(meta["rows"], meta["width"])
        self.tail = tokens[count:]

    @classmethod
    def open(cls, tokenizer, width, split, buffer_size=1000):
        """None where there is no such file, or it is not whole, or was made from something else."""
        if type(tokenizer) is not Tokenizer:
            return None  # its tokens may be any
        tokens, described = packed_paths(split, width)
        try:
            with open(described, encoding="utf-8") as f:
                meta = json.load(f)
            if meta["source"] != packed_source(tokenizer, width, split, buffer_size) or meta[
                "bytes"
            ] != os.path.getsize(tokens):
                return None
            # What decides the score is read in whole; the training rows may be gigabytes.
            if split == "val" and meta["sha256"] != file_digest(tokens):
                return None
            return cls(meta, np.memmap(tokens, dtype=meta["dtype"], mode="r"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def epoch(self, row):
        return 1 + bisect.bisect_right(self.meta["epochs"], row)

    def rest(self):
        """Where the packer stopped: see Packer.rest."""
        ends = np.cumsum(self.meta["waiting"])[:-1]
        waiting = [document.tolist() for document in np.split(self.tail, ends)] if self.meta["waiting"] else []
        return {"drawn": self.meta["drawn"], "epoch": self.meta["epoch"], "waiting": waiting}


def packed_paths(split, width):
    stem = os.path.join(PACKED_DIR, f"{split}-{width}")
    return stem + ".tokens", stem + ".json"


def packed_source(tokenizer, width, split, buffer_size):
    """All that the order of tokens depends on; of each shard its size and the end of its footer, not its text."""
    words = [tokenizer.enc.decode_single_token_bytes(n).hex() for n in range(tokenizer.get_vocab_size())]
    shards = []
    for path in split_shards(split):
        size = os.path.getsize(path)
        with open(path, "rb") as f:
            f.seek(max(0, size - 4096))
            shards.append([os.path.basename(path), size, digest(f.read())])
    return {
        "format": 1,
        "width": width,
        "buffer_size": buffer_size,
        "vocabulary": digest(" ".join(words).encode()),
        "shards": digest(json.dumps(shards).encode()),
    }


def pack(tokenizer, width, split, rows, one_epoch=False, buffer_size=1000):
    """Pack `rows` rows of a split, of its first epoch alone if `one_epoch`, unless that was done. True if it was not.

    Each file appears whole or not at all, and either of two that pack at a time leaves the same ones.
    """
    done = Packed.open(tokenizer, width, split, buffer_size)
    if done is not None and (len(done.rows) >= rows or one_epoch and done.meta["epoch"] > 1):
        return False
    meta = {"source": packed_source(tokenizer, width, split, buffer_size), "width": width}
    dtype = np.dtype("<u2" if tokenizer.get_vocab_size() <= 1 << 16 else "<u4")
    packer, hashed, epochs, count = Packer(tokenizer, width, split, buffer_size), hashlib.sha256(), [], 0
    tokens, described = packed_paths(split, width)
    os.makedirs(PACKED_DIR, exist_ok=True)
    part = f"{tokens}.{os.getpid()}.part"
    try:
        with open(part, "wb") as f:

            def write(ids):
                data = np.array(ids, dtype=dtype).tobytes()
                hashed.update(data)
                f.write(data)

            # Looked at between rows, so that a row is whole: the last one may have opened the second epoch.
            while count < rows and not (one_epoch and packer.epoch > 1):
                before = packer.epoch
                write(packer.row())
                epochs += [count] * (packer.epoch - before)
                count += 1
            rest = packer.rest()
            for document in rest["waiting"]:
                write(document)
            size = f.tell()
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, tokens)
    finally:
        if os.path.exists(part):
            os.remove(part)
    meta |= {"dtype": dtype.str, "rows": count, "epochs": epochs, "bytes": size, "sha256": hashed.hexdigest()}
    meta |= {"drawn": rest["drawn"], "epoch": rest["epoch"], "waiting": [len(d) for d in rest["waiting"]]}
    write_json(described, meta)
    return True


def pack_all():
    """Pack the rows that evaluations read (those of an audit too), and the training stream. True if any were packed.

    Nothing depends on it but time: without room on the disk it is said, and left.
    """
    started = time.monotonic()
    tokenizer, width = Tokenizer.from_directory(), MAX_SEQ_LEN + 1
    try:
        fresh = pack(tokenizer, width, "val", -(-2 * EVAL_TOKENS // MAX_SEQ_LEN))
        if PACKED_TOKENS:
            fresh = pack(tokenizer, width, "train", PACKED_TOKENS // width, one_epoch=True) or fresh
    except OSError as fault:
        say(f"packed: not all of it ({fault}): what is missing is tokenised by every trial")
        return False
    if fresh:
        paths = [packed_paths(split, width)[0] for split in ("val", "train")]
        size = sum(os.path.getsize(path) for path in paths if os.path.exists(path))
        say(f"packed: {size / 1e6:,.1f} MB in {PACKED_DIR}, in {time.monotonic() - started:.1f} s")
    return fresh


# ---- the metric ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def evaluate_bpb(model, tokenizer, batch_size: int):
    """Bits per byte on the validation shard: summed loss in nats / (ln 2 x summed bytes of the targets). Lower wins.

    model(inputs, targets, reduction="none") gives the loss of every token; special tokens count in neither sum.
    EVAL_TOKENS tokens of MAX_SEQ_LEN context are scored. The bytes are the legacy table's, so the number compares
    with upstream's; `last_corrected_bpb` is left with the same sum over the true bytes.
    """
    global last_corrected_bpb
    device = "cuda" if torch.cuda.is_available() else "cpu"
    legacy = get_token_bytes(device)
    true = true_token_bytes(tokenizer.enc, device)
    loader = make_dataloader(tokenizer, batch_size, MAX_SEQ_LEN, "val")
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for _ in range(EVAL_TOKENS // (batch_size * MAX_SEQ_LEN)):
        inputs, targets, _ = next(loader)
        losses = model(inputs, targets, reduction="none").view(-1)
        targets = targets.view(-1)
        sizes = legacy[targets]
        # Nothing is read before the end, so that the device never waits for the host.
        sums[0] += (losses * (sizes > 0)).sum(dtype=torch.float64)
        sums[1] += sizes.sum()
        sums[2] += true[targets].sum()
    nats, legacy_bytes, true_bytes = sums.tolist()
    last_corrected_bpb = nats / (math.log(2) * true_bytes)
    return nats / (math.log(2) * legacy_bytes)


# ---- tokenizer training --------------------------------------------------------------------------------------------


def byte_of_letter():
    """The byte behind each letter of the byte-level alphabet (GPT-2's: printable bytes stand for themselves)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(b): b for b in printable}
    others = (b for b in range(256) if b not in set(printable))
    letters.update((chr(256 + n), b) for n, b in enumerate(others))
    return letters


def tokenizer_text():
    """Training documents for the tokenizer, each cut to TOKENIZER_DOC_CHARS, TOKENIZER_CHARS in all."""
    left = TOKENIZER_CHARS
    for documents in read_documents(split_shards("train")):
        for document in documents:
            if left <= 0:
                return
            left -= min(len(document), TOKENIZER_DOC_CHARS)
            yield document[:TOKENIZER_DOC_CHARS]


def train_encoding(texts, vocab_size):
    """Byte-pair encoding with ranks 0-255 for the bytes, then the merges, then the specials.

    PrepareError if the text is too little for that many merges.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    trainee = Tokenizer(models.BPE())
    trainee.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = vocab_size - len(SPECIAL_TOKENS)
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(alphabet), show_progress=False)
    trainee.train_from_iterator(texts, trainer)

    letters = byte_of_letter()
    vocab = trainee.get_vocab()
    learned = sorted((word for word in vocab if len(word) > 1), key=vocab.get)
    ranks = {bytes([b]): b for b in range(256)}
    for word in learned:
        ranks[bytes(letters[c] for c in word)] = len(ranks)
    if len(ranks) != size:
        raise PrepareError(f"too little text for a vocabulary of {vocab_size}: it gave {len(ranks)} tokens")
    specials = {name: size + n for n, name in enumerate(SPECIAL_TOKENS)}
    return tiktoken.Encoding("autoresearch", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens=specials)


def legacy_token_bytes(enc):
    """The table that upstream's metric divides by: see true_token_bytes for what is wrong with it."""
    texts = (enc.decode([i]) for i in range(enc.n_vocab))
    return torch.tensor([0 if t in SPECIAL_TOKENS else len(t.encode()) for t in texts], dtype=torch.int32)


def train_tokenizer():
    """Train and save the tokenizer, unless both of its files are there. True if it was trained."""
    folder = TOKENIZER_DIR
    table, pickled = (os.path.join(folder, name) for name in ("token_bytes.pt", "tokenizer.pkl"))
    if os.path.exists(table) and os.path.exists(pickled):
        return False
    os.makedirs(folder, exist_ok=True)
    started = time.monotonic()
    say(f"tokenizer: training {VOCAB_SIZE} tokens ...")
    enc = train_encoding(tokenizer_text(), VOCAB_SIZE)
    sample = "def f(x): return x**2  # 1234, naïve, 你好\n"
    if enc.decode(enc.encode_ordinary(sample)) != sample:
        raise PrepareError("the trained tokenizer does not give its input back")
    torch.save(legacy_token_bytes(enc), table + ".part")
    with open(pickled + ".part", "wb") as f:
        pickle.dump(enc, f)
    os.replace(table + ".part", table)
    os.replace(pickled + ".part", pickled)
    say(f"tokenizer: trained in {time.monotonic() - started:.1f} s")
    return True


# ---- the hub's data set --------------------------------------------------------------------------------------------


class Progress:
    """Bytes so far, on one line of a terminal, or a line every ten seconds elsewhere."""

    def __init__(self, what, files):
        self.what, self.files, self.ready, self.bytes = what, files, 0, 0
        self.tty = sys.stdout.isatty()
        self.started = self.shown = time.monotonic()
        self.lock, self.stop = threading.Lock(), threading.Event()

    def add(self, count):
        with self.lock:
            self.bytes += count
            now = time.monotonic()
            if now - self.shown < (0.5 if self.tty else 10):
                return
            self.shown = now
            rate = self.bytes / 1e6 / (now - self.started)
            line = f"{self.what}: {self.ready} of {self.files} files, {self.bytes / 1e6:,.0f} MB, {rate:.1f} MB/s"
            print("\r" + line if self.tty else line, end="   " if self.tty else "\n", flush=True)

    def close(self):
        if self.tty and self.shown > self.started:
            print()


def fetch(url, path, progress):
    """One attempt at url, going on from path + ".part"; the file appears under `path` only when it is whole.

    OSError (URLError, timeouts, a short or damaged file) where another attempt may help.
    """
    part = path + ".part"
    have = os.path.getsize(part) if os.path.exists(part) else 0
    request = urllib.request.Request(url, headers={"User-Agent": "autoresearchd"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as fault:
        if fault.code == 416:  # nothing lies beyond what we have: whole, or not what it was
            os.remove(part)
        raise
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        whole = None if length is None else int(length) + (have if resumed else 0)
        with open(part, "ab" if resumed else "wb") as f:
            while chunk := response.read(1 << 20):
                f.write(chunk)
                progress.add(len(chunk))
                if progress.stop.is_set():
                    return
    size = os.path.getsize(part)
    if whole is not None and size != whole:
        raise OSError(f"{size:,} of {whole:,} bytes came")
    try:
        pq.read_metadata(part)
    except pa.ArrowException:
        os.remove(part)
        raise OSError("what came is not a parquet file") from None
    os.replace(part, path)


def download_shard(index, progress):
    """Fetch a shard with retries, until it is there or progress.stop is set. PrepareError when it cannot be had."""
    name = shard_name(index)
    url = f"{BASE_URL}/{name}"
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        if progress.stop.is_set():
            return
        try:
            fetch(url, os.path.join(DATA_DIR, name), progress)
            progress.ready += 1
            return
        except OSError as fault:  # URLError, HTTPError and timeouts are OSErrors
            final = isinstance(fault, urllib.error.HTTPError) and fault.code in (401, 403, 404)
            reason = getattr(fault, "reason", None) or fault
            if final or attempt == DOWNLOAD_ATTEMPTS:
                raise PrepareError(
                    f"cannot download {url} ({reason}; {attempt} {'try' if attempt == 1 else 'tries'}): "
                    "is the network up? What has come is kept, the same command goes on from there; "
                    "`--corpus python` needs no network"
                ) from None
            say(f"{name}: {reason}; trying again")
            progress.stop.wait(RETRY_SECONDS * 2 ** (attempt - 1))


def download(count, workers):
    """Fetch the first `count` training shards and the validation shard, those that are missing. True if any was."""
    folder = DATA_DIR
    os.makedirs(folder, exist_ok=True)
    wanted = [VAL_SHARD, *range(min(count, VAL_SHARD))]
    missing = [i for i in wanted if not os.path.exists(os.path.join(folder, shard_name(i)))]
    if not missing:
        return False
    say(f"data: downloading {len(missing)} of {len(wanted)} shards of {HUB_DATASET} ...")
    progress = Progress("data", len(missing))
    with ThreadPoolExecutor(max(1, min(workers, len(missing)))) as pool:
        jobs = [pool.submit(download_shard, i, progress) for i in missing]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            progress.stop.set()
            raise
        finally:
            progress.close()
    say(f"data: {len(missing)} shards, {progress.bytes / 1e6:,.0f} MB")
    return True


# ---- a corpus on this machine --------------------------------------------------------------------------------------


def digest(data):
    return hashlib.sha256(data).hexdigest()


def text_files(folder, extensions=None, skip=()):
    """{sha256: text} of the folder's files that are UTF-8, each content once; hidden files and `skip` left out."""
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(d for d in folders if d not in skip and not d.startswith("."))
        for name in sorted(files):
            if name.startswith(".") or (extensions and not name.endswith(extensions)):
                continue
            path = os.path.join(root, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                data = f.read()
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError:
                continue
            if text.strip() and "\0" not in text:
                found.setdefault(digest(data), text)
    return found


def cut_documents(text, limit):
    """The text in pieces of at most `limit` characters, cut at blank lines, else line ends, else anywhere."""
    pieces = []
    while len(text) > limit:
        at = max(text.rfind("\n\n", limit // 4, limit - 1) + 2, limit // 4)
        if at == limit // 4:
            at = text.rfind("\n", 1, limit) + 1 or limit
        pieces.append(text[:at])
        text = text[at:]
    return [p for p in (*pieces, text) if p.strip()]


def build_shards(files):
    """Split {sha256: text} by whole files, cut them into documents, shuffle by hash, write the shards; counts.

    Best-fit packing drops what does not fit a row, so documents are cut to about a row: 2 x MAX_SEQ_LEN characters.
    """
    order = sorted(files)  # by hash: as good as shuffled, and the same everywhere
    total = sum(len(text.encode()) for text in files.values())
    val, seen = [], 0
    while seen * 100 < total * VAL_PERCENT:
        val.append(order.pop())
        seen += len(files[val[-1]].encode())
    counts = {}
    for split, keys in (("validation", val), ("train", order)):
        documents = [d for key in keys for d in cut_documents(files[key], 2 * MAX_SEQ_LEN)]
        encoded = sorted((digest(f"{n}:".encode() + d.encode()), d) for n, d in enumerate(documents))
        documents = [d for _, d in encoded]
        counts[split] = {"documents": len(documents), "bytes": sum(len(d.encode()) for d in documents)}
        if split == "validation":
            write_shard(VAL_SHARD, documents)
            continue
        per_shard = max(1, len(documents) * SHARD_BYTES // max(1, counts[split]["bytes"]))
        for index, start in enumerate(range(0, len(documents), per_shard)):
            write_shard(index, documents[start : start + per_shard])
    return counts


def write_shard(index, documents):
    folder = DATA_DIR
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, shard_name(index))
    table = pa.table({"text": pa.array(documents, pa.string())})
    pq.write_table(table, path + ".part", row_group_size=1024, compression="zstd")
    os.replace(path + ".part", path)


def local_corpus(corpus):
    """{sha256: text} of the Python installation or of a folder. PrepareError where that is not enough text."""
    if corpus == "python":
        folder = sysconfig.get_paths()["stdlib"]
        files = text_files(folder, (".py", ".txt", ".rst", ".md"), ("site-packages", "dist-packages", "__pycache__"))
    else:
        folder = corpus
        if not os.path.exists(folder):
            raise PrepareError(f"--corpus {folder}: no such folder")
        if not os.path.isdir(folder):
            raise PrepareError(f"--corpus {folder}: not a folder")
        files = text_files(folder)
    if not files:
        raise PrepareError(f"--corpus {folder}: no UTF-8 text file in it")
    size = sum(len(text.encode()) for text in files.values())
    if size < MIN_CORPUS_BYTES or len(files) < 2:
        raise PrepareError(
            f"--corpus {folder}: {len(files)} different text files with {size:,} bytes are too little; "
            f"at least 2 files with {MIN_CORPUS_BYTES:,} bytes are needed"
        )
    return files


# ---- command line --------------------------------------------------------------------------------------------------


def say(line):
    print(line, flush=True)


def file_digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            h.update(chunk)
    return h.hexdigest()


def read_manifest():
    try:
        with open(MANIFEST, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return None
    except ValueError:
        raise PrepareError(f"{MANIFEST} is damaged: delete it and run this again") from None


def write_manifest(corpus, counts):
    deciding = [
        os.path.join(TOKENIZER_DIR, "tokenizer.pkl"),
        os.path.join(TOKENIZER_DIR, "token_bytes.pt"),
        os.path.join(DATA_DIR, shard_name(VAL_SHARD)),
        packed_paths("val", MAX_SEQ_LEN + 1)[0],
    ]
    os.makedirs(CACHE_DIR, exist_ok=True)
    manifest = {
        "corpus": corpus,
        "vocab_size": VOCAB_SIZE,
        "shards": len(list_shards()),
        **counts,
        "sha256": {os.path.relpath(path, CACHE_DIR): file_digest(path) for path in deciding if os.path.exists(path)},
    }
    write_json(MANIFEST, manifest, indent=2)


def write_json(path, value, indent=None):
    part = f"{path}.{os.getpid()}.part"
    with open(part, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=indent)
        f.write("\n")
    os.replace(part, path)


def prepare(corpus, num_shards, workers):
    """Bring the cache to what is asked for, doing only what is missing."""
    if corpus not in ("hub", "python"):
        corpus = os.path.abspath(os.path.expanduser(corpus))
    manifest = read_manifest()
    held = manifest["corpus"] if manifest else "hub" if list_shards() else corpus
    if held != corpus:
        raise PrepareError(
            f"{CACHE_DIR} already holds the corpus {held}, not {corpus}: "
            "delete it, or name another one with AUTORESEARCH_CACHE"
        )
    if os.path.exists(os.path.join(TOKENIZER_DIR, "tokenizer.pkl")):
        Tokenizer.from_directory()  # refuses a vocabulary of another size, before anything is fetched
    counts = {k: manifest[k] for k in ("train", "validation") if k in manifest} if manifest else {}
    if corpus == "hub":
        fresh = download(VAL_SHARD if num_shards < 0 else num_shards, workers)
    else:
        fresh = not (counts and len(list_shards()) == manifest["shards"])
        if fresh:
            files = local_corpus(corpus)
            write_manifest(corpus, {})  # so that what is left of an interrupted run is known for what it is
            counts = build_shards(files)
            train, val = counts["train"], counts["validation"]
            say(
                f"data: {corpus}: {train['documents']:,} documents ({train['bytes'] / 1e6:.1f} MB) to train on, "
                f"{val['documents']:,} ({val['bytes'] / 1e6:.1f} MB) to validate"
            )
    fresh = train_tokenizer() or fresh
    fresh = pack_all() or fresh
    if fresh or not manifest:
        write_manifest(corpus, counts)
    say(f"{'ready' if fresh else 'nothing to do'}: {corpus}, {VOCAB_SIZE} tokens, in {CACHE_DIR}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Prepare training text and a tokenizer for the trials.")
    parser.add_argument("--corpus", default="hub", help='"hub" (downloaded), "python" (this installation), or a folder')
    parser.add_argument("--num-shards", type=int, default=10, help="the hub's training shards to fetch; -1: all")
    parser.add_argument("--download-workers", type=int, default=8, help="downloads at a time")
    options = parser.parse_args(arguments)
    try:
        prepare(options.corpus, options.num_shards, options.download_workers)
    except (PrepareError, OSError) as fault:
        print(f"prepare.py: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("prepare.py: interrupted; the same command continues from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
