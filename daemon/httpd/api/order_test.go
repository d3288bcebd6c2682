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
		h.Done = append(h.Done, search.Result{Trial: search.Trial{ID: id}})
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
		q := query{limit: 2, ascending: ascending}
		for more := true; more; {
			var ids []int64
			if ids, more, _ = q.pick(outOfOrder(order).History().Done); len(ids) == 0 {
				break
			}
			got, q.after = append(got, ids...), ids[len(ids)-1]
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
	want := "id: 2\nevent: trial\ndata: {\"id\":1}\n\nid: 3\nevent: trial\ndata: {\"id\":2}\n\n"
	if told.String() != want || h.latest() != 3 {
		t.Errorf("after the first: %q, want %q; %d in all", told.String(), want, h.latest())
	}
}
