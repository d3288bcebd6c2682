package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/external"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/sandbox/trespass"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	_ "autoresearchd/search/random"
)

// intruder is a program that is an agent, a strategy or a check by its second
// argument, does what each is there for, and says in its last line by numbers
// what it has reached that is not its own.
func intruder() string {
	return `
import json, sys, tempfile
from pathlib import Path
from beside import twice
at = json.load(open(sys.argv[1]))
kind = sys.argv[2]
` + trespass.Script() + `
reached = [n for n, result in enumerate(results.values()) if result == "reached"]
words = f"{twice(1)}: reached {reached}"
(Path.home() / "note").write_text("x")
tempfile.NamedTemporaryFile().write(b"x")
Path("note").write_text("x")
if kind == "agent":
    (Path.home() / "login" / "token").write_text("renewed")
    source = Path("train.py").read_text()
    Path("train.py").write_text(source.replace("MATRIX_LR = 0.04", "MATRIX_LR = 0.05"))
    print(words)
elif kind == "check":
    folder = Path(json.loads(sys.stdin.readline())["folder"])
    assert "MATRIX_LR = 0.05" in (folder / "train.py").read_text()
    try:
        (folder / "train.py").write_text("")
        words += ", and writes the candidate's folder"
    except OSError:
        pass
    print(words)
else:
    for line in sys.stdin:
        said = json.loads(line)
        if said["type"] == "hello":
            print(json.dumps({"protocol": 1}), flush=True)
        if said["type"] == "ask":
            print(json.dumps({"id": said["id"], "constants": {"MATRIX_LR": 0.05}, "description": words}), flush=True)
`
}

// TestProgramsTrespass has an agent, a check and a program of a strategy try what
// a trial may not. Each is started by the loop as it always is; an agent has the
// network.
func TestProgramsTrespass(t *testing.T) {
	if d := trespass.Daemon(); d != nil {
		trespassing(t, d)
		return
	}
	trespass.Each(t, "", []string{"-test.run=^" + t.Name() + "$"}, func(t *testing.T, out string, confined bool) {
		names := trespass.Names()
		seen := 0
		for line := range strings.Lines(out) {
			who, text, found := strings.Cut(strings.TrimSpace(line), ": 2: reached [")
			if !found {
				continue
			}
			seen++
			text, more, _ := strings.Cut(text, "]")
			var reached []string
			for _, number := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
				n, err := strconv.Atoi(number)
				if err != nil {
					t.Fatal(line)
				}
				reached = append(reached, names[n])
			}
			want := slices.Clone(names)
			switch {
			case confined && who == "agent":
				want = []string{"TCP", "UDP", "DNS"}
			case confined:
				want = nil
			case !trespass.Traceable():
				want = slices.DeleteFunc(want, func(name string) bool { return name == "a trace of the daemon" })
			}
			if !slices.Equal(reached, want) {
				t.Errorf("%s reached %q, not %q", who, reached, want)
			}
			if (more == "") != (confined || who != "check") {
				t.Errorf("%s: %q", who, more)
			}
		}
		if seen != 3 {
			t.Errorf("%d of 3 have spoken:\n%s", seen, out)
		}
	})
}

// trespassing is the daemon: it plays a study with an agent and a check, and one
// with a strategy's program.
func trespassing(t *testing.T, d *trespass.Told) {
	scripts := filepath.Join(d.Root, "scripts")
	must(t, os.MkdirAll(filepath.Join(d.Root, "home", "login"), 0o700))
	must(t, os.MkdirAll(scripts, 0o700))
	must(t, os.WriteFile(filepath.Join(scripts, "intruder.py"), []byte(intruder()), 0o600))
	must(t, os.WriteFile(filepath.Join(scripts, "beside.py"), []byte("def twice(n):\n    return 2 * n\n"), 0o600))
	command := func(kind string) string {
		return fmt.Sprintf("[%q, %q, %q, %q]\n", d.Python(), filepath.Join(scripts, "intruder.py"), filepath.Join(scripts, "at.json"), kind)
	}
	first := intrudedStudy(t, d, "first", "check = "+command("check")+"[search]\nstrategy = \"agent\"\n[search.agent]\nfallback = \"random\"\nwait = \"5m\"\nwrite = [\"~/login\"]\ncommand = "+command("agent"))
	fmt.Println("agent:", first.Trial.Proposal.Description)
	if first.Decision.Answer == nil {
		t.Fatalf("the check was not asked: %+v", first.Decision)
	}
	fmt.Println("check:", first.Decision.Answer.Words)
	if token, err := os.ReadFile(filepath.Join(d.Root, "home/login/token")); string(token) != "renewed" {
		t.Errorf("the agent's login: %q, %v", token, err)
	}
	if !first.Decision.Answer.Agrees {
		t.Errorf("the check: %+v", first.Decision.Answer)
	}
	// What the first reached is not there for the second to reach.
	second := intrudedStudy(t, d, "second", "[search]\nstrategy = \"exec\"\n[search.exec]\nfallback = \"random\"\ndeadline = \"5m\"\ncommand = "+command("exec"))
	fmt.Println("exec:", second.Trial.Proposal.Description)
}

// study plays two trials with the programs of a table, and returns the second.
func intrudedStudy(t *testing.T, d *trespass.Told, name, table string) journal.Record {
	dir := filepath.Join(d.Root, name)
	newWorkspace(t, dir)
	var ends []func()
	defer func() {
		for _, end := range ends {
			end()
		}
	}()
	records, log := programStudyIn(t, dir, 2, table, func(o *external.Options) {
		state := filepath.Join(dir, "state")
		at, end, err := d.Surround(state)
		must(t, err)
		ends = append(ends, end)
		must(t, trespass.Write(filepath.Join(d.Root, "scripts", "at.json"), at))
		box := trainer.Options{Python: d.Python(), Folder: func(id int64) string { return study.Folder(state, id) }, Owner: state}
		o.Sandbox, err = trainer.FindSandbox(&box, d.Sandbox, device.CPU, d.Without)
		must(t, err)
		ends = append(ends, o.Sandbox.Close)
		o.Closed = []string{state}
	})
	if len(records) != 2 {
		t.Fatalf("%d trials:\n%s", len(records), log)
	}
	if words := records[1].Trial.Proposal.Description; !strings.HasPrefix(words, "2: ") {
		t.Fatalf("%s\n%s", words, log)
	}
	return records[1]
}
