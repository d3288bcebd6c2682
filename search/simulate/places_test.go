package simulate_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/simulate"
)

// TestPlaces has four trials run at once: decided in the order in which they
// end, each known to the proposals that were made meanwhile.
func TestPlaces(t *testing.T) {
	var pending []int
	watched := func(env search.Environment) (search.Strategy, error) {
		s, err := evolution.New(env)
		return watcher{s, &pending}, err
	}
	play := func(places simulate.Places) (ids []int64, s *simulate.Study) {
		t.Helper()
		pending = nil
		s, err := simulate.RunAt(places, simulate.NewTask(3, 5e-4), watched, 40, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.History.Done {
			ids = append(ids, r.Trial.ID)
		}
		sorted := slices.Sorted(slices.Values(ids))
		if len(ids) != 40 || sorted[0] != 1 || sorted[39] != 40 || len(s.History.Pending) != 0 || len(s.Values) != 40 {
			t.Errorf("%+v: decided %v, still running %d", places, ids, len(s.History.Pending))
		}
		return ids, s
	}
	one, first := play(simulate.Places{})
	if !slices.IsSorted(one) || slices.Max(pending) != 0 {
		t.Errorf("one at a time: decided %v, pending %v", one, pending)
	}
	same, alone := play(simulate.Places{Pending: 1, Drawn: true, Stale: simulate.Dropped})
	if !reflect.DeepEqual(first.Best, alone.Best) || !slices.IsSorted(same) {
		t.Error("where one runs at a time, how long it takes makes a difference")
	}
	if ids, _ := play(simulate.Places{Pending: 4}); !slices.IsSorted(ids) || !slices.Equal(pending[:6], []int{0, 1, 2, 3, 3, 3}) {
		t.Errorf("four that take the same time: decided %v, pending %v", ids, pending)
	}
	ids, s := play(simulate.Places{Pending: 4, Drawn: true})
	if slices.IsSorted(ids) || slices.Max(pending) != 3 {
		t.Errorf("four that do not: decided %v, pending %v", ids, pending)
	}
	if again, b := play(simulate.Places{Pending: 4, Drawn: true}); !slices.Equal(ids, again) || !reflect.DeepEqual(s.Best, b.Best) {
		t.Error("the same seed gives another study")
	}
}

type watcher struct {
	search.Strategy
	pending *[]int
}

func (w watcher) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	*w.pending = append(*w.pending, len(h.Pending)-h.Vetoed)
	return w.Strategy.Ask(ctx, h)
}

// TestStale has trials that had begun when another became the champion.
func TestStale(t *testing.T) {
	behind := func(rule simulate.Stale) (n int) {
		s, err := simulate.RunAt(simulate.Places{Pending: 4, Stale: rule}, simulate.NewTask(3, 0), evolution.New, 40, 3)
		if err != nil {
			t.Fatal(err)
		}
		champion := int64(1)
		for _, r := range s.History.Done[1:] {
			if r.Trial.Proposal.Parent != champion {
				n++
			}
			if r.Decision.Verdict == search.Keep {
				champion = r.Trial.ID
			}
		}
		return n
	}
	if n := behind(simulate.Kept); n < 4 {
		t.Errorf("kept: only %d trials are of an older champion", n)
	}
	for _, rule := range []simulate.Stale{simulate.Rebased, simulate.Dropped} {
		if n := behind(rule); n > 0 {
			t.Errorf("%s: %d trials are of an older champion", rule, n)
		}
	}
}
