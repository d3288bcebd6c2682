package cmaes

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"autoresearchd/search"
)

// state is the search distribution, and what has been seen of the generation.
type state struct {
	f       *frame
	o       Options
	seed    uint64
	d       int       // ordered dimensions
	mean    []float64 // by ordered dimension, in parts of the range
	sigma   float64
	scale   []float64 // the margin's: deviations are sigma*scale*sqrt(c)
	c       *mat.SymDense
	basis   *mat.Dense // c = basis * diag(root^2) * basis'
	root    []float64
	turn    []float64 // basis, transposed
	pc, ps  []float64
	chances [][]float64 // by unordered dimension, of each choice

	lambda     int
	generation int // of this run
	run        int // restarts before it
	large      int // of them, with a larger population
	done       []point
	foreign    []point
	known      []point // all that have run, or that their constants made fail
	elite      point   // the best trial known
	have       bool
	home       []float64 // where the first run began
	bar        float64   // median score of the last generation
	best       []float64
}

// point is a trial in the frame.
type point struct {
	u      []float64
	score  float64 // of a pruned one what was foreseen, +Inf if nothing was
	scored bool
	pruned bool
}

func better(a, b point) int {
	rank := func(p point) int {
		switch {
		case p.scored:
			return 0
		case p.pruned:
			return 1
		}
		return 2
	}
	if ra, rb := rank(a), rank(b); ra != rb {
		return cmp.Compare(ra, rb)
	}
	return cmp.Compare(a.score, b.score)
}

const (
	stay   = 0.3   // chance that a category stays as it is, beside its equal share, when a run starts
	rate   = 0.3   // at which the chances of categories learn, a generation
	finest = 0.004 // step below which a run has ended: values have three digits, scores are noisy
)

// begin starts a run at a point.
func (s *state) begin(at []float64, sigma float64, lambda int) {
	s.d = len(s.f.moves)
	s.mean = make([]float64, s.d)
	s.scale = make([]float64, s.d)
	s.root = make([]float64, s.d)
	s.pc, s.ps = make([]float64, s.d), make([]float64, s.d)
	for j, i := range s.f.moves {
		s.mean[j] = min(1, max(0, at[i]))
		if s.run == 0 {
			s.mean[j] += s.o.Centre * (0.5 - s.mean[j])
		}
		s.scale[j], s.root[j] = 1, 1
	}
	s.sigma, s.lambda, s.generation = sigma, lambda, 0
	if s.d > 0 {
		s.c, s.basis = mat.NewSymDense(s.d, nil), mat.NewDense(s.d, s.d, nil)
		for j := range s.d {
			s.c.SetSym(j, j, 1)
			s.basis.Set(j, j, 1)
		}
	}
	s.chances = make([][]float64, len(s.f.picks))
	for k, i := range s.f.picks {
		n := s.f.axes[i].n
		s.chances[k] = make([]float64, n)
		home := s.f.axes[i].choice(at[i])
		for c := range s.chances[k] {
			s.chances[k][c] = (1 - stay) / float64(n)
		}
		s.chances[k][home] += stay
	}
	s.done, s.foreign, s.best = nil, nil, nil
	s.bar = math.Inf(1)
}

func (s *state) population() int {
	if s.o.Population > 0 {
		return s.o.Population
	}
	return max(4, int(1+2.5*math.Log(float64(len(s.f.dims)))))
}

// fresh reports that no trial of the strategy's own has ended yet.
func (s *state) fresh() bool { return s.run == 0 && s.generation == 0 && len(s.done) == 0 }

