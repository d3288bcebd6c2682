package trainer

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/compiled"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/daemon/sandbox/trespass"
	"autoresearchd/daemon/watchdog"
	"autoresearchd/search"
)

func init() {
	if isSeat() {
		runtime.LockOSThread()
	}
}

func isSeat() bool {
	return len(os.Args) > 1 && os.Args[1] == "trainer" && (os.Args[0] == "autoresearchd" || slices.Contains(os.Args, hostArg))
}

var python string // of a venv without torch

func TestMain(m *testing.M) {
	if isSeat() {
		os.Exit(Main())
	}
	if root := os.Getenv("AUTORESEARCH_INPROCESS_TEST"); root != "" {
		os.Exit(runInProcess(root))
	}
	if order := os.Getenv(neighbourName); order != "" {
		os.Exit(neighbour(order))
	}
	if root := os.Getenv(lonelyName); root != "" {
		lonely(root)
	}
	if told := trespass.Daemon(); told != nil {
		os.Exit(runDenials(told))
	}
	dir, err := os.MkdirTemp("", "trainer")
	if err != nil {
		panic(err)
	}
	python = filepath.Join(dir, "bin", "python")
	if out, err := exec.Command(os.Getenv("AUTORESEARCH_PYTHON"), "-m", "venv", "--without-pip", dir).CombinedOutput(); err != nil {
		panic("make a venv with AUTORESEARCH_PYTHON (run tests through scripts/go.sh): " + err.Error() + "\n" + string(out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// patient limits let a loaded machine take its time where a test is not about
// time.
func patient() watchdog.Limits {
	m := 5 * time.Minute
	return watchdog.Limits{Startup: m, Compile: m, Stall: m, Train: m, Evaluate: m, Exit: m, Total: 2 * m}
}

// options make a trial folder under a temporary directory, with the stand-ins
// for prepare and torch beside train.py.
func options(t *testing.T) Options {
	t.Helper()
	root := t.TempDir()
	o := Options{
		Python: python, Folder: func(id int64) string { return filepath.Join(root, strconv.FormatInt(id, 10)) },
		Limits: patient(), Grace: 100 * time.Millisecond, LogLimit: 1 << 20, Processes: 200, Quota: 64 << 20,
		Owner: fmt.Sprintf("test-%d-%s", os.Getpid(), t.Name()), Log: slog.New(slog.DiscardHandler),
	}
	if *sandboxed != "" {
		without, ok := sandboxModes[*sandboxed]
		if !ok {
			t.Fatalf("no sandbox %q", *sandboxed)
		}
		box(t, &o, without)
	}
	return o
}

// sandboxed has every trial of these tests run in a sandbox.
var sandboxed = flag.String("sandbox", "", "run all trials in a sandbox: whole, same, nopids, bare")

var sandboxModes = map[string]sandbox.Leave{"whole": {}, "same": {UID: true}, "nopids": {PIDs: true}, "bare": {Spaces: true}}

// box puts trials into the sandbox that this machine has.
func box(t *testing.T, o *Options, without sandbox.Leave) {
	t.Helper()
	found, err := FindSandbox(o, sandbox.Require, "cpu", without)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(found.Summary())
	t.Cleanup(found.Close)
	o.Sandbox = found
}

func folder(t *testing.T, o Options, id int64, script string) {
	t.Helper()
	work := o.work(id)
	if err := os.RemoveAll(work); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(work, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(work, os.DirFS("testdata/work")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "train.py"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
}

// observed gathers what a trial told.
type observed struct {
	mu     sync.Mutex
	events []Event
	kill   *Kill
	phases []search.Phase
}

func (o *observed) see(e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
	if e.Kill != nil {
		o.kill = e.Kill
	}
	if e.Phase != "" {
		o.phases = append(o.phases, e.Phase)
	}
}

func newProcess(t *testing.T, o Options) *Process {
	t.Helper()
	p, err := NewProcess(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// play runs a script as trial 1.
func play(t *testing.T, o Options, script string) (search.Outcome, *observed) {
	t.Helper()
	folder(t, o, 1, script)
	seen := &observed{}
	out, err := newProcess(t, o).Run(context.Background(), Order{Trial: trial(1)}, seen.see)
	if err != nil {
		t.Fatal(err)
	}
	if left := marked(ownerMarker(o.Owner), 0, false); len(left) > 0 {
		t.Errorf("processes %v of the trial are still there", left)
	}
	return out, seen
}

func trial(id int64) search.Trial {
	return search.Trial{ID: id, Seed: 7, Budget: search.Budget{Seconds: 10}, Device: "cpu"}
}

// training is the beginning of scripts that get as far as one optimizer step.
const training = `
import os, sys, time, signal, threading, ctypes, subprocess
from torch.optim.optimizer import Optimizer
from prepare import make_dataloader, evaluate_bpb, TIME_BUDGET, STEP_BUDGET
optimizer = Optimizer()
batches = make_dataloader(None, 4, 8, "train")
def train(steps):
    for _ in range(steps):
        next(batches)
        optimizer.step()
train(1)
`

func logOf(t *testing.T, o Options, id int64) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(o.Folder(id), "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestATrialThatWorks(t *testing.T) {
	o := options(t)
	out, seen := play(t, o, training+`
train(19)
print("step 00019 (96.0%) | loss: 2.500000 | lrm: 1.00 | dt: 9ms | tok/sec: 57,000 | mfu: 0.0% | epoch: 1 | remaining: 3s", end="\r")
x = evaluate_bpb(1.25, None, 4)
print("\n---\nval_bpb:          1.250000\nnum_params_M:     0.2")
`)
	if out.Status != search.Completed || out.ValBPB != 1.25 || out.Steps != 20 || out.Tokens != 20*32 || len(out.Flags) != 0 || out.Detail != "" {
		t.Errorf("outcome %+v", out)
	}
	if out.Summary["num_params_M"] != "0.2" || len(out.Curve) != 1 || out.Curve[0].Loss != 2.5 {
		t.Errorf("summary %v, curve %v", out.Summary, out.Curve)
	}
	if got := fmt.Sprint(seen.phases); got != "[compile evaluate exit exit]" {
		t.Errorf("phases %v", got)
	}
	for _, p := range search.Phases {
		if _, ok := out.Phases[p]; ok == (p == search.Gate) {
			t.Errorf("no time for phase %s in %v", p, out.Phases)
		}
	}
	if out.TrainingSeconds <= 0 || out.WallSeconds <= out.TrainingSeconds {
		t.Errorf("trained %v s of %v s", out.TrainingSeconds, out.WallSeconds)
	}
}

// An audit scores as many tokens again, behind those that are scored; what
// becomes of it leaves the score as it is.
func TestAudit(t *testing.T) {
	for script, want := range map[string]struct {
		score, audit float64
		flag         string
	}{
		"evaluate_bpb(lambda seen: sum(seen) / 10, None, 4)":                                                                              {0.6, 1.5, ""},
		"evaluate_bpb(lambda seen: len(seen), None, 1)":                                                                                   {12, 0, "not audited: ValueError: the validation shard is too short"},
		"evaluate_bpb(lambda seen: 1.0 if seen[0] == 1 else float('nan'), None, 4)":                                                       {1, 0, "not audited: nan"},
		"evaluate_bpb(lambda seen: 1.0 if seen[0] == 1 else os.kill(os.getpid(), 9), None, 4)":                                            {1, 0, "died of SIGKILL (killed) after its score"},
		"import prepare; ours = prepare.make_dataloader; evaluate_bpb(lambda seen: 1.0, None, 4); assert prepare.make_dataloader is ours": {1, 1, ""},
	} {
		o := options(t)
		folder(t, o, 1, training+script)
		audited := trial(1)
		audited.Audit = true
		out, err := newProcess(t, o).Run(context.Background(), Order{Trial: audited}, nil)
		if err != nil || out.Status != search.Completed || math.Abs(out.ValBPB-want.score) > 1e-12 || math.Abs(out.AuditBPB-want.audit) > 1e-12 ||
			!strings.Contains(strings.Join(out.Flags, "; "), want.flag) || want.flag == "" && len(out.Flags) > 0 {
			t.Errorf("%s: %v %+v", script, err, out)
		}
	}
}

// Budget, cache, seed and the rest of the script's world.
func TestWhatTheScriptSees(t *testing.T) {
	o := options(t)
	o.Cache = "/somewhere/cache"
	t.Setenv("SOME_API_KEY", "secret")
	t.Setenv("NOTIFY_SOCKET", "/run/x")
	o.Secrets = []string{"ODD_NAME"}
	t.Setenv("ODD_NAME", "secret")
	out, _ := play(t, o, training+`
import random, torch, prepare
torch.manual_seed(1234)
random.seed(99); a = random.random(); random.seed(5)
where, number, split = next(batches)
assert (TIME_BUDGET, STEP_BUDGET) == (10, 0), (TIME_BUDGET, STEP_BUDGET)
assert where == "/somewhere/cache" == os.environ["AUTORESEARCH_CACHE"], where
assert set(torch.SEEDS) == {7}, torch.SEEDS
assert a == random.random() == random.Random(7).random()
assert sys.argv == ["train.py"] and __name__ == "__main__" and os.path.basename(__file__) == "train.py"
assert sys.path[0] == os.getcwd() == os.path.dirname(os.path.realpath(__file__)), (sys.path[0], os.getcwd())
assert sys.executable == os.path.join(sys.prefix, "bin", "python"), sys.executable
assert sys.stdin.read() == ""
assert not [k for k, v in os.environ.items() if v == "secret"] and "NOTIFY_SOCKET" not in os.environ
evaluate_bpb(1.0, None, 4)
`)
	if out.Status != search.Completed {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
}

func TestBudgetInSteps(t *testing.T) {
	o := options(t)
	folder(t, o, 1, training+"assert (TIME_BUDGET, STEP_BUDGET) == (300, 400), (TIME_BUDGET, STEP_BUDGET)\nevaluate_bpb(1.0, None, 4)\n")
	tr := trial(1)
	tr.Budget = search.Budget{Steps: 400}
	out, err := newProcess(t, o).Run(context.Background(), Order{Trial: tr}, nil)
	if err != nil || out.Status != search.Completed {
		t.Errorf("%v %s %s", err, out.Status, out.Detail)
	}
}

// 28: what a script does to its descriptors, directory and environment stays
// with it.
func TestTheDaemonsOwnWorldIsUntouched(t *testing.T) {
	world := func() string {
		dir, _ := os.Getwd()
		mask, _ := os.ReadFile("/proc/self/status")
		_, umask, _ := strings.Cut(string(mask), "Umask:")
		target, _ := os.Readlink("/proc/self/fd/2")
		return fmt.Sprint(dir, os.Environ(), firstLine(umask), target)
	}
	before := world()
	o := options(t)
	o.Limits.Stall = 400 * time.Millisecond
	out, _ := play(t, o, training+"os.chdir('/'); os.environ.clear(); os.umask(0)\nfor fd in range(0, 1024):\n    try: os.dup2(os.open('/dev/null', os.O_RDWR), fd)\n    except OSError: pass\ntime.sleep(3600)\n")
	if out.Status != search.TimedOut && out.Status != search.Crashed {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
	if after := world(); after != before {
		t.Errorf("before %s\nafter %s", before, after)
	}
}

// Each of these must be ended at its deadline with nothing left behind. The
// numbers are those of the list of faults.
func TestHangsAreKilled(t *testing.T) {
	const hour = "time.sleep(3600)\n"
	for name, script := range map[string]string{
		"01 endless loop":              "while True: pass\n",
		"02 endless sleep":             "time.sleep(1e9)\n",
		"03 swallows BaseException":    "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n",
		"04 endless loop in C":         "sum(range(10**12))\n",
		"05 sleep that holds the GIL":  "ctypes.PyDLL(None).sleep(3600)\n",
		"06 regular expression":        "import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')\n",
		"08 deadlock":                  "lock = threading.Lock(); lock.acquire(); lock.acquire()\n",
		"09 every signal ignored":      "for s in signal.valid_signals():\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n" + hour,
		"10 orphans of their own":      "for _ in range(5):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            signal.signal(signal.SIGTERM, signal.SIG_IGN)\n            time.sleep(3600)\n        os._exit(0)\n" + hour,
		"11 fork bomb":                 "while True:\n    try: os.fork()\n    except OSError: pass\n",
		"12 stops itself":              "os.kill(os.getpid(), signal.SIGSTOP)\n" + hour,
		"13 beats without progress":    "while True:\n    next(batches); print('step 00001 (1.0%) | loss: 1.0', end='\\r', flush=True); time.sleep(0.01)\n",
		"15 grandchild holds stdout":   "subprocess.Popen(['sleep', '3600'], start_new_session=True)\n" + hour,
		"27 replaces signal handlers":  "for s in (signal.SIGTERM, signal.SIGURG, signal.SIGSEGV, signal.SIGPROF):\n    signal.signal(s, lambda *_: None)\nwhile True: pass\n",
		"14b closes its private pipes": "os.closerange(600, 1024)\n" + hour,
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.Limits.Stall = 400 * time.Millisecond
			out, seen := play(t, o, training+script)
			if out.Status != search.TimedOut || seen.kill == nil || seen.kill.Cause != watchdog.CauseStall || seen.kill.Phase != search.Train {
				t.Fatalf("%s: %s (kill %+v)\n%s", out.Status, out.Detail, seen.kill, logOf(t, o, 1))
			}
			if len(seen.kill.Leftover) > 0 {
				t.Errorf("leftover %v", seen.kill.Leftover)
			}
		})
	}
}

func TestEndings(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		status search.Status
		detail string // part of it
		flags  string
		log    string
	}{
		"14 result, then a hang at exit":  {"import atexit\natexit.register(time.sleep, 3600)\nevaluate_bpb(1.5, None, 4)", search.Completed, "", "killed after its score", ""},
		"14 result, then an endless loop": {"evaluate_bpb(1.5, None, 4)\nwhile True: pass", search.Completed, "", "killed after its score", ""},
		"result, then exit status 3":      {"evaluate_bpb(1.5, None, 4)\nsys.exit(3)", search.Completed, "", "exit status 3 after its score", ""},
		"result, then a segmentation":     {"evaluate_bpb(1.5, None, 4)\nctypes.string_at(0)", search.Completed, "", "died of SIGSEGV", ""},
		"22 NULL dereference":             {"ctypes.string_at(0)", search.Crashed, "SIGSEGV", "", "Segmentation fault"},
		"23 abort":                        {"os.abort()", search.Crashed, "SIGABRT", "", "Fatal Python error: Aborted"},
		"24 os._exit(0) with no result":   {"os._exit(0)", search.Crashed, "ended with status 0 and no word", "", ""},
		"25 sys.exit(1)":                  {"sys.exit(1)", search.Crashed, "ended with status 1", "", ""},
		"30 CUDA out of memory":           {"import torch\nraise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')", search.OutOfMemory, "Tried to allocate 20 GiB", "", ""},
		"MemoryError":                     {"bytearray(1 << 62)", search.OutOfMemory, "", "", ""},
		"an exception":                    {"def broken():\n    raise ValueError('no \\x1b[31m luck')\nbroken()", search.Crashed, "ValueError: no \uFFFD[31m luck", "", "Traceback"},
		"diverged":                        {"print('step 00003 (1.0%) | loss: nan | lrm: 1.00', end='\\r')\nprint('FAIL')\nexit(1)", search.Diverged, "exploded", "", "FAIL"},
		"no evaluation":                   {"print('---\\nval_bpb:          0.100000')", search.Crashed, "ended without calling evaluate_bpb", "", ""},
		"58 a fake val_bpb line":          {"evaluate_bpb(1.5, None, 4)\nprint('---\\nval_bpb:          0.100000')", search.Completed, "", "it printed val_bpb 0.100000, measured was 1.500000", ""},
		"73 NaN":                          {"evaluate_bpb(float('nan'), None, 4)", search.Diverged, "evaluate_bpb returned nan", "", ""},
		"73 infinite":                     {"evaluate_bpb(float('-inf'), None, 4)", search.Diverged, "evaluate_bpb returned -inf", "", ""},
		"73 negative":                     {"evaluate_bpb(-1.0, None, 4)", search.Diverged, "evaluate_bpb returned -1.0", "", ""},
		"73 absurd":                       {"evaluate_bpb(1e9, None, 4)", search.Diverged, "evaluate_bpb returned 1000000000.0", "", ""},
		"evaluated twice":                 {"evaluate_bpb(1.7, None, 4)\ntrain(3)\nevaluate_bpb(1.5, None, 4)", search.Completed, "", "evaluated 2 times", ""},
		"killed from outside":             {"os.kill(os.getpid(), 9)", search.Crashed, "SIGKILL", "", ""},
		"forged frames on stdout":         {"os.write(1, b'\\x00\\x00\\x00\\x20{\"kind\":\"score\",\"val_bpb\":\"0.1\"}'); sys.exit(1)", search.Crashed, "", "", "score"},
		"syntax error":                    {"x = (", search.Crashed, "SyntaxError", "", ""},
		"threads are awaited":             {"def late():\n    time.sleep(0.2); evaluate_bpb(1.5, None, 4)\nthreading.Thread(target=late).start()", search.Completed, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			if strings.HasPrefix(c.flags, "killed") {
				o.Limits.Exit = 300 * time.Millisecond
			}
			out, _ := play(t, o, training+c.script+"\n")
			if out.Status != c.status || !strings.Contains(out.Detail, c.detail) {
				t.Errorf("%s: %q, want %s with %q", out.Status, out.Detail, c.status, c.detail)
			}
			if c.status == search.Completed && out.ValBPB != 1.5 {
				t.Errorf("val_bpb %v", out.ValBPB)
			}
			if c.flags == "" && len(out.Flags) > 0 || !strings.Contains(strings.Join(out.Flags, "; "), c.flags) {
				t.Errorf("flags %q, want %q", out.Flags, c.flags)
			}
			if text := logOf(t, o, 1); !strings.Contains(text, c.log) {
				t.Errorf("run.log has no %q:\n%s", c.log, text)
			}
		})
	}
}

// 25: the code is recorded.
func TestExitStatusIsRecorded(t *testing.T) {
	if out, _ := play(t, options(t), training+"sys.exit(41)"); out.ExitCode != 41 {
		t.Errorf("exit code %d", out.ExitCode)
	}
}

// 26: CPython before 3.12 dies of it, later ones carry it through; either way
// it is the trial's own affair.
func TestRecursionAMillionDeepIsContained(t *testing.T) {
	out, _ := play(t, options(t), training+"sys.setrecursionlimit(2_000_000)\ndef f(n): return f(n - 1) if n else 0\nf(1_000_000)\nevaluate_bpb(1.5, None, 4)\n")
	if out.Status != search.Completed && !(out.Status == search.Crashed && strings.Contains(out.Detail, "SIGSEGV")) {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
}

// 31: the host's memory.
func TestHostMemory(t *testing.T) {
	o := options(t)
	o.Memory = 256 << 20
	out, _ := play(t, o, training+`
held = []
while True:
    held.append(bytearray(8 << 20))
    time.sleep(0.01)
`)
	if out.Status != search.OutOfMemory || !strings.Contains(out.Detail, "trial.memory, 0.2 GiB") {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
}

// TestSharedMemoryCountsOnce has a loader's workers that hold what their parent
// holds: together they are no more than it.
func TestSharedMemoryCountsOnce(t *testing.T) {
	o := options(t)
	o.Memory = 320 << 20
	out, _ := play(t, o, training+`
held = b"x" * (160 << 20)
for worker in range(3):
    if os.fork() == 0:
        time.sleep(3600)
time.sleep(2.5)
evaluate_bpb(1.0, None, 4)
`)
	if out.Status != search.Completed {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
}

// TestHostMemoryDefault leaves the machine room, and a small one half; while
// there is room nothing is ended.
func TestHostMemoryDefault(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		total, left int64
		limits      []int64
		limit       int64
		short       bool
	}{
		{128 * gib, 100 * gib, nil, 128*gib - 128*gib/10, false},
		{128 * gib, 12 * gib, nil, 128*gib - 128*gib/10, true},
		{16 * gib, 3 * gib, nil, 14 * gib, false},
		{16 * gib, 1 * gib, nil, 14 * gib, true},
		{2 * gib, 2 * gib, nil, 1 * gib, false},
		{128 * gib, 100 * gib, []int64{1 << 62, 16 * gib}, 14 * gib, true}, // a container's
		{128 * gib, 100 * gib, []int64{1 << 62}, 128*gib - 128*gib/10, false},
	} {
		if limit, short := spare(c.total, c.left, c.limits); limit != c.limit || short != c.short {
			t.Errorf("of %d GiB with %d left and limits %v: %d, %v", c.total/gib, c.left/gib, c.limits, limit, short)
		}
	}
	if limit, _ := HostMemory(); limit <= 0 {
		t.Errorf("here a trial may take %d bytes", limit)
	}
}

// TestCompilers has compilers keep what they made, where they are not told
// otherwise.
func TestCompilers(t *testing.T) {
	o := options(t)
	dir := t.TempDir()
	o.Compiled = compiled.Open(slog.New(slog.DiscardHandler), compiled.Limit, dir)
	t.Setenv("TRITON_CACHE_DIR", "/mine")
	for _, c := range []struct {
		does   string
		status search.Status
	}{
		{"assert not os.path.exists(folder)\nos.mkdir(folder)\nopen(folder + '/a', 'w').write('kept')", search.Completed},
		{"assert open(folder + '/a').read() == 'kept'\nopen(folder + '/b', 'w').write('lost')\nsys.exit(1)", search.Crashed},
		{"assert os.listdir(folder) == ['a'], os.listdir(folder)", search.Completed},
	} {
		out, _ := play(t, o, training+`
import sys
assert os.environ["TRITON_CACHE_DIR"] == "/mine", os.environ
folder = os.environ["TORCHINDUCTOR_CACHE_DIR"]
`+c.does+`
evaluate_bpb(1.0, None, 4)
`)
		if out.Status != c.status {
			t.Errorf("%q: %s: %s", c.does, out.Status, out.Detail)
		}
	}
	o.Compiled.Close()
	if n, _, err := compiled.Kept(dir); n != 1 || err != nil {
		t.Errorf("%d entries are kept, %v", n, err)
	}
}

// 33: Python's own child processes are the venv's python, not this binary.
func TestMultiprocessingStartsTheVenvsPython(t *testing.T) {
	out, _ := play(t, options(t), `
import multiprocessing, os, sys
def look(q): q.put((os.path.realpath("/proc/self/exe"), sys.prefix))
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    q = context.Queue()
    p = context.Process(target=look, args=(q,)); p.start()
    exe, prefix = q.get(timeout=60); p.join()
    assert exe == os.path.realpath(sys.executable), exe
    assert prefix == sys.prefix, prefix
    from prepare import evaluate_bpb
    evaluate_bpb(1.0, None, 4)
`)
	if out.Status != search.Completed {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
}

// 58: ten megabytes of output, NULs and escape codes.
func TestOutputIsCapped(t *testing.T) {
	o := options(t)
	out, _ := play(t, o, training+`
for i in range(160):
    print("\x00\x1b[2J" + "x" * 65536)
evaluate_bpb(1.0, None, 4)
print("the last line")
`)
	text := logOf(t, o, 1)
	if out.Status != search.Completed || len(text) > 1<<20+2*tailSize {
		t.Errorf("%s, run.log of %d bytes", out.Status, len(text))
	}
	if !strings.Contains(text, "the log is capped at 1048576 bytes") || !strings.HasSuffix(text, "the last line\n") {
		t.Errorf("a capped log must say so and end with what came last; it ends %q", text[len(text)-100:])
	}
}

// 50: a flood of checkpoints.
func TestQuotaEndsATrial(t *testing.T) {
	o := options(t)
	o.Quota = 8 << 20
	out, _ := play(t, o, training+"while True:\n    open(str(time.time()), 'wb').write(bytes(1 << 20)); time.sleep(0.05)\n")
	if out.Status != search.Crashed || !strings.Contains(out.Detail, "trial.quota") {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
}

func TestCancelledTrialIsInterrupted(t *testing.T) {
	for name, deaf := range map[string]string{"": "", "deaf to SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"} {
		o := options(t)
		folder(t, o, 1, training+deaf+"while True: train(1); time.sleep(0.01)\n")
		ctx, cancel := context.WithCancel(context.Background())
		out, err := newProcess(t, o).Run(ctx, Order{Trial: trial(1)}, func(e Event) {
			if e.Step != nil && e.Step.Number > 12 {
				cancel()
			}
		})
		if err != nil || out.Status != search.Interrupted || out.Steps < 12 {
			t.Errorf("%s: %v, %s after %d steps", name, err, out.Status, out.Steps)
		}
	}
}

func TestAHopelessTrialIsPruned(t *testing.T) {
	const why = "at 70 % of its budget its loss is 3.9"
	for _, scored := range []bool{false, true} {
		script := "while True: train(1); time.sleep(0.01)\n"
		if scored { // too late: the score is there, and it counts
			script = "train(20)\nevaluate_bpb(1.5, None, 4)\ntime.sleep(3600)\n"
		}
		o := options(t)
		folder(t, o, 1, training+script)
		ctx, end := context.WithCancelCause(context.Background())
		out, err := newProcess(t, o).Run(ctx, Order{Trial: trial(1)}, func(e Event) {
			if scored && e.Phase == search.Exit || !scored && e.Step != nil && e.Step.Number > 12 {
				end(Prune{why})
			}
		})
		want := search.Pruned
		if scored {
			want = search.Completed
		}
		if err != nil || out.Status != want || !scored && (out.Detail != why || out.ValBPB != 0) {
			t.Errorf("%v, %s: %s", err, out.Status, out.Detail)
		}
	}
}

func TestAMissingInterpreterIsNotATrialsFault(t *testing.T) {
	o := options(t)
	o.Python = "/no/such/python"
	folder(t, o, 1, training)
	if out, err := newProcess(t, o).Run(context.Background(), Order{Trial: trial(1)}, nil); err == nil && out.Status != search.Crashed {
		t.Errorf("ran without its interpreter: %+v", out)
	}
}

// 35 in short: many trials leave nothing behind in the daemon. The long form
// is make soak.
func TestManyTrialsLeaveNothing(t *testing.T) {
	o := options(t)
	p := newProcess(t, o)
	count := 15
	if n, err := strconv.Atoi(os.Getenv("AUTORESEARCH_SOAK")); err == nil {
		count = n
	}
	script := "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.execvp('sleep', ['sleep', '3600'])\n    os._exit(0)\nfrom prepare import evaluate_bpb\nevaluate_bpb(1.0, None, 4)\n"
	usage := func() (fds, goroutines, children int) {
		entries, _ := os.ReadDir("/proc/self/fd")
		all, _ := os.ReadDir("/proc")
		for _, e := range all {
			if pid, err := strconv.Atoi(e.Name()); err == nil {
				if st, ok := stat(pid); ok && st.parent == os.Getpid() {
					children++
				}
			}
		}
		return len(entries), runtime.NumGoroutine(), children
	}
	resident := func() int { // MiB, of what is in use
		debug.FreeOSMemory()
		status, _ := os.ReadFile("/proc/self/status")
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		kib, _ := strconv.Atoi(strings.Fields(rest)[0])
		return kib >> 10
	}
	var fds, goroutines, children, memory int
	for i := 1; i <= count; i++ {
		folder(t, o, 1, script)
		out, err := p.Run(context.Background(), Order{Trial: trial(1)}, nil)
		if err != nil || out.Status != search.Completed {
			t.Fatalf("trial %d: %v %s %s", i, err, out.Status, out.Detail)
		}
		if i == 3 {
			fds, goroutines, children = usage()
		}
		if i == 3+count/10 { // buffers and pools have their size
			memory = resident()
		}
	}
	f, g, c := usage()
	// What has just been ended may be on its way out.
	for end := time.Now().Add(time.Minute); (f > fds || g > goroutines || c > children) && time.Now().Before(end); f, g, c = usage() {
		time.Sleep(10 * time.Millisecond)
	}
	if f > fds || g > goroutines || c > children {
		t.Errorf("after 3 trials %d descriptors, %d goroutines, %d children; after %d: %d, %d, %d", fds, goroutines, children, count, f, g, c)
	}
	m := resident()
	if m > memory+8 {
		t.Errorf("after %d trials %d MiB are resident, after %d %d", 3+count/10, memory, count, m)
	}
	t.Logf("shown: after 3 trials %d descriptors, after %d %d; %d MiB resident after %d, then %d", fds, count, f, memory, 3+count/10, m)
}

func TestSelfTest(t *testing.T) {
	if err := newProcess(t, options(t)).SelfTest(context.Background()); err != nil {
		t.Error(err)
	}
}

// 36: what a killed daemon left behind is found by its marker.
func TestSweepFindsOrphans(t *testing.T) {
	cmd := exec.Command("sleep", "3600")
	owner := fmt.Sprintf("sweep-test-%d", os.Getpid())
	cmd.Env = append(os.Environ(), Marker(owner, 12))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if n := Sweep(owner, ""); n != 1 {
		t.Errorf("swept %d processes, want 1", n)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the orphan ended with %v", err)
	}
}

// TestCores runs a trial on some of the cores, and the next on all again.
func TestCores(t *testing.T) {
	var own unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		t.Fatal(err)
	}
	last := 0
	for c := range 1024 {
		if own.IsSet(c) {
			last = c
		}
	}
	o := options(t)
	o.Cores = map[string][]int{"cpu:1": {last}}
	p := newProcess(t, o)
	for id, device := range []string{1: "cpu:1", 2: "cpu"} {
		if device == "" {
			continue
		}
		folder(t, o, int64(id), "import os\nprint('cores', sorted(os.sched_getaffinity(0)), 'GPUs', repr(os.environ.get('CUDA_VISIBLE_DEVICES')), 'threads', os.environ.get('OMP_NUM_THREADS'))\n")
		tr := trial(int64(id))
		tr.Device = device
		if _, err := p.Run(context.Background(), Order{Trial: tr}, nil); err != nil {
			t.Fatal(err)
		}
		said, err := os.ReadFile(filepath.Join(o.Folder(tr.ID), "run.log"))
		if err != nil {
			t.Fatal(err)
		}
		var cores []int
		for c := range 1024 {
			if own.IsSet(c) && (device == "cpu" || c == last) {
				cores = append(cores, c)
			}
		}
		want := fmt.Sprintf("cores %v GPUs '' threads None\n", strings.ReplaceAll(fmt.Sprint(cores), " ", ", "))
		if string(said) != want {
			t.Errorf("on %s: %q, want %q", device, said, want)
		}
	}
	var after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != own {
		t.Errorf("the cores of this process changed: %v", err)
	}
}
