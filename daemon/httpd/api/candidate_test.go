package api_test

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/search"
)

type candidateDetail struct {
	ID              int64
	Parent          int64
	ValBPB          *float64 `json:"val_bpb"`
	Interval        float64
	Verdict, Reason string
	Failure         string
	Champion        bool
	Claim           string
	ClaimWords      string `json:"claim_words"`
	Diff            string
	Runs            []int64
	AllConstants    map[string]any `json:"all_constants"`
	ComparedWith    struct {
		ID     int64
		ValBPB float64 `json:"val_bpb"`
	} `json:"compared_with"`
	Details []struct {
		Trial struct {
			ID, Candidate int64
			Seed          uint64
		}
		Curve [][]*float64
	} `json:"run_details"`
	Children []int64
}

// TestCandidate asks for all candidates of a study: each has its runs, and every
// one that was kept shows what it changed against its parent candidate.
func TestCandidate(t *testing.T) {
	s, _ := open(t, journaltest.Options{Trials: 120})
	done := s.Loop.History().Done
	champion := s.Loop.Now().Champion
	several, runs := 0, 0
	for _, c := range search.Candidates(search.History{Done: done}) {
		d := get[candidateDetail](t, s.API, fmt.Sprintf("candidates/%d", c.ID))
		want, n := c.Score()
		if d.ID != c.ID || d.Parent != c.Parent || d.Verdict != string(c.Standing) || d.Failure != string(c.Failure) || (d.ValBPB == nil) != (n == 0) || n > 0 && math.Abs(*d.ValBPB-want) > 1e-12 {
			t.Errorf("candidate %d: %+v", c.ID, d)
		}
		var ids []int64
		for _, r := range d.Details {
			if ids = append(ids, r.Trial.ID); r.Trial.Candidate != c.ID {
				t.Errorf("trial %d is no run of candidate %d", r.Trial.ID, c.ID)
			}
		}
		if !slices.Equal(ids, c.Runs) || !slices.Equal(d.Runs, c.Runs) {
			t.Errorf("candidate %d ran as %v, want %v", c.ID, ids, c.Runs)
		}
		if runs += len(ids); len(ids) > 1 {
			several++
		}
		// A made-up study has a proposal that changes nothing.
		if c.Standing == search.StandingKept && c.ID > 1 && c.Description != "nothing changed" && !strings.Contains(d.Diff, "\n+") {
			t.Errorf("candidate %d was kept and differs in nothing: %q", c.ID, d.Diff)
		}
		if d.Champion != (champion.ID == c.ID) {
			t.Errorf("candidate %d: champion %v", c.ID, d.Champion)
		}
		if d.Champion && (d.Claim != champion.Claim || d.Claim == "" || !strings.HasPrefix(d.ClaimWords, d.Claim) || *d.ValBPB != champion.ValBPB) {
			t.Errorf("the champion: %+v, of the status %+v", d, champion)
		}
	}
	if several < 3 || runs != 120 {
		t.Errorf("%d candidates ran more than once, %d runs in all", several, runs)
	}
	again := 0
	for i := range done {
		if search.IsRerun(done[i].Trial) {
			again++
			run := get[struct{ Diff string }](t, s.API, fmt.Sprintf("trials/%d", done[i].Trial.ID))
			own := get[candidateDetail](t, s.API, fmt.Sprintf("candidates/%d", done[i].Trial.Proposal.Parent))
			if run.Diff != own.Diff {
				t.Errorf("trial %d differs by another text than its candidate", done[i].Trial.ID)
			}
			w := ask(t, s.API, fmt.Sprintf("candidates/%d", done[i].Trial.ID))
			if want := fmt.Sprintf("trial %d is a run of candidate %d", done[i].Trial.ID, own.ID); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		}
	}
	if again < 3 {
		t.Errorf("%d re-runs", again)
	}
}

func TestCompare(t *testing.T) {
	s, _ := open(t, journaltest.Options{Trials: 60})
	c := get[struct {
		Candidates []candidateDetail
		Constants  []struct {
			Name   string
			Values []any
		}
		Diffs []struct {
			From, To int64
			Diff     string
		}
	}](t, s.API, "compare?ids=2,3,12,2")
	if len(c.Candidates) != 3 || c.Candidates[2].ID != 12 || len(c.Diffs) != 2 || c.Diffs[1].From != 2 || c.Diffs[1].To != 12 || !strings.Contains(c.Diffs[1].Diff, "\n+") || len(c.Constants) == 0 {
		t.Fatalf("%+v", c)
	}
	differ := map[string]bool{}
	for _, d := range c.Constants {
		differ[d.Name] = true
		for i, v := range d.Values {
			if fmt.Sprint(v) != fmt.Sprint(c.Candidates[i].AllConstants[d.Name]) {
				t.Errorf("%s of candidate %d is %v", d.Name, c.Candidates[i].ID, v)
			}
		}
	}
	for name, v := range c.Candidates[0].AllConstants {
		same := fmt.Sprint(v) == fmt.Sprint(c.Candidates[1].AllConstants[name]) && fmt.Sprint(v) == fmt.Sprint(c.Candidates[2].AllConstants[name])
		if same == differ[name] {
			t.Errorf("%s: the same in all %v, listed %v", name, same, differ[name])
		}
	}
}

// TestGPUHistory has the API read the GPUs although nobody looks.
func TestGPUHistory(t *testing.T) {
	s, _ := open(t, journaltest.Options{Trials: 1})
	var g struct {
		GPUs []struct {
			Name   string
			Points [][]*float64
		}
	}
	for len(g.GPUs) == 0 {
		g = get[struct {
			GPUs []struct {
				Name   string
				Points [][]*float64
			}
		}](t, s.API, "gpus")
	}
	if p := g.GPUs[0].Points[0]; len(g.GPUs) != 2 || *p[1] != 0.98 || *p[3] != 612 || g.GPUs[1].Points[0][1] != nil {
		t.Errorf("%+v", g)
	}
}