// tell takes a finished trial in.
func (s *state) tell(r *search.Result) {
	p := point{}
	p.score, p.scored = r.Score()
	own := r.Trial.Proposal.Strategy == Name
	switch r.Outcome.Status {
	case search.Interrupted, search.Tampered, "":
		return
	case search.Pruned:
		p.pruned = true
	}
	switch c := r.Outcome.Condemned; {
	case p.pruned && c != nil && c.Foreseen > 0:
		p.score = c.Foreseen
	case p.pruned:
		p.score = math.Inf(1)
	case !p.scored:
		p.score = 0
	}
	if len(r.Trial.Proposal.Source) > 0 && !own { // it says more of its code than of its constants
		return
	}
	if !own && r.Outcome.Status == search.Crashed { // nor may its constants be why
		return
	}
	p.u = s.f.places(&r.Trial)
	s.known = append(s.known, p)
	if !own && !p.scored { // known to the surrogate alone
		return
	}
	if p.scored && (!s.have || p.score < s.elite.score) {
		s.elite, s.have = p, true
	}
	if !own {
		if p.score < s.bar {
			s.foreign = append(s.foreign, p)
		}
		return
	}
	s.done = append(s.done, p)
	if len(s.done) >= s.lambda {
		s.update()
	}
}

// update moves the distribution after a generation (Hansen, arXiv 1604.00772).
func (s *state) update() {
	all := slices.Clone(s.done)
	slices.SortStableFunc(s.foreign, better)
	for k, p := range s.foreign { // the better ones, at most half as many as there are own
		if k < (s.lambda+1)/2 {
			all = append(all, p)
		}
	}
	if s.have { // the best of all stays in the race, as if it had been injected
		within := false
		for _, p := range all {
			within = within || p.scored && p.score == s.elite.score
		}
		if !within {
			all = append(all, s.elite)
		}
	}
	slices.SortStableFunc(all, better)
	if mid := all[len(all)/2]; mid.scored {
		s.bar = mid.score
	}
	s.foreign = s.foreign[:0]
	s.done = s.done[:0]
	s.generation++
	scores := 0
	for _, p := range all {
		if p.scored {
			scores++
		}
	}
	if scores == 0 { // it says where not to go, and not where to go
		return
	}
	positive, negative, mueff, muneg := weigh(len(all), scores)
	if s.d > 0 {
		s.adapt(all, positive, negative, mueff, muneg)
		s.margin()
	}
	s.pick(all, positive)
	if all[0].scored {
		s.best = append(s.best, all[0].score)
	}
	if s.stuck() {
		s.restart()
	}
}

// weigh returns recombination weights by rank: those of the better half, which
// sum to one, and those of the worse half, which sum to minus one. Nothing moves
// towards a trial without a score, however many of the n there are.
func weigh(n, scores int) (w, neg []float64, mueff, muneg float64) {
	raw := make([]float64, n)
	for i := range raw {
		raw[i] = math.Log(float64(n+1)/2) - math.Log(float64(i+1))
	}
	w, neg = make([]float64, n), make([]float64, n)
	sp, sn, qp, qn := 0.0, 0.0, 0.0, 0.0
	for i, x := range raw {
		if x > 0 && i >= scores {
			raw[i] = 0
		} else if x > 0 {
			sp += x
			qp += x * x
		} else {
			sn -= x
			qn += x * x
		}
	}
	for i, x := range raw {
		if x > 0 {
			w[i] = x / sp
		} else if x < 0 && sn > 0 {
			neg[i] = x / sn
		}
	}
	return w, neg, sp * sp / qp, sn * sn / math.Max(qn, 1e-300)
}

