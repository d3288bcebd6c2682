package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/mounttest"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// faulty is what a trial does after its first steps, and what it is to be
// recorded as. The numbers are those of docs/faults.md. Of five crashes in a row
// the last is waited for, so that crashes stand apart.
var faulty = []struct{ name, script, status string }{
	{"no fault", "", "completed"},
	{"01 endless loop", "while True: pass", "timed out"},
	{"02 endless sleep", "time.sleep(1e9)", "timed out"},
	{"22 NULL dereference", "ctypes.string_at(0)", "crashed"},
	{"03 swallows BaseException", "while True:\n    try:\n        while True: pass\n    except BaseException: pass", "timed out"},
	{"04 endless loop in C", "sum(range(10**12))", "timed out"},
	{"05 sleep that holds the GIL", "ctypes.PyDLL(None).sleep(3600)", "timed out"},
	{"23 abort", "os.abort()", "crashed"},
	{"06 regular expression", "import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')", "timed out"},
	{"08 deadlock", "lock = threading.Lock(); lock.acquire(); lock.acquire()", "timed out"},
	{"09 every signal ignored", "for s in signal.valid_signals():\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\ntime.sleep(3600)", "timed out"},
	{"24 os._exit(0) with no result", "os._exit(0)", "crashed"},
	{"10 orphans of their own", "for _ in range(5):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            signal.signal(signal.SIGTERM, signal.SIG_IGN)\n            time.sleep(3600)\n        os._exit(0)\ntime.sleep(3600)", "timed out"},
	{"11 fork bomb", "while True:\n    try: os.fork()\n    except OSError: pass", "timed out"},
	{"12 stops itself", "os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(3600)", "timed out"},
	{"25 sys.exit(1)", "sys.exit(1)", "crashed"},
	{"13 beats without progress", "while True:\n    next(batches); print('step 00001 (1.0%) | loss: 1.0', end='\\r', flush=True); time.sleep(0.01)", "timed out"},
	{"14 result, then a hang", "import atexit\natexit.register(time.sleep, 3600)", "completed"},
	{"15 grandchild holds stdout", "subprocess.Popen(['sleep', '3600'], start_new_session=True)\ntime.sleep(3600)", "timed out"},
	{"26 recursion a million deep", "sys.setrecursionlimit(2_000_000)\ndef f(n): return f(n - 1) if n else 0\nf(1_000_000)", "completed crashed"}, // as CPython will
	{"27 replaces signal handlers", "for s in (signal.SIGTERM, signal.SIGURG, signal.SIGSEGV, signal.SIGPROF):\n    signal.signal(s, lambda *_: None)\nwhile True: pass", "timed out"},
	{"28 descriptors, folder, environment", "os.chdir('/'); os.environ.clear(); os.umask(0)\nfor fd in range(1024):\n    try: os.dup2(os.open('/dev/null', os.O_RDWR), fd)\n    except OSError: pass\ntime.sleep(3600)", "timed out crashed"},
	{"30 CUDA out of memory", "import torch\nraise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')", "out of memory"},
	{"31 host memory gone", "held = []\nwhile True:\n    held.append(bytearray(8 << 20)); train(1); time.sleep(0.01)", "out of memory"},
	{"33 multiprocessing", "import multiprocessing\ncontext = multiprocessing.get_context('spawn')\nwith context.Pool(1) as pool: exe = pool.apply(os.readlink, ('/proc/self/exe',))\nassert exe == os.path.realpath(sys.executable), exe", "completed"},
	{"50 checkpoint flood", "while True:\n    open(str(time.time()), 'wb').write(bytes(1 << 20)); train(1); time.sleep(0.02)", "crashed"},
	{"57 malicious pickles", "import pickle\nclass Evil:\n    def __reduce__(self): return (open, (os.environ['EVIL'], 'w'))\nfor name in ('result.pkl', 'checkpoint.pt', '../curve.pkl', '../constants.json.pkl'):\n    pickle.dump(Evil(), open(name, 'wb'))\nos.write(1, pickle.dumps(Evil()))", "completed"},
	{"58 output without end", "for _ in range(64): os.write(1, b'\\x00\\x1b[2J' + b'x' * (1 << 20))\nprint('val_bpb: 0.000001')", "completed"},
	{"73 NaN", "score = float('nan')", "diverged"},
	{"no fault again", "", "completed"},
}

