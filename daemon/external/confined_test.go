package external_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"autoresearchd/daemon/external"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/search"
)

func init() {
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		runtime.LockOSThread() // as the daemon's main does
	}
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		if status, ok := sandbox.Stage(os.Args[2:], func(err error) { fmt.Fprintln(os.Stderr, err) }); ok {
			os.Exit(status)
		}
	}
	os.Exit(m.Run())
}

// boxed has programs run in each sandbox that this machine has, beside a state
// folder and a key in the folder of autoresearch.toml.
func boxed(t *testing.T, test func(t *testing.T, o external.Options)) {
	for name, without := range map[string]sandbox.Leave{"with a root of its own": {}, "without": {Spaces: true}} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			for name, text := range map[string]string{"autoresearch.toml": "hook", "openai.key": "k-1", "words": "open", "state/journal.db": "record"} {
				path := filepath.Join(o.Base, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			o.Dir = filepath.Join(o.Base, "state", "programs")
			for _, name := range []string{"autoresearch.toml", "openai.key", "state"} {
				o.Closed = append(o.Closed, filepath.Join(o.Base, name))
			}
			var err error
			o.Sandbox, err = sandbox.Find(sandbox.Wish{Mode: sandbox.Require, Owner: "x", Command: "trainer", Like: sandbox.Policy{Read: sandbox.Mapped(), Write: []string{o.Base}}, Without: without})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(o.Sandbox.Close)
			test(t, o)
		})
	}
}

func script(t *testing.T, o external.Options, name, text string) search.Command {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.Base, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return search.Command{Argv: []string{"./" + name}, Output: 1 << 16}
}

// TestProgramBesideTheState is one whose folder is autoresearch.toml's: it reads
// what lies there, and nothing of the daemon's.
func TestProgramBesideTheState(t *testing.T) {
	boxed(t, func(t *testing.T, o external.Options) {
		here, err := filepath.EvalSymlinks(o.Base)
		if err != nil {
			t.Fatal(err)
		}
		c := script(t, o, "tell.sh", "#!/bin/sh\ncd "+here+"\nfor f in words autoresearch.toml openai.key state/journal.db; do cat $f 2>/dev/null || echo ' no'; done\necho x >made\n")
		r := start(t, programs(t, o), c)
		done(t, r)
		if out := string(r.Output()); out != "open no\n no\n no\n" {
			t.Errorf("%q %v %s", out, r.Err(), r.Tail())
		}
		if _, err := os.Stat(filepath.Join(here, "made")); err == nil {
			t.Error("it has made a file there")
		}
	})
}

// TestConfinedEnds are told as those of programs that are not confined.
func TestConfinedEnds(t *testing.T) {
	boxed(t, func(t *testing.T, o external.Options) {
		p := programs(t, o)
		for _, c := range []struct{ text, want, tail string }{
			{"#!/bin/sh\nexit 3\n", "exit status 3", ""},
			{"#!/bin/sh\nkill -9 $$\n", "signal: killed", ""},
			{"#!/nowhere/sh\n", "it could not be started in its sandbox", "no such file or directory"},
		} {
			r := start(t, p, script(t, o, "end.sh", c.text))
			done(t, r)
			if r.Err() == nil || r.Err().Error() != c.want || !strings.Contains(r.Tail(), c.tail) {
				t.Errorf("%v, not %s: %s", r.Err(), c.want, r.Tail())
			}
			_, exited := r.Err().(interface{ ExitCode() int })
			if exited != strings.HasPrefix(c.want, "exit") {
				t.Errorf("%s: it has an exit status", c.want)
			}
		}
	})
}

// TestLent has the configuration open what is there, and nothing of the daemon's.
func TestLent(t *testing.T) {
	boxed(t, func(t *testing.T, o external.Options) {
		home := t.TempDir()
		t.Setenv("HOME", home)
		if err := os.MkdirAll(filepath.Join(home, ".agent"), 0o755); err != nil {
			t.Fatal(err)
		}
		p := programs(t, o)
		c := shell("echo token >~/.agent/login && cat ~/.agent/login; ls -A ~")
		c.Output, c.Write = 1<<10, []string{"~/.agent"}
		r := start(t, p, c)
		done(t, r)
		if out := string(r.Output()); out != "token\n.agent\n" {
			t.Errorf("%q %v %s", out, r.Err(), r.Tail())
		}
		if data, err := os.ReadFile(filepath.Join(home, ".agent/login")); string(data) != "token\n" {
			t.Errorf("%q %v", data, err)
		}
		for path, want := range map[string]string{"~/.other": "no such file", "state": "is the daemon's own", ".": "is the daemon's own", "state/journal.db": "is the daemon's own"} {
			c.Write, c.Read = nil, []string{path}
			if _, err := p.Start(context.Background(), c); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
}
