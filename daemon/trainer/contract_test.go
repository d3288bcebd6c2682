package trainer

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"autoresearchd/search"
)

// What a script decides itself is said before it runs, with the line; what
// only looks like it is let through.
func TestWhatAScriptDecidesItself(t *testing.T) {
	p := newProcess(t, options(t))
	const ends = "\nfrom prepare import evaluate_bpb\nevaluate_bpb(1, 2, 3)\n"
	const budget = "from prepare import TIME_BUDGET\n"
	const loop = "\nwhile time.time() - begin < TIME_BUDGET:\n    opt.step()\n"
	for source, want := range map[string]string{
		// The budget.
		budget + loop + ends:                                                                                                                                                "",
		"from constants import TIME_BUDGET" + loop + ends:                                                                                                                   "TIME_BUDGET comes from constants (line 1)",
		"from .constants import TIME_BUDGET" + loop + ends:                                                                                                                  "TIME_BUDGET comes from .constants (line 1)",
		"TIME_BUDGET = 600" + loop + ends:                                                                                                                                   "TIME_BUDGET is set in line 1 (TIME_BUDGET = 600)",
		"TIME_BUDGET: int = 600" + loop + ends:                                                                                                                              "TIME_BUDGET is set in line 1 (TIME_BUDGET: int = 600)",
		budget + "TIME_BUDGET = 600" + loop + ends:                                                                                                                          "TIME_BUDGET is set in line 2 (TIME_BUDGET = 600)",
		budget + "TIME_BUDGET *= 2" + loop + ends:                                                                                                                           "TIME_BUDGET is set in line 2 (TIME_BUDGET *= 2)",
		budget + "def f():\n    global TIME_BUDGET\n    TIME_BUDGET = 9" + loop + ends:                                                                                      "",
		"import os\nTIME_BUDGET = int(os.environ.get('T', '300'))" + loop + ends:                                                                                            "TIME_BUDGET is set in line 2",
		budget + "import os\nT = float(os.environ.get('T', TIME_BUDGET))" + loop + ends:                                                                                     "",
		"import prepare\nTIME_BUDGET = prepare.TIME_BUDGET" + loop + ends:                                                                                                   "",
		"import prepare as p\nTIME_BUDGET = min(600, getattr(p, 'TIME_BUDGET', 300))" + loop + ends:                                                                         "",
		"from prepare import TIME_BUDGET as FULL\nTIME_BUDGET = FULL if FULL > 10 else 10" + loop + ends:                                                                    "",
		"from prepare import TIME_BUDGET as FULL\nTIME_BUDGET = 10" + loop + ends:                                                                                           "TIME_BUDGET is set in line 2",
		"from prepare import *" + loop + ends:                                                                                                                               "",
		"from src.prepare import TIME_BUDGET" + loop + ends:                                                                                                                 "",
		"try:\n    from prepare import TIME_BUDGET\nexcept ImportError:\n    TIME_BUDGET = 300" + loop + ends:                                                               "",
		"MAX_SECONDS = 600\nwhile time.time() - begin < MAX_SECONDS:\n    opt.step()" + ends:                                                                                "training ends by MAX_SECONDS (line 2)",
		"a.add_argument('--time-limit', default=9)\nwhile time.time() < begin + args.time_limit:\n    opt.step()" + ends:                                                    "training ends by args.time_limit (line 2)",
		"a.add_argument('--max_iters', default=9)\nfor n in range(args.max_iters):\n    opt.step()" + ends:                                                                  "training ends by args.max_iters (line 2)",
		budget + "a.add_argument('--max_iters', default=9)\nfor n in range(args.max_iters):\n    if time.time() > TIME_BUDGET: break\n    opt.step()" + ends:                "",
		"EVAL_SECONDS = 3\nwhile time.time() < EVAL_SECONDS:\n    pass" + ends:                                                                                              "",
		"NUM_STEPS = 3\nfor n in range(NUM_STEPS):\n    print(n)" + ends:                                                                                                    "",
		budget + "TIME_BUDGET = 600\ndef f():\n    TIME_BUDGET = 3" + loop + ends:                                                                                           "TIME_BUDGET is set in line 2",
		"import prepare\nprepare.TIME_BUDGET = 12\nwhile time.time() < prepare.TIME_BUDGET:\n    opt.step()" + ends:                                                         "prepare's TIME_BUDGET is replaced in line 2",
		"import prepare\nprepare.TIME_BUDGET *= 2\nwhile time.time() < prepare.TIME_BUDGET:\n    opt.step()" + ends:                                                         "prepare's TIME_BUDGET is replaced in line 2",
		"import prepare as p\nsetattr(p, 'TIME_BUDGET', 12)\nwhile time.time() < p.TIME_BUDGET:\n    opt.step()" + ends:                                                     "prepare's TIME_BUDGET is replaced in line 2",
		"while True:\n    opt.step()\n    if time.time() - t0 > 600:\n        break" + ends:                                                                                 "training ends by time.time() - t0 > 600 (line 3)",
		"while True:\n    loss.backward()\n    spent = time.perf_counter() - t0\n    if spent >= 600: break" + ends:                                                         "training ends by spent >= 600 (line 4)",
		"while perf_counter() - t0 < 600:\n    next(batches)" + ends:                                                                                                        "training ends by perf_counter() - t0 < 600 (line 1)",
		"cfg = json.load(open('c.json'))\nwhile time.time() < cfg['time_budget']:\n    opt.step()" + ends:                                                                   "training ends by cfg['time_budget'] (line 2)",
		"class C:\n    time_budget: float = 12\nc = C()\nwhile time.time() < c.time_budget:\n    opt.step()" + ends:                                                         "training ends by c.time_budget (line 4)",
		"def main():\n    budget = 12\n    while time.time() < budget:\n        opt.step()\nmain()" + ends:                                                                  "training ends by budget (line 3)",
		"def train(time_budget=12):\n    while time.time() < time_budget:\n        opt.step()\ntrain()" + ends:                                                              "training ends by time_budget (line 2)",
		"max_iters = 9\nn = 0\nwhile True:\n    opt.step()\n    n += 1\n    if n > max_iters: break" + ends:                                                                 "training ends by max_iters (line 6)",
		"from config import cfg\nwhile time.time() < cfg['time_budget']:\n    opt.step()" + ends:                                                                            "",
		"from config import cfg\ntime_budget = cfg.seconds\nwhile time.time() < time_budget:\n    opt.step()" + ends:                                                        "",
		"from config import limit\nlast = total_time = 0\nwhile total_time < limit():\n    opt.step()\n    total_time += 1\n    if time.time() - last > 60: print()" + ends: "",
		"while time.time() - t0 < 600:\n    wait()\nfor _ in range(3):\n    opt.step()" + ends:                                                                              "",
		"def wait(time_limit=9):\n    pass\nwhile loader.left():\n    opt.step()" + ends:                                                                                    "",
		// The score.
		"class T:\n    def evaluate_bpb(self):\n        return 0.5\nT().evaluate_bpb()\n":                                                    "evaluate_bpb is defined in line 2",
		"from prepare import Base\nclass T(Base):\n    def evaluate_bpb(self):\n        return super().evaluate_bpb()\nT().evaluate_bpb()\n": "",
		"from prepare import evaluate_bpb\ndef main():\n    def evaluate_bpb(m):\n        return 1\n    evaluate_bpb(1)\nmain()\n":           "evaluate_bpb is defined in line 3",
		"def main():\n    from metrics import evaluate_bpb\n    evaluate_bpb(1)\nmain()\n":                                                   "evaluate_bpb comes from metrics (line 2)",
		"def main():\n    from prepare import evaluate_bpb\n    evaluate_bpb(1)\nmain()\n":                                                   "",
		"def main(evaluate_bpb):\n    evaluate_bpb(1)\nfrom prepare import evaluate_bpb\nmain(evaluate_bpb)\n":                               "",
		"from metrics import *\nevaluate_bpb(1)\n":                                                                                           "evaluate_bpb comes from metrics (line 1)",
		"from metrics import *\nfrom prepare import *\nevaluate_bpb(1)\n":                                                                    "",
		"from prepare import evaluate_bpb\nscore = evaluate_bpb\nscore(1)\n":                                                                 "",
		"import prepare\ndef main():\n    score = functools.partial(prepare.evaluate_bpb, batch_size=3)\n    score(1)\nmain()\n":             "",
		"import prepare\ngetattr(prepare, 'evaluate_bpb')(1)\n":                                                                              "",
		"from prepare import evaluate_bpb\nrun(evaluate_bpb)\n":                                                                              "",
		"def evaluate_bpb(m):\n    return 1.0\nevaluate_bpb(1)\n":                                                                            "evaluate_bpb is defined in line 1",
		"from prepare import evaluate_bpb\ndef evaluate_bpb(m):\n    return 1.0\nevaluate_bpb(1)\n":                                          "evaluate_bpb is defined in line 2",
		"class evaluate_bpb:\n    pass\nevaluate_bpb()\n":                                                                                    "evaluate_bpb is defined in line 1",
		"evaluate_bpb = lambda *a: 0.5\nevaluate_bpb(1)\n":                                                                                   "evaluate_bpb is set in line 1",
		"from metrics import evaluate_bpb\nevaluate_bpb(1)\n":                                                                                "evaluate_bpb comes from metrics (line 1)",
		"from nanochat.loss_eval import evaluate_bpb\nevaluate_bpb(1)\n":                                                                     "evaluate_bpb comes from nanochat.loss_eval (line 1)",
		"from metrics import evaluate_bpb as score\nscore(1)\n# evaluate_bpb()\nx.evaluate_bpb(1)\n":                                         "evaluate_bpb comes from metrics (line 1)",
		"import metrics\nmetrics.evaluate_bpb(1)\n":                                                                                          "evaluate_bpb comes from metrics (line 2)",
		"import prepare\ndef own(*a):\n    return 0.5\nprepare.evaluate_bpb = own\nprepare.evaluate_bpb(1)\n":                                "prepare's evaluate_bpb is replaced in line 4",
		"import prepare\nsetattr(prepare, 'evaluate_bpb', lambda *a: 0)\nprepare.evaluate_bpb(1)\n":                                          "prepare's evaluate_bpb is replaced in line 2",
		"import prepare\nold = prepare.evaluate_bpb\nprepare.evaluate_bpb = lambda *a: old(*a)\nprepare.evaluate_bpb(1)\n":                   "",
		"import prepare\nprepare.evaluate_bpb(1)\n":                                                                                          "",
		"import src.prepare\nsrc.prepare.evaluate_bpb(1)\n":                                                                                  "",
		"from src import prepare as p\np.evaluate_bpb(1)\n":                                                                                  "",
		"from prepare import evaluate_bpb\n@torch.no_grad()\ndef evaluate():\n    return evaluate_bpb(1)\nevaluate()\n":                      "",
		"from prepare import evaluate_bpb as theirs\ndef evaluate_bpb(*a):\n    return theirs(*a)\nevaluate_bpb(1)\n":                        "",
		"import prepare\nclass T:\n    def evaluate_bpb(self):\n        return prepare.evaluate_bpb(1)\nT().evaluate_bpb()\n":                "",
		"from prepare import evaluate_bpb\nevaluate_bpb = torch.no_grad()(evaluate_bpb)\nevaluate_bpb(1)\n":                                  "",
		"from prepare import evaluate_bpb as full\ndef quick(m):\n    return 1\nquick(1)\nfull(1)\n":                                         "",
	} {
		i, err := p.Inspect(context.Background(), []byte(source))
		if err != nil {
			t.Fatal(err)
		}
		got := i.Fault(search.Budget{Seconds: 300})
		if want == "" && got != "" || !strings.HasPrefix(got, want) || want != "" && !strings.Contains(got, "from prepare") {
			t.Errorf("%s\ngot  %q\nwant %q", source, got, want)
		}
	}
}

