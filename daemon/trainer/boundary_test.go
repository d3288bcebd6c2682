package trainer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"autoresearchd/search"
)

// beside runs a script as trial 1 with files of its own beside it.
func beside(t *testing.T, o Options, files map[string]string, script string, change ...func(*search.Trial)) search.Outcome {
	t.Helper()
	folder(t, o, 1, script)
	for name, text := range files {
		path := filepath.Join(o.work(1), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tr := trial(1)
	for _, c := range change {
		c(&tr)
	}
	out, err := newProcess(t, o).Run(context.Background(), Order{Trial: tr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// evaluates ends a prepare.py of which only the constants matter.
const evaluates = "\ndef evaluate_bpb(score, *_):\n    return score\n"

func TestPreparesConstantsKeepTheirKind(t *testing.T) {
	for name, c := range map[string]struct{ prepare, check string }{
		"text":                {"import os\nCACHE_DIR = os.path.expanduser('~/.cache/x')\nDATA_DIR = os.path.join(CACHE_DIR, 'data')", "DATA_DIR == '/given/data'"},
		"a path":              {"from pathlib import Path\nCACHE_DIR = Path.home() / '.cache' / 'x'\nDATA_DIR = CACHE_DIR / 'data'", "DATA_DIR == Path('/given/data') and isinstance(CACHE_DIR, Path)"},
		"annotated":           {"from pathlib import Path\nCACHE_DIR: Path = Path('~').expanduser()\nDATA = f'{CACHE_DIR}/d'\nTIME_BUDGET: int = 300", "DATA == '/given/d' and TIME_BUDGET == 10"},
		"the environment":     {"import os\nCACHE_DIR = os.environ.get('CACHE', os.path.join('x', 'y'))", "CACHE_DIR == '/given'"},
		"bytes":               {"CACHE_DIR = b'/x'", "CACHE_DIR == b'/given'"},
		"from elsewhere":      {"from paths import CACHE_DIR, TIME_BUDGET\nDATA_DIR = CACHE_DIR + '/d'", "DATA_DIR == '/given/d' and TIME_BUDGET == 10"},
		"all from elsewhere":  {"from paths import *\nDATA_DIR = CACHE_DIR + '/d'", "DATA_DIR == '/given/d' and TIME_BUDGET == 10"},
		"renamed":             {"from paths import PLACE as CACHE_DIR", "CACHE_DIR == '/given'"},
		"unpacked":            {"TIME_BUDGET, CACHE_DIR = 300, '/x'\nBOTH = TIME_BUDGET, CACHE_DIR", "BOTH == (10, '/given')"},
		"two names":           {"OLD = TIME_BUDGET = 300", "TIME_BUDGET == 10 and OLD == 300"},
		"a float":             {"TIME_BUDGET = 300.0", "type(TIME_BUDGET) is float and TIME_BUDGET == 10"},
		"computed":            {"TIME_BUDGET = 5 * 60\nDOUBLE = 2 * TIME_BUDGET", "DOUBLE == 20"},
		"changed":             {"TIME_BUDGET = 300\nTIME_BUDGET *= 2", "TIME_BUDGET == 10"},
		"in branches":         {"import os\nif os.sep == '/':\n    TIME_BUDGET = 300\nelse:\n    TIME_BUDGET = 1\ntry:\n    CACHE_DIR = 1 / 0\nexcept ArithmeticError:\n    CACHE_DIR = '/x'\nwith open(os.devnull):\n    D = CACHE_DIR", "TIME_BUDGET == 10 and D == '/given'"},
		"final":               {"from typing import Final\nTIME_BUDGET: Final[int] = 300", "TIME_BUDGET == 10"},
		"a class":             {"import dataclasses\n@dataclasses.dataclass\nclass Config:\n    TIME_BUDGET: int = 300\n    time_budget: float = 300.0\n    cache_dir: str = '/x'\nc = Config()\nTIME_BUDGET = c.TIME_BUDGET", "TIME_BUDGET == 10 and c.time_budget == 10 and c.cache_dir == '/given'"},
		"an enumeration":      {"import enum\nclass E(enum.IntEnum):\n    TIME_BUDGET = 300\nTIME_BUDGET = int(E.TIME_BUDGET)", "TIME_BUDGET == 10"},
		"a time":              {"import datetime\nTIME_BUDGET = datetime.timedelta(minutes=5)", "TIME_BUDGET.total_seconds() == 10"},
		"a default":           {"TIME_BUDGET = 300\ndef limit(seconds=TIME_BUDGET):\n    return seconds", "limit() == 10"},
		"set in a function":   {"TIME_BUDGET = 300\ndef setup():\n    global TIME_BUDGET\n    TIME_BUDGET = 600\nsetup()", "TIME_BUDGET == 10"},
		"local to a function": {"def f():\n    TIME_BUDGET = 600\n    return TIME_BUDGET\nTIME_BUDGET = 1", "f() == 600"},
		"absent":              {"X = 1", "TIME_BUDGET == 10 and 'CACHE_DIR' not in globals()"},
		"by __getattr__":      {"def __getattr__(name):\n    if name == 'TIME_BUDGET':\n        return 300\n    raise AttributeError(name)", "TIME_BUDGET == 10"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.Cache = "/given"
			out := beside(t, o, map[string]string{
				"prepare.py": c.prepare + evaluates, "paths.py": "CACHE_DIR, PLACE, TIME_BUDGET = '/x', '/y', 300\n",
			}, "from prepare import *\nimport prepare\nprepare.TIME_BUDGET\nassert "+c.check+", vars(prepare)\nprepare.evaluate_bpb(1.5)\n")
			if out.Status != search.Completed {
				t.Errorf("%s: %s", out.Status, out.Detail)
			}
		})
	}
}

// Without a cache that the configuration gives, prepare.py's own place stands.
func TestPreparesOwnPlaceIsLeftAlone(t *testing.T) {
	out := beside(t, options(t), map[string]string{"prepare.py": "CACHE_DIR = '/of/its/own'" + evaluates},
		"import os, prepare\nassert prepare.CACHE_DIR == '/of/its/own' and 'AUTORESEARCH_CACHE' not in os.environ\nprepare.evaluate_bpb(1.5)\n")
	if out.Status != search.Completed {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
}

func TestAConstantThatCannotBeSet(t *testing.T) {
	out := beside(t, options(t), map[string]string{"prepare.py": "class Limit:\n    pass\nTIME_BUDGET = Limit()" + evaluates}, "import prepare\n")
	if want := "prepare's TIME_BUDGET is of type Limit, which cannot be set: write a number or a path"; out.Status != search.Crashed || out.Detail != want {
		t.Errorf("%s: %q, want %q", out.Status, out.Detail, want)
	}
}

// Batches are seen whatever hands them out; each of these trains for 20 steps
// of 32 tokens.
func TestLoadersOfAllKinds(t *testing.T) {
	const drawn = "batches = make_dataloader(None, 4, 8, 'train')\nfor _ in range(20):\n    next(batches); optimizer.step()\n"
	for name, c := range map[string]struct{ prepare, train string }{
		"other names": {"def make_dataloader(tokenizer, batch_size, seq_len, split, buffer_size=10):\n    while True:\n        yield [0] * (batch_size * seq_len), 0\n", drawn},
		"keywords":    {"def make_dataloader(*, tokens, split):\n    while True:\n        yield [[0] * 8] * (tokens // 8), 0\n", "batches = make_dataloader(tokens=32, split='train')\nfor _ in range(20):\n    next(batches); optimizer.step()\n"},
		"anything":    {"def make_dataloader(*args, **kwargs):\n    while True:\n        yield {'mask': 1, 'input_ids': Array(32)}\n", drawn},
		"a class":     {"class make_dataloader:\n    def __init__(self, tokenizer, B, T, split):\n        self.n = B * T\n    def __iter__(self):\n        return self\n    def __next__(self):\n        return Array(self.n), Array(self.n)\n", "for _, (x, y) in zip(range(20), make_dataloader(None, 4, 8, 'train')):\n    optimizer.step()\n"},
		"an iterable": {"class Loader:\n    size = 7\n    def __init__(self, n):\n        self.n = n\n    def __iter__(self):\n        for _ in range(20):\n            yield Array(self.n)\n    def __len__(self):\n        return 20\ndef make_dataloader(tokenizer, B, T, split):\n    return Loader(B * T)\n",
			"loader = make_dataloader(None, 4, 8, 'train')\nassert len(loader) == 20 and loader.size == 7\nfor x in loader:\n    optimizer.step()\n"},
		"with its steps": {"def endless(n):\n    while True:\n        yield Array(n, 'float32'), Array(n)\ndef make_dataloader(tokenizer, B, T, split):\n    return endless(B * T), 20\n",
			"batches, steps = make_dataloader(None, 4, 8, 'train')\nfor _ in range(steps):\n    next(batches); optimizer.step()\n"},
		"by split":       {"def endless():\n    while True:\n        yield Array(32)\ndef make_loaders():\n    return {'train': endless(), 'val': endless()}\n", "loaders = make_loaders()\nfor _ in range(20):\n    next(loaders['train']); next(loaders['val']); optimizer.step()\n"},
		"by call":        {"def get_batch(split):\n    return Array(32), Array(32)\n", "for _ in range(20):\n    get_batch('train'); get_batch('val'); optimizer.step()\n"},
		"made of others": {"def inner_loader():\n    while True:\n        yield Array(16)\ndef make_dataloader(tokenizer, B, T, split):\n    parts = inner_loader()\n    while True:\n        next(parts); next(parts)\n        yield Array(B * T)\n", drawn},
		"in a thread":    {"import queue, threading\ndef make_dataloader(tokenizer, B, T, split):\n    def fill():\n        for _ in range(20):\n            q.put(Array(B * T))\n    q = queue.Queue(2)\n    threading.Thread(target=fill, daemon=True).start()\n    while True:\n        yield q.get()\n", drawn},
		"asynchronous":   {"async def make_dataloader(tokenizer, B, T, split):\n    for _ in range(20):\n        yield Array(B * T)\n", "import asyncio\nasync def main():\n    async for x in make_dataloader(None, 4, 8, 'train'):\n        optimizer.step()\nasyncio.run(main())\n"},
		"a partial":      {"import functools\ndef _all(B, T, split):\n    while True:\n        yield Array(B * T)\nmake_dataloader = functools.partial(_all, 4)\n", "batches = make_dataloader(8, 'train')\nfor _ in range(20):\n    next(batches); optimizer.step()\n"},
	} {
		t.Run(name, func(t *testing.T) {
			array := "class Array:\n    def __init__(self, n, dtype='int64'):\n        self.n, self.dtype, self.shape = n, dtype, (n,)\n    def numel(self):\n        return self.n\n"
			out := beside(t, options(t), map[string]string{"prepare.py": array + c.prepare + evaluates},
				"from prepare import *\nfrom torch.optim.optimizer import Optimizer\noptimizer = Optimizer()\n"+c.train+"evaluate_bpb(1.5)\n")
			if out.Status != search.Completed || out.Steps != 20 || out.Tokens != 20*32 || len(out.Flags) > 0 {
				t.Errorf("%s: %s: %d steps, %d tokens, %q", out.Status, out.Detail, out.Steps, out.Tokens, out.Flags)
			}
		})
	}
}

func TestScoresOfAllKinds(t *testing.T) {
	for result, want := range map[string]string{
		"1.25": "", "(1.25, 2.5)": "", "[1.25]": "", "{'val_bpb': 1.25, 'loss': 9}": "", "{'loss': 9, 'bpb': Scalar(1.25)}": "",
		"Scalar(1.25)": "", "Pair(loss=9.0, bpb=1.25)": "", "Result(9.0, 1.25)": "", "({'val/bpb': 1.25}, 3)": "", "types.SimpleNamespace(bits_per_byte=1.25, x=1)": "",
		"fractions.Fraction(5, 4)":     "",
		"{'loss': 9.0, 'ppl': 3.0}":    "prepare.evaluate_bpb returned a dict of loss, ppl: none of these is named val_bpb or bpb",
		"{'a_bpb': 1.0, 'b_bpb': 2.0}": "none of these is named val_bpb",
		"None":                         "prepare.evaluate_bpb returned a NoneType: it must return bits per byte, a number",
		"True":                         "returned a bool",
		"'1.25'":                       "returned a str",
		"Scalar('many')":               "prepare.evaluate_bpb returned a Scalar of shape (3,): it must return one number",
		"()":                           "returned a tuple of no parts",
	} {
		out := beside(t, options(t), map[string]string{"prepare.py": `
import collections, dataclasses, fractions, types
Pair = collections.namedtuple("Pair", "loss bpb")
@dataclasses.dataclass
class Result:
    loss: float
    bpb: float
class Scalar:
    shape = (3,)
    def __init__(self, value):
        self.value = value
    def item(self):
        return float(self.value)
def evaluate_bpb():
    return ` + result + "\n"}, "from prepare import evaluate_bpb\nevaluate_bpb()\n")
		switch {
		case want == "" && (out.Status != search.Completed || out.ValBPB != 1.25):
			t.Errorf("%s: %s, %v: %s", result, out.Status, out.ValBPB, out.Detail)
		case want != "" && (out.Status != search.Crashed || !strings.Contains(out.Detail, want) || strings.Contains(out.Detail, "Traceback")):
			t.Errorf("%s: %s: %q, want %q", result, out.Status, out.Detail, want)
		}
	}
}

// Where a tuple's parts are named in the source, the names decide.
func TestTheScoresPlaceInATuple(t *testing.T) {
	for _, result := range []string{"loss, val_bpb", "val_bpb, loss", "loss, nats / (math.log(2) * n)", "loss, loss, bits"} {
		for _, returns := range []string{"return " + result, "out = " + result + "\n    return out"} {
			out := beside(t, options(t), map[string]string{"prepare.py": "import math\ndef evaluate_bpb():\n    loss, val_bpb, bits, nats, n = 9.0, 1.25, 1.25, 1.25 * math.log(2), 1\n    " + returns + "\n"},
				"from prepare import evaluate_bpb\nevaluate_bpb()\n")
			if out.Status != search.Completed || out.ValBPB < 1.249999 || out.ValBPB > 1.250001 {
				t.Errorf("%s: %s, %v: %s", returns, out.Status, out.ValBPB, out.Detail)
			}
		}
	}
}

func TestPrepareAsAPackage(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		script string
	}{
		"a package":    {map[string]string{"prepare/__init__.py": "from .limits import TIME_BUDGET\nfrom .score import evaluate_bpb\n", "prepare/limits.py": "TIME_BUDGET = 300\n", "prepare/score.py": evaluates}, "from prepare import TIME_BUDGET, evaluate_bpb\nfrom prepare.limits import TIME_BUDGET as T\n"},
		"in a package": {map[string]string{"src/__init__.py": "", "src/prepare.py": "TIME_BUDGET = T = 300\nT = TIME_BUDGET\n" + evaluates}, "from src.prepare import TIME_BUDGET, T, evaluate_bpb\n"},
		"another's":    {map[string]string{"prepare.py": "from limits import TIME_BUDGET\nfrom score import evaluate_bpb\nT = TIME_BUDGET\n", "limits.py": "TIME_BUDGET = 300\n", "score.py": evaluates}, "from prepare import TIME_BUDGET, T, evaluate_bpb\n"},
	} {
		o := options(t)
		folder(t, o, 1, "")
		out := func() search.Outcome {
			if name == "a package" {
				c.script = "import os\nos.path.exists('prepare.py') and os.remove('prepare.py')\n" + c.script
			}
			return beside(t, o, c.files, c.script+"assert TIME_BUDGET == T == 10, (TIME_BUDGET, T)\nevaluate_bpb(1.5)\n")
		}()
		if out.Status != search.Completed || out.ValBPB != 1.5 || len(out.Flags) > 0 {
			t.Errorf("%s: %s: %s %q", name, out.Status, out.Detail, out.Flags)
		}
	}
}

// A score before the end counts only if the run ends well.
func TestAScoreBeforeTheEnd(t *testing.T) {
	const early = "train(11)\nevaluate_bpb(0.5, None, 4)\n"
	for name, c := range map[string]struct {
		script string
		status search.Status
		detail string
		flag   string
	}{
		"trains on and fails":               {early + "train(2)\nraise SystemExit('loss is nan')", search.Crashed, "loss is nan", "val_bpb 0.500000 does not count: training went on after it (step 12)"},
		"draws and fails":                   {early + "next(batches)\nraise ValueError('in the forward pass')", search.Crashed, "in the forward pass", "does not count"},
		"trains on and explodes":            {early + "train(2)\nprint('FAIL')\nexit(1)", search.Diverged, "exploded", "does not count"},
		"explodes, and says it is well":     {early + "train(2)\nprint('FAIL')", search.Diverged, "exploded", "does not count"},
		"prints nan, and says it is well":   {early + "train(2)\nprint('step 00013 (9.0%) | loss: nan |')", search.Diverged, "exploded", "does not count"},
		"trains on and hangs":               {early + "train(2)\ntime.sleep(3600)", search.TimedOut, "no optimizer step", "does not count"},
		"trains on and is killed":           {early + "train(2)\nos.kill(os.getpid(), 9)", search.Crashed, "SIGKILL", "does not count"},
		"trains on and leaves":              {early + "train(2)\nos._exit(0)", search.Crashed, "no word", "does not count"},
		"trains on, then out of memory":     {early + "train(2)\nraise MemoryError", search.OutOfMemory, "", "does not count"},
		"prints on and fails":               {"del optimizer, Optimizer\nheld = [next(batches) for _ in range(20)]\nfor n in range(3):\n    print(f'step {n:05d} (1%) | loss: 2.0 |', flush=True)\ntime.sleep(0.3)\nevaluate_bpb(0.5, None, 4)\nfor n in range(3, 9):\n    print(f'step {n:05d} (1%) | loss: 2.0 |', flush=True); time.sleep(0.3)\nraise SystemExit('loss is nan')", search.Crashed, "loss is nan", "does not count"},
		"trains on, and the last fails":     {early + "train(2)\nevaluate_bpb('x', None, 4)\nraise SystemExit(1)", search.Crashed, "evaluate_bpb returned a str", "does not count"},
		"trains on and ends":                {early + "train(2)", search.Completed, "", "training went on after the score (step 12)"},
		"the last one counts":               {early + "train(2)\nevaluate_bpb(1.5, None, 4)", search.Completed, "", "evaluated 2 times"},
		"twice at the end, then fails":      {"train(11)\nevaluate_bpb(1.5, None, 4)\nevaluate_bpb(0.5, None, 4)\nsys.exit(3)", search.Completed, "", "exit status 3 after its score"},
		"fails in its summary":              {early + "raise KeyError('mfu')", search.Completed, "", "exit status 1 after its score"},
		"draws ahead, fails in its summary": {"train(11)\nnow, spent = 0, time.time() + 1.05\nwhile now < spent: # so that a step begins after it\n    now = time.time(); train(1); time.sleep(0.01)\nevaluate_bpb(0.5, None, 4)\nnext(batches)\nraise KeyError('mfu')", search.Completed, "", "exit status 1 after its score"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			if c.status == search.TimedOut {
				o.Limits.Stall = 5 * time.Second
			}
			script := training + c.script
			if strings.HasPrefix(c.script, "del optimizer") {
				script = strings.Replace(script, "train(1)\n", "", 1)
			}
			out := beside(t, o, nil, script+"\n", func(t *search.Trial) {
				if strings.HasPrefix(name, "draws ahead") {
					t.Budget.Seconds = 1
				}
			})
			if out.Status != c.status || !strings.Contains(out.Detail, c.detail) || !strings.Contains(strings.Join(out.Flags, "; "), c.flag) {
				t.Errorf("%s: %q, flags %q", out.Status, out.Detail, out.Flags)
			}
			if (out.Status == search.Completed) != (out.ValBPB > 0) {
				t.Errorf("%s with %v", out.Status, out.ValBPB)
			}
		})
	}
}

// The host's clock and count hold a budget, whatever the script thinks of it.
func TestBudgetsAreEnforced(t *testing.T) {
	seconds := func(s float64) search.Budget { return search.Budget{Seconds: s} }
	loop := func(pause, until string) string {
		return "begin = time.time()\nwhile time.time() < begin + " + until + ":\n    train(1); time.sleep(" + pause + ")\nevaluate_bpb(1.5, None, 4)\n"
	}
	for name, c := range map[string]struct {
		budget search.Budget
		script string
		over   string
	}{
		"as long as allowed":   {seconds(0.5), loop("0.02", "1.5"), ""},
		"far too long":         {seconds(0.5), loop("0.02", "8"), "it trained for more than its budget of 0.5s: a step began after "},
		"and ended by itself":  {seconds(0.2), "train(11)\ntime.sleep(2.5)\ntrain(1)\ntime.sleep(0.1)\ntrain(1)\nevaluate_bpb(1.5, None, 4)\n", "it trained for more than its budget of 0.2s"},
		"one slow step":        {seconds(0.5), "train(11)\ntime.sleep(3)\ntrain(1)\nevaluate_bpb(1.5, None, 4)\n", ""},
		"slow first steps":     {seconds(0.5), "for _ in range(8):\n    train(1); time.sleep(0.4)\ntrain(12)\nevaluate_bpb(1.5, None, 4)\n", ""},
		"evaluates in between": {seconds(0.5), "train(12)\nfor _ in range(3):\n    evaluate_bpb(lambda _: time.sleep(1.2) or 1.5, None, 4)\n    train(1)\nevaluate_bpb(1.5, None, 4)\n", ""},
		"steps":                {search.Budget{Steps: 5}, "train(15)\nevaluate_bpb(1.5, None, 4)\n", ""},
		"steps, too many":      {search.Budget{Steps: 5}, "train(16)\nevaluate_bpb(1.5, None, 4)\n", "it took more than the 5 optimizer steps of its budget after the first 11"},
		"steps, too many of 3": {search.Budget{Steps: 5, Uncounted: 3}, "train(8)\nevaluate_bpb(1.5, None, 4)\n", "it took more than the 5 optimizer steps of its budget after the first 3"},
		"batches, too long":    {seconds(0.5), "del optimizer, Optimizer\nbegin = time.time()\nwhile time.time() < begin + 8:\n    next(batches); time.sleep(0.02)\nevaluate_bpb(1.5, None, 4)\n", "it trained for more than its budget of 0.5s"},
		"nothing seen":         {seconds(0.5), "del optimizer, Optimizer\nheld = next(batches)\ntime.sleep(4)\nevaluate_bpb(1.5, None, 4)\n", "no step was seen or printed in the "},
		"printed, too long":    {seconds(0.5), "del optimizer, Optimizer\nbegin = time.time()\nn = 0\nwhile time.time() < begin + 8:\n    n += 1; print(f'step {n:05d} (1%) | loss: 2.0 |', end='\\r', flush=True); time.sleep(0.02)\nevaluate_bpb(1.5, None, 4)\n", "it trained for more than its budget of 0.5s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := training + c.script
			if strings.Contains(c.script, "del optimizer") {
				script = strings.Replace(script, "train(1)\n", "", 1)
			}
			if name == "printed, too long" {
				script = strings.Replace(script, `batches = make_dataloader(None, 4, 8, "train")`, "", 1)
			}
			out := beside(t, options(t), nil, script, func(t *search.Trial) { t.Budget = c.budget })
			if c.over == "" && (out.Status != search.Completed || out.ValBPB != 1.5) {
				t.Errorf("%s: %s", out.Status, out.Detail)
			}
			if c.over != "" && (out.Status != search.TimedOut || out.ValBPB != 0 || !strings.HasPrefix(out.Detail, c.over) || !strings.Contains(out.Detail, "prepare")) {
				t.Errorf("%s: %q, want %q", out.Status, out.Detail, c.over)
			}
		})
	}
}

// Progress is seen where torch.optim takes no part, and a kill says by what.
func TestOptimizersThatAreNotTorchs(t *testing.T) {
	plain := strings.NewReplacer("from torch.optim.optimizer import Optimizer\n", "", "optimizer = Optimizer()\n", "", "        optimizer.step()\n", "", "train(1)\n", "").Replace(training)
	for name, c := range map[string]struct {
		script string
		status search.Status
		detail string
		steps  int
	}{
		"batches":                  {plain + "for _ in range(60):\n    next(batches); time.sleep(0.02)\nevaluate_bpb(1.5, None, 4)\n", search.Completed, "", 60},
		"few slow batches":         {plain + "for _ in range(5):\n    next(batches); time.sleep(1)\nevaluate_bpb(1.5, None, 4)\n", search.Completed, "", 0},
		"batches at once, printed": {plain + "held = [next(batches) for _ in range(20)]\nfor n in range(8):\n    print(f'iter {n}: loss 2.0', flush=True); time.sleep(0.6)\nevaluate_bpb(1.5, None, 4)\n", search.Completed, "", 20},
		"printed":                  {plain + "for n in range(8):\n    print(f'step {n:05d} (1%) | loss: 2.0 |', end='\\r', flush=True); time.sleep(0.6)\nevaluate_bpb(1.5, None, 4)\n", search.Completed, "", 7},
		"many batches to a step":   {strings.Replace(training, "train(1)\n", "", 1) + "for _ in range(3):\n    for _ in range(18):\n        next(batches); time.sleep(0.02)\n    optimizer.step()\nevaluate_bpb(1.5, None, 4)\n", search.Completed, "", 3},
		"a late optimizer":         {plain + "held = [next(batches) for _ in range(20)]\nfrom torch.optim.optimizer import Optimizer\noptimizer = Optimizer()\nfor _ in range(3):\n    next(batches); optimizer.step()\nevaluate_bpb(1.5, None, 4)\n", search.Completed, "", 3},
		"batches, then silence":    {plain + "for _ in range(30):\n    next(batches); time.sleep(0.06)\ntime.sleep(3600)\n", search.TimedOut, "no torch.optim optimizer was seen to step, so that 30 batches drawn are all that was seen of training", 29},
		"a batch, then silence":    {plain + "next(batches)\ntime.sleep(3600)\n", search.TimedOut, "no optimizer step within 4s of the last batch (watchdog.compile); no torch.optim optimizer was seen to step, so that 1 batches drawn", 0},
		"words that stand still":   {plain + "next(batches)\nwhile True:\n    print('step 00001 (1%) | loss: 2.0 |', end='\\r', flush=True); time.sleep(0.05)\n", search.TimedOut, "and step 1 printed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.Limits.Compile, o.Limits.Stall = 4*time.Second, 4*time.Second // less than these train for
			out := beside(t, o, nil, c.script)
			if out.Status != c.status || !strings.Contains(out.Detail, c.detail) || out.Steps != c.steps {
				t.Errorf("%s after %d steps: %s", out.Status, out.Steps, out.Detail)
			}
			if said := strings.Contains(fmt.Sprint(out.Flags), "num_steps counts batches"); said != (out.Steps > 3) {
				t.Errorf("flags %q", out.Flags)
			}
		})
	}
}

// TestRoomBesideAnEvaluation gives torch's spare memory of a GPU back before the
// evaluation is told, where another trial is to get ready beside it.
func TestRoomBesideAnEvaluation(t *testing.T) {
	for device, want := range map[string]string{"cuda:0": "emptied\nevaluates\n", "cpu": "evaluates\n"} {
		o := options(t)
		o.Overlap = true
		folder(t, o, 1, training+`
import torch
torch.cuda.is_available = torch.cuda.is_initialized = lambda: True
torch.cuda.max_memory_allocated = lambda: 7
torch.cuda.empty_cache = lambda: print("emptied")
evaluate_bpb(lambda seen: print("evaluates") or 1.5, None, 4)
`)
		tr := trial(1)
		tr.Device = device
		out, err := newProcess(t, o).Run(context.Background(), Order{Trial: tr}, nil)
		if text := logOf(t, o, 1); err != nil || out.Status != search.Completed || text != want {
			t.Errorf("on %s: %v %s, %q", device, err, out.Status, text)
		}
	}
}
