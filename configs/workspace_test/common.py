"""What the tests share: the workspace's modules with small constants, and a small prepared cache."""

import contextlib
import importlib
import io
import os
import re
import sys
import sysconfig
import tempfile
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the tests speak about the CPU, on any machine
WORKSPACE = Path(__file__).resolve().parent.parent / "workspace"
PREPARE = {"MAX_SEQ_LEN": 32, "VOCAB_SIZE": 384, "EVAL_TOKENS": 2048, "MIN_CORPUS_BYTES": 20_000}
TRAIN = {
    "DEPTH": 2,
    "MODEL_DIM": 32,
    "HEAD_DIM": 16,
    "WINDOW_PATTERN": "S",
    "SHORT_WINDOW": 8,
    "TOTAL_BATCH_SIZE": 512,
    "DEVICE_BATCH_SIZE": 8,
    "GATE_CHANNELS": 8,
}

sys.path.insert(0, str(WORKSPACE))
sys.dont_write_bytecode = True
import prepare

for name, value in PREPARE.items():
    setattr(prepare, name, value)
train = importlib.import_module("train")
for name, value in TRAIN.items():
    setattr(train, name, value)


def use_cache(folder):
    """Point prepare's paths at a folder."""
    prepare.CACHE_DIR = str(folder)
    prepare.DATA_DIR = os.path.join(folder, "data")
    prepare.TOKENIZER_DIR = os.path.join(folder, "tokenizer")
    prepare.PACKED_DIR = os.path.join(folder, "packed")
    prepare.MANIFEST = os.path.join(folder, "manifest.json")


def run_prepare(*arguments):
    """(exit status, stdout, stderr) of prepare's command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = prepare.main(list(arguments))
    return status, out.getvalue(), err.getvalue()


def small_text():
    """A folder of the standard library that is small and mixed enough to learn 384 tokens from."""
    return os.path.join(sysconfig.get_paths()["stdlib"], "email")


def prepared_cache():
    """A fresh temporary cache with the corpus small_text(); the TemporaryDirectory, which the caller keeps."""
    folder = tempfile.TemporaryDirectory()
    use_cache(folder.name)
    status, _, err = run_prepare("--corpus", small_text())
    assert status == 0, err
    return folder


def write_workspace(folder, **constants):
    """A copy of train.py and prepare.py with PREPARE, TRAIN and `constants` written over theirs."""
    for module, values in (("train", TRAIN), ("prepare", PREPARE)):
        source = (WORKSPACE / f"{module}.py").read_text()
        for key, value in {**values, **constants}.items():
            source = re.sub(rf"^{key} = [^#\n]*(?=  #)", f"{key} = {value!r}", source, flags=re.MULTILINE)
        Path(folder, f"{module}.py").write_text(source)
