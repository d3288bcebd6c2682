"""prepare.py: packing, metric, tokenizer, corpora, downloads, manifest."""

import hashlib
import http.server
import json
import math
import os
import pickle
import random
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import tiktoken
import torch
from common import WORKSPACE, prepare, prepared_cache, run_prepare, small_text, use_cache, write_workspace

try:
    import tomllib
except ModuleNotFoundError:  # before 3.11
    import tomli as tomllib


class Words:
    """A tokenizer whose documents are lists of numbers in text: the lengths are the test's to choose."""

    def get_bos_token_id(self):
        return 0

    def encode(self, documents, prepend):
        return [[prepend, *map(int, d.split())] for d in documents]


def plain_rows(documents, width, buffer_size, count):
    """Best fit by looking at everything, every time: the longest that fits, the first of equals; else a cut."""
    waiting, rows, given, epoch = [], [], 0, 1
    for _ in range(count):
        row = []
        while len(row) < width:
            while len(waiting) < buffer_size:
                batch = documents[given : given + 128]
                waiting += [[0, *map(int, d.split())] for d in batch]
                given += len(batch)
                fresh_epoch = epoch
                if given >= len(documents):
                    given, epoch = 0, epoch + 1
            room = width - len(row)
            fitting = [n for n, d in enumerate(waiting) if len(d) <= room]
            if fitting:
                longest = max(len(waiting[n]) for n in fitting)
                chosen = next(n for n in fitting if len(waiting[n]) == longest)
            else:
                shortest = min(map(len, waiting))
                chosen = next(n for n, d in enumerate(waiting) if len(d) == shortest)
            row += waiting.pop(chosen)[:room]
        rows.append((row, fresh_epoch))
    return rows


class Packing(unittest.TestCase):
    def test_equals_the_plain_scan(self):
        for seed, (low, high, width) in enumerate([(0, 60, 33), (20, 400, 65), (0, 8, 129), (90, 100, 50)]):
            dice = random.Random(seed)
            documents = [
                " ".join(str(dice.randrange(1, 10**6)) for _ in range(dice.randint(low, high))) for _ in range(700)
            ]
            with self.subTest(width=width), tempfile.TemporaryDirectory() as folder:
                use_cache(folder)
                os.makedirs(prepare.DATA_DIR)
                prepare.write_shard(0, documents)
                packer = prepare.Packer(Words(), width, "train", buffer_size=200)
                got = [(packer.row(), packer.epoch) for _ in range(300)]
                self.assertEqual(got, plain_rows(documents, width, 200, 300))

    def test_batches_are_rows_in_order_whatever_their_size(self):
        with prepared_cache():
            tokenizer = prepare.Tokenizer.from_directory()
            small = prepare.make_dataloader(tokenizer, 2, 32, "val")
            large = prepare.make_dataloader(tokenizer, 8, 32, "val")
            x, y, epoch = next(large)
            parts = [next(small) for _ in range(4)]
            self.assertTrue(torch.equal(x, torch.cat([p[0] for p in parts])))
            self.assertTrue(torch.equal(y, torch.cat([p[1] for p in parts])))
            self.assertTrue(torch.equal(x[:, 1:], y[:, :-1]))
            self.assertTrue((x[:, 0] == tokenizer.get_bos_token_id()).all())
            self.assertEqual((epoch, x.dtype, tuple(x.shape)), (1, torch.int64, (8, 32)))


