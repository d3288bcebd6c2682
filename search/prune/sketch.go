package prune

import (
	"math"

	"autoresearchd/search"
)

// shares of the budget at which a trial is looked at: for its tokens, and from
// first on for its loss.
var shares = [...]float64{0.25, 0.5, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95}

const (
	first  = 0.7
	window = 0.05 // of the budget, over which a loss is the mean
)

// sketch is what is kept of a curve: loss and tokens at each of shares, NaN and
// 0 where it does not reach or had nothing to say.
type sketch struct {
	loss   [len(shares)]float64
	tokens [len(shares)]int64
}

// pen draws a sketch point by point.
type pen struct {
	budget search.Budget
	sketch
	next   int // in shares
	recent []mark
}

type mark struct{ share, loss float64 }

// to goes on to a point, and returns the looks that it has come to.
func (p *pen) to(at search.Point) []int {
	share := p.budget.Share(at)
	if math.IsNaN(at.Loss) || math.IsInf(at.Loss, 0) || share <= 0 {
		return nil
	}
	p.recent = append(p.recent, mark{share, at.Loss})
	old := 0
	for old < len(p.recent) && p.recent[old].share <= share-window {
		old++
	}
	p.recent = append(p.recent[:0], p.recent[old:]...)
	var looks []int
	for ; p.next < len(shares) && share >= shares[p.next]; p.next++ {
		k := p.next
		p.loss[k], p.tokens[k] = math.NaN(), at.Tokens
		if share < shares[k]+window { // not one that jumps over it
			sum := 0.0
			for _, m := range p.recent {
				sum += m.loss
			}
			p.loss[k] = sum / float64(len(p.recent))
			looks = append(looks, k)
		}
	}
	return looks
}

// draw returns the sketch of a whole curve.
func draw(b search.Budget, curve []search.Point) sketch {
	p := pen{budget: b}
	for _, at := range curve {
		p.to(at)
	}
	for ; p.next < len(shares); p.next++ {
		p.loss[p.next] = math.NaN()
	}
	return p.sketch
}
