package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite testdata")

const asMain = "AUTORESEARCHD_TEST_AS_MAIN"

var venv string // without torch; the workspace's stand-in is beside train.py

// TestMain makes of the test's binary the program itself, trainers included.
func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" || len(os.Args) > 1 && os.Args[1] == "trainer" { // a node's step has no environment
		main()
	}
	dir, err := os.MkdirTemp("", "autoresearchd-venv")
	if err != nil {
		panic(err)
	}
	venv = dir
	if out, err := exec.Command(os.Getenv("AUTORESEARCH_PYTHON"), "-m", "venv", "--without-pip", dir).CombinedOutput(); err != nil {
		panic("make a venv with AUTORESEARCH_PYTHON (run tests through scripts/go.sh): " + err.Error() + "\n" + string(out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// script is a train.py whose score its constants decide. GATE names a file
// that holds it while training.
const script = `import os, time
from torch.optim.optimizer import Optimizer
from prepare import make_dataloader, evaluate_bpb, TIME_BUDGET

MATRIX_LR = 0.04  # of the matrices
DEPTH = 4
FLAG = True

optimizer = Optimizer()
batches = make_dataloader(None, 4, 8, "train")
for step in range(14):
    next(batches)
    optimizer.step()
    print(f"\rstep {step:05d} ({100 * step / 14:.1f}%) | loss: 2.5 | tok/sec: 1,000 ", end="")
    while step == 12 and os.path.exists(os.environ.get("GATE", "")):
        time.sleep(0.01)
print()
val_bpb = evaluate_bpb(2 + abs(MATRIX_LR - 0.05) + 0.01 * abs(DEPTH - 6), None, 4)
print("---")
print(f"val_bpb: {val_bpb:.6f}")
`

// fixture is a workspace, a configuration and what the program says about them.
type fixture struct {
	t     *testing.T
	dir   string
	gate  string
	under []string // a command that runs the program
}

func newStudy(t *testing.T) *fixture {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	s := &fixture{t: t, dir: dir, gate: filepath.Join(dir, "gate")}
	must(t, os.CopyFS(s.path("workspace"), os.DirFS("../trainer/testdata/work")))
	s.write("workspace/program.md", "# what to try\n")
	s.write("workspace/train.py", script)
	s.git("init", "-q", "-b", "main")
	s.commit()
	s.configure("")
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *fixture) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

func (s *fixture) write(name, text string) {
	s.t.Helper()
	must(s.t, os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
	must(s.t, os.WriteFile(s.path(name), []byte(text), 0o644))
}

func (s *fixture) read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(s.path(name))
	must(s.t, err)
	return string(data)
}

func (s *fixture) git(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", s.path("workspace"), "-c", "user.name=ada", "-c", "user.email=ada@localhost"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *fixture) commit() {
	s.t.Helper()
	s.git("add", "-A")
	s.git("commit", "-q", "-m", "start")
}

// configure writes autoresearch.toml with more tables at its end. The script
// does not look at its budget, which bounds how long a gate may hold it.
func (s *fixture) configure(more string) {
	s.t.Helper()
	s.write("autoresearch.toml", fmt.Sprintf(`[study]
tag = "test"
workspace = "workspace"
state = "state"
[trial]
python = %q
devices = "cpu"
budget = "450s"
sandbox = "off" # the scripts of these tests look at files outside
[judge]
rule = "greedy"
%s`, filepath.Join(venv, "bin", "python"), rest(more)))
}

// rest keeps to a strategy that needs nobody, and lets a gate hold a trial for
// as long as a loaded machine may want.
func rest(more string) string {
	if !strings.Contains(more, "[watchdog]") {
		more += "\n[watchdog]\nstall = \"10m\"\n"
	}
	if strings.Contains(more, "[search]") {
		return more
	}
	return more + "\n[search]\nstrategy = \"evolution\"\n[http]\nlisten = \"\"\n"
}

func (s *fixture) command(args ...string) *exec.Cmd {
	argv := slices.Concat(s.under, []string{os.Args[0], "--config", s.path("autoresearch.toml")}, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), asMain+"=1", "GATE="+s.gate, "HOME="+s.dir, "AUTORESEARCH_CACHE="+s.path("cache"))
	return cmd
}

// cli runs the program to its end.
func (s *fixture) cli(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := s.command(args...)
	var out, fault bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &fault
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return out.String(), fault.String(), cmd.ProcessState.ExitCode()
}

// ok runs the program and returns what it printed.
func (s *fixture) ok(args ...string) string {
	s.t.Helper()
	out, fault, code := s.cli(args...)
	if code != 0 {
		s.t.Fatalf("%q ended with %d\n%s%s", args, code, out, fault)
	}
	return out
}

// refused runs a program that must fail with a status and say what stands in
// testdata, one message.
func (s *fixture) refused(code int, args ...string) {
	s.t.Helper()
	out, fault, got := s.cli(args...)
	if got != code {
		s.t.Errorf("%q ended with %d, want %d\n%s%s", args, got, code, out, fault)
	}
	golden(s.t, "refused-"+strings.NewReplacer("/", "-", "Test", "").Replace(s.t.Name())+".txt", s.stable(fault)+"\n")
}

// readOnly takes away the right to write, from root too: it runs on without the
// capability to pass over permissions.
func (s *fixture) readOnly(name string) {
	s.t.Helper()
	change := func(mode string) { must(s.t, exec.Command("chmod", "-R", mode, s.path(name)).Run()) }
	change("a-w")
	s.t.Cleanup(func() { change("u+w") })
	if os.Getuid() == 0 {
		s.under = []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search", "--"}
	}
}

// stable replaces what differs from run to run.
func (s *fixture) stable(text string) string {
	text = strings.ReplaceAll(text, s.dir, "DIR")
	text = strings.ReplaceAll(text, venv, "VENV")
	text = regexp.MustCompile(`time=\S+`).ReplaceAllString(text, "time=T")
	text = regexp.MustCompile(`Python 3\.\d+(\.\d+)?`).ReplaceAllString(text, "Python 3.x")
	return strings.TrimSpace(text)
}

// trials are the rows of `trials --runs --json`.
type row struct {
	ID          int64              `json:"id"`
	Commit      string             `json:"commit"`
	Parent      int64              `json:"parent"`
	Strategy    string             `json:"strategy"`
	Description string             `json:"description"`
	Constants   map[string]any     `json:"constants"`
	Seed        uint64             `json:"seed"`
	Status      string             `json:"status"`
	Decision    string             `json:"decision"`
	Reason      string             `json:"reason"`
	ValBPB      float64            `json:"val_bpb"`
	Phases      map[string]float64 `json:"phases"`
}

func (s *fixture) trials() []row {
	s.t.Helper()
	var rows []row
	must(s.t, json.Unmarshal([]byte(s.ok("trials", "--runs", "--json")), &rows))
	return rows
}

// daemon is a program that goes on.
type daemon struct {
	*exec.Cmd
	s     *fixture
	lines chan string
	ended chan error
	said  []string
}

// start starts the daemon and returns when it is ready.
func (s *fixture) start(args ...string) *daemon {
	s.t.Helper()
	return s.startWith(s.command(append([]string{"run"}, args...)...))
}

func (s *fixture) startWith(cmd *exec.Cmd) *daemon {
	s.t.Helper()
	d := s.launch(cmd)
	d.until("msg=ready")
	return d
}

func (s *fixture) launch(cmd *exec.Cmd) *daemon {
	s.t.Helper()
	// With room for all lines: a full pipe would hold the daemon up.
	d := &daemon{Cmd: cmd, s: s, lines: make(chan string, 1<<17), ended: make(chan error, 1)}
	r, w, err := os.Pipe()
	must(s.t, err)
	d.Stdout, d.Stderr = w, w
	must(s.t, d.Start())
	w.Close()
	go func() {
		defer close(d.lines)
		buffer := make([]byte, 4096)
		rest := ""
		for {
			n, err := r.Read(buffer)
			rest += string(buffer[:n])
			for {
				line, more, found := strings.Cut(rest, "\n")
				if !found {
					break
				}
				d.lines <- line
				rest = more
			}
			if err != nil {
				return
			}
		}
	}()
	go func() { d.ended <- d.Wait() }()
	s.t.Cleanup(func() {
		if d.ProcessState == nil {
			_ = d.Process.Signal(syscall.SIGTERM)
			select {
			case <-d.ended:
			case <-time.After(patience):
				_ = d.Process.Kill()
			}
		}
		r.Close()
	})
	return d
}

// until waits for a line that has the text.
func (d *daemon) until(text string) string {
	d.s.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case line, ok := <-d.lines:
			if !ok {
				d.s.t.Fatalf("the daemon ended before it said %q; it said\n%s", text, strings.Join(d.said, "\n"))
			}
			d.said = append(d.said, line)
			if strings.Contains(line, text) {
				return line
			}
		case <-limit:
			d.s.t.Fatalf("the daemon never said %q; it said\n%s", text, strings.Join(d.said, "\n"))
		}
	}
}

// end waits for the daemon's end and returns its status, negative for a signal.
func (d *daemon) end() int {
	d.s.t.Helper()
	select {
	case err := <-d.ended:
		d.ended <- err
	case <-time.After(patience):
		d.s.t.Fatal("the daemon does not end")
	}
	return d.ProcessState.ExitCode()
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s (-update rewrites it):\ngot\n%s\nwant\n%s", path, got, want)
	}
}