// faultyScript is a train.py whose constant FAULT says which of them it is.
func faultyScript() string {
	var text strings.Builder
	text.WriteString(`import ctypes, os, signal, subprocess, sys, threading, time
from torch.optim.optimizer import Optimizer
from prepare import make_dataloader, evaluate_bpb, TIME_BUDGET

FAULT = 0

optimizer = Optimizer()
batches = make_dataloader(None, 4, 8, "train")
def train(steps):
    for _ in range(steps):
        next(batches)
        optimizer.step()
if __name__ == "__main__":
    score = 2 + FAULT / 100
    train(2)
`)
	for i, f := range faulty {
		fmt.Fprintf(&text, "    if FAULT == %d:\n        %s\n", i, strings.ReplaceAll(cmp.Or(f.script, "pass"), "\n", "\n        "))
	}
	text.WriteString("    evaluate_bpb(score, None, 4)\n")
	return text.String()
}

// TestFaultsInARow plays every fault that a script can have as a candidate of one
// study: each has its status, exactly one row and no process left when its end is
// said, the next one begins, and /metrics answers all the while.
func TestFaultsInARow(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("workspace/train.py", faultyScript())
	s.commit()
	turn, err := filepath.Abs("../../scripts/gpu/turn.py")
	must(t, err)
	s.configure(fmt.Sprintf(`
[search]
strategy = "exec"
[search.space]
FAULT = { low = 0, high = 99 }
[search.exec]
command = [%q, %q]
options = { name = "FAULT", start = 0, step = 1 }
[watchdog]
stall = "2s"
exit = "2s"
grace = "200ms"
[http]
listen = "127.0.0.1:0"
`, filepath.Join(venv, "bin", "python"), turn))
	text := s.read("autoresearch.toml")
	s.write("autoresearch.toml", strings.Replace(text, "budget =", "memory = \"256MiB\"\nquota = \"32MiB\"\nprocesses = 200\nbudget =", 1))

	cmd := s.command("run")
	evil := s.path("evil")
	cmd.Env = append(cmd.Env, "EVIL="+evil)
	d := s.startWith(cmd)
	address := regexp.MustCompile(`listen=(\S+)`).FindStringSubmatch(d.said[len(d.said)-1])[1]
	watch := scrapeAlways(t, "http://"+address+"/metrics")
	var before, after string
	for i, f := range faulty {
		id := i + 1
		line := d.until(fmt.Sprintf(`trial ends" trial=%d `, id))
		if left := s.seatsOf(id); len(left) > 0 {
			t.Errorf("%s: processes %v are left", f.name, left)
		}
		status := strings.Trim(regexp.MustCompile(`status=("[^"]+"|\S+)`).FindStringSubmatch(line)[1], `"`)
		if !strings.Contains(f.status, status) {
			t.Errorf("%s is recorded as %s, want %s", f.name, status, f.status)
		}
		switch i {
		case 2: // it has all that it opens
			before = s.world(d.Process.Pid)
		case len(faulty) - 1:
			after = s.world(d.Process.Pid)
		}
	}
	if before != after {
		t.Errorf("the daemon's own world was\n%sand is\n%s", before, after)
	}
	watch.stop()
	if d.ProcessState != nil {
		t.Fatalf("the daemon ended: %v", d.ProcessState)
	}
	s.ok("stop")
	d.end()

	rows := s.trials()
	for i, f := range faulty {
		if n := len(slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.ID != int64(i+1) })); n != 1 {
			t.Errorf("%s has %d rows", f.name, n)
		}
	}
	table := strings.Split(strings.TrimSpace(s.read("state/results.tsv")), "\n")
	if decided := len(slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.Status == "interrupted" })); len(table) != 1+decided || decided < len(faulty) {
		t.Errorf("%d rows in results.tsv for %d candidates that are decided", len(table)-1, decided)
	}
	if _, err := os.Stat(evil); err == nil {
		t.Error("a pickle was loaded")
	}
	t.Logf("shown: %d faults of one study one after another; %d answers of /metrics meanwhile, the slowest after %.2f s, at most %d series",
		len(faulty)-2, watch.answers, watch.slowest.Seconds(), watch.series)
}

// seatsOf are the processes of a trial that are no zombies.
func (s *fixture) seatsOf(id int) []int {
	s.t.Helper()
	var out []int
	marker := []byte(fmt.Sprintf("AUTORESEARCH_SEAT=autoresearchd:%s//%d.", s.path("state"), id))
	for _, pid := range s.seats() {
		env, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		if bytes.Contains(env, marker) {
			out = append(out, pid)
		}
	}
	return out
}

