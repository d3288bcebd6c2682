package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

// luck makes a run's score depend on its seed too.
const luck = "import random\nrandom.seed(1)\nLUCK = 0.004 * random.random()\n"

// TestOneNumber has a study whose champion was run more than once, and finds the
// same number for it wherever the study is shown, in git and in results.tsv too.
func TestOneNumber(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	noisy := script
	for from, to := range map[string]string{"optimizer = Optimizer()": luck + "optimizer = Optimizer()", "evaluate_bpb(2 +": "evaluate_bpb(2 + LUCK +", "DEPTH = 4": "DEPTH = 16"} {
		noisy = strings.Replace(noisy, from, to, 1)
	}
	s.write("workspace/train.py", noisy)
	s.commit()
	s.ok("run", "--trials", "14", "--set", "judge.rule=confirm", "--set", "search.strategy=random")

	var now supervisor.Status
	must(t, json.Unmarshal([]byte(s.ok("status", "--json")), &now))
	c := now.Champion
	if c == nil || c.Runs < 2 || c.ID == 1 || !strings.HasPrefix(c.Claim, "unconfirmed (") {
		t.Fatalf("the champion is %+v\n%s", c, s.ok("trials"))
	}
	number, short := fmt.Sprintf("%.6f", c.ValBPB), c.Commit[:7]
	tip := s.git("rev-parse", "autoresearch/test")
	if tip != c.Commit || s.git("rev-parse", fmt.Sprintf("refs/autoresearch/test/trial/%d", c.ID)) != tip {
		t.Errorf("the branch stands at %s, the champion is %s", tip, c.Commit)
	}
	s.ok("report", "-o", s.path("r.html"))
	s.ok("export", "--format", "csv", "-o", s.path("t.csv"))
	for what, text := range map[string]struct{ in, want string }{
		"status":         {s.ok("status"), fmt.Sprintf("champion  %s, the mean of %d runs of candidate %d (%s)", number, c.Runs, c.ID, short)},
		"claim":          {s.ok("status"), fmt.Sprintf("(gain %.6f, %s)", now.Study.Baseline-c.ValBPB, c.Claim)},
		"show":           {s.ok("show", "best"), fmt.Sprintf("val_bpb      %s, the mean of %d runs", number, c.Runs)},
		"best":           {s.ok("best"), fmt.Sprintf("champion  %s, the mean of %d runs of candidate %d (%s)", number, c.Runs, c.ID, short)},
		"best's gain":    {s.ok("best"), fmt.Sprintf("(gain %.6f, %s)\n", now.Study.Baseline-c.ValBPB, c.Claim)},
		"best's chain":   {s.ok("best"), ", unconfirmed ("},
		"verdict":        {s.ok("show", "best"), "verdict      kept: "},
		"results.tsv":    {s.read("state/results.tsv"), fmt.Sprintf("%s\t%s\t0.0\tkeep\t%s\n", short, number, c.Description)},
		"commit's words": {s.git("log", "-1", "--format=%B", tip), c.Description + "\n\nkeep: "},
		"report":         {s.read("r.html"), fmt.Sprintf("<strong>val_bpb %s</strong>", number)},
		"diff":           {s.ok("diff", "best"), "\n+"},
	} {
		if !strings.Contains(text.in, text.want) {
			t.Errorf("%s lacks %q:\n%s", what, text.want, text.in)
		}
	}

	// What a scrape reads, and the mean of the exported runs.
	r, err := journal.OpenReader(s.path("state"))
	must(t, err)
	defer r.Close()
	board, err := supervisor.Read(r)
	must(t, err)
	if m := board.Snapshot(); *m.BestValBPB != c.ValBPB || *m.BaselineValBPB != now.Study.Baseline || m.Champion != c.Commit || m.Claim == nil || m.Claim.Confirmed || m.Claim.Gain != 0 {
		t.Errorf("a scrape reads %v, %v, %s", *m.BestValBPB, *m.BaselineValBPB, m.Champion)
	}
	rows, err := csv.NewReader(strings.NewReader(s.read("t.csv"))).ReadAll()
	must(t, err)
	sum, n := 0.0, 0
	mean, verdict := slices.Index(rows[0], "candidate_val_bpb"), slices.Index(rows[0], "verdict")
	for _, row := range rows[1:] {
		if bpb, err := strconv.ParseFloat(row[10], 64); err == nil && row[1] == fmt.Sprint(c.ID) {
			sum, n = sum+bpb, n+1
			if row[mean] != strconv.FormatFloat(c.ValBPB, 'g', -1, 64) || row[verdict] != "kept" {
				t.Errorf("run %s is exported with a mean of %s, %s", row[0], row[mean], row[verdict])
			}
		}
	}
	if rows[0][1] != "candidate" || rows[0][10] != "val_bpb" || n != c.Runs || math.Abs(sum/float64(n)-c.ValBPB) > 1e-9 {
		t.Errorf("the exported runs are %d, their mean %g: %q", n, sum/float64(n), rows[0])
	}

	onPage(t, r, s.path("state"), c, now.Study.Baseline)

	// A commit says what was known when its candidate was decided.
	done := board.History().Done
	for i, r := range done {
		if r.Decision.Verdict == search.Keep && r.Trial.Candidate == c.ID {
			_, then := search.Ends(done[:i+1])
			bpb, runs := then.Score()
			if says, want := s.git("log", "-1", "--format=%B", tip), fmt.Sprintf("val_bpb %.6f, the mean of %d runs", bpb, runs); !strings.Contains(says, want) {
				t.Errorf("the commit lacks %q:\n%s", want, says)
			}
		}
	}

	// One commit, ref and row for each candidate that is decided.
	decided := search.Decided(done)
	refs := strings.Fields(s.git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/autoresearch/test"))
	lines := strings.Count(s.read("state/results.tsv"), "\n") - 1
	folders, err := filepath.Glob(s.path("state", "trials", "[0-9]*"))
	must(t, err)
	if len(decided) >= 14 || len(refs) != len(decided) || lines != len(decided) || len(folders) != 14 {
		t.Errorf("%d candidates, %d refs, %d rows, %d runs", len(decided), len(refs), lines, len(folders))
	}
}
