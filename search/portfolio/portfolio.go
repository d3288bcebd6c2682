// Package portfolio asks several strategies in turn, and more often those that
// have gained more for the time that their trials took.
//
// Every arm is told every trial, whoever proposed it, and none a number that was
// not measured: cmaes leaves out what another arm tried in vain. Which arm is asked is
// drawn by Thompson sampling on discounted counts (discounted Thompson
// sampling, arXiv 1707.09727): a trial rewards its arm by how it ranks among
// the trials before it, and by how much more than that it was worth if it beat
// them all, as credit by area under the curve does in OpenTuner (PACT 2014). An
// arm whose trials take longer than the others' is asked less in proportion. A
// floor keeps each arm alive, since what pays changes during a study. The first
// arm opens, until there is something to model. A
// language model's share has a ceiling: 10 to 30 % is robust even for a weak
// model, 80 % ruins the search (arXiv 2603.24647), so that it begins with
// little and earns the rest.
//
// The draw reads the history alone, so that a study goes on after a restart as
// it would have gone on without.
package portfolio

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"autoresearchd/search"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "portfolio"

// Options is the [search.portfolio] table.
type Options struct {
	Arms     []string `toml:"arms" doc:"strategies to ask; llm takes part where [llm] is enabled"`
	Opening  int      `toml:"opening" doc:"trials at the start in which the first arm stands in for every other that models the space"`
	Memory   float64  `toml:"memory" doc:"trials after which a reward counts for a third"`
	Floor    float64  `toml:"floor" doc:"least share of each arm"`
	LLMShare float64  `toml:"llm_share" doc:"largest share of a language model, which starts with a sixth of it and earns the rest"`
}

// Defaults are the options of an empty table.
func Defaults() Options {
	return Options{Arms: []string{"evolution", "gp", "tpe", "cmaes", "llm"}, Opening: 12, Memory: 30, Floor: 0.04, LLMShare: 0.3}
}

func init() { search.Default.Register(Name, New, Defaults()) }

// arm is a strategy that takes part.
type arm struct {
	name     string
	strategy search.Strategy
}

type strategy struct {
	seed uint64
	o    Options
	arms []arm
}

// New is the search.Factory.
func New(env search.Environment) (search.Strategy, error) {
	o := Defaults()
	if err := env.Decode(&o); err != nil {
		return nil, err
	}
	var faults []error
	if len(o.Arms) == 0 {
		faults = append(faults, errors.New("search.portfolio.arms is empty: name at least one strategy"))
	}
	for i, name := range o.Arms {
		if name == Name || slices.Contains(o.Arms[:i], name) {
			faults = append(faults, fmt.Errorf("search.portfolio.arms names %q: name each other strategy once", name))
		}
	}
	if o.Opening < 0 {
		faults = append(faults, fmt.Errorf("search.portfolio.opening = %d: use 0 or more", o.Opening))
	}
	if !(o.Memory >= 1) {
		faults = append(faults, fmt.Errorf("search.portfolio.memory = %g: use 1 or more", o.Memory))
	}
	if n := float64(max(len(o.Arms), 1)); !(o.Floor >= 0 && o.Floor*n <= 1) {
		faults = append(faults, fmt.Errorf("search.portfolio.floor = %g: use 0 to %.2g, one part in as many as there are arms", o.Floor, 1/n))
	}
	if !(o.LLMShare >= 0 && o.LLMShare <= 1) {
		faults = append(faults, fmt.Errorf("search.portfolio.llm_share = %g: use 0 to 1", o.LLMShare))
	}
	s := &strategy{seed: env.Seed, o: o}
	for _, name := range o.Arms {
		if name == Name {
			continue // named above
		}
		h := fnv.New64a()
		h.Write([]byte(name))
		made, err := env.Build(name, env.Seed^h.Sum64())
		switch {
		case errors.Is(err, search.ErrUnknown):
			faults = append(faults, fmt.Errorf("search.portfolio.arms: %w", err))
		case err != nil:
			faults = append(faults, err)
		case name == language && env.Model == nil: // its table is held to the rules all the same
		default:
			s.arms = append(s.arms, arm{name, made})
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if len(s.arms) == 0 {
		return nil, errors.New("search.portfolio.arms leaves nobody to ask: a language model needs [llm] enabled")
	}
	return s, nil
}

const language = "llm"

// Prepare implements search.Preparer. An agent comes last, as it works for
// minutes.
func (s *strategy) Prepare(ctx context.Context, h search.History) {
	for _, last := range []bool{false, true} {
		for _, a := range s.arms {
			if p, ok := a.strategy.(search.Preparer); ok && (a.name == "agent") == last {
				p.Prepare(ctx, h)
			}
		}
	}
}

// Close implements search.Closer.
func (s *strategy) Close() {
	for _, a := range s.arms {
		if c, ok := a.strategy.(search.Closer); ok {
			c.Close()
		}
	}
}

func (s *strategy) Tell(r search.Result) {
	for _, a := range s.arms {
		a.strategy.Tell(r)
	}
}

// Ask asks the arm that is drawn, and the others in the order of the draw when
// it has nothing to propose: a fallback that stands in for an arm is no arm of
// its own, and answers only where all others fail.
func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if h.Space.Len() == 0 && !s.edits() {
		return search.Proposal{}, search.ErrNoDimension
	}
	// A second stream, or an arm would draw the very numbers that chose it.
	r := search.Stream(s.seed^0x6a09e667f3bcc909, h)
	var faults []error
	var standIn *search.Proposal
	for _, i := range s.order(r, h) {
		a := s.arms[i]
		p, err := a.strategy.Ask(ctx, h)
		switch {
		case err == nil && (p.Strategy == "" || p.Strategy == a.name):
			p.Strategy = a.name
			return p, nil
		case err == nil && standIn == nil:
			standIn = &p
		case ctx.Err() != nil:
			return search.Proposal{}, err
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", a.name, err))
		}
	}
	if standIn != nil {
		return *standIn, nil
	}
	return search.Proposal{}, errors.Join(faults...)
}

// edits reports whether an arm can change code where no constant is left.
func (s *strategy) edits() bool {
	return slices.ContainsFunc(s.arms, func(a arm) bool { return a.name == language || a.name == "agent" })
}

// Weights returns each arm's chance of being the next to be asked, by name, as
// far as the history decides it: floors and ceilings applied to the mean of
// the draw. For display.
func (s *strategy) Weights(h search.History) map[string]float64 {
	const draws = 200
	r := rand.New(rand.NewPCG(s.seed, 1))
	stats := s.stats(h)
	out := map[string]float64{}
	for range draws {
		out[s.arms[s.draw(r, stats, h.Begun())[0]].name] += 1.0 / draws
	}
	return out
}

// stat is what the history says of an arm, discounted.
type stat struct {
	asked   float64 // trials
	reward  float64 // sum of rewards, each 0 to 1
	seconds float64 // GPU time of its trials, as a share of the mean trial's
	recent  float64 // share of the last twenty trials or so
}

// fresh is the newest trial's part in recent.
const fresh = 1.0 / 20

// stats gathers the arms' records.
func (s *strategy) stats(h search.History) []stat {
	out := make([]stat, len(s.arms))
	index := map[string]int{}
	for i, a := range s.arms {
		index[a.name] = i
	}
	var mean float64
	for i := range h.Done {
		mean += h.Done[i].Outcome.WallSeconds / float64(len(h.Done))
	}
	decay := math.Exp(-1 / s.o.Memory)
	var scores []float64 // of trials so far, sorted
	for i := range h.Done {
		r := &h.Done[i]
		bpb, scored := r.Score()
		if at, ok := index[r.Trial.Proposal.Strategy]; ok {
			for k := range out {
				out[k].asked *= decay
				out[k].reward *= decay
				out[k].seconds *= decay
			}
			cost := 1.0
			if mean > 0 && r.Outcome.WallSeconds > 0 {
				cost = min(max(r.Outcome.WallSeconds/mean, 0.1), 10)
			}
			out[at].asked++
			out[at].seconds += cost
			if scored {
				out[at].reward += reward(scores, bpb)
			}
			for k := range out {
				out[k].recent *= 1 - fresh
			}
			out[at].recent += fresh
		}
		if scored {
			at, _ := slices.BinarySearch(scores, bpb)
			scores = slices.Insert(scores, at, bpb)
		}
	}
	for i := range h.Pending { // they take their part of a ceiling, whatever comes of them
		if at, ok := index[h.Pending[i].Proposal.Strategy]; ok {
			for k := range out {
				out[k].recent *= 1 - fresh
			}
			out[at].recent += fresh
		}
	}
	return out
}

// reward is a trial's worth given the sorted scores before it: half for a new
// best and the other half by how far it leads, in parts of the spread of the
// better half; below the best, a share that falls with the fourth power of the
// rank.
func reward(sorted []float64, bpb float64) float64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	if best := sorted[0]; bpb < best {
		spread := sorted[n/2] - best
		if spread <= 0 {
			return 0.75
		}
		return 0.5 + 0.5*min((best-bpb)/spread, 1)
	}
	rank, _ := slices.BinarySearch(sorted, bpb)
	return 0.25 * math.Pow(1-float64(rank)/float64(n), 4)
}

// prior is how many trials' worth of belief an arm begins with.
const prior = 2

// yield is the mean reward of a trial, of whichever arm; one in four is what is
// believed before anything is known.
func yield(stats []stat) float64 {
	asked, reward := 2.0, 0.5
	for _, st := range stats {
		asked += st.asked
		reward += st.reward
	}
	return reward / asked
}

// ceiling is the largest share of a language model now: a sixth of llm_share
// before anything is known of it, all of it while its trials yield what the mean
// trial does, and down to the floor as they yield less.
func (s *strategy) ceiling(st stat, mean float64) float64 {
	proven := (prior*mean*math.Sqrt(1.0/6) + st.reward) / (prior + st.asked) / mean
	return max(s.o.LLMShare*math.Pow(min(proven, 1), 2), min(s.o.Floor, s.o.LLMShare))
}

// order draws the order in which arms are asked.
func (s *strategy) order(r *rand.Rand, h search.History) []int {
	return s.draw(r, s.stats(h), h.Begun())
}

func (s *strategy) draw(r *rand.Rand, stats []stat, begun int) []int {
	n := len(s.arms)
	value := make([]float64, n)
	mean := yield(stats)
	for i, st := range stats {
		// An untried arm is believed to yield what the others do.
		good, bad := prior*mean+st.reward, prior*(1-mean)+st.asked-st.reward
		cost := (1 + st.seconds) / (1 + st.asked)
		value[i] = beta(r, good, bad) / cost
		if s.arms[i].name == language && st.recent+fresh/2 > s.ceiling(st, mean) {
			value[i] = -1
		}
	}
	if begun <= s.o.Opening {
		// Models of the space have little to go by yet. What begins later, and knows no
		// more as much runs, is better spread over all of them.
		for i := range value {
			if i > 0 && s.arms[i].name != language && s.arms[i].name != "agent" {
				value[i] -= 10
			}
		}
	}
	if r.Float64() < s.o.Floor*float64(n) {
		// The floor: whoever is drawn evenly goes first.
		i := r.IntN(n)
		if value[i] >= 0 {
			value[i] = math.Inf(1)
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case value[a] > value[b]:
			return -1
		case value[a] < value[b]:
			return 1
		}
		return strings.Compare(s.arms[a].name, s.arms[b].name)
	})
	return order
}

// beta draws from a beta distribution as a ratio of gammas.
func beta(r *rand.Rand, a, b float64) float64 {
	x, y := gamma(r, a), gamma(r, b)
	return x / (x + y)
}

// gamma draws from a gamma distribution of unit scale (Marsaglia and Tsang 2000).
func gamma(r *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(r, shape+1) * math.Pow(1-r.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v *= v * v
		if math.Log(1-r.Float64()) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