// world is what a trial could change of the daemon.
func (s *fixture) world(pid int) string {
	s.t.Helper()
	at := filepath.Join("/proc", strconv.Itoa(pid))
	var out strings.Builder
	for _, link := range []string{"cwd", "root", "fd/0", "fd/1", "fd/2"} {
		to, err := os.Readlink(filepath.Join(at, link))
		must(s.t, err)
		fmt.Fprintf(&out, "%s %s\n", link, to)
	}
	env, err := os.ReadFile(filepath.Join(at, "environ"))
	must(s.t, err)
	status, err := os.ReadFile(filepath.Join(at, "status"))
	must(s.t, err)
	fmt.Fprintf(&out, "%d bytes of environment, %s\n", len(env), regexp.MustCompile(`Umask:.*|SigCgt:.*|SigIgn:.*`).FindAllString(string(status), -1))
	return out.String()
}

// scrapes are the answers of a page that is asked for again and again.
type scrapes struct {
	end, ended chan struct{}
	answers    int
	series     int
	slowest    time.Duration
}

func (s *scrapes) stop() {
	close(s.end)
	<-s.ended
}

// scrapeAlways asks until stop, and wants each answer whole and of bounded size.
// On an idle machine an answer takes milliseconds; more than half of them beyond a
// second would be a page that waits for a trial.
func scrapeAlways(t *testing.T, url string) *scrapes {
	s := &scrapes{end: make(chan struct{}), ended: make(chan struct{})}
	client := &http.Client{Timeout: patience}
	slow := 0
	go func() {
		defer close(s.ended)
		for {
			select {
			case <-s.end:
				if slow*2 > s.answers {
					t.Errorf("%d of %d answers took more than a second", slow, s.answers)
				}
				return
			case <-time.After(50 * time.Millisecond):
			}
			begin := time.Now()
			answer, err := client.Get(url)
			if err != nil {
				t.Errorf("/metrics does not answer: %v", err)
				return
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			took := time.Since(begin)
			s.slowest = max(s.slowest, took)
			if took > time.Second {
				slow++
			}
			s.answers++
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, parseErr := parser.TextToMetricFamilies(bytes.NewReader(body))
			if err != nil || parseErr != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("/metrics answers %d: %v, %v", answer.StatusCode, err, parseErr)
				return
			}
			series := 0
			for _, f := range families {
				series += len(f.Metric)
			}
			if s.series = max(s.series, series); series > 600 {
				t.Errorf("/metrics has %d series", series)
				return
			}
		}
	}()
	return s
}

// TestUnkillable has a trial that nothing can end: it waits in the kernel for a
// file system that does not answer. No trial begins beside it, also after the
// daemon was killed and started again, and both daemons answer.
func TestUnkillable(t *testing.T) {
	mounttest.Run(t, func() string { return t.TempDir() }, func(dir string) {
		stuck := mounttest.NewStuck(t, filepath.Join(dir, "mounted"))
		s := newStudy(t)
		s.write("workspace/train.py", strings.Replace(script, "    while step == 12 and", "    if step == 12 and DEPTH == 9:\n        open(os.environ['STUCK'])\n    while step == 12 and", 1))
		s.commit()
		s.configure("\n[search]\nstrategy = \"random\"\n[watchdog]\nstall = \"2s\"\ngrace = \"100ms\"\n[http]\nlisten = \"127.0.0.1:0\"\n")
		start := func() *daemon {
			cmd := s.command("run")
			cmd.Env = append(cmd.Env, "STUCK="+stuck.Path)
			return s.startWith(cmd)
		}
		quarantined := func(d *daemon) {
			t.Helper()
			address := regexp.MustCompile(`listen=(\S+)`).FindStringSubmatch(strings.Join(d.said, "\n"))[1]
			answer, err := http.Get("http://" + address + "/api/v1/status")
			must(t, err)
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			must(t, err)
			if !strings.Contains(string(body), `"state":"quarantined"`) || !strings.Contains(string(body), "could not be ended") {
				t.Errorf("the status is %s", body)
			}
		}
		s.ok("run", "--trials", "1", "--set", `http.listen=""`)
		s.hold()
		d := start()
		s.training(2)
		s.ok("suggest", "--set", "DEPTH=9")
		s.open()
		if line := d.until("no new trial is begun"); !strings.Contains(line, "could not be ended") {
			t.Errorf("said %s", line)
		}
		d.until(`trial ends" trial=3 `)
		s.poll("the quarantine", func() bool { return strings.Contains(s.ok("status", "--json"), `"quarantined"`) })
		quarantined(d)
		var left struct {
			Leftover []struct{ PID int }
		}
		must(t, json.Unmarshal([]byte(s.read("state/quarantine/cpu.json")), &left))
		if len(left.Leftover) != 1 {
			t.Fatalf("the quarantine is for %+v", left)
		}
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", left.Leftover[0].PID)); err != nil || !bytes.Contains(stat, []byte(") D ")) {
			t.Errorf("what is tried here can be killed: %s, %v", stat, err)
		}
		must(t, d.Process.Kill())
		d.end()

		d = start()
		s.poll("the quarantine", func() bool { return strings.Contains(s.ok("status", "--json"), `"quarantined"`) })
		quarantined(d)
		if rows := s.trials(); len(rows) != 3 || rows[2].Status != "timed out" {
			t.Errorf("recorded %+v", rows)
		}
		stuck.Free()
		d.until("device is back")
		d.until(`trial ends" trial=4 `)
		if rows := s.trials(); rows[3].Status != "completed" {
			t.Errorf("the next is %+v", rows[3])
		}
		s.ok("stop")
		d.end()
	})
}