func (s *state) adapt(all []point, w, neg []float64, mueff, muneg float64) {
	d := float64(s.d)
	cs := (mueff + 2) / (d + mueff + 5)
	ds := 1 + 2*math.Max(0, math.Sqrt((mueff-1)/(d+1))-1) + cs
	cc := (4 + mueff/d) / (d + 4 + 2*mueff/d)
	c1 := 2 / ((d+1.3)*(d+1.3) + mueff)
	cmu := math.Min(1-c1, 2*(0.25+mueff+1/mueff-2)/((d+2)*(d+2)+mueff))
	chi := math.Sqrt(d) * (1 - 1/(4*d) + 1/(21*d*d))
	longest := math.Sqrt(d) + 2*d/(d+2)

	// Steps in units of the distribution, and in those in which it is round.
	ys := make([][]float64, len(all))
	zs := make([]float64, len(all))
	for k, p := range all {
		y := make([]float64, s.d)
		for j, i := range s.f.moves {
			if x := p.u[i]; !math.IsNaN(x) {
				y[j] = (x - s.mean[j]) / (s.sigma * s.scale[j])
			}
		}
		z := s.whiten(y)
		far := norm(z)
		if far > longest { // injected from afar (Hansen, arXiv 1110.4181)
			for j := range y {
				y[j] *= longest / far
			}
			far = longest
		}
		ys[k], zs[k] = y, far
	}
	step := make([]float64, s.d)
	for k, y := range ys {
		for j := range y {
			step[j] += w[k] * y[j]
		}
	}
	for j := range step {
		s.mean[j] += s.sigma * s.scale[j] * step[j]
		s.mean[j] = min(1, max(0, s.mean[j]))
	}
	white := s.whiten(step)
	for j := range s.ps {
		s.ps[j] = (1-cs)*s.ps[j] + math.Sqrt(cs*(2-cs)*mueff)*white[j]
	}
	far := norm(s.ps)
	h := 0.0
	if far/math.Sqrt(1-math.Pow(1-cs, 2*float64(s.generation+1))) < (1.4+2/(d+1))*chi {
		h = 1
	}
	for j := range s.pc {
		s.pc[j] = (1-cc)*s.pc[j] + h*math.Sqrt(cc*(2-cc)*mueff)*step[j]
	}
	s.sigma *= math.Exp(math.Min(0.6, cs/ds*(far/chi-1)))
	s.sigma = math.Min(s.sigma, 1)

	amu := 1 + c1/math.Max(cmu, 1e-12)
	amueff := 1 + 2*muneg/(mueff+2)
	apos := (1 - c1 - cmu) / (d * math.Max(cmu, 1e-12))
	cut := math.Min(amu, math.Min(amueff, apos))
	sum := 1.0 - cut
	if slices.Max(neg) == 0 && slices.Min(neg) == 0 {
		sum = 1
	}
	keep := 1 - c1 - cmu*sum + (1-h)*c1*cc*(2-cc)
	for a := range s.d {
		for b := a; b < s.d; b++ {
			v := keep*s.c.At(a, b) + c1*s.pc[a]*s.pc[b]
			for k, y := range ys {
				x := w[k]
				if neg[k] < 0 {
					x = cut * neg[k] * d / math.Max(zs[k]*zs[k], 1e-8)
				}
				v += cmu * x * y[a] * y[b]
			}
			s.c.SetSym(a, b, v)
		}
	}
	s.decompose()
}

// whiten returns C^-1/2 y.
func (s *state) whiten(y []float64) []float64 {
	z := make([]float64, s.d)
	for k := range s.d {
		dot := 0.0
		for j := range s.d {
			dot += s.basis.At(j, k) * y[j]
		}
		dot /= s.root[k]
		for j := range s.d {
			z[j] += s.basis.At(j, k) * dot
		}
	}
	return z
}

func (s *state) decompose() {
	var e mat.EigenSym
	if !e.Factorize(s.c, true) {
		s.reset()
		return
	}
	values := e.Values(nil)
	most := slices.Max(values)
	if !(most > 0) || math.IsInf(most, 1) {
		s.reset()
		return
	}
	e.VectorsTo(s.basis)
	for k, v := range values {
		s.root[k] = math.Sqrt(math.Max(v, most*1e-8))
	}
}

func (s *state) reset() {
	for a := range s.d {
		for b := a; b < s.d; b++ {
			v := 0.0
			if a == b {
				v = 1
			}
			s.c.SetSym(a, b, v)
			s.basis.Set(a, b, v)
			s.basis.Set(b, a, v)
		}
		s.root[a], s.pc[a], s.ps[a] = 1, 0, 0
	}
}

