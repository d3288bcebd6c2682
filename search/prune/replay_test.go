package prune_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/prune"
)

// recorded is a line of testdata/curves.jsonl.gz (scripts/record_curves.sh).
type recorded struct {
	Study  string
	ID     int64
	Status search.Status
	ValBPB float64 `json:"val_bpb"`
	Again  bool    // another run of its parent
	Loss   []float64
}

// steps is the budget of all that is recorded.
var steps = search.Budget{Steps: 100}

// studies are the recorded ones by name, each in the order in which it ran, the
// baseline first, without the runs that were made again.
func studies(t *testing.T) map[string][]recorded {
	t.Helper()
	file, err := os.Open("testdata/curves.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]recorded{}
	for lines := bufio.NewScanner(text); lines.Scan(); {
		var r recorded
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if !r.Again && r.Status == search.Completed {
			out[r.Study] = append(out[r.Study], r)
		}
	}
	return out
}

// replayed is what came of a study that was played again.
type replayed struct {
	prune.Tally
	spent float64 // of the budgets of all trials, without and with the rule 1 each
	wrong int     // condemned that were better than the champion, whether they ran on or not
	early float64 // share of the trials that were ended early
	worse float64 // share of the trials that did not beat the champion
	best  float64 // val_bpb of the last champion
}

// replay plays recorded trials in this order under a rule.
func replay(t *testing.T, trials []recorded, name string) replayed {
	t.Helper()
	rule, err := prune.New(name)
	if err != nil {
		t.Fatal(err)
	}
	judge, err := search.LookupJudge("greedy")
	if err != nil {
		t.Fatal(err)
	}
	var h search.History
	var out replayed
	for _, past := range trials {
		trial := search.Trial{ID: int64(len(h.Done) + 1), Budget: steps, Device: "cpu", Code: 1, Seed: uint64(past.ID),
			Constants: []search.Constant{{Name: "TRIAL", Value: search.IntValue(past.ID)}}}
		r := search.Result{Trial: trial, Outcome: search.Outcome{Status: search.Completed, ValBPB: past.ValBPB}}
		watch, spent := rule.Watch(trial), 1.0
		for step, loss := range past.Loss {
			p := search.Point{Step: step, Loss: loss}
			if r.Outcome.Status == search.Completed {
				r.Outcome.Curve = append(r.Outcome.Curve, p)
			}
			if v, condemned := watch.Point(p); condemned {
				r.Outcome.Condemned = &v.Condemned
				if past.ValBPB < out.best {
					out.wrong++
				}
				if !v.RunsOn {
					r.Outcome.Status, r.Outcome.ValBPB, spent = search.Pruned, 0, steps.Share(p)
					break
				}
			}
		}
		r.Decision = judge.Judge(h, r)
		if h.Done = append(h.Done, r); r.Decision.Verdict == search.Keep {
			h.Champion, out.best = trial, past.ValBPB
		} else {
			out.worse += 1 / float64(len(trials))
		}
		rule.Add(r, out.best)
		out.spent += spent / float64(len(trials))
		if spent < 1 {
			out.early += 1 / float64(len(trials))
		}
	}
	out.Tally = prune.Count(h.Done)
	return out
}

// TestRecordedStudies replays real studies of the CPU starter, as they went and
// in other orders, with the rule and without: what it ends early, what that
// saves, and what of the gain it costs. scripts/bench.sh pruning prints it.
func TestRecordedStudies(t *testing.T) {
	const orders = 300
	all := studies(t)
	if len(all) < 2 {
		t.Fatalf("%d studies are recorded", len(all))
	}
	t.Log("a first look at 70 % of the budget gives at most 1.43 times the ideas; oracle: if it knew then who will not beat the champion; whole: with a tenth of the budget spent before the training, and 3 % on the evaluation")
	t.Logf("%-14s %6s %10s %10s %8s %9s %9s %9s %9s %9s %9s", "study", "trials", "condemned", "ended at", "ran on", "mistakes", "wrong", "training", "oracle", "whole", "gain lost")
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range all {
			if !yield(name) {
				return
			}
		}
	}) {
		for _, shuffled := range []bool{false, true} {
			trials := slices.Clone(all[name])
			best := math.Inf(1)
			for _, r := range trials {
				best = min(best, r.ValBPB)
			}
			gain := trials[0].ValBPB - best
			n := 1
			label := name
			if shuffled {
				n, label = orders, fmt.Sprintf("  in %d orders", orders)
			}
			var sum replayed
			var lost float64
			r := rand.New(rand.NewPCG(1, 2))
			for range n {
				if shuffled {
					r.Shuffle(len(trials)-1, func(i, j int) { trials[i+1], trials[j+1] = trials[j+1], trials[i+1] })
				}
				off := replay(t, trials, prune.Off)
				if off.spent < 1-1e-9 || off.best != best || off.Condemned != 0 {
					t.Fatalf("%s without a rule: %+v", name, off)
				}
				on := replay(t, trials, "median")
				sum.Condemned, sum.RanOn, sum.Mistakes = sum.Condemned+on.Condemned, sum.RanOn+on.RanOn, sum.Mistakes+on.Mistakes
				sum.wrong += on.wrong
				sum.spent += on.spent / float64(n)
				sum.early += on.early / float64(n)
				sum.worse += off.worse / float64(n)
				lost += (on.best - best) / gain / float64(n)
			}
			ideas := 1 / sum.spent
			most := 1 / (1 - 0.3*sum.worse)
			whole := 1.13 / (0.1 + sum.spent + 0.03*(1-sum.early))
			t.Logf("%-14s %6d %9.1f%% %9.1f%% %8d %9d %8.2f%% %8.3fx %8.3fx %8.3fx %8.2f%%", label, len(trials),
				100*float64(sum.Condemned)/float64(n*len(trials)), 100*(1-(1-sum.spent)/max(sum.early, 1e-9)), sum.RanOn, sum.Mistakes, float64(sum.wrong)/float64(max(1, sum.Condemned))*100, ideas, most, whole, 100*lost)
			if lost > 0.02 || sum.Mistakes*20 > sum.RanOn {
				t.Errorf("%s: %.1f %% of the gain is lost, %d mistakes of %d that ran on", label, 100*lost, sum.Mistakes, sum.RanOn)
			}
			if ideas > most {
				t.Errorf("%s: %.3f times the ideas, where who knew all would come to %.3f", label, ideas, most)
			}
		}
	}
}
