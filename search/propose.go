package search

import (
	"math/rand/v2"
)

// Seen holds the fingerprints of the constants that trials have had already.
type Seen map[uint64]bool

// SeenIn collects what h's trials, finished and pending, have tried.
func SeenIn(h History) Seen {
	seen := Seen{Fingerprint(h.Champion.Constants): true}
	for i := range h.Done {
		seen[Fingerprint(h.Done[i].Trial.Constants)] = true
	}
	for i := range h.Pending {
		seen[Fingerprint(h.Pending[i].Constants)] = true
	}
	return seen
}

// Begun is how many trials have begun, decided or not. A decision does not
// change it, so no two trials are proposed at the same number.
func (h History) Begun() int { return len(h.Done) + len(h.Pending) - h.Vetoed }

// Stream returns the random numbers for one Ask. They depend on the seed, on how
// many trials have begun and on how many proposals for this one were vetoed: an
// Ask after a restart draws the same, and no two others do.
func Stream(seed uint64, h History) *rand.Rand {
	const odd = 0x9e3779b97f4a7c15
	return rand.New(rand.NewPCG(seed^odd*uint64(h.Vetoed), odd*uint64(h.Begun()+1)))
}

// Propose makes a proposal that turns the champion's constants into those at u.
func (h History) Propose(strategy string, u []float64) Proposal {
	return Proposal{
		Strategy:    strategy,
		Description: h.Space.Describe(u),
		Parent:      h.Champion.ID,
		Values:      h.Space.Changes(u),
	}
}