// margin keeps every whole number's neighbours in reach (Hamano et al., arXiv
// 2205.13482): the chance of leaving a value does not fall below alpha.
func (s *state) margin() {
	alpha := math.Min(0.3, 1/float64(s.d*s.lambda))
	for j, i := range s.f.moves {
		e := s.f.axes[i].edges
		if e == nil {
			continue
		}
		k := s.f.axes[i].cell(s.mean[j])
		low, high := e[k], e[k+1]
		base := s.sigma * math.Sqrt(math.Max(s.c.At(j, j), 1e-20))
		dev := base * s.scale[j]
		switch {
		case k == 0:
			s.mean[j] = math.Max(s.mean[j], high-dev*quantile(1-alpha))
		case k == len(e)-2:
			s.mean[j] = math.Min(s.mean[j], low+dev*quantile(1-alpha))
		default:
			down, up := phi((low-s.mean[j])/dev), 1-phi((high-s.mean[j])/dev)
			if down >= alpha/2 && up >= alpha/2 {
				continue
			}
			mid := 1 - down - up
			d2, u2 := math.Max(down, alpha/2), math.Max(up, alpha/2)
			rest := (1 - d2 - u2 - mid) / (d2 + u2 + mid - 1.5*alpha)
			down, up = d2+rest*(d2-alpha/2), u2+rest*(u2-alpha/2)
			a, b := quantile(down), quantile(1-up)
			if b-a < 1e-9 {
				continue
			}
			dev = (high - low) / (b - a)
			s.mean[j] = low - dev*a
			s.scale[j] = dev / base
		}
	}
}

// pick moves the chances of the categories towards what the better half has,
// by rank as the rest, with a margin for each that no other can take.
func (s *state) pick(all []point, w []float64) {
	for k, i := range s.f.picks {
		q := s.chances[k]
		n := len(q)
		for r, p := range all {
			if w[r] <= 0 || math.IsNaN(p.u[i]) {
				continue
			}
			c := s.f.axes[i].choice(p.u[i])
			for v := range q {
				hit := 0.0
				if v == c {
					hit = 1
				}
				q[v] += rate * w[r] * (hit - q[v])
			}
		}
		least := 0.5 / float64(len(s.f.picks)*s.lambda) / float64(max(1, n-1))
		least = math.Min(least, 0.5/float64(n))
		sum := 0.0
		for v := range q {
			q[v] = math.Max(q[v], least)
			sum += q[v]
		}
		for v := range q {
			q[v] /= sum
		}
	}
}

func (s *state) stuck() bool {
	if s.d > 0 {
		if s.sigma*slices.Max(s.root) < finest || slices.Max(s.root)/slices.Min(s.root) > 3e3 {
			return true
		}
	}
	span := 10 + int(30*float64(len(s.f.dims))/float64(s.lambda))
	if n := len(s.best); n >= 2*span {
		return slices.Min(s.best[n-span:]) >= slices.Min(s.best[:n-span])
	}
	return false
}

// restart begins anew: with a larger population and anywhere, or with a small
// one near the best, in turn (BIPOP: Hansen, 2009).
func (s *state) restart() {
	s.run++
	r := rand.New(rand.NewPCG(s.seed, 0x72657374617274+uint64(s.run)))
	at := make([]float64, len(s.f.dims))
	if s.run%2 == 1 {
		for i := range at {
			at[i] = s.home[i]
			if s.have && !math.IsNaN(s.elite.u[i]) {
				at[i] = s.elite.u[i]
			}
		}
		s.begin(at, s.o.Step*math.Pow(10, -r.Float64()), s.population())
		return
	}
	s.large++
	for i := range at {
		at[i] = r.Float64()
	}
	s.begin(at, s.o.Step, s.population()<<min(s.large, 5))
}

func norm(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}

func phi(z float64) float64      { return 0.5 * math.Erfc(-z/math.Sqrt2) }
func quantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }
