package evolution

import (
	"cmp"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"autoresearchd/search"
)

// trial is a finished trial in the champion's space.
type trial struct {
	id     int64
	u      []float64
	score  float64 // val_bpb in bits per byte
	ok     bool    // it has a score
	kept   bool
	status search.Status
	parent int // index in model.trials, -1 if unknown
	memo   memo
}

// member is a trial of the population.
type member struct {
	id    int64
	u     []float64
	score float64
	sigma map[string]float64
}

// model is what the history teaches, rebuilt at each Ask.
type model struct {
	o        Options
	space    search.Space
	dims     []search.Dimension
	champion member
	scored   bool // the champion has a score
	known    int  // trials that have begun
	running  int  // of them, those that are not decided
	trials   []trial
	members  []member
	weights  []float64 // of the members
	weight   []float64 // how readily a dimension is mutated
	rank     []int     // order of the opening, low first
	lines    []line
	hot      int // dimension whose last move helped, -1: none
	vetoes   []veto
	uses     map[string]float64 // proposals by operator
	gains    map[string]float64 // of those, how many became the champion
	scale    float64            // of all steps, by the success rule
	surface  *surface
	apart    []gain    // beside the champion's line
	before   []float64 // the champion's parent; nil: unknown, or no worse
	stacked  int       // children of the champion that stack bred
}

func learn(o Options, h search.History, r *rand.Rand) *model {
	m := &model{
		o: o, space: h.Space, dims: h.Space.Dimensions(), known: h.Begun(), running: len(h.Pending) - h.Vetoed, hot: -1,
		champion: member{id: h.Champion.ID, u: h.Space.Start()},
		uses:     map[string]float64{}, gains: map[string]float64{},
	}
	m.hints()
	m.read(h)
	m.populate(h)
	m.rules()
	m.moves(h, r)
	m.gather(h)
	return m
}

// The ranks of the opening.
const (
	rankBatch = iota
	rankRate
	rankShare
	rankOther
	rankLast
)

// hints orders the constants by what most often pays, from their names.
func (m *model) hints() {
	for i := range m.dims {
		words := strings.Split(m.dims[i].Constant, "_")
		has := func(list ...string) bool {
			return slices.ContainsFunc(list, func(w string) bool { return slices.Contains(words, w) })
		}
		rank, weight := rankOther, 1.0
		switch {
		case has("DEVICE", "EPS", "MICRO"):
			rank, weight = rankLast, 0.4
		case has("RATIO", "FRAC", "DECAY", "WD", "WARMDOWN", "WARMUP", "DEPTH", "LAYERS"):
			rank, weight = rankShare, 1.5
		case has("LR", "RATE"):
			rank, weight = rankRate, 2.5
		case has("BATCH"):
			rank, weight = rankBatch, 2
		}
		m.rank, m.weight = append(m.rank, rank), append(m.weight, weight)
	}
}

// read returns what a trial carries; the zero value if it is not of this strategy.
func read(t *search.Trial) (n memo) {
	if t.Proposal.Strategy != Name || json.Unmarshal(t.Proposal.Memo, &n) != nil {
		return memo{}
	}
	return n
}

func (m *model) read(h search.History) {
	at := make(map[int64]int, len(h.Done))
	recent, helped := 0.0, 0.0
	recall := max(m.o.Lifetime, 150) // older notes no longer count, and reading them takes most of an Ask
	for n, r := range h.Done {
		t := trial{id: r.Trial.ID, u: m.space.Encode(r.Trial.Constants), status: r.Outcome.Status, parent: -1, kept: r.Decision.Verdict == search.Keep}
		t.score, t.ok = r.Score()
		if p, ok := at[r.Trial.Proposal.Parent]; ok {
			t.parent = p
		}
		noted := n >= len(h.Done)-recall || t.id == m.champion.id
		if noted && r.Trial.Proposal.Strategy == Name && json.Unmarshal(r.Trial.Proposal.Memo, &t.memo) == nil {
			m.uses[t.memo.Op]++
			gain := 0.0
			if r.Decision.Verdict == search.Keep {
				gain = 1
			}
			m.gains[t.memo.Op] += gain
			if t.memo.Op == opMutate || t.memo.Op == opCross {
				recent, helped = 0.9*recent+1, 0.9*helped+gain
			}
			for op := range m.uses { // what helped long ago need not help now
				m.uses[op] *= 0.98
				m.gains[op] *= 0.98
			}
		}
		if t.id == m.champion.id {
			m.champion.score, m.scored = t.score, t.ok
			m.champion.sigma = t.memo.Sigma
		}
		at[t.id] = len(m.trials)
		m.trials = append(m.trials, t)
	}
	// Rechenberg's rule: longer steps while more than a fifth of them help.
	m.scale = math.Exp(1.2 * ((helped+0.6)/(recent+3) - 0.2))
}

// populate takes the best of those that are not too old, and the champion.
func (m *model) populate(h search.History) {
	children := map[int64]float64{}
	for _, t := range m.trials {
		for _, p := range t.memo.Parents {
			children[p]++
		}
	}
	for i := range h.Pending {
		for _, p := range read(&h.Pending[i]).Parents {
			children[p]++
		}
	}
	young := max(0, len(m.trials)-m.o.Lifetime)
	for _, t := range m.trials[young:] {
		if t.ok && t.id != m.champion.id {
			m.members = append(m.members, member{id: t.id, u: t.u, score: t.score, sigma: t.memo.Sigma})
		}
	}
	slices.SortStableFunc(m.members, func(a, b member) int { return cmp.Compare(a.score, b.score) })
	if len(m.members) > m.o.Population-1 {
		m.members = m.members[:m.o.Population-1]
	}
	m.members = append([]member{m.champion}, m.members...)
	// By rank, the best 4 and the worst -4 on the sigmoid: val_bpb's own scale
	// is a few 1e-4 late in a study and a few 1e-1 at its start.
	for i := range m.members {
		z := 4.0
		if n := len(m.members); n > 1 {
			z = 4 - 8*float64(i)/float64(n-1)
		}
		weight := 1 / (1 + math.Exp(-z)) / (1 + 0.3*children[m.members[i].id])
		if i == 0 {
			weight = math.Max(weight, 0.5)
		}
		m.weights = append(m.weights, weight)
	}
}

func (m *model) parent(r *rand.Rand) member { return m.members[draw(r, m.weights)] }