func TestWhatIsWrongWithAPrepare(t *testing.T) {
	p := newProcess(t, options(t))
	for source, want := range map[string]string{
		"def evaluate_bpb(m):\n    return 1.0\n":                                     "",
		"def evaluate_bpb(m):\n    return m, 2.5\n":                                  "",
		"def evaluate_bpb(m):\n    return {'val_bpb': 1, 'loss': 2}\n":               "",
		"def evaluate_bpb(m):\n    out = {'loss': 2}\n    return out\n":              "",
		"from score import evaluate_bpb\n":                                           "",
		"from score import *\n":                                                      "",
		"if x:\n    def evaluate_bpb(m):\n        return 1.0\n":                      "",
		"evaluate_bpb = functools.partial(f, 1)\n":                                   "",
		"globals()['evaluate_bpb'] = f\n":                                            "",
		"def evaluate_bpb(m):\n    raise NotImplementedError\n":                      "",
		"def evaluate(m):\n    return 1.0\n":                                         "it has no evaluate_bpb, which gives every trial its score",
		"def evaluate_bpb(m):\n    print(m)\n":                                       "evaluate_bpb (line 1) returns nothing: it must return bits per byte",
		"async def evaluate_bpb(m):\n    return 1.0\n":                               "evaluate_bpb (line 1) is asynchronous: it must return bits per byte when it is called",
		"def evaluate_bpb(m):\n    yield 1.0\n":                                      "evaluate_bpb (line 1) is a generator: it must return bits per byte",
		"X = 1\ndef evaluate_bpb(m):\n    return {'loss': 1, 'ppl': 2}\n":            "evaluate_bpb (line 2) returns a dict of loss, ppl: none of these is named val_bpb or bpb",
		"def evaluate_bpb(m):\n    return dict(loss=1)\n":                            "evaluate_bpb (line 1) returns a dict of loss: none of these is named val_bpb or bpb",
		"def evaluate_bpb(m):\n    return f'{m:.3f}'\n":                              "evaluate_bpb (line 1) returns f'{m:.3f}' (line 2): it must return bits per byte, a number",
		"def evaluate_bpb(m):\n    def g():\n        yield 1\n    return sum(g())\n": "",
	} {
		i, err := p.Inspect(context.Background(), []byte(source))
		if err != nil {
			t.Fatal(err)
		}
		if i.Unscored != want {
			t.Errorf("%s\ngot  %q\nwant %q", source, i.Unscored, want)
		}
	}
}

