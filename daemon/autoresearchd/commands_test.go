package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// night is a study with trials of each decision: the baseline, one that was
// cancelled, and three that a person asked for.
func night(t *testing.T) *fixture {
	t.Helper()
	s := newStudy(t)
	s.write("workspace/train.py", strings.Replace(script, "print()\n", "print()\nif DEPTH == 7:\n    raise ValueError('seven\\tlayers \"fall\" # apart')\n", 1))
	s.commit()
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start("--trials", "4")
	s.training(2)
	for _, set := range []string{"MATRIX_LR=0.05", "DEPTH=2", "DEPTH=7"} {
		s.ok("suggest", "--set", set)
	}
	s.ok("cancel")
	d.until("trial ends")
	s.open()
	if code := d.end(); code != 0 {
		t.Fatalf("ended with %d", code)
	}
	return s
}

func TestCommandsOnARecord(t *testing.T) {
	t.Parallel()
	s := night(t)

	var rows []map[string]any
	must(t, json.Unmarshal([]byte(s.ok("trials", "--json")), &rows))
	for _, r := range rows {
		for _, key := range []string{"id", "commit", "parent", "strategy", "description", "constants", "decision", "verdict", "reason", "val_bpb", "interval", "runs"} {
			if _, ok := r[key]; !ok {
				t.Errorf("trials --json lacks %s: %v", key, r)
			}
		}
	}
	verdicts := []string{}
	for _, r := range rows {
		verdicts = append(verdicts, fmt.Sprint(r["decision"], " ", r["verdict"]))
	}
	if got := strings.Join(verdicts, ", "); got != "keep kept, pending interrupted, keep kept, discard discarded, crash crashed" {
		t.Errorf("verdicts: %s", got)
	}
	rows = nil
	must(t, json.Unmarshal([]byte(s.ok("trials", "--runs", "--json")), &rows))
	words := []string{}
	for _, r := range rows {
		for _, key := range []string{"id", "candidate", "commit", "parent", "strategy", "description", "constants", "seed", "status", "decision", "reason", "val_bpb",
			"peak_vram_bytes", "tokens", "num_steps", "training_seconds", "wall_seconds", "phases", "started_at"} {
			if _, ok := r[key]; !ok {
				t.Errorf("trials --runs --json lacks %s: %v", key, r)
			}
		}
		words = append(words, r["decision"].(string))
	}
	if got := strings.Join(words, " "); got != "keep discard keep discard crash" {
		t.Fatalf("decided %s", got)
	}
	if changed := rows[2]["constants"].(map[string]any); len(changed) != 1 || changed["MATRIX_LR"] != 0.05 {
		t.Errorf("changed %v", changed)
	}
	if !strings.Contains(rows[4]["reason"].(string), "seven") {
		t.Errorf("the crash's reason is %v", rows[4]["reason"])
	}

	var now map[string]any
	must(t, json.Unmarshal([]byte(s.ok("status", "--json")), &now))
	for _, key := range []string{"study", "state", "champion", "seats", "candidates", "runs", "rate_per_hour"} {
		if _, ok := now[key]; !ok {
			t.Errorf("status --json lacks %s", key)
		}
	}
	best := now["champion"].(map[string]any)
	if best["id"] != 3.0 || best["val_bpb"] != 2.02 || best["runs"] != 1.0 {
		t.Errorf("the champion is %v", best)
	}
	if _, ok := best["claim"].(string); !ok {
		t.Errorf("the champion has no claim: %v", best)
	}
	if seats, ok := now["seats"].([]any); !ok || len(seats) != 0 {
		t.Errorf("no daemon runs, and there are the seats %v", now["seats"])
	}
	if runs := now["runs"]; runs != 5.0 {
		t.Errorf("status --json counts %v runs", runs)
	}
	if tried := now["candidates"].(map[string]any); tried["total"] != 5.0 || tried["kept"] != 2.0 {
		t.Errorf("status --json counts %v candidates", tried)
	}

	commit := rows[2]["commit"].(string)
	show := s.ok("show", "3")
	for _, id := range []string{commit, "best", commit[:7]} {
		if got := s.ok("show", id); got != show {
			t.Errorf("show %s differs from show 3:\n%s", id, got)
		}
	}
	for want, command := range map[string][]string{
		"MATRIX_LR = 0.05":                     {"show", "3"},
		"+MATRIX_LR = 0.05  # of the matrices": {"diff", "3"},
		"-DEPTH = 2":                           {"diff", "4", "1"},
		"step 00013":                           {"log", "3"},
		`layers "fall" # apart`:                {"log", "5"},
		"2.020000":                             {"trials"},
		"5 candidates in 5 runs: 2 kept, 1 discarded, 1 interrupted, 1 failed (1 crashed); ": {"status"},
		"population = 16":                {"strategies"},
		"is sound":                       {"check"},
		"searched in train.py at commit": {"check"},
	} {
		if got := s.ok(command...); !strings.Contains(got, want) {
			t.Errorf("%q does not say %q:\n%s", command, want, got)
		}
	}
	for _, command := range [][]string{{"show", "3", "--json"}, {"diff", "3", "--json"}, {"strategies", "--json"}, {"log", "3", "--json"}, {"check", "--json"}} {
		var any any
		if err := json.Unmarshal([]byte(s.ok(command...)), &any); err != nil {
			t.Errorf("%q: %v", command, err)
		}
	}

	// The venv has no torch, and doctor says so.
	var findings []struct{ Part, State, Remedy string }
	out, _, code := s.cli("doctor", "--json")
	must(t, json.Unmarshal([]byte(out), &findings))
	faults := ""
	for _, f := range findings {
		if f.State == "fault" {
			faults += f.Part
			if f.Remedy == "" {
				t.Errorf("%s is a fault without a remedy", f.Part)
			}
		}
	}
	if code != 1 || faults != "torch" {
		t.Errorf("doctor ended with %d and finds fault with %q", code, faults)
	}

	s.ok("plot", "-o", s.path("p.png"))
	data, err := os.ReadFile(s.path("p.png"))
	must(t, err)
	if _, err := png.Decode(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}

	again := s.ok("reproduce", "3")
	if !strings.Contains(again, "2.020000") || !strings.Contains(again, "difference +0.000000") {
		t.Errorf("reproduce says\n%s", again)
	}

	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "no trial 9", []string{"show", "9"}},
		{1, "no trial", []string{"diff", "abcdef0"}},
		{2, "there is no command", []string{"fandango"}},
		{2, "has no flag", []string{"trials", "--colour"}},
		{2, "show needs a trial", []string{"show"}},
		{2, "give a positive number", []string{"run", "--trials", "-1"}},
		{2, "study.trialz", []string{"run", "--set", "study.trialz=1"}},
		{1, "no daemon", []string{"cancel"}},
	} {
		_, fault, code := s.cli(c.args...)
		if code != c.code || !strings.Contains(fault, c.want) || strings.Count(fault, "\n") > 1 {
			t.Errorf("%q ended with %d and said %q, want %d and %q", c.args, code, fault, c.code, c.want)
		}
	}
}

