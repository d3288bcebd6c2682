package trainer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/search"
)

// library makes modules that the tests' interpreter can import.
func library(t *testing.T, modules map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range modules {
		if err := os.WriteFile(filepath.Join(dir, name+".py"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PYTHONPATH", dir)
	return dir
}

// warmed runs a first trial, and has a standby get ready that imports what
// source does. It returns the standby, nil if it came to nothing.
func warmed(t *testing.T, p *Process, source string) *process {
	t.Helper()
	folder(t, p.options, 1, "from prepare import evaluate_bpb\nevaluate_bpb(1.0, None, 4)\n")
	if out, err := p.Run(context.Background(), Order{Trial: trial(1)}, nil); err != nil || out.Status != search.Completed {
		t.Fatalf("the first trial: %v %+v", err, out)
	}
	p.getReady("cpu", []byte(source))
	b := p.standbys.of["cpu"]
	if b == nil {
		t.Fatal("no standby was started")
	}
	// The study takes the trial's working directory away.
	if err := os.RemoveAll(p.options.work(1)); err != nil {
		t.Fatal(err)
	}
	<-b.ready
	if b.fault != nil {
		return nil
	}
	return b.t.(*process)
}

// second runs a script as the second trial, and returns the marker of the process
// that it ran in, whose number may be another in there.
func second(t *testing.T, p *Process, script string, beside ...string) string {
	t.Helper()
	folder(t, p.options, 2, script+"\nimport os\nopen('seat', 'w').write(os.environ['AUTORESEARCH_SEAT'])\nfrom prepare import evaluate_bpb\nevaluate_bpb(1.25, None, 4)\n")
	for _, name := range beside {
		if err := os.WriteFile(filepath.Join(p.options.work(2), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := p.Run(context.Background(), Order{Trial: trial(2)}, nil)
	if err != nil || out.Status != search.Completed || out.ValBPB != 1.25 {
		t.Fatalf("the second trial: %v %s %s\n%s", err, out.Status, out.Detail, logOf(t, p.options, 2))
	}
	text, err := os.ReadFile(filepath.Join(p.options.work(2), "seat"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// look is a script that prints what it can tell of its world.
const look = `"""Doc."""
from __future__ import annotations
import os
os.environ["SET_BEFORE"] = "1"
os.environ.setdefault("SET_TOO", "2")
import odd, multiprocessing, random, threading, sys
from odd import value
print("world", sys.argv, sys.path, os.getcwd(), __name__, __file__, sys.modules["__main__"].__dict__ is globals(), random.random(),
  sorted((k, v) for k, v in os.environ.items() if k != "AUTORESEARCH_SEAT"), sorted(t.name for t in threading.enumerate()), multiprocessing.process.ORIGINAL_DIR,
  sys.executable, os.sched_getaffinity(0), os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), value, sys.stdin.read(), sys.flags, sys.stdout.line_buffering)
`

// TestStandbyIsAsPython compares a trial in a standby with one that starts cold:
// an import that prints, starts a thread and sets the environment shows in neither.
func TestStandbyIsAsPython(t *testing.T) {
	dir := library(t, map[string]string{"odd": `
import os, sys, threading
print("odd says", sys.argv)
os.environ["ODD"] = "3"
threading.Thread(target=threading.Event().wait, name="odd", daemon=True).start()
value = 4
`})
	worlds := map[bool]string{}
	for _, warm := range []bool{false, true} {
		o := options(t)
		root := filepath.Dir(dir)
		o.Folder = func(id int64) string { return filepath.Join(root, "trials", strconv.FormatInt(id, 10)) }
		p := newProcess(t, o)
		var standby *process
		if warm {
			standby = warmed(t, p, look)
		}
		if ran := second(t, p, look); warm != (standby != nil && standby.marker == markerName+"="+ran) {
			t.Errorf("it ran in %s, the standby was %+v", ran, standby)
		}
		// In a sandbox each has a scratch folder, and a standby goes on in its own.
		worlds[warm] = regexp.MustCompile(`/(\.scratch/\d+|trials/(\d+|\.standby/cpu))/`).ReplaceAllString(logOf(t, o, 2), "/N/")
	}
	if worlds[true] != worlds[false] || !strings.HasPrefix(worlds[true], "odd says ['train.py']\nworld ['train.py']") {
		t.Errorf("in a standby:\n%s\nwithout:\n%s", worlds[true], worlds[false])
	}
	if n := strings.Count(worlds[true], "odd says"); n != 1 {
		t.Errorf("odd was imported %d times", n)
	}
}

// TestStandbyImportsForPrepare imports what prepare does, where the script comes
// to prepare next.
func TestStandbyImportsForPrepare(t *testing.T) {
	library(t, map[string]string{"slow": "print('slow')", "other": "print('other')\nclass cuda: is_available = lambda: True\n"})
	for script, want := range map[string]string{
		"import other\nfrom prepare import STEP_BUDGET\nprint('begins')":                               "other\nslow\nbegins\n",
		"import other\nx = 1\nprint('begins')\nimport prepare":                                         "other\nbegins\nslow\n",
		"import prepare\nprint('begins')\nimport other":                                                "slow\nbegins\nother\n",
		"import other as torch\nif torch.cuda.is_available():\n    import slow\nprint('begins')":       "other\nslow\nbegins\n",
		"import other\ntry:\n    import slow, missing\nexcept ImportError:\n    pass\nprint('begins')": "other\nslow\nbegins\n",
		"import other\ntry:\n    print('begins')\n    import slow\nexcept ImportError:\n    pass":      "other\nbegins\nslow\n",
		"import other as prepared\nprint('begins')\nimport prepare as pre":                             "other\nbegins\nslow\n",
	} {
		p := newProcess(t, options(t))
		source, err := os.ReadFile("testdata/work/prepare.py")
		if err != nil {
			t.Fatal(err)
		}
		// Its own is written after the folder is made, so that each trial finds it.
		beside := func(id int64) {
			if err := os.WriteFile(filepath.Join(p.options.work(id), "prepare.py"), append([]byte("\"\"\"Doc.\"\"\"\nimport slow\n"), source...), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for id := int64(1); id <= 2; id++ {
			folder(t, p.options, id, script+"\nfrom prepare import evaluate_bpb\nevaluate_bpb(1.25, None, 4)\n")
			beside(id)
		}
		if _, err := p.Run(context.Background(), Order{Trial: trial(1)}, nil); err != nil {
			t.Fatal(err)
		}
		p.getReady("cpu", []byte(script))
		b := p.standbys.of["cpu"]
		<-b.ready
		early, _, _ := strings.Cut(want, "begins")
		for end := time.Now().Add(time.Minute); b.t.(*process).spool.text() != early && time.Now().Before(end); { // it comes another way
			time.Sleep(time.Millisecond)
		}
		before := b.t.(*process).spool.text()
		out, err := p.Run(context.Background(), Order{Trial: trial(2)}, nil)
		text := logOf(t, p.options, 2)
		if err != nil || out.Status != search.Completed || text != want || before != early {
			t.Errorf("%q: %v %s, before the order %q, in all %q", script, err, out.Status, before, text)
		}
	}
}

// TestStandbyIsNotUsed has a trial start cold where it could tell, and says why.
func TestStandbyIsNotUsed(t *testing.T) {
	for name, c := range map[string]struct {
		module string // imported as odd
		ready  bool   // it is found out by the trial alone
		source string // that the standby got ready for; "": the trial's
		spoil  func(*Process, int)
		why    string
	}{
		"other imports":           {"", true, "import odd, json\nx = 1\n", nil, "imports something else"},
		"asks for its directory":  {"import os\nhere = os.path.abspath('data')\n", false, "", nil, "odd asks for the working directory"},
		"changes its directory":   {"import os\nos.chdir('/')\n", false, "", nil, "an import changes the working directory"},
		"comes first in sys.path": {"import sys\nsys.path.insert(0, '/opt')\n", false, "", nil, "before the script's own folder in sys.path"},
		"draws a number":          {"import random\nrandom.random()\n", false, "", nil, "draws random numbers from random"},
		"seeds":                   {"import random\nrandom.Random.seed(random._inst, 5)\n", false, "", nil, "draws random numbers from random, or seeds it"},
		"is not there":            {"import no_such_module\n", false, "", nil, "fails: ModuleNotFoundError"},
		"exits":                   {"import sys\nsys.exit(3)\n", false, "", nil, "fails: SystemExit: 3"},
		"ends the process":        {"import os\nos._exit(3)\n", false, "", nil, "ended without an answer"},
		"was killed": {"", true, "", func(p *Process, pid int) {
			_ = unix.Kill(pid, unix.SIGKILL)
			<-p.standbys.of["cpu"].t.ended()
		}, "it has ended, or the venv"},
		"the environment changed":   {"", true, "", func(*Process, int) { os.Setenv("STANDBY_TEST", "1") }, "or the environment of trials has changed"},
		"a module beside hides one": {"import helper\n", true, "", nil, "helper lies beside train.py, and was imported from elsewhere"},
		"it can be used":            {"", true, "", nil, ""},
		"torch's setting moves": {"import os, sys\nclass Entry: default = 'x'\nsys.modules['torch._dynamo.config'] = module = type(sys)('torch._dynamo.config')\n" +
			"exec('import os; here = os.path.join(os.getcwd(), \"debug\")', module.__dict__)\nEntry.default = module.here; module._config = {'dir': Entry}\n" +
			"import atexit; atexit.register(lambda: open('moved', 'w').write(str(Entry.default == os.path.join(os.getcwd(), 'debug'))))\n", true, "", nil, ""},
		"a setting of another torch": {"import sys\nsys.modules['torch._dynamo.config'] = module = type(sys)('torch._dynamo.config')\nmodule._config = {'dir': '/'}\n", false, "", nil, "torch._dynamo.config asks for the working directory"},
	} {
		t.Run(name, func(t *testing.T) {
			defer os.Unsetenv("STANDBY_TEST")
			dir := library(t, map[string]string{"odd": c.module, "helper": ""})
			var said bytes.Buffer
			o := options(t)
			o.Log = slog.New(slog.NewTextHandler(&said, nil))
			p := newProcess(t, o)
			source := c.source
			if source == "" {
				source = "import odd\nx = 1\n"
			}
			standby := warmed(t, p, source)
			if c.ready != (standby != nil) {
				t.Fatalf("the standby is ready: %v", standby != nil)
			}
			if c.spoil != nil {
				c.spoil(p, standby.cmd.Process.Pid)
			}
			if c.module != "" { // the trial itself can import it
				if err := os.WriteFile(filepath.Join(dir, "odd.py"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if ran := second(t, p, "import odd\nx = 1\n", "helper.py"); (standby != nil && standby.marker == markerName+"="+ran) != (c.why == "") {
				t.Errorf("it ran in %s, the standby was %+v", ran, standby)
			}
			if c.why != "" && strings.Count(said.String(), c.why) != 1 {
				t.Errorf("it says %q", said.String())
			}
			if moved, err := os.ReadFile(filepath.Join(o.work(2), "moved")); strings.Contains(c.module, "moved") && string(moved) != "True" {
				t.Errorf("a setting keeps the folder of another trial: %q, %v", moved, err)
			}
			if left := marked(ownerMarker(o.Owner), 0, false); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
		})
	}
}

// TestStandbyThatHangs waits for imports for a while only.
func TestStandbyThatHangs(t *testing.T) {
	dir := library(t, map[string]string{"odd": "import os, time\nwhile os.path.exists(os.path.join(os.path.dirname(__file__), 'hang')): time.sleep(0.01)\n"})
	hang := filepath.Join(dir, "hang")
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Limits.Startup = time.Second
	p := newProcess(t, o)
	folder(t, o, 1, "from prepare import evaluate_bpb\nevaluate_bpb(1.0, None, 4)\n")
	o.Limits.Startup = patient().Startup
	if _, err := p.Run(context.Background(), Order{Trial: trial(1)}, nil); err != nil {
		t.Fatal(err)
	}
	p.getReady("cpu", []byte("import odd\n"))
	pid := p.standbys.of["cpu"].t.(*process).cmd.Process.Pid
	folder(t, o, 2, "import os\nimport odd\nfrom prepare import evaluate_bpb\nevaluate_bpb(1.25, None, 4)\n")
	if b := p.take(context.Background(), trial(2)); b != nil {
		t.Error("a standby that hangs is used")
	}
	if st, ok := stat(pid); ok && st.state != 'Z' {
		t.Error("a standby that hangs is left")
	}
}

// TestStandbysEndWithTheirTrainer closes one that has a standby.
func TestStandbysEndWithTheirTrainer(t *testing.T) {
	library(t, map[string]string{"odd": ""})
	p := newProcess(t, options(t))
	warmed(t, p, "import odd\n")
	p.Close()
	p.getReady("cpu", []byte("import odd\n"))
	if left := marked(ownerMarker(p.options.Owner), 0, false); len(left) > 0 {
		t.Errorf("processes %v are left after Close", left)
	}
}

// lonelyName is set in the environment of a test binary that plays a daemon with a
// standby, and is killed.
const lonelyName = "AUTORESEARCH_LONELY_TEST"

func lonely(root string) {
	o := Options{Python: os.Getenv("AUTORESEARCH_PYTHON"), Folder: func(id int64) string { return filepath.Join(root, strconv.FormatInt(id, 10)) }, Owner: root}
	p, err := NewProcess(o)
	if err == nil {
		_, err = p.Run(context.Background(), Order{Trial: trial(1)}, nil)
	}
	if err == nil {
		p.getReady("cpu", []byte("import odd\n"))
		b := p.standbys.of["cpu"]
		<-b.ready
		err = b.fault
	}
	fmt.Println("ready", err)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// 36: a daemon that is killed leaves its standby, and what that has started, to
// the next.
func TestSweepFindsStandbys(t *testing.T) {
	library(t, map[string]string{"odd": "import subprocess\nsubprocess.Popen(['sleep', '3600'], start_new_session=True)\n"})
	o := options(t)
	folder(t, o, 1, "from prepare import evaluate_bpb\nevaluate_bpb(1.0, None, 4)\n")
	root := filepath.Dir(o.Folder(1))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), lonelyName+"="+root)
	in, _ := cmd.StdinPipe()
	defer in.Close()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 200)
	n, _ := out.Read(said)
	if string(said[:n]) != "ready <nil>\n" {
		t.Errorf("it says %q", said[:n])
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if n := Sweep(root, ""); n < 1 {
		t.Errorf("swept %d processes", n)
	}
	if left := marked(ownerMarker(root), 0, false); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

// TestSeatsSideBySide runs trials of two devices at once: the end of one, and a
// sweep, leave the other alone.
func TestSeatsSideBySide(t *testing.T) {
	for name, c := range map[string]*Cgroups{"with control groups": FindCgroups(), "without": {}} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			p := newProcess(t, o)
			p.place.cgroups = c
			folder(t, o, 1, evaluating)
			folder(t, o, 2, training+"subprocess.Popen(['sleep', '3600'], start_new_session=True)\nwhile True: train(1); time.sleep(0.01)\n")
			evaluates := make(chan bool, 2)
			var out search.Outcome
			ended := make(chan error, 1)
			go func() {
				one := trial(1)
				one.Device = "cpu:0"
				var err error
				out, err = p.Run(context.Background(), Order{Trial: one}, func(e Event) {
					if e.Phase == search.Evaluate {
						evaluates <- true
					}
				})
				ended <- err
			}()
			<-evaluates
			ctx, cancel := context.WithCancel(context.Background())
			other := trial(2)
			other.Device = "cpu:1"
			second, err := p.Run(ctx, Order{Trial: other}, func(e Event) {
				if e.Step != nil && e.Step.Number > 20 {
					cancel()
				}
			})
			if err != nil || second.Status != search.Interrupted {
				t.Errorf("the second: %v %s", err, second.Status)
			}
			if n := Sweep(o.Owner, ""); n != 0 {
				t.Errorf("a sweep ends %d processes of a trial that runs", n)
			}
			if err := os.WriteFile(filepath.Join(o.work(1), "end"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil || out.Status != search.Completed {
				t.Errorf("the first: %v %s %s", err, out.Status, out.Detail)
			}
		})
	}
}

// TestStandbyIsCalm has a standby import only when nothing else wants the
// processor, all of its threads and children too, until its order comes.
func TestStandbyIsCalm(t *testing.T) {
	if !canCalm() {
		t.Skip("nothing keeps a standby calm here")
	}
	library(t, map[string]string{"odd": "import os, subprocess, threading, time\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\nsubprocess.Popen(['sleep', '3600'])\n"})
	p := newProcess(t, options(t))
	if warmed(t, p, "import odd\nx = 1\n") == nil {
		t.Fatal(p.standbys.of["cpu"].fault)
	}
	policies := func() map[string]int {
		found := map[string]int{}
		for _, pid := range p.standbys.of["cpu"].t.(*process).group.members() {
			tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
			for _, task := range tasks {
				data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, task.Name()))
				_, rest, _ := strings.Cut(string(data), ") ")
				if fields := strings.Fields(rest); len(fields) > 38 {
					found[fields[38]]++ // field 41 of proc(5)
				}
			}
		}
		return found
	}
	if found := policies(); quietBy() == idle && (len(found) != 1 || found["5"] < 3) {
		t.Errorf("threads by policy: %v", found)
	}
	p.standbys.of["cpu"].t.rouse()
	if found := policies(); len(found) != 1 || found["0"] < 3 {
		t.Errorf("threads by policy, once there is an order: %v", found)
	}
}
