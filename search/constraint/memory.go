package constraint

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"autoresearchd/search"

	"gonum.org/v1/gonum/floats"
)

// feature is one input of the regression: the logarithm of a number over the
// champion's, or whether a flag or word differs from it.
type feature struct {
	constant string
	element  int // of a tuple, -1: the constant itself
	start    search.Value
	prior    coefficient
}

// The priors of the slopes. A whole number is likely to be a size. Doubling one
// multiplies the memory by at most 2 to 4; a float (a learning rate) hardly matters.
var (
	size   = coefficient{mean: 0.25, spread: 0.5, positive: true}
	share  = coefficient{mean: 0, spread: 0.15, positive: true}
	choice = coefficient{mean: 0, spread: 0.2}
)

const (
	latest      = 400  // trials that are learned from
	noise       = 0.1  // of the logarithm, at first: what linearity leaves out
	timeNoise   = 0.15 // the same for the time
	otherCode   = 0.25 // more of it, for trials whose code is not the champion's
	usable      = 0.97 // share of a device's memory that a trial can have
	headroom    = 0.7  // prior of log(limit / champion's memory): about twice
	headroomDev = 0.7
)

// model predicts what a trial will take.
type model struct {
	o        Options
	h        search.History
	features []feature

	memory    fitted  // coefficients: intercept, features, and the limit with a minus
	scale     float64 // champion's memory, bytes, about; 0: trials report none
	knowsRoom bool    // a limit is known or has been met
	noise     float64
	time      fitted
	timed     bool
	timeNoise float64
}

func learn(h search.History, o Options) *model {
	m := &model{o: o, h: h}
	for _, c := range h.Champion.Constants {
		m.add(c.Name, -1, c.Value)
	}
	m.learnMemory()
	m.learnTime()
	return m
}

func (m *model) add(name string, element int, v search.Value) {
	f := feature{constant: name, element: element, start: v}
	switch v.Kind() {
	case search.Int:
		if v.Whole() <= 0 {
			f.prior = choice
		} else {
			f.prior = size
		}
	case search.Float:
		if v.Number() <= 0 {
			return
		}
		f.prior = share
	case search.Bool, search.String:
		f.prior = choice
	case search.Tuple:
		for i, item := range v.Items() {
			m.add(name, i, item)
		}
		return
	default:
		return
	}
	m.features = append(m.features, f)
}

// of is a feature of a trial; 0 where the trial is like the champion, or has
// no such constant.
func (f *feature) of(consts []search.Constant) float64 {
	at := slices.IndexFunc(consts, func(c search.Constant) bool { return c.Name == f.constant })
	if at < 0 {
		return 0
	}
	v := consts[at].Value
	if f.element >= 0 {
		if f.element >= len(v.Items()) {
			return 0
		}
		v = v.Items()[f.element]
	}
	switch {
	case v.Kind() == search.String && f.start.Kind() == search.String:
		return lettersApart(f.start.Text(), v.Text())
	case f.prior == choice:
		if v.Equal(f.start) {
			return 0
		}
		return 1
	case v.Number() > 0:
		return math.Log(v.Number() / f.start.Number())
	}
	return 0
}

// lettersApart is how far the share of L, or of the highest letter that both
// have, differs: the layers with long windows are the dear ones. Words that are
// no patterns are equal or not.
func lettersApart(a, b string) float64 {
	if a == b {
		return 0
	}
	if a == "" || b == "" || strings.ToUpper(a) != a || strings.ToUpper(b) != b || strings.Trim(b, "LS") != "" {
		return 1
	}
	part := func(s string) float64 { return float64(strings.Count(s, "L")) / float64(len(s)) }
	return part(b) - part(a)
}

func (m *model) inputs(consts []search.Constant) []float64 {
	x := []float64{1}
	for i := range m.features {
		x = append(x, m.features[i].of(consts))
	}
	return x
}

// recent calls visit with the trials that are learned from, and whether each
// has the champion's code.
func (m *model) recent(visit func(r *search.Result, same bool)) {
	version := map[int64]int64{}
	for i := range m.h.Done {
		t := &m.h.Done[i].Trial
		version[t.ID] = version[t.Proposal.Parent]
		if len(t.Proposal.Source) > 0 {
			version[t.ID] = t.ID
		}
	}
	for i := max(0, len(m.h.Done)-latest); i < len(m.h.Done); i++ {
		r := &m.h.Done[i]
		visit(r, version[r.Trial.ID] == version[m.h.Champion.ID])
	}
}

func peak(o *search.Outcome) float64 {
	if o.PeakVRAM > 0 {
		return float64(o.PeakVRAM)
	}
	return float64(o.ScriptPeakVRAM)
}