// TestWhereAPrepareHasItsData: what is settled by a given cache is no matter,
// what is not is named.
func TestWhereAPrepareHasItsData(t *testing.T) {
	p := newProcess(t, options(t))
	for source, want := range map[string]string{
		"CACHE_DIR = '/x'\nDATA_DIR = CACHE_DIR + '/d'\n":                                     "",
		"class C:\n    cache_dir: str = '/x'\nDATA_DIR = C.cache_dir\n":                       "",
		"from paths import CACHE_DIR\nDATA_DIR = CACHE_DIR\n":                                 "",
		"from paths import *\nDATA_DIR = CACHE_DIR\n":                                         "",
		"try:\n    A, CACHE_DIR = 1, '/x'\nexcept OSError:\n    pass\nDATA_DIR = CACHE_DIR\n": "",
		"import os\nDATA_DIR = os.environ.get('AUTORESEARCH_CACHE', '/x')\n":                  "",
		"WORDS = 'a b'\n":                                                             "",
		"def f():\n    return 1\n":                                                    "",
		"DATA_DIR = f\"{(CACHE_DIR := '/x')}/d\"\n":                                   "CACHE_DIR (line 1, by :=)",
		"if (CACHE_DIR := find()):\n    pass\n":                                       "CACHE_DIR (line 1, by :=)",
		"def places():\n    CACHE_DIR = '/x'\n    return CACHE_DIR\n":                 "CACHE_DIR (line 2, within places)",
		"DATA_DIR = None\ndef setup():\n    global CACHE_DIR\n    CACHE_DIR = '/x'\n": "CACHE_DIR (line 4, within setup)",
		"import os\nDATA_DIR = os.path.expanduser('~/d')\n":                           "DATA_DIR (line 2)",
		"from paths import DATA_PATH\n":                                               "DATA_PATH (line 1)",
	} {
		i, err := p.Inspect(context.Background(), []byte(source))
		if err != nil || i.Unplaced != want {
			t.Errorf("%q: %q, %v, want %q", source, i.Unplaced, err, want)
		}
	}
}

