package evolution

import (
	"math"
	"strings"

	"autoresearchd/search"
)

const (
	maxVetoes = 100 // the latest failures that are remembered
	same      = 1e-6
)

// veto is what one failure teaches: a half-space on the dimensions that are to
// blame, those in which it differs from the trial that it was made from. It
// holds only where the other sizes (powers of two) are the same, as DEPTH 12
// may fit with half the batch; and running out of memory also forbids what is
// at least as large in every whole number.
type veto struct {
	u      []float64
	from   []float64
	blame  []int
	memory bool
}

func (m *model) rules() {
	for i := len(m.trials) - 1; i >= 0 && len(m.vetoes) < maxVetoes; i-- {
		t := m.trials[i]
		failed := t.status == search.OutOfMemory || t.status == search.Crashed || t.status == search.TimedOut || t.status == search.Diverged
		if !failed {
			continue
		}
		from := m.nearest(t)
		if from == nil {
			continue
		}
		v := veto{u: t.u, from: from, memory: t.status == search.OutOfMemory}
		for k := range t.u {
			if math.Abs(t.u[k]-from[k]) > same {
				v.blame = append(v.blame, k)
			}
		}
		if len(v.blame) == 0 {
			continue
		}
		if !m.refuted(v) {
			m.vetoes = append(m.vetoes, v)
		}
	}
}

// nearest is the point of the scored trial that a failure was made from, else
// of the scored one that is closest.
func (m *model) nearest(t trial) []float64 {
	if t.parent >= 0 && m.trials[t.parent].ok {
		return m.trials[t.parent].u
	}
	var best []float64
	least := math.Inf(1)
	for _, o := range m.trials {
		if !o.ok {
			continue
		}
		far := 0.0
		for k := range t.u {
			far += math.Abs(t.u[k] - o.u[k])
		}
		if far < least {
			least, best = far, o.u
		}
	}
	return best
}

func (m *model) refuted(v veto) bool {
	for _, o := range m.trials {
		if o.ok && m.beyond(v, o.u) {
			return true
		}
	}
	return false
}

func (m *model) beyond(v veto, u []float64) bool {
	for _, k := range v.blame {
		d := &m.dims[k]
		switch far := u[k] - v.u[k]; {
		case d.Scale == search.Grid && !d.Ordered:
			if math.Abs(far) > same {
				return false
			}
		case v.u[k] > v.from[k] && far < -same, v.u[k] < v.from[k] && far > same:
			return false
		}
	}
	for k := range m.dims {
		if m.size(k) && math.Abs(u[k]-v.u[k]) > same && math.Abs(v.u[k]-v.from[k]) <= same {
			return false
		}
	}
	return true
}

func (m *model) size(k int) bool {
	d := &m.dims[k]
	return d.Scale == search.Grid && d.Ordered && d.Start.Kind() == search.Int
}

func (m *model) vetoed(u []float64) bool {
	for _, v := range m.vetoes {
		if m.beyond(v, u) || v.memory && m.larger(v, u) {
			return true
		}
	}
	return false
}

func (m *model) larger(v veto, u []float64) bool {
	for k := range m.dims {
		if m.dims[k].Start.Kind() == search.Int && u[k] < v.u[k]-same {
			return false
		}
	}
	return true
}

// repair moves a size's relative along with it, by the same factor: a total
// batch that was halved wants its device batch halved too. It reports whether
// u is no longer vetoed; if not, u is as it was.
func (m *model) repair(u []float64) bool {
	start := m.space.Start()
	for i := range m.dims {
		by := u[i] - start[i]
		if !m.size(i) || math.Abs(by) < same {
			continue
		}
		notches := by * float64(len(m.dims[i].Choices))
		for k := range m.dims {
			if k == i || !m.size(k) || math.Abs(u[k]-start[k]) > same || !related(m.dims[i].Constant, m.dims[k].Constant) {
				continue
			}
			old := u[k]
			u[k] += notches / float64(len(m.dims[k].Choices))
			if u[k] > 0 && u[k] < 1 && !m.vetoed(u) {
				return true
			}
			u[k] = old
		}
	}
	return false
}

// related reports whether two names share a word, such as BATCH.
func related(a, b string) bool {
	for _, w := range strings.Split(a, "_") {
		if w != "SIZE" && len(w) > 2 {
			for _, x := range strings.Split(b, "_") {
				if w == x {
					return true
				}
			}
		}
	}
	return false
}
