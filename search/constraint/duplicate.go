package constraint

import (
	"fmt"
	"math"

	"autoresearchd/search"
)

// duplicates knows what has been tried.
type duplicates struct {
	h    search.History
	near float64
	code map[int64]uint64 // Skeleton by trial
}

func newDuplicates(h search.History, near float64) *duplicates {
	d := &duplicates{h, near, map[int64]uint64{}}
	for i := range h.Done {
		d.note(&h.Done[i].Trial)
	}
	for i := range h.Pending {
		d.note(&h.Pending[i])
	}
	return d
}

func (d *duplicates) note(t *search.Trial) { d.code[t.ID] = d.skeleton(t) }

// skeleton is a trial's code without the values of its constants. A trial that
// changes only these has its parent's, and its source need not be read.
func (d *duplicates) skeleton(t *search.Trial) uint64 {
	if t.Code != 0 {
		return t.Code
	}
	if len(t.Proposal.Source) == 0 {
		if code, ok := d.code[t.Proposal.Parent]; ok {
			return code
		}
	}
	source := t.Source
	if len(source) == 0 {
		source = t.Proposal.Source
	}
	return Skeleton(source, t.Constants)
}

// of returns the trial that t repeats, whether they differ all the same, and in
// words; 0 if it is new. Trials that were interrupted may be tried again.
func (d *duplicates) of(t *search.Trial) (id int64, near bool, reason string) {
	code := d.skeleton(t)
	print := search.Fingerprint(t.Constants)
	u := d.h.Space.Encode(t.Constants)
	compare := func(o *search.Trial) bool {
		if o.ID == t.ID || o.Seed != t.Seed || d.code[o.ID] != code {
			return false
		}
		if search.Fingerprint(o.Constants) == print {
			if len(t.Proposal.Source) > 0 {
				reason = fmt.Sprintf("but for comments and layout its train.py is that of trial %d", o.ID)
			} else {
				reason = fmt.Sprintf("trial %d has the same constants", o.ID)
			}
			return true
		}
		if near = d.near > 0 && d.alike(u, t, o); near {
			reason = fmt.Sprintf("its constants are within %.2g %% of a range of those of trial %d", 100*d.near, o.ID)
		}
		return near
	}
	for i := range d.h.Done {
		r := &d.h.Done[i]
		if r.Outcome.Status == search.Interrupted {
			continue
		}
		if compare(&r.Trial) {
			return r.Trial.ID, near, reason
		}
	}
	for i := range d.h.Pending {
		if compare(&d.h.Pending[i]) {
			return d.h.Pending[i].ID, near, reason
		}
	}
	return 0, false, ""
}

// alike reports whether two trials differ only in constants that are searched
// as continuous numbers, and there by less than near.
func (d *duplicates) alike(u []float64, t, o *search.Trial) bool {
	if len(t.Constants) != len(o.Constants) {
		return false
	}
	var v []float64
	dims := d.h.Space.Dimensions()
	for _, name := range search.Changed(o.Constants, t.Constants) {
		found := false
		for i := range dims {
			if dims[i].Constant != name {
				continue
			}
			found = true
			if v == nil {
				v = d.h.Space.Encode(o.Constants)
			}
			// What is moved to an end of its range is not comparable there.
			if dims[i].Notch(u[i]) > 0 && u[i] != v[i] || math.Abs(u[i]-v[i]) > d.near || u[i] <= 0 || u[i] >= 1 {
				return false
			}
		}
		if !found {
			return false
		}
	}
	return true
}