class PackedRows(unittest.TestCase):
    """The packed files give what the loader gives that tokenises, or nothing."""

    width = 33

    def setUp(self):
        self.folder = prepared_cache()
        self.addCleanup(self.folder.cleanup)
        self.tokenizer = prepare.Tokenizer.from_directory()

    def packed(self, split):
        return prepare.Packed.open(self.tokenizer, self.width, split)

    def fresh(self, split, count, skip=0):
        packer = prepare.Packer(self.tokenizer, self.width, split)
        return [(packer.row(), packer.epoch) for _ in range(skip + count)][skip:]

    def drawn(self, split, count, size):
        rows, got = prepare.Rows(self.tokenizer, self.width, split), []
        while len(got) < count:
            block, epoch = rows.take(size)
            got += [(row, epoch if n == size - 1 else None) for n, row in enumerate(block.tolist())]
        return got, rows

    def test_same_rows_and_epochs_within_across_and_beyond_the_file(self):
        for split in ("val", "train"):
            held = len(self.packed(split).rows)
            count = held + 700  # well into what is packed on the fly, and for val into a second epoch
            expected = self.fresh(split, count + 7)
            for size in (1, 7, held + 3):
                with self.subTest(split=split, size=size):
                    got, rows = self.drawn(split, count, size)
                    self.assertIsNotNone(rows.packer)
                    self.assertEqual([r for r, _ in got[:count]], [r for r, _ in expected[:count]])
                    told = [(n, e) for n, (_, e) in enumerate(got[:count]) if e is not None]
                    self.assertEqual(told, [(n, expected[n][1]) for n, _ in told])

    def test_several_epochs_in_one_file(self):
        one = 1 + next(n for n, (_, epoch) in enumerate(self.fresh("val", 20_000)) if epoch == 2)
        prepare.pack(self.tokenizer, self.width, "val", 5 * one)
        got, rows = self.drawn("val", 5 * one, 1)
        self.assertIsNone(rows.packer)
        self.assertEqual(got, self.fresh("val", 5 * one))
        self.assertGreater(got[-1][1], 2)

    def test_the_bounds(self):
        self.assertEqual(len(self.packed("val").rows), 2 * prepare.EVAL_TOKENS // prepare.MAX_SEQ_LEN)
        whole = self.packed("train")
        self.assertEqual([whole.epoch(n) for n in (0, len(whole.rows) - 1)], [1, 2])
        self.assertEqual(whole.epoch(len(whole.rows) - 2), 1)
        os.remove(prepare.packed_paths("train", self.width)[1])
        with mock.patch.object(prepare, "PACKED_TOKENS", 100 * self.width):
            self.assertEqual(run_prepare("--corpus", small_text())[0], 0)
        self.assertEqual(len(self.packed("train").rows), 100)
        self.assertEqual(self.drawn("train", 150, 50)[0][-1], self.fresh("train", 150)[-1])

    def test_the_score_is_the_same_with_and_without(self):
        weights = torch.randn(prepare.VOCAB_SIZE, prepare.VOCAB_SIZE, generator=torch.Generator().manual_seed(1))
        logs = weights.log_softmax(-1)
        scores = []
        for _ in range(2):
            score = prepare.evaluate_bpb(lambda x, y, reduction: -logs[x, y], self.tokenizer, 4)
            scores.append((score, prepare.last_corrected_bpb))
            for name in os.listdir(prepare.PACKED_DIR):
                os.remove(os.path.join(prepare.PACKED_DIR, name))
        self.assertEqual(*scores)

    def test_what_does_not_fit_is_not_read_and_is_made_again(self):
        tokens, described = map(Path, prepare.packed_paths("val", self.width))
        whole, meta = tokens.read_bytes(), described.read_text()

        def changed(**values):
            described.write_text(json.dumps(json.loads(meta) | values))

        def bits():
            tokens.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])

        def shard():
            path = Path(prepare.DATA_DIR, prepare.shard_name(prepare.VAL_SHARD))
            documents = pq.read_table(path).column("text").to_pylist()
            prepare.write_shard(prepare.VAL_SHARD, documents[::-1])

        faults = {
            "torn": lambda: tokens.write_bytes(whole[:-8]),
            "emptied": lambda: tokens.write_bytes(b""),
            "changed": bits,
            "gone": tokens.unlink,
            "description torn": lambda: described.write_text(meta[: len(meta) // 2]),
            "description of something else": lambda: described.write_text("[1]"),
            "format of another version": lambda: changed(source={"format": 0}),
            "another shard": shard,
        }
        for name, harm in faults.items():
            with self.subTest(name):
                harm()
                self.assertIsNone(self.packed("val"))
                self.assertEqual([r for r, _ in self.drawn("val", 9, 3)[0]], [r for r, _ in self.fresh("val", 9)])
                self.assertEqual(run_prepare("--corpus", small_text())[0], 0)
                self.assertIsNotNone(self.packed("val"))
                if name != "another shard":
                    self.assertEqual(tokens.read_bytes(), whole)
        self.assertEqual([n for n in os.listdir(prepare.PACKED_DIR) if "part" in n], [])

    def test_another_tokenizer_is_not_served(self):
        class Reversed(prepare.Tokenizer):
            def encode(self, text, prepend=None):
                return [[row[0], *row[:0:-1]] for row in super().encode(text, prepend=prepend)]

        other = Reversed(self.tokenizer.enc)
        self.assertIsNone(prepare.Packed.open(other, self.width, "val"))
        ranks = {self.tokenizer.enc.decode_single_token_bytes(n): n for n in range(380)}
        ranks[b"qqqq"] = ranks.pop(self.tokenizer.enc.decode_single_token_bytes(379))
        specials = {name: 380 + n for n, name in enumerate(prepare.SPECIAL_TOKENS)}
        enc = tiktoken.Encoding("x", pat_str=prepare.SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens=specials)
        self.assertIsNone(prepare.Packed.open(prepare.Tokenizer(enc), self.width, "val"))

    def test_a_full_disk_costs_time_alone(self):
        for name in os.listdir(prepare.PACKED_DIR):
            os.remove(os.path.join(prepare.PACKED_DIR, name))
        with mock.patch.object(prepare.os, "fsync", side_effect=OSError(28, "No space left on device")):
            status, out, _ = run_prepare("--corpus", small_text())
        self.assertEqual(status, 0)
        self.assertIn("packed: not all of it ([Errno 28] No space left on device)", out)
        self.assertEqual(os.listdir(prepare.PACKED_DIR), [])

    def test_two_at_a_time_leave_one(self):
        (tokens, _) = prepare.packed_paths("val", self.width)
        before = Path(tokens).read_bytes()
        for path in prepare.packed_paths("val", self.width):
            os.remove(path)
        script = (
            "import os, sys; sys.path.insert(0, sys.argv[1]); import prepare as p; "
            "p.MAX_SEQ_LEN, p.VOCAB_SIZE, p.EVAL_TOKENS, p.say = 32, 384, 2048, str; "
            "p.pack_all(); assert p.Packed.open(p.Tokenizer.from_directory(), 33, 'val')"
        )
        env = {**os.environ, "AUTORESEARCH_CACHE": self.folder.name, "PYTHONDONTWRITEBYTECODE": "1"}
        both = [subprocess.Popen([sys.executable, "-c", script, str(WORKSPACE)], env=env) for _ in range(2)]
        self.assertEqual([p.wait() for p in both], [0, 0])
        self.assertEqual(Path(tokens).read_bytes(), before)
        self.assertEqual(sorted(os.listdir(prepare.PACKED_DIR))[-2:], ["val-33.json", "val-33.tokens"])


class Metric(unittest.TestCase):
    def test_equals_a_token_by_token_sum(self):
        with prepared_cache():
            tokenizer = prepare.Tokenizer.from_directory()
            weights = torch.randn(prepare.VOCAB_SIZE, prepare.VOCAB_SIZE, generator=torch.Generator().manual_seed(1))
            logs = weights.log_softmax(-1)

            def model(x, y, reduction):
                self.assertEqual(reduction, "none")
                return -logs[x, y]

            got = prepare.evaluate_bpb(model, tokenizer, 4)
            corrected = prepare.last_corrected_bpb

            loader = prepare.make_dataloader(tokenizer, 1, prepare.MAX_SEQ_LEN, "val")
            nats, legacy, true = 0.0, 0, 0
            for _ in range(prepare.EVAL_TOKENS // prepare.MAX_SEQ_LEN):
                x, y, _ = next(loader)
                for a, b in zip(x[0].tolist(), y[0].tolist(), strict=True):
                    text = tokenizer.decode([b])
                    if text in prepare.SPECIAL_TOKENS:
                        continue
                    nats -= logs[a, b].item()
                    legacy += len(text.encode("utf-8"))
                    true += len(tokenizer.enc.decode_single_token_bytes(b))
            self.assertAlmostEqual(got, nats / math.log(2) / legacy, places=6)
            self.assertAlmostEqual(corrected, nats / math.log(2) / true, places=6)

    def test_the_legacy_table_overcounts_split_characters(self):
        with prepared_cache():
            enc = prepare.Tokenizer.from_directory().enc
            legacy, true = prepare.get_token_bytes(), prepare.true_token_bytes(enc)
            self.assertEqual((legacy.dtype, legacy[0x80].item(), true[0x80].item()), (torch.int32, 3, 1))
            self.assertEqual((legacy[65].item(), true[65].item()), (1, 1))
            self.assertEqual((legacy[-4:].tolist(), true[-4:].tolist()), ([0] * 4, [0] * 4))
            self.assertTrue((legacy >= true).all())


class TokenizerFiles(unittest.TestCase):
    def test_round_trip_and_format(self):
        with prepared_cache():
            with open(os.path.join(prepare.TOKENIZER_DIR, "tokenizer.pkl"), "rb") as f:
                enc = pickle.load(f)
            self.assertIsInstance(enc, tiktoken.Encoding)
            self.assertEqual(enc.n_vocab, 384)
            tokenizer = prepare.Tokenizer(enc)
            self.assertEqual(tokenizer.get_bos_token_id(), 380)
            for text in ("", "plain", "naïve 你好 \U0001f600\r\n\t  x", "<|reserved_0|> is text", "\x00\x7f"):
                self.assertEqual(tokenizer.decode(tokenizer.encode(text)), text)
                self.assertNotIn(380, tokenizer.encode(text))
            self.assertEqual(tokenizer.encode(["a", "b"], prepend=380), [[380, 97], [380, 98]])
            self.assertEqual(tokenizer.encode("a", prepend="<|reserved_0|>"), [380, 97])
            self.assertEqual(tokenizer.encode([]), [])
            with self.assertRaisesRegex(TypeError, "encode takes a string or a list of strings, not int"):
                tokenizer.encode(3)

    def test_another_vocabulary_size_is_refused_in_one_message(self):
        with prepared_cache() as folder, mock.patch.object(prepare, "VOCAB_SIZE", 1000):
            with self.assertRaises(prepare.PrepareError) as caught:
                prepare.Tokenizer.from_directory()
            self.assertEqual(
                str(caught.exception),
                f"{folder}/tokenizer was prepared with a vocabulary of 384 tokens, but prepare.py says VOCAB_SIZE = "
                "1000: set it to 384, or prepare another cache (AUTORESEARCH_CACHE)",
            )
            status, _, err = run_prepare("--corpus", small_text())
            self.assertEqual(status, 1)
            self.assertIn("was prepared with a vocabulary of 384 tokens", err)

    def test_no_tokenizer(self):
        with tempfile.TemporaryDirectory() as folder:
            use_cache(folder)
            with self.assertRaisesRegex(prepare.PrepareError, "no tokenizer at .*: run `python prepare.py` first"):
                prepare.Tokenizer.from_directory()


class LocalCorpus(unittest.TestCase):
    def documents(self, index):
        path = os.path.join(prepare.DATA_DIR, prepare.shard_name(index))
        return pq.read_table(path).column("text").to_pylist()

    def test_python_corpus_is_deterministic_disjoint_and_without_packages(self):
        digests = []
        with tempfile.TemporaryDirectory() as lib:
            for n in range(60):
                text = "".join(f"def f{n}_{i}():\n    return {i * n}\n\n\n" for i in range(60))
                Path(lib, f"m{n}.py").write_text(text)
            Path(lib, "copy.py").write_text(Path(lib, "m1.py").read_text())
            Path(lib, "latin.py").write_bytes(b"# caf\xe9\n")
            Path(lib, "site-packages").mkdir()
            Path(lib, "site-packages", "other.py").write_text("FOREIGN = 1\n" * 100)
            for _ in range(2):
                with (
                    tempfile.TemporaryDirectory() as cache,
                    mock.patch.object(prepare, "sysconfig", SimpleNamespace(get_paths=lambda: {"stdlib": lib})),
                    mock.patch.object(prepare, "VOCAB_SIZE", 300),
                ):
                    use_cache(cache)
                    self.assertEqual(run_prepare("--corpus", "python")[0], 0)
                    val, rest = self.documents(prepare.VAL_SHARD), self.documents(0)
                    digests.append(json.loads(Path(prepare.MANIFEST).read_text())["sha256"])
                    self.assertFalse(any("FOREIGN" in d for d in val + rest))
                    # Whole files are held out: no file's functions stand in both.
                    files = [{d.split("def f", 1)[1].split("_")[0] for d in part} for part in (val, rest)]
                    self.assertFalse(files[0] & files[1])
                    self.assertEqual(len(files[0] | files[1]), 60)
                    self.assertEqual(len(val + rest), len(set(val + rest)))
                    self.assertGreater(len(files[0]), 4)
                    self.assertNotEqual(rest, sorted(rest))
        self.assertEqual(*digests)

    def test_documents_lose_nothing_but_blank_pieces(self):
        dice = random.Random(3)
        text = "".join(dice.choice("ab \n") for _ in range(5000)) + "x" * 900
        pieces = prepare.cut_documents(text, 64)
        self.assertLessEqual(max(map(len, pieces)), 64)
        self.assertEqual("".join(pieces).split(), "".join(pieces).split())
        self.assertEqual("".join("".join(pieces).split()), "".join(text.split()))

    def test_second_call_does_nothing(self):
        with prepared_cache() as folder:
            before = {p: p.stat().st_mtime_ns for p in Path(folder).rglob("*")}
            status, out, _ = run_prepare("--corpus", small_text())
            self.assertEqual((status, out), (0, f"nothing to do: {small_text()}, 384 tokens, in {folder}\n"))
            self.assertEqual(before, {p: p.stat().st_mtime_ns for p in Path(folder).rglob("*")})
            status, _, err = run_prepare("--corpus", "python")
            self.assertEqual(status, 1)
            self.assertEqual(
                err,
                f"prepare.py: {folder} already holds the corpus {small_text()}, not python: "
                "delete it, or name another one with AUTORESEARCH_CACHE\n",
            )

    def test_goes_on_after_an_interruption(self):
        with tempfile.TemporaryDirectory() as cache:
            use_cache(cache)
            with mock.patch.object(prepare, "train_tokenizer", side_effect=KeyboardInterrupt):
                status, _, err = run_prepare("--corpus", small_text())
            self.assertEqual((status, err), (130, "prepare.py: interrupted; the same command continues from here\n"))
            self.assertEqual(run_prepare("--corpus", small_text())[0], 0)
            self.assertEqual(len(json.loads(Path(prepare.MANIFEST).read_text())["sha256"]), 4)

    def test_errors_say_what_and_where(self):
        with tempfile.TemporaryDirectory() as top:
            use_cache(os.path.join(top, "cache"))
            empty, tiny, binary = (Path(top, n) for n in ("empty", "tiny", "binary"))
            for folder in (empty, tiny, binary):
                folder.mkdir()
            (tiny / "a.txt").write_text("word " * 100)
            (binary / "b.bin").write_bytes(b"\xff\xfe\x00" * 100)
            for folder, said in {
                f"{top}/none": "no such folder",
                tiny / "a.txt": "not a folder",
                empty: "no UTF-8 text file in it",
                binary: "no UTF-8 text file in it",
                tiny: "1 different text files with 500 bytes are too little; at least 2 files with 20,000 bytes "
                "are needed",
            }.items():
                status, out, err = run_prepare("--corpus", str(folder))
                self.assertEqual((status, out, err), (1, "", f"prepare.py: --corpus {folder}: {said}\n"))
            self.assertFalse(os.path.exists(prepare.MANIFEST))


class Shards(http.server.BaseHTTPRequestHandler):
    """Serves one parquet body for every shard; `faults` says what goes wrong first, one entry a request."""

    body, faults, seen = b"", [], []

    def do_GET(self):
        cls = type(self)
        asked = self.headers.get("Range")
        cls.seen.append((self.path, asked))
        fault = cls.faults.pop(0) if cls.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        start = int(asked[6:-1]) if asked else 0
        self.send_response(206 if start else 200)
        body = cls.body[start:] if fault != "garbage" else b"<html>sign in first</html>"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def log_message(self, *_):
        pass


class Download(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        use_cache(folder.name)
        table = pa.table({"text": [f"document {i} " * 20 for i in range(50)]})
        path = os.path.join(folder.name, "body")
        pq.write_table(table, path)
        Shards.body, Shards.faults, Shards.seen = Path(path).read_bytes(), [], []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shards)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        for name, value in {"BASE_URL": f"http://127.0.0.1:{server.server_port}", "RETRY_SECONDS": 0.01}.items():
            patch = mock.patch.object(prepare, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def fetched(self):
        names = sorted(os.listdir(prepare.DATA_DIR))
        for name in names:
            data = Path(prepare.DATA_DIR, name).read_bytes()
            self.assertEqual(hashlib.sha256(data).digest(), hashlib.sha256(Shards.body).digest(), name)
        return names

    def download(self, count, workers=1):
        with mock.patch.object(prepare, "say") as said:
            result = prepare.download(count, workers)
        return result, [call.args[0] for call in said.call_args_list]

    def test_fails_twice_then_comes(self):
        Shards.faults = [503, "cut"]
        done, said = self.download(0)
        self.assertTrue(done)
        self.assertEqual(self.fetched(), ["shard_06542.parquet"])
        half = len(Shards.body) // 2
        self.assertEqual([asked for _, asked in Shards.seen], [None, None, f"bytes={half}-"])
        self.assertEqual(
            said[1:3],
            [
                "shard_06542.parquet: Service Unavailable; trying again",
                f"shard_06542.parquet: {half:,} of {len(Shards.body):,} bytes came; trying again",
            ],
        )
        self.assertEqual(self.download(0), (False, []))

    def test_several_at_a_time(self):
        self.assertTrue(self.download(5, workers=3)[0])
        self.assertEqual(self.fetched(), [prepare.shard_name(i) for i in (0, 1, 2, 3, 4, 6542)])

    def test_what_is_no_parquet_is_not_kept(self):
        Shards.faults = ["garbage"]
        _, said = self.download(0)
        self.assertIn("shard_06542.parquet: what came is not a parquet file; trying again", said)
        self.fetched()

    def test_a_missing_file_is_not_asked_for_again(self):
        Shards.faults = [404]
        with self.assertRaisesRegex(prepare.PrepareError, r"cannot download .* \(Not Found; 1 try\)"):
            self.download(0)
        self.assertEqual(len(Shards.seen), 1)

    def test_network_down(self):
        with mock.patch.object(prepare, "BASE_URL", "http://127.0.0.1:9"):
            status, _, err = run_prepare("--num-shards", "1")
        self.assertEqual(status, 1)
        self.assertIn("cannot download http://127.0.0.1:9/shard_0", err)
        self.assertIn("5 tries): is the network up? What has come is kept", err)
        self.assertIn("`--corpus python` needs no network", err)


class Profiles(unittest.TestCase):
    def test_every_name_is_a_constant_of_its_file(self):
        profiles = tomllib.loads((WORKSPACE / "profiles.toml").read_text())
        self.assertEqual(set(profiles), {"cpu", "hopper"})
        for profile in profiles.values():
            for module, values in profile.items():
                self.assertEqual(set(values), set(profiles["cpu"][module]))
                source = (WORKSPACE / f"{module}.py").read_text()
                for name in values:
                    self.assertRegex(source, rf"(?m)^{name} = ")
        with tempfile.TemporaryDirectory() as folder:
            write_workspace(folder)


if __name__ == "__main__":
    unittest.main()
