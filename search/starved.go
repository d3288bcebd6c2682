package search

import (
	"errors"
	"fmt"
	"slices"
)

// The numbers of the rule, which is to miss a starved run rather than to doubt a
// sound one.
const (
	starvedShare  = 0.5 // of the usual throughput, below which a run was starved
	usualRuns     = 3   // that say what is usual, at the least
	usualRunsMost = 9   // and at the most: the last ones
	hastyTimes    = 4.0 // the fastest of them, beyond which a run is implausible: it may be the first that had its machine alone
)

// Starved reports whether a run is no evidence of its program because something
// else took its machine, and says so with the numbers: its throughput was far
// below the median of those that came before it with the same work on the same
// kind of devices. A budget in steps is the same work however long it takes.
func Starved(done []Result, t Trial, o Outcome) (why string, starved bool) {
	rate, ok := throughput(t.Budget, o)
	if !ok || o.Status != Completed && o.Status != Pruned || t.Budget.Steps > 0 {
		return "", false
	}
	usual := usually(done, t)
	if len(usual) < usualRuns {
		return "", false
	}
	median := (usual[(len(usual)-1)/2] + usual[len(usual)/2]) / 2
	if rate >= starvedShare*median {
		return "", false
	}
	return fmt.Sprintf("starved: %.4g tokens a second, where %.4g are usual of this code with this work: something else used the machine", rate, median), true
}

// Hasty says that a run had far more throughput than any before it with the same
// code, work and kind of devices; "": it had not. It is no verdict, since those
// may all have shared their machine: somebody should look what was counted for
// tokens, and whether they were trained on.
func Hasty(done []Result, t Trial, o Outcome) string {
	rate, ok := throughput(t.Budget, o)
	if !ok || o.Status != Completed {
		return ""
	}
	usual := usually(done, t)
	if len(usual) < usualRuns || rate <= hastyTimes*usual[len(usual)-1] {
		return ""
	}
	return fmt.Sprintf("implausibly fast: %.4g tokens a second, where the fastest of %d runs of this code with this work had %.4g", rate, len(usual), usual[len(usual)-1])
}

// usually returns the throughput, sorted, of the last runs that had a trial's
// code, work, budget and kind of devices.
func usually(done []Result, t Trial) (usual []float64) {
	if t.Code == 0 {
		return nil
	}
	work := workOf(t)
	for _, r := range slices.Backward(done) {
		if len(usual) == usualRunsMost {
			break
		}
		before, ok := throughput(r.Trial.Budget, r.Outcome)
		if ok && r.Outcome.Status == Completed && r.Trial.Code == t.Code && Alike(r.Trial.Kind, t.Kind) && r.Trial.Budget == t.Budget && work == workOf(r.Trial) {
			usual = append(usual, before)
		}
	}
	slices.Sort(usual)
	return usual
}

// throughput is that of a run which has trained for most of its budget: what
// ends by itself before, in seconds of its own, is no measure.
func throughput(b Budget, o Outcome) (tokensPerSecond float64, ok bool) {
	if o.Tokens <= 0 || o.TrainingSeconds <= 0 || o.TrainingSeconds < b.Seconds/2 {
		return 0, false
	}
	return float64(o.Tokens) / o.TrainingSeconds, true
}

// workOf identifies what sets a trial's work for a token: every constant but
// fractions, such as learning rates, and seeds.
func workOf(t Trial) uint64 {
	var sets []Constant
	for _, c := range t.Constants {
		if !isFraction(c.Value) && !isSeed(c.Name) {
			sets = append(sets, c)
		}
	}
	return Fingerprint(sets)
}

func isFraction(v Value) bool {
	if v.Kind() == Tuple {
		return !slices.ContainsFunc(v.Items(), func(item Value) bool { return !isFraction(item) })
	}
	return v.Kind() == Float
}

// Repeats reports whether a trial runs a program again whose last run was void.
// Its own run stands, whatever comes of it.
func Repeats(done []Result, t Trial) bool {
	return IsRerun(t) && slices.ContainsFunc(done, func(r Result) bool { return r.Trial.ID == t.Proposal.Parent && r.Outcome.Void != "" })
}

// Again proposes to run once more what had a void run, with the same seed, on
// the same kind of devices. It comes before whatever else a judge wants to know.
func Again(h History) (Proposal, bool) {
	again := map[int64]bool{}
	note := func(t *Trial) {
		if IsRerun(*t) {
			again[t.Proposal.Parent] = true
		}
	}
	for i := range h.Pending {
		note(&h.Pending[i])
	}
	for i := range h.Done {
		note(&h.Done[i].Trial)
	}
	for _, r := range h.Done {
		if t := r.Trial; r.Outcome.Void != "" && !again[t.ID] && Alike(h.Kind, t.Kind) {
			return Proposal{Strategy: Confirm, Description: t.Proposal.Description, Why: "its last run was void", Parent: t.ID, Seed: t.Seed}, true
		}
	}
	return Proposal{}, false
}

// The errors of Anew.
var (
	ErrRunsAnew = errors.New("it runs again, and others wait for it")
	ErrNotAnew  = errors.New("its runs come to nothing")
)

const (
	anewRuns = 2               // in a row of one program, before it is given up
	anewMemo = `{"anew":true}` // marks them
)

// Anew proposes to run a trial's program again with its seed, for what was lost
// of it. It is asked until that is there again.
func Anew(h History, id int64) (Proposal, error) {
	of := func(t Trial) bool { return IsRerun(t) && t.Proposal.Parent == id }
	if slices.ContainsFunc(h.Pending, of) {
		return Proposal{}, fmt.Errorf("trial %d: %w", id, ErrRunsAnew)
	}
	failed := 0
	for _, r := range slices.Backward(h.Done) {
		if !of(r.Trial) || string(r.Trial.Proposal.Memo) != anewMemo {
			break
		}
		failed++
	}
	if failed >= anewRuns {
		return Proposal{}, fmt.Errorf("trial %d: %w", id, ErrNotAnew)
	}
	for _, r := range h.Done {
		if t := r.Trial; t.ID == id {
			return Proposal{Strategy: Confirm, Description: t.Proposal.Description, Why: "what others are held against was lost", Parent: id, Seed: t.Seed, Memo: []byte(anewMemo)}, nil
		}
	}
	return Proposal{}, fmt.Errorf("trial %d: %w", id, ErrNotAnew)
}
