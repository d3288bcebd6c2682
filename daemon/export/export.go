// Package export writes a study's record for other tools: a table for
// spreadsheets and data frames, runs for MLflow, curves for TensorBoard.
package export

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// byRun finds the candidate that a trial is a run of.
func byRun(candidates []record.Candidate) func(journal.Record) record.Candidate {
	of := map[int64]record.Candidate{}
	for _, c := range candidates {
		of[c.ID] = c
	}
	return func(r journal.Record) record.Candidate { return of[r.Trial.Candidate] }
}

// CSV writes a row for each finished trial: what was proposed, what came of it
// and of its candidate, and every constant in a column of its own. What is
// unknown stays empty.
func CSV(w io.Writer, trials []journal.Record) error {
	of := byRun(record.Candidates(trials))
	names := map[string]bool{}
	for _, r := range trials {
		for _, c := range r.Trial.Constants {
			names[c.Name] = true
		}
	}
	var constants []string
	for name := range names {
		constants = append(constants, name)
	}
	slices.Sort(constants)
	head := []string{
		"id", "candidate", "parent", "commit", "strategy", "description", "decision", "reason", "status", "detail", "val_bpb", "seed", "device", "started_at",
		"training_seconds", "wall_seconds", "num_steps", "tokens", "peak_vram_bytes", "script_peak_vram_bytes", "exit_code",
		"verdict", "candidate_val_bpb", "candidate_interval", "candidate_runs", "class", "candidate_class",
	}
	for _, p := range search.Phases {
		head = append(head, string(p)+"_seconds")
	}
	for _, name := range constants {
		head = append(head, "constant_"+name)
	}
	out := csv.NewWriter(w)
	if err := out.Write(head); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	for _, r := range trials {
		t, o := r.Trial, r.Outcome
		if o.Status == "" {
			continue
		}
		row := []string{
			strconv.FormatInt(t.ID, 10), strconv.FormatInt(t.Candidate, 10), strconv.FormatInt(t.Proposal.Parent, 10), r.Commit, cell(t.Proposal.Strategy), cell(t.Proposal.Description),
			string(r.Decision.Verdict), cell(r.Decision.Reason), string(o.Status), cell(o.Detail), score(r), strconv.FormatUint(t.Seed, 10), t.Device, stamp(t.StartedAt),
			number(o.TrainingSeconds), number(o.WallSeconds), strconv.Itoa(o.Steps), strconv.FormatInt(o.Tokens, 10),
			strconv.FormatInt(o.PeakVRAM, 10), strconv.FormatInt(o.ScriptPeakVRAM, 10), strconv.Itoa(o.ExitCode),
		}
		c := of(r)
		row = append(row, string(c.Verdict), "", "", strconv.Itoa(len(c.Runs)), cell(t.Kind), cell(c.Class))
		if c.ValBPB != nil {
			row[len(row)-5], row[len(row)-4] = number(*c.ValBPB), number(c.Interval)
		}
		for _, p := range search.Phases {
			seconds, ok := o.Phases[p]
			row = append(row, "")
			if ok {
				row[len(row)-1] = number(seconds)
			}
		}
		values := map[string]string{}
		for _, c := range t.Constants {
			values[c.Name] = c.Value.Literal()
			if c.Value.Kind() == search.String {
				values[c.Name] = cell(c.Value.Text())
			}
		}
		for _, name := range constants {
			row = append(row, values[name])
		}
		if err := out.Write(row); err != nil {
			return fmt.Errorf("write the table: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// cell makes foreign text one visible line that no spreadsheet takes for a
// formula.
func cell(s string) string {
	s = lineage.Escape(strings.TrimSpace(s))
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}

func score(r journal.Record) string {
	if bpb, ok := r.Score(); ok {
		return number(bpb)
	}
	return ""
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// ended is when a trial ended.
func ended(r journal.Record) time.Time {
	return r.Trial.StartedAt.Add(time.Duration(r.Outcome.WallSeconds * float64(time.Second)))
}

// File replaces the file at path by what write writes, or leaves it as it was.
func File(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