// learnMemory fits log(memory/limit). The last coefficient is the logarithm of
// limit/scale, so that both are learned at once where the limit is not given.
func (m *model) learnMemory() {
	largest := 0.0
	for i := range m.h.Done {
		r := &m.h.Done[i]
		if v := peak(&r.Outcome); v > 0 && r.Outcome.Status == search.Completed {
			if m.scale == 0 || r.Trial.ID == m.h.Champion.ID {
				m.scale = v
			}
			largest = math.Max(largest, v)
		}
		m.knowsRoom = m.knowsRoom || r.Outcome.Status == search.OutOfMemory
	}
	m.knowsRoom = m.knowsRoom || m.o.Memory > 0 && m.scale > 0
	if !m.knowsRoom {
		return
	}
	prior := []coefficient{{0, 0.3, false}}
	for _, f := range m.features {
		prior = append(prior, f.prior)
	}
	limit := coefficient{headroom, headroomDev, true}
	if m.o.Memory > 0 && m.scale > 0 {
		limit = coefficient{math.Log(usable * float64(m.o.Memory) / m.scale), 0.02, false}
	}
	prior = append(prior, limit)
	var data []observation
	m.recent(func(r *search.Result, same bool) {
		o := observation{x: append(m.inputs(r.Trial.Constants), 0), noise: noise}
		if !same {
			o.noise = math.Hypot(noise, otherCode)
		}
		last := len(o.x) - 1
		switch v := peak(&r.Outcome); {
		case r.Outcome.Status == search.OutOfMemory:
			o.kind = above // the limit: x·w - limit > 0
			o.x[last] = -1
		case r.Outcome.Status != search.Completed && r.Outcome.Status != search.Pruned:
			return
		case v > 0:
			o.value = math.Log(v / m.scale)
		default:
			o.kind = below
			o.x[last] = -1
		}
		data = append(data, o)
	})
	if largest > 0 { // what has been had is below the limit
		o := observation{x: make([]float64, len(prior)), kind: above, value: math.Log(largest / m.scale), noise: noise / 5}
		o.x[len(o.x)-1] = 1
		data = append(data, o)
	}
	m.memory, m.noise = settle(prior, data, noise)
}

// settle fits, looks how far the readings are from the fit, and fits again with
// that for the noise: it may be a third of what is assumed, or twice.
func settle(prior []coefficient, data []observation, assumed float64) (fitted, float64) {
	f := regress(prior, data)
	sum, n := 2*assumed*assumed, 2.0
	for _, o := range data {
		if o.kind == exact && o.noise <= assumed { // those of the same code
			by := o.value - floats.Dot(o.x, f.w)
			sum += by * by
			n++
		}
	}
	by := math.Min(2, math.Max(1./3, math.Sqrt(sum/n)/assumed))
	for i := range data {
		if data[i].noise <= assumed {
			data[i].noise *= by
		}
	}
	return regress(prior, data), assumed * by
}

// learnTime fits the logarithm of the seconds to the first step.
func (m *model) learnTime() {
	if m.o.FirstStep <= 0 {
		return
	}
	var data []observation
	usual := 0.0
	m.recent(func(r *search.Result, same bool) {
		took := r.Outcome.Phases[search.Startup] + r.Outcome.Phases[search.Compile]
		if took <= 0 {
			return
		}
		o := observation{x: m.inputs(r.Trial.Constants), value: math.Log(took), noise: timeNoise}
		if !same {
			o.noise = math.Hypot(o.noise, otherCode)
		}
		_, trained := r.Outcome.Phases[search.Train]
		switch {
		case r.Outcome.Status == search.Completed, r.Outcome.Status == search.Pruned, trained:
			if usual == 0 || r.Trial.ID == m.h.Champion.ID {
				usual = o.value
			}
		case r.Outcome.Status == search.TimedOut: // it was stopped on its way there
			o.kind = above
		default:
			return
		}
		data = append(data, o)
	})
	if usual == 0 {
		return
	}
	prior := []coefficient{{usual, 0.5, false}}
	for _, f := range m.features {
		prior = append(prior, f.prior)
	}
	m.time, m.timeNoise = settle(prior, data, timeNoise)
	m.timed = true
}

// risk is the larger of the probabilities that a trial runs out of memory and
// that it is too slow to start.
type risk struct {
	chance float64
	reason string
}

func (m *model) risk(consts []search.Constant) risk {
	x := m.inputs(consts)
	var out risk
	if m.knowsRoom {
		over, doubt := m.memory.predict(append(slices.Clone(x), -1))
		out.chance = phi(over / math.Hypot(doubt, m.noise))
		if m.scale > 0 {
			limit := m.scale * math.Exp(m.memory.w[len(m.memory.w)-1])
			out.reason = fmt.Sprintf("it is expected to need %s of memory, and there are %s: it does not fit with a probability of %.0f %%", gib(limit*math.Exp(over)), gib(limit), 100*out.chance)
		} else {
			out.reason = fmt.Sprintf("it is expected to need %.2f times the memory that there is: it does not fit with a probability of %.0f %%", math.Exp(over), 100*out.chance)
		}
	}
	if m.timed {
		mean, doubt := m.time.predict(x)
		if late := phi((mean - math.Log(m.o.FirstStep)) / math.Hypot(doubt, m.timeNoise)); late > out.chance {
			out = risk{late, fmt.Sprintf("its first step is expected after %.0f s, and may take %.0f s: it is too slow with a probability of %.0f %%", math.Exp(mean), m.o.FirstStep, 100*late)}
		}
	}
	return out
}

func gib(bytes float64) string { return fmt.Sprintf("%.1f GiB", bytes/(1<<30)) }