// TestUncountedStepsOfAPrepare: a number that stands there is taken, anything
// else is refused, and nothing is upstream's eleven.
func TestUncountedStepsOfAPrepare(t *testing.T) {
	p := newProcess(t, options(t))
	scored := "\ndef evaluate_bpb(model):\n    return 1.5\n"
	for source, want := range map[string]int{
		"": 0, "UNCOUNTED_STEPS = 3": 3, "UNCOUNTED_STEPS: int = 1": 1, "UNCOUNTED_STEPS = 40\nUNCOUNTED_STEPS = 2": 2,
		"def f():\n    UNCOUNTED_STEPS = 3": 0, "UNCOUNTED_STEPS = 0": -1, "UNCOUNTED_STEPS = 1001": -1, "UNCOUNTED_STEPS = True": -1,
		"UNCOUNTED_STEPS = 3.0": -1, "UNCOUNTED_STEPS = 1 + 2": -1, "UNCOUNTED_STEPS = 3\nUNCOUNTED_STEPS += 1": -1,
		"from rules import UNCOUNTED_STEPS": -1,
	} {
		i, err := p.Inspect(context.Background(), []byte(source+scored))
		fault := ""
		if want < 0 {
			want, fault = 0, fmt.Sprintf("UNCOUNTED_STEPS (line %d) must be a whole number from 1 to 1000, as it stands", 1+strings.Count(source, "\n"))
		}
		if err != nil || i.Uncounted != want || i.Unscored != fault {
			t.Errorf("%q: %d, %q, %v, want %d, %q", source, i.Uncounted, i.Unscored, err, want, fault)
		}
	}
}
