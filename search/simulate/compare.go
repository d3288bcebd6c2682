package simulate

import (
	"math"
	"slices"

	"autoresearchd/search"
)

// Finished is what one study of a comparison came to.
type Finished struct {
	Task     string             `json:"task"`
	Strategy string             `json:"strategy"`
	Seed     uint64             `json:"seed"`
	Regret   []float64          `json:"regret"` // after each trial, normalised
	Failed   float64            `json:"failed"` // share of the trials without a value
	Ask      float64            `json:"ask_seconds"`
	Shares   map[string]float64 `json:"shares"`            // of the trials, by who proposed them
	Instead  map[string]int     `json:"instead,omitempty"` // trials that a fallback proposed, by which, for whom and why
	Asked    int                `json:"-"`                 // proposals that the strategy was asked for

	best  []float64
	value []float64
}

// SumUp sums up a study of so many trials; one that ended before, as everything
// had been tried, stands still.
func SumUp(s *Study, strategy string, seed uint64, trials int) Finished {
	f := Finished{Task: s.Task.Name, Strategy: strategy, Seed: seed, best: slices.Clone(s.Best), value: s.Values, Shares: map[string]float64{}}
	for _, r := range s.History.Done {
		f.Shares[r.Trial.Proposal.Strategy] += 1 / float64(len(s.History.Done))
		if why := r.Trial.Proposal.Instead; why != "" {
			if f.Instead == nil {
				f.Instead = map[string]int{}
			}
			f.Instead[r.Trial.Proposal.Strategy+" in place of "+why]++
		}
		if _, ok := r.Score(); !ok {
			f.Failed += 1 / float64(len(s.History.Done))
		}
	}
	for len(f.best) < trials {
		f.best = append(f.best, f.best[len(f.best)-1])
	}
	best, middling := s.Task.Scale()
	f.normalise(best, middling)
	return f
}

// Hollow reports whether a fallback proposed all that the strategy was asked for.
func (f Finished) Hollow() bool { return f.Asked > 0 && f.StoodIn() == f.Asked }

// StoodIn is how many trials a fallback proposed.
func (f Finished) StoodIn() int {
	n := 0
	for _, trials := range f.Instead {
		n += trials
	}
	return n
}

// normalise sets the regret: 0 is best and 1 middling, or worse.
func (f *Finished) normalise(best, middling float64) {
	f.Regret = make([]float64, len(f.best))
	for i, v := range f.best {
		x := 1.0
		if middling > best {
			x = (v - best) / (middling - best)
		} else if v <= best {
			x = 0
		}
		if math.IsNaN(x) {
			x = 1
		}
		f.Regret[i] = math.Round(1e6*math.Min(1, math.Max(0, x))) / 1e6
	}
}

// Rescale normalises studies of a task whose truth nobody knows by what they
// found themselves: 0 is the best value of all, 1 their first.
func Rescale(all []Finished) {
	best, first := math.Inf(1), math.Inf(-1)
	for _, f := range all {
		for _, v := range f.value {
			if v < best {
				best = v
			}
		}
		if len(f.value) > 0 && f.value[0] > first {
			first = f.value[0]
		}
	}
	for i := range all {
		all[i].normalise(best, first)
	}
}

// Interval is a mean and half of its 95 % interval.
type Interval struct {
	Mean float64
	Half float64 // NaN of a single value
	N    int
}

// NewInterval sums up independent values by Student's t.
func NewInterval(values []float64) Interval {
	i := Interval{Mean: math.NaN(), Half: math.NaN(), N: len(values)}
	if i.N > 0 {
		i.Mean = mean(values)
	}
	if i.N > 1 {
		square := 0.0
		for _, v := range values {
			square += (v - i.Mean) * (v - i.Mean)
		}
		n := float64(i.N)
		i.Half = search.StudentT(0.975, n-1) * math.Sqrt(square/(n-1)/n)
	}
	return i
}

// Regret is the mean normalised regret after so many trials.
func Regret(all []Finished, trial int) Interval {
	var values []float64
	for _, f := range all {
		if n := len(f.Regret); n > 0 {
			values = append(values, f.Regret[min(trial, n)-1])
		}
	}
	return NewInterval(values)
}