func TestVerbsWhileItRuns(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start()
	s.training(2)
	for want, set := range map[string]string{
		"MATRIX_RL": "MATRIX_RL=0.05", // no such constant
		"DEPTH":     "DEPTH=deep",
		"NAME":      "DEPTH",
	} {
		if _, fault, code := s.cli("suggest", "--set", set); code == 0 || !strings.Contains(fault, want) {
			t.Errorf("suggest --set %s ended with %d: %s", set, code, fault)
		}
	}
	s.ok("pause")
	s.ok("cancel")
	d.until("trial ends")
	s.poll("the pause", func() bool { return strings.Contains(s.ok("status", "--json"), `"state": "paused"`) })
	s.ok("resume")
	d.until("trial begins")
	s.training(3)
	follow := s.command("log", "3", "-f")
	var log bytes.Buffer
	follow.Stdout = &log
	must(t, follow.Start())
	s.ok("stop")
	s.open()
	if code := d.end(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	must(t, follow.Wait())
	if !strings.Contains(log.String(), "val_bpb: 2.0") {
		t.Errorf("log -f printed %q", log.String())
	}
	rows := s.trials()
	if len(rows) != 3 || rows[1].Status != "interrupted" || rows[2].Status != "completed" {
		t.Errorf("recorded %+v", rows)
	}
	// An ended study stays ended until somebody says otherwise, daemon or not.
	s.ok("run", "--trials", "1")
	if len(s.trials()) != 3 {
		t.Error("an ended study went on")
	}
}

func TestSocketIsTheGroups(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	s.start()
	info, err := os.Stat(s.path("state/autoresearchd.sock"))
	must(t, err)
	if info.Mode().Perm() != 0o660 {
		t.Errorf("the socket has mode %o", info.Mode().Perm())
	}
}

// TestImport takes over what an agent left, and goes on from its champion.
func TestImport(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.git("checkout", "-q", "-b", "autoresearch/mar8")
	results := "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
	add := func(from, to, row string) {
		t.Helper()
		s.write("workspace/train.py", strings.Replace(s.read("workspace/train.py"), from, to, 1))
		if from != to {
			s.git("commit", "-q", "-a", "-m", to)
		}
		results += s.git("rev-parse", "--short=7", "HEAD") + "\t" + row + "\n"
		if !strings.Contains(row, "keep") {
			s.git("reset", "-q", "--hard", "HEAD~1")
		}
	}
	add("", "", "2.030000\t1.5\tkeep\tbaseline")
	add("MATRIX_LR = 0.04", "MATRIX_LR = 0.05", "2.020000\t1.5\tkeep\tmatrix lr 0.05")
	add("DEPTH = 4", "DEPTH = 3", "2.030000\t1.2\tdiscard\tshallower")
	add("import os", "import os (", "0.000000\t0.0\tcrash\tbroken")
	results += "abcdef1\t2.1\t0.0\tdiscard\tgone\n"
	s.write("workspace/results.tsv", results)
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), "tag = \"test\"\n", "", 1))

	want := "imported 4 trials of study mar8; the champion is " + s.git("rev-parse", "--short=7", "HEAD") + " with val_bpb 2.020000: matrix lr 0.05\n" +
		"left out: line 6: abcdef1 discard \"gone\": git does not have the commit\nnext: autoresearchd --config DIR/autoresearch.toml run"
	for range 2 { // a second time changes nothing
		if got := s.stable(s.ok("import", s.path("workspace"))); got != want {
			t.Errorf("said\n%s\nwant\n%s", got, want)
		}
	}
	s.ok("run", "--trials", "1")
	rows := s.trials()
	words := ""
	for _, r := range rows {
		words += r.Strategy + " " + r.Decision + ", "
	}
	if len(rows) != 5 || !strings.HasPrefix(words, "imported keep, imported keep, imported discard, imported crash, evolution ") || rows[4].Parent != 2 {
		t.Errorf("recorded %s %+v", words, rows)
	}
	if got := s.read("state/results.tsv"); !strings.HasPrefix(got, strings.TrimSuffix(results, "abcdef1\t2.1\t0.0\tdiscard\tgone\n")) {
		t.Errorf("results.tsv is\n%s\nafter\n%s", got, results)
	}
	if changed := rows[2].Constants; changed["DEPTH"] != 3.0 {
		t.Errorf("trial 3 changed %v", changed)
	}

	elsewhere := newStudy(t)
	for want, command := range map[string][]string{
		"set study.workspace to that folder": {"import", s.path("workspace")},
		"read what was tried: ":              {"import", elsewhere.path("workspace")},
	} {
		if _, fault, code := elsewhere.cli(command...); code == 0 || !strings.Contains(fault, want) {
			t.Errorf("%q: %d %s", command, code, fault)
		}
	}
}

// TestVersion wants the same of the command as of the flag, in words and as JSON.
func TestVersion(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	var a about
	must(t, json.Unmarshal([]byte(s.ok("version", "--json")), &a))
	if !regexp.MustCompile(`^3\.1\d\.\d+$`).MatchString(a.Python) || a.Version == "" || a.Build.Go != runtime.Version() || a.Build.Platform != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("says %+v", a)
	}
	for _, how := range []string{"version", "--version"} {
		if out := s.ok(how); !strings.Contains(out, a.Version) || !strings.Contains(out, a.Python) {
			t.Errorf("%s says %q, and --json %+v", how, out, a)
		}
	}
}
