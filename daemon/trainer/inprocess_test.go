package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"autoresearchd/pyembed"
	"autoresearchd/search"
)

// inProcessResult is one trial of a process that holds its own interpreter.
type inProcessResult struct {
	Outcome search.Outcome
	Error   string
	Restart bool
	Dir     string
}

const hanging = 4 // of the trials of TestInProcess

// runInProcess is what TestMain does where AUTORESEARCH_INPROCESS_TEST names
// folders of trials: it runs them one after another and says how they ended.
func runInProcess(root string) int {
	o := Options{Python: os.Getenv("AUTORESEARCH_INPROCESS_PYTHON"), Folder: func(id int64) string { return filepath.Join(root, strconv.FormatInt(id, 10)) },
		Limits: patient(), LogLimit: 1 << 20}
	p, err := NewInProcess(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	out := json.NewEncoder(os.Stdout)
	inspection, err := p.Inspect(context.Background(), []byte("A = 1\n"))
	if err != nil || len(inspection.Constants) != 1 {
		fmt.Fprintln(os.Stderr, "inspect:", inspection, err)
		return 1
	}
	for id := int64(1); exists(o.Folder(id)); id++ {
		if id == hanging {
			p.options.Limits.Stall = 500 * time.Millisecond
		}
		outcome, err := p.Run(context.Background(), Order{Trial: trial(id)}, nil)
		dir, _ := os.Getwd()
		r := inProcessResult{Outcome: outcome, Dir: dir, Restart: errors.Is(err, ErrRestart)}
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return 1
		}
		if r.Restart {
			return RestartStatus
		}
	}
	return 0
}

func TestInProcess(t *testing.T) {
	o := options(t)
	for i, script := range []string{
		training + "train(15)\nimport atexit\natexit.register(print, 'farewell')\nprint('hello')\nevaluate_bpb(1.5, None, 4)\nleak = 1\n",
		training + "assert 'leak' not in globals()\nimport torch\ntorch.manual_seed(1)\nassert set(torch.SEEDS) == {7}\nevaluate_bpb(1.25, None, 4)\nsys.exit(2)\n",
		training + "raise ValueError('no')\n",
		training + "train(3)\nprint('hangs')\nctypes.PyDLL(None).sleep(3600)\n",
		training + "print('must not run')\n",
	} {
		folder(t, o, int64(i+1), script)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "AUTORESEARCH_INPROCESS_TEST="+filepath.Dir(o.Folder(1)), "AUTORESEARCH_INPROCESS_PYTHON="+python)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != RestartStatus {
		t.Fatalf("the process ended with %v, want status %d\n%s%s", err, RestartStatus, stdout, stderr.String())
	}
	var got []inProcessResult
	for decoder := json.NewDecoder(bytes.NewReader(stdout)); decoder.More(); {
		var r inProcessResult
		if err := decoder.Decode(&r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if len(got) != 4 {
		t.Fatalf("%d trials ran, want 4\n%s", len(got), stderr.String())
	}
	if o := got[0].Outcome; o.Status != search.Completed || o.ValBPB != 1.5 || o.Steps != 16 || got[0].Dir != "/" {
		t.Errorf("first: %+v", got[0])
	}
	if text := logOf(t, o, 1); text != "hello\nfarewell\n" {
		t.Errorf("run.log of the first: %q", text)
	}
	if o := got[1].Outcome; o.Status != search.Completed || o.ValBPB != 1.25 || o.ExitCode != 2 {
		t.Errorf("second: %+v", o)
	}
	if o := got[2].Outcome; o.Status != search.Crashed || !strings.Contains(o.Detail, "ValueError: no") {
		t.Errorf("third: %+v", o)
	}
	if o := got[3].Outcome; o.Status != search.TimedOut || !got[3].Restart || o.Steps < 1 || o.Steps > 4 || !strings.Contains(o.Detail, "no optimizer step") {
		t.Errorf("fourth: %+v", got[3])
	}
}

func TestInProcessNeedsASupervisor(t *testing.T) {
	env := map[string]string{}
	get := func(k string) string { return env[k] }
	if err := Supervised(get); err == nil || !strings.Contains(err.Error(), `"inprocess" is refused`) {
		t.Errorf("unsupervised: %v", err)
	}
	env["INVOCATION_ID"] = "x"
	if err := Supervised(get); err != nil {
		t.Error(err)
	}
}

// 32: what is embedded and what the workspace has must fit.
func TestCheckVenv(t *testing.T) {
	ctx := context.Background()
	if err := CheckVenv(ctx, python); err != nil {
		t.Errorf("the right venv is refused: %v", err)
	}
	if err := CheckVenv(ctx, os.Getenv("AUTORESEARCH_PYTHON")); err != nil {
		t.Errorf("an interpreter without a venv is refused: %v", err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(bin, "python")
	check := func(want string) {
		t.Helper()
		if err := CheckVenv(ctx, at); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	check("there is no interpreter at " + at + ": make the workspace's venv with `autoresearchd init`, or set trial.python to the one to use")
	if err := os.Symlink("/no/such/python", at); err != nil {
		t.Fatal(err)
	}
	check(at + " points to an interpreter that is gone: make the venv again with `autoresearchd init`")
	os.Remove(at)
	if err := os.Symlink("/bin/sh", at); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte("home = /usr/bin\nversion_info = 3.9.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(at + " is Python 3.9.2, but this binary embeds Python " + pyembed.Version() + ": make the venv again with `autoresearchd init`, or build autoresearchd with AUTORESEARCH_PYTHON set to a Python 3.9")
	os.Remove(filepath.Join(dir, "pyvenv.cfg"))
	if err := CheckVenv(ctx, at); err == nil || !strings.Contains(err.Error(), "does not run as a Python interpreter") {
		t.Errorf("a shell is taken for Python: %v", err)
	}
}
