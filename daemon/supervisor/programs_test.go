package supervisor

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/external"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/search"
	_ "autoresearchd/search/agent"
	_ "autoresearchd/search/exec"
)

// programStudy runs so many trials of a study in dir, with the programs that a
// table of [search] names, and returns the record.
func programStudy(t *testing.T, dir string, trials int, table string) ([]journal.Record, string) {
	t.Helper()
	return programStudyIn(t, dir, trials, table, func(*external.Options) {})
}

// programStudyIn has options changed once the study's state is there.
func programStudyIn(t *testing.T, dir string, trials int, table string, change func(*external.Options)) ([]journal.Record, string) {
	t.Helper()
	path := filepath.Join(dir, "autoresearch.toml")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "[study]\ntag = %q\nworkspace = \"workspace\"\nstate = \"state\"\n[judge]\nrule = \"greedy\"\n%s", tag, table), 0o644))
	c, err := config.Open(path, nil, config.Known{Strategies: search.Default.Names(), Judges: search.JudgeNames()})
	must(t, err)
	repo, err := lineage.Open(t.Context(), c.Study.Workspace)
	must(t, err)
	j, err := journal.Open(c.Study.State)
	must(t, err)
	defer j.Close()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	scratch := filepath.Join(c.Study.State, "programs")
	options := external.Options{Dir: scratch, Base: dir, Owner: study.Owner(c.Study.State) + ":programs", Log: logger}
	change(&options)
	programs, err := external.New(options)
	must(t, err)
	defer programs.Close()
	s, err := begin(t.Context(), j, repo, Options{Config: c, Registry: search.Default, Devices: []device.Device{{Name: "cpu"}}, Trials: trials, Start: programs.Start,
		Trainer: &swift{state: c.Study.State, journal: j}, Log: logger})
	must(t, err)
	must(t, s.Run(t.Context()))
	if left, _ := os.ReadDir(scratch); len(left) > 0 {
		t.Errorf("the loop has ended, and left %v", left)
	}
	var records []journal.Record
	r, err := journal.OpenReader(c.Study.State)
	must(t, err)
	defer r.Close()
	must(t, r.Replay(func(rec journal.Record) error {
		records = append(records, rec)
		return nil
	}))
	return records, log.String()
}

// exampleCommand is a command of TOML that runs one of scripts/examples.
func exampleCommand(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../scripts/examples", name))
	must(t, err)
	python := os.Getenv("AUTORESEARCH_PYTHON")
	if python == "" {
		t.Fatal("AUTORESEARCH_PYTHON is not set: run tests through scripts/go.sh")
	}
	return fmt.Sprintf("command = [%q, %q]\n", python, path)
}

func proposals(records []journal.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, r.Trial.Proposal.Strategy+": "+r.Trial.Proposal.Description)
	}
	return out
}

// TestExecProgram has a real program propose, and the same after a restart.
func TestExecProgram(t *testing.T) {
	table := "[search]\nstrategy = \"exec\"\n[search.exec]\n" + exampleCommand(t, "random_search.py") + "[search.exec.options]\ndepth = 3\n"
	whole, parts := scratch(t), scratch(t)
	newWorkspace(t, whole)
	newWorkspace(t, parts)
	want, log := programStudy(t, whole, 7, table)
	if len(want) != 7 || strings.Contains(log, "started anew") {
		t.Fatalf("%d trials; %s", len(want), log)
	}
	for _, line := range proposals(want)[1:] {
		if !strings.HasPrefix(line, "exec: ") {
			t.Errorf("%s", line)
		}
	}
	programStudy(t, parts, 3, table)
	got, _ := programStudy(t, parts, 4, table)
	if !slices.Equal(proposals(got), proposals(want)) {
		t.Errorf("with a restart\n%s\nwithout\n%s", strings.Join(proposals(got), "\n"), strings.Join(proposals(want), "\n"))
	}
}

// TestExecProgramIsSetAside has a program that ends at once: the study goes on.
func TestExecProgramIsSetAside(t *testing.T) {
	dir := scratch(t)
	newWorkspace(t, dir)
	got, log := programStudy(t, dir, 4, "[search]\nstrategy = \"exec\"\n[search.exec]\ncommand = [\"/bin/sh\", \"-c\", \"echo no such module >&2; exit 3\"]\nfallback = \"random\"\n")
	for _, line := range proposals(got)[1:] {
		if !strings.HasPrefix(line, "random: ") || !strings.HasSuffix(line, "(random, not exec: set aside, as it ended: exit status 3: no such module)") {
			t.Errorf("%s", line)
		}
	}
	if len(got) != 4 || strings.Count(log, "is set aside") != 1 || strings.Count(log, "started anew") != 2 {
		t.Errorf("%d trials; %s", len(got), log)
	}
}

// TestAgentProgram has a scripted agent edit train.py.
func TestAgentProgram(t *testing.T) {
	dir := scratch(t)
	newWorkspace(t, dir)
	got, log := programStudy(t, dir, 4, "[search]\nstrategy = \"agent\"\n[search.agent]\n"+exampleCommand(t, "agent.py"))
	want := []string{"baseline: baseline", "agent: lower MATRIX_LR to 0.03, as nobody has tried it", "agent: raise MATRIX_LR to 0.05, as nobody has tried it"}
	lines := proposals(got)
	if len(lines) != 4 || !slices.Equal(lines[:3], want) {
		t.Fatalf("%s\n%s", strings.Join(lines, "\n"), log)
	}
	for i, words := range []string{"lower MATRIX_LR to 0.03, as nobody has tried it\n", "raise MATRIX_LR to 0.05, as nobody has tried it\n"} {
		data, err := os.ReadFile(filepath.Join(study.Folder(filepath.Join(dir, "state"), int64(i+2)), "agent.log"))
		if string(data) != words || err != nil {
			t.Errorf("agent.log of trial %d: %q, %v", i+2, data, err)
		}
		if r := got[i+1]; len(r.Trial.Changed) != 1 || r.Trial.Changed[0] != "MATRIX_LR" || len(r.Trial.Proposal.Values) != 1 {
			t.Errorf("trial %d changes %v", i+2, r.Trial.Changed)
		}
	}
}
