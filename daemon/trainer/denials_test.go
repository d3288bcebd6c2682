package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"autoresearchd/daemon/sandbox"
	"autoresearchd/daemon/sandbox/trespass"
	"autoresearchd/search"
)

// trespasses is a train.py that tries to reach what is not its own, and says of
// each whether it did.
func trespasses() string {
	return `
import json
from prepare import make_dataloader, evaluate_bpb
at = json.load(open("at.json"))
` + trespass.Script() + `
for name, result in results.items():
    print(f"{name}: {result}")
` + honest + `
next(make_dataloader(None, 4, 8, "train"))
evaluate_bpb(1.0, None, 4)
`
}

// honest is what training does beside arithmetic.
const honest = `
import multiprocessing, shutil, subprocess, tempfile
from multiprocessing.connection import Client, Listener
def twice(n):
    return 2 * n
def does(name, what):
    try:
        what()
        print(f"{name}: works")
    except Exception as e:
        print(f"{name}: fails: {type(e).__name__} {e}")
def pool():
    with multiprocessing.get_context("fork").Pool(2) as workers:
        assert workers.map(twice, [1, 2, 3]) == [2, 4, 6]
def passes():  # as torch's loaders hand over memory: a descriptor through a socket in the file system
    with Listener(family="AF_UNIX") as listener:
        def send():
            with Client(listener.address) as c, open("given", "w+") as f:
                f.write("through")
                f.flush()
                multiprocessing.reduction.send_handle(c, f.fileno(), None)
        import threading
        threading.Thread(target=send, daemon=True).start()
        with listener.accept() as c:
            fd = multiprocessing.reduction.recv_handle(c)
            assert os.pread(fd, 10, 0) == b"through"
def temporary():
    with tempfile.TemporaryDirectory() as d:
        open(d + "/x", "w").write("x")
        shutil.copy(d + "/x", d + "/y")
        os.chmod(d + "/y", 0o700)
        assert os.stat(d + "/y").st_mode & 0o777 == 0o700
def shared():
    from multiprocessing import shared_memory
    m = shared_memory.SharedMemory(create=True, size=100)
    m.close(); m.unlink()
def compiles():
    with tempfile.TemporaryDirectory() as d:
        open(d + "/x.c", "w").write("int f(void) { return 7; }")
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", d + "/x.so", d + "/x.c"], check=True)
        assert ctypes.CDLL(d + "/x.so").f() == 7
does("a pool of processes", pool)
does("a descriptor through a socket", passes)
does("temporary files", temporary)
does("shared memory", shared)
does("a C compiler", compiles)
does("the venv's interpreter", lambda: subprocess.run([sys.executable, "-c", "import json"], check=True))
does("a checkpoint", lambda: open("checkpoint.pt", "w").write("x"))
does("data", lambda: reads(at["data"]))
`

// runDenials is a small daemon, which runs one trial that tries what it must not.
func runDenials(d *trespass.Told) int {
	out, log, layers, err := trespassing(d)
	fmt.Printf("layers: %s\nstatus: %s %s %v\n%s", layers, out.Status, out.Detail, err, log)
	return 0
}

// trespassing plays a trial beside what it must not reach.
func trespassing(d *trespass.Told) (out search.Outcome, log, layers string, err error) {
	state := filepath.Join(d.Root, "state")
	at, end, err := d.Surround(state)
	if err != nil {
		return
	}
	defer end()
	o := Options{Python: d.Python(), Folder: func(id int64) string { return filepath.Join(state, "trials", strconv.FormatInt(id, 10)) },
		Limits: patient(), LogLimit: 1 << 20, Processes: 200, Owner: state, Shared: []string{filepath.Dir(at["data"].(string))}, Deny: []string{at["denied"].(string)}}
	work := o.work(1)
	err = errors.Join(os.MkdirAll(work, 0o750), os.CopyFS(work, os.DirFS(filepath.Join(d.Root, "beside"))),
		os.WriteFile(filepath.Join(work, "train.py"), []byte(trespasses()), 0o600), trespass.Write(filepath.Join(work, "at.json"), at))
	if err != nil {
		return
	}
	if o.Sandbox, err = FindSandbox(&o, d.Sandbox, "cpu", d.Without); err != nil {
		return
	}
	defer o.Sandbox.Close()
	p, err := NewProcess(o)
	if err != nil {
		return
	}
	defer p.Close()
	out, err = p.Run(context.Background(), Order{Trial: trial(1)}, nil)
	text, _ := os.ReadFile(filepath.Join(o.Folder(1), "run.log"))
	return out, string(text), o.Sandbox.Summary(), err
}

// TestTrespasses has a train.py try, under a real CPython, what it must not, as
// the users that a daemon may run as. Faults 51 to 54.
func TestTrespasses(t *testing.T) {
	trespass.Each(t, "testdata/work", nil, checkDenials)
}

// checkDenials reads what the trial printed.
func checkDenials(t *testing.T, text string, confined bool) {
	t.Helper()
	seen := 0
	names := trespass.Names()
	for line := range strings.Lines(text) {
		name, result, _ := strings.Cut(strings.TrimSpace(line), ": ")
		tried := slices.Contains(names, name)
		switch {
		case name == "layers":
			t.Log(result)
		case name == "status" && !strings.HasPrefix(result, "completed"):
			t.Error(line)
		case strings.HasPrefix(result, "fails"):
			t.Error(line)
		case strings.HasPrefix(result, "works"):
			seen++
		case tried && strings.HasPrefix(result, "reached") == confined:
			if !confined && name == "a trace of the daemon" && !trespass.Traceable() {
				seen++
				continue
			}
			t.Error(line)
		case tried:
			seen++
		}
	}
	if seen != len(names)+8 {
		t.Errorf("%d of %d answers:\n%s", seen, len(names)+8, text)
	}
}

// TestStandbyInASandbox has a trial run in a process that was confined before
// there was a trial, in a folder that was another's.
func TestStandbyInASandbox(t *testing.T) {
	for name, without := range map[string]sandbox.Leave{"with a root of its own": {}, "without": {Spaces: true}} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			var said bytes.Buffer
			o.Log = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
			box(t, &o, without)
			p := newProcess(t, o)
			const source = "import json\nfrom prepare import evaluate_bpb\nopen('made', 'w').write('here')\nprint(open('beside').read())\nevaluate_bpb(1.0, None, 4)\n"
			if warmed(t, p, source) == nil {
				t.Fatal("no standby was ready")
			}
			folder(t, p.options, 2, source)
			work := o.work(2)
			if err := os.WriteFile(filepath.Join(work, "beside"), []byte("found"), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := p.Run(context.Background(), Order{Trial: trial(2)}, nil)
			if err != nil || out.Status != search.Completed {
				t.Fatalf("%v %+v\n%s", err, out, logOf(t, o, 2))
			}
			if text, err := os.ReadFile(filepath.Join(work, "made")); string(text) != "here" || !strings.Contains(logOf(t, o, 2), "found") {
				t.Errorf("it made %q (%v) and printed %q", text, err, logOf(t, o, 2))
			}
			if !strings.Contains(said.String(), "a trainer was ready") {
				t.Errorf("the standby was not used: %s", said.String())
			}
		})
	}
}
