package search_test

import (
	"context"
	"fmt"

	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

// walk changes a constant or two of the champion at random. It keeps nothing:
// all that it knows is in the History.
type walk struct{ seed uint64 }

// newWalk is the Factory. With options it would decode them here.
func newWalk(env search.Environment) (search.Strategy, error) { return walk{env.Seed}, nil }

func (w walk) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	dims := h.Space.Dimensions()
	if len(dims) == 0 {
		return search.Proposal{}, search.ErrNoDimension
	}
	r, seen := search.Stream(w.seed, h), search.SeenIn(h)
	for range 200 {
		if err := ctx.Err(); err != nil {
			return search.Proposal{}, err
		}
		u := h.Space.Start() // the champion, a number from 0 to 1 for each dimension
		sure := r.IntN(len(dims))
		for i := range dims {
			if i == sure || r.IntN(len(dims)) == 0 {
				u[i] = dims[i].Mutate(r, u[i], 0.2)
			}
		}
		if !seen[h.Space.Fingerprint(u)] {
			return h.Propose("walk", u), nil
		}
	}
	return search.Proposal{}, search.ErrExhausted
}

// Tell does nothing; a strategy with a model would update it.
func (walk) Tell(search.Result) {}

// A whole strategy, played on a modelled GPU. To stand in autoresearch.toml it
// would be registered in an init function, by search.Default.Register.
func ExampleStrategy() {
	task, err := simulate.LookupTask("hopper")
	if err != nil {
		fmt.Println(err)
		return
	}
	study, err := simulate.Run(task.New(1), newWalk, 40, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(study.Best), "trials; better than the start:", study.Best[39] < study.Best[0])
	// Output: 40 trials; better than the start: true
}
