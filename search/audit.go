package search

// ToAudit says when a trial is scored once more in a fresh process that has only
// its saved weights and the code of its model.
type ToAudit struct {
	Bar  float64 `json:"bar"`  // val_bpb up to which it is
	Must bool    `json:"must"` // others of the study were: what may be kept must be, too
}

// Audited is what came of that.
type Audited struct {
	ValBPB  float64 `json:"val_bpb"` // bits per byte
	Proof   *Proof  `json:"proof,omitempty"`
	Seconds float64 `json:"seconds"` // from the start of the process to its end
}

// NextAudit is what is to be audited of a trial that is to begin: a first run
// that scores as its rule asks of a champion, and every re-run, on which a keep
// may rest.
func NextAudit(h History, t Trial) *ToAudit {
	a := &ToAudit{Bar: MaxPlausibleBPB}
	for _, r := range h.Done {
		a.Must = a.Must || r.Outcome.Fresh != nil
	}
	l := newLedger(h)
	if c := l.of[h.Champion.ID]; c != nil && !IsRerun(t) {
		if theirs := on(t.Kind, c.scored); len(theirs) > 0 {
			a.Bar = meanOf(theirs)
		}
	}
	return a
}
