package api

import (
	"slices"
	"strings"
	"testing"

	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics"
	"autoresearchd/search"
)

// outOfOrder is a loop in which trials were decided in another order than
// begun, as several seats do.
type outOfOrder []int64

func (o outOfOrder) Now() supervisor.Status     { return supervisor.Status{} }
func (o outOfOrder) Snapshot() metrics.Snapshot { return metrics.Snapshot{} }
func (o outOfOrder) History() (h search.History) {
	for _, id := range o {
		h.Done = append(h.Done, search.Result{Trial: search.Trial{ID: id, Candidate: id + 10}})
	}
	return h
}

func TestPagesOfDecisions(t *testing.T) {
	order := []int64{3, 1, 5, 2, 4}
	for _, ascending := range []bool{true, false} {
		want := slices.Clone(order)
		if !ascending {
			slices.Reverse(want)
		}
		var got []int64
		p := paging{limit: 2, ascending: ascending}
		for more := true; more; {
			var page []int64
			if page, more, _ = pick(p, order, func(id *int64) int64 { return *id }, func(*int64) bool { return true }); len(page) == 0 {
				break
			}
			got, p.after = append(got, page...), page[len(page)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("ascending %v: %v, want %v", ascending, got, want)
		}
	}
}

func TestEventsOfDecisions(t *testing.T) {
	h := newHub(&API{o: Options{Loop: outOfOrder{3, 1, 2}}})
	var told strings.Builder
	for _, f := range h.since(1) {
		told.Write(f.bytes)
	}
	want := "id: 2\nevent: trial\ndata: {\"id\":1,\"candidate\":11}\n\nid: 3\nevent: trial\ndata: {\"id\":2,\"candidate\":12}\n\n"
	if told.String() != want || h.latest() != 3 {
		t.Errorf("after the first: %q, want %q; %d in all", told.String(), want, h.latest())
	}
}
