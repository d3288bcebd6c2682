package pyembed

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// python runs work on the one thread that owns the interpreter.
var python = make(chan func(in *Interpreter))

var venv string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pyembed")
	if err != nil {
		panic(err)
	}
	venv = filepath.Join(dir, "venv")
	if out, err := exec.Command(os.Getenv("AUTORESEARCH_PYTHON"), "-m", "venv", "--without-pip", venv).CombinedOutput(); err != nil {
		panic("make a venv with AUTORESEARCH_PYTHON (run tests through scripts/go.sh): " + err.Error() + "\n" + string(out))
	}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		in, err := Start(Config{Executable: filepath.Join(venv, "bin", "python")})
		ready <- err
		for work := range python {
			work(in)
		}
	}()
	if err := <-ready; err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// on runs f on the interpreter's thread and waits for it.
func on(f func(in *Interpreter)) {
	done := make(chan struct{})
	python <- func(in *Interpreter) { defer close(done); f(in) }
	<-done
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, script string, argv ...string) Exit {
	t.Helper()
	path := write(t, "script.py", script)
	var exit Exit
	var err error
	on(func(in *Interpreter) {
		exit, err = in.RunFile(Script{Path: path, Directory: filepath.Dir(path), Argv: append([]string{"script.py"}, argv...)})
	})
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

func TestVersionIsThatOfTheChosenInterpreter(t *testing.T) {
	out, err := exec.Command(os.Getenv("AUTORESEARCH_PYTHON"), "-c", "import platform; print(platform.python_version())").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Version(), strings.TrimSpace(string(out)); got != want {
		t.Errorf("Version() = %q, want %q", got, want)
	}
}

// The script must see what it would see under the venv's own python.
func TestScriptSeesTheVenv(t *testing.T) {
	path := write(t, "look.py", `
import json, sys, os
json.dump({"executable": sys.executable, "prefix": sys.prefix, "base": sys.base_prefix, "argv": sys.argv,
  "path": sys.path, "main": __name__, "file": __file__, "is_main": sys.modules["__main__"].__dict__ is globals(),
  "version": sys.version, "flags": list(sys.flags), "encoding": sys.getfilesystemencoding()}, open(os.environ["LOOK"], "w"))
`)
	look := func(run func(out string)) map[string]any {
		out := filepath.Join(t.TempDir(), "look.json")
		run(out)
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	own := look(func(out string) {
		cmd := exec.Command(filepath.Join(venv, "bin", "python"), path, "a", "b")
		cmd.Env = append(os.Environ(), "LOOK="+out)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
	embedded := look(func(out string) {
		on(func(in *Interpreter) {
			in.Host("look", func([]byte) ([]byte, error) { return []byte(out), nil })
			if err := in.Load("setlook", `import os, _autoresearchd; os.environ["LOOK"] = _autoresearchd.host("look").decode()`, "setlook"); err != nil {
				t.Error(err)
			}
			if _, err := in.RunFile(Script{Path: path, Directory: filepath.Dir(path), Argv: []string{path, "a", "b"}}); err != nil {
				t.Error(err)
			}
		})
	})
	for key, want := range own {
		a, _ := json.Marshal(want)
		b, _ := json.Marshal(embedded[key])
		if string(a) != string(b) {
			t.Errorf("%s: python has %s, embedded %s", key, a, b)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		script, exception string
		code              int
	}{
		{"pass", "", 0},
		{"import sys; sys.exit()", "", 0},
		{"import sys; sys.exit(3)", "", 3},
		{"import sys; sys.exit(-1)", "", 255},
		{"import sys; sys.exit('no')", "", 1},
		{"raise SystemExit(True)", "", 1},
		{"1/0", "ZeroDivisionError", 1},
		{"raise KeyboardInterrupt", "KeyboardInterrupt", 1},
		{"def f(): return f()\nf()", "RecursionError", 1},
		{"x = (", "SyntaxError", 1},
	} {
		exit := run(t, c.script)
		if exit.Code != c.code || exit.Exception != c.exception {
			t.Errorf("%q: code %d exception %q, want %d %q", c.script, exit.Code, exit.Exception, c.code, c.exception)
		}
	}
}

func TestTracebackNamesTheScriptOnly(t *testing.T) {
	exit := run(t, "def f():\n    raise ValueError('bad ' + 'luck')\nf()\n")
	if strings.Contains(exit.Traceback, "glue.py") || !strings.Contains(exit.Traceback, "script.py\", line 3") || exit.Message != "bad luck" {
		t.Errorf("traceback:\n%s\nmessage %q", exit.Traceback, exit.Message)
	}
}

func TestExitFunctionsAndThreadsAreAwaited(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	run(t, `
import atexit, threading, sys
lines = []
done = threading.Event()
def late():
    done.wait()
    lines.append("thread")
t = threading.Thread(target=late); t.start()
def leave():
    lines.append("atexit")
    open(sys.argv[1], "w").write(",".join(lines))
atexit.register(leave)
done.set()
`, out)
	if text, err := os.ReadFile(out); err != nil || string(text) != "thread,atexit" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestRunsFollowOneAnotherCleanly(t *testing.T) {
	run(t, "leak = 1; import sys; sys.path.insert(0, '/nowhere')")
	exit := run(t, "import sys; sys.exit(7 if 'leak' in globals() else 0)")
	if exit.Code != 0 {
		t.Error("a global of the first script is seen by the second")
	}
}

func TestCallAndHost(t *testing.T) {
	on(func(in *Interpreter) {
		if err := in.Load("echo", `
import _autoresearchd
def twice(data): return data + data
def fail(data): raise SystemExit(4)
def nothing(data): return None
def host(data): return _autoresearchd.host("shout", data)
def missing(data): return _autoresearchd.host("no such")
`, "echo.py"); err != nil {
			t.Fatal(err)
		}
		in.Host("shout", func(b []byte) ([]byte, error) {
			if len(b) == 0 {
				return nil, errors.New("nothing to shout")
			}
			return []byte(strings.ToUpper(string(b))), nil
		})
		for _, c := range []struct{ fn, in, out, err string }{
			{"twice", "é", "éé", ""},
			{"nothing", "x", "", ""},
			{"host", "abc", "ABC", ""},
			{"host", "", "", "nothing to shout"},
			{"missing", "", "", `no host function "no such"`},
			{"fail", "", "", "SystemExit"},
			{"absent", "", "", "AttributeError"},
		} {
			got, err := in.Call("echo", c.fn, []byte(c.in))
			if string(got) != c.out || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s(%q) = %q, %v; want %q, error with %q", c.fn, c.in, got, err, c.out, c.err)
			}
		}
	})
}

// A child made by fork has no Go runtime: the host must not be entered there.
func TestHostInAForkedChildDoesNothing(t *testing.T) {
	exit := run(t, `
import os, sys, _autoresearchd
pid = os.fork()
if pid == 0:
    os._exit(5 if _autoresearchd.host("pyembed.glue") == b"" else 6)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`)
	if exit.Code != 5 {
		t.Errorf("child ended with %d, want 5", exit.Code)
	}
}

func TestStartTwiceIsRefused(t *testing.T) {
	if _, err := Start(Config{}); err == nil {
		t.Error("a second interpreter was started")
	}
}
