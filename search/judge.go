package search

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// MaxPlausibleBPB is the largest val_bpb, in bits per byte, that is believed:
// guessing among 256 bytes costs 8, and a model far worse than that is broken.
const MaxPlausibleBPB = 20

// Judge concludes what a finished trial means for the study. h.Champion is the
// champion before r, its zero value if there is none yet, and h.Done holds the
// finished trials before r; h.Space may be empty. A Judge is pure: the same
// history and result give the same Decision.
type Judge interface {
	Judge(h History, r Result) Decision
}

var judges = map[string]Judge{"greedy": greedy{}}

// JudgeNames lists the rules that a configuration can name, sorted.
func JudgeNames() []string { return sortedNames(judges) }

// LookupJudge returns the rule of that name, or an error that lists the known ones.
func LookupJudge(name string) (Judge, error) {
	if j, ok := judges[name]; ok {
		return j, nil
	}
	return nil, fmt.Errorf("unknown judge rule %q: known are %s", name, strings.Join(JudgeNames(), ", "))
}

// greedy is upstream's rule: keep what is strictly lower than the champion's
// val_bpb, discard the rest, call everything without a score a crash.
type greedy struct{}

func (greedy) Judge(h History, r Result) Decision {
	if d, ok := unscored(r.Outcome); ok {
		return d
	}
	bpb := r.Outcome.ValBPB
	l := newLedger(h)
	c := l.of[h.Champion.ID]
	if c == nil || len(c.scored) == 0 {
		return Decision{Verdict: Keep, Reason: fmt.Sprintf("val_bpb %.6f is the first score, the one to beat", bpb)}
	}
	theirs := on(r.Trial.Kind, c.scored)
	own := IsRerun(r.Trial) && l.of[r.Trial.Proposal.Parent] == c
	if len(theirs) == 0 || own {
		return unlike(bpb, r.Trial.Kind, own)
	}
	switch best := meanOf(theirs); {
	case bpb < best:
		return Decision{Verdict: Keep, Reason: fmt.Sprintf("val_bpb %.6f is %s below the champion's %.6f", bpb, difference(best-bpb), best)}
	case bpb == best:
		return Decision{Verdict: Discard, Reason: fmt.Sprintf("val_bpb %.6f equals the champion's", bpb)}
	default:
		return Decision{Verdict: Discard, Reason: fmt.Sprintf("val_bpb %.6f is %s above the champion's %.6f", bpb, difference(bpb-best), best)}
	}
}

// Rerun implements Rerunner: the champion runs first on a kind of devices on
// which it has no score.
func (greedy) Rerun(h History) (Proposal, bool) {
	l := newLedger(h)
	c := l.of[h.Champion.ID]
	if c == nil || len(c.scored) == 0 || len(on(h.Kind, c.scored)) > 0 {
		return Proposal{}, false
	}
	for _, r := range l.running[c] {
		if r.kind == h.Kind {
			return Proposal{}, false
		}
	}
	return again(c, h.Champion.Seed, "to have its score on "+h.Kind), true
}

// unscored decides what no rule may keep. A pruned or interrupted trial ran
// well as far as it went, so it is discarded: a crash would tell readers of
// results.tsv, and strategies that learn from crashes, that the code is at fault.
func unscored(o Outcome) (Decision, bool) {
	switch o.Status {
	case Completed:
		if !Plausible(o.ValBPB) {
			return Decision{Verdict: Crash, Reason: fmt.Sprintf("completed, but val_bpb %g is not a score: it must be above 0 and at most %d", o.ValBPB, MaxPlausibleBPB)}, true
		}
		return Decision{}, false
	case Pruned, Interrupted:
		if o.Void != "" {
			return Decision{Verdict: Discard, Reason: o.Void + ": no evidence, so it is run once more"}, true
		}
		return Decision{Verdict: Discard, Reason: because(string(o.Status)+" before it had a score", o.Detail)}, true
	case "":
		return Decision{Verdict: Crash, Reason: "it has no outcome"}, true
	}
	return Decision{Verdict: Crash, Reason: because(string(o.Status), o.Detail)}, true
}

// because adds the last line of a detail, which is where tracebacks say what happened.
func because(what, detail string) string {
	detail = strings.TrimSpace(detail)
	if at := strings.LastIndexByte(detail, '\n'); at >= 0 {
		detail = strings.TrimSpace(detail[at+1:])
	}
	if detail == "" {
		return what
	}
	return what + ": " + detail
}

// difference keeps a gain below the sixth decimal from reading as zero.
func difference(d float64) string {
	if d < 5e-7 {
		return fmt.Sprintf("%.1e", d)
	}
	return fmt.Sprintf("%.6f", d)
}

// Plausible reports whether a val_bpb, in bits per byte, can be a score.
func Plausible(bpb float64) bool {
	return bpb > 0 && bpb <= MaxPlausibleBPB && !math.IsNaN(bpb)
}

// Score returns a trial's val_bpb, if it completed with a plausible one.
func (r Result) Score() (bpb float64, ok bool) {
	return r.Outcome.ValBPB, r.Outcome.Status == Completed && Plausible(r.Outcome.ValBPB)
}

// ScoreOf returns the val_bpb of a finished trial in h.
func ScoreOf(h History, id int64) (bpb float64, ok bool) {
	for _, r := range slices.Backward(h.Done) {
		if r.Trial.ID == id {
			return r.Score()
		}
	}
	return 0, false
}
