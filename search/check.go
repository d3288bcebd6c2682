package search

import "fmt"

// Question is what a check is told of a candidate that the judge would make the
// champion. All val_bpb are bits per byte, on the kind of devices of Trial.
type Question struct {
	Candidate   int64            `json:"candidate"` // of its first run
	Trial       int64            `json:"trial"`     // the run by which it would be kept
	Parent      int64            `json:"parent"`    // the candidate that it was derived from; 0: the study's own start
	Champion    int64            `json:"champion"`  // the candidate whose place it would take
	Strategy    string           `json:"strategy"`
	Description string           `json:"description"`
	Constants   map[string]Value `json:"constants"` // all of its train.py
	Changed     []string         `json:"changed"`   // names of those that differ from the parent's
	Runs        []QuestionRun    `json:"runs"`      // that have a score
	ValBPB      float64          `json:"val_bpb"`   // mean of the runs
	Gain        float64          `json:"gain"`      // mean of the champion's runs less ValBPB
	PeakVRAM    int64            `json:"peak_vram_bytes"`
	Reason      string           `json:"reason"`          // the judge's
	Claim       *Claim           `json:"claim,omitempty"` // what the judge would say of it as the champion, if it can
	Folder      string           `json:"folder"`          // holds train.py, constants.json, environment.json and run.log of Trial
}

// QuestionRun is a run of a Question's candidate.
type QuestionRun struct {
	Trial  int64   `json:"trial"`
	Seed   uint64  `json:"seed"`
	ValBPB float64 `json:"val_bpb"`
}

// Answer is what a check said of a candidate. It is recorded with the decision
// and part of it: a replay does not ask again.
type Answer struct {
	Agrees bool   `json:"agrees"`           // the candidate is kept
	Failed bool   `json:"failed,omitempty"` // it has not answered: it could not start, hung, or died of a signal
	Ended  string `json:"ended"`            // how: "exit status 3"
	Words  string `json:"words,omitempty"`  // its last line
}

// ToCheck returns what a check is asked before a trial's decision, which is in
// r, stands: where it makes a champion of a candidate that never was. The
// study's first score is not asked about: without it nothing can be tried.
func ToCheck(j Judge, h History, r Result) (q Question, ask bool) {
	if _, scored := r.Score(); r.Decision.Verdict != Keep || !scored {
		return q, false
	}
	l := newLedger(History{Done: h.Done})
	champion := l.champion
	if c, again := l.find(&r.Trial); champion == nil || again && c.kept() {
		return q, false
	}
	base := meanOn(r.Trial.Kind, champion.scored)
	done := append(h.Done[:len(h.Done):len(h.Done)], r)
	l.add(&r)
	c := l.of[r.Trial.ID]
	q = Question{
		Candidate: c.ID, Trial: r.Trial.ID, Parent: c.Parent, Champion: champion.ID, Strategy: c.Strategy, Description: c.Description,
		Constants: map[string]Value{}, Changed: r.Trial.Changed, ValBPB: meanOn(r.Trial.Kind, c.scored), PeakVRAM: c.Peak, Reason: r.Decision.Reason,
	}
	q.Gain = base - q.ValBPB
	for _, k := range r.Trial.Constants {
		q.Constants[k.Name] = k.Value
	}
	for i := range done {
		t := &done[i].Trial
		if bpb, scored := done[i].Score(); scored && l.of[t.ID] == c && Alike(t.Kind, r.Trial.Kind) {
			q.Runs = append(q.Runs, QuestionRun{t.ID, t.Seed, bpb})
			if t.ID == c.ID {
				q.Changed = t.Changed
			}
		}
	}
	if claimer, ok := j.(Claimer); ok {
		claim := claimer.Claim(History{Done: done, Trials: h.Trials})
		q.Claim = &claim
	}
	return q, true
}

// Answered is a decision to keep once a check has answered.
func (d Decision) Answered(a Answer) Decision {
	said := ""
	if a.Words != "" {
		said = ": " + a.Words
	}
	d.Answer = &a
	switch {
	case a.Agrees:
		d.Reason += "; the check agrees" + said
	case a.Failed:
		d.Verdict = Discard
		d.Reason = fmt.Sprintf("the check gave no answer (%s)%s, and without one nothing is kept; the judge: %s", a.Ended, said, d.Reason)
	default:
		d.Verdict = Discard
		d.Reason = fmt.Sprintf("the check vetoes it (%s)%s; the judge: %s", a.Ended, said, d.Reason)
	}
	return d
}

// refused reports whether a check kept the decision from being Keep.
func (d Decision) refused() bool { return d.Answer != nil && !d.Answer.Agrees }
