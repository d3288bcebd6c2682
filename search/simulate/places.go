package simulate

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"autoresearchd/search"
)

// Places says where trials run at once, and what becomes of those that had begun
// when another became the champion. The zero value runs one trial at a time.
type Places struct {
	Pending int   // trials at once; below 2: one
	Drawn   bool  // trials take from half to one and a half of the same time; else all take the same
	Stale   Stale // what a trial does that had begun from what is no longer the champion

	Classes   []Class // of the places, in turn; none: of all scores compare
	ConfirmOn string  // see search.Trial
}

// Class is a kind of devices.
type Class struct {
	Kind   string
	Offset float64 // by which a value measured there is above another's, on the task's own scale
	Until  int     // trials begun, after which its places are gone; 0: they stay
}

// class is that of a place.
func (p Places) class(place int) Class {
	if len(p.Classes) == 0 {
		return Class{}
	}
	return p.Classes[place%len(p.Classes)]
}

// free is the first place where no trial runs; false: there is none.
func (s *Study) free() (place int, ok bool) {
	for place = range max(1, s.Pending) {
		class := s.class(place)
		taken := slices.ContainsFunc(s.History.Pending, func(t search.Trial) bool { return s.at[t.ID] == place })
		if !taken && (class.Until == 0 || s.History.Begun() < class.Until) {
			return place, true
		}
	}
	return 0, false
}

// Stale is a rule for trials that had begun when another became the champion.
// What it changes costs no time here, which is the best that can be said for it.
type Stale string

// The rules.
const (
	Kept    Stale = "keep"   // it runs as it is; the daemon's
	Rebased Stale = "rebase" // it makes the same change to the new champion
	Dropped Stale = "drop"   // another is proposed in its place
)

// Stales lists the rules.
var Stales = []Stale{Kept, Rebased, Dropped}

// Turn begins trials until as many run as there is room for, and brings the
// first that ends to its end.
func (s *Study) Turn() (search.Result, error) {
	for len(s.History.Pending) == 0 || s.Trials == 0 || s.History.Begun() < s.Trials {
		place, ok := s.free()
		if !ok {
			break
		}
		s.place = place
		t, err := s.Ask()
		if err != nil && len(s.History.Pending) > 0 && Exhausted(err) {
			break // what runs may make room for more
		}
		if err != nil {
			return search.Result{}, err
		}
		s.begin(t)
	}
	t := slices.MinFunc(s.History.Pending, func(a, b search.Trial) int {
		return cmp.Or(cmp.Compare(s.ends[a.ID], s.ends[b.ID]), cmp.Compare(a.ID, b.ID))
	})
	s.clock = s.ends[t.ID]
	o, err := s.Measure(t)
	if err != nil {
		return search.Result{}, err
	}
	if err := s.Finish(t, o); err != nil {
		return search.Result{}, err
	}
	r := s.History.Done[len(s.History.Done)-1]
	if r.Decision.Verdict == search.Keep {
		err = s.stale()
	}
	return r, err
}

// begin lets a trial run.
func (s *Study) begin(t search.Trial) {
	took := 1.0
	if s.Drawn {
		took = 0.5 + rand.New(rand.NewPCG(s.seed^0x74696d65, uint64(t.ID))).Float64()
	}
	s.ends[t.ID], s.at[t.ID] = s.clock+took, s.place
	s.History.Pending = append(s.History.Pending, t)
	if p, ok := s.Strategy.(search.Preparer); ok && s.History.Champion.ID != 0 { // as the daemon does while a trial runs
		h := s.History
		h.Pending = slices.Clone(h.Pending)
		p.Prepare(s.ctx, h)
	}
}

// stale deals with the trials that run as one is kept. Re-runs stay.
func (s *Study) stale() error {
	if s.Stale == Kept || s.Stale == "" {
		return nil
	}
	old := s.History.Pending
	s.History.Pending = nil
	for _, t := range old {
		if !search.IsRerun(t) {
			var err error
			if t, err = s.renew(t); err != nil {
				return err
			}
		}
		s.History.Pending = append(s.History.Pending, t)
	}
	return nil
}

// renew is what runs in a trial's place.
func (s *Study) renew(t search.Trial) (search.Trial, error) {
	var fresh search.Trial
	var err error
	s.place = s.at[t.ID]
	switch s.Stale {
	case Dropped:
		if fresh, err = s.Ask(); Exhausted(err) {
			return t, nil
		}
	case Rebased:
		p := t.Proposal
		if p.Source != nil { // an edit starts from a whole source
			return t, nil
		}
		p.Parent = s.History.Champion.ID
		if fresh, err = s.Admit(p); err != nil {
			return t, nil // the champion has not its constants
		}
	}
	if err == nil {
		s.sources[t.ID], fresh.ID = fresh.Source, t.ID
		s.next--
	}
	return fresh, err
}