// TestUnkillableOrphan kills the daemon while its trial cannot be ended: the next
// one finds out, and begins none beside it.
func TestUnkillableOrphan(t *testing.T) {
	mounttest.Run(t, func() string { return t.TempDir() }, func(dir string) {
		stuck := mounttest.NewStuck(t, filepath.Join(dir, "mounted"))
		s := newStudy(t)
		s.write("workspace/train.py", strings.Replace(script, "    while step == 12 and", "    if step == 12 and os.path.exists(os.environ['GATE']):\n        open(os.environ['STUCK'])\n    while step == 12 and", 1))
		s.commit()
		start := func() *daemon {
			cmd := s.command("run")
			cmd.Env = append(cmd.Env, "STUCK="+stuck.Path)
			return s.startWith(cmd)
		}
		s.hold()
		d := start()
		s.training(1)
		select {
		case <-stuck.Asked:
		case <-time.After(patience):
			t.Fatal("the trial never came to the file")
		}
		must(t, d.Process.Kill())
		d.end()
		d = start()
		if line := d.until("no new trial is begun"); !strings.Contains(line, "of an earlier daemon could not be ended") {
			t.Errorf("said %s", line)
		}
		s.open()
		stuck.Free()
		d.until("device is back")
		d.until("status=completed")
		rows := s.trials()
		if rows[0].Status != "interrupted" || rows[1].Status != "completed" {
			t.Errorf("recorded %+v", rows)
		}
		s.ok("stop")
		d.end()
	})
}

// TestSuspended stops the daemon and its trial together for longer than the
// deadline, as a machine is that sleeps on a clock that goes on. Awake, the daemon
// kills the trial once and has one row of it; the next one begins.
func TestSuspended(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	s.configure("\n[search]\nstrategy = \"evolution\"\n[watchdog]\nstall = \"3s\"\ngrace = \"100ms\"\n[http]\nlisten = \"\"\n")
	d := s.start("--trials", "3")
	s.training(1)
	var asleep []int
	s.poll("a trial", func() bool {
		asleep = s.seatsOf(1)
		return len(asleep) > 0
	})
	asleep = append(asleep, d.Process.Pid)
	for _, pid := range asleep {
		must(t, syscall.Kill(pid, syscall.SIGSTOP))
	}
	time.Sleep(4 * time.Second) // the night
	s.open()
	for _, pid := range slices.Backward(asleep) { // the daemon first
		must(t, syscall.Kill(pid, syscall.SIGCONT))
	}
	if code := d.end(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	kills := 0
	for line := range d.lines {
		if strings.Contains(line, "the watchdog killed the trial") {
			kills++
		}
	}
	rows := s.trials()
	if kills > 1 || kills == 0 && rows[0].Status == "timed out" {
		t.Errorf("it was killed %d times", kills)
	}
	if len(rows) != 3 || rows[0].Status != "timed out" && rows[0].Status != "completed" || rows[1].Status != "completed" {
		t.Errorf("recorded %+v", rows)
	}
	t.Logf("shown: the trial that slept is %s", rows[0].Status)
}
